//! RegisterTaskDefinition, DeregisterTaskDefinition, DeleteTaskDefinitions.

use std::sync::Arc;

use ecsr_api::ecs;

use super::{Decision, Reply};
use crate::context::Context;
use crate::ids::{DefinitionId, Name};
use crate::names;
use crate::refusal::{Refusal, client, invalid};
use crate::resolve::{self, DefinitionName};
use crate::state::{Definition, DefinitionStatus, Event, State};
use crate::task_definition;

/// Most task definitions of one DeleteTaskDefinitions.
const DELETE_MAX: usize = 10;

pub(super) fn register(
    state: &State,
    request: &ecs::RegisterTaskDefinitionRequest,
    context: &Context,
) -> Result<Decision, Refusal> {
    let tags = names::tags(request.tags.as_deref())?;
    let mut document = task_definition::register(request.clone())?;
    let family = Name::from(document.family.as_deref().unwrap_or_default());
    let last = state.families.get(&family).map_or(0, |family| family.last_revision);
    let revision = last.checked_add(1).ok_or_else(|| client("Too many revisions of the family."))?;
    let id = DefinitionId { family, revision };
    document.task_definition_arn = Some(state.definition_arn(&id));
    document.revision = i32::try_from(revision).ok();
    document.status = Some(DefinitionStatus::Active.as_str().into());
    document.registered_at = Some(context.now);
    document.registered_by = Some(context.caller.clone());
    let definition = Definition {
        id: id.clone(),
        status: DefinitionStatus::Active,
        document: Arc::new(document),
        deregistered_at: None,
        delete_requested_at: None,
        tags,
    };
    Ok((vec![Event::DefinitionSaved(Arc::new(definition))], Reply::Definition(id)).into())
}

/// Deregistering twice answers with the INACTIVE revision again.
pub(super) fn deregister(
    state: &State,
    request: &ecs::DeregisterTaskDefinitionRequest,
    context: &Context,
) -> Result<Decision, Refusal> {
    let text = request.task_definition.as_deref().unwrap_or_default();
    let definition = revision(state, text)?;
    let id = definition.id.clone();
    let events = match definition.status {
        DefinitionStatus::Active => vec![restated(definition, DefinitionStatus::Inactive, context)],
        DefinitionStatus::Inactive | DefinitionStatus::DeleteInProgress => Vec::new(),
    };
    Ok((events, Reply::Definition(id)).into())
}

/// Marks INACTIVE revisions; they are gone once nothing uses them.
pub(super) fn delete(
    state: &State,
    request: &ecs::DeleteTaskDefinitionsRequest,
    context: &Context,
) -> Result<Decision, Refusal> {
    let texts = request.task_definitions.as_deref().unwrap_or_default();
    if texts.is_empty() {
        return Err(invalid("Task definitions cannot be empty."));
    }
    if texts.len() > DELETE_MAX {
        return Err(invalid(format!("Task definitions can have at most {DELETE_MAX} items.")));
    }
    let (mut events, mut marked, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for text in texts {
        match deletable(state, text) {
            Err(reason) => failures.push(ecs::Failure {
                arn: Some(named(state, text)),
                reason: Some(reason),
                ..ecs::Failure::default()
            }),
            Ok(definition) => {
                if definition.status == DefinitionStatus::Inactive {
                    events.push(restated(definition, DefinitionStatus::DeleteInProgress, context));
                }
                marked.push(definition.id.clone());
            }
        }
    }
    Ok((events, Reply::Definitions { marked, failures }).into())
}

/// The ARN of what a caller named; their own words when there is no such revision.
fn named(state: &State, text: &str) -> String {
    revision(state, text).map_or_else(|_| text.to_owned(), |found| state.definition_arn(&found.id))
}

fn deletable<'a>(state: &'a State, text: &str) -> Result<&'a Definition, String> {
    let definition = revision(state, text).map_err(|refusal| refusal.to_string())?;
    match definition.status {
        DefinitionStatus::Inactive | DefinitionStatus::DeleteInProgress => Ok(definition),
        DefinitionStatus::Active => {
            Err("The specified task definition is still in ACTIVE status. Please deregister \
                                         the target and try again."
                .into())
        }
    }
}

/// A revision that is named as such: these operations never guess the latest one.
fn revision<'a>(state: &'a State, text: &str) -> Result<&'a Definition, Refusal> {
    let found = match resolve::definition_name(state, text)? {
        Some(DefinitionName::Latest(_)) => return Err(invalid("Revision is missing.")),
        Some(DefinitionName::Revision(id)) => state.definitions.get(&id).map(AsRef::as_ref),
        None => None,
    };
    found.ok_or_else(|| client("The specified task definition does not exist."))
}

fn restated(definition: &Definition, status: DefinitionStatus, context: &Context) -> Event {
    let mut changed = definition.clone();
    let mut document = ecs::TaskDefinition::clone(&definition.document);
    changed.status = status;
    match status {
        DefinitionStatus::Active => {}
        DefinitionStatus::Inactive => changed.deregistered_at = Some(context.now),
        DefinitionStatus::DeleteInProgress => changed.delete_requested_at = Some(context.now),
    }
    document.status = Some(status.as_str().into());
    document.deregistered_at = changed.deregistered_at;
    document.delete_requested_at = changed.delete_requested_at;
    changed.document = Arc::new(document);
    Event::DefinitionSaved(Arc::new(changed))
}
