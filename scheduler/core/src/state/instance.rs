//! Container instances: what a host has registered.

use std::collections::BTreeMap;

use ecsr_api::{Timestamp, ecs};
use serde::{Deserialize, Serialize};

use super::presence::{self, Presence, Whereabouts};
use super::{Event, Tags};
use crate::ids::InstanceKey;

/// A host whose agent has registered with a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub key: InstanceKey,
    pub status: InstanceStatus,
    /// Whether agent and host are there. Journals of the first version say only whether the channel was open.
    #[serde(alias = "connected", deserialize_with = "presence::of_any_age")]
    pub presence: Presence,
    /// Where the host is; a loopback address for the scheduler's own machine, nothing before its agent joined.
    #[serde(default)]
    pub whereabouts: Option<Whereabouts>,
    /// The EC2 instance, or the `mi-` id of an external one, when the host said so.
    pub ec2_instance_id: Option<String>,
    pub resources: Resources,
    /// Names with an optional value; capabilities are names only.
    pub attributes: BTreeMap<String, Option<String>>,
    pub version_info: ecs::VersionInfo,
    pub tags: Tags,
    pub registered_at: Timestamp,
    /// When it was deregistered, from which its memory is kept for a while.
    pub inactive_at: Option<Timestamp>,
    /// The id of the agent's key that it was registered with, if it was one: nobody else speaks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_key: Option<Box<str>>,
    /// Counts changes of the instance that ECS would announce; starts at 1.
    pub version: i64,
}

impl Instance {
    /// The value of an attribute that has one.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_deref()
    }

    /// Whether the agent's channel is open.
    pub fn is_connected(&self) -> bool {
        self.presence == Presence::Connected
    }

    /// The change to another presence.
    pub fn seen(&self, presence: Presence) -> Event {
        Event::InstancePresence { instance: self.key.clone(), presence }
    }

    /// The availability zone, where the host has one; hosts outside of EC2 need not.
    pub fn availability_zone(&self) -> Option<&str> {
        self.attribute("ecs.availability-zone")
    }
}

/// ACTIVE takes tasks, DRAINING gives them away, INACTIVE is gone but describable for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceStatus {
    Active,
    Draining,
    Inactive,
}

impl InstanceStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// What an instance registered: CPU units (1024 a core), memory in MiB, host ports that are not for tasks, GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    pub cpu: u32,
    pub memory: u32,
    pub reserved_ports_tcp: Vec<u16>,
    pub reserved_ports_udp: Vec<u16>,
    pub gpus: Vec<String>,
}

/// The protocol of a host port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}
