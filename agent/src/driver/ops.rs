//! The operations on the runtime, each ending in exactly one answer to the engine.
//!
//! An engine that does not answer is waited for, never taken for a failure of the task. The path of a start is
//! create, start and one inspection, and nothing else.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::now;
use crate::backoff::Backoff;
use crate::config::{Config, PullBehavior};
use crate::engine::{ContainerKey, Image, Input, Removal, RunState, Snapshot};
use crate::ledger::Ledger;
use crate::runtime::{CreateRequest, ImageInfo, PullCredentials, PullRequest, Runtime, RuntimeError};
use crate::task::body::{self, Surroundings};
use crate::task::labels::{self, Owner};
use crate::task::ports::{self, Dynamic, Ipv6, PortChoice, PortPicker};
use crate::task::{Task, names, volumes};

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Attempts to bind ports that the agent or Docker picked: somebody else may take one in between.
const BIND_ATTEMPTS_MAX: usize = 5;
/// Attempts to pull when the registry fails in a way that may pass; a user waits for the verdict.
const PULL_ATTEMPTS_MAX: usize = 3;
const PULL_RETRY_MIN: Duration = Duration::from_millis(500);
const PULL_RETRY_MAX: Duration = Duration::from_secs(2);
/// Looks at a name that Docker says is taken and does not show yet.
const CONFLICT_LOOKS_MAX: usize = 10;
/// Where container port ranges are bound when neither the operator nor the kernel names ports.
const DYNAMIC_PORTS: (u16, u16) = (32768, 60999);
/// Container ids that were replaced by the agent itself are remembered up to this many; each is forgotten with its
/// destroy event.
const REPLACED_MAX: usize = 1000;

/// What an operation has to say.
#[derive(Debug)]
pub(crate) enum Answer {
    /// An image is there, or cannot be had.
    Provided { image: String, outcome: Result<Provided, String> },
    /// Goes to the engine as it is.
    Input(Input),
    /// A task's remains are gone, or not yet.
    Removed { task_arn: String, outcome: Removal },
    /// A round of image clean-up is over.
    ImagesCleaned,
}

/// An image that is on the host.
#[derive(Debug, Clone)]
pub(crate) struct Provided {
    pub(crate) image: Image,
    pub(crate) env: Arc<Vec<String>>,
}

/// What operations work with.
#[derive(Debug)]
pub(crate) struct Hands<R> {
    pub(crate) runtime: R,
    config: Arc<Config>,
    ledger: Ledger,
    container_instance: watch::Receiver<String>,
    picker: Mutex<PortPicker>,
    replaced: Mutex<BTreeSet<String>>,
}

/// Asks until the engine answers.
pub(super) async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, RuntimeError>
where
    F: Future<Output = Result<T, RuntimeError>>,
{
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    loop {
        match ask().await {
            Err(RuntimeError::Unavailable(_)) => tokio::time::sleep(backoff.pause()).await,
            settled => return settled,
        }
    }
}

impl<R: Runtime> Hands<R> {
    pub(super) fn new(
        runtime: R,
        config: Arc<Config>,
        ledger: Ledger,
        container_instance: watch::Receiver<String>,
    ) -> Self {
        let range = config.dynamic_host_ports.or_else(kernel_port_range).unwrap_or(DYNAMIC_PORTS);
        Hands {
            runtime,
            config,
            ledger,
            container_instance,
            picker: Mutex::new(PortPicker::new(range)),
            replaced: Mutex::new(BTreeSet::new()),
        }
    }

    /// Whether this destroyed container was replaced by the agent itself.
    pub(super) fn was_replaced(&self, id: &str) -> bool {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }

    /// Sees that the image is on the host, in the way that the operator wants.
    pub(super) async fn provide(&self, image: String) -> Answer {
        let local = match patiently(|| self.runtime.image(&image)).await {
            Ok(found) => Some(found),
            Err(RuntimeError::NotFound(_)) => None,
            Err(error) => {
                let outcome = Err(format!("CannotInspectImageError: {error}"));
                return Answer::Provided { image, outcome };
            }
        };
        let outcome = match local {
            Some(found) if !self.must_pull(&image, &found) => Ok(provided(found, None)),
            local => self.fetch(&image, local).await,
        };
        if outcome.is_ok() {
            self.note_use(&image);
        }
        Answer::Provided { image, outcome }
    }

