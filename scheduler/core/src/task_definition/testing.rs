//! What the tests of the rules share: a definition that is valid, and ways to spoil it.

use ecsr_api::ecs;
use serde_json::{Value, json};

use super::register;
use crate::refusal::Refusal;

/// The smallest request that ECS accepts.
pub(super) fn minimal() -> Value {
    json!({"family": "web", "containerDefinitions": [{"name": "app", "image": "busybox", "memory": 64}]})
}

/// A minimal request with members of its only container set.
pub(super) fn with_container(members: Value) -> Value {
    let mut request = minimal();
    merge(&mut request["containerDefinitions"][0], members);
    request
}

/// A minimal request with members of the task set.
pub(super) fn with_task(members: Value) -> Value {
    let mut request = minimal();
    merge(&mut request, members);
    request
}

/// Registers what is written in the words of the wire.
pub(super) fn register_json(request: Value) -> Result<ecs::TaskDefinition, Refusal> {
    register(serde_json::from_value(request).expect("a request of the right types"))
}

/// The minimal request with these members of the task is refused with exactly these words.
pub(super) fn check_refusal(task: Value, message: &str) {
    let shown = task.to_string();
    assert_eq!(register_json(with_task(task)).map(|_| ()), Err(Refusal::Client(message.into())), "{shown}");
}

/// The minimal request with these members of its container is refused with exactly these words.
pub(super) fn check_container_refusal(container: Value, message: &str) {
    let shown = container.to_string();
    let result = register_json(with_container(container)).map(|_| ());
    assert_eq!(result, Err(Refusal::Client(message.into())), "{shown}");
}

/// The minimal request with these members of its container is accepted.
pub(super) fn check_container_accepted(container: Value) -> ecs::TaskDefinition {
    let shown = container.to_string();
    register_json(with_container(container)).unwrap_or_else(|refusal| panic!("{shown}: {refusal}"))
}

/// The minimal request with these members of the task is accepted.
pub(super) fn check_accepted(task: Value) -> ecs::TaskDefinition {
    let shown = task.to_string();
    register_json(with_task(task)).unwrap_or_else(|refusal| panic!("{shown}: {refusal}"))
}

fn merge(target: &mut Value, members: Value) {
    let Value::Object(members) = members else { panic!("members are an object") };
    for (name, value) in members {
        target[name] = value;
    }
}
