//! What tasks have in common, kept once.
//!
//! A task names its cluster, definition, service, group and containers, and what it demands. All tasks of a service have
//! the same of these; a plan makes them anew each time, and a journal has every task bring its own. So a task that enters
//! the state has its own copies replaced by those that are there already.
//!
//! Invariant: a task with shared parts equals the one that came.

use std::sync::Arc;

use ecsr_api::ecs;

use super::{Instance, Origin, State, Tags, Task};
use crate::ids::{GroupKey, Name};
use crate::launch::Launch;
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
    /// A launch out of parts that the state has already, as far as it has them. What it makes needs no sharing then.
    pub fn with_shared_parts<'a>(&self, mut launch: Launch<'a>, cluster: &Name) -> Launch<'a> {
        if let Some(pattern) = self.patterns.get(&launch.definition.id) {
            share(&mut launch.demand, Some(&pattern.demand));
            share(&mut launch.overrides, Some(&pattern.overrides));
            share(&mut launch.tags, Some(&pattern.tags));
            share(&mut launch.group, Some(&pattern.group));
            launch.known_names.containers = pattern.names.clone();
        }
        let peers = GroupKey { cluster: cluster.clone(), group: launch.group.clone() };
        share(&mut launch.group, self.peers.get_key_value(&peers).map(|(key, _)| &key.group));
        launch.known_names.zones = self.zones.clone();
        launch
    }

    /// The same task, with the parts that it has in common with others shared. Most come from a launch and have nothing
    /// but shared parts: those stay the very same.
    pub(super) fn shared(&mut self, mut task: Arc<Task>) -> Arc<Task> {
        let cluster = self.clusters.get_key_value(&task.key.cluster).map(|(name, _)| name);
        if let Some(cluster) = other(&task.key.cluster, cluster) {
            Arc::make_mut(&mut task).key.cluster = cluster;
        }
        let family = self.definitions.get_key_value(&task.definition).map(|(id, _)| &id.family);
        if let Some(family) = other(&task.definition.family, family) {
            Arc::make_mut(&mut task).definition.family = family;
        }
        let zone = self.offers.get(&task.host()).and_then(|offer| offer.zone.as_ref());
        if let Some(zone) = task.availability_zone.as_ref().and_then(|own| other(own, zone)) {
            Arc::make_mut(&mut task).availability_zone = Some(zone);
        }
        self.share_service(&mut task);
        self.share_pattern(&mut task);
        task
    }

    /// The same instance, with the name of its cluster shared: tasks have theirs from it.
    pub(super) fn shared_instance(&self, instance: &Arc<Instance>) -> Arc<Instance> {
        let mut instance = instance.clone();
        let cluster = self.clusters.get_key_value(&instance.key.cluster).map(|(name, _)| name);
        if let Some(cluster) = other(&instance.key.cluster, cluster) {
            Arc::make_mut(&mut instance).key.cluster = cluster;
        }
        instance
    }

    fn share_service(&self, task: &mut Arc<Task>) {
        let Some(key) = task.service() else { return };
        let known = self.services.get_key_value(&key).map(|(known, _)| &known.name);
        let Some(shared) = other(&key.name, known) else { return };
        match &mut Arc::make_mut(task).origin {
            Origin::Service { name, .. } => *name = shared,
            Origin::Standalone => {}
        }
    }

    /// Shares what the tasks of a definition usually agree in. A service may have another group than the first task of
    /// its definition: its own tasks share that one.
    fn share_pattern(&mut self, task: &mut Arc<Task>) {
        if !self.patterns.contains_key(&task.definition) {
            self.patterns.insert(task.definition.clone(), Pattern::of(task));
        }
        let Some(pattern) = self.patterns.get(&task.definition) else { return };
        if let Some(demand) = other(&task.demand, Some(&pattern.demand)) {
            Arc::make_mut(task).demand = demand;
        }
        if let Some(overrides) = other(&task.overrides, Some(&pattern.overrides)) {
            Arc::make_mut(task).overrides = overrides;
        }
        if let Some(tags) = other(&task.tags, Some(&pattern.tags)) {
            Arc::make_mut(task).tags = tags;
        }
        let peers = self.peers.get_key_value(&task.peers()).map(|(key, _)| &key.group);
        if let Some(group) = other(&task.group, peers.or(Some(&pattern.group))) {
            Arc::make_mut(task).group = group;
        }
        for (index, name) in pattern.names.iter().enumerate() {
            let own = task.containers.get(index).map(|container| &container.name);
            if let Some(name) = own.and_then(|own| other(own, Some(name))) {
                Arc::make_mut(task).containers[index].name = name;
            }
        }
    }
}

/// Another's copy of what is the same, if it is another.
fn other<T: ?Sized + PartialEq>(own: &Arc<T>, known: Option<&Arc<T>>) -> Option<Arc<T>> {
    known.filter(|known| !Arc::ptr_eq(own, known) && **own == ***known).cloned()
}

/// Takes another's copy of what is the same.
fn share<T: ?Sized + PartialEq>(own: &mut Arc<T>, known: Option<&Arc<T>>) {
    if let Some(known) = other(own, known) {
        *own = known;
    }
}
