//! All tasks, by cluster and id.
//!
//! There are a million of them, and what changes one copies what lies beside it. So a cluster is named once for all of
//! its tasks, not in the key of each, and a key is nothing but the number that it is found by.

use std::ops::{Bound, Index};
use std::sync::Arc;

use imbl::OrdMap;

use super::Task;
use crate::ids::{Name, TaskId, TaskKey};

/// The tasks of all clusters, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tasks {
    /// None of a cluster is empty.
    clusters: OrdMap<Name, OrdMap<TaskId, Arc<Task>>>,
}

impl Tasks {
    pub fn get(&self, key: &TaskKey) -> Option<&Arc<Task>> {
        self.clusters.get(&key.cluster)?.get(&key.id)
    }

    pub fn contains_key(&self, key: &TaskKey) -> bool {
        self.get(key).is_some()
    }

    pub fn len(&self) -> usize {
        self.clusters.values().map(OrdMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    pub fn values(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.clusters.values().flat_map(OrdMap::values)
    }

    pub fn keys(&self) -> impl Iterator<Item = &TaskKey> {
        self.values().map(|task| &task.key)
    }

    /// The tasks of a cluster whose ids are behind one, or all of them.
    pub fn of_cluster(&self, cluster: &Name, after: Option<TaskId>) -> impl Iterator<Item = &Arc<Task>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tasks = self.clusters.get(cluster).into_iter();
        tasks.flat_map(move |tasks| tasks.range((from, Bound::Unbounded))).map(|(_, task)| task)
    }

    /// Those of some ids in a cluster.
    pub fn named<'a>(
        &'a self,
        cluster: &Name,
        ids: impl IntoIterator<Item = &'a TaskId>,
    ) -> impl Iterator<Item = &'a Arc<Task>> {
        let tasks = self.clusters.get(cluster);
        ids.into_iter().filter_map(move |id| tasks?.get(id))
    }

    pub(super) fn get_mut(&mut self, key: &TaskKey) -> Option<&mut Arc<Task>> {
        self.clusters.get_mut(&key.cluster)?.get_mut(&key.id)
    }

    pub(super) fn insert(&mut self, task: Arc<Task>) {
        let id = task.key.id;
        match self.clusters.get_mut(&task.key.cluster) {
            Some(tasks) => {
                tasks.insert(id, task);
            }
            None => {
                self.clusters.insert(task.key.cluster.clone(), OrdMap::unit(id, task));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &TaskKey) {
        let Some(tasks) = self.clusters.get_mut(&key.cluster) else { return };
        tasks.remove(&key.id);
        if tasks.is_empty() {
            self.clusters.remove(&key.cluster);
        }
    }
}

impl Index<&TaskKey> for Tasks {
    type Output = Arc<Task>;

    fn index(&self, key: &TaskKey) -> &Arc<Task> {
        self.get(key).expect("the task exists")
    }
}
