//! The long ARNs of what the state holds.

use crate::ids::{ContainerId, DefinitionId, InstanceKey, ServiceKey, TaskKey};
use crate::state::State;

/// `arn:...:cluster/<name>`.
pub fn cluster(state: &State, name: &str) -> String {
    state.home.cluster_arn(name)
}

/// `arn:...:container/<cluster>/<task id>/<id>`.
pub fn container(state: &State, task: &TaskKey, id: ContainerId) -> String {
    state.home.container_arn(&task.cluster, &task.id.to_string(), &id.dashed())
}

/// `arn:...:task-definition/<family>:<revision>`.
pub fn definition(state: &State, id: &DefinitionId) -> String {
    let revision = i32::try_from(id.revision).expect("revisions are given within the wire's integer");
    state.home.task_definition_arn(&id.family, revision)
}

/// `arn:...:container-instance/<cluster>/<id>`.
pub fn instance(state: &State, key: &InstanceKey) -> String {
    state.home.container_instance_arn(&key.cluster, &key.id.to_string())
}

/// `arn:...:service/<cluster>/<name>`.
pub fn service(state: &State, key: &ServiceKey) -> String {
    state.home.service_arn(&key.cluster, &key.name)
}

/// `arn:...:task/<cluster>/<id>`.
pub fn task(state: &State, key: &TaskKey) -> String {
    state.home.task_arn(&key.cluster, &key.id.to_string())
}
