//! Forgetting: what has ended stays describable for a while, and then makes room.

use std::time::Duration;

use ecsr_api::Timestamp;

use super::{Decision, Reply};
use crate::context::Context;
use crate::ids::DefinitionId;
use crate::state::{DefinitionStatus, Event, InstanceStatus, State};

/// How long a STOPPED task stays describable. ECS promises at least an hour.
pub const STOPPED_TASKS_KEPT: Duration = Duration::from_hours(1);

/// How long an INACTIVE service or instance, or a deleted task definition, stays describable.
pub const INACTIVE_KEPT: Duration = Duration::from_hours(1);

/// How long a client token of RunTask holds.
pub(super) const TOKENS_KEPT: Duration = Duration::from_hours(24);

/// Most things forgotten in one decision, so that a long backlog never stalls the writer.
const FORGOTTEN_AT_ONCE: usize = 1000;

pub(super) fn tick(state: &State, context: &Context) -> Decision {
    let now = context.now;
    let tasks = state.stopped_tasks.iter().take_while(|(at, _)| at.plus(STOPPED_TASKS_KEPT) <= now);
    let tasks = tasks.map(|(_, key)| Event::TaskForgotten(key.clone()));
    let services = state.services.values().filter(|one| is_past(one.inactive_at, INACTIVE_KEPT, now));
    let services = services.map(|one| Event::ServiceForgotten(one.key.clone()));
    let instances = state.instances.values().filter(|one| is_past(one.inactive_at, INACTIVE_KEPT, now));
    let instances = instances
        .filter(|one| {
            one.status == InstanceStatus::Inactive && state.live_tasks_on(&one.key).next().is_none()
        })
        .map(|one| Event::InstanceForgotten(one.key.clone()));
    let tokens = state.tokens.values().filter(|one| is_past(Some(one.at), TOKENS_KEPT, now));
    let tokens =
        tokens.map(|one| Event::TokenForgotten { cluster: one.cluster.clone(), token: one.token.clone() });
    let definitions = state.definitions.values().filter(|one| {
        one.status == DefinitionStatus::DeleteInProgress
            && is_past(one.delete_requested_at, INACTIVE_KEPT, now)
            && !is_used(state, &one.id)
    });
    let definitions = definitions.map(|one| Event::DefinitionForgotten(one.id.clone()));
    let all = tasks.chain(services).chain(instances).chain(tokens).chain(definitions);
    (all.take(FORGOTTEN_AT_ONCE).collect(), Reply::Nothing).into()
}

/// The next moments at which something is to be forgotten. Of the stopped tasks only the first is of interest.
pub(crate) fn expiries(state: &State) -> impl Iterator<Item = Timestamp> + '_ {
    let task = state.stopped_tasks.get_min().map(|(at, _)| at.plus(STOPPED_TASKS_KEPT));
    let services = state.services.values().filter_map(|one| Some(one.inactive_at?.plus(INACTIVE_KEPT)));
    let instances = state.instances.values().filter_map(|one| Some(one.inactive_at?.plus(INACTIVE_KEPT)));
    let tokens = state.tokens.values().map(|one| one.at.plus(TOKENS_KEPT));
    let definitions =
        state.definitions.values().filter_map(|one| Some(one.delete_requested_at?.plus(INACTIVE_KEPT)));
    task.into_iter().chain(services).chain(instances).chain(tokens).chain(definitions)
}

fn is_past(since: Option<Timestamp>, kept: Duration, now: Timestamp) -> bool {
    since.is_some_and(|since| since.plus(kept) <= now)
}

fn is_used(state: &State, id: &DefinitionId) -> bool {
    let by_task = state.tasks.values().any(|task| task.definition == *id);
    let by_service = state.services.values().any(|service| {
        service.definition == *id || service.deployments.iter().any(|deployment| deployment.definition == *id)
    });
    by_task || by_service
}
