//! Tasks: desired, known and reported state apart; what users see is computed from them in `view`.

use std::sync::Arc;
use std::time::Duration;

use ecsr_api::{Timestamp, ecs};
use serde::{Deserialize, Serialize};

use super::{Endpoint, HexText, PortBinding, Protocol, SETTLED_AFTER, Tags};
use crate::ids::{
    ContainerId, DefinitionId, DeploymentId, GroupKey, InstanceId, InstanceKey, Name, ServiceKey, TaskKey,
};
use crate::task_definition::Demand;

/// One task: a task definition placed on an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub key: TaskKey,
    pub definition: DefinitionId,
    pub instance: InstanceId,
    pub origin: Origin,
    /// `service:<name>`, `family:<family>`, or what the caller of RunTask gave.
    pub group: Name,
    /// The caller's text of a standalone task; a service's task shows its deployment instead.
    pub started_by: Option<Name>,
    /// What the task holds of its instance from placement to STOPPED.
    pub demand: Arc<Demand>,
    pub overrides: Arc<ecs::TaskOverride>,
    pub launch_type: LaunchType,
    pub availability_zone: Option<Name>,
    pub enable_execute_command: bool,
    pub desired: Desired,
    pub known: Known,
    /// Whether the agent has said that it stored the task; then it need not be sent again.
    pub acknowledged: bool,
    pub containers: Box<[Container]>,
    /// What its service's target groups know of it.
    #[serde(default, skip_serializing_if = "<[Endpoint]>::is_empty")]
    pub endpoints: Box<[Endpoint]>,
    pub tags: Arc<Tags>,
    pub times: Times,
    pub stop: Option<Box<Stop>>,
    /// Counts changes that ECS would announce; starts at 1.
    pub version: i64,
}

impl Task {
    /// The service that the task belongs to.
    pub fn service(&self) -> Option<ServiceKey> {
        match &self.origin {
            Origin::Standalone => None,
            Origin::Service { name, .. } => {
                Some(ServiceKey { cluster: self.key.cluster.clone(), name: name.clone() })
            }
        }
    }

    /// The instance that the task is on.
    pub fn host(&self) -> InstanceKey {
        InstanceKey { cluster: self.key.cluster.clone(), id: self.instance }
    }

    /// Where the task is counted for its cluster.
    pub(super) fn tally(&self) -> (Name, LaunchType) {
        (self.key.cluster.clone(), self.launch_type)
    }

    /// The group whose tasks "spread" and "distinct" count.
    pub fn peers(&self) -> GroupKey {
        GroupKey { cluster: self.key.cluster.clone(), group: self.group.clone() }
    }

    /// The deployment that started the task.
    pub fn deployment(&self) -> Option<DeploymentId> {
        match &self.origin {
            Origin::Standalone => None,
            Origin::Service { deployment, .. } => Some(*deployment),
        }
    }

    /// Whether the task still holds resources: everything but STOPPED.
    pub fn is_live(&self) -> bool {
        self.known != Known::Stopped
    }

    /// RUNNING, with every essential container running and, if it has a health check, passing it, and healthy in all of
    /// its target groups.
    pub fn is_healthy(&self) -> bool {
        let passes = |one: &Container| !one.health_checked || one.health == Health::Healthy;
        let mut essential = self.containers.iter().filter(|container| container.essential);
        self.known == Known::Running
            && essential.all(|one| one.known != Known::Stopped && passes(one))
            && self.is_in_service()
    }

    /// Whether an essential container fails its health check, or a target group's.
    pub fn is_failing(&self) -> bool {
        self.is_out_of_service() || self.fails_container_checks()
    }

    /// Whether an essential container fails its health check.
    pub fn fails_container_checks(&self) -> bool {
        self.containers.iter().any(|one| one.essential && one.health == Health::Unhealthy)
    }

    /// When a task without a health check has run long enough that it is trusted to go on. ECS waits for 40 seconds;
    /// what ends by itself right after its start is seen well before.
    pub fn settled_at(&self) -> Option<Timestamp> {
        let checked = self.containers.iter().any(|one| one.essential && one.health_checked)
            || !self.endpoints.is_empty();
        let wait = if checked { Duration::ZERO } else { SETTLED_AFTER };
        Some(self.times.started?.plus(wait))
    }

    /// Whether the task, at another time, holds the same host ports. Containers that report new ones are rare, so those
    /// that report the same in another order count as different.
    pub(super) fn holds_ports_of(&self, other: &Self) -> bool {
        let [own, others] =
            [self, other].map(|task| task.containers.iter().map(|container| &container.network_bindings));
        own.eq(others)
    }

    /// Every host port that the task holds, once: the fixed ones from the start, the dynamic ones once they are
    /// reported.
    pub fn host_ports(&self) -> Vec<(Protocol, u16)> {
        let fixed_tcp = self.demand.ports_tcp.iter().map(|port| (Protocol::Tcp, *port));
        let fixed_udp = self.demand.ports_udp.iter().map(|port| (Protocol::Udp, *port));
        let bound = self.containers.iter().flat_map(|container| &container.network_bindings);
        let mut ports: Vec<(Protocol, u16)> =
            fixed_tcp.chain(fixed_udp).chain(bound.filter_map(PortBinding::host_port)).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// Who started the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// RunTask or StartTask.
    Standalone,
    /// The service scheduler.
    Service { name: Name, deployment: DeploymentId },
}

/// Where the task counts as launched. Amazon's own machines are not ours to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LaunchType {
    Ec2,
    External,
}

impl LaunchType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::External => "EXTERNAL",
        }
    }
}

/// What the task should be. STOPPED is for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Desired {
    Running,
    Stopped,
}

/// What the agent last reported. It only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Known {
    Pending,
    Running,
    Stopped,
}

impl Known {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// One container of a task, as reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub name: Name,
    pub id: ContainerId,
    /// Whether the task ends with this container.
    pub essential: bool,
    pub known: Known,
    pub runtime_id: Option<HexText>,
    pub image_digest: Option<HexText>,
    pub exit_code: Option<i32>,
    pub reason: Option<Box<str>>,
    pub network_bindings: Box<[PortBinding]>,
    pub health: Health,
    /// Whether the container has a health check, so that its health matters.
    pub health_checked: bool,
}

/// What the container's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Health {
    Unknown,
    Healthy,
    Unhealthy,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
        }
    }
}

/// When things happened to a task; absent until they did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    pub created: Timestamp,
    pub pull_started: Option<Timestamp>,
    pub pull_stopped: Option<Timestamp>,
    pub started: Option<Timestamp>,
    pub stopping: Option<Timestamp>,
    pub execution_stopped: Option<Timestamp>,
    pub stopped: Option<Timestamp>,
}

/// Why a task stops, in ECS's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub code: StopCode,
    pub reason: String,
}

/// ECS's `stopCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    UserInitiated,
    ServiceSchedulerInitiated,
    TerminationNotice,
}

impl StopCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskFailedToStart => "TaskFailedToStart",
            Self::EssentialContainerExited => "EssentialContainerExited",
            Self::UserInitiated => "UserInitiated",
            Self::ServiceSchedulerInitiated => "ServiceSchedulerInitiated",
            Self::TerminationNotice => "TerminationNotice",
        }
    }
}
