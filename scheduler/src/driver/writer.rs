//! The one task that owns the working state: decide, append, publish, answer.
//!
//! A batch is every command that is queued when the writer turns to it. All of its events go to the journal in one
//! durable append, so fourteen calls that arrive together cost one sync of the disk. Until the append is through, only
//! the working copy holds them; if it fails, the copy is dropped for the published state and every caller of the batch
//! is told that nothing is certain. So what anybody sees, by answer or by read, is always durable.
//!
//! The append runs on a blocking thread and the writer waits for it: commands that arrive meanwhile form the next batch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ecsr_api::Timestamp;
use ecsr_core::command::{self, Command, Reply};
use ecsr_core::reconcile::{self, Touched};
use ecsr_core::state::{Event, Snapshot};
use ecsr_core::{Context, Refusal, State};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Done, Failure, Recovered, Request, Surroundings, explain};
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

/// The owner of the working state.
#[derive(Debug)]
pub(super) struct Writer {
    working: State,
    /// `None` only while a blocking thread has it.
    journal: Option<Box<dyn Journal>>,
    founding: Founding,
    epoch: u64,
    next_index: u64,
    /// Records that the newest snapshot does not stand for.
    records_unsnapped: u64,
    /// A snapshot being written down on another thread: the last record it stands for, and its bytes.
    snapping: Option<JoinHandle<(u64, Vec<u8>)>>,
    /// Up to when everything that is due by time has been done.
    ticked: Timestamp,
    /// When to look at the clock again at the latest.
    wake: tokio::time::Instant,
    surroundings: Surroundings,
    publisher: watch::Sender<Arc<State>>,
}

/// A batch under way.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<Event>,
    touched: BTreeSet<Touched>,
    verdicts: Vec<Verdict>,
}

/// What was decided about one command, to be told once it is durable.
#[derive(Debug)]
struct Verdict {
    request: Request,
    outcome: Result<Reply, Refusal>,
}

