//! The conscience of the state: every counter, index and invariant computed again from nothing.
//!
//! Run after each batch in debug builds and after each step of a simulation. An empty answer means that all is well;
//! each line otherwise names a mistake of ours, never of a user.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{DefinitionId, InstanceId, InstanceKey};
use crate::state::{Desired, Known, Pattern, Protocol, ServiceStatus, State, Task, Token};

/// Most tasks of a state that debug builds check after each batch: a check counts all of them anew.
const CHECKED_TASKS_MAX: usize = 10_000;

/// Everything that is wrong with a state, unless it is so large that nobody could wait for the answer after each batch.
pub fn check_small(state: &State) -> Vec<String> {
    if state.tasks.len() <= CHECKED_TASKS_MAX { check(state) } else { Vec::new() }
}

/// Everything that is wrong with a state.
pub fn check(state: &State) -> Vec<String> {
    let mut wrong = indexes(state);
    wrong.extend(state.tasks.values().flat_map(|task| of_task(state, task)));
    wrong.extend(promises(state));
    wrong.extend(services(state));
    wrong
}

/// What `apply` keeps must equal what a fresh count of the same things gives.
fn indexes(state: &State) -> Vec<String> {
    let mut fresh = State::new((*state.home).clone());
    for definition in state.definitions.values() {
        fresh.apply(&crate::state::Event::DefinitionSaved(definition.clone()));
    }
    for token in state.tokens.values() {
        fresh.apply(&crate::state::Event::TokenUsed(Token::clone(token)));
    }
    for instance in state.instances.values() {
        fresh.apply(&crate::state::Event::InstanceSaved(instance.clone()));
    }
    for service in state.services.values() {
        fresh.apply(&crate::state::Event::ServiceSaved(service.clone()));
    }
    for task in state.tasks.values() {
        fresh.apply(&crate::state::Event::TaskPlaced(task.clone()));
    }
    // Which task a pattern was taken from is of no consequence.
    let counted = |(id, pattern): (&DefinitionId, &Pattern)| (id.clone(), pattern.tasks);
    let compared = [
        ("active_definitions", fresh.active_definitions == state.active_definitions),
        ("tenants", fresh.tenants == state.tenants),
        ("service_tasks", fresh.service_tasks == state.service_tasks),
        ("stopped_tasks", fresh.stopped_tasks == state.stopped_tasks),
        ("offers", fresh.offers == state.offers),
        ("usage", fresh.usage == state.usage),
        ("peers", fresh.peers == state.peers),
        ("open", fresh.open == state.open),
        ("away", fresh.away == state.away),
        ("strengths", fresh.strengths == state.strengths),
        ("ailing", fresh.ailing == state.ailing),
        ("agenda", fresh.agenda == state.agenda),
        ("endpoints", fresh.endpoints == state.endpoints),
        ("kept", fresh.kept == state.kept),
        ("patterns", fresh.patterns.iter().map(counted).eq(state.patterns.iter().map(counted))),
        ("tallies", fresh.tallies == state.tallies),
    ];
    compared
        .iter()
        .filter(|(_, same)| !same)
        .map(|(name, _)| format!("{name} does not follow from what there is"))
        .collect()
}

fn of_task(state: &State, task: &Task) -> Vec<String> {
    let mut wrong = Vec::new();
    let id = task.key.id;
    if task.known == Known::Stopped && (task.desired != Desired::Stopped || task.stop.is_none()) {
        wrong.push(format!("task {id} is STOPPED but not meant to be, or for no reason"));
    }
    if task.known == Known::Stopped && task.times.stopped.is_none() {
        wrong.push(format!("task {id} is STOPPED at no time"));
    }
    if task.desired == Desired::Stopped && task.stop.is_none() {
        wrong.push(format!("task {id} shall stop for no reason"));
    }
    if !state.definitions.contains_key(&task.definition) {
        wrong.push(format!("task {id} has lost its definition {}", task.definition));
    }
    let instance = InstanceKey { cluster: task.key.cluster.clone(), id: task.instance };
    if task.is_live() && !state.instances.contains_key(&instance) {
        wrong.push(format!("task {id} is on an instance that is not there"));
    }
    wrong
}

/// No fixed host port is promised twice. CPU and memory may shrink under running tasks when a host
/// registers anew with less, so they are promises at placement and not checked here.
fn promises(state: &State) -> Vec<String> {
    let mut holders: BTreeMap<(InstanceId, Protocol, u16), u32> = BTreeMap::new();
    for task in state.tasks.values().filter(|task| task.is_live()) {
        for port in &task.demand.ports_tcp {
            *holders.entry((task.instance, Protocol::Tcp, *port)).or_default() += 1;
        }
        for port in &task.demand.ports_udp {
            *holders.entry((task.instance, Protocol::Udp, *port)).or_default() += 1;
        }
    }
    let twice = holders.into_iter().filter(|(_, count)| *count > 1);
    twice
        .map(|((instance, _, port), _)| format!("port {port} of instance {instance} is promised twice"))
        .collect()
}

fn services(state: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    for service in state.services.values() {
        let name = &service.key.name;
        if service.deployments.is_empty() {
            wrong.push(format!("service {name} has no deployment"));
        }
        if !state.definitions.contains_key(&service.definition) {
            wrong.push(format!("service {name} has lost its definition {}", service.definition));
        }
        let is_ours = |id| service.deployments.iter().any(|one| Some(one.id) == id);
        let runs = |task: &&Arc<Task>| task.desired == Desired::Running;
        if state.live_tasks_of(&service.key).filter(runs).any(|task| !is_ours(task.deployment())) {
            wrong.push(format!("service {name} runs tasks of a deployment that it has forgotten"));
        }
        if service.status == ServiceStatus::Inactive && state.service_tasks.contains_key(&service.key) {
            wrong.push(format!("service {name} is INACTIVE but has tasks"));
        }
    }
    wrong
}
