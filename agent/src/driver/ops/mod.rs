//! The operations on the runtime, each ending in exactly one answer to the engine.
//!
//! An engine that does not answer is waited for, never taken for a failure of the task. The path of a start is
//! create, start and one inspection, and nothing else.

mod image;
mod make;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::engine::{ContainerKey, Image, Input, Removal, RunState, Snapshot};
use crate::ledger::Ledger;
use crate::runtime::{Runtime, RuntimeError};
use crate::task::ports::{self, Ipv6, PortPicker};
use crate::task::{Task, names, volumes};

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
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
        let names =
            task.spec.containers.iter().map(|container| names::container(&task.spec, &container.name));
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

    fn ipv6(&self) -> Ipv6 {
        if self.config.exclude_ipv6_bindings { Ipv6::Excluded } else { Ipv6::Included }
    }
}

/// The engine's words, in the form in which Docker's own client gives them.
fn daemon(error: &RuntimeError) -> String {
    match error {
        RuntimeError::NotFound(message) | RuntimeError::Conflict(message) => {
            format!("Error response from daemon: {message}")
        }
        RuntimeError::Unavailable(_) | RuntimeError::TimedOut(_) | RuntimeError::Refused { .. } => {
            error.to_string()
        }
    }
}

fn kernel_port_range() -> Option<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = text.split_whitespace().map(str::parse);
    Some((bounds.next()?.ok()?, bounds.next()?.ok()?))
}