impl Writer {
    pub(super) fn new(
        recovered: Recovered,
        journal: Box<dyn Journal>,
        surroundings: Surroundings,
        publisher: watch::Sender<Arc<State>>,
    ) -> Self {
        Self {
            working: State::clone(&recovered.state),
            journal: Some(journal),
            founding: recovered.founding,
            epoch: recovered.epoch,
            next_index: recovered.next_index,
            records_unsnapped: recovered.records,
            snapping: None,
            ticked: Timestamp::default(),
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

    /// Nobody is connected to a scheduler that has just started, whatever it knew before. Agents announce themselves.
    pub(super) async fn open_day(&mut self) {
        let now = self.surroundings.clock.now();
        let mut batch = Batch::default();
        let instances = self.working.instances.values().filter(|instance| instance.connected);
        let keys: Vec<_> = instances.map(|instance| instance.key.clone()).collect();
        for instance in keys {
            if let Err(refusal) = self.decide(&Command::AgentDisconnected { instance }, now, &mut batch) {
                tracing::error!(%refusal, "an instance could not be marked disconnected");
            }
        }
        // Lost if the disk fails right now; then the agents' sessions correct the state as they come.
        self.commit(now, batch).await;
    }

    async fn serve(&mut self, first: Request, requests: &mut mpsc::Receiver<Request>) {
        let mut queued = vec![first];
        while queued.len() < BATCH_COMMANDS_MAX {
            let Ok(request) = requests.try_recv() else { break };
            queued.push(request);
        }
        let now = self.surroundings.clock.now();
        let mut batch = Batch::default();
        for request in queued {
            let outcome = self.decide(&request.command, now, &mut batch);
            batch.verdicts.push(Verdict { request, outcome });
        }
        self.reconcile(now, &mut batch);
        if self.commit(now, batch).await {
            self.plan_wake();
        } else {
            self.wake = tokio::time::Instant::now() + RETRY_AFTER;
        }
        self.keep_snapshots().await;
    }

    /// Does what is due by time alone.
    async fn tick(&mut self) {
        let now = self.surroundings.clock.now();
        let mut batch = Batch::default();
        if let Err(refusal) = self.decide(&Command::Tick, now, &mut batch) {
            tracing::error!(%refusal, "the passing of time was refused");
        }
        batch.touched.extend(reconcile::everything(&self.working));
        self.reconcile(now, &mut batch);
        if self.commit(now, batch).await {
            self.ticked = now;
            self.plan_wake();
        } else {
            self.wake = tokio::time::Instant::now() + RETRY_AFTER;
        }
        self.keep_snapshots().await;
    }

    fn decide(&mut self, command: &Command, now: Timestamp, batch: &mut Batch) -> Result<Reply, Refusal> {
        let mut context = self.context(now);
        let decision = command::decide(&self.working, command, &mut context)?;
        self.take_in(decision.events, batch);
        Ok(decision.reply)
    }

    fn reconcile(&mut self, now: Timestamp, batch: &mut Batch) {
        let touched = std::mem::take(&mut batch.touched);
        if !touched.is_empty() {
            let mut context = self.context(now);
            let events = reconcile::run(&self.working, &touched, &mut context);
            self.take_in(events, batch);
        }
    }

    fn take_in(&mut self, events: Vec<Event>, batch: &mut Batch) {
        for event in events {
            self.working.apply(&event);
            batch.touched.extend(reconcile::touched(&self.working, &event));
            batch.events.push(event);
        }
    }

    fn context(&self, now: Timestamp) -> Context {
        Context::new(now, self.surroundings.caller.clone(), self.surroundings.entropy.seed())
    }

    /// Makes the batch durable, publishes it and tells the callers. False if the journal would not take it.
    async fn commit(&mut self, now: Timestamp, batch: Batch) -> bool {
        if batch.events.is_empty() {
            let state = self.publisher.borrow().clone();
            tell(batch.verdicts, &state);
            return true;
        }
        match self.append(now, &batch.events).await {
            Ok(()) => {
                self.assert_consistent();
                let state = Arc::new(self.working.clone());
                self.publisher.send_replace(state.clone());
                tell(batch.verdicts, &state);
                true
            }
            Err(error) => {
                tracing::warn!(
                    error = explain(&error),
                    commands = batch.verdicts.len(),
                    "a batch is not durable"
                );
                self.working = State::clone(&self.publisher.borrow());
                for verdict in batch.verdicts {
                    // The caller may have gone.
                    let _ = verdict.request.answer.send(Err(Failure::NotDurable));
                }
                false
            }
        }
    }

    async fn append(&mut self, now: Timestamp, events: &[Event]) -> Result<(), journal::Error> {
        let records = record::events(now, events);
        let count = u64::try_from(records.len()).expect("a list is shorter than 2^64");
        let (epoch, first_index) = (self.epoch, self.next_index);
        self.with_journal(move |journal| journal.append(epoch, first_index, &records)).await?;
        self.next_index += count;
        self.records_unsnapped += count;
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

    /// In debug builds every batch is checked against a count from nothing.
    fn assert_consistent(&self) {
        if cfg!(debug_assertions) {
            let violations = ecsr_core::check::check(&self.working);
            assert!(violations.is_empty(), "the state contradicts itself: {violations:#?}");
        }
    }

    fn plan_wake(&mut self) {
        let now = self.surroundings.clock.now();
        let due = reconcile::next_wake(&self.working, self.ticked);
        let sleep = due.map_or(SLEEP_MAX, |due| due.since(now).clamp(TICK_INTERVAL_MIN, SLEEP_MAX));
        self.wake = tokio::time::Instant::now() + sleep;
    }

    /// Takes a snapshot when the journal has grown long, without holding up the batches that come in meanwhile.
    async fn keep_snapshots(&mut self) {
        if let Some(snapping) = self.snapping.take_if(|snapping| snapping.is_finished()) {
            let (through, bytes) = snapping.await.expect("writing a snapshot down does not panic");
            self.write_snapshot(through, bytes).await;
        } else if self.snapping.is_none() && self.records_unsnapped >= self.surroundings.records_per_snapshot
        {
            let through = self.next_index - 1;
            let (state, founding) = (self.publisher.borrow().clone(), self.founding.clone());
            let at = self.surroundings.clock.now();
            self.snapping = Some(tokio::task::spawn_blocking(move || {
                (through, record::picture(founding, at, Snapshot::of(&state)))
            }));
        }
    }

    async fn write_snapshot(&mut self, through: u64, bytes: Vec<u8>) {
        let (epoch, size) = (self.epoch, bytes.len());
        match self.with_journal(move |journal| journal.snapshot(epoch, through, &bytes)).await {
            Ok(()) => {
                self.records_unsnapped = self.next_index - 1 - through;
                tracing::info!(through, bytes = size, "the journal was cut to a snapshot");
            }
            Err(error) => tracing::warn!(error = explain(&error), "a snapshot could not be written"),
        }
    }
}

fn tell(verdicts: Vec<Verdict>, state: &Arc<State>) {
    for Verdict { request, outcome } in verdicts {
        let answer = outcome.map(|reply| Done { state: state.clone(), reply }).map_err(Failure::Refused);
        // The caller may have gone.
        let _ = request.answer.send(answer);
    }
}
