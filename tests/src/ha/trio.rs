//! Three hosts, on each an etcd and a scheduler of ours, and what can happen to them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_credential_types::Credentials;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::net::Net;
use crate::api::{Api, ApiError};
use crate::{binary, wait};

/// How many hosts there are: the fewest of which one may fail.
pub const HOSTS: u8 = 3;
const REGION: &str = "us-east-1";
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
const API_PORT: u16 = 7070;

/// As the README advises, so that etcd has a new leader of its own well before ours is given up: its own defaults are
/// twice as long, and leave it to chance whether a member that comes back disturbs the others.
const ETCD_ELECTIONS: [&str; 3] = ["--heartbeat-interval=50", "--election-timeout=500", "--pre-vote"];

/// Lines of each log that are printed when a test fails.
const TAIL_LINES: usize = 40;

/// Where Debian's package puts it, and where else it may be.
const ETCD_PATHS: [&str; 3] = ["/usr/bin/etcd", "/usr/local/bin/etcd", "/usr/sbin/etcd"];

/// A program on a host.
#[derive(Debug)]
struct Program {
    child: Child,
}

/// Three schedulers that share a journal on three etcds. Dropping it ends all of them.
#[derive(Debug)]
pub struct Trio {
    net: Net,
    etcds: Vec<Option<Program>>,
    schedulers: Vec<Option<Program>>,
    credentials: Credentials,
    dir: TempDir,
}

impl Trio {
    /// Three of each, answering; `None`, after saying why, where such a test cannot be made.
    ///
    /// # Panics
    /// When it can, and fails.
    pub async fn start() -> Option<Self> {
        let Some(etcd) = ETCD_PATHS.iter().map(PathBuf::from).find(|path| path.is_file()) else {
            eprintln!("skipped: etcd is not installed (script/setup etcd)");
            return None;
        };
        let Some(net) = Net::make(HOSTS) else {
            eprintln!("skipped: network namespaces need root");
            return None;
        };
        let dir = directory();
        let credentials = Credentials::from_keys("none", "none", None);
        let mut trio = Self { net, etcds: Vec::new(), schedulers: Vec::new(), credentials, dir };
        for host in 0..HOSTS {
            let program = trio.start_etcd_at(&etcd, host);
            trio.etcds.push(Some(program));
        }
        trio.credentials = trio.await_first_key().await;
        for host in 0..HOSTS {
            let program = trio.start_scheduler_at(host);
            trio.schedulers.push(Some(program));
        }
        trio.await_all().await;
        Some(trio)
    }

    fn start_etcd_at(&self, etcd: &PathBuf, host: u8) -> Program {
        let address = self.net.address(host);
        let members: Vec<String> = (0..HOSTS)
            .map(|member| format!("e{member}=http://{}:{PEER_PORT}", self.net.address(member)))
            .collect();
        let mut command = self.net.command(host, etcd);
        command
            .args(["--name", &format!("e{host}")])
            .args(["--data-dir", &self.dir.path().join(format!("etcd-{host}")).display().to_string()])
            .args(["--listen-client-urls", &format!("http://{address}:{CLIENT_PORT}")])
            .args(["--advertise-client-urls", &format!("http://{address}:{CLIENT_PORT}")])
            .args(["--listen-peer-urls", &format!("http://{address}:{PEER_PORT}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{address}:{PEER_PORT}")])
            .args(["--initial-cluster", &members.join(",")])
            .args(ETCD_ELECTIONS)
            .args(["--logger", "zap"]);
        self.spawn(command, &format!("etcd-{host}"))
    }

    fn start_scheduler_at(&self, host: u8) -> Program {
        let data_dir = self.dir.path().join(format!("scheduler-{host}")).display().to_string();
        let mut command = self.net.command(host, &binary::ecsr());
        command
            .arg("scheduler")
            .args(["--data-dir", &data_dir, "--region", REGION, "--cluster", "default"])
            .args(["--listen", &self.address(host), "--journal", &self.journal()]);
        self.spawn(command, &format!("scheduler-{host}"))
    }

    fn spawn(&self, mut command: Command, name: &str) -> Program {
        let path = self.dir.path().join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(path).expect("the directory is writable");
        let errors = log.try_clone().expect("an open file can be opened again");
        command.env_clear().envs(environment()).stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Program { child }
    }

    /// The journal's URL.
    pub fn journal(&self) -> String {
        let hosts: Vec<String> =
            (0..HOSTS).map(|host| format!("{}:{CLIENT_PORT}", self.net.address(host))).collect();
        format!("etcd://{}/test", hosts.join(","))
    }

    /// Makes a key by the command line, which is what a user would do; etcd may still be choosing a leader.
    async fn await_first_key(&self) -> Credentials {
        let journal = self.journal();
        let args = ["key", "create", "--journal", &journal, "--output", "json"];
        let key = wait::until("etcd to take an access key", async || {
            let output = crate::process::run(&args, &environment());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() {
                serde_json::from_slice::<Value>(&output.stdout).map_err(|error| error.to_string())
            } else {
                Err(said)
            }
        })
        .await;
        let text = |member: &str| key[member].as_str().unwrap_or_default().to_owned();
        Credentials::from_keys(text("accessKeyId"), text("secretAccessKey"), None)
    }

