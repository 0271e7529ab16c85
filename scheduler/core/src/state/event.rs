//! What happened, as the journal keeps it.
//!
//! Events are facts that were already decided: `apply` never refuses one. Things that are small and change rarely are
//! recorded whole; tasks, of which there are many, by what changed. A newer binary must read every older record, so a
//! variant or field is only ever added, new fields with `#[serde(default)]`.

use std::sync::Arc;

use ecsr_api::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Cluster, Definition, Health, HexText, Instance, Known, PortBinding, Presence, Registration, Service,
    ServiceEvent, Stop, Tags, Task,
};
use crate::ids::{DefinitionId, InstanceKey, Name, ServiceKey, TaskKey};

/// One fact about the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A cluster was created, changed or deleted.
    ClusterSaved(Arc<Cluster>),
    /// A revision was registered, deregistered or marked for deletion.
    DefinitionSaved(Arc<Definition>),
    /// A revision marked for deletion is no longer used by anything.
    DefinitionForgotten(DefinitionId),
    /// How far the revisions of a family were numbered. Snapshots say it, for the revisions may be forgotten.
    FamilySaved { family: Name, last_revision: u32 },
    /// An instance registered, changed its status or its host, or was deregistered.
    InstanceSaved(Arc<Instance>),
    /// An instance's agent or host came or went.
    InstancePresence { instance: InstanceKey, presence: Presence },
    /// An INACTIVE instance is past the time that it stays describable.
    InstanceForgotten(InstanceKey),
    /// A service or one of its deployments changed.
    ServiceSaved(Arc<Service>),
    /// An INACTIVE service is past the time that it stays describable.
    ServiceForgotten(ServiceKey),
    /// A line for a service's log.
    ServiceLogged { service: ServiceKey, event: ServiceEvent },
    /// A task was placed on an instance and holds its resources from here on.
    TaskPlaced(Arc<Task>),
    /// The agent stored the task.
    TaskAcknowledged(TaskKey),
    /// The task shall stop. The first reason stays.
    TaskStopRequested { task: TaskKey, at: Timestamp, stop: Stop },
    /// The agent reported the task's state.
    TaskReported { task: TaskKey, report: Report },
    /// The agent reported the health of containers.
    TaskHealthReported { task: TaskKey, health: Vec<(Name, Health)> },
    /// What target groups hold of the task changed, by the number of its endpoint.
    TaskTargetsReported { task: TaskKey, targets: Vec<(u8, Option<Registration>)> },
    /// A STOPPED task is past the time that it stays describable.
    TaskForgotten(TaskKey),
    /// Tags were replaced, by TagResource or UntagResource.
    TaskTagged { task: TaskKey, tags: Tags },
    /// RunTask or StartTask was called with a client token.
    TokenUsed(Token),
    /// A client token is past its lifetime.
    TokenForgotten { cluster: Name, token: Name },
}

/// What a report changed of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When the scheduler took the report.
    pub at: Timestamp,
    pub known: Known,
    /// Changed containers, whole but for their health.
    pub containers: Vec<ContainerReport>,
    pub pull_started: Option<Timestamp>,
    pub pull_stopped: Option<Timestamp>,
    pub execution_stopped: Option<Timestamp>,
    /// Why it stopped, when nothing had asked for that.
    pub stop: Option<Stop>,
}

impl Report {
    /// The end of a task of which no agent will report anything: the scheduler itself lets go of it.
    pub fn ended(at: Timestamp, stop: Option<Stop>) -> Self {
        Self {
            at,
            known: Known::Stopped,
            containers: Vec::new(),
            pull_started: None,
            pull_stopped: None,
            execution_stopped: None,
            stop,
        }
    }
}

/// What a report says of one container. What is absent was not reported and stays as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerReport {
    pub name: Name,
    pub known: Option<Known>,
    pub runtime_id: Option<HexText>,
    pub image_digest: Option<HexText>,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    pub network_bindings: Option<Box<[PortBinding]>>,
}

/// A client token and what its call did, so that the same call again gets the same answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    pub cluster: Name,
    pub token: Name,
    pub at: Timestamp,
    /// SHA-256 of the call's parameters: another call under the same token is a conflict.
    pub fingerprint: String,
    pub tasks: Vec<TaskKey>,
}
