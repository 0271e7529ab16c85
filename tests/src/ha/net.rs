//! Hosts of a test: network namespaces on a bridge in one more, of which this machine is a neighbour.
//!
//! The bridge is in a namespace of its own because a Docker engine forbids forwarding on this machine's bridges.
//! Everything is named after this process, and gone when the network is dropped.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// The last byte of this machine's address in every test network.
const NEIGHBOUR: u8 = 254;

/// Hosts that can be cut off, each with an address that this machine reaches.
#[derive(Debug)]
pub struct Net {
    /// What all names begin with.
    tag: String,
    third: u8,
    second: u8,
    hosts: u8,
}

impl Net {
    /// A network of so many hosts; `None` if this process may not make one.
    ///
    /// # Panics
    /// When it may, and it fails.
    pub fn make(hosts: u8) -> Option<Self> {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let pid = std::process::id();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // 10.64.0.0/10, by process: two tests at one time have different networks unless their ids are 16,384 apart.
        let second = 64 + u8::try_from(pid / 256 % 64).expect("a remainder by 64");
        let third = u8::try_from(pid % 256).expect("a remainder by 256").wrapping_add(count);
        let net = Self { tag: format!("eh{pid}{}", char::from(b'a' + count % 26)), third, second, hosts };
        net.build();
        Some(net)
    }

    fn build(&self) {
        let hub = self.hub();
        ip(&["netns", "add", &hub]);
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", &hub, "link", "set", "br0", "up"]);
        ip(&["link", "add", &self.tag, "type", "veth", "peer", "name", "up0", "netns", &hub]);
        ip(&["-n", &hub, "link", "set", "up0", "master", "br0", "up"]);
        ip(&["addr", "add", &format!("{}/24", self.address_of(NEIGHBOUR)), "dev", &self.tag]);
        ip(&["link", "set", &self.tag, "up"]);
        for host in 0..self.hosts {
            let (name, port) = (self.host(host), format!("h{host}"));
            ip(&["netns", "add", &name]);
            ip(&["-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name]);
            ip(&["-n", &hub, "link", "set", &port, "master", "br0", "up"]);
            ip(&["-n", &name, "addr", "add", &format!("{}/24", self.address(host)), "dev", "eth0"]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
        }
    }

    /// The address of a host, counted from 0.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        self.address_of(host + 1)
    }

    fn address_of(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.second, self.third, last)
    }

    /// A command that will run on a host. It becomes the program itself: its id is the program's.
    pub fn command(&self, host: u8, program: &PathBuf) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.host(host))).arg(program);
        command
    }

    /// Takes the host's cable out.
    pub fn cut(&self, host: u8) {
        ip(&["-n", &self.hub(), "link", "set", &format!("h{host}"), "down"]);
    }

    /// Puts it back.
    pub fn mend(&self, host: u8) {
        ip(&["-n", &self.hub(), "link", "set", &format!("h{host}"), "up"]);
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.tag)
    }

    fn host(&self, host: u8) -> String {
        format!("{}-{host}", self.tag)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Devices go with the namespaces that they are in, and a pair goes as one.
        for name in (0..self.hosts).map(|host| self.host(host)).chain([self.hub()]) {
            let _ = Command::new("ip").args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
        let _ = Command::new("ip").args(["link", "del", &self.tag]).stderr(Stdio::null()).status();
    }
}

fn ip(args: &[&str]) {
    let status = Command::new("ip").args(args).status();
    let done = status.is_ok_and(|status| status.success());
    assert!(done, "ip {} failed", args.join(" "));
}
