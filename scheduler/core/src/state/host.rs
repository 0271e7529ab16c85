//! What placement has to know of an instance, close together: what it offers and what its tasks hold of it.
//!
//! A placement looks at every instance of a cluster, and an instance with its hundreds of attributes is far too much to
//! look at. So what decides first (room, zone, whether it takes tasks at all) is copied into an [`Offer`] whenever the
//! instance is saved. What its tasks hold is counted apart from that whenever a task comes, changes or goes: plain
//! numbers, since these entries are copied more often than any other.

use std::sync::Arc;

use super::apply::adjust;
use super::strength::{Footing, strengthened};
use super::{Desired, Instance, InstanceStatus, Known, State, Tally, Task, Zone};
use crate::ids::{InstanceKey, Name};

/// Most names that are kept once for all instances. A cluster has a few; whoever registers instances with names of their
/// own shall not fill the memory with them.
const ZONES_MAX: usize = 1000;

/// The attribute that decides which images run on an instance.
pub const ARCHITECTURE: &str = "ecs.cpu-architecture";

/// What an instance offers. Derived from the instance, kept by `State::apply`, proven by `check`.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    pub instance: Arc<Instance>,
    pub admission: Admission,
    pub cpu: u32,
    pub memory: u32,
    pub zone: Option<Name>,
    /// What every task there is shown with.
    pub architecture: Option<Name>,
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
        let zone = instance.availability_zone().map(|zone| self.kept_once(zone));
        let architecture = instance.attribute(ARCHITECTURE).map(|name| self.kept_once(name));
        let (cpu, memory) = (instance.resources.cpu, instance.resources.memory);
        Offer { instance: instance.clone(), admission, cpu, memory, zone, architecture }
    }

    fn kept_once(&mut self, name: &str) -> Name {
        if let Some(known) = self.zones.get(name) {
            return known.clone();
        }
        let name = Name::from(name);
        if self.zones.len() < ZONES_MAX {
            self.zones.insert(name.clone());
        }
        name
    }

    /// Sets what an instance offers. Where that is news for the tasks that are there, what counts them is told.
    pub(super) fn offer(&mut self, key: &InstanceKey, offer: Option<&Offer>) {
        let before = match offer {
            Some(offer) => self.offers.insert(key.clone(), offer.clone()),
            None => self.offers.remove(key),
        };
        let (before, after) = (before.as_ref(), offer);
        self.open_for_newcomers(key, before, after);
        let is_news = |one: Option<&Offer>| (footing(one), one.and_then(Offer::zone_of_tasks).cloned());
        if is_news(before) != is_news(after) {
            let here: Vec<Arc<Task>> = self.live_tasks_on(key).cloned().collect();
            for task in here {
                self.relocate(&task, before, after);
            }
        }
    }

    fn open_for_newcomers(&mut self, key: &InstanceKey, before: Option<&Offer>, after: Option<&Offer>) {
        let (before, after) =
            (before.and_then(Offer::zone_of_newcomers), after.and_then(Offer::zone_of_newcomers));
        if before == after {
            return;
        }
        let zone = |zone: &Zone| (key.cluster.clone(), zone.clone());
        if let Some(left) = before {
            adjust(&mut self.open, zone(left), |open| {
                open.remove(&key.id);
            });
        }
        if let Some(entered) = after {
            adjust(&mut self.open, zone(entered), |open| {
                open.insert(key.id);
            });
        }
    }

    /// The instance of a task that stays offers something else than before.
    fn relocate(&mut self, task: &Task, before: Option<&Offer>, after: Option<&Offer>) {
        if task.desired != Desired::Running {
            return;
        }
        let (from, to) = (before.and_then(Offer::zone_of_tasks), after.and_then(Offer::zone_of_tasks));
        adjust(&mut self.peers, task.peers(), |peers| Arc::make_mut(peers).relocate(from, to));
        let deployment = strengthened(task);
        if let Some(strength) = deployment.and_then(|deployment| self.strengths.get_mut(&deployment)) {
            strength.remove(task, footing(before));
            strength.add(task, footing(after));
        }
    }
}

/// Whether what an instance offers lets its tasks stay.
pub(super) fn footing(offer: Option<&Offer>) -> Footing {
    match offer {
        Some(offer) if offer.instance.status == InstanceStatus::Active => Footing::Firm,
        Some(_) | None => Footing::Lost,
    }
}

impl Usage {
    pub(super) fn add(&mut self, task: &Task) {
        self.cpu += task.demand.cpu;
        self.memory += task.demand.memory;
        self.gpus += task.demand.gpus;
        if let Some(count) = counted(task, &mut self.running, &mut self.pending) {
            *count += 1;
        }
    }

    pub(super) fn remove(&mut self, task: &Task) {
        self.cpu -= task.demand.cpu;
        self.memory -= task.demand.memory;
        self.gpus -= task.demand.gpus;
        if let Some(count) = counted(task, &mut self.running, &mut self.pending) {
            *count -= 1;
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, task: &Task) {
        if let Some(count) = counted(task, &mut self.running, &mut self.pending) {
            *count += 1;
        }
    }

    pub(super) fn remove(&mut self, task: &Task) {
        if let Some(count) = counted(task, &mut self.running, &mut self.pending) {
            *count -= 1;
        }
    }
}

/// The counter that a task belongs to. One that is being stopped counts as neither, though it still holds resources.
fn counted<'a>(task: &Task, running: &'a mut u32, pending: &'a mut u32) -> Option<&'a mut u32> {
    match (task.desired, task.known) {
        (Desired::Running, Known::Running) => Some(running),
        (Desired::Running, Known::Pending) => Some(pending),
        (Desired::Running, Known::Stopped) | (Desired::Stopped, _) => None,
    }
}
