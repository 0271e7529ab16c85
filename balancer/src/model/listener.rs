//! Listeners: a port of a load balancer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Action, Arn, Attributes, Rule, Tags};

/// A port on which a load balancer takes connections, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    pub arn: Arn,
    pub load_balancer: Arn,
    /// Where it is bound.
    pub address: SocketAddr,
    pub protocol: Protocol,
    /// The default certificate first, then those that a server name can choose. Only for HTTPS and TLS.
    pub certificates: Vec<Certificate>,
    pub ssl_policy: Option<String>,
    /// ELBv2's ALPN policy of a TLS listener: `HTTP1Only`, `HTTP2Only`, `HTTP2Optional`, `HTTP2Preferred` or `None`.
    pub alpn_policy: Option<String>,
    /// By ascending priority.
    pub rules: Vec<Arc<Rule>>,
    /// What is done when no rule applies.
    pub default_action: Action,
    /// The action's `Order`, if it was given one: said back.
    pub default_order: Option<u32>,
    /// Names the default rule.
    pub default_rule: Arn,
    pub default_rule_tags: Tags,
    pub attributes: Attributes,
    pub tags: Tags,
}

impl Listener {
    /// What its rules do, and what it does when none applies.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.rules.iter().map(|rule| &rule.action).chain([&self.default_action])
    }
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    Http,
    Https,
    Tcp,
    Tls,
    Udp,
    TcpUdp,
}

/// A certificate by its ARN, and the files that hold it and its key (PEM).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub arn: Arn,
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Protocol {
    /// Whether it takes connections.
    pub const fn is_tcp(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether it takes datagrams.
    pub const fn is_udp(self) -> bool {
        matches!(self, Self::Udp | Self::TcpUdp)
    }
}
