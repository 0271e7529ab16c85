//! The scheduler under measurement: a process of its own, started, killed and started again on the same data.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use aws_credential_types::Credentials;
use ecsr_tests::binary;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent::CLUSTER;
use crate::wire::Endpoint;
use ecsr_tests::sign::Signer;

const REGION: &str = "us-east-1";

/// How often a scheduler that starts is asked whether it answers, and for how long.
const ASKED_EVERY: Duration = Duration::from_millis(5);
const START_MAX: Duration = Duration::from_mins(5);

/// A scheduler and its data directory, which ends with it.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    child: Child,
    port: u16,
    pub endpoint: Endpoint,
}

impl Server {
    /// Starts a scheduler on an empty data directory, below `parent` if that is given.
    pub async fn start(parent: Option<&PathBuf>) -> Self {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("ecsr-scale-");
        let dir = match parent {
            Some(parent) => builder.tempdir_in(parent),
            None => builder.tempdir(),
        };
        let dir = dir.expect("a directory can be made");
        let credentials = create_key(&dir);
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a port is free");
        let signer = Arc::new(Signer::new(credentials, REGION));
        let endpoint = Endpoint { address, signer };
        let child = spawn(&dir, address.port()).expect("the scheduler can be started");
        let server = Self { dir, child, port: address.port(), endpoint };
        server.ready().await;
        server
    }

    /// `kill -9`, and a new process on the same data: the time until it answers a read.
    pub async fn restart(&mut self) -> Duration {
        self.kill();
        let began = Instant::now();
        self.child = spawn(&self.dir, self.port).expect("the scheduler can be started");
        self.ready().await;
        began.elapsed()
    }

    /// Resident memory in bytes, now and at its highest.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        (field(&status, "VmRSS:"), field(&status, "VmHWM:"))
    }

    /// Processor time that the process has used, in seconds.
    pub fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        // Fields 14 and 15 of proc(5), in hundredths of a second.
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Bytes in the data directory.
    pub fn disk(&self) -> u64 {
        let entries = fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
    }

    fn kill(&mut self) {
        // It may have ended by itself; gone is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    async fn ready(&self) {
        let deadline = Instant::now() + START_MAX;
        let mut client = self.endpoint.client(Ipv4Addr::LOCALHOST);
        let body = json!({"clusters": [CLUSTER]}).to_string();
        loop {
            match client.call("DescribeClusters", body.as_bytes()).await {
                Ok((200, _)) => return,
                other => assert!(Instant::now() < deadline, "the scheduler does not answer: {other:?}"),
            }
            tokio::time::sleep(ASKED_EVERY).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(dir: &TempDir, port: u16) -> io::Result<Child> {
    let log = fs::File::options().create(true).append(true).open(dir.path().join("scheduler.log"))?;
    Command::new(binary::ecsr())
        .args(["scheduler", "--region", REGION, "--cluster", CLUSTER])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .arg("--data-dir")
        .arg(dir.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// The access key that everything here is signed with.
fn create_key(dir: &TempDir) -> Credentials {
    let made = Command::new(binary::ecsr())
        .args(["key", "create", "-o", "json", "--data-dir"])
        .arg(dir.path())
        .output()
        .expect("ecsr can be run");
    let key: Value = serde_json::from_slice(&made.stdout).expect("-o json prints JSON");
    let member = |name: &str| key[name].as_str().expect("a fresh key is shown").to_owned();
    let (id, secret) = (member("accessKeyId"), member("secretAccessKey"));
    Credentials::from_keys(id, secret, None)
}

/// A field of `/proc/<pid>/status`, in bytes.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap_or_default();
    kib * 1024
}
