//! Which of the instances that fit is best: one rank per strategy, the lowest first, the id as tie-break.

use std::collections::BTreeMap;

use super::candidate::Candidate;
use crate::context::Context;
use crate::ids::InstanceId;
use crate::state::Instance;
use crate::task_definition::Demand;
use crate::task_definition::{SpreadField, Strategy};

/// Lower is better. Ranks stand in the order of the strategies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    ranks: Vec<u64>,
    id: InstanceId,
}

/// Scores candidates, remembering how many peers each bucket of a spread holds.
#[derive(Debug)]
pub(super) struct Scorer<'a> {
    strategy: &'a [Strategy],
    /// For each strategy that spreads over an attribute: peers by the attribute's value.
    buckets: Vec<BTreeMap<String, u32>>,
}

impl<'a> Scorer<'a> {
    pub fn new(strategy: &'a [Strategy], candidates: &[Candidate<'_>]) -> Self {
        let mut scorer = Self { strategy, buckets: vec![BTreeMap::new(); strategy.len()] };
        for candidate in candidates {
            scorer.count(candidate.instance, candidate.peers);
        }
        scorer
    }

    /// Takes note that one more task goes to a candidate.
    pub fn took(&mut self, candidate: &Candidate<'_>) {
        self.count(candidate.instance, 1);
    }

    pub fn score(&self, candidate: &Candidate<'_>, demand: &Demand, context: &mut Context) -> Score {
        let ranks = self.strategy.iter().zip(&self.buckets);
        let rank = |(strategy, buckets): (&Strategy, &BTreeMap<String, u32>)| match strategy {
            Strategy::Random => u64::from_be_bytes(context.bytes()),
            Strategy::BinpackCpu => u64::from(candidate.cpu_left().saturating_sub(demand.cpu)),
            Strategy::BinpackMemory => u64::from(candidate.memory_left().saturating_sub(demand.memory)),
            Strategy::Spread(SpreadField::InstanceId) => u64::from(candidate.peers),
            Strategy::Spread(SpreadField::Attribute(name)) => {
                u64::from(buckets.get(bucket(candidate.instance, name)).copied().unwrap_or_default())
            }
        };
        Score { ranks: ranks.map(rank).collect(), id: candidate.instance.key.id }
    }

    fn count(&mut self, instance: &Instance, peers: u32) {
        for (strategy, buckets) in self.strategy.iter().zip(&mut self.buckets) {
            if let Strategy::Spread(SpreadField::Attribute(name)) = strategy {
                *buckets.entry(bucket(instance, name).to_owned()).or_default() += peers;
            }
        }
    }
}

/// Instances that lack the attribute share a bucket of their own.
fn bucket<'a>(instance: &'a Instance, attribute: &str) -> &'a str {
    instance.attribute(attribute).unwrap_or_default()
}
