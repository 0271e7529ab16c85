//! The load balancer of clusters with no AWS: the ELBv2 API, and a data plane that does what it says.
//!
//! ```text
//!  ELBv2 clients --http--> api --changes--> store (durable)
//!                           |                 |
//!                     target health      State, whole
//!                           |                 v
//!  clients --http/tcp/udp--> plane ----------------> targets
//! ```
//!
//! - [`model`]: what there is: load balancers, listeners with their rules, target groups with their targets.
//! - `api`: the ELBv2 operations; `store`: where what they made is kept.
//! - [`plane`]: listeners, routing, health checks, draining. It follows the state and asks nobody.
//!
//! Invariants: an answered change is durable; a request is never given to a target that the state does not hold or that
//! drains; nothing of an API request is acted upon before its signature was checked.

pub mod model;
pub mod plane;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// What a balancer is started with.
#[derive(Clone)]
pub struct Config {
    /// Holds what the API made; created when it does not exist.
    pub data_dir: PathBuf,
    /// Where the ELBv2 API is served. Port 0 takes a free one; `ready` tells which.
    pub listen: SocketAddr,
    /// Where listeners of load balancers bind that do not ask for an address of their own.
    pub bind: IpAddr,
    /// The name or address by which clients reach the load balancers; the `DNSName` of all of them.
    pub dns_name: String,
    /// Twelve digits, in every ARN.
    pub account: String,
    pub region: String,
    /// The addresses of instances by their id: what a target of type `instance` is sent to.
    pub instances: BTreeMap<String, IpAddr>,
    /// The secret of an access key that may use the API, asked at each request.
    pub keys: Keys,
}

/// Looks up the secret of an access key id.
pub type Keys = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("data_dir", &self.data_dir)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
