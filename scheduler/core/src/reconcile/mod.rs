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
mod rest;
mod service;
mod start;
mod wakes;

use std::collections::BTreeSet;

use imbl::OrdSet;

use crate::context::Context;
use crate::ids::{InstanceKey, Name, ServiceKey, TaskKey};
use crate::state::{Event, Known, Presence, Scheduling, ServiceStatus, State};

use self::plan::Plan;
pub use self::service::STEADY_STATE_REPEAT;
pub use self::wakes::{due, everything, next_wake};

/// Most rounds of one call. Plans settle within a few; the bound keeps a planner's mistake from spinning for ever.
const ROUNDS_MAX: usize = 100_000;

/// What an event can have unsettled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched {
    /// One service.
    Service(ServiceKey),
    /// Room became free: every service of the cluster that is not in a steady state.
    Capacity(Name),
    /// An instance changed: the services of its tasks, daemons, and every service that is not in a steady state.
    Instance(InstanceKey),
}

/// What an event, already applied to the state, can have unsettled.
pub fn touched(state: &State, event: &Event) -> impl Iterator<Item = Touched> {
    let of_task = |key: &TaskKey| {
        let task = state.tasks.get(key);
        let service = task.and_then(|task| task.service()).map(Touched::Service);
        let freed = task.is_some_and(|task| task.known == Known::Stopped);
        [service, freed.then(|| Touched::Capacity(key.cluster.clone()))]
    };
    let touched = match event {
        Event::ServiceSaved(service) => [Some(Touched::Service(service.key.clone())), None],
        Event::InstanceSaved(instance) => [Some(Touched::Instance(instance.key.clone())), None],
        Event::InstancePresence { instance, presence } => match presence {
            // Room, or the loss of it. The tasks of an instance that is merely away stay where they are.
            Presence::Connected | Presence::Lost { .. } => [Some(Touched::Instance(instance.clone())), None],
            Presence::Silent { .. } | Presence::Unreachable { .. } => [None, None],
        },
        Event::TaskPlaced(task) => [task.service().map(Touched::Service), None],
        Event::TaskStopRequested { task, .. }
        | Event::TaskReported { task, .. }
        | Event::TaskHealthReported { task, .. }
        | Event::TaskTargetsReported { task, .. } => of_task(task),
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
        | Event::TokenForgotten { .. } => [None, None],
    };
    touched.into_iter().flatten()
}

/// Plans all that the touched things need, until nothing more is needed. The events are left to be applied.
pub fn run(state: &State, touched_things: &BTreeSet<Touched>, context: &mut Context) -> Vec<Event> {
    run_within(&mut state.clone(), touched_things, usize::MAX, context).0
}

/// Plans what the touched things need until the plan has `events_max` events or a few more, and gives back what is left
/// for the next plan. So a thousand services that are created together do not keep everybody else waiting. The events
/// are applied to the state as they are planned.
pub fn run_within(
    state: &mut State,
    touched_things: &BTreeSet<Touched>,
    events_max: usize,
    context: &mut Context,
) -> (Vec<Event>, BTreeSet<Touched>) {
    let mut due = due_services(state, touched_things);
    let mut plan = Plan::new(state);
    for _ in 0..ROUNDS_MAX {
        if plan.events.len() >= events_max {
            return (plan.events, due.into_iter().map(|(_, key)| Touched::Service(key)).collect());
        }
        let Some((_, key)) = due.pop_first() else { break };
        let before = plan.events.len();
        service::reconcile(&mut plan, &key, context);
        let mut touched_by_plan = BTreeSet::new();
        for event in &plan.events[before..] {
            touched_by_plan.extend(touched(plan.state, event));
        }
        due.extend(due_services(plan.state, &touched_by_plan));
    }
    (plan.events, BTreeSet::new())
}

/// DAEMON services come first: their tasks have a claim on every instance.
type Due = (Precedence, ServiceKey);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precedence {
    Daemon,
    Replica,
}

/// Instances that change together give a cluster's services reason to be planned once, not once each.
fn due_services(state: &State, touched_things: &BTreeSet<Touched>) -> BTreeSet<Due> {
    let (mut keys, mut changed, mut freed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for touched in touched_things {
        match touched {
            Touched::Service(key) => {
                keys.insert(key.clone());
            }
            Touched::Capacity(cluster) => {
                freed.insert(cluster);
            }
            Touched::Instance(instance) => {
                keys.extend(state.live_tasks_on(instance).filter_map(|task| task.service()));
                changed.insert(&instance.cluster);
            }
        }
    }
    let daemons = changed.iter().flat_map(|cluster| of_cluster(&state.agenda.daemons, cluster));
    let unsteady = freed.union(&changed).flat_map(|cluster| of_cluster(&state.agenda.unsteady, cluster));
    keys.extend(daemons.chain(unsteady).cloned());
    keys.into_iter().filter_map(|key| in_line(state, key)).collect()
}

/// A service that a plan can find something to do for.
fn in_line(state: &State, key: ServiceKey) -> Option<Due> {
    let service = state.services.get(&key).filter(|service| service.status != ServiceStatus::Inactive)?;
    let precedence = match service.spec.scheduling {
        Scheduling::Daemon => Precedence::Daemon,
        Scheduling::Replica => Precedence::Replica,
    };
    Some((precedence, key))
}

/// Those services of a set that are of one cluster.
fn of_cluster<'a>(
    services: &'a OrdSet<ServiceKey>,
    cluster: &'a Name,
) -> impl Iterator<Item = &'a ServiceKey> {
    let first = ServiceKey { cluster: cluster.clone(), name: Name::from("") };
    services.range(first..).take_while(move |key| key.cluster == *cluster)
}

#[cfg(test)]
mod hosts_tests;
#[cfg(test)]
mod tests;
