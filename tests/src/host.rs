//! Further hosts on this machine: a network namespace each, with a Docker engine and an agent of its own, behind a cable
//! that can be pulled.
//!
//! All hosts of a [`Lan`] are joined to one bridge, on whose address the scheduler listens. A host's engine lives in its
//! directory and its namespace; its processes are found by the namespace and ended by their ids, never by a name.
//! Everything goes when the host is dropped. It takes root.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bollard::Docker;
use bollard::query_parameters::ListContainersOptionsBuilder;
use rustix::process::{Pid, Signal, kill_process};

use crate::engine::IMAGE;
use crate::world::World;
use crate::{binary, wait};

/// Seconds that a call to a host's engine may take.
const ENGINE_TIMEOUT_SECONDS: u64 = 60;

/// The network of some hosts and of the scheduler: a bridge of this machine.
#[derive(Debug)]
pub struct Lan {
    /// What the names of its links begin with.
    tag: String,
    number: u8,
    high: u8,
}

/// One host. Dropping it ends all that runs there.
#[derive(Debug)]
pub struct Host {
    tag: String,
    dir: PathBuf,
    dockerd: Child,
    agent: Option<Child>,
    docker: Docker,
}

impl Lan {
    /// A network that no other test has.
    ///
    /// # Panics
    /// Without the right to make one: as root alone.
    pub fn new() -> Self {
        let id = std::process::id();
        // 198.18.0.0/15 is for tests of networks (RFC 2544); ids of processes that live at once rarely meet in it.
        let [number, high] = [id & 0xff, (id >> 8) & 1].map(|part| u8::try_from(part).expect("it is masked"));
        let lan = Self { tag: format!("et{:x}", id & 0xf_ffff), number, high };
        lan.remove();
        ip(&["link", "add", &lan.tag, "type", "bridge"]);
        ip(&["address", "add", &format!("{}/24", lan.address(1)), "dev", &lan.tag]);
        ip(&["link", "set", &lan.tag, "up"]);
        lan
    }

    /// The address of this machine in the network.
    pub fn scheduler(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// A host with an engine that answers and has the test image, and no agent yet.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn host(&self, world: &World, number: u8) -> Host {
        let tag = format!("{}-{number}", self.tag);
        let dir = world.dir().join(&tag);
        fs::create_dir(&dir).expect("the world's directory is writable");
        ip(&["netns", "add", &tag]);
        ip(&["link", "add", &tag, "type", "veth", "peer", "name", "eth0", "netns", &tag]);
        ip(&["link", "set", &tag, "master", &self.tag, "up"]);
        ip(&["-n", &tag, "link", "set", "lo", "up"]);
        ip(&["-n", &tag, "link", "set", "eth0", "up"]);
        let address = format!("{}/24", self.host_address(number));
        ip(&["-n", &tag, "address", "add", &address, "dev", "eth0"]);
        ip(&["-n", &tag, "route", "add", "default", "via", &self.scheduler().to_string()]);
        let dockerd = start_dockerd(&tag, &dir);
        let docker = await_docker(&dir).await;
        load_image(&dir);
        Host { tag, dir, dockerd, agent: None, docker }
    }

    /// The address of a host in the network.
    pub fn host_address(&self, number: u8) -> Ipv4Addr {
        self.address(10 + number)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18 + self.high, self.number, last)
    }

    fn remove(&self) {
        // There is none as a rule; one of a test that was killed may be.
        let _ = Command::new("ip").args(["link", "delete", &self.tag]).stderr(Stdio::null()).status();
    }
}

impl Default for Lan {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Host {
    /// Starts the agent, and waits for nothing.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_agent(&mut self, world: &World) {
        let mut environment = world.agent_environment(&self.dir.join("agent"));
        environment.insert("DOCKER_HOST".to_owned(), format!("unix://{}", socket(&self.dir).display()));
        let log = fs::File::options().create(true).append(true).open(self.dir.join("agent.log"));
        let mut command = self.inside(binary::ecsr());
        let command = command.arg("agent").env_clear().envs(environment);
        let agent = command.stderr(log.expect("the world's directory is writable")).spawn();
        self.agent = Some(agent.expect("nsenter can be started"));
    }

