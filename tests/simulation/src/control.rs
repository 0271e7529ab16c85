//! The scheduler's process: the real [`Desk`] and conversations, and around them the thinnest of shells.
//!
//! It can be killed at any moment, between deciding and appending, appending and answering, or in the middle of either:
//! whatever it waits for is dropped. What remains is the journal, and the law's memory of what was said to be durable.
//!
//! The writer here is its own copy of `ecsr_scheduler::driver`'s. It leaves out what that one has threads for: appends
//! take virtual time instead of a thread's, no snapshots are taken, so every start replays the whole journal, and there
//! is no stop in good order. A full queue turns callers away instead of making them wait. There is one scheduler, hence
//! no standby, no lease and no deposed leader (`script/soak ha` has those, as processes).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecsr_api::Timestamp;
use ecsr_api::arn::Home;
use ecsr_core::command::{Command, Reply};
use ecsr_core::ids::InstanceKey;
use ecsr_core::state::InstanceStatus;
use ecsr_core::{Refusal, State, resolve};
use ecsr_scheduler::Course;
use ecsr_scheduler::driver::{Desk, News, Position, Recovered, Sealed, Settled, recover};
use ecsr_scheduler::journal::{FakeJournal, Journal};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::line::{Line, LineEnd};
use crate::session::Session;
use crate::storm;
use crate::trace::Fault;
use crate::world::{Party, World};

/// Commands that wait for the writer, and those of one batch.
const QUEUE_MAX: usize = 1024;
const BATCH_MAX: usize = 256;
/// How long the disk typically takes for an append.
const SYNC: Duration = Duration::from_millis(4);
/// How often hosts are asked whether they are there.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// As the scheduler's own shell has them.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const SLEEP_MAX: Duration = Duration::from_mins(1);
const TICK_INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Who everything belongs to.
pub(crate) fn home() -> Home {
    Home { region: "us-east-1".to_owned(), account: "123456789012".to_owned() }
}

/// Why a call was not carried out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Failure {
    Refused(Refusal),
    NotDurable,
}

/// What a call did, and the durable state that holds it.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) state: Arc<State>,
    pub(crate) reply: Reply,
}

pub(crate) type Answer = Result<Done, Failure>;

/// Whether an agent may open a line.
pub(crate) enum Admission {
    Opened(LineEnd),
    /// The instance must register anew.
    Unknown(String),
    /// Nobody is there.
    Away,
}

/// The scheduler, whether it runs or not.
#[derive(Debug, Default)]
pub(crate) struct Control {
    pub(crate) journal: FakeJournal,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    process: Option<Process>,
    /// The newest state that is known to be durable, whoever wrote it.
    durable: Option<Arc<State>>,
    /// By how much the host's clock is wrong, in milliseconds.
    clock_error: i64,
    is_appending: bool,
    /// Whether the next append is to be the last thing that happens.
    dies_appending: bool,
    /// Which host an instance was last seen on.
    hosts: BTreeMap<InstanceKey, usize>,
}

/// What dies with a crash.
#[derive(Debug)]
struct Process {
    office: Arc<Office>,
    tasks: JoinSet<()>,
}

/// What the parts of a running scheduler share.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) course: Course,
    pub(crate) began: Instant,
    commands: mpsc::Sender<Request>,
    published: Mutex<Arc<State>>,
    sessions: Mutex<BTreeMap<InstanceKey, Desktop>>,
    last_number: Mutex<u64>,
}

/// What lies ready for the session of an instance.
#[derive(Debug, Clone)]
struct Desktop {
    number: u64,
    news: News,
    stirred: Arc<Notify>,
    /// Aborted when a newer session takes the instance over.
    session: Option<AbortHandle>,
}

#[derive(Debug)]
struct Request {
    command: Command,
    answer: oneshot::Sender<Answer>,
}

