//! What clients were told: every acknowledged write, and what may have become of those that nobody answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ecsr_core::State;
use ecsr_core::ids::{DefinitionId, Name, ServiceKey, TaskKey};
use ecsr_core::state::{ClusterStatus, DefinitionStatus, Scheduling, Service, ServiceStatus};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Model {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    clusters: BTreeMap<Name, Told<bool>>,
    definitions: BTreeMap<DefinitionId, Told<bool>>,
    services: BTreeMap<ServiceKey, Told<Option<Wanted>>>,
    tasks: BTreeSet<TaskKey>,
    tags: BTreeMap<ServiceKey, Told<Option<String>>>,
    /// By `startedBy`: how many tasks were asked for, at most.
    runs: BTreeMap<String, usize>,
}

/// What a service was made or changed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) desired: u32,
    pub(crate) definition: DefinitionId,
}

impl Wanted {
    /// What a service is. The count of a DAEMON follows the instances, so nobody is told one.
    pub(crate) fn of(service: &Service) -> Self {
        let desired = match service.spec.scheduling {
            Scheduling::Replica => service.desired_count,
            Scheduling::Daemon => 0,
        };
        Self { desired, definition: service.definition.clone() }
    }
}

/// The values that something may have: one if the last write was acknowledged, more while one was not.
#[derive(Debug, Clone)]
struct Told<T> {
    values: Vec<T>,
}

impl<T: PartialEq> Told<T> {
    fn acknowledged(value: T) -> Self {
        Self { values: vec![value] }
    }

    fn sent(&mut self, value: T) {
        if !self.values.contains(&value) {
            self.values.push(value);
        }
    }

    fn allows(&self, value: &T) -> bool {
        self.values.contains(value)
    }
}

impl Model {
    pub(crate) fn cluster_sent(&self, name: &str, exists: bool) {
        let told = |inner: &mut Inner| {
            let unknown = || Told::acknowledged(false);
            inner.clusters.entry(name.into()).or_insert_with(unknown).sent(exists);
        };
        told(&mut self.lock());
    }

    pub(crate) fn cluster_acknowledged(&self, name: &str, exists: bool) {
        self.lock().clusters.insert(name.into(), Told::acknowledged(exists));
    }

    pub(crate) fn definition_sent(&self, id: &DefinitionId, is_active: bool) {
        let mut inner = self.lock();
        inner.definitions.entry(id.clone()).or_insert_with(|| Told::acknowledged(!is_active)).sent(is_active);
    }

    pub(crate) fn definition_acknowledged(&self, id: &DefinitionId, is_active: bool) {
        self.lock().definitions.insert(id.clone(), Told::acknowledged(is_active));
    }

    pub(crate) fn service_sent(&self, key: &ServiceKey, wanted: Option<Wanted>) {
        let mut inner = self.lock();
        inner.services.entry(key.clone()).or_insert_with(|| Told::acknowledged(None)).sent(wanted);
    }

    pub(crate) fn service_acknowledged(&self, key: &ServiceKey, wanted: Option<Wanted>) {
        self.lock().services.insert(key.clone(), Told::acknowledged(wanted));
    }

    pub(crate) fn tag_sent(&self, key: &ServiceKey, value: &str) {
        let mut inner = self.lock();
        inner
            .tags
            .entry(key.clone())
            .or_insert_with(|| Told::acknowledged(None))
            .sent(Some(value.to_owned()));
    }

    pub(crate) fn tag_acknowledged(&self, key: &ServiceKey, value: Option<String>) {
        self.lock().tags.insert(key.clone(), Told::acknowledged(value));
    }

    /// A service was made anew or is gone: its tags are not those of an earlier one.
    pub(crate) fn tags_forgotten(&self, key: &ServiceKey) {
        self.lock().tags.remove(key);
    }

    pub(crate) fn run_sent(&self, started_by: &str, count: usize) {
        self.lock().runs.insert(started_by.to_owned(), count);
    }

    pub(crate) fn tasks_acknowledged(&self, tasks: &[TaskKey]) {
        self.lock().tasks.extend(tasks.iter().cloned());
    }

    /// Whatever was acknowledged and is not as it was said to be.
    pub(crate) fn check(&self, state: &State) -> Vec<String> {
        let inner = self.lock();
        let mut wrong = Vec::new();
        for (name, told) in &inner.clusters {
            let found = state.clusters.get(name).is_some_and(|found| found.status == ClusterStatus::Active);
            if !told.allows(&found) {
                wrong.push(format!("cluster {name}: was acknowledged as {:?}, is {found}", told.values));
            }
        }
        for (id, told) in &inner.definitions {
            let found =
                state.definitions.get(id).is_some_and(|found| found.status == DefinitionStatus::Active);
            if !told.allows(&found) {
                wrong.push(format!("definition {id}: was acknowledged as {:?}, is {found}", told.values));
            }
        }
        for (key, told) in &inner.services {
            let found = state.services.get(key).filter(|found| found.status == ServiceStatus::Active);
            let found = found.map(|found| Wanted::of(found));
            if !told.allows(&found) {
                wrong.push(format!(
                    "service {}: was acknowledged as {:?}, is {found:?}",
                    key.name, told.values
                ));
            }
        }
        for (key, told) in &inner.tags {
            let found = state.services.get(key).and_then(|found| found.tags.get("mark").cloned());
            if !told.allows(&found) {
                wrong.push(format!(
                    "tags of {}: were acknowledged as {:?}, are {found:?}",
                    key.name, told.values
                ));
            }
        }
        let lost = inner.tasks.iter().filter(|key| !state.tasks.contains_key(key));
        wrong.extend(lost.map(|key| format!("task {} was acknowledged and is gone", key.id)));
        wrong
    }

    /// A call that came twice has not done twice what it was to do once.
    pub(crate) fn check_limits(&self, state: &State) -> Vec<String> {
        let inner = self.lock();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for task in state.tasks.values() {
            if let Some(started_by) = &task.started_by {
                *counts.entry(&**started_by).or_default() += 1;
            }
        }
        let over = inner
            .runs
            .iter()
            .filter(|(started_by, most)| counts.get(started_by.as_str()).is_some_and(|count| count > *most));
        over.map(|(started_by, most)| format!("{started_by} was to run {most} tasks at most")).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