    /// `kill -9` of the agent alone.
    pub fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            end(&mut agent);
        }
    }

    /// Pulls the network cable.
    pub fn unplug(&self) {
        ip(&["link", "set", &self.tag, "down"]);
    }

    /// Puts it back in.
    pub fn plug(&self) {
        ip(&["link", "set", &self.tag, "up"]);
    }

    /// Cuts the power: not a packet leaves any more, and nothing runs on.
    pub fn power_off(&mut self) {
        self.unplug();
        self.kill_all();
    }

    /// The ids of the containers that run.
    ///
    /// # Panics
    /// When the engine does not say.
    pub async fn running(&self) -> BTreeSet<String> {
        let options = ListContainersOptionsBuilder::default().build();
        let found = self.docker.list_containers(Some(options)).await.expect("the engine lists containers");
        found.into_iter().filter_map(|container| container.id).collect()
    }

    fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        inside(&self.tag, program)
    }

    fn kill_all(&mut self) {
        self.kill_agent();
        // Containers have namespaces of their own, but their shims, which are their parents, are in the host's.
        let here = processes_in(&self.tag);
        let containers = children_of(&here);
        for id in here.into_iter().chain(containers) {
            kill(id);
        }
        end(&mut self.dockerd);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["agent.log", "dockerd.log"] {
                let said = fs::read_to_string(self.dir.join(log)).unwrap_or_default();
                let lines: Vec<&str> = said.lines().collect();
                eprintln!(
                    "--- {} of {} ---\n{}",
                    log,
                    self.tag,
                    lines[lines.len().saturating_sub(30)..].join("\n")
                );
            }
        }
        self.kill_all();
        release_mounts(&self.dir);
        let _ = Command::new("ip").args(["netns", "delete", &self.tag]).status();
        let _ = Command::new("ip").args(["link", "delete", &self.tag]).stderr(Stdio::null()).status();
    }
}

fn start_dockerd(tag: &str, dir: &Path) -> Child {
    let log = fs::File::create(dir.join("dockerd.log")).expect("the world's directory is writable");
    let errors = log.try_clone().expect("an open file can be opened again");
    let mut command = inside(tag, "dockerd");
    for (flag, path) in [("--data-root", "root"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
        command.arg(flag).arg(dir.join(path));
    }
    // Nobody outside of the host speaks to its containers.
    command
        .args(["--iptables=false", "--ip-masq=false", "-H"])
        .arg(format!("unix://{}", socket(dir).display()));
    command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("nsenter can be started")
}

async fn await_docker(dir: &Path) -> Docker {
    let address = socket(dir);
    wait::until("a host's engine to answer", async || {
        let path = address.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, ENGINE_TIMEOUT_SECONDS, bollard::API_DEFAULT_VERSION);
        let docker = docker.map_err(|error| error.to_string())?;
        docker.negotiate_version().await.map_err(|error| error.to_string())
    })
    .await
}

fn load_image(dir: &Path) {
    let image = dir.join("image.tar");
    let docker = |args: &[&str]| {
        let status = Command::new("docker").args(args).stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "docker {}", args.join(" "));
    };
    docker(&["save", "-o", &image.to_string_lossy(), IMAGE]);
    docker(&["-H", &format!("unix://{}", socket(dir).display()), "load", "-i", &image.to_string_lossy()]);
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("docker.sock")
}

/// A command in a host's network. `ip netns exec` would hide the control groups from the engine.
fn inside(tag: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{tag}")).arg(program);
    command
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("iproute2 is installed: `script/setup tools`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {} (it takes root): {said}", args.join(" "));
}

fn processes_in(tag: &str) -> BTreeSet<u32> {
    let output = Command::new("ip").args(["netns", "pids", tag]).output();
    let listed = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&listed).lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// All processes whose parent is one of these.
fn children_of(parents: &BTreeSet<u32>) -> BTreeSet<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| parent_of(*id).is_some_and(|parent| parents.contains(&parent))).collect()
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse().ok()
}

fn kill(id: u32) {
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // Gone is gone.
        let _ = kill_process(id, Signal::KILL);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// What an engine that was killed left mounted would keep its directory from being removed.
fn release_mounts(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter(|path| Path::new(path).starts_with(dir))
        .collect();
    for path in below.into_iter().rev() {
        let _ = Command::new("umount").args(["-l", path]).stderr(Stdio::null()).status();
    }
}
