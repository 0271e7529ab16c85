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
//! - `elb`: the target groups of services, kept in step with their tasks.
//! - `http`: the ECS API; `agents`: the ACS and TCS channels; `auth`: the signatures on all of them; `access`: what each
//!   key may be used for.
//! - [`backup`]: what `ecsr journal` does with a data directory; `control`: the socket that gives it a running one's.
//! - [`keys`]: the access keys that callers sign with.
//! - `ha`: several schedulers that share a journal, of which one leads.
//!
//! Invariants: nobody is answered before what they asked for is durable; reads and agent sessions see durable state
//! only; nothing of a request is acted upon before its signature was checked.

mod access;
pub mod agents;
mod app;
mod auth;
pub mod backup;
mod clock;
mod control;
mod descriptors;
pub mod driver;
mod elb;
mod entropy;
mod ha;
mod http;
pub mod journal;
pub mod keys;
mod outgoing;
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

use crate::agents::{Hosts, Sessions, Templates};
use crate::app::App;
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::control::Control;
use crate::driver::{Driver, Failure, Surroundings};
use crate::elb::Elb;
use crate::entropy::Entropy;
use crate::ha::Authority;
use crate::ha::node::Node;
use crate::http::AgentsLane;
use crate::journal::etcd::Location;
use crate::journal::etcd::log::Log;
use crate::journal::{EmbeddedJournal, Journal};
use crate::keys::{KeyFile, KeyRing, SharedKeys, SharedRing};
use crate::outgoing::Tls;
use crate::roles::Roles;

pub use crate::clock::Course;
pub use crate::driver::RecoveryError;
pub use crate::elb::LazySdk;
pub use crate::ha::Consistency;

/// How long agent sessions may take to say goodbye when the scheduler stops.
const SESSIONS_GRACE: Duration = Duration::from_secs(2);

/// Pause before etcd is asked again by a scheduler that cannot start without it.
const ETCD_RETRY: Duration = Duration::from_millis(500);

/// What a scheduler is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Holds the journal and the access keys unless they are on etcd; made when it does not exist.
    pub data_dir: PathBuf,
    /// Port 0 takes a free one; `ready` tells which.
    pub listen: SocketAddr,
    /// Twelve digits, in every ARN.
    pub account: String,
    pub region: String,
    /// Clusters that are created at the start unless they exist.
    pub clusters: Vec<String>,
    /// Where the journal and the access keys are.
    pub journal: Store,
    /// What reads are to say when several schedulers share a journal.
    pub reads: Consistency,
    /// Base URL that agents are told to connect to. Without it they are told the one that they came by.
    pub advertise: Option<String>,
    /// AWS credentials by which the roles of tasks are assumed. Without them tasks run without their roles.
    pub roles: Option<SdkConfig>,
    /// The AWS configuration for ELBv2. Without it services have no load balancers.
    pub elb: Option<LazySdk>,
}

/// Where a scheduler keeps what it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Store {
    /// In its data directory, which is its alone.
    #[default]
    Embedded,
    /// On etcd, which it shares with others of which one leads.
    Etcd(Location),
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
    #[error(
        "{0} is where this scheduler listens, but not an address at which others reach it; say by which URL they do"
    )]
    Unreachable(SocketAddr),
    #[error(transparent)]
    Keys(#[from] keys::Error),
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("cannot use the system's certificates for TLS")]
    Certificates(#[source] io::Error),
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
    match config.journal.clone() {
        Store::Embedded => {
            let keys = KeyFile::open(&config.data_dir)?;
            let journal = Box::new(EmbeddedJournal::open(&config.data_dir)?);
            serve(config, home, keys, journal, (listener, listen), shutdown, ready).await
        }
        Store::Etcd(location) => {
            serve_among_others(config, home, location, (listener, listen), shutdown, ready).await
        }
    }
}

