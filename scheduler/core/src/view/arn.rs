//! The long ARNs of what the state holds.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::ids::{ContainerId, DefinitionId, InstanceKey, ServiceKey, TaskKey};
use crate::state::State;

/// `arn:...:cluster/<name>`.
pub fn cluster(state: &State, name: &str) -> String {
    state.home.cluster_arn(name)
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

/// The ARNs of tasks, written as a list.
#[derive(Debug)]
pub struct TaskArns<'a> {
    prefix: String,
    tasks: Vec<&'a TaskKey>,
}

impl<'a> TaskArns<'a> {
    pub fn new(state: &State, tasks: Vec<&'a TaskKey>) -> Self {
        Self { prefix: state.home.prefix(), tasks }
    }
}

impl Serialize for TaskArns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tasks = self.tasks.iter();
        serializer
            .collect_seq(tasks.map(|key| Written { prefix: &self.prefix, resource: Resource::Task(key) }))
    }
}

/// An ARN that is put together while it is written: an answer about a hundred tasks has six hundred of them.
#[derive(Debug)]
pub(super) struct Written<'a> {
    /// What all ARNs begin with: [`ecsr_api::arn::Home::prefix`].
    pub prefix: &'a str,
    pub resource: Resource<'a>,
}

/// What comes behind the prefix.
#[derive(Debug)]
pub(super) enum Resource<'a> {
    Cluster(&'a str),
    Container(&'a TaskKey, ContainerId),
    Definition(&'a DefinitionId),
    Instance(InstanceKey),
    Task(&'a TaskKey),
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix)?;
        match &self.resource {
            Resource::Cluster(name) => write!(f, "cluster/{name}"),
            Resource::Container(task, id) => {
                write!(f, "container/{}/{}/{}", task.cluster, task.id, id.dashed())
            }
            Resource::Definition(id) => write!(f, "task-definition/{id}"),
            Resource::Instance(key) => write!(f, "container-instance/{}/{}", key.cluster, key.id),
            Resource::Task(key) => write!(f, "task/{}/{}", key.cluster, key.id),
        }
    }
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
