//! One instance in the course of a placement: what it has left after what was promised so far.
//!
//! Small, because a placement makes one for every instance of the cluster. What costs time to find out (attributes,
//! expressions) is asked last, and only of an instance whose turn it is.

use std::sync::Arc;

use super::{Ask, Shortfall};
use crate::query::{Expression, Subject};
use crate::state::{Admission, Instance, InstanceStatus, Offer, Protocol, State, Task, Usage};
use crate::task_definition::{Constraint, Demand};

#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub offer: &'a Offer,
    usage: Usage,
    /// Tasks of the same group that are here and meant to stay.
    peers: u32,
    /// Tasks that this placement has put here.
    pub taken: u32,
}

impl<'a> Candidate<'a> {
    /// Nothing for an instance that is gone: it is not even considered.
    pub fn new(offer: &'a Offer, usage: Usage, peers: u32) -> Option<Self> {
        match offer.admission {
            Admission::Open | Admission::Closed => Some(Self { offer, usage, peers, taken: 0 }),
            Admission::Gone => None,
        }
    }

    /// The same, with tasks that this placement has put here before.
    pub fn with_taken(self, taken: u32) -> Self {
        Self { taken, ..self }
    }

    pub fn instance(&self) -> &'a Arc<Instance> {
        &self.offer.instance
    }

    /// Tasks of the group, those of this placement included.
    pub fn peers(&self) -> u32 {
        self.peers + self.taken
    }

    pub fn cpu_left(&self, demand: &Demand) -> u32 {
        self.offer.cpu.saturating_sub(self.usage.cpu).saturating_sub(self.taken * demand.cpu)
    }

    pub fn memory_left(&self, demand: &Demand) -> u32 {
        self.offer.memory.saturating_sub(self.usage.memory).saturating_sub(self.taken * demand.memory)
    }

    /// Whether it is worth a closer look: open, and with CPU and memory for one more. Most that cannot take a task fail
    /// here, at next to no cost.
    pub fn has_room(&self, demand: &Demand) -> bool {
        self.offer.admission == Admission::Open
            && demand.cpu <= self.cpu_left(demand)
            && demand.memory <= self.memory_left(demand)
    }

    /// Whether one more task can come.
    pub fn fits(&self, state: &State, ask: &Ask<'_>) -> bool {
        self.has_room(ask.demand) && self.shortfall(state, ask).is_none()
    }

    /// Whether everything but room, peers and an absent agent allows the task. What runs there may stay.
    pub fn is_eligible(&self, state: &State, ask: &Ask<'_>) -> bool {
        self.unsuitable(state, ask).is_none()
    }

    /// The first thing that keeps a task away. ECS looks at resources before attributes and constraints.
    pub fn shortfall(&self, state: &State, ask: &Ask<'_>) -> Option<Shortfall> {
        // What took a task before was found suitable then, and that cannot change within one placement.
        let unsuitable = if self.taken == 0 { self.unsuitable(state, ask) } else { None };
        let away = || (!self.instance().is_connected()).then_some(Shortfall::Agent);
        unsuitable
            .or_else(away)
            .or_else(|| self.no_room(state, ask.demand))
            .or_else(|| self.not_distinct(ask))
    }

    fn unsuitable(&self, state: &State, ask: &Ask<'_>) -> Option<Shortfall> {
        let instance = self.instance();
        if instance.status == InstanceStatus::Draining {
            return Some(Shortfall::Draining);
        }
        // Its tasks were given up, those of daemons too: it is no place for any until its agent is back.
        if instance.presence.is_lost() {
            return Some(Shortfall::Agent);
        }
        let missing =
            ask.demand.attributes.iter().find(|name| !instance.attributes.contains_key(name.as_ref()));
        if let Some(missing) = missing {
            return Some(Shortfall::Attribute(missing.to_string()));
        }
        let member = ask.constraints.iter().all(|constraint| match constraint {
            Constraint::DistinctInstance => true,
            Constraint::MemberOf(expression) => matches(state, instance, expression),
        });
        (!member).then_some(Shortfall::MemberOf)
    }

    fn no_room(&self, state: &State, demand: &Demand) -> Option<Shortfall> {
        let resources = &self.instance().resources;
        if demand.cpu > self.cpu_left(demand) {
            return Some(Shortfall::Cpu);
        }
        if demand.memory > self.memory_left(demand) {
            return Some(Shortfall::Memory);
        }
        let gpus = u64::from(self.usage.gpus) + u64::from(demand.gpus) * (u64::from(self.taken) + 1);
        if demand.gpus > 0 && gpus > resources.gpus.len() as u64 {
            return Some(Shortfall::Gpu);
        }
        let tcp = self.held(state, Protocol::Tcp, &demand.ports_tcp, &resources.reserved_ports_tcp);
        let udp = self.held(state, Protocol::Udp, &demand.ports_udp, &resources.reserved_ports_udp);
        tcp.map(Shortfall::Port).or(udp.map(Shortfall::PortUdp))
    }

    /// The first of the wanted ports that is reserved or held by a task. A task of this placement holds all of them.
    fn held(&self, state: &State, protocol: Protocol, wanted: &[u16], reserved: &[u16]) -> Option<u16> {
        if wanted.is_empty() {
            return None;
        }
        let tenants = state.tenants.get(&self.instance().key.id);
        let is_held = |port: &u16| {
            self.taken > 0
                || reserved.contains(port)
                || tenants.is_some_and(|tenants| tenants.holds(protocol, *port))
        };
        wanted.iter().copied().find(is_held)
    }

    fn not_distinct(&self, ask: &Ask<'_>) -> Option<Shortfall> {
        let distinct = ask.constraints.contains(&Constraint::DistinctInstance);
        (distinct && self.peers() > 0).then_some(Shortfall::DistinctInstance)
    }
}

/// Whether a cluster query means this instance.
pub fn matches(state: &State, instance: &Instance, expression: &Expression) -> bool {
    let tasks: Vec<&Arc<Task>> = if expression.reads_task_groups() {
        state.live_tasks_on(&instance.key).collect()
    } else {
        Vec::new()
    };
    let groups: Vec<&str> = tasks.iter().map(|task| task.group.as_ref()).collect();
    expression.matches(&Subject {
        attribute: &|name| instance.attributes.get(name).map(|value| value.as_deref().unwrap_or_default()),
        agent_connected: instance.is_connected(),
        agent_version: instance.version_info.agent_version.as_deref(),
        ec2_instance_id: instance.ec2_instance_id.as_deref(),
        registered_at_ms: instance.registered_at.millis(),
        running_tasks_count: state.usage_of(&instance.key).running.into(),
        task_groups: &groups,
    })
}
