//! REPLICA services: as many tasks as desired, changed only within the service's bounds.
//!
//! New tasks are started while fewer than the upper bound are active; those to be replaced are stopped while more than
//! the lower bound are healthy. The two rules alone make rolling replacement, scaling and draining.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::census::{Census, count};
use super::service::{Repeated, complain, stop_all, stop_unhealthy};
use super::{Plan, journal_words, rest, start};
use crate::context::Context;
use crate::ids::{InstanceId, Name, TaskKey};
use crate::state::{Event, Known, Rollout, Service, State, Task};

/// Most tasks that one round starts, so that a plan can be cut between rounds. The next round starts the others.
const STARTS_PER_ROUND_MAX: u32 = 1000;

/// Plans one round.
pub(super) fn plan(plan: &mut Plan<'_>, service: &Service, context: &mut Context) {
    if let Some(starts) = only_starts(plan.state, service) {
        if may_start(service, context) {
            start::start(plan, service, starts, context);
        }
        return;
    }
    let census = Census::take(plan.state, service, context.now);
    let desired = service.desired_count;
    let missing = desired.saturating_sub(count(census.keep.len()));
    let room = service.spec.bounds.upper(desired).saturating_sub(census.active());

    if may_start(service, context) {
        start::start(plan, service, missing.min(room).min(STARTS_PER_ROUND_MAX), context);
    }
    let surplus = count(census.keep.len()).saturating_sub(desired);
    let mut leaving = scale_in(&census.keep, surplus);
    let pending_outdated = census.outdated.iter().filter(|task| task.known == Known::Pending);
    leaving.extend(pending_outdated.map(|task| task.key.clone()));
    let replaceable = replaceable(service, &census, &leaving);
    leaving.extend(replaceable.iter().map(|task| task.key.clone()));
    stop_all(plan, service, &leaving, context);
    replace_unhealthy(plan, service, &census, missing > 0 && room == 0, context);

    let stuck = missing > 0 && room == 0 && leaving.is_empty() && census.unhealthy.is_empty();
    let settled = census.keep.iter().chain(&census.outdated).all(|task| task.is_healthy());
    if stuck && settled && census.stopping == 0 {
        complain(
            plan,
            service,
            &journal_words::blocked_by_configuration(service),
            |_| String::new(),
            Repeated::AfterHours,
            context,
        );
    }
}

/// How many tasks to start, if the counts say that this is all there is to do: that there are as many as desired or too
/// few, and none to be replaced. Then nothing depends on the tasks that there are, and a service of thousands that has
/// lost one is not looked through for it.
fn only_starts(state: &State, service: &Service) -> Option<u32> {
    let strength = rest::sound(state, service)?;
    let desired = service.desired_count;
    let missing = desired.checked_sub(strength.active())?;
    let room = service.spec.bounds.upper(desired).saturating_sub(strength.active());
    let starts = missing.min(room).min(STARTS_PER_ROUND_MAX);
    (starts > 0 || missing == 0).then_some(starts)
}

/// Not after a failure to start until its delay is over, and never again for a deployment that was given up.
pub(super) fn may_start(service: &Service, context: &Context) -> bool {
    let primary = service.primary();
    primary.rollout != Rollout::Failed && primary.retry_at.is_none_or(|at| at <= context.now)
}

/// RUNNING tasks to be replaced that can go now without the service falling below its lower bound.
fn replaceable<'a>(service: &Service, census: &'a Census, leaving: &[TaskKey]) -> Vec<&'a Arc<Task>> {
    let leaving: BTreeSet<&TaskKey> = leaving.iter().collect();
    let leaves = |task: &&Arc<Task>| leaving.contains(&task.key) && census.has_proven_itself(task);
    let staying = census.healthy().saturating_sub(count(census.keep.iter().filter(leaves).count()));
    let spare = staying.saturating_sub(service.spec.bounds.lower(service.desired_count));
    let running = census.outdated.iter().filter(|task| task.known == Known::Running);
    // One that is not healthy costs nothing to stop, one that is costs a spare.
    let (healthy, ailing): (Vec<_>, Vec<_>) = running.partition(|task| task.is_healthy());
    ailing.into_iter().chain(healthy.into_iter().take(spare as usize)).collect()
}

/// An unhealthy task goes when its replacement is healthy, or when it must make room for one.
fn replace_unhealthy(
    plan: &mut Plan<'_>,
    service: &Service,
    census: &Census,
    must_make_room: bool,
    context: &mut Context,
) {
    let replaced = census.kept_healthy() >= service.desired_count;
    if !replaced && !must_make_room {
        return;
    }
    for task in &census.unhealthy {
        stop_unhealthy(plan, service, task, context);
    }
    let keys: Vec<TaskKey> = census.unhealthy.iter().map(|task| task.key.clone()).collect();
    if !keys.is_empty() {
        plan.log(&service.key, journal_words::stopped(service, &keys), context);
        hold_against_deployment(plan, service, count(keys.len()), context);
    }
}

/// A task that fails its health checks is a failure of its deployment, as one that never ran is.
fn hold_against_deployment(plan: &mut Plan<'_>, service: &Service, failed: u32, context: &Context) {
    let mut changed = service.clone();
    let primary = changed.primary_mut();
    primary.failed_tasks = primary.failed_tasks.saturating_add(failed);
    primary.updated_at = context.now;
    plan.record(Event::ServiceSaved(Arc::new(changed)));
}

/// Which tasks go when there are too many: those not yet RUNNING first, then those not healthy, then from the zone and
/// the instance that have most of them, the youngest first.
fn scale_in(tasks: &[Arc<Task>], surplus: u32) -> Vec<TaskKey> {
    if surplus as usize >= tasks.len() {
        return tasks.iter().map(|task| task.key.clone()).collect();
    }
    if surplus == 0 {
        return Vec::new();
    }
    let zone = |task: &Arc<Task>| task.availability_zone.clone();
    let mut zones: BTreeMap<Option<Name>, u32> = BTreeMap::new();
    let mut instances: BTreeMap<InstanceId, u32> = BTreeMap::new();
    for task in tasks {
        *zones.entry(zone(task)).or_default() += 1;
        *instances.entry(task.instance).or_default() += 1;
    }
    let mut left: Vec<&Arc<Task>> = tasks.iter().collect();
    let mut leaving = Vec::new();
    for _ in 0..surplus {
        let rank = |task: &Arc<Task>| {
            let of_zone = zones.get(&task.availability_zone).copied();
            let of_instance = instances.get(&task.instance).copied();
            let pending = task.known == Known::Pending;
            (pending, !task.is_healthy(), of_zone, of_instance, task.times.created, task.key.id)
        };
        let Some(worst) = (0..left.len()).max_by_key(|index| rank(left[*index])) else { break };
        let task = left.swap_remove(worst);
        zones.entry(zone(task)).and_modify(|count| *count -= 1);
        instances.entry(task.instance).and_modify(|count| *count -= 1);
        leaving.push(task.key.clone());
    }
    leaving
}
