//! The writer's work without its surroundings: decide, have appended, publish, answer.
//!
//! A desk owns the working state and knows neither threads nor clocks nor disks, so a simulation drives the same code
//! as the scheduler does. Commands are decided into the batch that is being formed. Sealing it hands out what is to be
//! appended; meanwhile the next batch is formed on top of it. Once the append is said to be durable, the answers and
//! the state that holds them are given out. If it failed, both batches are dropped with everything decided in them and
//! the desk goes on from the last durable state.
//!
//! Invariant: no answer, no state and no news leaves the desk before all that it rests on is durable.

use std::collections::BTreeSet;
use std::sync::Arc;

use ecsr_api::Timestamp;
use ecsr_core::command::{self, Command, Reply};
use ecsr_core::reconcile::{self, Touched};
use ecsr_core::state::Event;
use ecsr_core::{Context, Refusal, State};

use super::news::Stirred;
use crate::journal::record;

/// Events after which a batch takes no more in. A command or a plan may go beyond it by its own size. It bounds what the
/// first caller of a batch waits for to a fraction of a second, and the bytes of an append to a few MiB.
const BATCH_EVENTS_MAX: usize = 4096;

/// Where the journal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub epoch: u64,
    /// The index of the next record.
    pub next_index: u64,
}

/// The owner of the working state. `C` is whatever the caller of a command is told its answer by.
#[derive(Debug)]
pub struct Desk<C> {
    /// ARN that the API shows as the creator of things.
    caller: String,
    position: Position,
    /// The last durable state: what everybody else sees.
    durable: Arc<State>,
    /// The durable state, and on top of it the batch being appended and the one being formed.
    working: State,
    forming: Batch<C>,
    /// What the planners have yet to look at.
    touched: BTreeSet<Touched>,
    appending: Option<Appending<C>>,
    day: Day,
    /// Up to when everything that is due by time has been done.
    ticked: Timestamp,
}

/// Whether it is durable that a scheduler has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    Open,
    /// The batch that says so is on its way.
    Opening,
    /// That batch was lost: the next one says it again, before anything else.
    Lost,
}

/// What is to be appended to the journal, in one piece.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    pub epoch: u64,
    pub first_index: u64,
    at: Timestamp,
    events: Vec<Event>,
}

/// What became of a batch that is settled: everything in it is durable.
#[derive(Debug)]
pub struct Settled<C> {
    /// The state that holds it.
    pub state: Arc<State>,
    pub answers: Vec<(C, Result<Reply, Refusal>)>,
    /// Whose agents have something to hear of it.
    pub stirred: Stirred,
}

/// A batch that was closed.
#[derive(Debug)]
pub enum Sealed<C> {
    /// It holds events: [`Desk::durable`] or [`Desk::failed`] is to follow.
    Append(Append),
    /// It changed nothing, so it is settled already.
    Settled(Settled<C>),
}

#[derive(Debug)]
struct Batch<C> {
    at: Timestamp,
    events: Vec<Event>,
    stirred: Stirred,
    answers: Vec<(C, Result<Reply, Refusal>)>,
    /// Set if the batch does what is due by time.
    ticked: Option<Timestamp>,
}

/// A batch on its way to the disk, and the state as it will be.
#[derive(Debug)]
struct Appending<C> {
    batch: Batch<C>,
    state: Arc<State>,
    next_index: u64,
}

impl<C> Desk<C> {
    /// A desk that goes on from a durable state.
    pub fn new(durable: Arc<State>, position: Position, caller: String) -> Self {
        Self {
            caller,
            position,
            working: State::clone(&durable),
            durable,
            forming: Batch::default(),
            touched: BTreeSet::new(),
            appending: None,
            day: Day::Open,
            ticked: Timestamp::default(),
        }
    }

    /// The last durable state.
    pub fn state(&self) -> &Arc<State> {
        &self.durable
    }

    /// Where the next append goes if the one under way is durable.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether an append is under way.
    pub fn is_appending(&self) -> bool {
        self.appending.is_some()
    }

    /// Whether there is anything to reconcile or to settle.
    pub fn has_work(&self) -> bool {
        !self.forming.is_empty() || !self.touched.is_empty()
    }

    /// Whether the batch being formed is large enough to be sealed first.
    pub fn is_full(&self) -> bool {
        self.forming.events.len() >= BATCH_EVENTS_MAX
    }

    /// When time alone will give something to do, seen from the last [`Desk::tick`] that is durable.
    pub fn next_wake(&self) -> Option<Timestamp> {
        reconcile::next_wake(&self.working, self.ticked)
    }

