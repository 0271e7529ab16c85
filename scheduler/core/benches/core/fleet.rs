//! A cluster of many instances, and the writer that serves it.

use std::collections::BTreeSet;
use std::time::Duration;

use ecsr_api::arn::Home;
use ecsr_api::ecs::Operation;
use ecsr_api::{Timestamp, ecs};
use ecsr_core::command::{self, Command, Reply};
use ecsr_core::ids::{InstanceKey, TaskKey};
use ecsr_core::read;
use ecsr_core::reconcile::{self, Touched};
use ecsr_core::state::{Event, Known};
use ecsr_core::{Context, State};
use serde::Serialize;

/// Commands that the writer takes together under load.
pub(crate) const BATCH: usize = 256;

/// Capabilities that an agent registers, so that instances are as large as they are in life.
const CAPABILITIES: usize = 40;

/// Time that passes with a batch, as it does in life: what depends on the clock shall not find it standing.
const BATCH_TIME: Duration = Duration::from_millis(10);

const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

/// The state, and the last one that readers saw.
pub(crate) struct Fleet {
    pub state: State,
    published: State,
    touched: BTreeSet<Touched>,
    now: Timestamp,
    seed: u64,
}

impl Fleet {
    pub(crate) fn new(instances: usize) -> Self {
        let state = State::new(Home { region: "us-east-1".into(), account: "123456789012".into() });
        let mut fleet = Self {
            published: state.clone(),
            state,
            touched: BTreeSet::new(),
            now: Timestamp::from_seconds(1_700_000_000),
            seed: 0,
        };
        fleet.must(&Command::CreateCluster(Box::default()));
        for number in 0..instances {
            fleet.register(number);
        }
        fleet.define();
        fleet.settle();
        fleet
    }

    pub(crate) fn context(&mut self) -> Context {
        self.seed += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        Context::new(self.now, "arn:aws:iam::123456789012:root".into(), seed)
    }

    /// Decides a command and applies what was decided.
    pub(crate) fn must(&mut self, command: &Command) -> Reply {
        let mut context = self.context();
        let decision = command::decide(&self.state, command, &mut context).expect("the command is in order");
        for event in &decision.events {
            self.state.apply(event);
            self.touched.extend(reconcile::touched(&self.state, event));
        }
        decision.reply
    }

    /// Follows up on a batch and publishes it; gives back the tasks that this placed.
    pub(crate) fn settle(&mut self) -> Vec<TaskKey> {
        let touched = std::mem::take(&mut self.touched);
        let mut context = self.context();
        let (events, _) = reconcile::run_within(&mut self.state, &touched, usize::MAX, &mut context);
        self.published = self.state.clone();
        self.now = self.now.plus(BATCH_TIME);
        let placed = events.iter().filter_map(|event| match event {
            Event::TaskPlaced(task) => Some(task.key.clone()),
            _ => None,
        });
        placed.collect()
    }

    /// What a tick costs that finds nothing to do.
    pub(crate) fn tick(&mut self) {
        let before = self.now;
        self.now = self.now.plus(BATCH_TIME);
        assert!(reconcile::due(&self.state, before, self.now).is_empty(), "something is due");
        self.must(&Command::Tick);
        reconcile::next_wake(&self.state, self.now);
    }

    /// The answer to a read, as readers get it.
    pub(crate) fn read(&self, operation: Operation, request: &impl Serialize) -> Vec<u8> {
        let body = serde_json::to_vec(request).expect("wire types always serialise");
        read::answer(&self.published, operation, &body).expect("it only reads").expect("it is in order")
    }

    pub(crate) fn pending(&self) -> Vec<TaskKey> {
        let pending = self.published.tasks.values().filter(|task| task.known == Known::Pending);
        pending.map(|task| task.key.clone()).collect()
    }

    pub(crate) fn instances(&self) -> Vec<InstanceKey> {
        self.published.instances.keys().cloned().collect()
    }

    pub(crate) fn serve(&mut self, number: usize, count: usize) {
        let request = ecs::CreateServiceRequest {
            service_name: Some(format!("web-{number}")),
            task_definition: Some("web".into()),
            desired_count: i32::try_from(count).ok(),
            ..ecs::CreateServiceRequest::default()
        };
        self.must(&Command::CreateService(Box::new(request)));
    }

