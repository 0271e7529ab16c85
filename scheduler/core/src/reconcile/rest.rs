//! Whether a service is at rest, told from counts alone.
//!
//! A plan looks at every task of a service. Most reports give it no reason to: a service that starts a thousand tasks
//! hears of the first 999 that run, and has nothing to do. So before a plan is made, the counts that `State::apply` keeps
//! are asked whether it could find anything.
//!
//! Invariant: a service that is called at rest gets an empty plan. In debug builds the plan is made all the same, and
//! must be empty.

use ecsr_api::Timestamp;

use super::census::Census;
use super::service::STEADY_STATE_REPEAT;
use crate::state::{Rollout, Scheduling, Service, ServiceStatus, State, Strength};

/// Whether a plan is certain to find nothing to do. What it says of a daemon is never certain: the instances decide.
pub(super) fn is_at_rest(state: &State, service: &Service, now: Timestamp) -> bool {
    match (service.status, service.spec.scheduling) {
        (ServiceStatus::Active, Scheduling::Replica) => is_replica_at_rest(state, service, now),
        (ServiceStatus::Active, Scheduling::Daemon) => false,
        // Something is left of it, and all of that was told to stop.
        (ServiceStatus::Draining, _) => {
            active(state, service) == 0 && state.service_tasks.contains_key(&service.key)
        }
        (ServiceStatus::Inactive, _) => true,
    }
}

/// As many tasks as desired, all of the one deployment, none to be replaced, no failure to account for.
fn is_replica_at_rest(state: &State, service: &Service, now: Timestamp) -> bool {
    let Some(strength) = sound(state, service) else { return false };
    let complete = strength.active() == service.desired_count && service.primary().failed_tasks == 0;
    complete && is_accounted_for(service, strength.healthy == service.desired_count, now)
}

/// The strength of a service of whose tasks none is to be replaced: there is one deployment, all instances keep their
/// tasks, and no health check fails.
pub(super) fn sound(state: &State, service: &Service) -> Option<Strength> {
    let [primary] = service.deployments.as_slice() else { return None };
    let strength = state.strengths.get(&primary.id).cloned().unwrap_or_default();
    (strength.displaced == 0 && strength.failing == 0).then_some(strength)
}

/// One deployment, as many tasks as desired, all of them as they should be.
pub(super) fn is_steady(state: &State, service: &Service, now: Timestamp) -> bool {
    let [primary] = service.deployments.as_slice() else { return false };
    let strength = state.strengths.get(&primary.id).cloned().unwrap_or_default();
    let desired = service.desired_count;
    let complete = (strength.active(), strength.healthy, strength.displaced) == (desired, desired, 0);
    // A task may fail health checks that its definition does not ask for: for a while that is overlooked.
    complete && (strength.failing == 0 || Census::take(state, service, now).unhealthy.is_empty())
}

/// Whether the service's record says already what there is to say.
fn is_accounted_for(service: &Service, steady: bool, now: Timestamp) -> bool {
    match service.steady_since {
        Some(since) => {
            steady
                && now.since(since) < STEADY_STATE_REPEAT
                && service.primary().rollout != Rollout::InProgress
        }
        None => !steady,
    }
}

/// How many tasks of all its deployments are meant to run.
pub(super) fn active(state: &State, service: &Service) -> u32 {
    let strengths = service.deployments.iter().filter_map(|one| state.strengths.get(&one.id));
    strengths.map(Strength::active).sum()
}
