//! Where tasks go: how many -> filter -> score -> take.
//!
//! A pure function of state, ask and entropy. It never promises more than an instance has left, counting what it has
//! just promised in the same call. Why an instance was not taken is data ([`Shortfall`]), so that failures, service
//! events and people can be told exactly what is missing.
//!
//! What a placement means is written down in [`plain`]: each task goes to the best of all instances that fit it. What
//! [`place`] does is the same, by looking at every instance once per call ([`pool`]), or at a few: where any will do
//! ([`sample`]), and where many are as good as the best ([`near`]). Property tests compare them.

mod candidate;
mod near;
pub mod plain;
mod pool;
mod sample;
mod score;
mod shortfall;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::context::Context;
use crate::ids::{GroupKey, InstanceId, InstanceKey, Name};
use crate::state::{Instance, Offer, Peers, State, Usage};
use crate::task_definition::Demand;
use crate::task_definition::{Constraint, Strategy};

use self::candidate::Candidate;
pub use self::candidate::matches;
use self::near::Near;
use self::pool::Pool;
use self::sample::Sample;
pub use self::shortfall::Shortfall;

/// What is to be placed and by which rules.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    pub cluster: &'a Name,
    pub demand: &'a Demand,
    /// Those of the task definition and of the call together: all must hold.
    pub constraints: &'a [Constraint],
    /// Each narrows the ties of the one before it; what ties in all of them is taken in a random turn.
    pub strategy: &'a [Strategy],
    /// Whose tasks "spread" and "distinct" count: those of a service have a group of their own.
    pub group: &'a Name,
}

/// Where the tasks go, and why there are not more of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Placement {
    pub chosen: Vec<Arc<Instance>>,
    /// Filled when fewer were chosen than asked for: the instances that were considered and what each lacks.
    pub shortfalls: Vec<(InstanceKey, Shortfall)>,
}

/// Chooses instances for up to `count` tasks, and says of every instance what it lacks if there are fewer.
pub fn place(state: &State, ask: &Ask<'_>, count: u32, context: &mut Context) -> Placement {
    let chosen = choose(state, ask, count, context);
    Placement { shortfalls: shortfalls(state, ask, &chosen, count), chosen }
}

/// What each instance lacks, if fewer were chosen than asked for.
fn shortfalls(
    state: &State,
    ask: &Ask<'_>,
    chosen: &[Arc<Instance>],
    count: u32,
) -> Vec<(InstanceKey, Shortfall)> {
    if chosen.len() >= count as usize {
        return Vec::new();
    }
    let mut taken: BTreeMap<InstanceId, u32> = BTreeMap::new();
    for instance in chosen {
        *taken.entry(instance.key.id).or_default() += 1;
    }
    pool::shortfalls(state, ask, &taken).collect()
}

/// Chooses instances for up to `count` tasks.
pub fn choose(state: &State, ask: &Ask<'_>, count: u32, context: &mut Context) -> Vec<Arc<Instance>> {
    let mut chosen = Vec::new();
    let mut taken = BTreeMap::new();
    if matches!(ask.strategy.first(), Some(Strategy::Random)) {
        let mut sample = Sample::new(state, ask);
        fill(&mut chosen, count, || sample.take(context));
        taken = sample.into_taken();
    } else if count <= near::TASKS_MAX
        && let Some(mut near) = Near::of(state, ask)
    {
        fill(&mut chosen, count, || near.take(context));
        taken = near.into_taken();
    }
    if chosen.len() < count as usize {
        let mut pool = Pool::gather(state, ask, &taken, context);
        fill(&mut chosen, count, || pool.take(context));
    }
    chosen
}

/// Takes instances until there are `count` of them or none is left.
fn fill<'a>(
    chosen: &mut Vec<Arc<Instance>>,
    count: u32,
    mut take: impl FnMut() -> Option<&'a Arc<Instance>>,
) {
    while chosen.len() < count as usize {
        let Some(instance) = take() else { break };
        chosen.push(instance.clone());
    }
}

/// Of the instances that cannot take one more task, the one that comes closest, and what it lacks.
pub fn closest(state: &State, ask: &Ask<'_>) -> Option<(InstanceKey, Shortfall)> {
    pool::shortfalls(state, ask, &BTreeMap::new()).max_by(|(_, one), (_, other)| one.cmp(other))
}

/// What keeps a task off one instance, if anything (StartTask, which names its instances).
pub fn fits(state: &State, ask: &Ask<'_>, instance: &InstanceKey) -> Result<(), Shortfall> {
    let candidate = state.offers.get(instance).and_then(|offer| candidate(state, ask, instance, offer));
    candidate.map_or(Err(Shortfall::Inactive), |one| one.shortfall(state, ask).map_or(Ok(()), Err))
}

/// The instances that every constraint and capability of a DAEMON service allows, whatever room they have.
pub fn eligible(state: &State, ask: &Ask<'_>) -> Vec<InstanceId> {
    let alone = |(_, offer)| Candidate::new(offer, Usage::default(), 0);
    let candidates = state.offers_of(ask.cluster).filter_map(alone);
    candidates
        .filter(|candidate| candidate.is_eligible(state, ask))
        .map(|candidate| candidate.instance().key.id)
        .collect()
}

/// One instance of its own.
fn candidate<'a>(state: &State, ask: &Ask<'_>, key: &InstanceKey, offer: &'a Offer) -> Option<Candidate<'a>> {
    Candidate::new(offer, state.usage_of(key), peers_on(state, ask, key))
}

/// The tasks of the group.
fn peers<'a>(state: &'a State, ask: &Ask<'_>) -> Option<&'a Peers> {
    let peers = state.peers.get(&GroupKey { cluster: ask.cluster.clone(), group: ask.group.clone() });
    peers.map(|peers| &**peers)
}

fn peers_on(state: &State, ask: &Ask<'_>, instance: &InstanceKey) -> u32 {
    peers(state, ask).map_or(0, |peers| peers.on(instance.id))
}

#[cfg(test)]
mod equality;
#[cfg(test)]
mod tests;