    /// Nobody is connected to a scheduler that has just started, whatever it knew before, and no host was asked yet.
    /// Agents announce themselves.
    pub fn open_day(&mut self, now: Timestamp, seed: [u8; 32]) {
        let mut context = self.context(now, seed);
        let keys: Vec<_> = self.working.instances.keys().cloned().collect();
        for instance in keys {
            // Cannot be refused: it is so whatever the state says.
            let _ = self.take_in_decision(&Command::AgentDisconnected { instance }, &mut context);
        }
        // The first tick looks at everything anyway.
        self.touched.clear();
        self.day = Day::Opening;
    }

    fn open_day_again(&mut self, now: Timestamp, seed: [u8; 32]) {
        match self.day {
            Day::Open | Day::Opening => {}
            Day::Lost => self.open_day(now, seed),
        }
    }

    /// Decides a command into the batch being formed.
    pub fn decide(&mut self, command: &Command, caller: C, now: Timestamp, seed: [u8; 32]) {
        self.open_day_again(now, seed);
        let mut context = self.context(now, seed);
        let outcome = self.take_in_decision(command, &mut context);
        self.forming.answers.push((caller, outcome));
    }

    /// Does what is due by time alone; [`Desk::reconcile`] is to follow.
    pub fn tick(&mut self, now: Timestamp, seed: [u8; 32]) -> Result<(), Refusal> {
        self.open_day_again(now, seed);
        let mut context = self.context(now, seed);
        self.forming.ticked = Some(now);
        self.touched.extend(reconcile::due(&self.working, self.ticked, now));
        self.take_in_decision(&Command::Tick, &mut context).map(|_| ())
    }

    /// Brings services in line with what was decided since the last time, as far as the batch has room for it. What is
    /// left counts as work for the next.
    pub fn reconcile(&mut self, now: Timestamp, seed: [u8; 32]) {
        let touched = std::mem::take(&mut self.touched);
        let room = BATCH_EVENTS_MAX.saturating_sub(self.forming.events.len());
        if touched.is_empty() {
            return;
        }
        let mut context = self.context(now, seed);
        let (events, rest) = reconcile::run_within(&mut self.working, &touched, room, &mut context);
        self.forming.at = self.forming.at.max(now);
        for event in &events {
            self.forming.stirred.take_note(&self.working, event);
        }
        self.forming.events.extend(events);
        self.touched = rest;
    }

    /// Closes the batch being formed. No append may be under way.
    pub fn seal(&mut self) -> Sealed<C> {
        assert!(self.appending.is_none(), "batches are appended one after the other");
        let mut batch = std::mem::take(&mut self.forming);
        if batch.events.is_empty() {
            return Sealed::Settled(self.settle(batch));
        }
        let Position { epoch, next_index: first_index } = self.position;
        let events = std::mem::take(&mut batch.events);
        let append = Append { epoch, first_index, at: batch.at, events };
        let next_index = first_index + record::count(&append.events);
        let state = Arc::new(self.working.clone());
        self.appending = Some(Appending { batch, state, next_index });
        Sealed::Append(append)
    }

    /// Takes note that the append is durable.
    pub fn durable(&mut self) -> Settled<C> {
        let Appending { batch, state, next_index } = self.take_appending();
        assert_consistent(&state);
        self.day = Day::Open;
        self.durable = state;
        self.position.next_index = next_index;
        self.settle(batch)
    }

    /// Takes note that the append failed, or that nobody knows. Its callers, and those of the batch being formed, which
    /// rested on it, are to be told that nothing is certain. The next append replaces whatever this one wrote. A tick is
    /// to follow after a while: it looks at everything, also at what was touched here.
    pub fn failed(&mut self) -> Vec<C> {
        let Appending { batch, .. } = self.take_appending();
        let forming = std::mem::take(&mut self.forming);
        self.day = match self.day {
            Day::Open => Day::Open,
            Day::Opening | Day::Lost => Day::Lost,
        };
        self.working = State::clone(&self.durable);
        self.touched.clear();
        self.ticked = Timestamp::default();
        batch.answers.into_iter().chain(forming.answers).map(|(caller, _)| caller).collect()
    }

    fn take_appending(&mut self) -> Appending<C> {
        self.appending.take().expect("an append is under way")
    }

    fn settle(&mut self, batch: Batch<C>) -> Settled<C> {
        self.ticked = batch.ticked.unwrap_or(self.ticked);
        Settled { state: self.durable.clone(), answers: batch.answers, stirred: batch.stirred }
    }

    fn take_in_decision(&mut self, command: &Command, context: &mut Context) -> Result<Reply, Refusal> {
        let decision = command::decide(&self.working, command, context)?;
        self.take_in(decision.events, context.now);
        Ok(decision.reply)
    }

    fn take_in(&mut self, events: Vec<Event>, now: Timestamp) {
        self.forming.at = self.forming.at.max(now);
        for event in events {
            self.working.apply(&event);
            self.touched.extend(reconcile::touched(&self.working, &event));
            self.forming.stirred.take_note(&self.working, &event);
            self.forming.events.push(event);
        }
    }

