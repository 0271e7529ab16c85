//! Taking over what an earlier agent left: every task is rebuilt from its containers' labels, and the ledger adds
//! those that were accepted and have no container yet.
//!
//! A container is ours if it was made for this cluster and for a container instance that the ledger remembers, or if
//! its scope is ours: the same scheduler, cluster and data directory. An instance that the ledger does not know, because
//! it is lost or could not be written, comes back from the labels as well: else its containers would run on with
//! nobody to answer for them. What an agent of this data directory ran for another cluster is left running and alone:
//! this cluster's scheduler has no say in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_api::Timestamp;

use super::Driver;
use super::ops::{Hands, patiently};
use crate::engine::{Input, Snapshot};
use crate::runtime::{Listed, Runtime, RuntimeError};
use crate::task::{Task, labels, names};

/// A task with the containers that exist of it, by name.
type Found = (Task, Vec<(String, Snapshot)>);

impl<R: Runtime> Driver<R> {
    /// Fills the engine with what is there.
    pub(super) async fn adopt(&mut self) {
        let listed = list(&self.hands).await.unwrap_or_else(|error| {
            tracing::error!("cannot list containers, none is adopted: {error}");
            Vec::new()
        });
        let known = self.ledger.with(|entries| entries.container_instances.clone());
        self.over = self.ledger.with(|entries| entries.unsent.keys().cloned().collect());
        let scope = labels::scope(&self.config);
        let cluster = self.config.cluster_name();
        let ours: Vec<Listed> =
            listed.into_iter().filter(|found| is_ours(found, &known, cluster, &scope)).collect();
        self.recall_instances(&ours);
        let found = rebuild(&self.hands, ours).await;
        if self.ledger.with(|entries| entries.acknowledged.iter().any(|arn| !found.contains_key(arn))) {
            self.ledger.update(|entries| entries.acknowledged.retain(|arn| found.contains_key(arn)));
        }
        for (task, containers) in found.into_values() {
            tracing::info!(task = task.spec.arn, containers = containers.len(), "adopted from labels");
            self.adopt_task(task, containers);
        }
        let accepted = self.ledger.with(|entries| entries.accepted.clone());
        for acs in accepted.into_values() {
            let Ok(task) = Task::load(acs) else { continue };
            let is_here =
                names::cluster_in(&task.spec.arn).is_none_or(|named| named == self.config.cluster_name());
            if is_here && !self.tasks.contains_key(&task.spec.arn) {
                tracing::info!(task = task.spec.arn, "adopted from the ledger");
                self.adopt_task(task, Vec::new());
            }
        }
        self.stop_what_was_stopping();
    }

    /// What an earlier agent was told to stop is to stop still, and what it has called STOPPED is over for good, though
    /// the scheduler has not heard of it and confirms the task.
    fn stop_what_was_stopping(&mut self) {
        let over: Vec<String> =
            self.over.iter().filter(|arn| self.tasks.contains_key(*arn)).cloned().collect();
        for task_arn in over {
            self.feed(Input::Stop { task_arn });
        }
        let stopping = self.ledger.with(|entries| entries.stopping.clone());
        let (here, gone): (Vec<String>, Vec<String>) =
            stopping.into_iter().partition(|arn| self.tasks.contains_key(arn));
        if !gone.is_empty() {
            self.ledger.update(|entries| entries.stopping.retain(|arn| !gone.contains(arn)));
        }
        for task_arn in here {
            self.feed(Input::Stop { task_arn });
        }
    }

    fn adopt_task(&mut self, task: Task, containers: Vec<(String, Snapshot)>) {
        let spec = task.spec.clone();
        for (name, snapshot) in &containers {
            let key = crate::engine::ContainerKey { task_arn: spec.arn.clone(), container: name.clone() };
            self.by_id.insert(snapshot.id.clone(), key);
        }
        self.tasks.insert(spec.arn.clone(), Arc::new(task));
        self.feed(Input::Adopt { spec, containers });
    }

    /// An agent that lost its ledger, or whose ledger missed a registration, registers again as what its containers
    /// say it is.
    fn recall_instances(&self, ours: &[Listed]) {
        let told = instances_of(ours);
        let missed = self.ledger.with(|entries| missed(&told, &entries.container_instances).to_vec());
        if !missed.is_empty() {
            tracing::info!(container_instances = ?missed, "recalled from labels");
            self.ledger.update(|entries| missed.iter().for_each(|arn| entries.remember_instance(arn)));
        }
    }
}

/// Those of the told instances that came after all known ones. An older one that is not known was superseded: its
/// containers are ours, but this host is it no more.
fn missed<'a>(told: &'a [String], known: &[String]) -> &'a [String] {
    let newest_known = told.iter().rposition(|arn| known.contains(arn));
    &told[newest_known.map_or(0, |at| at + 1)..]
}

