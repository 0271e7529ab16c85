//! What the service scheduler has to know of a deployment's tasks without looking at each of them.
//!
//! A service of a thousand tasks hears a thousand reports while it starts, and only the last of them gives it anything
//! to do. So the tasks that are meant to run are counted here as they come, change and go, and a planner looks at the
//! tasks themselves only when the counts say that there is a reason.

use ecsr_api::Timestamp;
use imbl::OrdMap;

use super::apply::adjust;
use super::{Desired, Known, Task};
use crate::ids::DeploymentId;

/// The tasks of one deployment that are meant to run. Derived from tasks and instances, kept by `State::apply`, proven
/// by `check`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strength {
    pub running: u32,
    pub pending: u32,
    /// See [`Task::is_healthy`].
    pub healthy: u32,
    /// See [`Task::is_failing`].
    pub failing: u32,
    /// On an instance that does not keep its tasks.
    pub displaced: u32,
    /// How many of those that run have settled, or will have, at a moment: see [`Task::settled_at`].
    pub settling: OrdMap<Timestamp, u32>,
}

/// Whether the instance of a task keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Footing {
    /// ACTIVE.
    Firm,
    /// Drained, deregistered or unknown: the task has to go elsewhere.
    Lost,
}

impl Strength {
    /// All that count as active.
    pub fn active(&self) -> u32 {
        self.running + self.pending
    }

    pub(super) fn add(&mut self, task: &Task, footing: Footing) {
        for count in self.counters(task, footing).into_iter().flatten() {
            *count += 1;
        }
        if let Some(at) = task.settled_at() {
            adjust(&mut self.settling, at, |count| *count += 1);
        }
    }

    pub(super) fn remove(&mut self, task: &Task, footing: Footing) {
        for count in self.counters(task, footing).into_iter().flatten() {
            *count -= 1;
        }
        if let Some(at) = task.settled_at() {
            adjust(&mut self.settling, at, |count| *count -= 1);
        }
    }

    /// The change from one to the other, of which most leave the time of settling as it was.
    pub(super) fn change(&mut self, old: &Task, new: &Task, footing: Footing) {
        for count in self.counters(old, footing).into_iter().flatten() {
            *count -= 1;
        }
        for count in self.counters(new, footing).into_iter().flatten() {
            *count += 1;
        }
        let (before, after) = (old.settled_at(), new.settled_at());
        if before == after {
            return;
        }
        if let Some(at) = before {
            adjust(&mut self.settling, at, |count| *count -= 1);
        }
        if let Some(at) = after {
            adjust(&mut self.settling, at, |count| *count += 1);
        }
    }

    fn counters(&mut self, task: &Task, footing: Footing) -> [Option<&mut u32>; 4] {
        let known = match task.known {
            Known::Pending => Some(&mut self.pending),
            Known::Running => Some(&mut self.running),
            Known::Stopped => None,
        };
        [
            known,
            task.is_healthy().then_some(&mut self.healthy),
            task.is_failing().then_some(&mut self.failing),
            (footing == Footing::Lost).then_some(&mut self.displaced),
        ]
    }
}

/// The deployment that a task strengthens: one that is meant to run, of a service.
pub(super) fn strengthened(task: &Task) -> Option<DeploymentId> {
    match (task.desired, task.known) {
        (Desired::Running, Known::Pending | Known::Running) => task.deployment(),
        (Desired::Running, Known::Stopped) | (Desired::Stopped, _) => None,
    }
}
