//! Where tasks go: how many -> filter -> score -> take.
//!
//! A pure function of state, ask and entropy. It never promises more than an instance has left, counting what it has
//! just promised in the same call. Why an instance was not taken is data ([`Shortfall`]), so that failures, service
//! events and people can be told exactly what is missing.

mod candidate;
mod score;
mod shortfall;

use std::sync::Arc;

use crate::context::Context;
use crate::ids::{InstanceId, InstanceKey, Name, ServiceKey};
use crate::state::{Instance, State};
use crate::task_definition::Demand;
use crate::task_definition::{Constraint, Strategy};

use self::candidate::Candidate;
pub use self::candidate::matches;
use self::score::Scorer;
pub use self::shortfall::Shortfall;

/// What is to be placed and by which rules.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    pub cluster: &'a Name,
    pub demand: &'a Demand,
    /// Those of the task definition and of the call together: all must hold.
    pub constraints: &'a [Constraint],
    /// Each narrows the ties of the one before it.
    pub strategy: &'a [Strategy],
    pub peers: Peers<'a>,
}

/// The tasks that "spread" and "distinct" count.
#[derive(Debug, Clone, Copy)]
pub enum Peers<'a> {
    /// The tasks of the same service.
    Service(&'a ServiceKey),
    /// The standalone tasks of the same group.
    Group(&'a Name),
}

/// Where the tasks go, and why there are not more of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Placement {
    pub chosen: Vec<Arc<Instance>>,
    /// Filled when fewer were chosen than asked for: the instances that were considered and what each lacks.
    pub shortfalls: Vec<(InstanceKey, Shortfall)>,
}

/// Chooses instances for up to `count` tasks.
pub fn place(state: &State, ask: &Ask<'_>, count: u32, context: &mut Context) -> Placement {
    let mut candidates: Vec<Candidate<'_>> =
        state.instances_of(ask.cluster).filter_map(|instance| Candidate::new(state, ask, instance)).collect();
    let mut scorer = Scorer::new(ask.strategy, &candidates);
    let mut placement = Placement::default();
    for _ in 0..count {
        let fitting =
            candidates.iter().enumerate().filter(|(_, candidate)| candidate.shortfall(ask).is_none());
        let best = fitting.min_by_key(|(_, candidate)| scorer.score(candidate, ask.demand, context));
        let Some(best) = best.map(|(index, _)| index) else { break };
        placement.chosen.push(candidates[best].instance.clone());
        scorer.took(&candidates[best]);
        candidates[best].take(ask.demand);
    }
    if placement.chosen.len() < count as usize {
        let lacking =
            |candidate: &Candidate<'_>| Some((candidate.instance.key.clone(), candidate.shortfall(ask)?));
        placement.shortfalls = candidates.iter().filter_map(lacking).collect();
    }
    placement
}

/// What keeps a task off one instance, if anything (StartTask, which names its instances).
pub fn fits(state: &State, ask: &Ask<'_>, instance: &Arc<Instance>) -> Result<(), Shortfall> {
    match Candidate::new(state, ask, instance) {
        None => Err(Shortfall::Inactive),
        Some(candidate) => candidate.shortfall(ask).map_or(Ok(()), Err),
    }
}

/// The instances that every constraint and capability of a DAEMON service allows, whatever room they have.
pub fn eligible(state: &State, ask: &Ask<'_>) -> Vec<InstanceId> {
    let candidates =
        state.instances_of(ask.cluster).filter_map(|instance| Candidate::new(state, ask, instance));
    candidates
        .filter(|candidate| candidate.is_eligible(ask))
        .map(|candidate| candidate.instance.key.id)
        .collect()
}

#[cfg(test)]
mod tests;
