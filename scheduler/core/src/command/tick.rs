//! The passing of time: hosts that are gone are given up ([`hosts`]), and what has ended stays describable for a while,
//! then makes room. The shell ticks when `reconcile::next_wake` says so and at least once a minute, which is exact enough
//! for forgetting.

use std::time::Duration;

use ecsr_api::Timestamp;

use super::{Decision, Reply};
use crate::context::Context;
use crate::ids::DefinitionId;
use crate::reconcile::hosts;
use crate::state::{DefinitionStatus, Event, Instance, InstanceStatus, State, Token};

/// How long a STOPPED task stays describable. ECS promises at least an hour.
pub const STOPPED_TASKS_KEPT: Duration = Duration::from_hours(1);

/// How long an INACTIVE service or instance, or a deleted task definition, stays describable.
pub const INACTIVE_KEPT: Duration = Duration::from_hours(1);

/// How long a client token of RunTask holds.
pub(super) const TOKENS_KEPT: Duration = Duration::from_hours(24);

/// Most things forgotten in one decision, so that a long backlog never stalls the writer.
const FORGOTTEN_AT_ONCE: usize = 10_000;

pub(super) fn tick(state: &State, context: &mut Context) -> Decision {
    let now = context.now;
    let tasks = state.stopped_tasks.iter().take_while(|(at, _)| at.plus(STOPPED_TASKS_KEPT) <= now);
    let tasks = tasks.map(|(_, key)| Event::TaskForgotten(key.clone()));
    let services = state.services.values().filter(|one| is_past(one.inactive_at, INACTIVE_KEPT, now));
    let services = services.map(|one| Event::ServiceForgotten(one.key.clone()));
    let is_gone = |one: &Instance| {
        one.status == InstanceStatus::Inactive && is_past(one.inactive_at, INACTIVE_KEPT, now)
    };
    let instances = state.instances.values().filter(|one| is_gone(one) || is_ghost(one, now));
    let instances = instances
        .filter(|one| state.live_tasks_on(&one.key).next().is_none())
        .map(|one| Event::InstanceForgotten(one.key.clone()));
    let tokens = state.tokens.values().filter(|one| is_spent(state, one, now));
    let tokens =
        tokens.map(|one| Event::TokenForgotten { cluster: one.cluster.clone(), token: one.token.clone() });
    let definitions = state.definitions.values().filter(|one| {
        one.status == DefinitionStatus::DeleteInProgress
            && is_past(one.delete_requested_at, INACTIVE_KEPT, now)
            && !is_used(state, &one.id)
    });
    let definitions = definitions.map(|one| Event::DefinitionForgotten(one.id.clone()));
    let all = tasks.chain(services).chain(instances).chain(tokens).chain(definitions);
    let mut events = hosts::review(state, context);
    events.extend(all.take(FORGOTTEN_AT_ONCE));
    (events, Reply::Nothing).into()
}

/// A token holds for a day, but no longer than its tasks are remembered. SDKs make one for every call.
fn is_spent(state: &State, token: &Token, now: Timestamp) -> bool {
    let forgotten = || token.tasks.iter().all(|key| !state.tasks.contains_key(key));
    is_past(Some(token.at), TOKENS_KEPT, now)
        || (is_past(Some(token.at), STOPPED_TASKS_KEPT, now) && forgotten())
}

/// Registered, but never heard of again: what is left of a registration whose answer was lost.
fn is_ghost(instance: &Instance, now: Timestamp) -> bool {
    instance.version == 1
        && !instance.is_connected()
        && is_past(Some(instance.registered_at), INACTIVE_KEPT, now)
}

fn is_past(since: Option<Timestamp>, kept: Duration, now: Timestamp) -> bool {
    since.is_some_and(|since| since.plus(kept) <= now)
}

fn is_used(state: &State, id: &DefinitionId) -> bool {
    let by_task = state.patterns.contains_key(id);
    let by_service = state.services.values().any(|service| {
        service.definition == *id
            || service.last_completed.as_ref() == Some(id)
            || service.deployments.iter().any(|deployment| deployment.definition == *id)
    });
    by_task || by_service
}