impl Control {
    /// Starts the scheduler, if it does not run: it recovers what the journal holds.
    pub(crate) fn start(&self, world: &Arc<World>) {
        if self.is_running() {
            return;
        }
        let mut journal = self.journal.clone();
        let recovered = match recover(&mut journal, home()) {
            Ok(recovered) => recovered,
            Err(error) => {
                world.trace.note("scheduler", format_args!("does not start: {error}"));
                return;
            }
        };
        let records = recovered.next_index;
        world.trace.note("scheduler", format_args!("starts with {records} records"));
        world.law.recovered(world, &recovered.state);
        let (commands, requests) = mpsc::channel(QUEUE_MAX);
        let office = Arc::new(Office {
            course: Course::in_epoch(recovered.latest, self.wall(world), recovered.epoch),
            began: Instant::now(),
            commands,
            published: Mutex::new(recovered.state.clone()),
            sessions: Mutex::default(),
            last_number: Mutex::default(),
        });
        let writer = Writer::new(world, office.clone(), journal, &recovered);
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run(requests));
        tasks.spawn(probe(world.clone(), office.clone()));
        let mut inner = self.lock();
        inner.durable = Some(recovered.state);
        (inner.is_appending, inner.dies_appending) = (false, false);
        inner.process = Some(Process { office, tasks });
    }

    /// Kills the scheduler, at whatever it waits for.
    pub(crate) fn crash(&self, world: &World) {
        let (process, was_appending) = {
            let mut inner = self.lock();
            (inner.process.take(), inner.is_appending)
        };
        if process.is_some() {
            let fault = if was_appending { Fault::CrashedWhileAppending } else { Fault::SchedulerCrashed };
            world.trace.fault(fault, "scheduler");
        }
    }

    /// Kills the scheduler in the middle of its next append.
    pub(crate) fn crash_when_appending(&self) {
        self.lock().dies_appending = true;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.lock().process.is_some()
    }

    /// Moves the host's clock, which is not the truth.
    pub(crate) fn jump_clock(&self, by_millis: i64) {
        self.lock().clock_error += by_millis;
    }

    /// The newest state that is known to be durable.
    pub(crate) fn durable(&self) -> Option<Arc<State>> {
        self.lock().durable.clone()
    }

    /// Hands a command in; `None` if nobody is there.
    pub(crate) fn submit(&self, command: Command) -> Option<oneshot::Receiver<Answer>> {
        let inner = self.lock();
        let office = &inner.process.as_ref()?.office;
        office.submit(command)
    }

    /// Opens a line for a host's agent.
    pub(crate) fn open(&self, world: &Arc<World>, host: usize, instance_arn: &str) -> Admission {
        let Some(office) = self.lock().process.as_ref().map(|process| process.office.clone()) else {
            return Admission::Away;
        };
        let key = match admit(&office.state(), instance_arn) {
            Ok(key) => key,
            Err(why) => return Admission::Unknown(why),
        };
        let (line, agent, scheduler) = Line::open();
        world.add_line(host, line);
        let (number, stirred) = office.enter(&key);
        let session = Session::new(world, office.clone(), key.clone(), number, stirred, scheduler);
        let mut inner = self.lock();
        inner.hosts.insert(key.clone(), host);
        if let Some(process) = &mut inner.process {
            office.seat(&key, number, process.tasks.spawn(session.run()));
        }
        Admission::Opened(agent)
    }

    fn wall(&self, world: &World) -> Timestamp {
        let error = self.lock().clock_error;
        Timestamp::from_millis(world.now().millis() + error)
    }

    pub(crate) fn now(&self, world: &World, office: &Office) -> Timestamp {
        office.course.now(self.wall(world), office.began.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the hosts of instances whose agents are away whether they are there, as the scheduler does by connecting.
async fn probe(world: Arc<World>, office: Arc<Office>) {
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        let state = office.state();
        let away = state.instances.values();
        let away = away.filter(|one| one.status != InstanceStatus::Inactive && !one.is_connected());
        let hosts = world.control.lock().hosts.clone();
        let is_there = |key: &InstanceKey| {
            let host = hosts.get(key)?;
            Some(world.machines[*host].lock().is_on && !world.is_cut_off(Party::Host(*host)))
        };
        let (mut answered, mut unanswered) = (Vec::new(), Vec::new());
        for instance in away {
            match is_there(&instance.key) {
                Some(true) => answered.push(instance.key.clone()),
                Some(false) => unanswered.push(instance.key.clone()),
                None => {}
            }
        }
        if !answered.is_empty() || !unanswered.is_empty() {
            // Asked again soon, whatever becomes of it.
            let _ = office.submit(Command::HostsProbed { answered, unanswered });
        }
    }
}

/// As the handshake judges who asks for a line.
fn admit(state: &State, instance_arn: &str) -> Result<InstanceKey, String> {
    let cluster = resolve::cluster(state, Some("default")).map_err(|refusal| refusal.to_string())?;
    let key =
        resolve::instance_key(state, &cluster.name, instance_arn).map_err(|refusal| refusal.to_string())?;
    match state.instances.get(&key).map(|found| found.status) {
        Some(InstanceStatus::Active | InstanceStatus::Draining) => Ok(key),
        Some(InstanceStatus::Inactive) | None => Err("the instance is not registered".to_owned()),
    }
}

impl Office {
    pub(crate) fn state(&self) -> Arc<State> {
        lock(&self.published).clone()
    }

    pub(crate) fn submit(&self, command: Command) -> Option<oneshot::Receiver<Answer>> {
        let (answer, receiver) = oneshot::channel();
        // Beyond the bound the caller waits; here it is as if nobody were there.
        self.commands.try_send(Request { command, answer }).ok()?;
        Some(receiver)
    }

    /// A new session takes the instance over: its number, and by what it is told of news.
    fn enter(&self, key: &InstanceKey) -> (u64, Arc<Notify>) {
        let number = {
            let mut last = lock(&self.last_number);
            *last += 1;
            *last
        };
        let stirred = Arc::new(Notify::new());
        let desktop = Desktop { number, news: News::default(), stirred: stirred.clone(), session: None };
        let superseded = lock(&self.sessions).insert(key.clone(), desktop);
        if let Some(session) = superseded.and_then(|old| old.session) {
            session.abort();
        }
        (number, stirred)
    }

    fn seat(&self, key: &InstanceKey, number: u64, session: AbortHandle) {
        if let Some(desktop) = lock(&self.sessions).get_mut(key).filter(|desktop| desktop.number == number) {
            desktop.session = Some(session);
        }
    }

    /// The news for a session since it last asked.
    pub(crate) fn news(&self, key: &InstanceKey) -> News {
        lock(&self.sessions).get_mut(key).map(|desktop| std::mem::take(&mut desktop.news)).unwrap_or_default()
    }

    pub(crate) fn has_session(&self, key: &InstanceKey) -> bool {
        lock(&self.sessions).contains_key(key)
    }

    /// A session ends. False if a newer one has the instance.
    pub(crate) fn leave(&self, key: &InstanceKey, number: u64) -> bool {
        let mut sessions = lock(&self.sessions);
        let is_current = sessions.get(key).is_some_and(|desktop| desktop.number == number);
        if is_current {
            sessions.remove(key);
        }
        is_current
    }

    fn publish(&self, settled: Settled<oneshot::Sender<Answer>>) {
        let Settled { state, answers, stirred } = settled;
        *lock(&self.published) = state.clone();
        let mut sessions = lock(&self.sessions);
        for (key, news) in stirred.into_instances() {
            if let Some(desktop) = sessions.get_mut(&key) {
                desktop.news.add(news);
                desktop.stirred.notify_one();
            }
        }
        drop(sessions);
        for (caller, outcome) in answers {
            let answer = outcome.map(|reply| Done { state: state.clone(), reply }).map_err(Failure::Refused);
            // The caller may have gone.
            let _ = caller.send(answer);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What becomes of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is written or refused in one piece.
    Whole,
    /// Its process dies in the middle of it.
    Torn,
}

/// The shell around the desk, as the scheduler's own writer is.
struct Writer {
    world: Arc<World>,
    office: Arc<Office>,
    desk: Desk<oneshot::Sender<Answer>>,
    journal: FakeJournal,
    wake: Instant,
}

impl Writer {
    fn new(world: &Arc<World>, office: Arc<Office>, journal: FakeJournal, recovered: &Recovered) -> Self {
        let position = Position { epoch: recovered.epoch, next_index: recovered.next_index };
        let desk = Desk::new(recovered.state.clone(), position, home().root_arn());
        Self { world: world.clone(), office, desk, journal, wake: Instant::now() }
    }

    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let (now, seed) = (self.now(), self.world.chance.seed());
        self.desk.open_day(now, seed);
        self.commit(&mut requests).await;
        loop {
            tokio::select! {
                biased;
                first = requests.recv() => {
                    let Some(first) = first else { return };
                    self.take(first);
                    self.fill(&mut requests);
                }
                () = tokio::time::sleep_until(self.wake) => {
                    let (now, seed) = (self.now(), self.world.chance.seed());
                    self.desk.tick(now, seed).expect("the passing of time is not refused");
                }
            }
            // Some batches are appended one right after the other, formed while the one before was on its way.
            loop {
                let (now, seed) = (self.now(), self.world.chance.seed());
                self.desk.reconcile(now, seed);
                let is_durable = self.commit(&mut requests).await;
                self.plan_wake(is_durable);
                if !self.desk.has_work() {
                    break;
                }
            }
        }
    }

    fn take(&mut self, request: Request) {
        let Request { command, answer } = request;
        let (now, seed) = (self.now(), self.world.chance.seed());
        self.desk.decide(&command, answer, now, seed);
    }

    fn fill(&mut self, requests: &mut mpsc::Receiver<Request>) {
        for _ in 1..BATCH_MAX {
            let Ok(request) = requests.try_recv() else { return };
            self.take(request);
        }
    }

    /// Makes the batch durable and tells everybody. False if the journal would not take it.
    async fn commit(&mut self, requests: &mut mpsc::Receiver<Request>) -> bool {
        let append = match self.desk.seal() {
            Sealed::Settled(settled) => {
                self.office.publish(settled);
                return true;
            }
            Sealed::Append(append) => append,
        };
        let records = append.records();
        let fate = self.begin_append();
        tokio::time::sleep(self.world.chance.latency(SYNC) / 2).await;
        let outcome = self.journal.append(append.epoch, append.first_index, &records);
        if fate == Fate::Torn {
            // The process is as good as dead.
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.world.chance.latency(SYNC) / 2).await;
        self.world.control.lock().is_appending = false;
        if self.world.chance.one_in(2) {
            self.fill(requests);
        }
        let before = self.desk.state().clone();
        match outcome {
            Ok(()) => {
                let settled = self.desk.durable();
                self.world.control.lock().durable = Some(settled.state.clone());
                self.world.law.settled(&self.world, &before, &settled.state);
                self.office.publish(settled);
                true
            }
            Err(error) => {
                self.world.trace.note("scheduler", format_args!("cannot append: {error}"));
                for caller in self.desk.failed() {
                    // The caller may have gone.
                    let _ = caller.send(Err(Failure::NotDurable));
                }
                false
            }
        }
    }

    /// Notes that an append begins, and has the process die in it if that was asked for: before it, after it, or in
    /// the middle, which leaves a part of it on the disk.
    fn begin_append(&self) -> Fate {
        let world = &self.world;
        let dies = {
            let mut inner = world.control.lock();
            inner.is_appending = true;
            std::mem::take(&mut inner.dies_appending)
        };
        if !dies {
            return Fate::Whole;
        }
        let (dying, after) = (world.clone(), world.chance.latency(SYNC));
        world.spawn(async move {
            tokio::time::sleep(after).await;
            storm::crash(&dying);
        });
        if world.chance.one_in(2) {
            return Fate::Whole;
        }
        world.trace.fault(Fault::AppendTorn, "scheduler");
        self.journal.tear_next();
        Fate::Torn
    }

    fn plan_wake(&mut self, is_durable: bool) {
        let sleep = if is_durable {
            let now = self.now();
            self.desk.next_wake().map_or(SLEEP_MAX, |due| due.since(now).clamp(TICK_INTERVAL_MIN, SLEEP_MAX))
        } else {
            RETRY_AFTER
        };
        self.wake = Instant::now() + sleep;
    }

    fn now(&self) -> Timestamp {
        self.world.control.now(&self.world, &self.office)
    }
}
