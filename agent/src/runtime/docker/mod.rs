//! Docker Engine behind the [`Runtime`] seam, over its socket.
//!
//! One short connection per call, as the engine prefers; no cache and no state of our own, because Docker is the
//! truth. Every call is bounded in time: an engine under load answers late, but never not at all unnoticed.

mod translate;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions, RemoveVolumeOptions,
    StartContainerOptions, StatsOptionsBuilder, StopContainerOptionsBuilder,
};
use ecsr_api::Timestamp;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

use self::translate::{error, event, image, snapshot, usage};
use super::{
    CreateRequest, EngineInfo, Event, ImageInfo, Listed, PullCredentials, PullRequest, Runtime, RuntimeError,
    Usage, VolumeRequest,
};
use crate::engine::Snapshot;

/// Limit of calls that only read: an engine that needs longer is in trouble.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Limit of a list, which walks over all containers.
const LIST_TIMEOUT: Duration = Duration::from_mins(10);
/// Limit of removals, which wait for the storage driver.
const REMOVE_TIMEOUT: Duration = Duration::from_mins(5);
/// Limit of a start call; the driver has its own, shorter one.
const START_TIMEOUT: Duration = Duration::from_mins(10);
/// What a stop call may take beyond the grace that it was given.
const STOP_MARGIN: Duration = Duration::from_mins(2);
/// A pull must show its first progress within this time.
const PULL_BEGIN_TIMEOUT: Duration = Duration::from_mins(5);
/// bollard's own limit, out of the way: the ones above apply. No grace is longer.
const CLIENT_TIMEOUT: Duration = Duration::from_hours(7 * 24);
/// How far back a new subscription looks: the engine answers a subscription shortly before it takes effect.
const EVENTS_OVERLAP: Duration = Duration::from_secs(1);

/// A connection to a Docker engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct DockerRuntime {
    docker: Docker,
}

impl DockerRuntime {
    /// Connects to `host` (`unix:///path` or `tcp://address:port`) and agrees on an API version.
    pub async fn connect(host: &str) -> Result<Self, RuntimeError> {
        let docker = Docker::connect_with_host(host).map_err(error)?.with_timeout(CLIENT_TIMEOUT);
        let docker = within(READ_TIMEOUT, docker.negotiate_version()).await?;
        Ok(DockerRuntime { docker })
    }
}

/// Runs a call with a limit and turns its error into the seam's.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, RuntimeError> {
    match tokio::time::timeout(limit, call).await {
        Ok(outcome) => outcome.map_err(error),
        Err(_) => Err(RuntimeError::TimedOut(limit)),
    }
}

/// A call on what may be gone already, which is as good as done.
fn gone_is_fine(outcome: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match outcome {
        Err(RuntimeError::NotFound(_)) => Ok(()),
        other => other,
    }
}

impl Runtime for DockerRuntime {
    async fn ping(&self) -> Result<EngineInfo, RuntimeError> {
        let version = within(READ_TIMEOUT, self.docker.version()).await?;
        let plugins = within(READ_TIMEOUT, self.docker.info()).await?.plugins.unwrap_or_default();
        Ok(EngineInfo {
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            volume_drivers: plugins.volume.unwrap_or_default(),
            log_drivers: plugins.log.unwrap_or_default(),
        })
    }

    async fn list(&self, label: &str) -> Result<Vec<Listed>, RuntimeError> {
        let filters = [("label", vec![label])].into_iter().collect();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = within(LIST_TIMEOUT, self.docker.list_containers(Some(options))).await?;
        Ok(found
            .into_iter()
            .filter_map(|summary| {
                Some(Listed {
                    id: summary.id?,
                    labels: summary.labels.unwrap_or_default().into_iter().collect(),
                    created_at: Timestamp::from_seconds(summary.created.unwrap_or_default()),
                })
            })
            .collect())
    }

    async fn inspect(&self, id: &str) -> Result<Snapshot, RuntimeError> {
        snapshot(within(READ_TIMEOUT, self.docker.inspect_container(id, None)).await?)
    }

    async fn labels(&self, id: &str) -> Result<BTreeMap<String, String>, RuntimeError> {
        let found = within(READ_TIMEOUT, self.docker.inspect_container(id, None)).await?;
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        Ok(labels.into_iter().collect())
    }

    async fn create(&self, request: CreateRequest) -> Result<String, RuntimeError> {
        let options = CreateContainerOptionsBuilder::new().name(&request.name).build();
        let call = self.docker.create_container(Some(options), *request.body);
        Ok(within(request.timeout, call).await?.id)
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        within(START_TIMEOUT, self.docker.start_container(id, None::<StartContainerOptions>)).await
    }

