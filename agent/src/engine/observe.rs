//! What the runtime can tell about a container: the vocabulary between the engine and the world.
//!
//! It lives with the engine, not with the runtime, because the engine decides which facts matter; the runtime
//! translates Docker's answers into these and nothing more.

use ecsr_api::Timestamp;
use serde::{Deserialize, Serialize};

/// A container as one inspection saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The runtime's id of the container.
    pub id: String,
    /// What its process does.
    pub state: RunState,
    /// The result of its health check; `None` when it has none.
    pub health: Option<Health>,
    /// The host ports that lead to it, in the order of the container's ports.
    pub bindings: Vec<NetworkBinding>,
}

/// The life of a container's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Made, never started.
    Created,
    /// Its process lives.
    Running {
        /// When this run began.
        started_at: Timestamp,
    },
    /// Its process has ended: the only proof on which STOPPED is ever reported.
    Exited(Exit),
}

/// How a container's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// When the run began.
    pub started_at: Timestamp,
    /// When it ended. Tells one exit of a container that is restarted in place from the next.
    pub finished_at: Timestamp,
    /// The exit code, 128 + signal when a signal ended it.
    pub exit_code: i64,
    /// Whether the kernel killed it for its memory limit.
    pub oom_killed: bool,
    /// What the runtime says went wrong, if anything.
    pub error: Option<String>,
}

/// The verdict of a container's health check, in ECS's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// No verdict yet, or no health check.
    #[default]
    Unknown,
    /// The last check passed.
    Healthy,
    /// The retries are used up.
    Unhealthy,
}

impl Health {
    /// The word that ECS uses for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "UNKNOWN",
            Health::Healthy => "HEALTHY",
            Health::Unhealthy => "UNHEALTHY",
        }
    }
}

/// One way from a host port, or a range of them, to the container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetworkBinding {
    /// The host address that listens.
    pub bind_ip: String,
    /// The ports.
    pub ports: BoundPorts,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// The two ends of a binding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BoundPorts {
    /// One port on each side.
    Single {
        /// The container's port.
        container: u16,
        /// The host's port.
        host: u16,
    },
    /// A contiguous range of equal length on each side, first and last port included.
    Range {
        /// The container's ports.
        container: (u16, u16),
        /// The host's ports.
        host: (u16, u16),
    },
}
