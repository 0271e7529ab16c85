//! Hosts that are gone: giving them up, and ending what nobody will report the end of.
//!
//! An instance that cannot be reached for its cluster's `ecsr:host-lost-after` is Lost: its tasks are asked to stop, so
//! services replace them in the same breath. They stay RUNNING, and hold their share of the instance, for as long as a
//! cut-off host may still run them: until its agent is back and reports them stopped, or the instance is deregistered.
//! Those of a host that never returns are called STOPPED after [`TASKS_ENDED_AFTER`], so that waiters and deletions end;
//! should the host return later still, the manifest stops what it runs.
//!
//! Invariant: a scheduler that has lost its own network gives nobody up. When a whole cluster, or more of it than
//! [`VANISHED_PERCENT_MAX`] allows, goes within one [`WINDOW`], the fault is likelier here than there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ecsr_api::Timestamp;

use super::journal_words;
use super::service::TASKS_PER_EVENT;
use crate::context::Context;
use crate::host_lost_after;
use crate::ids::{InstanceKey, Name, ServiceKey, TaskKey, uuid};
use crate::state::{
    Desired, Event, Instance, InstanceStatus, Presence, Report, ServiceEvent, State, Stop, StopCode, Task,
};

/// After this time the tasks of a lost host count as STOPPED: within the ten minutes that the AWS CLI waits for that.
pub const TASKS_ENDED_AFTER: Duration = Duration::from_mins(5);

/// Share of a cluster that may vanish within one [`WINDOW`] and still be given up: Kubernetes' own threshold.
pub const VANISHED_PERCENT_MAX: usize = 55;

/// Fewer vanished instances than this are given up whatever their share, unless they are all there are.
const VANISHED_MIN: usize = 3;

/// Instances lost longer ago than this are old news, and no part of their cluster for the share.
const WINDOW: Duration = Duration::from_mins(1);

/// How often instances that are held back are looked at again.
const HELD_REVIEW: Duration = Duration::from_secs(5);

/// How often a service's log says again that its tasks are held back.
const HELD_REPEAT: Duration = Duration::from_mins(10);

/// What the passing of time has made of the hosts that are away.
pub(crate) fn review(state: &State, context: &mut Context) -> Vec<Event> {
    let mut events = Vec::new();
    for (cluster, away) in by_cluster(state) {
        let after = host_lost_after::of_cluster(state, cluster);
        let overdue: Vec<&Arc<Instance>> =
            away.iter().copied().filter(|one| is_overdue(one, after, context.now)).collect();
        if !overdue.is_empty() && is_suspicious(state, cluster, &away, context.now) {
            hold_back(state, &overdue, context, &mut events);
        } else {
            give_up(state, &overdue, context, &mut events);
        }
        for instance in away {
            end_tasks(state, instance, context.now, &mut events);
        }
    }
    events
}

/// When [`review`] next finds something to do after `now`, as far as time alone decides.
pub(super) fn next_due(state: &State, now: Timestamp) -> Option<Timestamp> {
    let away = state.away.iter().filter_map(|key| state.instances.get(key));
    let due = away.filter_map(|instance| match instance.presence {
        Presence::Connected | Presence::Silent { .. } => None,
        Presence::Unreachable { since } => {
            let due = since.plus(host_lost_after::of_cluster(state, &instance.key.cluster)?);
            Some(if due > now { due } else { now.plus(HELD_REVIEW) })
        }
        Presence::Lost { since } => {
            let has_tasks = state.tenants.contains_key(&instance.key.id);
            has_tasks.then(|| since.plus(TASKS_ENDED_AFTER))
        }
    });
    due.min()
}

fn by_cluster(state: &State) -> BTreeMap<&Name, Vec<&Arc<Instance>>> {
    let mut clusters: BTreeMap<&Name, Vec<&Arc<Instance>>> = BTreeMap::new();
    for instance in state.away.iter().filter_map(|key| state.instances.get(key)) {
        clusters.entry(&instance.key.cluster).or_default().push(instance);
    }
    clusters
}

fn is_overdue(instance: &Instance, after: Option<Duration>, now: Timestamp) -> bool {
    match instance.presence {
        Presence::Connected | Presence::Silent { .. } | Presence::Lost { .. } => false,
        Presence::Unreachable { since } => after.is_some_and(|after| since.plus(after) <= now),
    }
}