/// One scheduler of several.
async fn serve_among_others(
    config: Config,
    home: Home,
    location: Location,
    (listener, listen): (TcpListener, SocketAddr),
    shutdown: impl Future<Output = ()>,
    ready: oneshot::Sender<SocketAddr>,
) -> Result<(), Error> {
    let own = own_url(&config, listen)?;
    let log = Arc::new(Log::open(&location)?);
    let entropy = Entropy::from_system().map_err(Error::Entropy)?;
    let mut shutdown = std::pin::pin!(shutdown);
    let keys = tokio::select! {
        () = shutdown.as_mut() => return Ok(()),
        keys = shared_keys(SharedKeys::beside(log.clone(), &location)) => keys?,
    };
    let tls = Tls::for_urls(std::iter::once(own.as_str()));
    let node = Node {
        log,
        authenticator: Arc::new(Authenticator::new(KeyRing::Shared(keys), home.clone())),
        home,
        roles: Roles::new(config.roles.as_ref(), entropy.clone()),
        elb: Elb::new(config.elb),
        entropy,
        http: outgoing::client(tls).map_err(Error::Certificates)?,
        own,
        listen,
        clusters: config.clusters,
        consistency: config.reads,
    };
    let (stop_serving, stop) = watch::channel(false);
    let lane = AgentsLane::open().map_err(Error::Thread)?;
    let mut server = None;
    let ended = node
        .run(
            async {
                shutdown.await;
                tracing::info!("the scheduler is stopping");
                stop_serving.send_replace(true);
            },
            |router| {
                server = Some(tokio::spawn(http::serve(listener, router, lane, stop)));
                tracing::info!(%listen, journal = %location, "the scheduler serves, one of several");
                // The caller may not care.
                let _ = ready.send(listen);
            },
        )
        .await;
    if let Some(server) = server.filter(|_| ended.is_ok()) {
        server.await.map_err(|_| Error::Failed)?;
    }
    ended
}

/// The keys on etcd, as soon as it answers.
async fn shared_keys(keys: SharedKeys) -> Result<SharedRing, Error> {
    loop {
        let first = async {
            if let Some(first) = keys.ensure_first().await? {
                tracing::info!(id = first.id, "the first access key was made");
            }
            keys.clone().follow().await
        };
        match first.await {
            Ok(ring) => return Ok(ring),
            Err(error @ (keys::Error::Shared(_) | keys::Error::Contended)) => {
                tracing::warn!(%error, "waiting for etcd");
                tokio::time::sleep(ETCD_RETRY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The URL by which others reach this scheduler.
fn own_url(config: &Config, listen: SocketAddr) -> Result<String, Error> {
    match &config.advertise {
        Some(url) => Ok(url.trim_end_matches('/').to_owned()),
        None if listen.ip().is_unspecified() => Err(Error::Unreachable(listen)),
        None => Ok(format!("http://{listen}")),
    }
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
    let (caller, here) = (home.root_arn(), home.clone());
    let recovered = driver::recover(&mut *journal, home)?;
    // Not before the journal was accepted: what is refused stays as it is, the directory included.
    if let Some(first) = keys.ensure_first()? {
        tracing::info!(id = first.id, "the first access key was made");
    }
    let founding = recovered.founding.clone();
    let clock = Clock::in_epoch(recovered.latest, recovered.epoch);
    let entropy = Entropy::from_system().map_err(Error::Entropy)?;
    let events_per_snapshot_min = driver::EVENTS_PER_SNAPSHOT_MIN;
    let surroundings =
        Surroundings { clock: clock.clone(), entropy: entropy.clone(), caller, events_per_snapshot_min };
    let (stop_writer, writer_stops) = watch::channel(false);
    let (driver, mut writer) =
        Driver::start(recovered, journal, surroundings, writer_stops).await.map_err(Error::Thread)?;
    create_clusters(&driver, &config.clusters).await?;

    let (stop_serving, stop) = watch::channel(false);
    let authenticator = Arc::new(Authenticator::new(KeyRing::File(keys), here));
    let sessions = Sessions::default();
    let (hosts, hints) = Hosts::new();
    let advertise = config.advertise;
    let app = Arc::new(App {
        roles: Roles::new(config.roles.as_ref(), entropy.clone()),
        elb: Elb::new(config.elb),
        templates: Templates::default(),
        driver,
        authority: Authority::Alone,
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
    let balancing = tokio::spawn(app.balance());
    match control::listen(&config.data_dir) {
        Ok(socket) => {
            let control = Control { driver: app.driver.clone(), clock: app.clock.clone(), founding };
            tokio::spawn(control::serve(socket, control, stop.clone()));
        }
        Err(error) => {
            tracing::warn!(%error, "no control socket: the journal cannot be copied while this runs");
        }
    }
    let lane = AgentsLane::open().map_err(Error::Thread)?;
    let server = tokio::spawn(http::serve(listener, http::router(app.clone()), lane, stop));
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
    balancing.await.map_err(|_| Error::Failed)?;
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
