//! The agent: joins a cluster and runs its tasks on this host's Docker.
//!
//! - [`engine`] decides: pure state machines from facts to actions.
//! - [`runtime`] is the seam to the container engine, with Docker and a fake behind it.
//! - `driver` carries actions out and feeds facts back; `task` translates payloads into containers.
//! - `channel` holds the two sockets to the scheduler, `api` and `report` call it, `register` joins.
//! - `ledger` keeps on disk what Docker cannot hold.
//!
//! Invariants: Docker is the truth, so the agent may be killed at any moment and adopts what runs; STOPPED is
//! reported only of what is known not to run; whatever is waited for, is waited for for ever, with a message.

mod api;
mod backoff;
mod channel;
pub mod config;
mod credentials;
mod driver;
mod endpoints;
pub mod engine;
mod ledger;
mod register;
mod report;
pub mod runtime;
mod task;
mod text;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::api::Api;
use crate::backoff::{Backoff, Complaint};
use crate::channel::acs::{Acs, Timeline};
use crate::channel::tcs::Tcs;
use crate::channel::{AGENT_VERSION, Signer};
use crate::credentials::Credentials;
use crate::driver::{Driver, Handle, Parts};
use crate::ledger::Ledger;
use crate::report::{Reporter, retrying};
use crate::runtime::docker::DockerRuntime;
use crate::runtime::{EngineInfo, Runtime, RuntimeError};

pub use config::{Config, ConfigError};

/// Accepted STOPPED reports that may wait for the driver.
const STOPPED_MAX: usize = 64;
/// Pauses between attempts to reach Docker, and between registrations that do not hold.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Why the agent cannot run at all. Everything that may get better is waited for instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No region is configured: nothing could be signed.
    #[error("no region: set AWS_DEFAULT_REGION")]
    NoRegion,
    /// No credentials are configured: nothing could be signed.
    #[error("no AWS credentials are configured")]
    NoCredentials,
    /// The container engine's address cannot be used.
    #[error("cannot use DOCKER_HOST {address:?}")]
    DockerHost {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: RuntimeError,
    },
}

/// Runs the agent until `shutdown` resolves. The tasks run on: a later agent adopts them.
pub async fn run(config: Config, sdk: SdkConfig, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    for name in &config.not_acted_on {
        tracing::warn!("{name} is set, and this agent does not act on it");
    }
    let region =
        config.region.clone().or_else(|| sdk.region().map(ToString::to_string)).ok_or(Error::NoRegion)?;
    let credentials = sdk.credentials_provider().ok_or(Error::NoCredentials)?;
    let config = Arc::new(Config { region: Some(region.clone()), ..config });
    let ledger = Ledger::open(&config.data_dir);
    let scheduler = Scheduler {
        api: Api::new(&config, &sdk, &region),
        signer: Signer { credentials, region },
        credentials: Credentials::default(),
    };
    drop(sdk);
    tokio::pin!(shutdown);
    tokio::select! {
        outcome = work(Arc::clone(&config), scheduler, ledger.clone()) => outcome?,
        () = &mut shutdown => tracing::info!("ending; tasks run on"),
    }
    ledger.close().await;
    Ok(())
}

/// What it takes to talk to the scheduler.
struct Scheduler {
    api: Api,
    signer: Signer,
    credentials: Credentials,
}

async fn work(config: Arc<Config>, scheduler: Scheduler, ledger: Ledger) -> Result<(), Error> {
    let (runtime, engine_info) = wait_for_docker(&config.docker_host).await?;
    tracing::info!("agent {AGENT_VERSION}, Docker {} (API {})", engine_info.version, engine_info.api_version);
    let reporter = Reporter::new(ledger.clone());
    let (stopped_sender, stopped) = mpsc::channel(STOPPED_MAX);
    let (instance, instance_changes) = watch::channel(String::new());
    let parts = Parts {
        config: Arc::clone(&config),
        ledger: ledger.clone(),
        reporter: reporter.clone(),
        stopped,
        container_instance: instance_changes.clone(),
    };
    let (driver, handle) = Driver::new(runtime.clone(), parts);
    let (ready, adopted) = oneshot::channel();

    // Everything that works beside the sockets; it ends with this future.
    let mut background = JoinSet::new();
    background.spawn(ledger.clone().keep_writing());
    background.spawn(async move { driver.run(ready).await });
    let _ = adopted.await;
    let api = scheduler.api.clone();
    let complaint = Arc::new(Mutex::new(Complaint::default()));
    background.spawn(async move {
        let submit = |report: engine::TaskReport| {
            let (api, complaint) = (api.clone(), Arc::clone(&complaint));
            async move { retrying(&complaint, || api.submit(report.clone())).await }
        };
        reporter.deliver(submit, stopped_sender).await;
    });
    endpoints::spawn(&mut background, &config, &scheduler.credentials, &handle, &instance_changes);
    // Boxed: the two sockets and the client make a large future.
    Box::pin(attend(&config, scheduler, runtime, &engine_info, &ledger, &handle, &instance)).await;
    Ok(())
}

/// Registers and keeps the sockets open; registers anew whenever the scheduler does not know the instance any more.
async fn attend(
    config: &Config,
    scheduler: Scheduler,
    runtime: DockerRuntime,
    engine_info: &EngineInfo,
    ledger: &Ledger,
    handle: &Handle,
    instance: &watch::Sender<String>,
) {
    let Scheduler { api, signer, credentials } = scheduler;
    let tcs = Tcs {
        api: api.clone(),
        signer: signer.clone(),
        driver: handle.clone(),
        runtime,
        docker_version: engine_info.version.clone(),
        publishes_metrics: !config.metrics_disabled,
    };
    let mut acs = Acs {
        api: api.clone(),
        signer,
        driver: handle.clone(),
        credentials,
        docker_version: engine_info.version.clone(),
        timeline: Timeline::default(),
        was_connected: false,
    };
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    loop {
        let arn = register::register(&api, config, engine_info, ledger).await;
        instance.send_replace(arn.clone());
        let why = tokio::select! {
            why = acs.keep(&arn) => why,
            () = tcs.keep(&arn) => unreachable!("telemetry is published for ever"),
        };
        tracing::warn!("the instance is not registered any more, registering anew: {why}");
        acs.timeline = Timeline::default();
        acs.was_connected = false;
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Waits for the engine, for ever; only an address that can never work is an error.
async fn wait_for_docker(address: &str) -> Result<(DockerRuntime, EngineInfo), Error> {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let mut complaint = Complaint::default();
    loop {
        let outcome = match DockerRuntime::connect(address).await {
            Ok(runtime) => runtime.ping().await.map(|info| (runtime, info)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(found) => {
                complaint.settled("Docker answers");
                return Ok(found);
            }
            Err(RuntimeError::Unavailable(why)) => {
                complaint.warn(format!("waiting for Docker at {address}: {why}"));
            }
            Err(error) if !address.contains("://") || address.starts_with("https://") => {
                return Err(Error::DockerHost { address: address.to_owned(), source: error });
            }
            Err(error) => complaint.warn(format!("waiting for Docker at {address}: {error}")),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}
