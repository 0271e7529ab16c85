//! The agent's way to the scheduler: the simulated network in place of HTTP and a WebSocket.

use std::sync::Arc;

use ecsr_agent::engine::{BoundPorts, ContainerReport, NetworkBinding, Status, TaskReport};
use ecsr_agent::uplink::{ApiFailure, Hello, Line, Received, Submitted, Unopened, Uplink};
use ecsr_api::ecs;
use ecsr_core::Refusal;
use ecsr_core::command::{Command, Reply};

use crate::control::{Admission, Failure};
use crate::line::{Heard, LineEnd};
use crate::trace::Fault;
use crate::world::{Copies, Party, World};

/// The capabilities that the definitions of a run ask for.
const CAPABILITIES: [&str; 6] = [
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.24",
    "ecs.capability.container-health-check",
    "ecs.capability.container-ordering",
    "ecs.capability.container-restart-policy",
    "ecs.capability.full-sync",
];

/// A host's uplink.
#[derive(Clone)]
pub(crate) struct Wire {
    world: Arc<World>,
    host: usize,
}

/// The agent's end of a line.
pub(crate) struct AgentLine {
    world: Arc<World>,
    end: LineEnd,
}

impl Wire {
    pub(crate) fn new(world: &Arc<World>, host: usize) -> Self {
        Self { world: world.clone(), host }
    }

    fn party(&self) -> Party {
        Party::Host(self.host)
    }

    /// One call; what comes of it besides a reply is a reason to try again, or not to.
    async fn call(&self, command: Command) -> Result<Reply, ApiFailure> {
        match self.world.call(self.party(), command, Copies::MayCome).await {
            Some(Ok(done)) => Ok(done.reply),
            Some(Err(Failure::Refused(Refusal::ClusterNotFound))) => {
                Err(ApiFailure::NoCluster("Cluster not found.".to_owned()))
            }
            Some(Err(Failure::Refused(refusal @ (Refusal::Client(_) | Refusal::InvalidParameter(_))))) => {
                Err(ApiFailure::Refused(refusal.to_string()))
            }
            Some(Err(Failure::Refused(refusal))) => Err(ApiFailure::Passing(refusal.to_string())),
            Some(Err(Failure::NotDurable)) => Err(ApiFailure::Passing("not durable".to_owned())),
            None => Err(ApiFailure::Passing("no answer".to_owned())),
        }
    }
}

impl Uplink for Wire {
    type Line = AgentLine;

    async fn register(&self, earlier: Option<&str>) -> Result<String, ApiFailure> {
        let machine = &self.world.machines[self.host];
        let resource = |name: &str, amount: u32| ecs::Resource {
            name: Some(name.to_owned()),
            r#type: Some("INTEGER".to_owned()),
            integer_value: i32::try_from(amount).ok(),
            ..ecs::Resource::default()
        };
        let attribute = |name: &str, value: Option<&str>| ecs::Attribute {
            name: Some(name.to_owned()),
            value: value.map(str::to_owned),
            ..ecs::Attribute::default()
        };
        let capabilities = CAPABILITIES.iter().map(|name| attribute(name, None));
        let zone = attribute("ecs.availability-zone", Some(machine.zone));
        let request = ecs::RegisterContainerInstanceRequest {
            cluster: Some("default".to_owned()),
            container_instance_arn: earlier.map(str::to_owned),
            total_resources: Some(vec![resource("CPU", machine.cpu), resource("MEMORY", machine.memory)]),
            attributes: Some(capabilities.chain([zone]).collect()),
            ..ecs::RegisterContainerInstanceRequest::default()
        };
        match self.call(Command::RegisterContainerInstance(Box::new(request))).await? {
            Reply::Instance(key) => {
                Ok(crate::control::home().container_instance_arn(&key.cluster, &key.id.to_string()))
            }
            other => Err(ApiFailure::Passing(format!("an odd reply: {other:?}"))),
        }
    }