    /// The agent has stored the task, and then says that it runs.
    pub(crate) fn report_running(&mut self, key: &TaskKey, number: usize) {
        let task = self.state.tasks.get(key).expect("the task exists");
        let instance = InstanceKey { cluster: key.cluster.clone(), id: task.instance };
        self.must(&Command::TasksAcknowledged { instance, tasks: vec![key.clone()] });
        let binding = ecs::NetworkBinding {
            bind_ip: Some("0.0.0.0".into()),
            container_port: Some(80),
            host_port: i32::try_from(32768 + number % 28000).ok(),
            protocol: Some("tcp".into()),
            ..ecs::NetworkBinding::default()
        };
        let container = ecs::ContainerStateChange {
            container_name: Some("web".into()),
            image_digest: Some(format!("sha256:{:064x}", 7)),
            runtime_id: Some(format!("{:064x}", 0x1234_5678_9abc_def0_u128 + number as u128)),
            network_bindings: Some(vec![binding]),
            status: Some("RUNNING".into()),
            ..ecs::ContainerStateChange::default()
        };
        let request = ecs::SubmitTaskStateChangeRequest {
            task: Some(key.id.to_string()),
            status: Some("RUNNING".into()),
            containers: Some(vec![container]),
            pull_started_at: Some(self.now),
            pull_stopped_at: Some(self.now),
            ..ecs::SubmitTaskStateChangeRequest::default()
        };
        self.must(&Command::SubmitTaskStateChange(Box::new(request)));
    }

    /// The agent says that the task has ended.
    pub(crate) fn report_stopped(&mut self, key: &TaskKey) {
        let container = ecs::ContainerStateChange {
            container_name: Some("web".into()),
            exit_code: Some(0),
            status: Some("STOPPED".into()),
            ..ecs::ContainerStateChange::default()
        };
        let request = ecs::SubmitTaskStateChangeRequest {
            task: Some(key.id.to_string()),
            status: Some("STOPPED".into()),
            containers: Some(vec![container]),
            execution_stopped_at: Some(self.now),
            ..ecs::SubmitTaskStateChangeRequest::default()
        };
        self.must(&Command::SubmitTaskStateChange(Box::new(request)));
    }

    fn register(&mut self, number: usize) {
        let resource = |name: &str, amount| ecs::Resource {
            name: Some(name.into()),
            r#type: Some("INTEGER".into()),
            integer_value: Some(amount),
            ..ecs::Resource::default()
        };
        let attribute = |name: String, value: Option<&str>| ecs::Attribute {
            name: Some(name),
            value: value.map(str::to_owned),
            ..ecs::Attribute::default()
        };
        let capability = |number| attribute(format!("com.amazonaws.ecs.capability.feature-{number}"), None);
        let zone = attribute("ecs.availability-zone".into(), Some(ZONES[number % ZONES.len()]));
        let request = ecs::RegisterContainerInstanceRequest {
            total_resources: Some(vec![resource("CPU", 65_536), resource("MEMORY", 262_144)]),
            attributes: Some((0..CAPABILITIES).map(capability).chain([zone]).collect()),
            ..ecs::RegisterContainerInstanceRequest::default()
        };
        let Reply::Instance(instance) = self.must(&Command::RegisterContainerInstance(Box::new(request)))
        else {
            panic!("a registration answers with the instance");
        };
        self.must(&Command::AgentConnected { instance, version_info: ecs::VersionInfo::default() });
    }

    fn define(&mut self) {
        let port =
            ecs::PortMapping { container_port: Some(80), host_port: Some(0), ..ecs::PortMapping::default() };
        let container = ecs::ContainerDefinition {
            name: Some("web".into()),
            image: Some("busybox".into()),
            cpu: Some(128),
            memory: Some(64),
            port_mappings: Some(vec![port]),
            ..ecs::ContainerDefinition::default()
        };
        let request = ecs::RegisterTaskDefinitionRequest {
            family: Some("web".into()),
            container_definitions: Some(vec![container]),
            ..ecs::RegisterTaskDefinitionRequest::default()
        };
        self.must(&Command::RegisterTaskDefinition(Box::new(request)));
    }
}
