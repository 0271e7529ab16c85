//! One cluster of one scheduler and one agent, each a process of its own, on this machine's engine.
//!
//! Both listen to the same rules as in production: they are started with flags and environment, spoken to through
//! the API, and ended by signals. The agent runs beside the engine rather than in a container, so that killing it
//! is killing a process; `ecsr up`, which puts it into one, has tests of its own.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use aws_credential_types::Credentials;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::engine::{Engine, Seen, label, of_cluster};
use crate::process::{self, Process};
use crate::spec::laid_over;
use crate::wait;

/// The region of every world.
pub const REGION: &str = "us-east-1";

/// How a world differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Variables of the agent, over the world's own.
    pub agent: Vec<(&'static str, String)>,
    /// Whether it has a load balancer.
    pub balancer: bool,
}

/// A cluster. Dropping it ends its processes and removes its containers.
#[derive(Debug)]
pub struct World {
    /// The cluster's name, which no other world has.
    pub cluster: String,
    pub api: Api,
    pub engine: Engine,
    pub scheduler: Option<Process>,
    pub agent: Option<Process>,
    pub balancer: Option<Process>,
    /// Where the balancer's API is served, in a world that has one.
    pub balancer_address: String,
    others: Vec<Process>,
    setup: Setup,
    dir: TempDir,
}

impl World {
    /// A cluster with an ACTIVE instance.
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// Like [`World::start`], with a setup of its own.
    pub async fn start_with(setup: Setup) -> Self {
        let mut world = Self::prepare(setup).await;
        if world.setup.balancer {
            world.start_balancer();
        }
        world.start_scheduler().await;
        world.start_agent();
        world.await_instance().await;
        world
    }

    /// A cluster whose parts are all yet to be started.
    ///
    /// # Panics
    /// When the machine gives no directory, port or key for it.
    pub async fn prepare(setup: Setup) -> Self {
        let engine = Engine::connect().await;
        let dir = tempfile::Builder::new().prefix("ecsr-test-").tempdir().expect("a directory can be made");
        let data_dir = dir.path().join("scheduler");
        std::fs::create_dir(&data_dir).expect("the world's directory is writable");
        let cluster = unique_name();
        let credentials = create_key(&data_dir.display().to_string());
        let address = format!("127.0.0.1:{}", free_port());
        let api = Api { address, region: REGION.to_owned(), credentials, cluster: cluster.clone() };
        Self {
            cluster,
            api,
            engine,
            scheduler: None,
            agent: None,
            balancer: None,
            balancer_address: format!("127.0.0.1:{}", free_port()),
            others: Vec::new(),
            setup,
            dir,
        }
    }

    /// Starts the scheduler and waits until it answers.
    pub async fn start_scheduler(&mut self) {
        let data_dir = self.dir.path().join("scheduler").display().to_string();
        let args = [
            ("--data-dir", data_dir.as_str()),
            ("--listen", &self.api.address),
            ("--region", REGION),
            ("--cluster", &self.cluster),
        ];
        let args = ["scheduler"].into_iter().chain(args.into_iter().flat_map(|(flag, value)| [flag, value]));
        let mut args: Vec<&str> = args.collect();
        let balancer = format!("http://{}", self.balancer_address);
        if self.setup.balancer {
            args.extend(["--balancer", &balancer]);
        }
        self.scheduler = Some(Process::start("scheduler", self.dir.path(), &args, &base_environment()));
        wait::until("the scheduler to answer", async || {
            self.api.try_call("DescribeClusters", json!({"clusters": [self.cluster]})).await
        })
        .await;
    }

    /// Starts the load balancer, and waits for nothing. What it listens on is on the loopback address.
    pub fn start_balancer(&mut self) {
        let data_dir = self.dir.path().join("scheduler").display().to_string();
        let args =
            ["balancer", "--data-dir", &data_dir, "--listen", &self.balancer_address, "--bind", "127.0.0.1"];
        self.balancer = Some(Process::start("balancer", self.dir.path(), &args, &base_environment()));
    }

    /// Starts the agent, and waits for nothing.
    pub fn start_agent(&mut self) {
        let environment = self.agent_environment(&self.agent_dir());
        self.agent = Some(Process::start("agent", self.dir.path(), &["agent"], &environment));
    }

