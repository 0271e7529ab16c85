//! What there is: load balancers, listeners with their rules, target groups with their targets.
//!
//! The API makes these out of requests that it has checked, the store keeps them, the data plane does what they say. So
//! everything here is valid: whatever a request can get wrong was refused before.

mod group;
mod listener;
mod names;
mod rule;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ecsr_api::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::group::{
    GroupProtocol, HealthCheck, HealthProtocol, HealthReason, HealthState, INTERVAL_MILLISECONDS, Matcher,
    ProtocolVersion, TIMEOUT_MILLISECONDS, Target, TargetGroup, TargetHealth, TargetKey, TargetType,
};
pub use self::listener::{Certificate, Listener, Protocol};
pub use self::rule::{Action, Condition, QueryPair, Redirect, Rule, WeightedGroup};

/// Name of a resource, as AWS writes it.
pub type Arn = Arc<str>;
/// Attributes as ELBv2 has them, by key; those never set are not in it.
pub type Attributes = BTreeMap<String, String>;
/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// All that the API has made. A change makes a new one, which shares with the old what it did not touch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub load_balancers: BTreeMap<Arn, Arc<LoadBalancer>>,
    pub listeners: BTreeMap<Arn, Arc<Listener>>,
    pub target_groups: BTreeMap<Arn, Arc<TargetGroup>>,
}

/// A load balancer: an address with listeners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    pub arn: Arn,
    pub name: String,
    pub kind: Kind,
    /// `internet-facing` or `internal`: said back, and of no consequence where there is one network.
    pub scheme: String,
    pub dns_name: String,
    /// Where its listeners bind: what it asked for, or where all do that asked for nothing.
    pub address: IpAddr,
    /// What it asked for.
    pub own_address: Option<IpAddr>,
    /// As they were given, one zone each.
    pub subnets: Vec<String>,
    pub security_groups: Vec<String>,
    /// Said back, as the scheme is.
    pub ip_address_type: String,
    pub attributes: Attributes,
    pub tags: Tags,
    pub created_at: Timestamp,
}

/// Application load balancers speak HTTP, network load balancers pass on what they get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    Application,
    Network,
}
