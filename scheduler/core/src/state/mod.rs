//! The whole cluster as one value.
//!
//! Persistent maps make a copy of the state cheap: the writer works on its own copy, readers keep the last durable one,
//! and an append that fails is undone by dropping the copy. Indexes and counters are derived from the objects by
//! `apply` alone; `check` computes them again from nothing and compares.
//!
//! A map changes its nodes in place while nobody else holds them. After a batch is published, readers hold all of them;
//! so each node is copied once for the next batch that changes it, however often that comes back to it. What one batch
//! changes should lie close together in every map: that decides what an event costs in a large cluster.

mod agenda;
mod alike;
mod apply;
mod cluster;
mod compact;
mod endpoint;
mod event;
mod gather;
mod host;
mod instance;
mod kept;
mod lookup;
mod peers;
mod presence;
mod rebuild;
mod service;
mod share;
mod snapshot;
mod strength;
mod task;
mod tasks;
mod tenants;

use std::sync::Arc;

use ecsr_api::Timestamp;
use ecsr_api::arn::Home;
use imbl::{OrdMap, OrdSet, Vector};

pub use self::agenda::Agenda;
pub use self::alike::{Alike, Row, RowOf};
pub use self::cluster::{Cluster, ClusterStatus, Definition, DefinitionStatus, Family, Tags};
pub use self::compact::{HexText, PortBinding};
pub use self::endpoint::{Endpoint, Registration, Standing, Target};
pub use self::event::{ContainerReport, Event, Report, Token};
pub use self::host::{ARCHITECTURE, Admission, Offer, Usage};
pub use self::instance::{Instance, InstanceStatus, Protocol, Resources};
pub use self::kept::{Kept, TokenKey};
pub use self::peers::{Peers, Zone};
pub use self::presence::{Presence, Whereabouts};
pub use self::rebuild::Rebuild;
pub use self::service::{
    Bounds, CircuitBreaker, Deployment, PropagateTags, Rollout, SETTLED_AFTER, Scheduling, Service,
    ServiceEvent, ServiceSpec, ServiceStatus,
};
pub use self::share::Pattern;
pub use self::snapshot::Picture;
pub use self::strength::Strength;
pub use self::task::{Container, Desired, Health, Known, LaunchType, Origin, Stop, StopCode, Task, Times};
pub use self::tasks::Tasks;
pub use self::tenants::Tenants;
use crate::ids::{
    DefinitionId, DeploymentId, GroupKey, InstanceId, InstanceKey, Name, ServiceKey, TaskId, TaskKey,
};

/// Most events that a service keeps; ECS shows the newest hundred.
pub const SERVICE_EVENTS_MAX: usize = 100;

/// Everything the scheduler knows. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct State {
    /// Partition, region and account, which every ARN carries.
    pub home: Arc<Home>,
    pub clusters: OrdMap<Name, Arc<Cluster>>,
    pub families: OrdMap<Name, Family>,
    pub definitions: OrdMap<DefinitionId, Arc<Definition>>,
    pub instances: OrdMap<InstanceKey, Arc<Instance>>,
    pub services: OrdMap<ServiceKey, Arc<Service>>,
    /// Newest last, at most [`SERVICE_EVENTS_MAX`].
    pub service_events: OrdMap<ServiceKey, Vector<Arc<ServiceEvent>>>,
    pub tasks: Tasks,
    pub tokens: OrdMap<TokenKey, Arc<Token>>,

    /// Derived: the ACTIVE revisions. A family may have had thousands.
    pub active_definitions: OrdSet<DefinitionId>,
    /// Derived: who is on an instance, where anybody is.
    pub tenants: OrdMap<InstanceId, Arc<Tenants>>,
    /// Derived: the tasks of a service that are not STOPPED.
    pub service_tasks: OrdMap<ServiceKey, OrdSet<TaskId>>,
    /// Derived: STOPPED tasks, the longest stopped first.
    pub stopped_tasks: OrdSet<(Timestamp, TaskKey)>,
    /// Derived: what placement looks at of each instance.
    pub offers: OrdMap<InstanceKey, Offer>,
    /// Derived: what the tasks of an instance hold of it, where they hold anything.
    pub usage: OrdMap<InstanceId, Usage>,
    /// Derived: the tasks of a group that are meant to stay. A service's group is its own.
    pub peers: OrdMap<GroupKey, Arc<Peers>>,
    /// Derived: the instances that take new tasks, by cluster and zone.
    pub open: OrdMap<(Name, Zone), OrdSet<InstanceId>>,
    /// Derived: the instances that are Unreachable or Lost.
    pub away: OrdSet<InstanceKey>,
    /// Derived: the tasks of a deployment that are meant to run, counted. Deployments are told apart by their number
    /// alone, of which there are 8 * 10^18.
    pub strengths: OrdMap<DeploymentId, Strength>,
    /// Derived: how many tasks of a service fail their health checks, where any do.
    pub ailing: OrdMap<ServiceKey, u32>,
    /// Derived: services by what moves them.
    pub agenda: Agenda,
    /// Derived: the tasks that have to do with a target group, each with its version, so that a change of one shows.
    pub endpoints: OrdMap<Name, OrdMap<TaskKey, i64>>,
    /// Derived: what has ended and is remembered for a while.
    pub kept: Kept,
    /// Derived: what tasks of a definition have in common, kept once for all of them. Which task it was taken from makes
    /// no difference to anything but memory.
    pub patterns: OrdMap<DefinitionId, Pattern>,
    /// Derived: the names of zones and architectures, kept once for all instances there.
    pub zones: OrdSet<Name>,
    /// Derived: counts by cluster and launch type.
    pub tallies: OrdMap<(Name, LaunchType), Tally>,
}

/// Tasks desired to run, by what is known of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub running: u32,
    pub pending: u32,
}

impl State {
    /// A scheduler's state before anything happened.
    pub fn new(home: Home) -> Self {
        Self {
            home: Arc::new(home),
            clusters: OrdMap::new(),
            families: OrdMap::new(),
            definitions: OrdMap::new(),
            instances: OrdMap::new(),
            services: OrdMap::new(),
            service_events: OrdMap::new(),
            tasks: Tasks::default(),
            tokens: OrdMap::new(),
            active_definitions: OrdSet::new(),
            tenants: OrdMap::new(),
            service_tasks: OrdMap::new(),
            stopped_tasks: OrdSet::new(),
            offers: OrdMap::new(),
            usage: OrdMap::new(),
            peers: OrdMap::new(),
            open: OrdMap::new(),
            away: OrdSet::new(),
            strengths: OrdMap::new(),
            ailing: OrdMap::new(),
            agenda: Agenda::default(),
            endpoints: OrdMap::new(),
            kept: Kept::default(),
            patterns: OrdMap::new(),
            zones: OrdSet::new(),
            tallies: OrdMap::new(),
        }
    }
}
