//! The scheduler: the shell around the brain that is `ecsr_core`.
//!
//! ```text
//!  ECS clients --http--> api ----commands---> driver --records--> journal
//!      agents --http-->  |  <--- published state --|
//!      agents --acs/tcs--> agents --commands-----^
//! ```
//!
//! - [`driver`]: the one writer. Decides commands with the core, appends their events durably, publishes the state.
//! - [`journal`]: where the events are kept.
//! - `http`: the ECS API; `agents`: the ACS and TCS channels; `auth`: the signatures on all of them.
//! - [`keys`]: the access keys that callers sign with.
//!
//! Invariants: nobody is answered before what they asked for is durable; reads and agent sessions see durable state
//! only; nothing of a request is acted upon before its signature was checked.

pub mod agents;
mod app;
mod auth;
mod clock;
mod descriptors;
pub mod driver;
mod entropy;
mod http;
pub mod journal;
pub mod keys;
mod roles;
mod stop;
#[cfg(test)]
mod testing;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use ecsr_api::arn::Home;
use ecsr_api::ecs;
use ecsr_core::command::Command;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::agents::{Hosts, Sessions};
use crate::app::App;
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::driver::{Driver, Failure, Surroundings};
use crate::entropy::Entropy;
use crate::journal::{EmbeddedJournal, Journal};
use crate::keys::KeyFile;
use crate::roles::Roles;

pub use crate::driver::RecoveryError;

/// How long agent sessions may take to say goodbye when the scheduler stops.
const SESSIONS_GRACE: Duration = Duration::from_secs(2);

/// What a scheduler is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Holds the journal and the access keys; made when it does not exist.
    pub data_dir: PathBuf,
    /// Port 0 takes a free one; `ready` tells which.
    pub listen: SocketAddr,
    /// Twelve digits, in every ARN.
    pub account: String,
    pub region: String,
    /// Clusters that are created at the start unless they exist.
    pub clusters: Vec<String>,
    /// Base URL that agents are told to connect to. Without it they are told the one that they came by.
    pub advertise: Option<String>,
    /// AWS credentials by which the roles of tasks are assumed. Without them tasks run without their roles.
    pub roles: Option<SdkConfig>,
}

/// Why a scheduler does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the account must have twelve digits, and {0:?} has not")]
    Account(String),
    #[error("the region {0:?} has characters that no region has")]
    Region(String),
    #[error("the URL to advertise must start with http:// or https://, and {0:?} does not")]
    Advertise(String),
    #[error(transparent)]
    Keys(#[from] keys::Error),
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("the system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
    #[error("the system gives no thread")]
    Thread(#[source] io::Error),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot create the cluster {name}: {problem}")]
    Cluster { name: String, problem: String },
    #[error("a part of the scheduler has failed; the log says more")]
    Failed,
}

/// Runs a scheduler until `shutdown` resolves. `ready` is told the address once requests are answered.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()>,
    ready: oneshot::Sender<SocketAddr>,
) -> Result<(), Error> {
    let home = check(&config)?;
    descriptors::allow_all();
    // Bound before anything is written, so that a port that is taken changes nothing else.
    let listener = bind(config.listen).await?;
    let listen = listener.local_addr().map_err(|source| Error::Listen { address: config.listen, source })?;
    let keys = KeyFile::open(&config.data_dir)?;
    let journal = Box::new(EmbeddedJournal::open(&config.data_dir)?);
    if let Some(first) = keys.ensure_first()? {
        tracing::info!(id = first.id, "the first access key was made");
    }
    serve(config, home, keys, journal, (listener, listen), shutdown, ready).await
}

async fn serve(
    config: Config,
    home: Home,
    keys: KeyFile,
    mut journal: Box<dyn Journal>,
    (listener, listen): (TcpListener, SocketAddr),
    shutdown: impl Future<Output = ()>,
    ready: oneshot::Sender<SocketAddr>,
) -> Result<(), Error> {
    let caller = home.root_arn();
    let recovered = driver::recover(&mut *journal, home)?;
    let clock = Clock::not_before(recovered.latest);
    let entropy = Entropy::from_system().map_err(Error::Entropy)?;
    let events_per_snapshot_min = driver::EVENTS_PER_SNAPSHOT_MIN;
    let surroundings =
        Surroundings { clock: clock.clone(), entropy: entropy.clone(), caller, events_per_snapshot_min };
    let (stop_writer, writer_stops) = watch::channel(false);
    let (driver, mut writer) =
        Driver::start(recovered, journal, surroundings, writer_stops).await.map_err(Error::Thread)?;
    create_clusters(&driver, &config.clusters).await?;

    let (stop_serving, stop) = watch::channel(false);
    let authenticator = Authenticator::new(keys, config.region);
    let sessions = Sessions::default();
    let (hosts, hints) = Hosts::new();
    let advertise = config.advertise;
    let app = Arc::new(App {
        roles: Roles::new(config.roles.as_ref(), entropy.clone()),
        driver,
        authenticator,
        sessions,
        hosts,
        clock,
        entropy,
        advertise,
        listen,
        stop: stop.clone(),
    });
    let watch = tokio::spawn(agents::watch_hosts(app.clone(), hints));
    let server = tokio::spawn(http::serve(listener, http::router(app.clone()), stop));
    tracing::info!(%listen, data_dir = %config.data_dir.display(), "the scheduler serves");
    // The caller may not care.
    let _ = ready.send(listen);

    tokio::select! {
        () = shutdown => {}
        // The writer ends by itself only by failing.
        _ = &mut writer => return Err(Error::Failed),
    }
    tracing::info!("the scheduler is stopping");
    stop_serving.send_replace(true);
    if tokio::time::timeout(SESSIONS_GRACE, app.sessions.all_ended()).await.is_err() {
        tracing::warn!("some agent sessions did not end in time");
    }
    server.await.map_err(|_| Error::Failed)?;
    watch.await.map_err(|_| Error::Failed)?;
    stop_writer.send_replace(true);
    writer.await.map(|_| ()).map_err(|_| Error::Failed)
}

fn check(config: &Config) -> Result<Home, Error> {
    let Config { account, region, advertise, .. } = config;
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::Account(account.clone()));
    }
    let is_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if region.is_empty() || !region.bytes().all(is_region) {
        return Err(Error::Region(region.clone()));
    }
    if let Some(url) =
        advertise.as_ref().filter(|url| !url.starts_with("http://") && !url.starts_with("https://"))
    {
        return Err(Error::Advertise(url.clone()));
    }
    Ok(Home { region: region.clone(), account: account.clone() })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

async fn create_clusters(driver: &Driver, names: &[String]) -> Result<(), Error> {
    for name in names {
        if driver.state().active_cluster(name).is_some() {
            continue;
        }
        let request = ecs::CreateClusterRequest { cluster_name: Some(name.clone()), ..Default::default() };
        let created = driver.execute(Command::CreateCluster(Box::new(request))).await;
        created.map_err(|failure: Failure| Error::Cluster {
            name: name.clone(),
            problem: failure.to_string(),
        })?;
    }
    Ok(())
}
