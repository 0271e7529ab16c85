//! The passing of time: hosts that are gone are given up ([`hosts`]), and what has ended stays describable for a while,
//! then makes room. The shell ticks when `reconcile::next_wake` says so and at least once a minute, which is exact enough
//! for forgetting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ecsr_api::Timestamp;
use imbl::OrdSet;

use super::{Decision, Reply};
use crate::context::Context;
use crate::ids::{DefinitionId, TaskKey};
use crate::reconcile::hosts;
use crate::state::{Event, Origin, State, Task, TokenKey};

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
    let mut events = hosts::review(state, context);
    events.extend(forgotten(state, now).take(FORGOTTEN_AT_ONCE));
    (events, Reply::Nothing).into()
}

/// What is past its time. Everything here is in the order of time, so what is not due yet is not looked at.
fn forgotten(state: &State, now: Timestamp) -> impl Iterator<Item = Event> {
    let kept = &state.kept;
    // Half of what there is room for: a token that goes with its tasks is found by nothing but them.
    let tasks: Vec<&TaskKey> = past(&state.stopped_tasks, STOPPED_TASKS_KEPT, now)
        .filter(|key| !state.tasks.get(key).is_some_and(|task| task.is_registered()))
        .take(FORGOTTEN_AT_ONCE / 2)
        .collect();
    let tokens = spent(state, &tasks).into_iter().chain(past(&kept.tokens, TOKENS_KEPT, now));
    let tokens: BTreeSet<&TokenKey> = tokens.take(FORGOTTEN_AT_ONCE / 2).collect();
    let instances = past(&kept.instances, INACTIVE_KEPT, now);
    let instances = instances.filter(|key| !state.tenants.contains_key(&key.id));
    let definitions = past(&kept.definitions, INACTIVE_KEPT, now).filter(|id| !is_used(state, id));
    let tasks = tasks.into_iter().map(|key| Event::TaskForgotten(key.clone()));
    let tokens = tokens
        .into_iter()
        .map(|(cluster, token)| Event::TokenForgotten { cluster: cluster.clone(), token: token.clone() });
    tasks
        .chain(tokens)
        .chain(past(&kept.services, INACTIVE_KEPT, now).map(|key| Event::ServiceForgotten(key.clone())))
        .chain(instances.map(|key| Event::InstanceForgotten(key.clone())))
        .chain(definitions.map(|id| Event::DefinitionForgotten(id.clone())))
}

/// Those of a set that were kept for long enough.
fn past<T: Ord + Clone>(
    set: &OrdSet<(Timestamp, T)>,
    kept: Duration,
    now: Timestamp,
) -> impl Iterator<Item = &T> {
    set.iter().take_while(move |(since, _)| since.plus(kept) <= now).map(|(_, thing)| thing)
}

/// A token holds for a day, but no longer than its tasks are remembered: SDKs make one for every call. Those of tasks that
/// are forgotten now were used at the moment that the tasks were made.
fn spent<'a>(state: &'a State, forgotten: &[&TaskKey]) -> Vec<&'a TokenKey> {
    let standalone = |task: &&Arc<Task>| match task.origin {
        Origin::Standalone => true,
        Origin::Service { .. } => false,
    };
    let tasks = forgotten.iter().filter_map(|key| state.tasks.get(key));
    let moments: BTreeSet<Timestamp> = tasks.filter(standalone).map(|task| task.times.created).collect();
    if moments.is_empty() {
        return Vec::new();
    }
    let forgotten: BTreeSet<&TaskKey> = forgotten.iter().copied().collect();
    let is_gone = |key: &TaskKey| forgotten.contains(key) || !state.tasks.contains_key(key);
    let tokens = moments.into_iter().flat_map(|at| state.kept.tokens_at(at));
    tokens.filter(|key| state.tokens.get(*key).is_some_and(|token| token.tasks.iter().all(is_gone))).collect()
}

fn is_used(state: &State, id: &DefinitionId) -> bool {
    state.patterns.contains_key(id) || state.kept.employers.contains_key(id)
}
