//! The way to the one writer of the state, and the state as everybody else sees it.
//!
//! [`Desk`] is the writer's work by itself, without threads, clock or disk; the writer is the thin shell around it.
//!
//! Commands go through a bounded queue to the writer, which decides many of them into one durable append and answers
//! only after that. What is durable is published as one immutable value: reads and agent sessions look at it without
//! ever waiting for the writer or the disk.

mod bulletin;
mod courier;
mod desk;
mod news;
mod recovery;
mod snapshot;
mod writer;

use std::io;
use std::sync::Arc;

use ecsr_core::command::{Command, Reply};
use ecsr_core::ids::InstanceKey;
use ecsr_core::{Refusal, State};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::journal::{self, Journal};

pub(crate) use self::bulletin::{Bulletin, Subscription};
use self::courier::Courier;
pub use self::desk::{Append, Desk, Position, Sealed, Settled};
pub use self::news::{News, Stirred};
pub use self::recovery::{Error as RecoveryError, Events, Recovered, recover};
pub(crate) use self::recovery::{check_founding, survey};
pub(crate) use self::writer::Stopped;
use self::writer::Writer;

/// Commands that wait for the writer. Beyond it callers wait for room: the number of their connections is bounded, so
/// nothing piles up, and a burst of one request per connection fits.
const QUEUE_COMMANDS_MAX: usize = 1024;

/// Events after which a snapshot is taken at the earliest: a start replays as many in well under a second.
pub(crate) const EVENTS_PER_SNAPSHOT_MIN: u64 = 10_000;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The core said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The journal could not be written. Nothing changed, as far as anybody was told.
    #[error("the journal could not be written")]
    NotDurable,
    /// The scheduler is stopping.
    #[error("the scheduler is stopping")]
    Stopping,
}

/// What a command did, and the durable state that holds it.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub state: Arc<State>,
    pub reply: Reply,
}

type Answer = Result<Done, Failure>;

/// One command on its way to the writer.
#[derive(Debug)]
struct Request {
    command: Command,
    /// Dropped by callers that do not care.
    answer: oneshot::Sender<Answer>,
}

/// Where commands are sent and the published state is seen. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Driver {
    queue: mpsc::Sender<Request>,
    published: watch::Receiver<Arc<State>>,
    reached: watch::Receiver<u64>,
    bulletin: Bulletin,
}

/// What the writer needs from its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub clock: Clock,
    pub entropy: Entropy,
    /// ARN that the API shows as the creator of things.
    pub caller: String,
    /// [`EVENTS_PER_SNAPSHOT_MIN`], or fewer in tests.
    pub events_per_snapshot_min: u64,
}

impl Driver {
    /// Starts the writer on what was recovered, and returns when the state is that of a scheduler which has just
    /// started: before that nobody is to read it. The receiver resolves when the writer ends: after `stop` turned true
    /// and the commands that were already queued are answered, or with an error if it failed.
    pub(crate) async fn start(
        recovered: Recovered,
        journal: Box<dyn Journal>,
        surroundings: Surroundings,
        stop: watch::Receiver<bool>,
    ) -> io::Result<(Self, oneshot::Receiver<Stopped>)> {
        let (queue, requests) = mpsc::channel(QUEUE_COMMANDS_MAX);
        let (publisher, published) = watch::channel(recovered.state.clone());
        let (reached, reaching) = watch::channel(recovered.next_index);
        let bulletin = Bulletin::default();
        let courier = Courier::start(&Handle::current(), bulletin.clone());
        let mut writer = Writer::new(recovered, journal, surroundings, publisher, reached, courier);
        let (opened, is_open) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name("writer".into()).spawn(move || {
            let stopped = runtime.block_on(async {
                writer.open_day().await;
                // Whoever started the writer may have given up; then it is about to be told to stop.
                let _ = opened.send(());
                writer.run(requests, stop).await
            });
            drop(runtime);
            let _ = ended.send(stopped);
        })?;
        // If the writer failed already, its end says so.
        let _ = is_open.await;
        Ok((Self { queue, published, reached: reaching, bulletin }, end))
    }

    /// Has a command decided and made durable.
    pub(crate) async fn execute(&self, command: Command) -> Answer {
        let answer = self.submit(command).await?;
        answer.await.unwrap_or(Err(Failure::Stopping))
    }

    /// Queues a command; the answer may be waited for or dropped.
    pub(crate) async fn submit(&self, command: Command) -> Result<oneshot::Receiver<Answer>, Failure> {
        let (answer, receiver) = oneshot::channel();
        let sent = self.queue.send(Request { command, answer }).await;
        sent.map(|()| receiver).map_err(|_| Failure::Stopping)
    }

    /// The newest durable state.
    pub(crate) fn state(&self) -> Arc<State> {
        self.published.borrow().clone()
    }

    /// The newest durable states, one after the other; those in between may be missed.
    pub(crate) fn publications(&self) -> watch::Receiver<Arc<State>> {
        self.published.clone()
    }

    /// Resolves when the published state holds every record before that index, or never will.
    pub(crate) async fn published_through(&self, next_index: u64) {
        let mut reached = self.reached.clone();
        // An error is a writer that has ended, after which nothing is published.
        let _ = reached.wait_for(|reached| *reached >= next_index).await;
    }

    /// The news of an instance from here on.
    pub(crate) fn subscribe(&self, instance: &InstanceKey) -> Subscription {
        self.bulletin.subscribe(instance)
    }
}

/// A journal error with all its causes in one line, for the log.
pub(crate) fn explain(error: &journal::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod damaged_journals;
#[cfg(test)]
mod old_journals;
#[cfg(test)]
mod tests;
