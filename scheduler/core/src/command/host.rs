//! What the shell found out about hosts. Decides nothing but what presence that means; see [`crate::state::Presence`].

use std::sync::Arc;

use super::{Decision, Reply};
use crate::context::Context;
use crate::ids::InstanceKey;
use crate::state::{Event, Instance, InstanceStatus, Presence, State, Whereabouts};

/// Where an instance's host is, and whether it answers.
pub(super) fn learned(state: &State, key: &InstanceKey, whereabouts: Whereabouts) -> Decision {
    let news = in_use(state, key).filter(|instance| instance.whereabouts != Some(whereabouts));
    let saved = news.map(|instance| {
        Event::InstanceSaved(Arc::new(Instance {
            whereabouts: Some(whereabouts),
            ..Instance::clone(instance)
        }))
    });
    (saved.into_iter().collect(), Reply::Nothing).into()
}

/// Hosts whose agents are away were asked. What was asked before an agent returned says nothing any more, and one that
/// was given up comes back by its agent alone.
pub(super) fn probed(
    state: &State,
    answered: &[InstanceKey],
    unanswered: &[InstanceKey],
    context: &Context,
) -> Decision {
    let since = context.now;
    let back = answered.iter().filter_map(|key| match in_use(state, key)?.presence {
        Presence::Unreachable { .. } => Some((key, Presence::Silent { since })),
        Presence::Connected | Presence::Silent { .. } | Presence::Lost { .. } => None,
    });
    let gone = unanswered.iter().filter_map(|key| match in_use(state, key)?.presence {
        Presence::Silent { .. } => Some((key, Presence::Unreachable { since })),
        Presence::Connected | Presence::Unreachable { .. } | Presence::Lost { .. } => None,
    });
    let events =
        back.chain(gone).map(|(key, presence)| Event::InstancePresence { instance: key.clone(), presence });
    (events.collect(), Reply::Nothing).into()
}

fn in_use<'a>(state: &'a State, key: &InstanceKey) -> Option<&'a Arc<Instance>> {
    state.instances.get(key).filter(|instance| instance.status != InstanceStatus::Inactive)
}
