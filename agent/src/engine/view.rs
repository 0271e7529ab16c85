//! What the scheduler is told of a task: a pure function of what is known.
//!
//! A report is the whole picture, so the newest one replaces any older that was not sent yet. RUNNING is told when
//! every container runs or has run; STOPPED when none can run, never earlier.

use ecsr_api::Timestamp;
use serde::{Deserialize, Serialize};

use super::container::{Container, Phase};
use super::observe::{Health, NetworkBinding};

/// The state of a task for `SubmitTaskStateChange`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The task.
    pub task_arn: String,
    /// RUNNING or STOPPED.
    pub status: Status,
    /// Why the agent itself ended or refused the task, if it did.
    pub reason: Option<String>,
    /// Every container of the task.
    pub containers: Vec<ContainerReport>,
    /// When the first pull began.
    pub pull_started_at: Option<Timestamp>,
    /// When the last pull ended.
    pub pull_stopped_at: Option<Timestamp>,
    /// When the first essential container ended.
    pub execution_stopped_at: Option<Timestamp>,
}

/// The state of a container within a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerReport {
    /// Its name.
    pub name: String,
    /// The runtime's id; `None` if it was never created.
    pub runtime_id: Option<String>,
    /// PENDING, RUNNING or STOPPED.
    pub status: Status,
    /// How it ended, once it did.
    pub exit_code: Option<i64>,
    /// Why it ended or could not start, as `Name: text`.
    pub reason: Option<String>,
    /// The digest of its image, when the image came from a registry.
    pub image_digest: Option<String>,
    /// The host ports that lead to it.
    pub bindings: Vec<NetworkBinding>,
}

/// The statuses that an agent reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// Not yet running.
    Pending,
    /// Running.
    Running,
    /// Verified not to run, for good.
    Stopped,
}

impl Status {
    /// The word of the agent protocol.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::Running => "RUNNING",
            Status::Stopped => "STOPPED",
        }
    }
}

/// A container as telemetry and the introspection endpoint see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// The runtime's id; `None` if it does not exist.
    pub runtime_id: Option<String>,
    /// Its status, as reports have it.
    pub status: Status,
    /// Whether it has a health check that ECS knows of.
    pub health_checked: bool,
    /// The verdict of its health check.
    pub health: Health,
    /// Since when that verdict holds.
    pub health_since: Option<Timestamp>,
    /// How often it was restarted in place.
    pub restarts: u32,
}

/// A task as telemetry and the introspection endpoint see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// The task's ARN.
    pub arn: String,
    /// Task definition family.
    pub family: String,
    /// Task definition revision.
    pub version: String,
    /// What it should be.
    pub desired: Status,
    /// What it is.
    pub known: Status,
    /// Its containers.
    pub containers: Vec<ContainerView>,
}

pub(super) fn container_status(container: &Container) -> Status {
    match container.phase {
        Phase::Stopped { .. } => Status::Stopped,
        Phase::Running { .. } | Phase::Resting { .. } | Phase::Stopping { .. } => Status::Running,
        Phase::Waiting
        | Phase::Pulling
        | Phase::Pulled
        | Phase::Creating
        | Phase::Created { .. }
        | Phase::Starting { .. } => {
            if container.restarts > 0 {
                Status::Running
            } else {
                Status::Pending
            }
        }
    }
}

pub(super) fn container_report(container: &Container) -> ContainerReport {
    // How a run ended is told with the end, not in the pause before the next run.
    let is_resting = matches!(container.phase, Phase::Resting { .. });
    ContainerReport {
        name: container.spec.name.clone(),
        runtime_id: container.id().map(str::to_owned),
        status: container_status(container),
        exit_code: container.exit_code.filter(|_| !is_resting),
        reason: container.reason.clone().filter(|_| !is_resting),
        image_digest: container.image_digest.clone(),
        bindings: container.bindings.clone(),
    }
}

pub(super) fn container_view(container: &Container) -> ContainerView {
    ContainerView {
        name: container.spec.name.clone(),
        runtime_id: container.id().map(str::to_owned),
        status: container_status(container),
        health_checked: container.spec.health_checked,
        health: container.health,
        health_since: container.health_since,
        restarts: container.restarts,
    }
}
