//! The one task that owns the desk: takes commands, has batches appended, publishes, answers.
//!
//! A batch is every command that is queued when the writer turns to it. All of its events go to the journal in one
//! durable append, so fourteen calls that arrive together cost one sync of the disk. What is decided and when it may be
//! seen is the [`Desk`]'s business; here are the queue, the clock, the disk and the callers.
//!
//! The append runs on a blocking thread and the writer waits for it: commands that arrive meanwhile form the next batch.

use std::sync::Arc;
use std::time::Duration;

use ecsr_core::State;
use ecsr_core::state::Snapshot;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::desk::{Append, Desk, Position, Sealed, Settled};
use super::{Answer, Done, Failure, Recovered, Request, Surroundings, explain};
use crate::journal::record::{self, Founding};
use crate::journal::{self, Journal};
use crate::stop;

/// Most commands decided into one append: enough to share the sync among a burst, few enough that the first of them
/// does not wait long for the last.
const BATCH_COMMANDS_MAX: usize = 256;

/// How long after a failed append what is due by time is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Longest sleep between looks at the clock, so that a clock set forward is noticed within it.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// Shortest time between two rounds of what is due by time alone.
const TICK_INTERVAL_MIN: Duration = Duration::from_millis(20);

/// The writer has ended; the journal is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Stopped;

/// By what a caller is told; dropped by callers that do not care.
type Caller = oneshot::Sender<Answer>;

/// The desk and its surroundings.
#[derive(Debug)]
pub(super) struct Writer {
    desk: Desk<Caller>,
    /// `None` only while a blocking thread has it.
    journal: Option<Box<dyn Journal>>,
    founding: Founding,
    /// Records that the newest snapshot does not stand for.
    records_unsnapped: u64,
    /// A snapshot being written down on another thread: the last record it stands for, and its bytes.
    snapping: Option<JoinHandle<(u64, Vec<u8>)>>,
    /// When to look at the clock again at the latest.
    wake: tokio::time::Instant,
    surroundings: Surroundings,
    publisher: watch::Sender<Arc<State>>,
}

impl Writer {
    pub(super) fn new(
        recovered: Recovered,
        journal: Box<dyn Journal>,
        surroundings: Surroundings,
        publisher: watch::Sender<Arc<State>>,
    ) -> Self {
        let position = Position { epoch: recovered.epoch, next_index: recovered.next_index };
        Self {
            desk: Desk::new(recovered.state, position, surroundings.caller.clone()),
            journal: Some(journal),
            founding: recovered.founding,
            records_unsnapped: recovered.records,
            snapping: None,
            wake: tokio::time::Instant::now(),
            surroundings,
            publisher,
        }
    }

