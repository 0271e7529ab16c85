//! From what is to what should be: the service scheduler.
//!
//! Planners are level-triggered and idempotent: they read the state, never a description of what changed, and plan
//! nothing when there is nothing to do. A plan works on a copy of the state that already holds its own events, so one
//! step sees what the step before it decided.

mod census;
mod daemon;
mod deployment;
pub(crate) mod hosts;
mod journal_words;
mod plan;
mod replica;
mod service;
mod start;

use std::collections::BTreeSet;

use ecsr_api::Timestamp;

use crate::context::Context;
use crate::ids::{Name, ServiceKey, TaskKey};
use crate::state::{Event, Known, Presence, Scheduling, ServiceStatus, State};

use self::plan::Plan;
pub use self::service::STEADY_STATE_REPEAT;

/// Most rounds of one call. Plans settle within a few; the bound keeps a planner's mistake from spinning for ever.
const ROUNDS_MAX: usize = 100_000;

/// What an event can have unsettled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched {
    /// One service.
    Service(ServiceKey),
    /// Room became free: every service of the cluster that is not in a steady state.
    Capacity(Name),
    /// Instances changed: every service of the cluster.
    Cluster(Name),
}

/// What an event, already applied to the state, can have unsettled.
pub fn touched(state: &State, event: &Event) -> Vec<Touched> {
    let of_task = |key: &TaskKey| {
        let task = state.tasks.get(key);
        let service = task.and_then(|task| task.service()).map(Touched::Service);
        let freed = task.is_some_and(|task| task.known == Known::Stopped);
        service.into_iter().chain(freed.then(|| Touched::Capacity(key.cluster.clone()))).collect()
    };
    match event {
        Event::ServiceSaved(service) => vec![Touched::Service(service.key.clone())],
        Event::InstanceSaved(instance) => vec![Touched::Cluster(instance.key.cluster.clone())],
        Event::InstancePresence { instance, presence } => match presence {
            // Room, or the loss of it. The tasks of an instance that is merely away stay where they are.
            Presence::Connected | Presence::Lost { .. } => vec![Touched::Cluster(instance.cluster.clone())],
            Presence::Silent { .. } | Presence::Unreachable { .. } => Vec::new(),
        },
        Event::TaskPlaced(task) => task.service().map(Touched::Service).into_iter().collect(),
        Event::TaskStopRequested { task, .. }
        | Event::TaskReported { task, .. }
        | Event::TaskHealthReported { task, .. } => of_task(task),
        Event::ClusterSaved(_)
        | Event::DefinitionSaved(_)
        | Event::DefinitionForgotten(_)
        | Event::FamilySaved { .. }
        | Event::InstanceForgotten(_)
        | Event::ServiceForgotten(_)
        | Event::ServiceLogged { .. }
        | Event::TaskAcknowledged(_)
        | Event::TaskForgotten(_)
        | Event::TaskTagged { .. }
        | Event::TokenUsed(_)
        | Event::TokenForgotten { .. } => Vec::new(),
    }
}

/// Plans all that the touched things need, until nothing more is needed.
pub fn run(state: &State, touched_things: &BTreeSet<Touched>, context: &mut Context) -> Vec<Event> {
    run_within(state, touched_things, usize::MAX, context).0
}

/// Plans what the touched things need until the plan has `events_max` events or a few more, and gives back what is left
/// for the next plan. So a thousand services that are created together do not keep everybody else waiting.
pub fn run_within(
    state: &State,
    touched_things: &BTreeSet<Touched>,
    events_max: usize,
    context: &mut Context,
) -> (Vec<Event>, BTreeSet<Touched>) {
    let mut plan = Plan::new(state.clone());
    let mut due: BTreeSet<Due> =
        touched_things.iter().flat_map(|touched| due_services(state, touched)).collect();
    for _ in 0..ROUNDS_MAX {
        if plan.events.len() >= events_max {
            return (plan.events, due.into_iter().map(|(_, key)| Touched::Service(key)).collect());
        }
        let Some((_, key)) = due.pop_first() else { break };
        for event in service::reconcile(&mut plan, &key, context) {
            let touches = touched(&plan.state, &event);
            due.extend(touches.iter().flat_map(|touched| due_services(&plan.state, touched)));
        }
    }
    (plan.events, BTreeSet::new())
}

/// When services or hosts change by the passing of time alone: the earliest moment after `now` at which a plan can find
/// something to do.
pub fn next_wake(state: &State, now: Timestamp) -> Option<Timestamp> {
    let services = state.services.values().flat_map(|found| service::wakes(state, found));
    services.filter(|at| *at > now).chain(hosts::next_due(state, now)).min()
}

/// Everything that time alone can have unsettled: all services.
pub fn everything(state: &State) -> BTreeSet<Touched> {
    state.clusters.keys().cloned().map(Touched::Cluster).collect()
}

/// DAEMON services come first: their tasks have a claim on every instance.
type Due = (Precedence, ServiceKey);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precedence {
    Daemon,
    Replica,
}

fn due_services(state: &State, touched: &Touched) -> Vec<Due> {
    let due = |key: &ServiceKey| {
        let service = state.services.get(key).filter(|service| service.status != ServiceStatus::Inactive)?;
        let precedence = match service.spec.scheduling {
            Scheduling::Daemon => Precedence::Daemon,
            Scheduling::Replica => Precedence::Replica,
        };
        Some((precedence, key.clone()))
    };
    match touched {
        Touched::Service(key) => due(key).into_iter().collect(),
        Touched::Cluster(cluster) => state.services_of(cluster).filter_map(|found| due(&found.key)).collect(),
        Touched::Capacity(cluster) => {
            let unsteady = state.services_of(cluster).filter(|found| found.steady_since.is_none());
            unsteady.filter_map(|found| due(&found.key)).collect()
        }
    }
}

#[cfg(test)]
mod hosts_tests;
#[cfg(test)]
mod tests;
