//! Everything that can be asked of the cluster, and what is decided about it.
//!
//! A decision is a pure function: it reads the state, and answers with the events to be recorded and what to reply, or
//! refuses and changes nothing. The reply names objects; `view` shows them out of the state that holds the events.

mod cluster;
mod definition;
mod host;
mod instance;
mod load_balancers;
mod parse;
mod report;
mod run;
mod service;
mod service_spec;
mod stop;
mod supported;
mod tag;
mod target;
mod target_words;
mod tick;

use ecsr_api::ecs;

use crate::context::Context;
use crate::ids::{DefinitionId, InstanceKey, Name, ServiceKey, TaskKey};
use crate::refusal::Refusal;
use crate::state::{Event, Health, State, Whereabouts};
use crate::targets::TargetReport;

pub use self::load_balancers::{GroupFacts, LOAD_BALANCERS_MAX, check_group};
pub use self::parse::parse;
pub use self::tick::{INACTIVE_KEPT, STOPPED_TASKS_KEPT};

/// What can be asked: an API call, a word of an agent, or the passing of time.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    CreateCluster(Box<ecs::CreateClusterRequest>),
    UpdateCluster(Box<ecs::UpdateClusterRequest>),
    UpdateClusterSettings(Box<ecs::UpdateClusterSettingsRequest>),
    DeleteCluster(Box<ecs::DeleteClusterRequest>),
    RegisterTaskDefinition(Box<ecs::RegisterTaskDefinitionRequest>),
    DeregisterTaskDefinition(Box<ecs::DeregisterTaskDefinitionRequest>),
    DeleteTaskDefinitions(Box<ecs::DeleteTaskDefinitionsRequest>),
    RunTask(Box<ecs::RunTaskRequest>),
    StartTask(Box<ecs::StartTaskRequest>),
    StopTask(Box<ecs::StopTaskRequest>),
    CreateService(Box<ecs::CreateServiceRequest>),
    UpdateService(Box<ecs::UpdateServiceRequest>),
    DeleteService(Box<ecs::DeleteServiceRequest>),
    RegisterContainerInstance(Box<ecs::RegisterContainerInstanceRequest>),
    /// RegisterContainerInstance with an agent's key, which the instance is bound to from then on.
    RegisterAgentsInstance {
        request: Box<ecs::RegisterContainerInstanceRequest>,
        agent_key: Box<str>,
    },
    DeregisterContainerInstance(Box<ecs::DeregisterContainerInstanceRequest>),
    UpdateContainerInstancesState(Box<ecs::UpdateContainerInstancesStateRequest>),
    SubmitTaskStateChange(Box<ecs::SubmitTaskStateChangeRequest>),
    SubmitContainerStateChange(Box<ecs::SubmitContainerStateChangeRequest>),
    TagResource(Box<ecs::TagResourceRequest>),
    UntagResource(Box<ecs::UntagResourceRequest>),
    /// The agent's ACS channel opened; the versions are those of its handshake.
    AgentConnected {
        instance: InstanceKey,
        version_info: ecs::VersionInfo,
    },
    /// The agent's ACS channel closed, or was never open with a scheduler that has just started.
    AgentDisconnected {
        instance: InstanceKey,
    },
    /// Where an instance's host is was learned from its agent's channel.
    HostLearned {
        instance: InstanceKey,
        whereabouts: Whereabouts,
    },
    /// Hosts of instances whose agents are away were asked whether they are there.
    HostsProbed {
        answered: Vec<InstanceKey>,
        unanswered: Vec<InstanceKey>,
    },
    /// The agent acknowledged a payload that held these tasks.
    TasksAcknowledged {
        instance: InstanceKey,
        tasks: Vec<TaskKey>,
    },
    /// A task that its agent has not heard of cannot start, for a reason that lies with the scheduler.
    TaskRefused {
        task: TaskKey,
        reason: String,
    },
    /// The agent published the health of containers (TCS).
    HealthPublished {
        instance: InstanceKey,
        tasks: Vec<(TaskKey, Vec<(Name, Health)>)>,
    },
    /// A target group was asked what it holds.
    TargetsObserved {
        group: Name,
        reports: Vec<TargetReport>,
    },
    /// A target group cannot be asked, or not be changed.
    TargetGroupTroubled {
        group: Name,
        trouble: String,
    },
    /// Time has passed: what has outlived its keep is forgotten.
    Tick,
}