    async fn create_cluster(&self, name: &str) -> Result<(), ApiFailure> {
        let request = ecs::CreateClusterRequest {
            cluster_name: Some(name.to_owned()),
            ..ecs::CreateClusterRequest::default()
        };
        self.call(Command::CreateCluster(Box::new(request))).await.map(drop)
    }

    async fn submit(&self, report: TaskReport) -> Submitted {
        self.world
            .trace
            .note(self.party(), format_args!("reports {} {}", report.task_arn, report.status.as_str()));
        let (task_arn, status) = (report.task_arn.clone(), report.status);
        if status == Status::Stopped {
            self.world.law.told_stopped(self.host, &task_arn);
        }
        match self.call(Command::SubmitTaskStateChange(Box::new(state_change(report)))).await {
            Ok(_) => Submitted::Acknowledged,
            Err(ApiFailure::Refused(why)) => {
                self.world.trace.note(self.party(), format_args!("{task_arn} {status:?} refused: {why}"));
                Submitted::Refused(why)
            }
            Err(ApiFailure::NoCluster(why) | ApiFailure::Passing(why)) => Submitted::Failed(why),
        }
    }

    async fn open(&self, hello: Hello<'_>) -> Result<AgentLine, Unopened> {
        let lost = || Unopened::Lost("no answer".to_owned());
        if !self.world.cross(self.party(), Fault::CallLost).await {
            return Err(lost());
        }
        let admission = self.world.control.open(&self.world, self.host, hello.container_instance);
        let end = match admission {
            Admission::Opened(end) => end,
            Admission::Unknown(why) => return Err(Unopened::Inactive(why)),
            Admission::Away => return Err(lost()),
        };
        if !self.world.cross(self.party(), Fault::AnswerLost).await {
            return Err(lost());
        }
        Ok(AgentLine { world: self.world.clone(), end })
    }
}

impl Line for AgentLine {
    async fn receive(&mut self) -> Result<Received, String> {
        match self.end.receive().await {
            Heard::Text(text) => Ok(Received::Text(text)),
            Heard::Closed => Ok(Received::Close),
            Heard::Broken => Err("connection reset by peer".to_owned()),
        }
    }

    async fn send(&mut self, text: String) -> Result<(), String> {
        let is_sent = self.end.send(text, self.world.hop());
        is_sent.then_some(()).ok_or_else(|| "broken pipe".to_owned())
    }

    async fn close(&mut self, _reason: &'static str) {
        self.end.close();
    }
}

fn state_change(report: TaskReport) -> ecs::SubmitTaskStateChangeRequest {
    ecs::SubmitTaskStateChangeRequest {
        cluster: Some("default".to_owned()),
        task: Some(report.task_arn),
        status: Some(report.status.as_str().to_owned()),
        reason: report.reason,
        containers: Some(report.containers.into_iter().map(container_change).collect()),
        pull_started_at: report.pull_started_at,
        pull_stopped_at: report.pull_stopped_at,
        execution_stopped_at: report.execution_stopped_at,
        ..ecs::SubmitTaskStateChangeRequest::default()
    }
}

fn container_change(container: ContainerReport) -> ecs::ContainerStateChange {
    ecs::ContainerStateChange {
        container_name: Some(container.name),
        exit_code: container.exit_code.and_then(|code| i32::try_from(code).ok()),
        image_digest: container.image_digest,
        network_bindings: Some(container.bindings.into_iter().filter_map(binding).collect()),
        reason: container.reason,
        runtime_id: container.runtime_id,
        status: Some(container.status.as_str().to_owned()),
    }
}

fn binding(binding: NetworkBinding) -> Option<ecs::NetworkBinding> {
    let BoundPorts::Single { container, host } = binding.ports else { return None };
    Some(ecs::NetworkBinding {
        bind_ip: Some(binding.bind_ip),
        container_port: Some(container.into()),
        host_port: Some(host.into()),
        protocol: Some(binding.protocol),
        ..ecs::NetworkBinding::default()
    })
}
