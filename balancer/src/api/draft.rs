//! What decisions are made of: a state to change, and all else that they depend on.
//!
//! A decision works on a copy. It either answers, and then the copy is what becomes durable; or it refuses, and then the
//! copy is thrown away. So a request never changes half of what it asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ecsr_api::Timestamp;
use ecsr_api::elbv2::{Error, ErrorCode};

use super::certificates::Certificates;
use super::check::invalid;
use crate::model::{Arn, Kind, Listener, LoadBalancer, State, TargetGroup};

/// What decisions depend on besides the state, and what stays the same as long as the process runs.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub region: String,
    pub account: String,
    pub dns_name: String,
    pub bind: IpAddr,
    pub instances: BTreeMap<String, IpAddr>,
    pub certificates: Certificates,
}

/// A state that is being changed.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub state: State,
    pub site: &'a Site,
    pub now: Timestamp,
    pub ids: Ids,
}

/// Gives the 16 hex digits at the end of ARNs.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    seed: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The next one: SplitMix64, which repeats itself only after all that there are.
    pub(super) fn next(&mut self) -> String {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        format!("{:016x}", mixed ^ (mixed >> 31))
    }
}

impl Site {
    /// The ARN of a resource of ELBv2.
    fn arn(&self, resource: &str) -> Arn {
        format!("arn:aws:elasticloadbalancing:{}:{}:{resource}", self.region, self.account).into()
    }
}

impl Draft<'_> {
    pub(super) fn balancer_arn(&mut self, kind: Kind, name: &str) -> Arn {
        let kind = match kind {
            Kind::Application => "app",
            Kind::Network => "net",
        };
        self.site.arn(&format!("loadbalancer/{kind}/{name}/{}", self.ids.next()))
    }

    pub(super) fn group_arn(&mut self, name: &str) -> Arn {
        self.site.arn(&format!("targetgroup/{name}/{}", self.ids.next()))
    }

    pub(super) fn listener_arn(&mut self, balancer: &Arn) -> Arn {
        let path = balancer.split_once(":loadbalancer/").map_or("", |(_, path)| path);
        self.site.arn(&format!("listener/{path}/{}", self.ids.next()))
    }

    pub(super) fn rule_arn(&mut self, listener: &Arn) -> Arn {
        let path = listener.split_once(":listener/").map_or("", |(_, path)| path);
        self.site.arn(&format!("listener-rule/{path}/{}", self.ids.next()))
    }

    /// A load balancer to change.
    pub(super) fn balancer_mut(&mut self, arn: &str) -> Result<&mut LoadBalancer, Error> {
        let found = self.state.load_balancers.get_mut(arn).map(Arc::make_mut);
        found.ok_or_else(|| missing_balancer(arn))
    }

    /// A target group to change.
    pub(super) fn group_mut(&mut self, arn: &str) -> Result<&mut TargetGroup, Error> {
        let found = self.state.target_groups.get_mut(arn).map(Arc::make_mut);
        found.ok_or_else(|| missing_group(arn))
    }

    /// A listener to change.
    pub(super) fn listener_mut(&mut self, arn: &str) -> Result<&mut Listener, Error> {
        let found = self.state.listeners.get_mut(arn).map(Arc::make_mut);
        found.ok_or_else(|| missing_listener(arn))
    }
}

pub(super) fn balancer<'a>(state: &'a State, arn: &str) -> Result<&'a Arc<LoadBalancer>, Error> {
    state.load_balancers.get(arn).ok_or_else(|| missing_balancer(arn))
}

pub(super) fn group<'a>(state: &'a State, arn: &str) -> Result<&'a Arc<TargetGroup>, Error> {
    state.target_groups.get(arn).ok_or_else(|| missing_group(arn))
}

pub(super) fn listener<'a>(state: &'a State, arn: &str) -> Result<&'a Arc<Listener>, Error> {
    state.listeners.get(arn).ok_or_else(|| missing_listener(arn))
}

/// What an ARN has before the path that names the resource; anything else is no such ARN.
pub(super) fn check_kind(arn: &str, kind: &str, what: &str) -> Result<(), Error> {
    let resource = arn.strip_prefix("arn:").and_then(|rest| rest.splitn(5, ':').nth(4));
    let is_that = resource.is_some_and(|resource| resource.split('/').next() == Some(kind));
    if is_that { Ok(()) } else { Err(invalid(format!("'{arn}' is not a valid {what} ARN"))) }
}

fn missing_balancer(arn: &str) -> Error {
    let missing = |()| Error::new(ErrorCode::LoadBalancerNotFound, "One or more load balancers not found");
    check_kind(arn, "loadbalancer", "load balancer").map_or_else(|error| error, missing)
}

fn missing_group(arn: &str) -> Error {
    let missing = |()| Error::new(ErrorCode::TargetGroupNotFound, "One or more target groups not found");
    check_kind(arn, "targetgroup", "target group").map_or_else(|error| error, missing)
}

fn missing_listener(arn: &str) -> Error {
    let missing = |()| Error::new(ErrorCode::ListenerNotFound, "One or more listeners not found");
    check_kind(arn, "listener", "listener").map_or_else(|error| error, missing)
}

pub(super) fn missing_rule(arn: &str) -> Error {
    let missing = |()| Error::new(ErrorCode::RuleNotFound, "One or more rules not found");
    check_kind(arn, "listener-rule", "listener rule").map_or_else(|error| error, missing)
}
