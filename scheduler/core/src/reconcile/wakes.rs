//! When time alone gives services something to do.
//!
//! A service that waits is on the agenda; of the others only the steady ones ever move by themselves, after hours. So
//! neither the next moment nor what is due at one needs a look at all services, let alone at all tasks.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use ecsr_api::Timestamp;

use super::census::grace_ends;
use super::service::STEADY_STATE_REPEAT;
use super::{Touched, hosts};
use crate::state::{Service, ServiceStatus, State, Task};

/// When services or hosts change by the passing of time alone: the earliest moment after `now` at which a plan can find
/// something to do.
pub fn next_wake(state: &State, now: Timestamp) -> Option<Timestamp> {
    let moving = moving(state).filter_map(|service| wake(state, service, now));
    let repeats = state.agenda.steady.iter().map(|(since, _)| since.plus(STEADY_STATE_REPEAT));
    let repeat = repeats.filter(|at| *at > now).take(1);
    moving.chain(repeat).chain(hosts::next_due(state, now)).min()
}

/// What time alone can have unsettled after `since` and up to `now`: everything, if nothing is known to have been looked
/// at before, or if the clock was set back.
pub fn due(state: &State, since: Timestamp, now: Timestamp) -> BTreeSet<Touched> {
    if since == Timestamp::default() || now < since {
        return everything(state);
    }
    let moving = moving(state).filter(|service| wake(state, service, since).is_some_and(|at| at <= now));
    let says_it_again = |since: Timestamp| since.plus(STEADY_STATE_REPEAT) <= now;
    let repeats = state.agenda.steady.iter().take_while(|(since, _)| says_it_again(*since));
    let due = moving.map(|service| &service.key).chain(repeats.map(|(_, key)| key));
    due.cloned().map(Touched::Service).collect()
}

/// Every service that can have anything to do.
pub fn everything(state: &State) -> BTreeSet<Touched> {
    let exists = |service: &&Arc<Service>| match service.status {
        ServiceStatus::Active | ServiceStatus::Draining => true,
        ServiceStatus::Inactive => false,
    };
    state.services.values().filter(exists).map(|service| Touched::Service(service.key.clone())).collect()
}

/// Services that wait for a moment of their own.
fn moving(state: &State) -> impl Iterator<Item = &Arc<Service>> {
    let keys = state.agenda.waiting.iter().chain(state.ailing.keys());
    keys.filter_map(|key| state.services.get(key)).filter(|service| service.status == ServiceStatus::Active)
}

/// The first moment after `now` at which time alone gives the service something to do.
fn wake(state: &State, service: &Service, now: Timestamp) -> Option<Timestamp> {
    let retry = service.primary().retry_at.filter(|at| *at > now);
    let unsettled = service.deployments.len() > 1 || service.primary().failed_tasks > 0;
    let strengths = service.deployments.iter().filter_map(|one| state.strengths.get(&one.id));
    let behind = (Bound::Excluded(now), Bound::Unbounded);
    let settling =
        strengths.filter(|_| unsettled).filter_map(|strength| strength.settling.range(behind).next());
    let settling = settling.map(|(at, _)| *at);
    let grace = graces(state, service).filter(|at| *at > now).min();
    retry.into_iter().chain(settling).chain(grace).min()
}

/// When the failing health checks of started tasks begin to count. Only a service that has such tasks is looked through.
fn graces<'a>(state: &'a State, service: &'a Service) -> impl Iterator<Item = Timestamp> {
    let has_grace = service.spec.health_check_grace_period.is_some_and(|seconds| seconds > 0);
    let looked_through = has_grace && state.ailing.contains_key(&service.key);
    let tasks = looked_through.then(|| state.live_tasks_of(&service.key)).into_iter().flatten();
    let failing = tasks.filter(|task: &&Arc<Task>| task.is_failing());
    failing.filter_map(|task| grace_ends(task, service))
}
