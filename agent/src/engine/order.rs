//! What goes into the engine and what comes out of it: facts, orders, and actions for the driver.

use std::time::Duration;

use ecsr_api::Timestamp;

use super::observe::{Health, Snapshot};
use super::spec::TaskSpec;
use super::view::TaskReport;

/// What the operator may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Grace of a container that names none (`ECS_CONTAINER_STOP_TIMEOUT`).
    pub stop_timeout: Duration,
    /// How long a stopped task's containers are kept (`ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION`).
    pub cleanup_wait: Duration,
    /// Whether images are pulled before dependencies hold (`ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT`).
    pub pull_upfront: bool,
}

/// Names a container of a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerKey {
    /// The task's ARN.
    pub task_arn: String,
    /// The container's name in the task.
    pub container: String,
}

/// A fact or an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The scheduler wants this task to run. Harmless for a task that is known.
    Run(TaskSpec),
    /// An earlier agent had this task, with these containers; what runs goes on, nothing new is started until
    /// the scheduler confirms the task.
    Adopt {
        /// The task, rebuilt from labels or from the ledger.
        spec: TaskSpec,
        /// The containers that exist, by name in the task.
        containers: Vec<(String, Snapshot)>,
    },
    /// The scheduler's list has the task as RUNNING.
    Confirm {
        /// The task.
        task_arn: String,
    },
    /// The scheduler wants the task stopped.
    Stop {
        /// The task.
        task_arn: String,
    },
    /// The task cannot run here: it is told STOPPED for this reason.
    Reject {
        /// The task.
        task_arn: String,
        /// Why, for the task's reason.
        reason: String,
    },
    /// Answers [`Action::Pull`].
    Pulled {
        /// The container that asked.
        key: ContainerKey,
        /// The image, or the container's reason.
        outcome: Result<Image, String>,
    },
    /// Answers [`Action::Create`].
    Created {
        /// The container that asked.
        key: ContainerKey,
        /// The container as it is now, or its reason.
        outcome: Result<Snapshot, String>,
    },
    /// Answers [`Action::Start`]. The id may differ when the driver had to make the container anew.
    Started {
        /// The container that asked.
        key: ContainerKey,
        /// The container as it is now, or its reason.
        outcome: Result<Snapshot, String>,
    },
    /// Answers [`Action::Stop`] when the container still runs or its state cannot be told. A stop that worked is
    /// answered by `Observed` or `Gone`.
    StopFailed {
        /// The container.
        key: ContainerKey,
    },
    /// The container was inspected.
    Observed {
        /// The container.
        key: ContainerKey,
        /// What was seen.
        snapshot: Snapshot,
    },
    /// The container's process ended; the runtime said so without being asked.
    Died {
        /// The container.
        key: ContainerKey,
        /// The id that was told of.
        id: String,
        /// The exit code, 128 + signal when a signal ended it.
        exit_code: i64,
        /// When it ended.
        at: Timestamp,
    },
    /// The container does not exist any more.
    Gone {
        /// The container.
        key: ContainerKey,
        /// The id that is gone.
        id: String,
    },
    /// The health check gave a verdict.
    Health {
        /// The container.
        key: ContainerKey,
        /// The verdict.
        health: Health,
    },
    /// The scheduler came or went.
    Contact(Contact),
    /// A timer ran out.
    TimerFired(Timer),
    /// The scheduler has acknowledged STOPPED, or will never want to hear of the task.
    StopAccepted {
        /// The task.
        task_arn: String,
    },
    /// Answers [`Action::Remove`].
    Removed {
        /// The task.
        task_arn: String,
        /// Whether everything is gone.
        outcome: Removal,
    },
}

/// Whether there is a scheduler to replace what ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// The line to it is open: the end of an essential container is the end of its task.
    Present,
    /// The line is not open: what a task's own rule says is done.
    Away,
}

/// An image that is on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its registry digest, if it came from one.
    pub digest: Option<String>,
    /// When the pull began; `None` if none was needed.
    pub pull_started_at: Option<Timestamp>,
    /// When the pull ended.
    pub pull_stopped_at: Option<Timestamp>,
}

/// How a removal went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Nothing is left.
    Done,
    /// Something is left: try again later.
    Failed,
}

/// What the driver must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// See that the image is on the host.
    Pull {
        /// For this container.
        key: ContainerKey,
        /// The image reference.
        image: String,
    },
    /// Make the container and inspect it.
    Create {
        /// The container.
        key: ContainerKey,
    },
    /// Start the container and inspect it.
    Start {
        /// The container.
        key: ContainerKey,
        /// Its id.
        id: String,
    },
    /// Stop the container and inspect it.
    Stop {
        /// The container.
        key: ContainerKey,
        /// Its id.
        id: String,
        /// Time between the stop signal and SIGKILL.
        grace: Duration,
    },
    /// Remove what is left of a stopped task: its containers and its task-scoped volumes.
    Remove {
        /// The task.
        task_arn: String,
        /// The containers that may still exist.
        ids: Vec<String>,
    },
    /// Tell the scheduler.
    Report(TaskReport),
    /// Come back with [`Input::TimerFired`] after this time.
    SetTimer {
        /// What to come back with.
        timer: Timer,
        /// When.
        after: Duration,
    },
    /// A health verdict changed: telemetry should say so now.
    TellHealth,
}

/// What a timer is for. A timer that has become pointless is ignored when it fires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The container's `startTimeout`.
    StartTimeout(ContainerKey),
    /// The pause before the container is restarted while the scheduler is away.
    Rest(ContainerKey),
    /// Another attempt to stop the container.
    StopRetry(ContainerKey),
    /// The stopped task's containers may go.
    Cleanup(String),
}
