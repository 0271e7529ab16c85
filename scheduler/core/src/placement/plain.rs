//! What a placement means, in the plainest words: every task goes to the best of all the instances that fit it, looked
//! for among all of them, each time anew.
//!
//! Far too slow for a large cluster and never used to run one. It is the measure of [`super::place`]: a property test
//! compares what the two choose, and the benchmark how long they take.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::candidate::Candidate;
use super::score::{Score, first_turn, own_ranks};
use super::{Ask, Placement};
use crate::context::Context;
use crate::ids::InstanceKey;
use crate::state::{Desired, Instance, State};
use crate::task_definition::{SpreadField, Strategy};

/// Chooses instances for up to `count` tasks. Where the strategy is not random, the choice is that of [`super::place`].
pub fn place(state: &State, ask: &Ask<'_>, count: u32, context: &mut Context) -> Placement {
    let candidate = |(key, offer)| Candidate::new(offer, state.usage_of(key), count_peers(state, ask, key));
    let mut candidates: Vec<Candidate<'_>> = state.offers_of(ask.cluster).filter_map(candidate).collect();
    let first_turn = first_turn(candidates.len(), context);
    let mut placement = Placement::default();
    while placement.chosen.len() < count as usize {
        let turn = |index: usize| (index + candidates.len() - first_turn) % candidates.len();
        let buckets = count_buckets(ask, &candidates);
        let mut best: Option<(Score, usize)> = None;
        for (index, candidate) in candidates.iter().enumerate() {
            if candidate.shortfall(state, ask).is_none() {
                let mut score = Score {
                    ranks: own_ranks(ask.strategy, ask.demand, candidate, context),
                    turn: u32::try_from(turn(index)).expect("fewer than 2^32 instances"),
                };
                for (slot, buckets) in &buckets {
                    score.ranks[*slot] = buckets[attribute(ask, *slot, candidate.instance())];
                }
                best = best.into_iter().chain([(score, index)]).min();
            }
        }
        let Some((_, index)) = best else { break };
        placement.chosen.push(candidates[index].instance().clone());
        candidates[index].taken += 1;
    }
    if placement.chosen.len() < count as usize {
        let lacking = |candidate: &Candidate<'_>| {
            Some((candidate.instance().key.clone(), candidate.shortfall(state, ask)?))
        };
        placement.shortfalls = candidates.iter().filter_map(lacking).collect();
    }
    placement
}

/// For each strategy that spreads over an attribute: the tasks of the group by the attribute's value.
fn count_buckets<'a>(ask: &Ask<'_>, candidates: &[Candidate<'a>]) -> BTreeMap<usize, BTreeMap<&'a str, u32>> {
    let spreads = |strategy: &&Strategy| matches!(strategy, Strategy::Spread(SpreadField::Attribute(_)));
    let slots = ask.strategy.iter().enumerate().filter(|(_, strategy)| spreads(strategy));
    let count = |slot: usize| {
        let mut buckets = BTreeMap::new();
        for candidate in candidates {
            *buckets.entry(attribute(ask, slot, candidate.instance())).or_default() += candidate.peers();
        }
        buckets
    };
    slots.map(|(slot, _)| (slot, count(slot))).collect()
}

/// The value of the attribute that the strategy in that place spreads over.
fn attribute<'a>(ask: &Ask<'_>, slot: usize, instance: &'a Instance) -> &'a str {
    match &ask.strategy[slot] {
        Strategy::Spread(SpreadField::Attribute(name)) => instance.attribute(name).unwrap_or_default(),
        Strategy::Spread(SpreadField::InstanceId)
        | Strategy::Random
        | Strategy::BinpackCpu
        | Strategy::BinpackMemory => "",
    }
}

fn count_peers(state: &State, ask: &Ask<'_>, instance: &InstanceKey) -> u32 {
    let stays =
        |task: &&Arc<crate::state::Task>| task.desired == Desired::Running && task.group == *ask.group;
    let count = state.live_tasks_on(instance).filter(stays).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}