    /// Whether a local copy is not enough. One that no registry knows cannot be pulled, and one named by digest cannot
    /// have changed.
    fn must_pull(&self, image: &str, local: &ImageInfo) -> bool {
        match self.config.pull_behavior {
            PullBehavior::Default => local.digest.is_some() && !image.contains('@'),
            PullBehavior::Always => true,
            PullBehavior::Once => !self.ledger.with(|entries| entries.images.contains_key(image)),
            PullBehavior::PreferCached => false,
        }
    }

    async fn fetch(&self, image: &str, local: Option<ImageInfo>) -> Result<Provided, String> {
        let started_at = now();
        let failure = match self.pull(image).await {
            Ok(()) => {
                let times = Some((started_at, now()));
                self.ledger.update(|entries| entries.note_pull(image, now()));
                let found = patiently(|| self.runtime.image(image)).await;
                return found.map(|found| provided(found, times)).map_err(|error| cannot_pull(&error));
            }
            Err(failure) => failure,
        };
        match local {
            Some(found) if self.config.pull_behavior == PullBehavior::Default => {
                tracing::warn!(image, "cannot be pulled, going on with the local copy: {failure}");
                Ok(provided(found, None))
            }
            Some(_) | None => Err(cannot_pull(&failure)),
        }
    }