/// What to record and what to answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub events: Vec<Event>,
    pub reply: Reply,
}

/// What the answer is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// An empty object.
    Nothing,
    /// `{"acknowledgment": ...}` of the Submit operations.
    Acknowledged,
    Cluster(Name),
    Definition(DefinitionId),
    /// DeleteTaskDefinitions: those marked, and those refused.
    Definitions {
        marked: Vec<DefinitionId>,
        failures: Vec<ecs::Failure>,
    },
    /// RunTask, StartTask.
    Tasks {
        tasks: Vec<TaskKey>,
        failures: Vec<ecs::Failure>,
    },
    /// StopTask.
    Task(TaskKey),
    Service(ServiceKey),
    Instance(InstanceKey),
    /// UpdateContainerInstancesState.
    Instances {
        instances: Vec<InstanceKey>,
        failures: Vec<ecs::Failure>,
    },
}

impl From<(Vec<Event>, Reply)> for Decision {
    fn from((events, reply): (Vec<Event>, Reply)) -> Self {
        Self { events, reply }
    }
}

/// Decides a command against the state.
pub fn decide(state: &State, command: &Command, context: &mut Context) -> Result<Decision, Refusal> {
    match command {
        Command::CreateCluster(request) => cluster::create(state, request),
        Command::UpdateCluster(request) => cluster::update(state, request),
        Command::UpdateClusterSettings(request) => cluster::update_settings(state, request),
        Command::DeleteCluster(request) => cluster::delete(state, request),
        Command::RegisterTaskDefinition(request) => definition::register(state, request, context),
        Command::DeregisterTaskDefinition(request) => definition::deregister(state, request, context),
        Command::DeleteTaskDefinitions(request) => definition::delete(state, request, context),
        Command::RunTask(request) => run::run(state, request, context),
        Command::StartTask(request) => run::start(state, request, context),
        Command::StopTask(request) => stop::stop(state, request, context),
        Command::CreateService(request) => service::create(state, request, context),
        Command::UpdateService(request) => service::update(state, request, context),
        Command::DeleteService(request) => service::delete(state, request, context),
        Command::RegisterContainerInstance(request) => instance::register(state, request, None, context),
        Command::RegisterAgentsInstance { request, agent_key } => {
            instance::register(state, request, Some(agent_key), context)
        }
        Command::DeregisterContainerInstance(request) => instance::deregister(state, request, context),
        Command::UpdateContainerInstancesState(request) => instance::update_state(state, request),
        Command::SubmitTaskStateChange(request) => report::task(state, request, context),
        Command::SubmitContainerStateChange(request) => report::container(state, request, context),
        Command::TagResource(request) => tag::tag(state, request),
        Command::UntagResource(request) => tag::untag(state, request),
        Command::AgentConnected { instance, version_info } => {
            instance::connected(state, instance, version_info)
        }
        Command::AgentDisconnected { instance } => Ok(instance::disconnected(state, instance, context)),
        Command::HostLearned { instance, whereabouts } => Ok(host::learned(state, instance, *whereabouts)),
        Command::HostsProbed { answered, unanswered } => {
            Ok(host::probed(state, answered, unanswered, context))
        }
        Command::TasksAcknowledged { instance, tasks } => Ok(report::acknowledged(state, instance, tasks)),
        Command::TaskRefused { task, reason } => Ok(report::refused(state, task, reason, context)),
        Command::HealthPublished { instance, tasks } => Ok(report::health(state, instance, tasks)),
        Command::TargetsObserved { group, reports } => Ok(target::observed(state, group, reports, context)),
        Command::TargetGroupTroubled { group, trouble } => {
            Ok(target::troubled(state, group, trouble, context))
        }
        Command::Tick => Ok(tick::tick(state, context)),
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
