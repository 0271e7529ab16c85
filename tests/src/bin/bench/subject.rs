//! ecsr itself, as a user has it: `ecsr up --detach`, the command line, the agent in its container.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use ecsr_tests::elb::Elb;
use ecsr_tests::engine::{self, Events, IMAGE, of_cluster};
use ecsr_tests::world::free_port;
use ecsr_tests::{Api, Engine, binary, process, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::COUNT;
use crate::floor::{COMMAND, MEMORY_MIB, PORT};
use crate::memory::{Resident, resident};

/// The service and its family.
const NAME: &str = "web";

/// The load balancer's API is that far from the scheduler's.
const BALANCER_PORT_DISTANCE: u16 = 2;

/// How often it is asked whether a container that has started counts as RUNNING: often enough that it adds next to
/// nothing to what is measured.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// A running ecsr with nothing on it. Dropping it takes it down with all it has.
#[derive(Debug)]
pub struct Subject {
    dir: TempDir,
    port: u16,
    api: Api,
}

impl Subject {
    /// Brings it up and registers the task.
    pub async fn up() -> Self {
        let dir = tempfile::Builder::new().prefix("ecsr-bench-").tempdir().expect("a directory can be made");
        let port = free_port();
        let cluster = format!("bench-{port}");
        let credentials = Credentials::from_keys("", "", None);
        let api = Api {
            address: format!("127.0.0.1:{port}"),
            region: "us-east-1".to_owned(),
            credentials,
            cluster,
        };
        let mut subject = Self { dir, port, api };
        let port = port.to_string();
        subject.run(&["up", "--detach", "--port", &port, "--cluster", &subject.api.cluster]);
        let key = subject.run(&["key", "create", "-o", "json"]);
        let key: Value = serde_json::from_slice(&key.stdout).expect("-o json prints JSON");
        let member = |name: &str| key[name].as_str().expect("a fresh key is shown").to_owned();
        subject.api.credentials =
            Credentials::from_keys(member("accessKeyId"), member("secretAccessKey"), None);
        subject.api.call("RegisterTaskDefinition", definition()).await;
        subject
    }

    fn run(&self, args: &[&str]) -> Output {
        let output = process::run(args, &self.environment());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ecsr {}: {said}", args.join(" "));
        output
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let inherited = ["PATH", "HOME", "DOCKER_HOST"];
        let inherited =
            inherited.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let data_dir = self.dir.path().join("data").display().to_string();
        inherited.chain([("ECSR_DATA_DIR".to_owned(), data_dir)]).collect()
    }

    /// `ecsr service create --count N --wait`; answers how long the command took.
    pub async fn start_all(&self, engine: &Engine) -> Duration {
        let count = COUNT.to_string();
        let began = Instant::now();
        self.run(&["service", "create", "--task-definition", NAME, "--count", &count, "--wait"]);
        let took = began.elapsed();
        assert_eq!(self.running(engine).await.len(), COUNT, "what it waited for is there");
        took
    }

    /// Starts to create a service behind a load balancer; waits for nothing.
    pub fn expose(&self) {
        let (count, expose) = (COUNT.to_string(), format!("{}:{PORT}", free_port()));
        self.run(&["service", "create", "--task-definition", NAME, "--count", &count, "--expose", &expose]);
    }

    /// How many containers run.
    pub async fn running_count(&self, engine: &Engine) -> usize {
        self.running(engine).await.len()
    }

    /// How many targets of the exposed service are healthy.
    pub async fn healthy_count(&self) -> usize {
        let elb = Elb {
            address: format!("127.0.0.1:{}", self.port + BALANCER_PORT_DISTANCE),
            region: self.api.region.clone(),
            credentials: self.api.credentials.clone(),
        };
        let group = elb.call("DescribeTargetGroups", &[], "TargetGroupArn").await;
        let health = elb.try_call("DescribeTargetHealth", &[("TargetGroupArn", &group)]).await;
        health.map_or(0, |xml| xml.matches("<State>healthy</State>").count())
    }

    /// Kills one container; answers how long it took until its replacement was RUNNING.
    pub async fn replace_one(&self, engine: &Engine) -> Duration {
        // The engine's list still has what was killed in the round before; the API knows better.
        let tasks = self.api.list_tasks(json!({"serviceName": NAME})).await;
        let victim = self.running(engine).await.into_iter().find(|(_, task)| tasks.contains(task));
        let (container, task) = victim.expect("the service runs");
        let mut events = engine.events(&self.api.cluster, NAME);
        let began = Instant::now();
        engine.kill(&container).await;
        // Asking before there is anything to see would take a core from what is measured.
        until(&mut events, "die", Some(&container)).await;
        until(&mut events, "start", None).await;
        while !self.is_whole_without(&task).await {
            assert!(began.elapsed() < wait::PATIENCE, "the killed container is replaced");
            tokio::time::sleep(ASK_EVERY).await;
        }
        began.elapsed()
    }

    /// Whether all tasks are RUNNING and `lost` is none of them.
    async fn is_whole_without(&self, lost: &str) -> bool {
        let tasks = self.api.tasks(json!({"serviceName": NAME})).await;
        let running = |task: &&Value| task["lastStatus"] == "RUNNING" && task["taskArn"] != lost;
        tasks.iter().filter(running).count() == COUNT
    }

    /// Ids and tasks of the containers that run.
    async fn running(&self, engine: &Engine) -> BTreeSet<(String, String)> {
        let containers = engine.list(&[of_cluster(&self.api.cluster)]).await;
        let running = containers.into_iter().filter(|one| one.state == "running");
        running.map(|one| (one.id, one.task)).collect()
    }

    /// Removes the service and its containers.
    pub async fn clear(&self, engine: &Engine) {
        self.run(&["service", "delete", NAME, "--force"]);
        wait::until("the service to be INACTIVE", async || {
            let seen = self.api.service(NAME).await;
            if seen["status"] == "INACTIVE" { Ok(()) } else { Err(seen) }
        })
        .await;
        wait::until("its containers to end", async || {
            let running = self.running(engine).await;
            if running.is_empty() { Ok(()) } else { Err(running) }
        })
        .await;
        engine.remove_all(&self.api.cluster).await;
    }

    /// What its processes hold.
    pub async fn resident(&self, engine: &Engine) -> Resident {
        let agent = engine.inspect(&format!("ecsr-agent-{}", self.port)).await;
        let scheduler = fs::read(self.dir.path().join("data/scheduler.pid")).unwrap_or_default();
        let scheduler: Value = serde_json::from_slice(&scheduler).unwrap_or_default();
        Resident {
            agent: resident(agent["State"]["Pid"].as_u64().unwrap_or_default()),
            scheduler: resident(scheduler["pid"].as_u64().unwrap_or_default()),
        }
    }
}

/// Waits until something happens to a container; to that one, if one is named.
async fn until(events: &mut Events, action: &str, id: Option<&str>) {
    loop {
        let event = engine::next(events).await;
        let happened_to = event.actor.and_then(|actor| actor.id);
        if event.action.as_deref() == Some(action) && (id.is_none() || happened_to.as_deref() == id) {
            return;
        }
    }
}

/// Bytes of the one file that is all of it.
pub fn binary_size() -> u64 {
    fs::metadata(binary::ecsr()).map_or(0, |file| file.len())
}

impl Drop for Subject {
    fn drop(&mut self) {
        let output = process::run(&["down", "--purge"], &self.environment());
        if !output.status.success() {
            eprintln!("ecsr down --purge: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

fn definition() -> Value {
    json!({"family": NAME, "containerDefinitions": [{
        "name": NAME,
        "image": IMAGE,
        "command": COMMAND,
        "memory": MEMORY_MIB,
        "essential": true,
        "portMappings": [{"containerPort": PORT}],
        // The server takes no notice of SIGTERM, and nobody is to wait for that between rounds.
        "stopTimeout": 1,
    }]})
}
