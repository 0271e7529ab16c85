//! What placement has to know of an instance, close together: what it offers and what its tasks hold of it.
//!
//! A placement looks at every instance of a cluster, and an instance with its hundreds of attributes is far too much to
//! look at. So what decides first (room, zone, whether it takes tasks at all) is copied into an [`Offer`] whenever the
//! instance is saved. What its tasks hold is counted apart from that whenever a task comes, changes or goes: plain
//! numbers, since these entries are copied more often than any other.

use std::sync::Arc;

use super::{Instance, InstanceStatus, State};
use crate::ids::Name;

/// Most names of zones that are kept once for all instances. A cluster has a few; whoever registers instances with
/// names of their own shall not fill the memory with them.
const ZONES_MAX: usize = 1000;

/// What an instance offers. Derived from the instance, kept by `State::apply`, proven by `check`.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    pub instance: Arc<Instance>,
    pub admission: Admission,
    pub cpu: u32,
    pub memory: u32,
    pub zone: Option<Name>,
}

/// Whether new tasks may come to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// ACTIVE, with its agent's channel open.
    Open,
    /// DRAINING, or its agent is away.
    Closed,
    /// Deregistered.
    Gone,
}

/// What the tasks of an instance hold of it.
///
/// A task holds its share until it is known to be STOPPED, whatever it was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub cpu: u32,
    pub memory: u32,
    pub gpus: u32,
    /// Tasks desired to run that are RUNNING.
    pub running: u32,
    /// Tasks desired to run that are PENDING.
    pub pending: u32,
}

impl State {
    /// What an instance offers; its zone's name is shared with the other instances there.
    pub(super) fn offer_of(&mut self, instance: &Arc<Instance>) -> Offer {
        let admission = match instance.status {
            InstanceStatus::Active if instance.is_connected() => Admission::Open,
            InstanceStatus::Active | InstanceStatus::Draining => Admission::Closed,
            InstanceStatus::Inactive => Admission::Gone,
        };
        let zone = instance.availability_zone().map(|zone| self.zone(zone));
        let (cpu, memory) = (instance.resources.cpu, instance.resources.memory);
        Offer { instance: instance.clone(), admission, cpu, memory, zone }
    }

    fn zone(&mut self, name: &str) -> Name {
        if let Some(known) = self.zones.get(name) {
            return known.clone();
        }
        let name = Name::from(name);
        if self.zones.len() < ZONES_MAX {
            self.zones.insert(name.clone());
        }
        name
    }
}
