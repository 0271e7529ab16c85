//! The one thread that owns the desk: takes commands, has batches appended, publishes, answers.
//!
//! A batch is every command that is queued when the writer turns to it. All of its events go to the journal in one
//! durable append, so fourteen calls that arrive together cost one sync of the disk. What is decided and when it may be
//! seen is the [`Desk`]'s business; here are the queue, the clock, the disk and the callers.
//!
//! Deciding is work for a processor, so it has a thread of its own and holds up none of those that answer reads. The
//! append runs on another, with the next batch being decided meanwhile: batches grow with the load by themselves.

use std::sync::Arc;
use std::time::Duration;

use ecsr_api::Timestamp;
use ecsr_core::State;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::courier::{Caller, Courier};
use super::desk::{Append, Desk, Position, Sealed, Settled};
use super::snapshot::{Piece, Snapshots};
use super::{Failure, Recovered, Request, Surroundings, explain};
use crate::journal::{self, Journal};
use crate::stop;

/// Most commands decided into one append: a queue full of them.
const BATCH_COMMANDS_MAX: usize = super::QUEUE_COMMANDS_MAX;

/// How long after a failed append what is due by time is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Longest sleep between looks at the clock, so that a clock set forward is noticed within it.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// Shortest time between two rounds of what is due by time alone.
const TICK_INTERVAL_MIN: Duration = Duration::from_millis(20);

/// The writer has ended; the journal is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Stopped;

/// The desk and its surroundings.
#[derive(Debug)]
pub(super) struct Writer {
    desk: Desk<Caller>,
    /// Commands in the batch that is being formed.
    decided: usize,
    /// `None` only while a blocking thread has it.
    journal: Option<Box<dyn Journal>>,
    /// The append under way, which brings the journal back.
    appending: Option<Appending>,
    snapshots: Snapshots,
    /// When to look at the clock again at the latest.
    wake: tokio::time::Instant,
    surroundings: Surroundings,
    publisher: watch::Sender<Arc<State>>,
    /// The index of the first record that the published state does not hold.
    reached: watch::Sender<u64>,
    courier: Courier,
}

/// An append on a blocking thread: the journal and how many events were written.
type Appending = JoinHandle<(Box<dyn Journal>, Result<u64, journal::Error>)>;

