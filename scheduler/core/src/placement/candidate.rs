//! One instance in the course of a placement: what it has left after what was promised so far.

use std::cell::OnceCell;
use std::sync::Arc;

use super::{Ask, Peers, Shortfall};
use crate::ids::ServiceKey;
use crate::query::{Expression, Subject};
use crate::state::{Desired, Instance, InstanceStatus, Protocol, State, Task, Usage};
use crate::task_definition::Constraint;
use crate::task_definition::Demand;

#[derive(Debug)]
pub(super) struct Candidate<'a> {
    state: &'a State,
    pub instance: &'a Arc<Instance>,
    usage: Usage,
    /// Tasks of the same service or group that are here and meant to stay.
    pub peers: u32,
    /// What cannot change in the course of one placement, computed when first asked for.
    unsuitable: OnceCell<Option<Shortfall>>,
}

impl<'a> Candidate<'a> {
    /// Nothing for an instance that is gone: it is not even considered.
    pub fn new(state: &'a State, ask: &Ask<'_>, instance: &'a Arc<Instance>) -> Option<Self> {
        match instance.status {
            InstanceStatus::Inactive => None,
            InstanceStatus::Active | InstanceStatus::Draining => Some(Self {
                state,
                instance,
                usage: state.usage_of(instance.key.id),
                peers: count_peers(state, ask.peers, instance),
                unsuitable: OnceCell::new(),
            }),
        }
    }

    pub fn cpu_left(&self) -> u32 {
        self.instance.resources.cpu.saturating_sub(self.usage.cpu)
    }

    pub fn memory_left(&self) -> u32 {
        self.instance.resources.memory.saturating_sub(self.usage.memory)
    }

    /// Promises one task's share.
    pub fn take(&mut self, demand: &Demand) {
        self.peers += 1;
        self.usage.cpu += demand.cpu;
        self.usage.memory += demand.memory;
        self.usage.gpus += demand.gpus;
        for port in &demand.ports_tcp {
            *self.usage.ports.entry((Protocol::Tcp, *port)).or_default() += 1;
        }
        for port in &demand.ports_udp {
            *self.usage.ports.entry((Protocol::Udp, *port)).or_default() += 1;
        }
    }

    /// Whether everything but room, peers and an absent agent allows the task. What runs there may stay.
    pub fn is_eligible(&self, ask: &Ask<'_>) -> bool {
        self.unsuitable(ask).is_none()
    }

    /// The first thing that keeps a task away. ECS looks at resources before attributes and constraints.
    pub fn shortfall(&self, ask: &Ask<'_>) -> Option<Shortfall> {
        let away = || (!self.instance.connected).then_some(Shortfall::Agent);
        let unsuitable = self.unsuitable(ask).cloned().or_else(away);
        unsuitable.or_else(|| self.no_room(ask.demand)).or_else(|| self.not_distinct(ask))
    }

    fn unsuitable(&self, ask: &Ask<'_>) -> Option<&Shortfall> {
        let unsuitable = self.unsuitable.get_or_init(|| {
            let instance = self.instance;
            if instance.status == InstanceStatus::Draining {
                return Some(Shortfall::Draining);
            }
            let missing =
                ask.demand.attributes.iter().find(|name| !instance.attributes.contains_key(name.as_ref()));
            if let Some(missing) = missing {
                return Some(Shortfall::Attribute(missing.to_string()));
            }
            let member = ask.constraints.iter().all(|constraint| match constraint {
                Constraint::DistinctInstance => true,
                Constraint::MemberOf(expression) => matches(self.state, instance, expression),
            });
            (!member).then_some(Shortfall::MemberOf)
        });
        unsuitable.as_ref()
    }

    fn no_room(&self, demand: &Demand) -> Option<Shortfall> {
        let resources = &self.instance.resources;
        if demand.cpu > self.cpu_left() {
            return Some(Shortfall::Cpu);
        }
        if demand.memory > self.memory_left() {
            return Some(Shortfall::Memory);
        }
        if u64::from(demand.gpus) + u64::from(self.usage.gpus) > resources.gpus.len() as u64 {
            return Some(Shortfall::Gpu);
        }
        let tcp = self.taken(Protocol::Tcp, &demand.ports_tcp, &resources.reserved_ports_tcp);
        let udp = self.taken(Protocol::Udp, &demand.ports_udp, &resources.reserved_ports_udp);
        tcp.map(Shortfall::Port).or(udp.map(Shortfall::PortUdp))
    }

    /// The first of the wanted ports that is reserved or held by a task.
    fn taken(&self, protocol: Protocol, wanted: &[u16], reserved: &[u16]) -> Option<u16> {
        let is_taken =
            |port: &u16| reserved.contains(port) || self.usage.ports.contains_key(&(protocol, *port));
        wanted.iter().copied().find(is_taken)
    }

    fn not_distinct(&self, ask: &Ask<'_>) -> Option<Shortfall> {
        let distinct = ask.constraints.contains(&Constraint::DistinctInstance);
        (distinct && self.peers > 0).then_some(Shortfall::DistinctInstance)
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
        agent_connected: instance.connected,
        agent_version: instance.version_info.agent_version.as_deref(),
        ec2_instance_id: instance.ec2_instance_id.as_deref(),
        registered_at_ms: instance.registered_at.millis(),
        running_tasks_count: u64::from(state.usage_of(instance.key.id).running),
        task_groups: &groups,
    })
}

fn count_peers(state: &State, peers: Peers<'_>, instance: &Instance) -> u32 {
    let stays = |task: &&Arc<Task>| task.desired == Desired::Running;
    let count = match peers {
        Peers::Service(service) => {
            let of_service = |task: &&Arc<Task>| is_of(task, service);
            state.live_tasks_on(&instance.key).filter(stays).filter(of_service).count()
        }
        Peers::Group(group) => {
            state.live_tasks_on(&instance.key).filter(stays).filter(|task| task.group == *group).count()
        }
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn is_of(task: &Task, service: &ServiceKey) -> bool {
    task.service().is_some_and(|of| of == *service)
}
