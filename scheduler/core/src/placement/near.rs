//! One of the best instances for a few tasks that are to be spread, found without a look at all of them.
//!
//! A service in a large cluster is on a few of its instances. When it replaces a task, the best place is most often one
//! that has none of its tasks, in the zone that has fewest of them; and of such instances there are many. So a few are
//! looked at, from a random one on. Where that finds none, the service's tasks on each instance of the zone are counted,
//! which is still far less than to look at the instances themselves. Where those that have fewest are full, nothing is
//! said of what there is, and the whole cluster has to be looked at.
//!
//! Invariant: what is found is as good as what [`super::plain`] would choose: only chance tells them apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdSet;

use super::pool::beside;
use super::score::first_turn;
use super::{Ask, candidate, peers};
use crate::context::Context;
use crate::ids::{InstanceId, InstanceKey};
use crate::state::{Instance, Peers, State};
use crate::task_definition::{SpreadField, Strategy};

/// Most tasks of one placement that are looked for like this. A look at all instances costs as much as some dozens.
pub(super) const TASKS_MAX: u32 = 32;

/// Instances that are looked at for one task before all are.
const LOOKS_MAX: usize = 64;

/// Steps from a random id, which even out how far apart ids lie: see [`super::sample`].
const STEPS_MAX: u8 = 64;

/// The attribute by which instances are kept at hand.
const ZONE: &str = "ecs.availability-zone";

/// What is near for one placement.
#[derive(Debug)]
pub(super) struct Near<'a> {
    state: &'a State,
    ask: &'a Ask<'a>,
    peers: Option<&'a Peers>,
    by_zone: bool,
    zones: Vec<Zone<'a>>,
    taken: BTreeMap<InstanceId, u32>,
}

/// The instances of a zone that take tasks.
#[derive(Debug)]
struct Zone<'a> {
    instances: &'a OrdSet<InstanceId>,
    /// By how many tasks the zone is ranked.
    rank: u32,
}

impl<'a> Near<'a> {
    /// Nothing unless the strategy is to spread over instances, or over zones and then instances.
    pub fn of(state: &'a State, ask: &'a Ask<'a>) -> Option<Self> {
        let by_zone = match ask.strategy {
            [Strategy::Spread(SpreadField::InstanceId)] => false,
            [Strategy::Spread(SpreadField::Attribute(name)), Strategy::Spread(SpreadField::InstanceId)] => {
                if &**name != ZONE {
                    return None;
                }
                true
            }
            _ => return None,
        };
        let peers = peers(state, ask);
        let zones = state.open_zones_of(ask.cluster).map(|(zone, instances)| Zone {
            instances,
            rank: if by_zone { peers.map_or(0, |peers| peers.within(zone)) } else { 0 },
        });
        Some(Self { state, ask, peers, by_zone, zones: zones.collect(), taken: BTreeMap::new() })
    }

    /// Takes an instance of the best zone for one more task, unless those that have fewest of the group's are full.
    pub fn take(&mut self, context: &mut Context) -> Option<&'a Arc<Instance>> {
        let best = self.zones.iter().map(|zone| zone.rank).min()?;
        let [turn] = context.bytes::<1>();
        let count = self.zones.len();
        let order = (0..count).map(|index| (index + usize::from(turn)) % count);
        let order: Vec<usize> = order.filter(|index| self.zones[*index].rank == best).collect();
        let empty = order.iter().find_map(|index| Some((*index, self.empty(*index, context)?)));
        let (index, instance) = empty.or_else(|| self.least_crowded(&order, context))?;
        *self.taken.entry(instance.key.id).or_default() += 1;
        if self.by_zone {
            self.zones[index].rank += 1;
        }
        Some(instance)
    }

    /// How many tasks each instance has taken.
    pub fn into_taken(self) -> BTreeMap<InstanceId, u32> {
        self.taken
    }

    /// An instance of a zone that has none of the group's tasks and fits, if a few looks find one.
    fn empty(&self, zone: usize, context: &mut Context) -> Option<&'a Arc<Instance>> {
        let instances = self.zones[zone].instances;
        let from = InstanceId::fresh(context);
        let [steps] = context.bytes::<1>();
        let steps = usize::from(steps % STEPS_MAX) % instances.len().max(1);
        let around = instances.range(from..).chain(instances.iter()).skip(steps).take(LOOKS_MAX);
        let mut empty = around
            .filter(|id| !self.taken.contains_key(id) && self.peers.is_none_or(|peers| peers.on(**id) == 0));
        empty.find_map(|id| self.fitting(*id))
    }

    /// Of the instances of some zones that have fewest of the group's tasks one that fits, if a few looks find one.
    fn least_crowded(&self, zones: &[usize], context: &mut Context) -> Option<(usize, &'a Arc<Instance>)> {
        let (mut fewest, mut least_crowded) = (u32::MAX, Vec::new());
        for zone in zones {
            let mut peers = self.peers.into_iter().flat_map(|peers| &peers.by_instance).peekable();
            for id in self.zones[*zone].instances {
                let there = beside(&mut peers, *id, |(other, _)| **other).map_or(0, |(_, count)| *count);
                let count = there + self.taken.get(id).copied().unwrap_or_default();
                if count < fewest {
                    fewest = count;
                    least_crowded.clear();
                }
                if count == fewest {
                    least_crowded.push((*zone, *id));
                }
            }
        }
        let (before, behind) = least_crowded.split_at(first_turn(least_crowded.len(), context));
        let mut looks = behind.iter().chain(before).take(LOOKS_MAX);
        looks.find_map(|(zone, id)| Some((*zone, self.fitting(*id)?)))
    }

    fn fitting(&self, id: InstanceId) -> Option<&'a Arc<Instance>> {
        let key = InstanceKey { cluster: self.ask.cluster.clone(), id };
        let offer = self.state.offers.get(&key)?;
        let candidate = candidate(self.state, self.ask, &key, offer)?;
        let candidate = candidate.with_taken(self.taken.get(&id).copied().unwrap_or_default());
        candidate.fits(self.state, self.ask).then(|| candidate.instance())
    }
}
