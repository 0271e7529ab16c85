//! Which of the instances that fit is best: one rank per strategy, the lowest first, a random turn as tie-break.
//!
//! Ranks are of two kinds. Those of an instance alone (what is left of it, its peers, chance) change only when it takes a
//! task. Those of a bucket, all instances that share the value of an attribute, change for all of them at once. A
//! [`Score`] keeps both in the order of the strategies.

use super::candidate::Candidate;
use crate::context::Context;
use crate::task_definition::{Demand, PLACEMENT_STRATEGIES_MAX, SpreadField, Strategy};

/// Lower is better. Ranks stand in the order of the strategies; there are no more than ECS allows.
pub(super) type Ranks = [u32; PLACEMENT_STRATEGIES_MAX];

/// The place of a candidate among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    pub ranks: Ranks,
    /// Among equals: the place in the order of ids, counted from a random one, so that services of one task each do
    /// not all end up on the instance with the lowest id.
    pub turn: u32,
}

/// The ranks of an instance alone; zero where a bucket's stands.
pub(super) fn own_ranks(
    strategy: &[Strategy],
    demand: &Demand,
    candidate: &Candidate<'_>,
    context: &mut Context,
) -> Ranks {
    let mut ranks = Ranks::default();
    for (rank, strategy) in ranks.iter_mut().zip(strategy) {
        *rank = match strategy {
            Strategy::Random => u32::from_be_bytes(context.bytes()),
            Strategy::BinpackCpu => candidate.cpu_left(demand).saturating_sub(demand.cpu),
            Strategy::BinpackMemory => candidate.memory_left(demand).saturating_sub(demand.memory),
            Strategy::Spread(SpreadField::InstanceId) => candidate.peers(),
            Strategy::Spread(SpreadField::Attribute(_)) => 0,
        };
    }
    ranks
}

/// Where the tie-break begins to count, out of `candidates`.
pub(super) fn first_turn(candidates: usize, context: &mut Context) -> usize {
    let random = u64::from_be_bytes(context.bytes());
    let candidates = u64::try_from(candidates.max(1)).expect("a length fits 64 bits");
    usize::try_from(random % candidates).expect("less than a length")
}
