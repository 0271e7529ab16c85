//! A service's tasks by what is to become of them.

use std::sync::Arc;
use std::time::Duration;

use ecsr_api::Timestamp;

use crate::state::{Desired, InstanceStatus, Service, State, Task};

/// Tasks that are meant to run, sorted by their future. One that was already asked to stop is only counted.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// Of the primary deployment, on an instance that may keep it, not unhealthy.
    pub keep: Vec<Arc<Task>>,
    /// Of an older deployment, or on an instance that is being drained: to be replaced.
    pub outdated: Vec<Arc<Task>>,
    /// Failing their health checks: to be replaced.
    pub unhealthy: Vec<Arc<Task>>,
    /// Asked to stop, but not yet STOPPED.
    pub stopping: usize,
    /// Set while older tasks are to be replaced: only tasks that had settled by then take their places.
    trusted: Option<Timestamp>,
}

impl Census {
    pub fn take(state: &State, service: &Service, now: Timestamp) -> Self {
        let rolling = service.deployments.len() > 1;
        let mut census = Self { trusted: rolling.then_some(now), ..Self::default() };
        for task in state.live_tasks_of(&service.key) {
            match task.desired {
                // What a lost host holds is not about to be free.
                Desired::Stopped if is_lost(state, task) => {}
                Desired::Stopped => census.stopping += 1,
                Desired::Running if is_unhealthy(task, service, now) => census.unhealthy.push(task.clone()),
                Desired::Running if is_outdated(state, task, service) => census.outdated.push(task.clone()),
                Desired::Running => census.keep.push(task.clone()),
            }
        }
        census
    }

    /// All tasks that count as RUNNING or PENDING for the upper bound.
    pub fn active(&self) -> u32 {
        count(self.keep.len() + self.outdated.len() + self.unhealthy.len())
    }

    /// Tasks that count for the lower bound.
    pub fn healthy(&self) -> u32 {
        self.kept_healthy() + count(self.outdated.iter().filter(|task| task.is_healthy()).count())
    }

    /// Tasks that are as they should be.
    pub fn kept_healthy(&self) -> u32 {
        count(self.keep.iter().filter(|task| self.has_proven_itself(task)).count())
    }

    /// Healthy, and in the course of a roll-out for long enough to be trusted with the place of an older task.
    pub fn has_proven_itself(&self, task: &Task) -> bool {
        task.is_healthy() && self.trusted.is_none_or(|since| task.settled_at().is_some_and(|at| at <= since))
    }
}

/// An essential container fails its health check, past the grace period of the service.
fn is_unhealthy(task: &Task, service: &Service, now: Timestamp) -> bool {
    task.is_failing() && grace_ends(task, service).is_some_and(|end| end <= now)
}

/// The end of the time during which a started task's health checks are ignored.
pub(super) fn grace_ends(task: &Task, service: &Service) -> Option<Timestamp> {
    let seconds =
        service.spec.health_check_grace_period.and_then(|grace| u64::try_from(grace).ok()).unwrap_or(0);
    Some(task.times.started?.plus(Duration::from_secs(seconds)))
}

fn is_lost(state: &State, task: &Task) -> bool {
    state.instance_of(task).is_some_and(|instance| instance.presence.is_lost())
}

fn is_outdated(state: &State, task: &Task, service: &Service) -> bool {
    let leaving = state.instance_of(task).is_none_or(|instance| instance.status != InstanceStatus::Active);
    leaving || task.deployment() != Some(service.primary().id)
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
