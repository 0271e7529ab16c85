//! What placement has to know of an instance, close together: what it offers and what its tasks hold of it.
//!
//! A placement looks at every instance of a cluster, and an instance with its hundreds of attributes is far too much to
//! look at. So what decides first (room, zone, whether it takes tasks at all) is copied here whenever the instance is
//! saved, and what its tasks hold is counted here whenever a task comes, changes or goes.

use std::sync::Arc;

use imbl::OrdMap;

use super::{Instance, InstanceStatus, Protocol};
use crate::ids::Name;

/// One instance as placement sees it. Derived from the instance and its tasks, kept by `State::apply`, proven by
/// `check`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Host {
    /// Absent where tasks speak of an instance that was never saved.
    pub offer: Option<Offer>,
    pub usage: Usage,
}

/// What an instance offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    pub instance: Arc<Instance>,
    /// Whether new tasks may come: ACTIVE, with its agent's channel open.
    pub is_open: bool,
    pub cpu: u32,
    pub memory: u32,
    pub zone: Option<Name>,
}

/// What the tasks of an instance hold of it.
///
/// A task holds its share until it is known to be STOPPED, whatever it was asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    pub cpu: u32,
    pub memory: u32,
    pub gpus: u32,
    /// How many tasks hold a host port; a dynamic port counts from the report that names it.
    pub ports: OrdMap<(Protocol, u16), u32>,
    /// Tasks desired to run that are RUNNING.
    pub running: u32,
    /// Tasks desired to run that are PENDING.
    pub pending: u32,
}

impl Offer {
    pub(super) fn of(instance: &Arc<Instance>) -> Self {
        Self {
            instance: instance.clone(),
            is_open: instance.status == InstanceStatus::Active && instance.is_connected(),
            cpu: instance.resources.cpu,
            memory: instance.resources.memory,
            zone: instance.availability_zone().map(Name::from),
        }
    }
}

impl Host {
    /// The instance, unless it was deregistered.
    pub fn present(&self) -> Option<&Offer> {
        self.offer.as_ref().filter(|offer| match offer.instance.status {
            InstanceStatus::Active | InstanceStatus::Draining => true,
            InstanceStatus::Inactive => false,
        })
    }
}