    /// Serves commands until told to stop, then answers those that are already queued.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut stop: watch::Receiver<bool>,
    ) -> Stopped {
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                () = stop::told(&mut stop), if !stopping => {
                    stopping = true;
                    requests.close();
                }
                first = requests.recv() => match first {
                    Some(first) => self.serve(first, &mut requests).await,
                    None => return Stopped,
                },
                () = tokio::time::sleep_until(self.wake), if !stopping => self.tick().await,
            }
        }
    }

    /// Begins as after every start. Lost if the disk fails right now; then the agents' sessions correct the state.
    pub(super) async fn open_day(&mut self) {
        let (now, seed) = (self.surroundings.clock.now(), self.surroundings.entropy.seed());
        self.desk.open_day(now, seed);
        self.commit().await;
    }

    async fn serve(&mut self, first: Request, requests: &mut mpsc::Receiver<Request>) {
        let now = self.surroundings.clock.now();
        let mut decided = 0;
        let mut next = Some(first);
        while let Some(Request { command, answer }) = next.take() {
            self.desk.decide(&command, answer, now, self.surroundings.entropy.seed());
            decided += 1;
            if decided < BATCH_COMMANDS_MAX {
                next = requests.try_recv().ok();
            }
        }
        self.desk.reconcile(now, self.surroundings.entropy.seed());
        self.finish().await;
    }

    /// Does what is due by time alone.
    async fn tick(&mut self) {
        let now = self.surroundings.clock.now();
        if let Err(refusal) = self.desk.tick(now, self.surroundings.entropy.seed()) {
            tracing::error!(%refusal, "the passing of time was refused");
        }
        self.desk.reconcile(now, self.surroundings.entropy.seed());
        self.finish().await;
    }

    async fn finish(&mut self) {
        if self.commit().await {
            self.plan_wake();
        } else {
            self.wake = tokio::time::Instant::now() + RETRY_AFTER;
        }
        self.keep_snapshots().await;
    }

    /// Makes the batch durable, publishes it and tells the callers. False if the journal would not take it.
    async fn commit(&mut self) -> bool {
        let append = match self.desk.seal() {
            Sealed::Settled(settled) => {
                tell(settled);
                return true;
            }
            Sealed::Append(append) => append,
        };
        match self.append(append).await {
            Ok(()) => {
                let settled = self.desk.durable();
                self.publisher.send_replace(settled.state.clone());
                tell(settled);
                true
            }
            Err(error) => {
                let callers = self.desk.failed();
                tracing::warn!(error = explain(&error), commands = callers.len(), "a batch is not durable");
                for caller in callers {
                    // The caller may have gone.
                    let _ = caller.send(Err(Failure::NotDurable));
                }
                false
            }
        }
    }

    async fn append(&mut self, append: Append) -> Result<(), journal::Error> {
        let count = self
            .with_journal(move |journal| {
                let records = append.records();
                journal.append(append.epoch, append.first_index, &records).map(|()| records.len())
            })
            .await?;
        self.records_unsnapped += u64::try_from(count).expect("a list is shorter than 2^64");
        Ok(())
    }

    /// Lends the journal to a blocking thread.
    async fn with_journal<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Journal) -> T + Send + 'static,
    ) -> T {
        let mut journal = self.journal.take().expect("the journal is back before the next batch");
        let lent = tokio::task::spawn_blocking(move || {
            let result = work(&mut *journal);
            (journal, result)
        });
        let (journal, result) = lent.await.expect("the journal does not panic");
        self.journal = Some(journal);
        result
    }

    fn plan_wake(&mut self) {
        let now = self.surroundings.clock.now();
        let sleep =
            self.desk.next_wake().map_or(SLEEP_MAX, |due| due.since(now).clamp(TICK_INTERVAL_MIN, SLEEP_MAX));
        self.wake = tokio::time::Instant::now() + sleep;
    }

    /// Takes a snapshot when the journal has grown long, without holding up the batches that come in meanwhile.
    async fn keep_snapshots(&mut self) {
        if let Some(snapping) = self.snapping.take_if(|snapping| snapping.is_finished()) {
            let (through, bytes) = snapping.await.expect("writing a snapshot down does not panic");
            self.write_snapshot(through, bytes).await;
        } else if self.snapping.is_none() && self.records_unsnapped >= self.surroundings.records_per_snapshot
        {
            let through = self.desk.position().next_index - 1;
            let (state, founding) = (self.desk.state().clone(), self.founding.clone());
            let at = self.surroundings.clock.now();
            self.snapping = Some(tokio::task::spawn_blocking(move || {
                (through, record::picture(founding, at, Snapshot::of(&state)))
            }));
        }
    }

    async fn write_snapshot(&mut self, through: u64, bytes: Vec<u8>) {
        let (epoch, size) = (self.desk.position().epoch, bytes.len());
        match self.with_journal(move |journal| journal.snapshot(epoch, through, &bytes)).await {
            Ok(()) => {
                self.records_unsnapped = self.desk.position().next_index - 1 - through;
                tracing::info!(through, bytes = size, "the journal was cut to a snapshot");
            }
            Err(error) => tracing::warn!(error = explain(&error), "a snapshot could not be written"),
        }
    }
}

fn tell(Settled { state, answers, stirred: _ }: Settled<Caller>) {
    for (caller, outcome) in answers {
        let answer = outcome.map(|reply| Done { state: state.clone(), reply }).map_err(Failure::Refused);
        // The caller may have gone.
        let _ = caller.send(answer);
    }
}
