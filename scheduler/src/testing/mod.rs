//! Small worlds for tests, made by the core's own commands.

mod running;

use ecsr_api::Timestamp;
use ecsr_api::arn::Home;
use ecsr_api::ecs;
use ecsr_core::command::{self, Command, Reply};
use ecsr_core::ids::{InstanceKey, TaskKey};
use ecsr_core::{Context, State};
use serde_json::{Value, json};

pub(crate) use self::running::Running;

/// A cluster `default` with one connected instance, and tasks on it.
pub(crate) struct World {
    pub state: State,
    pub now: Timestamp,
    pub instance: InstanceKey,
    pub tasks: Vec<TaskKey>,
}

/// Where all tests live.
pub(crate) fn home() -> Home {
    Home { region: "us-east-1".into(), account: "123456789012".into() }
}

/// A request out of its JSON.
#[expect(clippy::unnecessary_box_returns, reason = "commands hold their requests boxed")]
pub(crate) fn request<T: serde::de::DeserializeOwned>(body: Value) -> Box<T> {
    Box::new(serde_json::from_value(body).expect("a request"))
}

/// The registration of an instance with room for everything in these tests.
pub(crate) fn registration() -> Box<ecs::RegisterContainerInstanceRequest> {
    request(json!({
        "cluster": "default",
        "totalResources": [
            {"name": "CPU", "type": "INTEGER", "integerValue": 65536},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": 65536},
            {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"]},
            {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
        ],
        "attributes": capabilities(),
    }))
}

/// Everything that an agent may be able to do.
fn capabilities() -> Vec<Value> {
    let docker = (17..=32).map(|minor| format!("com.amazonaws.ecs.capability.docker-remote-api.1.{minor}"));
    let others = [
        "com.amazonaws.ecs.capability.privileged-container",
        "com.amazonaws.ecs.capability.logging-driver.json-file",
        "com.amazonaws.ecs.capability.logging-driver.awslogs",
        "com.amazonaws.ecs.capability.ecr-auth",
        "ecs.capability.container-health-check",
        "ecs.capability.container-ordering",
        "ecs.capability.container-restart-policy",
        "ecs.capability.secrets.ssm.environment-variables",
        "ecs.capability.secrets.asm.environment-variables",
        "ecs.capability.execution-role-awslogs",
        "ecs.capability.execution-role-ecr-pull",
        "ecs.capability.docker-plugin.local",
        "ecs.capability.pid-ipc-namespace-sharing",
        "ecs.capability.task-cpu-mem-limit",
    ];
    docker.chain(others.map(str::to_owned)).map(|name| json!({ "name": name })).collect()
}

impl World {
    /// A world with so many tasks of a small web server.
    pub(crate) fn with_tasks(count: usize) -> Self {
        let container = json!({"name": "web", "image": "busybox", "memory": 16, "cpu": 1});
        let definition = json!({"family": "web", "containerDefinitions": [container]});
        let mut world = Self::with_definition(definition);
        for _ in 0..count {
            world.run(json!({"taskDefinition": "web"}));
        }
        world
    }

    /// A world with one registered task definition.
    pub(crate) fn with_definition(definition: Value) -> Self {
        let (state, now) = (State::new(home()), Timestamp::from_seconds(1_700_000_000));
        let instance = InstanceKey { cluster: "default".into(), id: "0".repeat(32).parse().expect("an id") };
        let mut world = Self { state, now, instance, tasks: Vec::new() };
        world.execute(&Command::CreateCluster(request(json!({}))));
        let Reply::Instance(instance) = world.execute(&Command::RegisterContainerInstance(registration()))
        else {
            panic!("an instance was registered");
        };
        world.instance = instance.clone();
        world.execute(&Command::AgentConnected { instance, version_info: ecs::VersionInfo::default() });
        world.execute(&Command::RegisterTaskDefinition(request(definition)));
        world
    }

    /// Runs one task and gives its key.
    pub(crate) fn run(&mut self, body: Value) -> TaskKey {
        let Reply::Tasks { tasks, failures } = self.execute(&Command::RunTask(request(body))) else {
            panic!("tasks were run");
        };
        assert_eq!(failures, []);
        self.tasks.push(tasks[0].clone());
        tasks[0].clone()
    }

    fn execute(&mut self, command: &Command) -> Reply {
        let seed = u8::try_from(self.state.tasks.len()).expect("a small world");
        let mut context = Context::new(self.now, "arn:aws:iam::123456789012:root".into(), [seed; 32]);
        let decision = command::decide(&self.state, command, &mut context).expect("a legal command");
        for event in &decision.events {
            self.state.apply(event);
        }
        decision.reply
    }
}
