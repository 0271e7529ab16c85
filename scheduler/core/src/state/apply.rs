//! State + event -> state. Total: an event was decided already, so nothing here can refuse it.

use std::sync::Arc;

use ecsr_api::Timestamp;
use imbl::OrdMap;

use super::endpoint::take_targets;
use super::host::footing;
use super::strength::strengthened;
use super::{
    Container, ContainerReport, Definition, DefinitionStatus, Desired, Event, Health, Instance,
    InstanceStatus, Known, Offer, Presence, Report, SERVICE_EVENTS_MAX, Service, ServiceEvent, State, Stop,
    Task,
};
use crate::ids::{InstanceKey, Name, ServiceKey, TaskKey};

impl State {
    /// Takes one fact in.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::ClusterSaved(cluster) => {
                // The name that is there already stays: it stands in the key of everything in the cluster.
                let known = self.clusters.get_key_value(&cluster.name).map(|(name, _)| name.clone());
                self.clusters.insert(known.unwrap_or_else(|| cluster.name.clone()), cluster.clone());
            }
            Event::DefinitionSaved(definition) => {
                self.save_definition(definition);
            }
            Event::DefinitionForgotten(id) => {
                let forgotten = self.definitions.remove(id);
                self.active_definitions.remove(id);
                self.kept.change_definition(forgotten.as_deref(), None);
            }
            Event::FamilySaved { family, last_revision } => {
                let family = self.families.entry(family.clone()).or_default();
                family.last_revision = family.last_revision.max(*last_revision);
            }
            Event::InstanceSaved(instance) => self.put_instance(instance),
            Event::InstancePresence { instance, presence } => self.change_presence(instance, *presence),
            Event::InstanceForgotten(key) => {
                self.forget_instance(key);
            }
            Event::ServiceSaved(service) => self.save_service(service),
            Event::ServiceForgotten(key) => {
                let forgotten = self.services.remove(key);
                self.agenda.change(forgotten.as_ref(), None);
                self.kept.change_service(forgotten.as_deref(), None);
                self.service_events.remove(key);
            }
            Event::ServiceLogged { service, event } => self.log(service, event),
            Event::TaskPlaced(task) => {
                let task = self.shared(task.clone());
                self.put_task(None, Some(task));
            }
            Event::TaskAcknowledged(key) => self.amend_task(key, |task| task.acknowledged = true),
            Event::TaskStopRequested { task, at, stop } => {
                self.change_task(task, |task| request_stop(task, *at, stop));
            }
            Event::TaskReported { task, report } => self.change_task(task, |task| take_report(task, report)),
            Event::TaskHealthReported { task, health } => {
                self.change_task(task, |task| take_health(task, health));
            }
            Event::TaskTargetsReported { task, targets } => {
                self.change_task(task, |task| take_targets(task, targets));
            }
            Event::TaskForgotten(key) => {
                let task = self.tasks.get(key).cloned();
                self.put_task(task, None);
            }
            Event::TaskTagged { task, tags } => {
                self.amend_task(task, |task| task.tags = Arc::new(tags.clone()));
            }
            Event::TokenUsed(token) => {
                let key = (token.cluster.clone(), token.token.clone());
                let replaced = self.tokens.insert(key, Arc::new(token.clone()));
                self.kept.change_token(replaced.as_deref(), Some(token));
            }
            Event::TokenForgotten { cluster, token } => {
                let forgotten = self.tokens.remove(&(cluster.clone(), token.clone()));
                self.kept.change_token(forgotten.as_deref(), None);
            }
        }
    }

    fn save_definition(&mut self, definition: &Arc<Definition>) {
        let id = &definition.id;
        let family = self.families.entry(id.family.clone()).or_default();
        family.last_revision = family.last_revision.max(id.revision);
        match definition.status {
            DefinitionStatus::Active => {
                self.active_definitions.insert(id.clone());
            }
            DefinitionStatus::Inactive | DefinitionStatus::DeleteInProgress => {
                self.active_definitions.remove(id);
            }
        }
        let replaced = self.definitions.insert(id.clone(), definition.clone());
        self.kept.change_definition(replaced.as_deref(), Some(definition));
    }

    /// The only way that an instance enters or changes: its offer and the index of those that are away follow.
    pub(super) fn put_instance(&mut self, instance: &Arc<Instance>) {
        let instance = &self.shared_instance(instance);
        let in_use = instance.status != InstanceStatus::Inactive;
        if in_use && !instance.presence.serves() {
            self.away.insert(instance.key.clone());
        } else {
            self.away.remove(&instance.key);
        }
        let replaced = self.instances.insert(instance.key.clone(), instance.clone());
        self.kept.change_instance(replaced.as_deref(), Some(instance));
        let offer = self.offer_of(instance);
        self.offer(&instance.key, Some(&offer));
    }

    fn change_presence(&mut self, key: &InstanceKey, presence: Presence) {
        if let Some(instance) = self.instances.get(key) {
            // ECS announces that an agent connected or disconnected, and knows nothing finer.
            let announced = instance.is_connected() != (presence == Presence::Connected);
            let version = instance.version + i64::from(announced);
            self.put_instance(&Arc::new(Instance { presence, version, ..Instance::clone(instance) }));
        }
    }

    fn forget_instance(&mut self, key: &InstanceKey) {
        self.away.remove(key);
        let forgotten = self.instances.remove(key);
        self.kept.change_instance(forgotten.as_deref(), None);
        self.offer(key, None);
    }

    fn save_service(&mut self, service: &Arc<Service>) {
        let replaced = self.put_service(service);
        // A new service under an old name starts with a log of its own.
        if replaced.is_some_and(|old| old.created_at != service.created_at) {
            self.service_events.remove(&service.key);
        }
    }

    /// The only way that a service enters or changes.
    pub(super) fn put_service(&mut self, service: &Arc<Service>) -> Option<Arc<Service>> {
        let replaced = self.services.insert(service.key.clone(), service.clone());
        self.agenda.change(replaced.as_ref(), Some(service));
        self.kept.change_service(replaced.as_deref(), Some(service));
        replaced
    }

    fn log(&mut self, service: &ServiceKey, event: &ServiceEvent) {
        let events = self.service_events.entry(service.clone()).or_default();
        events.push_back(Arc::new(event.clone()));
        if events.len() > SERVICE_EVENTS_MAX {
            events.pop_front();
        }
    }

    fn change_task(&mut self, key: &TaskKey, change: impl FnOnce(&mut Task)) {
        if let Some(old) = self.tasks.get(key).cloned() {
            let mut new = Task::clone(&old);
            change(&mut new);
            self.put_task(Some(old), Some(Arc::new(new)));
        }
    }

    /// A change that no index or counter follows.
    fn amend_task(&mut self, key: &TaskKey, change: impl FnOnce(&mut Task)) {
        if let Some(task) = self.tasks.get_mut(key) {
            change(Arc::make_mut(task));
        }
    }

    /// The only way that a task enters, leaves or changes in what is counted: indexes and counters follow here and nowhere else.
    pub(super) fn put_task(&mut self, old: Option<Arc<Task>>, new: Option<Arc<Task>>) {
        match (&old, &new) {
            (Some(old), Some(new)) if old.is_live() && new.is_live() => self.reindex(old, new),
            (old, new) => {
                if let Some(old) = old {
                    self.unindex(old);
                }
                if let Some(new) = new {
                    self.index(new);
                }
            }
        }
        self.follow_endpoints(old.as_deref(), new.as_deref());
        match (old, new) {
            (old, Some(new)) => {
                if old.is_none()
                    && let Some(pattern) = self.patterns.get_mut(&new.definition)
                {
                    pattern.tasks += 1;
                }
                self.tasks.insert(new);
            }
            (Some(old), None) => {
                self.tasks.remove(&old.key);
                self.let_go_of_pattern(&old);
            }
            (None, None) => {}
        }
    }

    /// One task of its definition less.
    fn let_go_of_pattern(&mut self, task: &Task) {
        if let Some(pattern) = self.patterns.get_mut(&task.definition) {
            pattern.tasks -= 1;
            if pattern.tasks == 0 {
                self.patterns.remove(&task.definition);
            }
        }
    }

    fn index(&mut self, task: &Task) {
        if let Some(stopped_at) = stopped_at(task) {
            self.stopped_tasks.insert((stopped_at, task.key.clone()));
            return;
        }
        adjust(&mut self.tenants, task.instance, |tenants| Arc::make_mut(tenants).add(task));
        adjust(&mut self.usage, task.instance, |usage| usage.add(task));
        if let Some(service) = task.service() {
            adjust(&mut self.service_tasks, service, |tasks| {
                tasks.insert(task.key.id);
            });
        }
        self.count_in(task);
    }

    fn unindex(&mut self, task: &Task) {
        if let Some(stopped_at) = stopped_at(task) {
            self.stopped_tasks.remove(&(stopped_at, task.key.clone()));
            return;
        }
        self.count_out(task);
        adjust(&mut self.tenants, task.instance, |tenants| Arc::make_mut(tenants).remove(task));
        adjust(&mut self.usage, task.instance, |usage| usage.remove(task));
        if let Some(service) = task.service() {
            adjust(&mut self.service_tasks, service, |tasks| {
                tasks.remove(&task.key.id);
            });
        }
    }

    /// A change of a task that was there and stays: most of what is known of it is the same.
    fn reindex(&mut self, old: &Task, new: &Task) {
        if (old.known, old.desired) != (new.known, new.desired) {
            adjust(&mut self.usage, new.instance, |usage| {
                usage.remove(old);
                usage.add(new);
            });
        }
        if !old.holds_ports_of(new) {
            adjust(&mut self.tenants, new.instance, |tenants| Arc::make_mut(tenants).change_ports(old, new));
        }
        if (old.desired, strengthened(old)) == (new.desired, strengthened(new)) {
            self.recount(old, new);
        } else {
            self.count_out(old);
            self.count_in(new);
        }
    }

    /// Counts a task that is meant to run.
    fn count_in(&mut self, task: &Task) {
        if task.desired != Desired::Running {
            return;
        }
        adjust(&mut self.tallies, task.tally(), |tally| tally.add(task));
        let offer = self.offers.get(&task.host());
        let zone = offer.and_then(Offer::zone_of_tasks);
        adjust(&mut self.peers, task.peers(), |peers| Arc::make_mut(peers).add(task.instance, zone));
        if let Some(deployment) = strengthened(task) {
            let footing = footing(offer);
            adjust(&mut self.strengths, deployment, |strength| strength.add(task, footing));
        }
        if let Some(service) = ailing(task) {
            adjust(&mut self.ailing, service, |count| *count += 1);
        }
    }

    fn count_out(&mut self, task: &Task) {
        if task.desired != Desired::Running {
            return;
        }
        adjust(&mut self.tallies, task.tally(), |tally| tally.remove(task));
        let offer = self.offers.get(&task.host());
        let zone = offer.and_then(Offer::zone_of_tasks);
        adjust(&mut self.peers, task.peers(), |peers| Arc::make_mut(peers).remove(task.instance, zone));
        if let Some(deployment) = strengthened(task) {
            let footing = footing(offer);
            adjust(&mut self.strengths, deployment, |strength| strength.remove(task, footing));
        }
        if let Some(service) = ailing(task) {
            adjust(&mut self.ailing, service, |count| *count -= 1);
        }
    }

    /// Counts a task that was and is meant to run.
    fn recount(&mut self, old: &Task, new: &Task) {
        if new.desired != Desired::Running {
            return;
        }
        if old.known != new.known
            && let Some(tally) = self.tallies.get_mut(&new.tally())
        {
            tally.remove(old);
            tally.add(new);
        }
        if let Some(deployment) = strengthened(new) {
            let footing = footing(self.offers.get(&new.host()));
            if let Some(strength) = self.strengths.get_mut(&deployment) {
                strength.change(old, new, footing);
            }
        }
        match (ailing(old), ailing(new)) {
            (None, Some(service)) => adjust(&mut self.ailing, service, |count| *count += 1),
            (Some(service), None) => adjust(&mut self.ailing, service, |count| *count -= 1),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}

/// The service of a task that is meant to run and fails its health checks.
pub(super) fn ailing(task: &Task) -> Option<ServiceKey> {
    strengthened(task).filter(|_| task.is_failing()).and_then(|_| task.service())
}

/// Changes an entry. One that is as good as none is not there, neither before nor after, so that derived maps hold nothing
/// of what is gone.
pub(super) fn adjust<K: Ord + Clone, V: Clone + Default + PartialEq>(
    map: &mut OrdMap<K, V>,
    key: K,
    change: impl FnOnce(&mut V),
) {
    if let Some(value) = map.get_mut(&key) {
        change(value);
        if *value == V::default() {
            map.remove(&key);
        }
    } else {
        let mut value = V::default();
        change(&mut value);
        if value != V::default() {
            map.insert(key, value);
        }
    }
}

/// Set exactly when the task is STOPPED.
pub(super) fn stopped_at(task: &Task) -> Option<Timestamp> {
    match task.known {
        Known::Pending | Known::Running => None,
        Known::Stopped => Some(task.times.stopped.unwrap_or(task.times.created)),
    }
}

pub(super) fn request_stop(task: &mut Task, at: Timestamp, stop: &Stop) {
    if task.desired == Desired::Stopped {
        return;
    }
    task.desired = Desired::Stopped;
    task.times.stopping = Some(at);
    task.stop = Some(Box::new(stop.clone()));
    task.version += 1;
}

pub(super) fn take_report(task: &mut Task, report: &Report) {
    for change in &report.containers {
        if let Some(container) = task.containers.iter_mut().find(|container| container.name == change.name) {
            take_container_report(container, change);
        }
    }
    let times = &mut task.times;
    times.pull_started = times.pull_started.or(report.pull_started);
    times.pull_stopped = times.pull_stopped.or(report.pull_stopped);
    times.execution_stopped = times.execution_stopped.or(report.execution_stopped);
    match report.known {
        Known::Pending => {}
        Known::Running => times.started = times.started.or(Some(report.at)),
        Known::Stopped => {
            times.stopped = times.stopped.or(Some(report.at));
            times.stopping = times.stopping.or(Some(report.at));
            task.desired = Desired::Stopped;
            task.stop = task.stop.take().or_else(|| report.stop.clone().map(Box::new));
        }
    }
    task.known = task.known.max(report.known);
    // Whatever is reported was stored by the agent first.
    task.acknowledged = true;
    task.version += 1;
}

fn take_container_report(container: &mut Container, change: &ContainerReport) {
    container.known = container.known.max(change.known.unwrap_or(container.known));
    if let Some(runtime_id) = &change.runtime_id {
        container.runtime_id = Some(runtime_id.clone());
    }
    if let Some(image_digest) = &change.image_digest {
        container.image_digest = Some(image_digest.clone());
    }
    container.exit_code = change.exit_code.or(container.exit_code);
    if let Some(reason) = &change.reason {
        container.reason = Some(reason.as_str().into());
    }
    if let Some(bindings) = &change.network_bindings {
        container.network_bindings.clone_from(bindings);
    }
}

pub(super) fn take_health(task: &mut Task, health: &[(Name, Health)]) {
    for (name, health) in health {
        if let Some(container) = task.containers.iter_mut().find(|container| container.name == *name) {
            container.health = *health;
        }
    }
    task.version += 1;
}