/// Whether so much of a cluster has vanished together that the scheduler should doubt itself.
fn is_suspicious(state: &State, cluster: &Name, away: &[&Arc<Instance>], now: Timestamp) -> bool {
    let long_lost = |instance: &Instance| match instance.presence {
        Presence::Connected | Presence::Silent { .. } | Presence::Unreachable { .. } => false,
        Presence::Lost { since } => since.plus(WINDOW) <= now,
    };
    let counts = |instance: &Instance| instance.status != InstanceStatus::Inactive && !long_lost(instance);
    let vanished = away.iter().filter(|instance| counts(instance)).count();
    let all = state.instances_of(cluster).filter(|instance| counts(instance)).count();
    vanished == all || (vanished >= VANISHED_MIN && vanished * 100 > all * VANISHED_PERCENT_MAX)
}

/// Says in the logs of the services that are touched why nothing happens.
fn hold_back(state: &State, overdue: &[&Arc<Instance>], context: &mut Context, events: &mut Vec<Event>) {
    for (key, tasks) in by_service(state, overdue) {
        let Some(service) = state.services.get(&key) else { continue };
        let message = journal_words::held_back(service, tasks.len());
        let start = journal_words::holding_back(service);
        let recent = state.service_events.get(&key).into_iter().flatten().rev();
        let mut recent = recent.take_while(|event| context.now.since(event.created_at) < HELD_REPEAT);
        if !recent.any(|event| event.message.starts_with(&start)) {
            events.push(logged(key, message, context));
        }
    }
}

/// Gives instances up: whatever is meant to run there shall run elsewhere.
fn give_up(state: &State, overdue: &[&Arc<Instance>], context: &mut Context, events: &mut Vec<Event>) {
    for instance in overdue {
        events.push(instance.seen(Presence::Lost { since: context.now }));
        for task in meant_to_run(state, &instance.key) {
            let stop = terminated(instance);
            events.push(Event::TaskStopRequested { task: task.key.clone(), at: context.now, stop });
        }
    }
    for (key, tasks) in by_service(state, overdue) {
        let Some(service) = state.services.get(&key) else { continue };
        for tasks in tasks.chunks(TASKS_PER_EVENT) {
            events.push(logged(key.clone(), journal_words::lost(service, tasks), context));
        }
    }
}

/// Ends the tasks of a host that did not return.
fn end_tasks(state: &State, instance: &Instance, now: Timestamp, events: &mut Vec<Event>) {
    let Presence::Lost { since } = instance.presence else { return };
    if since.plus(TASKS_ENDED_AFTER) > now {
        return;
    }
    let ended = state.live_tasks_on(&instance.key).filter(|task| task.desired == Desired::Stopped);
    events.extend(
        ended.map(|task| Event::TaskReported { task: task.key.clone(), report: Report::ended(now, None) }),
    );
}

fn by_service(state: &State, instances: &[&Arc<Instance>]) -> BTreeMap<ServiceKey, Vec<TaskKey>> {
    let mut services: BTreeMap<ServiceKey, Vec<TaskKey>> = BTreeMap::new();
    for task in instances.iter().flat_map(|instance| meant_to_run(state, &instance.key)) {
        if let Some(service) = task.service() {
            services.entry(service).or_default().push(task.key.clone());
        }
    }
    services
}

fn meant_to_run<'a>(state: &'a State, instance: &'a InstanceKey) -> impl Iterator<Item = &'a Arc<Task>> {
    state.live_tasks_on(instance).filter(|task| task.desired == Desired::Running)
}

/// ECS's words for a host that was terminated; one outside of EC2 goes by its container instance.
fn terminated(instance: &Instance) -> Stop {
    let reason = match &instance.ec2_instance_id {
        Some(id) => format!("Host EC2 (instance {id}) terminated."),
        None => format!("Host (container instance {}) terminated.", instance.key.id),
    };
    Stop { code: StopCode::TerminationNotice, reason }
}

fn logged(service: ServiceKey, message: String, context: &mut Context) -> Event {
    let event = ServiceEvent { id: uuid(context), created_at: context.now, message };
    Event::ServiceLogged { service, event }
}