    fn context(&self, now: Timestamp, seed: [u8; 32]) -> Context {
        Context::new(now, self.caller.clone(), seed)
    }
}

impl Append {
    /// What is to be written, which is worth encoding where it does not hold up the desk.
    pub fn records(&self) -> Vec<Vec<u8>> {
        record::events(self.at, &self.events)
    }

    /// How many events that is.
    pub(crate) fn events(&self) -> u64 {
        u64::try_from(self.events.len()).expect("a list is shorter than 2^64")
    }
}

impl<C> Batch<C> {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.answers.is_empty() && self.ticked.is_none()
    }
}

impl<C> Default for Batch<C> {
    fn default() -> Self {
        Self {
            at: Timestamp::default(),
            events: Vec::new(),
            stirred: Stirred::default(),
            answers: Vec::new(),
            ticked: None,
        }
    }
}

/// In debug builds every batch of a state that is not large is checked against a count from nothing.
fn assert_consistent(state: &State) {
    if cfg!(debug_assertions) {
        let violations = ecsr_core::check::check_small(state);
        assert!(violations.is_empty(), "the state contradicts itself: {violations:#?}");
    }
}

#[cfg(test)]
mod tests {
    use ecsr_core::state::ClusterStatus;
    use serde_json::json;

    use super::*;
    use crate::testing::{World, home, request};

    fn desk() -> Desk<&'static str> {
        let position = Position { epoch: 1, next_index: 1 };
        Desk::new(Arc::new(State::new(home())), position, home().root_arn())
    }

    fn create(desk: &mut Desk<&'static str>, name: &'static str) {
        let command = Command::CreateCluster(request(json!({ "clusterName": name })));
        desk.decide(&command, name, Timestamp::from_seconds(1), [0; 32]);
    }

    fn append(desk: &mut Desk<&'static str>) -> Append {
        match desk.seal() {
            Sealed::Append(append) => append,
            Sealed::Settled(settled) => panic!("{settled:?}"),
        }
    }

    fn names(state: &State) -> Vec<&str> {
        let active = state.clusters.values().filter(|cluster| cluster.status == ClusterStatus::Active);
        active.map(|cluster| &*cluster.name).collect()
    }

    fn answered(settled: &Settled<&'static str>) -> Vec<&'static str> {
        settled.answers.iter().map(|(caller, _)| *caller).collect()
    }

    #[test]
    fn nothing_is_seen_before_it_is_durable_and_the_next_batch_is_formed_meanwhile() {
        let mut desk = desk();
        create(&mut desk, "a");
        let first = append(&mut desk);
        create(&mut desk, "b");
        assert_eq!(names(desk.state()), [""; 0]);
        let settled = desk.durable();
        assert_eq!((answered(&settled), names(&settled.state)), (vec!["a"], vec!["a"]), "without b");
        let second = append(&mut desk);
        assert_eq!((first.first_index, second.first_index), (1, 2));
        assert_eq!(names(&desk.durable().state), ["a", "b"]);
    }

    #[test]
    fn a_failed_append_takes_what_rests_on_it_along() {
        let mut desk = desk();
        create(&mut desk, "kept");
        append(&mut desk);
        desk.durable();
        create(&mut desk, "lost");
        let lost = append(&mut desk);
        create(&mut desk, "lost");
        create(&mut desk, "lost too");
        assert_eq!(desk.failed(), ["lost", "lost", "lost too"]);
        assert_eq!(names(desk.state()), ["kept"]);
        assert!(!desk.has_work());
        create(&mut desk, "next");
        assert_eq!(append(&mut desk).first_index, lost.first_index, "in its place");
        assert_eq!(names(&desk.durable().state), ["kept", "next"]);
    }

    #[test]
    fn a_start_that_could_not_be_written_is_written_with_the_next_batch() {
        let World { state, instance, .. } = World::with_tasks(1);
        let position = Position { epoch: 1, next_index: 1 };
        let mut desk: Desk<&'static str> = Desk::new(Arc::new(state), position, home().root_arn());
        assert!(desk.state().instances[&instance].is_connected());
        desk.open_day(Timestamp::from_seconds(1), [0; 32]);
        append(&mut desk);
        desk.failed();
        create(&mut desk, "a");
        append(&mut desk);
        assert!(!desk.durable().state.instances[&instance].is_connected());
    }

    #[test]
    fn what_changes_nothing_costs_no_append() {
        let mut desk = desk();
        let command = Command::DeleteCluster(request(json!({ "cluster": "none" })));
        desk.decide(&command, "caller", Timestamp::from_seconds(1), [0; 32]);
        match desk.seal() {
            Sealed::Settled(settled) => {
                assert!(matches!(settled.answers[..], [("caller", Err(Refusal::ClusterNotFound))]));
            }
            Sealed::Append(append) => panic!("{append:?}"),
        }
    }
}
