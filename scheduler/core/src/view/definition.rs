//! A task definition: the document as it was registered, under the status that it has now.

use ecsr_api::ecs;

use crate::state::Definition;

/// ECS's `TaskDefinition`. Tags are no part of it: operations answer with them beside it.
pub fn definition(definition: &Definition) -> ecs::TaskDefinition {
    ecs::TaskDefinition {
        status: Some(definition.status.as_str().to_owned()),
        deregistered_at: definition.deregistered_at,
        delete_requested_at: definition.delete_requested_at,
        ..ecs::TaskDefinition::clone(&definition.document)
    }
}
