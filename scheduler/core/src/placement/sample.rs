//! Any instance that fits, found by trying a few.
//!
//! RunTask places at random unless told otherwise, and most instances of a cluster usually fit. So a few are drawn; only
//! when none of them fits is every instance looked at. A draw is a random id and a random number of steps from there:
//! ids are random themselves, so the steps even out how far apart they happen to lie.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Ask, candidate};
use crate::context::Context;
use crate::ids::{InstanceId, InstanceKey};
use crate::state::{Instance, Offer, State};

/// Draws before all instances are looked at: a cluster of which one instance in four fits is all but never missed,
/// and one that is full costs little more than the look at all.
const DRAWS_MAX: usize = 16;

/// Steps from a random id: an instance's chance is then within an eighth or so of any other's.
const STEPS_MAX: u8 = 64;

/// Instances drawn for one placement.
#[derive(Debug)]
pub(super) struct Sample<'a> {
    state: &'a State,
    ask: &'a Ask<'a>,
    taken: BTreeMap<InstanceId, u32>,
}

impl<'a> Sample<'a> {
    pub fn new(state: &'a State, ask: &'a Ask<'a>) -> Self {
        Self { state, ask, taken: BTreeMap::new() }
    }

    /// Takes an instance for one more task, unless none of those that were drawn fits.
    pub fn take(&mut self, context: &mut Context) -> Option<&'a Arc<Instance>> {
        for _ in 0..DRAWS_MAX {
            let (key, offer) = self.draw(context)?;
            let Some(candidate) = candidate(self.state, self.ask, key, offer) else { continue };
            let taken = self.taken.get(&key.id).copied().unwrap_or_default();
            let candidate = candidate.with_taken(taken);
            if candidate.fits(self.state, self.ask) {
                *self.taken.entry(key.id).or_default() += 1;
                return Some(candidate.instance());
            }
        }
        None
    }

    /// How many tasks each instance has taken.
    pub fn into_taken(self) -> BTreeMap<InstanceId, u32> {
        self.taken
    }

    fn draw(&self, context: &mut Context) -> Option<(&'a InstanceKey, &'a Offer)> {
        let key = |id| InstanceKey { cluster: self.ask.cluster.clone(), id };
        let from = InstanceId::fresh(context);
        let [steps] = context.bytes::<1>();
        let behind = self.state.offers.range(key(from)..=key(InstanceId::LAST));
        let mut around = behind.chain(self.state.offers_of(self.ask.cluster));
        // A cluster with fewer instances than steps is as soon looked at as drawn from.
        around.nth(usize::from(steps % STEPS_MAX))
    }
}
