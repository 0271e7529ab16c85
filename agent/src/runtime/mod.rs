//! The container runtime as a seam: what the agent asks of an engine, and nothing that one engine alone has.
//!
//! [`docker`] is the real one, [`fake`] an in-memory one that fails on command. An operation on what does not
//! exist answers [`RuntimeError::NotFound`]; an engine that does not answer is [`RuntimeError::Unavailable`], which
//! never ends a task: the driver waits for the engine and asks again.

pub mod docker;
pub mod fake;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use ecsr_api::Timestamp;
use futures_util::stream::BoxStream;

use crate::engine::{Health, Snapshot};

/// A container engine.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Whether the engine answers, and what it is.
    fn ping(&self) -> impl Future<Output = Result<EngineInfo, RuntimeError>> + Send;

    /// All containers that carry the label, running or not.
    fn list(&self, label: &str) -> impl Future<Output = Result<Vec<Listed>, RuntimeError>> + Send;

    /// What a container does, by id or name.
    fn inspect(&self, id: &str) -> impl Future<Output = Result<Snapshot, RuntimeError>> + Send;

    /// The labels of a container, by id or name.
    fn labels(&self, id: &str)
    -> impl Future<Output = Result<BTreeMap<String, String>, RuntimeError>> + Send;

    /// Makes a container and answers its id; [`RuntimeError::Conflict`] if the name is taken.
    fn create(&self, request: CreateRequest) -> impl Future<Output = Result<String, RuntimeError>> + Send;

    /// Starts a container. Starting one that runs is no error.
    fn start(&self, id: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Sends the stop signal, and SIGKILL after `grace`; answers once it is over. Stopping a container that does not
    /// run is no error.
    fn stop(&self, id: &str, grace: Duration) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Removes a stopped container and its anonymous volumes.
    fn remove(&self, id: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// An image on this host.
    fn image(&self, reference: &str) -> impl Future<Output = Result<ImageInfo, RuntimeError>> + Send;

    /// Fetches an image from its registry; an attempt without progress for `inactivity` is given up.
    fn pull(&self, request: PullRequest) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Removes an image that no container uses.
    fn remove_image(&self, reference: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Makes a volume; one that exists with the same driver is no error.
    fn create_volume(&self, request: VolumeRequest) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Whether a volume exists.
    fn has_volume(&self, name: &str) -> impl Future<Output = Result<bool, RuntimeError>> + Send;

    /// Removes a volume that no container uses.
    fn remove_volume(&self, name: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// What happens to containers that carry the label, from now on. Answers once the engine has accepted the
    /// subscription or refused it. The stream ends or fails when the engine goes away: the caller lists anew.
    fn events(&self, label: &str) -> BoxStream<'static, Result<Event, RuntimeError>>;

    /// One sample of what a container uses.
    fn stats(&self, id: &str) -> impl Future<Output = Result<Usage, RuntimeError>> + Send;
}

/// What the engine is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its version, such as `20.10.24`.
    pub version: String,
    /// The newest API version that it speaks, such as `1.41`.
    pub api_version: String,
    /// Its volume plugins, the built-in `local` among them.
    pub volume_drivers: Vec<String>,
    /// Its log drivers.
    pub log_drivers: Vec<String>,
}

/// A container of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made, in whole seconds.
    pub created_at: Timestamp,
}

/// A container to make.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateRequest {
    /// Its name on this host.
    pub name: String,
    /// The body of Docker's create call.
    pub body: Box<ContainerCreateBody>,
    /// When to give up.
    pub timeout: Duration,
}

/// An image to fetch.
#[derive(Clone, Default)]
pub struct PullRequest {
    /// The image reference, with a tag or a digest.
    pub reference: String,
    /// The registry that `credentials` belong to.
    pub credentials: Option<PullCredentials>,
    /// When to give up an attempt that makes no progress.
    pub inactivity: Duration,
}

impl std::fmt::Debug for PullRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullRequest").field("reference", &self.reference).finish_non_exhaustive()
    }
}

/// Who asks a registry.
#[derive(Clone, Default)]
pub struct PullCredentials {
    /// The registry.
    pub server: String,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Both in one, as `.dockercfg` has them.
    pub auth: Option<String>,
    /// E-mail address, which old registries ask for.
    pub email: Option<String>,
}

impl std::fmt::Debug for PullCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullCredentials").field("server", &self.server).finish_non_exhaustive()
    }
}

/// An image on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its id.
    pub id: String,
    /// The digest under which a registry knows it; `None` for an image that was made here.
    pub digest: Option<String>,
    /// The environment that it sets, as `KEY=VALUE`.
    pub env: Vec<String>,
}

/// A volume to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeRequest {
    /// Its name.
    pub name: String,
    /// Its driver; empty for `local`.
    pub driver: String,
    /// Options for the driver.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The container.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was started.
    Started,
    /// Its process ended, as the event tells if it does.
    Died(Option<Death>),
    /// The kernel killed something in it for its memory limit.
    OutOfMemory,
    /// It does not exist any more.
    Destroyed,
    /// Its health check gave a verdict.
    Health(Health),
}

/// How a process ended, as an event tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// The exit code, 128 + signal when a signal ended it.
    pub exit_code: i64,
    /// When.
    pub at: Timestamp,
}

/// One sample of what a container uses; the counters grow from its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// When it was taken.
    pub at: Timestamp,
    /// CPU time of all cores, in nanoseconds.
    pub cpu_nanos: u64,
    /// Cores that it may run on.
    pub cores: u32,
    /// Memory in bytes, page cache left out.
    pub memory_bytes: u64,
    /// Network counters of all interfaces; `None` with the host's network or none.
    pub network: Option<NetworkUsage>,
    /// Bytes read from block devices.
    pub read_bytes: u64,
    /// Bytes written to block devices.
    pub write_bytes: u64,
}

/// Network counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkUsage {
    /// Received bytes, packets, errors, dropped.
    pub rx: [u64; 4],
    /// Sent bytes, packets, errors, dropped.
    pub tx: [u64; 4],
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The engine does not answer; nothing is known of the operation's effect.
    #[error("the container engine does not answer: {0}")]
    Unavailable(String),
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken, or the object is in use.
    #[error("{0}")]
    Conflict(String),
    /// The engine did not end the operation in time; it may still do.
    #[error("timed out after waiting {}s", .0.as_secs())]
    TimedOut(Duration),
    /// The engine refused or failed for a reason of its own, in its words.
    #[error("Error response from daemon: {message}")]
    Refused {
        /// Its HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
}
