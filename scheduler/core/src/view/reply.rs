//! The body of an answer to an operation that changed something.
//!
//! A decision's reply names objects; they are shown out of the state that holds the decision's events. Operations share
//! replies, and differ in what they show around the object, which is why the operation is asked for too.

use ecsr_api::ecs::{self, Operation};
use serde::Serialize;

use super::{
    ClusterFields, ShowTags, ShownTask, Tasks, TasksAnswer, cluster, definition, instance, service, tags,
};
use crate::command::Reply;
use crate::ids::{DefinitionId, InstanceKey, TaskKey};
use crate::state::State;

/// The JSON body of the answer to `operation`.
///
/// What was forgotten between decision and answer is left out, so that a late answer is poorer but never fails.
pub fn respond(state: &State, operation: Operation, reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Nothing => body(&ecs::TagResourceResponse::default()),
        Reply::Acknowledged => {
            body(&ecs::SubmitTaskStateChangeResponse { acknowledgment: Some("ACCEPTED".to_owned()) })
        }
        Reply::Cluster(name) => {
            let stored = state.clusters.get(name);
            body(&ecs::CreateClusterResponse {
                cluster: stored.map(|stored| cluster(state, stored, ClusterFields::OF_CHANGES)),
            })
        }
        Reply::Definition(id) => one_definition(state, operation, id),
        Reply::Definitions { marked, failures } => {
            let stored = marked.iter().filter_map(|id| state.definitions.get(id));
            body(&ecs::DeleteTaskDefinitionsResponse {
                task_definitions: Some(stored.map(|stored| definition(stored)).collect()),
                failures: Some(failures.clone()),
            })
        }
        Reply::Tasks { tasks, failures } => many_tasks(state, tasks, failures),
        Reply::Task(key) => {
            let stored = state.tasks.get(key).into_iter().map(|stored| &**stored).collect();
            body(&StopTaskAnswer { task: Tasks::new(state, stored, ShowTags::Yes).iter().next() })
        }
        Reply::Service(key) => {
            let stored = state.services.get(key);
            body(&ecs::CreateServiceResponse {
                service: stored.map(|stored| service(state, stored, ShowTags::Yes)),
            })
        }
        Reply::Instance(key) => {
            let stored = state.instances.get(key);
            body(&ecs::RegisterContainerInstanceResponse {
                container_instance: stored.map(|stored| instance(state, stored, ShowTags::Yes)),
            })
        }
        Reply::Instances { instances, failures } => many_instances(state, instances, failures),
    }
}

/// Only RegisterTaskDefinition shows tags, beside the definition.
fn one_definition(state: &State, operation: Operation, id: &DefinitionId) -> Vec<u8> {
    let stored = state.definitions.get(id);
    let shown_tags =
        stored.filter(|_| operation == Operation::RegisterTaskDefinition).map(|stored| tags(&stored.tags));
    body(&ecs::RegisterTaskDefinitionResponse {
        task_definition: stored.map(|stored| definition(stored)),
        tags: shown_tags,
    })
}

fn many_tasks(state: &State, tasks: &[TaskKey], failures: &[ecs::Failure]) -> Vec<u8> {
    let stored = tasks.iter().filter_map(|key| state.tasks.get(key)).map(|stored| &**stored).collect();
    body(&TasksAnswer { failures: failures.to_vec(), tasks: Tasks::new(state, stored, ShowTags::Yes) })
}

fn many_instances(state: &State, instances: &[InstanceKey], failures: &[ecs::Failure]) -> Vec<u8> {
    let stored = instances.iter().filter_map(|key| state.instances.get(key));
    body(&ecs::UpdateContainerInstancesStateResponse {
        container_instances: Some(stored.map(|stored| instance(state, stored, ShowTags::No)).collect()),
        failures: Some(failures.to_vec()),
    })
}

#[derive(Serialize)]
struct StopTaskAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<ShownTask<'a>>,
}

/// The bytes of a response. Wire types hold nothing that JSON could not.
pub(crate) fn body(response: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(response).expect("wire types always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::World;

    #[test]
    fn each_reply_becomes_its_operations_answer() {
        let world = World::with_service();
        let check = |operation: Operation, reply: Reply, members: &[&str]| {
            let bytes = respond(&world.state, operation, &reply);
            let answer: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
            let mut keys: Vec<_> = answer.keys().map(String::as_str).collect();
            keys.sort_unstable();
            assert_eq!(keys, members, "{operation:?}");
        };
        let definition = || world.service().definition.clone();
        let tasks = || world.state.tasks.keys().cloned().collect::<Vec<_>>();
        let failures = Vec::new;
        check(Operation::TagResource, Reply::Nothing, &[]);
        check(Operation::SubmitTaskStateChange, Reply::Acknowledged, &["acknowledgment"]);
        check(Operation::CreateCluster, Reply::Cluster("prod".into()), &["cluster"]);
        check(Operation::CreateCluster, Reply::Cluster("gone".into()), &[]);
        check(
            Operation::RegisterTaskDefinition,
            Reply::Definition(definition()),
            &["tags", "taskDefinition"],
        );
        check(Operation::DeregisterTaskDefinition, Reply::Definition(definition()), &["taskDefinition"]);
        check(
            Operation::DeleteTaskDefinitions,
            Reply::Definitions { marked: vec![definition()], failures: failures() },
            &["failures", "taskDefinitions"],
        );
        check(
            Operation::RunTask,
            Reply::Tasks { tasks: tasks(), failures: failures() },
            &["failures", "tasks"],
        );
        check(Operation::StopTask, Reply::Task(tasks().remove(0)), &["task"]);
        check(Operation::UpdateService, Reply::Service(world.service().key.clone()), &["service"]);
        let instance = || world.instance().key.clone();
        check(Operation::RegisterContainerInstance, Reply::Instance(instance()), &["containerInstance"]);
        check(
            Operation::UpdateContainerInstancesState,
            Reply::Instances { instances: vec![instance()], failures: failures() },
            &["containerInstances", "failures"],
        );
    }
}