    /// Waits until each scheduler that runs answers a read and can have a write done.
    pub async fn await_all(&self) {
        for host in 0..HOSTS {
            if self.schedulers[usize::from(host)].is_some() {
                wait::until(&format!("scheduler {host} to answer"), async || {
                    let api = self.api(host);
                    api.try_call("CreateCluster", json!({"clusterName": "default"})).await?;
                    api.try_call("DescribeClusters", json!({"clusters": ["default"]})).await
                })
                .await;
            }
        }
    }

    /// Where a scheduler listens.
    pub fn address(&self, host: u8) -> String {
        format!("{}:{API_PORT}", self.net.address(host))
    }

    /// A client of one scheduler.
    pub fn api(&self, host: u8) -> Api {
        Api {
            address: self.address(host),
            region: REGION.to_owned(),
            credentials: self.credentials.clone(),
            cluster: "default".to_owned(),
        }
    }

    /// Which host leads, according to one of them.
    ///
    /// # Errors
    /// When that one does not answer.
    pub async fn leader_seen_by(&self, host: u8) -> Result<u8, ApiError> {
        let answer = self.api(host).try_call("DiscoverPollEndpoint", json!({})).await?;
        let endpoint = answer["endpoint"].as_str().unwrap_or_default();
        let is_there = |host: &u8| endpoint.starts_with(&format!("http://{}/", self.address(*host)));
        Ok((0..HOSTS).find(is_there).expect("a leader is one of the three"))
    }

    /// Which host leads, according to the first of the others that answers.
    pub async fn leader(&self) -> u8 {
        wait::until("a leader to be known", async || {
            let mut last = None;
            for host in 0..HOSTS {
                match tokio::time::timeout(Duration::from_secs(2), self.leader_seen_by(host)).await {
                    Ok(Ok(leader)) => return Ok(leader),
                    Ok(Err(error)) => last = Some(error.to_string()),
                    Err(_) => last = Some(format!("scheduler {host} says nothing")),
                }
            }
            Err(last)
        })
        .await
    }

    /// `kill -9` of a scheduler.
    pub fn kill_scheduler(&mut self, host: u8) {
        self.schedulers[usize::from(host)] = None;
    }

    /// Starts a scheduler that was killed.
    pub fn start_scheduler(&mut self, host: u8) {
        self.schedulers[usize::from(host)] = Some(self.start_scheduler_at(host));
    }

    /// SIGSTOP of a scheduler.
    pub fn pause_scheduler(&self, host: u8) {
        self.signal(host, Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume_scheduler(&self, host: u8) {
        self.signal(host, Signal::CONT);
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When there is none.
    pub fn stop_scheduler(&mut self, host: u8) -> bool {
        self.signal(host, Signal::TERM);
        let mut program = self.schedulers[usize::from(host)].take().expect("it runs");
        program.child.wait().expect("a child can be waited for").success()
    }

    fn signal(&self, host: u8, signal: Signal) {
        let program = self.schedulers[usize::from(host)].as_ref().expect("it runs");
        kill_process(Pid::from_child(&program.child), signal).expect("a child can be signalled");
    }

    /// `kill -9` of an etcd.
    pub fn kill_etcd(&mut self, host: u8) {
        self.etcds[usize::from(host)] = None;
    }

    /// Starts an etcd that was killed.
    ///
    /// # Panics
    /// When etcd is gone.
    pub fn start_etcd(&mut self, host: u8) {
        let etcd = ETCD_PATHS.iter().map(PathBuf::from).find(|path| path.is_file()).expect("it was there");
        self.etcds[usize::from(host)] = Some(self.start_etcd_at(&etcd, host));
    }

    /// Takes a host off the network.
    pub fn cut(&self, host: u8) {
        self.net.cut(host);
    }

    /// Brings it back.
    pub fn mend(&self, host: u8) {
        self.net.mend(host);
    }

    /// What a scheduler has said so far.
    pub fn said(&self, host: u8) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("scheduler-{host}.log"))).unwrap_or_default()
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        self.schedulers.clear();
        self.etcds.clear();
        if std::thread::panicking() {
            for host in 0..HOSTS {
                let said = self.said(host);
                let lines: Vec<&str> = said.lines().collect();
                let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
                eprintln!("--- scheduler {host}, last lines ---\n{tail}");
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; gone is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In memory where there is such a place: three etcds that wait for one slow disk choose leaders all day, and what a
/// disk keeps is not what is tested here.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("ecsr-ha-");
    let made = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
    made.expect("a directory can be made")
}

fn environment() -> BTreeMap<String, String> {
    let inherited = ["PATH", "HOME", "RUST_BACKTRACE", "ECSR_LOG"];
    let inherited = inherited.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    inherited.chain([("NO_COLOR".to_owned(), "1".to_owned())]).collect()
}
