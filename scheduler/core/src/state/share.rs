//! What tasks have in common, kept once.
//!
//! A task names its cluster, definition, service, group and containers, and what it demands. All tasks of a service have
//! the same of these; a plan makes them anew each time, and a journal has every task bring its own. So a task that enters
//! the state has its own copies replaced by those that are there already.
//!
//! Invariant: a task with shared parts equals the one that came.

use std::sync::Arc;

use ecsr_api::ecs;

use super::{Origin, State, Tags, Task};
use crate::ids::{Name, ServiceKey};
use crate::task_definition::Demand;

/// What the tasks of a definition usually agree in: taken from the first of them.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// How many tasks of the definition there are, STOPPED ones included.
    pub tasks: u32,
    demand: Arc<Demand>,
    overrides: Arc<ecs::TaskOverride>,
    tags: Arc<Tags>,
    group: Name,
    /// Of the containers, in their order.
    names: Arc<[Name]>,
}

impl Pattern {
    fn of(task: &Task) -> Self {
        Self {
            tasks: 0,
            demand: task.demand.clone(),
            overrides: task.overrides.clone(),
            tags: task.tags.clone(),
            group: task.group.clone(),
            names: task.containers.iter().map(|container| container.name.clone()).collect(),
        }
    }
}

impl State {
    /// The same task, with the parts that it has in common with others shared.
    pub(super) fn shared(&mut self, task: &Arc<Task>) -> Arc<Task> {
        let mut task = Task::clone(task);
        if let Some((name, _)) = self.clusters.get_key_value(&task.key.cluster) {
            task.key.cluster = name.clone();
        }
        if let Some((id, _)) = self.definitions.get_key_value(&task.definition) {
            task.definition = id.clone();
        }
        if let Origin::Service { name, .. } = &mut task.origin {
            let key = ServiceKey { cluster: task.key.cluster.clone(), name: name.clone() };
            if let Some((key, _)) = self.services.get_key_value(&key) {
                *name = key.name.clone();
            }
        }
        let offer = self.offers.get(&task.host());
        share(&mut task.availability_zone, offer.map(|offer| &offer.zone));
        let pattern = self.patterns.entry(task.definition.clone()).or_insert_with(|| Pattern::of(&task));
        share(&mut task.demand, Some(&pattern.demand));
        share(&mut task.overrides, Some(&pattern.overrides));
        share(&mut task.tags, Some(&pattern.tags));
        // A service may have another group than the first task of its definition: its own tasks share that one.
        let peers = self.peers.get_key_value(&task.peers()).map(|(key, _)| &key.group);
        share(&mut task.group, peers.or(Some(&pattern.group)));
        for (container, name) in task.containers.iter_mut().zip(pattern.names.iter()) {
            share(&mut container.name, Some(name));
        }
        Arc::new(task)
    }
}

/// Takes another's copy of what is the same.
fn share<T: Clone + PartialEq>(own: &mut T, other: Option<&T>) {
    if let Some(other) = other.filter(|other| *other == own) {
        other.clone_into(own);
    }
}
