//! The agent: joins a cluster and runs its tasks on this host's Docker.
//!
//! - [`engine`] decides: pure state machines from facts to actions.
//! - [`runtime`] is the seam to the container engine, with Docker and a fake behind it.
//! - `driver` carries actions out and feeds facts back; `task` translates payloads into containers.
//! - [`uplink`] is the seam to the scheduler: `channel` holds the two sockets to it and `api` calls it; `register`
//!   joins, `report` tells.
//! - `attend` puts the agent together between its seams.
//! - `ledger` keeps on disk what Docker cannot hold.
//!
//! Invariants: Docker is the truth, so the agent may be killed at any moment and adopts what runs; STOPPED is
//! reported only of what is known not to run; whatever is waited for, is waited for for ever, with a message.

mod api;
mod attend;
mod backoff;
mod channel;
pub mod clock;
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
pub mod uplink;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::api::Api;
use crate::attend::attend;
use crate::backoff::{Backoff, Complaint};
use crate::channel::tcs::Tcs;
use crate::channel::{AGENT_VERSION, Dialer, Signer};
use crate::runtime::docker::DockerRuntime;
use crate::runtime::{EngineInfo, Runtime, RuntimeError};
use aws_config::SdkConfig;

pub use attend::{Host, serve};
pub use config::{Config, ConfigError};
pub use ledger::{Disk, Ledger};

/// Pauses between attempts to reach Docker.
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
    let scheduler =
        Scheduler { api: Api::new(&config, &sdk, &region), signer: Signer { credentials, region } };
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
}

async fn work(config: Arc<Config>, scheduler: Scheduler, ledger: Ledger) -> Result<(), Error> {
    let (runtime, engine_info) = wait_for_docker(&config.docker_host).await?;
    tracing::info!("agent {AGENT_VERSION}, Docker {} (API {})", engine_info.version, engine_info.api_version);
    let Scheduler { api, signer } = scheduler;
    let docker_version = engine_info.version.clone();
    let uplink = Dialer {
        api: api.clone(),
        signer: signer.clone(),
        config: Arc::clone(&config),
        engine_info: Arc::new(engine_info),
    };
    let host = Host { config: Arc::clone(&config), runtime: runtime.clone(), uplink, ledger };
    attend(host, |inside, background| {
        endpoints::spawn(background, &config, inside);
        let tcs = Tcs {
            api,
            signer,
            driver: inside.driver.clone(),
            runtime,
            docker_version,
            publishes_metrics: !config.metrics_disabled,
        };
        background.spawn(tcs.follow(inside.instance.clone(), inside.moves.clone()));
    })
    .await;
    Ok(())
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
