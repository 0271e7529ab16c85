//! The labels on each container: Amazon's five, and ours, which hold all that is needed to rebuild the task.
//!
//! They are the agent's database. Losing the data directory loses nothing that runs.

use std::collections::BTreeMap;

use ecsr_api::acs;
use sha2::{Digest, Sha256};

use super::Task;
use crate::config::Config;

/// The label that every container of this agent carries; lists and events are filtered by it.
pub(crate) const TASK: &str = "dev.ecsr.task";
/// The container instance that the task was placed on.
pub(crate) const CONTAINER_INSTANCE: &str = "dev.ecsr.container-instance";
/// Which agent of those that may share the engine the container belongs to.
pub(crate) const SCOPE: &str = "dev.ecsr.scope";
/// The credentials of the task role, by id.
pub(crate) const CREDENTIALS_ID: &str = "dev.ecsr.credentials-id";
/// Amazon's label of the container's name.
pub(crate) const CONTAINER_NAME: &str = "com.amazonaws.ecs.container-name";

/// Amazon's label of the cluster's name.
pub(crate) const CLUSTER: &str = "com.amazonaws.ecs.cluster";
const TASK_ARN: &str = "com.amazonaws.ecs.task-arn";
const FAMILY: &str = "com.amazonaws.ecs.task-definition-family";
const VERSION: &str = "com.amazonaws.ecs.task-definition-version";

/// Who this agent is, for its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The container instance's ARN.
    pub(crate) container_instance: String,
    /// See [`scope`].
    pub(crate) scope: String,
}

/// What tells this agent's containers from those of another agent on the same engine when neither remembers its
/// container instance: where its scheduler is, its cluster, and its data directory.
pub(crate) fn scope(config: &Config) -> String {
    let data_dir = config.data_dir.to_string_lossy();
    let identity = [
        config.endpoint.as_deref().unwrap_or_default(),
        config.region.as_deref().unwrap_or_default(),
        config.cluster_name(),
        &config.host_data_dir,
        &data_dir,
    ];
    hex::encode(&Sha256::digest(identity.join("\0"))[..8])
}

/// The labels of a container of this task.
pub(crate) fn of(task: &Task, container: &str, owner: &Owner) -> BTreeMap<String, String> {
    let json = serde_json::to_string(&task.acs).expect("a payload's task has string keys and finite numbers");
    let mut labels: BTreeMap<String, String> = [
        (CLUSTER, owner.cluster.as_str()),
        (CONTAINER_NAME, container),
        (TASK_ARN, &task.spec.arn),
        (FAMILY, &task.spec.family),
        (VERSION, &task.spec.version),
        (CONTAINER_INSTANCE, &owner.container_instance),
        (SCOPE, &owner.scope),
        (TASK, &json),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    if let Some(id) = &task.credentials_id {
        labels.insert(CREDENTIALS_ID.to_owned(), id.clone());
    }
    labels
}

/// The task and the container's name in it, from a container's labels; `None` if they are not ours.
pub(crate) fn read(labels: &BTreeMap<String, String>) -> Option<(Task, String)> {
    let acs: acs::Task = serde_json::from_str(labels.get(TASK)?).ok()?;
    let mut task = Task::load(acs).ok()?;
    task.credentials_id = labels.get(CREDENTIALS_ID).cloned();
    let name = labels.get(CONTAINER_NAME)?.clone();
    task.spec.position(&name)?;
    Some((task, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_survives_the_way_through_labels() {
        let acs = serde_json::from_str(
            r#"{"arn":"t","family":"f","version":"1","roleCredentials":{"credentialsId":"id"},
                "containers":[{"name":"a","image":"i","environment":{"K":"v"}}]}"#,
        );
        let task = Task::load(acs.unwrap()).unwrap();
        let owner =
            Owner { cluster: "c".to_owned(), container_instance: "arn".to_owned(), scope: "s".to_owned() };
        let labels = of(&task, "a", &owner);
        assert_eq!(labels["com.amazonaws.ecs.task-arn"], "t");
        assert_eq!(read(&labels), Some((task, "a".to_owned())));
        assert_eq!(read(&BTreeMap::new()), None);
    }
}
