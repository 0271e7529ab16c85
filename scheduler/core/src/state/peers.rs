//! How the tasks of a group are spread over a cluster: what strategies and `distinctInstance` ask about.

use imbl::OrdMap;

use super::{Admission, Offer};
use crate::ids::{InstanceId, Name};

/// The availability zone of an instance, where it has one.
pub type Zone = Option<Name>;

/// The tasks of a group that are meant to stay. Derived from tasks and instances, kept by `State::apply`, proven by
/// `check`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peers {
    /// How many are on an instance, where any are.
    pub by_instance: OrdMap<InstanceId, u32>,
    /// How many are in a zone, where any are, in the order of the zones. A cluster has a few. Tasks on instances that are
    /// gone are in none.
    by_zone: Vec<(Zone, u32)>,
}

impl Peers {
    pub fn on(&self, instance: InstanceId) -> u32 {
        self.by_instance.get(&instance).copied().unwrap_or_default()
    }

    pub fn within(&self, zone: &Zone) -> u32 {
        self.find(zone).map_or(0, |place| self.by_zone[place].1)
    }

    pub(super) fn add(&mut self, instance: InstanceId, zone: Option<&Zone>) {
        match self.by_instance.get_mut(&instance) {
            Some(count) => *count += 1,
            None => {
                self.by_instance.insert(instance, 1);
            }
        }
        self.enter(zone);
    }

    pub(super) fn remove(&mut self, instance: InstanceId, zone: Option<&Zone>) {
        if let Some(count) = self.by_instance.get_mut(&instance) {
            *count -= 1;
            if *count == 0 {
                self.by_instance.remove(&instance);
            }
        }
        self.leave(zone);
    }

    /// A task's instance is in another zone than before.
    pub(super) fn relocate(&mut self, from: Option<&Zone>, to: Option<&Zone>) {
        self.leave(from);
        self.enter(to);
    }

    fn enter(&mut self, zone: Option<&Zone>) {
        let Some(zone) = zone else { return };
        match self.find(zone) {
            Ok(place) => self.by_zone[place].1 += 1,
            Err(place) => self.by_zone.insert(place, (zone.clone(), 1)),
        }
    }

    fn leave(&mut self, zone: Option<&Zone>) {
        if let Some(place) = zone.and_then(|zone| self.find(zone).ok()) {
            self.by_zone[place].1 -= 1;
            if self.by_zone[place].1 == 0 {
                self.by_zone.remove(place);
            }
        }
    }

    fn find(&self, zone: &Zone) -> Result<usize, usize> {
        self.by_zone.binary_search_by(|(known, _)| known.cmp(zone))
    }
}

impl Offer {
    /// Where the tasks of an instance are counted; nowhere once it is gone.
    pub(super) fn zone_of_tasks(&self) -> Option<&Zone> {
        match self.admission {
            Admission::Open | Admission::Closed => Some(&self.zone),
            Admission::Gone => None,
        }
    }

    /// Where new tasks find an instance; nowhere if they cannot come to it.
    pub(super) fn zone_of_newcomers(&self) -> Option<&Zone> {
        match self.admission {
            Admission::Open => Some(&self.zone),
            Admission::Closed | Admission::Gone => None,
        }
    }
}
