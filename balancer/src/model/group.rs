//! Target groups: who serves, and how it is told whether they can.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ecsr_api::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Arn, Attributes, Tags};

/// A group of targets that serve the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetGroup {
    pub arn: Arn,
    pub name: String,
    pub protocol: GroupProtocol,
    /// Of groups that speak HTTP.
    pub protocol_version: ProtocolVersion,
    /// What a target is registered with that names no port.
    pub port: u16,
    pub target_type: TargetType,
    pub vpc_id: Option<String>,
    /// `ipv4` or `ipv6`: what the addresses of its targets are.
    pub ip_address_type: String,
    pub health_check: HealthCheck,
    pub attributes: Attributes,
    #[serde(with = "pairs")]
    pub targets: BTreeMap<TargetKey, Target>,
    pub tags: Tags,
}

/// Our own attribute: the interval of health checks in milliseconds, in place of the whole seconds that ELBv2 has.
pub const INTERVAL_MILLISECONDS: &str = "ecsr.health_check.interval_milliseconds";
/// Our own attribute: the timeout of health checks in milliseconds.
pub const TIMEOUT_MILLISECONDS: &str = "ecsr.health_check.timeout_milliseconds";

impl TargetGroup {
    /// How often each target is checked. This is what counts, not the interval of [`HealthCheck`].
    pub fn health_interval(&self) -> Duration {
        self.milliseconds(INTERVAL_MILLISECONDS).unwrap_or(self.health_check.interval)
    }

    /// How long a target has to answer a check; never longer than the interval.
    pub fn health_timeout(&self) -> Duration {
        let timeout = self.milliseconds(TIMEOUT_MILLISECONDS).unwrap_or(self.health_check.timeout);
        timeout.min(self.health_interval())
    }

    fn milliseconds(&self, key: &str) -> Option<Duration> {
        Some(Duration::from_millis(self.attributes.get(key)?.parse().ok()?))
    }
}

/// How targets are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GroupProtocol {
    Http,
    Https,
    Tcp,
    Tls,
    Udp,
    TcpUdp,
}

/// Which HTTP targets speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum ProtocolVersion {
    #[default]
    Http1,
    Http2,
    Grpc,
}

/// What a target's id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TargetType {
    Instance,
    Ip,
}

/// A target is its id and its port: the same id may be there with other ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetKey {
    pub id: Arc<str>,
    pub port: u16,
}

impl fmt::Display for TargetKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.id, self.port)
    }
}

/// A registered target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Where it is reached.
    pub address: std::net::IpAddr,
    pub availability_zone: Option<String>,
    pub registered_at: Timestamp,
    /// Since when it drains. It gets nothing new, and is gone when it has nothing left or its time is over.
    pub draining_since: Option<Timestamp>,
}

/// A map whose keys are no text, as JSON: a list of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Target, TargetKey};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<TargetKey, Target>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<TargetKey, Target>, D::Error> {
        Ok(Vec::<(TargetKey, Target)>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// How a target is asked whether it can serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub enabled: bool,
    pub protocol: HealthProtocol,
    /// Nothing is the port of the target itself.
    pub port: Option<u16>,
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    pub matcher: Matcher,
}

/// What a health check speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthProtocol {
    Http,
    Https,
    Tcp,
}

/// Which answers are good, as it was given and as ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    pub text: String,
    pub ranges: Vec<(u16, u16)>,
}

/// What is known of a target's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHealth {
    pub state: HealthState,
    pub reason: Option<HealthReason>,
    /// In ELB's words.
    pub description: Option<String>,
}

/// The states of `DescribeTargetHealth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    Initial,
    Healthy,
    Unhealthy,
    Unused,
    Draining,
    Unavailable,
}

/// The reasons of `DescribeTargetHealth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthReason {
    RegistrationInProgress,
    InitialHealthChecking,
    ResponseCodeMismatch,
    Timeout,
    FailedHealthChecks,
    NotRegistered,
    NotInUse,
    DeregistrationInProgress,
    HealthCheckDisabled,
}
