//! Endpoints: the ports of a task that its service's target groups send requests to.
//!
//! What is registered is written down before it is registered, and stays written until the target group was seen without
//! it: whatever ends in between, it is known what has to be taken back.

use serde::{Deserialize, Serialize};

use super::apply::adjust;
use super::{Desired, Known, State, Task};
use crate::ids::Name;

/// A port of a container, in a target group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// ARN of the target group.
    pub group: Name,
    pub container: Name,
    /// The container's own port.
    pub port: u16,
    /// What it is in the group, or may be.
    pub registration: Option<Registration>,
}

/// A target that stands for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub target: Target,
    pub standing: Standing,
}

/// A target as ELBv2 identifies it: an address or an EC2 instance, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    pub id: Box<str>,
    pub port: u16,
}

/// What the target group last said of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// About to be registered; whether it is yet was not seen.
    Claimed,
    /// Registered, and not yet found healthy.
    Initial,
    Healthy,
    Unhealthy,
    /// Deregistered; what is under way may finish.
    Draining,
}

impl Endpoint {
    pub fn standing(&self) -> Option<Standing> {
        self.registration.as_ref().map(|registration| registration.standing)
    }
}

impl Task {
    /// Whether all its target groups call it healthy.
    pub(super) fn is_in_service(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.standing() == Some(Standing::Healthy))
    }

    /// Whether one of its target groups calls it unhealthy.
    pub(super) fn is_out_of_service(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.standing() == Some(Standing::Unhealthy))
    }

    /// Whether a target group holds it, or may.
    pub fn is_registered(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.registration.is_some())
    }

    /// Whether it runs on only until its target groups have let go of it (DEACTIVATING).
    pub fn is_held_back(&self) -> bool {
        (self.desired, self.known) == (Desired::Stopped, Known::Running) && self.is_registered()
    }

    /// What its agent is to make of it.
    pub fn wanted_of_agent(&self) -> Desired {
        if self.is_held_back() { Desired::Running } else { self.desired }
    }

    /// The target groups that have to do with the task.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Name> {
        let concerned = self.is_live();
        let endpoints = self.endpoints.iter();
        endpoints.filter(move |one| concerned || one.registration.is_some()).map(|one| &one.group)
    }
}

impl State {
    /// Keeps who has to do with which target group.
    pub(super) fn follow_endpoints(&mut self, old: Option<&Task>, new: Option<&Task>) {
        for (task, group) in old.iter().flat_map(|task| task.groups().map(|group| (*task, group))) {
            adjust(&mut self.endpoints, group.clone(), |tasks| {
                tasks.remove(&task.key);
            });
        }
        for (task, group) in new.iter().flat_map(|task| task.groups().map(|group| (*task, group))) {
            adjust(&mut self.endpoints, group.clone(), |tasks| {
                tasks.insert(task.key.clone(), task.version);
            });
        }
    }
}

/// Numbers of endpoints that the task does not have are passed over.
pub(super) fn take_targets(task: &mut Task, targets: &[(u8, Option<Registration>)]) {
    for (number, registration) in targets {
        if let Some(endpoint) = task.endpoints.get_mut(usize::from(*number)) {
            endpoint.registration.clone_from(registration);
        }
    }
    task.version += 1;
}
