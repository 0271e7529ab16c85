//! The two that are compared: each passes a port of HTTP and a port of TCP on to the same web servers, in turn.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ecsr_tests::elb::Elb;
use ecsr_tests::world::{base_environment, create_key, free_port};
use ecsr_tests::{Process, load, wait};

use super::Ports;
use super::wrk::THREADS;

const REGION: &str = "us-east-1";

/// `ecsr balancer`. Dropping it ends it.
pub struct Own {
    pub ports: Ports,
    process: Process,
}

impl Own {
    pub async fn start(dir: &Path, backends: &[u16]) -> Self {
        let data_dir = dir.join("data");
        std::fs::create_dir(&data_dir).expect("the directory is writable");
        let data_dir = data_dir.display().to_string();
        let address = format!("127.0.0.1:{}", free_port());
        let credentials = create_key(&data_dir);
        let args = ["balancer", "--data-dir", &data_dir, "--listen", &address, "--bind", "127.0.0.1"];
        let process = Process::start("balancer", dir, &args, &base_environment());
        let elb = Elb { address, region: REGION.to_owned(), credentials };
        let ask = async || elb.try_call("DescribeLoadBalancers", &[]).await;
        wait::until("the balancer to answer", ask).await;
        let ports = Ports::free();
        listen(&elb, ("web", "application", "HTTP"), ports.http, backends).await;
        listen(&elb, ("tcp", "network", "TCP"), ports.tcp, backends).await;
        await_service(ports).await;
        Self { ports, process }
    }

    pub fn process_id(&self) -> u64 {
        u64::from(self.process.id())
    }
}

/// Makes a load balancer with one listener that leads to the web servers, and waits until they are healthy.
async fn listen(elb: &Elb, (name, kind, protocol): (&str, &str, &str), port: u16, backends: &[u16]) {
    let balancer = [("Name", name), ("Type", kind)];
    let balancer = elb.call("CreateLoadBalancer", &balancer, "LoadBalancerArn").await;
    let group = [("Name", name), ("Protocol", protocol), ("Port", "80"), ("TargetType", "ip")];
    let group = elb.call("CreateTargetGroup", &group, "TargetGroupArn").await;
    // At ELBv2's own intervals nothing would be healthy for minutes.
    let often = [
        ("TargetGroupArn", group.as_str()),
        ("Attributes.member.1.Key", "ecsr.health_check.interval_milliseconds"),
        ("Attributes.member.1.Value", "1000"),
    ];
    elb.try_call("ModifyTargetGroupAttributes", &often).await.expect("the attribute is known");
    for backend in backends {
        let target = [
            ("TargetGroupArn", group.as_str()),
            ("Targets.member.1.Id", "127.0.0.1"),
            ("Targets.member.1.Port", &backend.to_string()),
        ];
        elb.try_call("RegisterTargets", &target).await.expect("the target is registered");
    }
    let listener = [
        ("LoadBalancerArn", balancer.as_str()),
        ("Protocol", protocol),
        ("Port", &port.to_string()),
        ("DefaultActions.member.1.Type", "forward"),
        ("DefaultActions.member.1.TargetGroupArn", &group),
    ];
    elb.call("CreateListener", &listener, "ListenerArn").await;
    wait::until("the web servers to be healthy", async || {
        let group = [("TargetGroupArn", group.as_str())];
        let health = elb.try_call("DescribeTargetHealth", &group).await?;
        let healthy = health.matches("<State>healthy</State>").count();
        if healthy == backends.len() { Ok(()) } else { Err(health) }
    })
    .await;
}

/// haproxy. Dropping it ends it.
pub struct Haproxy {
    pub ports: Ports,
    process: Child,
}

impl Haproxy {
    pub async fn start(dir: &Path, backends: &[u16]) -> Self {
        let ports = Ports::free();
        let file = dir.join("haproxy.cfg");
        std::fs::write(&file, configuration(ports, backends)).expect("the directory is writable");
        let mut command = Command::new("haproxy");
        // -db: in the foreground, so that it can be ended by its id.
        let command = command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("haproxy can be started; script/bench installs it");
        await_service(ports).await;
        Self { ports, process }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // It may have ended by itself; gone is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `2.6.12-1+deb12u4`
pub fn haproxy_version() -> String {
    let said = Command::new("haproxy").arg("-v").output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    said.split_whitespace().nth(2).unwrap_or_default().to_owned()
}

/// Its usual way to balance HTTP: connections to servers are kept and shared, and nothing is logged.
fn configuration(ports: Ports, backends: &[u16]) -> String {
    let mut text = format!(
        "global\n  nbthread {THREADS}\n\
         defaults\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n"
    );
    for (name, mode, port) in [("web", "http", ports.http), ("tcp", "tcp", ports.tcp)] {
        let _ = writeln!(
            text,
            "frontend {name}\n  mode {mode}\n  bind 127.0.0.1:{port}\n  default_backend {name}s"
        );
        let _ = writeln!(text, "backend {name}s\n  mode {mode}\n  balance roundrobin");
        if mode == "http" {
            text.push_str("  option forwardfor\n  http-reuse always\n");
        }
        for backend in backends {
            let _ = writeln!(text, "  server s{backend} 127.0.0.1:{backend}");
        }
    }
    text
}

async fn await_service(ports: Ports) {
    for port in [ports.http, ports.tcp] {
        let address = format!("127.0.0.1:{port}");
        wait::until("the web servers to be reached", async || load::get(&address, "/").await).await;
    }
}
