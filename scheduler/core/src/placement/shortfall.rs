//! Why an instance cannot take a task: refusal as data, in ECS's reason words.

use std::fmt;

/// The first thing that an instance lacks. Ordered by how near the instance is to taking the task, the farthest first:
/// the greatest of several is the "closest matching" instance of a service event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortfall {
    /// Deregistered.
    Inactive,
    /// Being emptied.
    Draining,
    /// Its agent has no open channel.
    Agent,
    /// Lacks an attribute or capability, named here, that the task definition requires.
    Attribute(String),
    /// A `memberOf` expression is false for it.
    MemberOf,
    /// Already runs a task of the group, and each must have its own.
    DistinctInstance,
    Gpu,
    Cpu,
    Memory,
    /// A host port, named here, is taken.
    Port(u16),
    /// A UDP host port is taken.
    PortUdp(u16),
}

impl Shortfall {
    /// The words of `failures[].reason`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Inactive => "INACTIVE",
            Self::Draining => "DRAINING",
            Self::Agent => "AGENT",
            Self::Attribute(_) => "ATTRIBUTE",
            Self::MemberOf => "MemberOf placement constraint unsatisfied.",
            Self::DistinctInstance => "DistinctInstance placement constraint unsatisfied.",
            Self::Gpu => "RESOURCE:GPU",
            Self::Cpu => "RESOURCE:CPU",
            Self::Memory => "RESOURCE:MEMORY",
            Self::Port(_) => "RESOURCE:PORTS",
            Self::PortUdp(_) => "RESOURCE:PORTS_UDP",
        }
    }

    /// What `failures[].detail` can add, where the reason alone does not name the culprit.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Attribute(name) => {
                Some(format!("The container instance does not have the attribute {name}."))
            }
            Self::Port(port) | Self::PortUdp(port) => Some(format!("Host port {port} is in use.")),
            Self::Inactive
            | Self::Draining
            | Self::Agent
            | Self::MemberOf
            | Self::DistinctInstance
            | Self::Gpu
            | Self::Cpu
            | Self::Memory => None,
        }
    }
}

/// The end of the sentence "The closest matching (container-instance ID) ..." of a service event.
impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("has insufficient CPU units available."),
            Self::Memory => f.write_str("has insufficient memory available."),
            Self::Port(_) | Self::PortUdp(_) => f.write_str("is already using a port required by your task."),
            Self::Attribute(_) => f.write_str("is missing an attribute required by your task."),
            Self::Inactive
            | Self::Draining
            | Self::Agent
            | Self::MemberOf
            | Self::DistinctInstance
            | Self::Gpu => write!(f, "encountered error \"{}\".", self.reason()),
        }
    }
}