    /// Makes this engine a further instance, with an agent of its own, and waits until it is there.
    pub async fn join_another(&mut self) {
        let expected = self.instances().await.len() + 1;
        let environment = self.agent_environment(&self.dir.path().join(format!("agent-{expected}")));
        self.others.push(Process::start("another-agent", self.dir.path(), &["agent"], &environment));
        wait::until("another instance with its agent connected", async || {
            let instances = self.instances().await;
            let connected = instances.iter().filter(|one| one["agentConnected"] == true).count();
            if connected == expected { Ok(()) } else { Err(instances) }
        })
        .await;
    }

    /// Where the agent keeps what Docker cannot.
    pub fn agent_dir(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    /// A directory that ends with the world.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Changes a variable of the agent from its next start on.
    pub fn set_agent(&mut self, name: &'static str, value: &str) {
        self.setup.agent.push((name, value.to_owned()));
    }

    /// What an agent of this world is started with.
    pub fn agent_environment(&self, data_dir: &Path) -> BTreeMap<String, String> {
        let mut environment = base_environment();
        let key = &self.api.credentials;
        let data_dir = data_dir.display().to_string();
        let own = [
            ("ECS_CLUSTER", self.cluster.as_str()),
            ("ECS_BACKEND_HOST", &format!("http://{}", self.api.address)),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", key.access_key_id()),
            ("AWS_SECRET_ACCESS_KEY", key.secret_access_key()),
            ("ECS_DATADIR", &data_dir),
            ("ECS_HOST_DATA_DIR", &data_dir),
            ("ECS_EXTERNAL", "true"),
            // What takes no notice of SIGTERM shall not hold a test up.
            ("ECS_CONTAINER_STOP_TIMEOUT", "2s"),
        ];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        environment.extend(self.setup.agent.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        environment
    }

    /// Runs the command line against this world, `ecsr <args>`.
    pub fn ecsr(&self, args: &[&str]) -> std::process::Output {
        let mut environment = base_environment();
        let key = &self.api.credentials;
        let own = [
            ("AWS_ENDPOINT_URL_ECS", format!("http://{}", self.api.address)),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", key.access_key_id().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", key.secret_access_key().to_owned()),
            ("ECS_CLUSTER", self.cluster.clone()),
        ];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        if self.setup.balancer {
            let balancer = format!("http://{}", self.balancer_address);
            environment.insert("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2".to_owned(), balancer);
        }
        process::run(args, &environment)
    }

    /// What `ecsr <args>` prints; it must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn done(&self, args: &[&str]) -> String {
        let output = self.ecsr(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ecsr {}: {said}", args.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The instances of the cluster, described.
    pub async fn instances(&self) -> Vec<Value> {
        let arns = self.api.call("ListContainerInstances", json!({})).await["containerInstanceArns"].take();
        if arns.as_array().is_none_or(Vec::is_empty) {
            return Vec::new();
        }
        let mut answer =
            self.api.call("DescribeContainerInstances", json!({"containerInstances": arns})).await;
        answer["containerInstances"].as_array_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Waits until the one instance is ACTIVE with its agent connected; answers its ARN.
    pub async fn await_instance(&self) -> String {
        wait::until("one ACTIVE instance with its agent connected", async || {
            let instances = self.instances().await;
            match instances.as_slice() {
                [one] if one["status"] == "ACTIVE" && one["agentConnected"] == true => {
                    Ok(one["containerInstanceArn"].as_str().unwrap_or_default().to_owned())
                }
                _ => Err(instances),
            }
        })
        .await
    }

    /// Registers a task definition; answers its ARN.
    pub async fn register(&self, definition: Value) -> String {
        let answer = self.api.call("RegisterTaskDefinition", definition).await;
        answer["taskDefinition"]["taskDefinitionArn"].as_str().unwrap_or_default().to_owned()
    }

    /// Registers `definition` and runs one task of it; answers the task's ARN.
    ///
    /// # Panics
    /// When it cannot be placed.
    pub async fn run(&self, definition: Value) -> String {
        let definition = self.register(definition).await;
        let answer = self.api.call("RunTask", json!({"taskDefinition": definition})).await;
        assert_eq!(answer["failures"], json!([]), "a task is placed");
        answer["tasks"][0]["taskArn"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the task is in `status`; answers its description.
    ///
    /// # Panics
    /// When it ended instead, for it will never be there.
    pub async fn await_task(&self, arn: &str, status: &str) -> Value {
        wait::until(&format!("task {arn} to be {status}"), async || {
            let task = self.api.task(arn).await;
            let now = task["lastStatus"].as_str().unwrap_or_default();
            assert!(
                now != "STOPPED" || status == "STOPPED",
                "the task stopped instead of being {status}: {task:#}"
            );
            if now == status { Ok(task) } else { Err(task) }
        })
        .await
    }

    /// Stops a task.
    pub async fn stop(&self, arn: &str) {
        self.api.call("StopTask", json!({"task": arn})).await;
    }

    /// Creates a service of `count` tasks with `members` over the usual request.
    pub async fn create_service(&self, name: &str, definition: &str, count: usize, members: Value) {
        let request = json!({"serviceName": name, "taskDefinition": definition, "desiredCount": count});
        self.api.call("CreateService", laid_over(request, members)).await;
    }

    /// Waits until the service has what it should have: one deployment, as many RUNNING as desired, none PENDING.
    pub async fn await_stable(&self, service: &str) -> Value {
        wait::until(&format!("service {service} to be stable"), async || {
            let seen = self.api.service(service).await;
            let deployments = seen["deployments"].as_array().map_or(0, Vec::len);
            let settled = seen["runningCount"] == seen["desiredCount"] && seen["pendingCount"] == 0;
            if deployments == 1 && settled { Ok(seen) } else { Err(seen) }
        })
        .await
    }

    /// The containers of this cluster, of all states.
    pub async fn containers(&self) -> Vec<Seen> {
        self.engine.list(&[of_cluster(&self.cluster)]).await
    }

    /// The containers of one family of this cluster, of all states.
    pub async fn containers_of(&self, family: &str) -> Vec<Seen> {
        self.engine.list(&[of_cluster(&self.cluster), format!("{}={family}", label::FAMILY)]).await
    }

    /// The engine's view of container `name` of a task; `Null` when there is none.
    pub async fn inspect(&self, task: &str, name: &str) -> Value {
        let labels = [format!("{}={task}", label::TASK_ARN), format!("{}={name}", label::CONTAINER_NAME)];
        match self.engine.list(&labels).await.as_slice() {
            [] => Value::Null,
            [one] => self.engine.inspect(&one.id).await,
            more => panic!("container {name} of {task} exists {} times", more.len()),
        }
    }

    /// What container `name` of a task wrote.
    pub async fn logs(&self, task: &str, name: &str) -> String {
        let container = self.inspect(task, name).await;
        self.engine.logs(container["Id"].as_str().unwrap_or_default()).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // First nobody must be left who would replace what is removed.
        self.agent = None;
        self.others.clear();
        self.scheduler = None;
        self.balancer = None;
        let (engine, cluster) = (self.engine.clone(), self.cluster.clone());
        let cleaner = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(engine.remove_all(&cluster));
        });
        if cleaner.join().is_err() {
            eprintln!("containers of cluster {} may be left over", self.cluster);
        }
    }
}

/// What every process of a world inherits: where programs and the engine are, and how much to say.
pub fn base_environment() -> BTreeMap<String, String> {
    let inherited = ["PATH", "HOME", "DOCKER_HOST", "RUST_LOG", "RUST_BACKTRACE"];
    let inherited = inherited.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    inherited.chain([("NO_COLOR".to_owned(), "1".to_owned())]).collect()
}

/// A cluster name that nobody else uses: this process, and a count within it.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A port that was free a moment ago. The world keeps it over restarts, as a real scheduler does.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the machine has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A key of the scheduler with that data directory.
///
/// # Panics
/// When `ecsr key create` fails.
pub fn create_key(data_dir: &str) -> Credentials {
    let output = process::run(&["key", "create", "-o", "json", "--data-dir", data_dir], &BTreeMap::new());
    assert!(output.status.success(), "ecsr key create: {}", String::from_utf8_lossy(&output.stderr));
    let key: Value = serde_json::from_slice(&output.stdout).expect("-o json prints JSON");
    let member = |name: &str| key[name].as_str().expect("a fresh key is shown").to_owned();
    Credentials::from_keys(member("accessKeyId"), member("secretAccessKey"), None)
}