/// The instances that containers were made for, the one of the newest container last. A host that was deregistered and
/// joined again has containers of both until the older ones are cleaned up.
fn instances_of(containers: &[Listed]) -> Vec<String> {
    let mut newest: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for found in containers {
        if let Some(arn) = found.labels.get(labels::CONTAINER_INSTANCE).filter(|arn| !arn.is_empty()) {
            let created_at = newest.entry(arn).or_default();
            *created_at = (*created_at).max(found.created_at);
        }
    }
    let mut instances: Vec<(Timestamp, &str)> = newest.into_iter().map(|(arn, at)| (at, arn)).collect();
    instances.sort_unstable();
    instances.into_iter().map(|(_, arn)| arn.to_owned()).collect()
}

async fn list<R: Runtime>(hands: &Hands<R>) -> Result<Vec<Listed>, RuntimeError> {
    patiently(|| hands.runtime.list(labels::TASK)).await
}

async fn rebuild<R: Runtime>(hands: &Hands<R>, ours: Vec<Listed>) -> BTreeMap<String, Found> {
    let mut tasks: BTreeMap<String, Found> = BTreeMap::new();
    for found in ours {
        let Some((task, name)) = labels::read(&found.labels) else {
            tracing::warn!(id = found.id, "has labels that this agent cannot read; left alone");
            continue;
        };
        match patiently(|| hands.runtime.inspect(&found.id)).await {
            Ok(snapshot) => {
                let snapshot = hands.settle(&task, &name, snapshot);
                tasks
                    .entry(task.spec.arn.clone())
                    .or_insert_with(|| (task, Vec::new()))
                    .1
                    .push((name, snapshot));
            }
            Err(RuntimeError::NotFound(_)) => {}
            Err(error) => tracing::warn!(id = found.id, "cannot be inspected; left alone: {error}"),
        }
    }
    tasks
}

fn is_ours(found: &Listed, known_instances: &[String], cluster: &str, scope: &str) -> bool {
    let label = |name: &str| found.labels.get(name).map(String::as_str);
    if label(labels::CLUSTER) != Some(cluster) {
        return false;
    }
    let is_known = |arn: &str| known_instances.iter().any(|known| known == arn);
    label(labels::SCOPE) == Some(scope) || label(labels::CONTAINER_INSTANCE).is_some_and(is_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_other_agents_are_left_alone() {
        let found = |cluster: &str, instance: &str, scope: &str| Listed {
            id: "id".to_owned(),
            labels: [
                (labels::CLUSTER, cluster),
                (labels::CONTAINER_INSTANCE, instance),
                (labels::SCOPE, scope),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            created_at: Timestamp::default(),
        };
        let known = ["arn:1".to_owned(), "arn:2".to_owned()];
        let cases: [(&[String], &str, &str, &str, bool); 7] = [
            (&known, "blue", "arn:1", "elsewhere", true),
            (&known, "blue", "arn:3", "here", true),
            (&[], "blue", "arn:3", "here", true),
            (&[], "blue", "arn:1", "elsewhere", false),
            (&known, "blue", "arn:3", "elsewhere", false),
            (&known, "blue", "", "here", true),
            (&known, "green", "arn:1", "here", false),
        ];
        for (known, cluster, instance, scope, expected) in cases {
            let found = found(cluster, instance, scope);
            assert_eq!(is_ours(&found, known, "blue", "here"), expected, "{cluster} {instance} {scope}");
        }
    }

    #[test]
    fn the_newest_container_says_which_instance_this_host_is() {
        let made = |seconds: i64, instance: &str| Listed {
            id: format!("{seconds}"),
            labels: [(labels::CONTAINER_INSTANCE.to_owned(), instance.to_owned())].into(),
            created_at: Timestamp::from_seconds(seconds),
        };
        assert_eq!(instances_of(&[]), [""; 0]);
        assert_eq!(instances_of(&[made(1, "")]), [""; 0]);
        let joined_twice = [made(1, "arn:z"), made(4, "arn:a"), made(3, "arn:z"), made(2, "arn:a")];
        assert_eq!(instances_of(&joined_twice), ["arn:z", "arn:a"]);
    }

    #[test]
    fn an_instance_that_the_ledger_missed_is_the_newest_unless_it_was_superseded() {
        let arns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let told = arns(&["arn:1", "arn:2", "arn:3"]);
        assert_eq!(missed(&told, &[]), told);
        assert_eq!(missed(&told, &arns(&["arn:1"])), ["arn:2", "arn:3"]);
        assert_eq!(missed(&told, &arns(&["arn:9"])), told);
        assert_eq!(missed(&told, &arns(&["arn:3"])), [""; 0]);
    }
}