impl Writer {
    pub(super) fn new(
        recovered: Recovered,
        journal: Box<dyn Journal>,
        surroundings: Surroundings,
        publisher: watch::Sender<Arc<State>>,
        reached: watch::Sender<u64>,
        courier: Courier,
    ) -> Self {
        let position = Position { epoch: recovered.epoch, next_index: recovered.next_index };
        Self {
            desk: Desk::new(recovered.state, position, surroundings.caller.clone()),
            decided: 0,
            journal: Some(journal),
            appending: None,
            snapshots: Snapshots::new(
                recovered.founding,
                recovered.events,
                surroundings.events_per_snapshot_min,
            ),
            wake: tokio::time::Instant::now(),
            surroundings,
            publisher,
            reached,
            courier,
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
                appended = finished(&mut self.appending) => self.settle(appended).await,
                first = requests.recv(), if self.has_room() => match first {
                    Some(first) => self.decide(first, &mut requests).await,
                    None if self.appending.is_none() => return Stopped,
                    None => {
                        let appended = finished(&mut self.appending).await;
                        self.settle(appended).await;
                    }
                },
                () = tokio::time::sleep_until(self.wake), if !stopping && self.appending.is_none() => {
                    self.commit().await;
                }
                piece = self.snapshots.piece(), if self.appending.is_none() => self.keep(piece).await,
            }
        }
    }

    /// Begins as after every start. Lost if the disk fails right now; then the agents' sessions correct the state.
    pub(super) async fn open_day(&mut self) {
        let (now, seed) = (self.surroundings.clock.now(), self.surroundings.entropy.seed());
        self.desk.open_day(now, seed);
        self.seal().await;
        if self.appending.is_some() {
            let appended = finished(&mut self.appending).await;
            self.settle(appended).await;
        }
    }

    fn has_room(&self) -> bool {
        self.decided < BATCH_COMMANDS_MAX && !self.desk.is_full()
    }

    /// Decides what is queued, and lets it go to the journal unless the batch before it is still on the way there.
    async fn decide(&mut self, first: Request, requests: &mut mpsc::Receiver<Request>) {
        let now = self.surroundings.clock.now();
        let mut next = Some(first);
        while let Some(Request { command, answer }) = next.take() {
            self.desk.decide(&command, answer, now, self.surroundings.entropy.seed());
            self.decided += 1;
            if self.has_room() {
                next = requests.try_recv().ok();
            }
        }
        if self.appending.is_none() {
            self.commit().await;
        }
    }

    /// Closes batches until one is on its way to the journal or there is nothing left to do.
    async fn commit(&mut self) {
        while self.appending.is_none() {
            let now = self.surroundings.clock.now();
            self.tick(now);
            if !self.desk.has_work() {
                self.keep_snapshots().await;
                break;
            }
            self.desk.reconcile(now, self.surroundings.entropy.seed());
            self.seal().await;
        }
    }

    /// Does what is due by time alone, if anything is. Under load it is part of a batch like any other work.
    fn tick(&mut self, now: Timestamp) {
        if tokio::time::Instant::now() < self.wake {
            return;
        }
        self.wake = tokio::time::Instant::now() + SLEEP_MAX;
        if let Err(refusal) = self.desk.tick(now, self.surroundings.entropy.seed()) {
            tracing::error!(%refusal, "the passing of time was refused");
        }
    }

    async fn seal(&mut self) {
        self.decided = 0;
        match self.desk.seal() {
            Sealed::Settled(settled) => self.publish(settled).await,
            Sealed::Append(append) => self.append(append),
        }
    }

    fn append(&mut self, append: Append) {
        let mut journal = self.journal.take().expect("the journal is back before the next append");
        self.appending = Some(tokio::task::spawn_blocking(move || {
            let records = append.records();
            let appended = journal.append(append.epoch, append.first_index, &records);
            (journal, appended.map(|()| append.events()))
        }));
    }

    /// Goes on after an append: the batch is published, or dropped with all that rests on it.
    async fn settle(&mut self, (journal, appended): (Box<dyn Journal>, Result<u64, journal::Error>)) {
        self.journal = Some(journal);
        match appended {
            Ok(events) => {
                self.snapshots.count(events);
                let settled = self.desk.durable();
                self.publish(settled).await;
                self.keep_snapshots().await;
                self.commit().await;
            }
            Err(error) => {
                self.decided = 0;
                let callers = self.desk.failed();
                tracing::warn!(error = explain(&error), commands = callers.len(), "a batch is not durable");
                for caller in callers {
                    // The caller may have gone.
                    let _ = caller.send(Err(Failure::NotDurable));
                }
                self.wake = tokio::time::Instant::now() + RETRY_AFTER;
            }
        }
    }

    /// Shows what is durable: first the state, then who should look at it, and the answers.
    async fn publish(&mut self, settled: Settled<Caller>) {
        self.plan_wake();
        self.publisher.send_replace(settled.state.clone());
        self.reached.send_replace(self.desk.position().next_index);
        self.courier.send(settled).await;
    }

    /// Lends the journal to a blocking thread.
    async fn with_journal<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Journal) -> T + Send + 'static,
    ) -> T {
        let mut journal = self.journal.take().expect("the journal is back before the next append");
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

    /// Begins a snapshot when the journal has grown long, and goes on with one by a single piece: so it gets on however
    /// many batches there are, and no batch waits for more of it.
    async fn keep_snapshots(&mut self) {
        let now = self.surroundings.clock.now();
        self.snapshots.begin_if_due(self.desk.position(), self.desk.state(), now);
        if let Some(piece) = self.snapshots.piece_now() {
            self.keep(piece).await;
        }
    }

    async fn keep(&mut self, piece: Piece) {
        let epoch = self.desk.position().epoch;
        match self.with_journal(move |journal| piece.keep(epoch, journal)).await {
            Ok(Piece::Chunk { .. }) => {}
            Ok(Piece::End { through, chunks, events }) => {
                tracing::info!(through, chunks, events, "the journal was cut to a snapshot");
                self.snapshots.ended(events);
            }
            Err(error) => {
                tracing::warn!(error = explain(&error), "a snapshot could not be written");
                self.snapshots.give_up();
            }
        }
    }
}

/// What became of the append under way. Never resolves while there is none.
async fn finished(appending: &mut Option<Appending>) -> (Box<dyn Journal>, Result<u64, journal::Error>) {
    match appending {
        None => std::future::pending().await,
        Some(under_way) => {
            let finished = under_way.await.expect("the journal does not panic");
            *appending = None;
            finished
        }
    }
}