    async fn pull(&self, image: &str) -> Result<(), RuntimeError> {
        let mut backoff = Backoff::new(PULL_RETRY_MIN, PULL_RETRY_MAX);
        let mut attempt = 1;
        loop {
            let request = PullRequest {
                reference: image.to_owned(),
                credentials: self.credentials_for(image),
                inactivity: self.config.pull_inactivity_timeout,
            };
            let limit = self.config.pull_timeout;
            let outcome = tokio::time::timeout(limit, self.runtime.pull(request)).await;
            match outcome.unwrap_or(Err(RuntimeError::TimedOut(limit))) {
                Err(RuntimeError::Unavailable(_)) => {}
                Err(error) if attempt < PULL_ATTEMPTS_MAX && may_pass(&error) => attempt += 1,
                settled => return settled,
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    fn credentials_for(&self, image: &str) -> Option<PullCredentials> {
        let (server, known) = self.config.registry_auth.for_image(image)?;
        Some(PullCredentials {
            server: server.to_owned(),
            username: known.username.clone(),
            password: known.password.clone(),
            auth: known.auth.clone(),
            email: known.email.clone(),
        })
    }

    fn note_use(&self, image: &str) {
        if self.ledger.with(|entries| entries.images.contains_key(image)) {
            self.ledger.update(|entries| {
                if let Some(record) = entries.images.get_mut(image) {
                    record.used_at = now();
                }
            });
        }
    }

    /// Makes the container, or finds the one that an earlier call made.
    pub(super) async fn create(&self, task: &Task, key: ContainerKey, image_env: &[String]) -> Answer {
        let outcome = self.make(task, &key, image_env).await;
        Answer::Input(Input::Created { key, outcome })
    }

    async fn make(&self, task: &Task, key: &ContainerKey, image_env: &[String]) -> Result<Snapshot, String> {
        let container = task.container(&key.container).expect("the engine names only the task's own containers");
        self.provide_volumes(task, container).await?;
        let ports = self.choose_ports(container).map_err(|refusal| refusal.to_string())?;
        let owner = self.owner();
        let around = Surroundings {
            owner: &owner,
            region: self.config.region.as_deref(),
            pids_limit: self.config.pids_limit,
            ipv6: self.ipv6(),
            image_env,
            ports: &ports,
            serves_credentials: self.config.task_iam_role,
        };
        let built = body::build(task, container, &around).map_err(|refusal| refusal.to_string())?;
        if !built.not_understood.is_empty() {
            let members = built.not_understood.join(", ");
            tracing::warn!(task = key.task_arn, container = key.container, "dockerConfig has unknown members: {members}");
        }
        let request = CreateRequest {
            name: names::container(&task.spec, &key.container),
            body: built.docker,
            timeout: self.config.create_timeout,
        };
        match patiently(|| self.runtime.create(request.clone())).await {
            Ok(id) => Ok(Snapshot { id, state: RunState::Created, health: None, bindings: Vec::new() }),
            Err(RuntimeError::Conflict(message)) => self.meet(task, key, &request.name, message).await,
            Err(RuntimeError::TimedOut(limit)) => Err(timed_out("created", limit)),
            Err(error) => Err(format!("CannotCreateContainerError: {}", daemon(&error))),
        }
    }

    /// The container that has the name already: ours if its labels say so.
    async fn meet(&self, task: &Task, key: &ContainerKey, name: &str, message: String) -> Result<Snapshot, String> {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        for _ in 0..CONFLICT_LOOKS_MAX {
            match patiently(|| self.runtime.labels(name)).await {
                Ok(found) => {
                    let is_ours = labels::read(&found).is_some_and(|(other, _)| other.spec.arn == key.task_arn);
                    if !is_ours {
                        break;
                    }
                    let found = patiently(|| self.runtime.inspect(name)).await;
                    return found
                        .map(|snapshot| self.settle(task, &key.container, snapshot))
                        .map_err(|error| format!("CannotInspectContainerError: {}", daemon(&error)));
                }
                // The name is reserved by a create call that has not ended.
                Err(RuntimeError::NotFound(_)) => tokio::time::sleep(backoff.pause()).await,
                Err(error) => return Err(format!("CannotInspectContainerError: {}", daemon(&error))),
            }
        }
        Err(format!("CannotCreateContainerError: Error response from daemon: {message}"))
    }

    /// Starts the container and looks at it.
    pub(super) async fn start(&self, task: &Task, key: ContainerKey, id: String, image_env: &[String]) -> Answer {
        let outcome = self.begin(task, &key, id, image_env).await;
        Answer::Input(Input::Started { key, outcome })
    }

    async fn begin(
        &self,
        task: &Task,
        key: &ContainerKey,
        mut id: String,
        image_env: &[String],
    ) -> Result<Snapshot, String> {
        let mut attempt = 1;
        loop {
            match self.start_or_look(&id).await {
                Ok(snapshot) => return Ok(self.settle(task, &key.container, snapshot)),
                Err(RuntimeError::TimedOut(limit)) => return Err(timed_out("started", limit)),
                Err(error) if attempt < BIND_ATTEMPTS_MAX && may_bind_elsewhere(task, key, &error) => {
                    attempt += 1;
                    id = self.replace(task, key, &id, image_env).await?;
                }
                Err(error) => return Err(format!("CannotStartContainerError: {}", daemon(&error))),
            }
        }
    }

    /// Starts and inspects. After an interruption it is looked at first, so that a container which ran meanwhile is
    /// not started twice.
    async fn start_or_look(&self, id: &str) -> Result<Snapshot, RuntimeError> {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let limit = self.config.start_timeout;
        loop {
            let outcome = tokio::time::timeout(limit, self.runtime.start(id)).await;
            match outcome.unwrap_or(Err(RuntimeError::TimedOut(limit))) {
                Ok(()) => return patiently(|| self.runtime.inspect(id)).await,
                Err(RuntimeError::Unavailable(_)) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(backoff.pause()).await;
            let seen = patiently(|| self.runtime.inspect(id)).await?;
            if seen.state != RunState::Created {
                return Ok(seen);
            }
        }
    }

    /// Makes the container anew, with other host ports.
    async fn replace(
        &self,
        task: &Task,
        key: &ContainerKey,
        id: &str,
        image_env: &[String],
    ) -> Result<String, String> {
        {
            let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
            replaced.insert(id.to_owned());
            if replaced.len() > REPLACED_MAX {
                replaced.pop_first();
            }
        }
        patiently(|| self.runtime.remove(id))
            .await
            .map_err(|error| format!("CannotRemoveContainerError: {}", daemon(&error)))?;
        self.make(task, key, image_env).await.map(|snapshot| snapshot.id)
    }

    /// Stops the container and makes sure that it did stop.
    pub(super) async fn stop(&self, task: &Task, key: ContainerKey, id: String, grace: Duration) -> Answer {
        if let Err(error) = patiently(|| self.runtime.stop(&id, grace)).await {
            tracing::warn!(task = key.task_arn, container = key.container, "cannot stop: {error}");
        }
        match patiently(|| self.runtime.inspect(&id)).await {
            Ok(snapshot) if matches!(snapshot.state, RunState::Running { .. }) => {
                Answer::Input(Input::StopFailed { key })
            }
            Ok(snapshot) => {
                let snapshot = self.settle(task, &key.container, snapshot);
                Answer::Input(Input::Observed { key, snapshot })
            }
            Err(RuntimeError::NotFound(_)) => Answer::Input(Input::Gone { key, id }),
            Err(error) => {
                tracing::warn!(task = key.task_arn, container = key.container, "cannot inspect: {error}");
                Answer::Input(Input::StopFailed { key })
            }
        }
    }

    /// Looks at the container, for as long as it takes to see it.
    pub(super) async fn observe(&self, task: &Task, key: ContainerKey, id: String) -> Answer {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            match self.runtime.inspect(&id).await {
                Ok(snapshot) => {
                    let snapshot = self.settle(task, &key.container, snapshot);
                    return Answer::Input(Input::Observed { key, snapshot });
                }
                Err(RuntimeError::NotFound(_)) => return Answer::Input(Input::Gone { key, id }),
                Err(error) => tracing::debug!(id, "cannot inspect: {error}"),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Removes what is left of a task. Containers are named, too: one may have come late from a call that timed out.
    pub(super) async fn remove(&self, task: &Task, ids: Vec<String>) -> Answer {
        let task_arn = task.spec.arn.clone();
        let names = task.spec.containers.iter().map(|container| names::container(&task.spec, &container.name));
        let mut outcome = Removal::Done;
        for id in ids.into_iter().chain(names) {
            if let Err(error) = patiently(|| self.runtime.remove(&id)).await {
                tracing::warn!(task = task_arn, id, "cannot remove a stopped container: {error}");
                outcome = Removal::Failed;
            }
        }
        if outcome == Removal::Done {
            for volume in volumes::task_scoped(&task.acs) {
                if let Err(error) = patiently(|| self.runtime.remove_volume(&volume)).await {
                    tracing::warn!(task = task_arn, volume, "cannot remove a volume, left behind: {error}");
                }
            }
        }
        Answer::Removed { task_arn, outcome }
    }

    /// A snapshot as it is told: port ranges folded, IPv6 as configured.
    pub(super) fn settle(&self, task: &Task, container: &str, mut snapshot: Snapshot) -> Snapshot {
        let ranges = task.container(container).map(ports::ranges).unwrap_or_default();
        snapshot.bindings = ports::fold(std::mem::take(&mut snapshot.bindings), &ranges, self.ipv6());
        if self.config.health_disabled {
            snapshot.health = None;
        }
        snapshot
    }

    async fn provide_volumes(&self, task: &Task, container: &ecsr_api::acs::Container) -> Result<(), String> {
        let failed = |what: String| format!("VolumeError: Agent could not create task's volume resources: {what}");
        for needed in volumes::needed(&task.acs, container).map_err(|refusal| refusal.to_string())? {
            match needed {
                volumes::Needed::Make(request) => patiently(|| self.runtime.create_volume(request.clone()))
                    .await
                    .map_err(|error| failed(daemon(&error)))?,
                volumes::Needed::Exist(name) => {
                    let found = patiently(|| self.runtime.has_volume(&name)).await;
                    if !found.map_err(|error| failed(daemon(&error)))? {
                        return Err(failed(format!("the shared volume {name} does not exist")));
                    }
                }
            }
        }
        Ok(())
    }

    fn choose_ports(
        &self,
        container: &ecsr_api::acs::Container,
    ) -> Result<Vec<PortChoice>, crate::task::Refusal> {
        let mut picker = self.picker.lock().unwrap_or_else(PoisonError::into_inner);
        let dynamic = match self.config.dynamic_host_ports {
            Some(_) => Dynamic::Agent { range: &mut picker },
            None => Dynamic::Docker { ranges: &mut picker },
        };
        ports::choose(container, dynamic, is_port_free)
    }

    fn owner(&self) -> Owner {
        Owner {
            cluster: self.config.cluster_name().to_owned(),
            container_instance: self.container_instance.borrow().clone(),
            scope: labels::scope(&self.config),
        }
    }

    fn ipv6(&self) -> Ipv6 {
        if self.config.exclude_ipv6_bindings { Ipv6::Excluded } else { Ipv6::Included }
    }
}

/// Whether another host port may do: one was taken, and none was asked for by number.
fn may_bind_elsewhere(task: &Task, key: &ContainerKey, error: &RuntimeError) -> bool {
    let text = error.to_string();
    let is_taken = ["port is already allocated", "address already in use"].iter().any(|words| text.contains(words));
    let mappings = task.container(&key.container).and_then(|container| container.port_mappings.as_ref());
    let is_any_dynamic =
        mappings.is_some_and(|mappings| mappings.iter().any(|mapping| mapping.host_port.unwrap_or(0) == 0));
    is_taken && is_any_dynamic
}

fn provided(found: ImageInfo, times: Option<(ecsr_api::Timestamp, ecsr_api::Timestamp)>) -> Provided {
    Provided {
        image: Image {
            digest: found.digest,
            pull_started_at: times.map(|(started, _)| started),
            pull_stopped_at: times.map(|(_, stopped)| stopped),
        },
        env: Arc::new(found.env),
    }
}

/// Whether a registry's failure may pass. What it said clearly (no such image, no access) will not.
fn may_pass(error: &RuntimeError) -> bool {
    let RuntimeError::Refused { status, message } = error else {
        return matches!(error, RuntimeError::TimedOut(_));
    };
    let lasting = ["not found", "manifest unknown", "denied", "unauthorized", "authentication required", "invalid", "no such host"];
    *status >= 500 && !lasting.iter().any(|words| message.to_lowercase().contains(words))
}

fn cannot_pull(error: &RuntimeError) -> String {
    format!("CannotPullContainerError: {}", daemon(error))
}

fn timed_out(state: &str, limit: Duration) -> String {
    format!("DockerTimeoutError: Could not transition to {state}; timed out after waiting {}s", limit.as_secs())
}

/// The engine's words, in the form in which Docker's own client gives them.
fn daemon(error: &RuntimeError) -> String {
    match error {
        RuntimeError::NotFound(message) | RuntimeError::Conflict(message) => {
            format!("Error response from daemon: {message}")
        }
        RuntimeError::Unavailable(_) | RuntimeError::TimedOut(_) | RuntimeError::Refused { .. } => error.to_string(),
    }
}

fn kernel_port_range() -> Option<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = text.split_whitespace().map(str::parse);
    Some((bounds.next()?.ok()?, bounds.next()?.ok()?))
}

fn is_port_free(port: u16, protocol: &str) -> bool {
    if protocol == "udp" {
        std::net::UdpSocket::bind(("0.0.0.0", port)).is_ok()
    } else {
        std::net::TcpListener::bind(("0.0.0.0", port)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_that_may_pass_are_tried_again() {
        let refused = |message: &str| RuntimeError::Refused { status: 500, message: message.to_owned() };
        let cases = [
            (refused("Get https://r/v2/: net/http: TLS handshake timeout"), true),
            (refused("Get https://r/v2/: dial tcp: connection refused"), true),
            (refused("manifest for r/x:1 not found: manifest unknown"), false),
            (refused("pull access denied for x, repository does not exist"), false),
            (refused("dial tcp: lookup registry-1.docker.io: no such host"), false),
            (RuntimeError::NotFound("no such image".to_owned()), false),
            (RuntimeError::TimedOut(Duration::from_secs(60)), true),
        ];
        for (error, expected) in cases {
            assert_eq!(may_pass(&error), expected, "{error}");
        }
    }
}