    async fn stop(&self, id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let limit = grace.saturating_add(STOP_MARGIN);
        gone_is_fine(within(limit, self.docker.stop_container(id, Some(options))).await)
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::new().v(true).build();
        gone_is_fine(within(REMOVE_TIMEOUT, self.docker.remove_container(id, Some(options))).await)
    }

    async fn image(&self, reference: &str) -> Result<ImageInfo, RuntimeError> {
        Ok(image(within(READ_TIMEOUT, self.docker.inspect_image(reference)).await?))
    }

    async fn pull(&self, request: PullRequest) -> Result<(), RuntimeError> {
        let options = CreateImageOptionsBuilder::new().from_image(&with_tag(&request.reference)).build();
        let credentials = request.credentials.map(credentials);
        let mut progress = self.docker.create_image(Some(options), None, credentials);
        let mut limit = PULL_BEGIN_TIMEOUT;
        loop {
            match tokio::time::timeout(limit, progress.next()).await {
                Err(_) => return Err(RuntimeError::TimedOut(limit)),
                Ok(None) => return Ok(()),
                Ok(Some(step)) => step.map(drop).map_err(error)?,
            }
            limit = request.inactivity;
        }
    }

    async fn remove_image(&self, reference: &str) -> Result<(), RuntimeError> {
        let call = self.docker.remove_image(reference, None::<RemoveImageOptions>, None);
        gone_is_fine(within(REMOVE_TIMEOUT, call).await.map(drop))
    }

    async fn create_volume(&self, request: VolumeRequest) -> Result<(), RuntimeError> {
        let body = VolumeCreateRequest {
            name: Some(request.name),
            driver: Some(request.driver).filter(|driver| !driver.is_empty()),
            driver_opts: Some(request.options.into_iter().collect()),
            labels: Some(request.labels.into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        within(REMOVE_TIMEOUT, self.docker.create_volume(body)).await.map(drop)
    }

    async fn has_volume(&self, name: &str) -> Result<bool, RuntimeError> {
        match within(READ_TIMEOUT, self.docker.inspect_volume(name)).await {
            Ok(_) => Ok(true),
            Err(RuntimeError::NotFound(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError> {
        gone_is_fine(
            within(REMOVE_TIMEOUT, self.docker.remove_volume(name, None::<RemoveVolumeOptions>)).await,
        )
    }

    fn events(&self, label: &str) -> BoxStream<'static, Result<Event, RuntimeError>> {
        let since =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(EVENTS_OVERLAP);
        let filters = [
            ("type", vec!["container"]),
            ("label", vec![label]),
            ("event", vec!["start", "die", "oom", "destroy", "health_status"]),
        ];
        let options = EventsOptionsBuilder::new()
            .since(&format!("{}.{:09}", since.as_secs(), since.subsec_nanos()))
            .filters(&filters.into_iter().collect())
            .build();
        let docker = self.docker.clone();
        let messages = async_events(docker, options);
        messages.map_err(error).try_filter_map(|message| async move { Ok(event(message)) }).boxed()
    }

    async fn stats(&self, id: &str) -> Result<Usage, RuntimeError> {
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let mut samples = self.docker.stats(id, Some(options));
        let sample = within(READ_TIMEOUT, async { samples.next().await.transpose() }).await?;
        sample
            .map(|sample| usage(&sample))
            .ok_or_else(|| RuntimeError::NotFound(format!("no statistics of {id}")))
    }
}

/// The stream owns its connection, so that it outlives the call that opened it.
fn async_events(
    docker: Docker,
    options: bollard::query_parameters::EventsOptions,
) -> impl futures_util::Stream<Item = Result<bollard::models::EventMessage, bollard::errors::Error>> + Send {
    futures_util::stream::once(async move { docker.events(Some(options)).boxed() }).flatten()
}

/// Docker pulls every tag of a name that has none.
fn with_tag(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    if name.contains(':') || name.contains('@') {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

fn credentials(given: PullCredentials) -> DockerCredentials {
    DockerCredentials {
        username: given.username,
        password: given.password,
        auth: given.auth,
        email: given.email,
        serveraddress: Some(given.server),
        ..DockerCredentials::default()
    }
}

#[cfg(test)]
mod tests {
    use super::with_tag;

    #[test]
    fn a_reference_with_no_tag_means_latest() {
        let cases = [
            ("busybox", "busybox:latest"),
            ("busybox:1.36", "busybox:1.36"),
            ("reg:5000/a/b", "reg:5000/a/b:latest"),
            ("reg:5000/a/b@sha256:00", "reg:5000/a/b@sha256:00"),
        ];
        for (reference, expected) in cases {
            assert_eq!(with_tag(reference), expected);
        }
    }
}
