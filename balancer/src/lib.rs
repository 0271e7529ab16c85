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

mod api;
pub mod model;
pub mod plane;
mod settle;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use self::api::{Desk, Site};
use self::plane::Plane;
use self::store::Store;

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

/// Why a balancer cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the account '{0}' is not twelve digits")]
    Account(String),
    #[error("'{0}' is not a region")]
    Region(String),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot keep the balancer's state")]
    Store(#[from] store::Error),
    #[error("the balancer failed")]
    Failed,
}

/// Runs a balancer until `shutdown` is ready. `ready` is told where the API is served.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()>,
    ready: oneshot::Sender<SocketAddr>,
) -> Result<(), Error> {
    check(&config)?;
    let address = config.listen;
    let explain = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(explain)?;
    let listen = listener.local_addr().map_err(explain)?;

    let data_dir = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&data_dir)).await;
    let (store, mut state) = opened.map_err(|_| Error::Failed)??;
    let site = Site::of(&config);
    settle::settle(&mut state, &site);
    let (plane, drained) = Plane::start();
    let desk = Desk::open(store, state, plane, site);
    let drains = tokio::spawn(desk.clone().remove_drained(drained));

    let (stop, stopping) = watch::channel(false);
    let router = api::router(desk.clone(), config.keys.clone(), config.region.clone());
    let server = tokio::spawn(api::serve(listener, router, stopping));
    tracing::info!(%listen, data_dir = %config.data_dir.display(), "the balancer serves");
    // The caller may not care.
    let _ = ready.send(listen);

    shutdown.await;
    tracing::info!("the balancer is stopping");
    stop.send_replace(true);
    let stopped = server.await.map_err(|_| Error::Failed);
    desk.stop().await;
    // It holds the store, whose file the next start needs.
    drains.abort();
    let _ = drains.await;
    stopped
}

fn check(config: &Config) -> Result<(), Error> {
    let Config { account, region, .. } = config;
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::Account(account.clone()));
    }
    let is_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if region.is_empty() || !region.bytes().all(is_region) {
        return Err(Error::Region(region.clone()));
    }
    Ok(())
}
