//! The shell around the engine: carries its actions out, feeds facts back, and keeps both bounded.
//!
//! One task owns the engine and does nothing that waits. Operations run beside it in lanes of bounded width; their
//! answers, Docker's events, timers and the scheduler's orders come in as inputs. Docker's event stream drives
//! state; when it breaks, everything known is inspected once it is back, so no event can be missed for good.

mod adopt;
mod images;
mod lanes;
mod ops;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ecsr_api::{Timestamp, acs};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::lanes::{Lane, Lanes};
use self::ops::{Answer, Hands};
use self::timers::Timers;
use crate::backoff::{Backoff, Complaint};
use crate::config::Config;
use crate::engine::{Action, ContainerKey, Engine, Input, Settings, TaskView};
use crate::ledger::Ledger;
use crate::report::Reporter;
use crate::runtime::{Event, EventKind, Runtime, RuntimeError};
use crate::task::{Refusal, Task, labels};

/// Orders that may wait for the driver: it takes them faster than a socket can bring them.
const COMMANDS_MAX: usize = 64;
/// Tasks that are known at once, those waiting for clean-up included: far above what a host can run, and what
/// keeps a scheduler gone wild from filling the agent's memory.
const TASKS_MAX: usize = 10_000;
/// Pauses between attempts to reach Docker: short, because everything waits for it.
const RECONNECT_MIN: Duration = Duration::from_millis(200);
const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a task that only the manifest names may still arrive by payload before it is told to be gone.
const VANISHED_GRACE: Duration = Duration::from_secs(2);
/// How long adopted tasks wait for the scheduler's manifest before they are taken up without one.
const CONFIRM_GRACE: Duration = Duration::from_secs(10);

/// An order of the scheduler or a question of another part of the agent.
#[derive(Debug)]
pub(crate) enum Command {
    /// The tasks of a payload. Answers once they are accepted and on record.
    Payload {
        /// The tasks.
        tasks: Vec<acs::Task>,
        /// Whether every task was accepted.
        reply: oneshot::Sender<Accepted>,
    },
    /// The manifest: every task that should be here, with its desired status. Answers the tasks that run here and
    /// should not.
    Manifest {
        /// Task ARN and desired status.
        tasks: BTreeMap<String, String>,
        /// The candidates to stop.
        reply: oneshot::Sender<Vec<String>>,
    },
    /// The scheduler confirms that these tasks are to be stopped.
    Stop {
        /// Task ARNs.
        task_arns: Vec<String>,
    },
    /// The scheduler can be reached: a manifest should follow.
    Connected,
    /// Whether the task is known.
    Knows {
        /// The task.
        task_arn: String,
        /// The answer.
        reply: oneshot::Sender<bool>,
    },
    /// What the tasks are doing.
    Views {
        /// The answer.
        reply: oneshot::Sender<Vec<TaskView>>,
    },
}

/// Whether a payload may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Every task is on record.
    All,
    /// Some task was refused, and told STOPPED.
    Some,
}

/// The other parts' end of the driver.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    commands: mpsc::Sender<Command>,
    health: watch::Receiver<u64>,
}

impl Handle {
    /// Gives an order. The driver lives as long as the agent.
    pub(crate) async fn order(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    /// Asks and waits for the answer; `None` only while the agent ends.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Changes whenever a health verdict does.
    pub(crate) fn health(&self) -> watch::Receiver<u64> {
        self.health.clone()
    }
}

/// The driver's own timers and the engine's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Engine(crate::engine::Timer),
    /// Look once more whether these tasks are known.
    Vanished(Vec<String>),
    /// Take up what was adopted, manifest or not.
    ConfirmAll,
    CleanImages,
}

/// See the module.
pub(crate) struct Driver<R: Runtime> {
    hands: Arc<Hands<R>>,
    engine: Engine,
    lanes: Lanes<Answer>,
    timers: Timers<Alarm>,
    tasks: BTreeMap<String, Arc<Task>>,
    by_id: BTreeMap<String, ContainerKey>,
    /// Who waits for which image: one pull serves all.
    pulls: BTreeMap<String, Vec<ContainerKey>>,
    /// The environment that an image sets, by reference, from its last lookup.
    image_env: BTreeMap<String, Arc<Vec<String>>>,
    ledger: Ledger,
    reporter: Reporter,
    commands: mpsc::Receiver<Command>,
    stopped: mpsc::Receiver<String>,
    health: watch::Sender<u64>,
    config: Arc<Config>,
    confirm_armed: bool,
}

/// What a driver is made of besides its runtime.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) ledger: Ledger,
    pub(crate) reporter: Reporter,
    /// Tasks whose STOPPED the scheduler has acknowledged.
    pub(crate) stopped: mpsc::Receiver<String>,
    /// The container instance's ARN, once registered.
    pub(crate) container_instance: watch::Receiver<String>,
}

impl<R: Runtime> Driver<R> {
    pub(crate) fn new(runtime: R, parts: Parts) -> (Self, Handle) {
        let Parts { config, ledger, reporter, stopped, container_instance } = parts;
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (health, health_changes) = watch::channel(0);
        let settings = Settings {
            stop_timeout: config.stop_timeout,
            cleanup_wait: config.cleanup_wait
                + config.cleanup_wait_jitter.mul_f64(crate::backoff::random_fraction()),
            pull_upfront: config.pull_upfront,
        };
        let driver = Driver {
            hands: Arc::new(Hands::new(runtime, Arc::clone(&config), ledger.clone(), container_instance)),
            engine: Engine::new(settings),
            lanes: Lanes::default(),
            timers: Timers::default(),
            tasks: BTreeMap::new(),
            by_id: BTreeMap::new(),
            pulls: BTreeMap::new(),
            image_env: BTreeMap::new(),
            ledger,
            reporter,
            commands,
            stopped,
            health,
            config,
            confirm_armed: false,
        };
        (driver, Handle { commands: sender, health: health_changes })
    }

    /// Adopts what runs, tells `ready`, then works until the agent ends.
    pub(crate) async fn run(mut self, ready: oneshot::Sender<()>) {
        let mut events = subscribe(&self.hands.runtime).await;
        self.adopt().await;
        let _ = ready.send(());
        if let Some(cleanup) = &self.config.image_cleanup {
            self.timers.set(Alarm::CleanImages, cleanup.interval);
        }
        let mut backoff = Backoff::new(RECONNECT_MIN, RECONNECT_MAX);
        let mut complaint = Complaint::default();
        let mut resubscribe_at: Option<Instant> = None;
        loop {
            tokio::select! {
                Some(command) = self.commands.recv() => self.obey(command),
                Some(answer) = self.lanes.next() => self.take(answer),
                Some(task_arn) = self.stopped.recv() => self.feed(Input::StopAccepted { task_arn }),
                alarm = self.timers.next() => self.alarm(alarm),
                event = events.next(), if resubscribe_at.is_none() => match event {
                    Some(Ok(event)) => self.event(&event),
                    broken => {
                        complaint.warn(stream_end(broken));
                        resubscribe_at = Some(Instant::now() + backoff.pause());
                    }
                },
                () = sleep_until(resubscribe_at), if resubscribe_at.is_some() => {
                    match self.hands.runtime.ping().await {
                        Ok(_) => {
                            complaint.settled("Docker answers again");
                            backoff.reset();
                            resubscribe_at = None;
                            events = self.hands.runtime.events(labels::TASK);
                            self.resync();
                        }
                        Err(error) => {
                            complaint.warn(format!("waiting for Docker: {error}"));
                            resubscribe_at = Some(Instant::now() + backoff.pause());
                        }
                    }
                }
            }
        }
    }

    /// Inspects every container that is known to exist: what an event would have told.
    fn resync(&mut self) {
        let known: Vec<(String, ContainerKey)> = self.by_id.iter().map(|(id, key)| (id.clone(), key.clone())).collect();
        for (id, key) in known {
            self.inspect(key, id);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Payload { tasks, reply } => self.payload(tasks, reply),
            Command::Manifest { tasks, reply } => {
                let _ = reply.send(self.manifest(&tasks));
            }
            Command::Stop { task_arns } => {
                task_arns.into_iter().for_each(|task_arn| self.feed(Input::Stop { task_arn }));
            }
            Command::Connected => {
                if !std::mem::replace(&mut self.confirm_armed, true) {
                    self.timers.set(Alarm::ConfirmAll, CONFIRM_GRACE);
                }
            }
            Command::Knows { task_arn, reply } => {
                let _ = reply.send(self.engine.knows(&task_arn));
            }
            Command::Views { reply } => {
                let _ = reply.send(self.engine.views().collect());
            }
        }
    }

    /// Stops go before starts; the answer waits for the ledger, the starts do not.
    fn payload(&mut self, tasks: Vec<acs::Task>, reply: oneshot::Sender<Accepted>) {
        let (stops, starts): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|task| task.desired_status.as_deref() == Some("STOPPED"));
        for task_arn in stops.into_iter().filter_map(|task| task.arn) {
            self.feed(Input::Stop { task_arn });
        }
        let mut accepted = Accepted::All;
        let mut on_record = BTreeMap::new();
        let mut specs = Vec::new();
        for acs in starts {
            let task_arn = acs.arn.clone().unwrap_or_default();
            match self.admit(acs) {
                Ok(task) => {
                    on_record.insert(task_arn, task.acs.clone());
                    specs.push(task.spec.clone());
                }
                Err(refusal) => {
                    tracing::warn!(task = task_arn, "refused: {refusal}");
                    accepted = Accepted::Some;
                    if !task_arn.is_empty() && !self.engine.knows(&task_arn) {
                        self.feed(Input::Reject { task_arn, reason: refusal.to_string() });
                    }
                }
            }
        }
        on_record.retain(|task_arn, _| !self.engine.knows(task_arn));
        let version = self.ledger.update(|entries| entries.accepted.extend(on_record));
        specs.into_iter().for_each(|spec| self.feed(Input::Run(spec)));
        tokio::spawn(async move {
            version.written().await;
            let _ = reply.send(accepted);
        });
    }

    fn admit(&mut self, acs: acs::Task) -> Result<Arc<Task>, Refusal> {
        let task = Task::load(acs)?;
        if let Some(known) = self.tasks.get(&task.spec.arn) {
            return Ok(Arc::clone(known));
        }
        if self.engine.len() >= TASKS_MAX {
            return Err(Refusal::Invalid(format!("the instance has {TASKS_MAX} tasks already")));
        }
        let task = Arc::new(task);
        self.tasks.insert(task.spec.arn.clone(), Arc::clone(&task));
        Ok(task)
    }

    /// Confirms what is here and wanted, names what is here and not wanted, and marks what is wanted and not here.
    fn manifest(&mut self, tasks: &BTreeMap<String, String>) -> Vec<String> {
        let running: BTreeSet<&String> =
            tasks.iter().filter(|(_, desired)| *desired == "RUNNING").map(|(task_arn, _)| task_arn).collect();
        for task_arn in &running {
            self.feed(Input::Confirm { task_arn: (*task_arn).clone() });
        }
        let unknown: Vec<String> = running.iter().filter(|arn| !self.engine.knows(arn)).map(|arn| (*arn).clone()).collect();
        if !unknown.is_empty() {
            self.timers.set(Alarm::Vanished(unknown), VANISHED_GRACE);
        }
        self.engine.wanted().filter(|arn| !running.contains(&(*arn).to_owned())).map(str::to_owned).collect()
    }

    fn alarm(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Engine(timer) => self.feed(Input::TimerFired(timer)),
            Alarm::Vanished(task_arns) => {
                for task_arn in task_arns {
                    if !self.engine.knows(&task_arn) {
                        let reason = "ContainerVanishedError: the task's containers are not on this instance any more";
                        self.feed(Input::Reject { task_arn, reason: reason.to_owned() });
                    }
                }
            }
            Alarm::ConfirmAll => {
                let known: Vec<String> = self.engine.wanted().map(str::to_owned).collect();
                known.into_iter().for_each(|task_arn| self.feed(Input::Confirm { task_arn }));
            }
            Alarm::CleanImages => self.clean_images(),
        }
    }

    fn event(&mut self, event: &Event) {
        let Some(key) = self.by_id.get(&event.id).cloned() else { return };
        match event.kind {
            EventKind::Started if !self.engine.is_start_news(&key) => {}
            EventKind::Started | EventKind::Died => self.inspect(key, event.id.clone()),
            EventKind::Destroyed if self.hands.was_replaced(&event.id) => {}
            EventKind::Destroyed => self.feed(Input::Gone { key, id: event.id.clone() }),
            EventKind::Health(health) if !self.config.health_disabled => self.feed(Input::Health { key, health }),
            EventKind::Health(_) => {}
        }
    }

    fn inspect(&mut self, key: ContainerKey, id: String) {
        let hands = Arc::clone(&self.hands);
        let Some(task) = self.tasks.get(&key.task_arn).cloned() else { return };
        self.lanes.start(Lane::Look, async move { hands.observe(&task, key, id).await });
    }

    /// Gives an input to the engine and sets out to do what it asks for.
    fn feed(&mut self, input: Input) {
        for action in self.engine.handle(input, now()) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Pull { key, image } => self.pull(key, image),
            Action::Create { key } => {
                let env = self.image_env_of(&key);
                self.operate(Lane::Make, key, |hands, task, key| async move { hands.create(&task, key, &env).await });
            }
            Action::Start { key, id } => {
                let env = self.image_env_of(&key);
                self.operate(Lane::Make, key, |hands, task, key| async move { hands.start(&task, key, id, &env).await });
            }
            Action::Stop { key, id, grace } => {
                self.operate(Lane::Stop, key, move |hands, task, key| async move {
                    hands.stop(&task, key, id, grace).await
                });
            }
            Action::Remove { task_arn, ids } => {
                let Some(task) = self.tasks.get(&task_arn).cloned() else { return };
                let hands = Arc::clone(&self.hands);
                self.lanes.start(Lane::Remove, async move { hands.remove(&task, ids).await });
            }
            Action::Report(report) => {
                tracing::info!(task = report.task_arn, status = report.status.as_str(), "reporting");
                self.reporter.tell(report);
            }
            Action::SetTimer { timer, after } => self.timers.set(Alarm::Engine(timer), after),
            Action::TellHealth => self.health.send_modify(|version| *version += 1),
        }
    }

    fn operate<F>(
        &mut self,
        lane: Lane,
        key: ContainerKey,
        operation: impl FnOnce(Arc<Hands<R>>, Arc<Task>, ContainerKey) -> F,
    ) where
        F: Future<Output = Answer> + Send + 'static,
    {
        let task = self.tasks.get(&key.task_arn).expect("the engine acts only for tasks that were admitted");
        self.lanes.start(lane, operation(Arc::clone(&self.hands), Arc::clone(task), key));
    }

    fn pull(&mut self, key: ContainerKey, image: String) {
        let waiting = self.pulls.entry(image.clone()).or_default();
        waiting.push(key);
        if waiting.len() == 1 {
            let hands = Arc::clone(&self.hands);
            self.lanes.start(Lane::Pull, async move { hands.provide(image).await });
        }
    }

    fn image_env_of(&self, key: &ContainerKey) -> Arc<Vec<String>> {
        let task = self.tasks.get(&key.task_arn);
        let image = task.and_then(|task| task.container(&key.container)).and_then(|container| container.image.as_ref());
        image.and_then(|image| self.image_env.get(image)).cloned().unwrap_or_default()
    }

    /// Takes the answer of an operation.
    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Provided { image, outcome } => {
                let (outcome, env) = match outcome {
                    Ok(provided) => (Ok(provided.image), provided.env),
                    Err(reason) => (Err(reason), Arc::default()),
                };
                self.image_env.insert(image.clone(), env);
                for key in self.pulls.remove(&image).unwrap_or_default() {
                    self.feed(Input::Pulled { key, outcome: outcome.clone() });
                }
            }
            Answer::Input(input) => {
                self.index(&input);
                self.feed(input);
            }
            Answer::Removed { task_arn, outcome } => {
                self.feed(Input::Removed { task_arn: task_arn.clone(), outcome });
                if !self.engine.knows(&task_arn) {
                    self.tasks.remove(&task_arn);
                    self.by_id.retain(|_, key| key.task_arn != task_arn);
                    self.drop_unused_image_env();
                }
            }
            Answer::ImagesCleaned => {}
        }
    }

    /// Remembers which container an id stands for, and that the task needs the ledger no more.
    fn index(&mut self, input: &Input) {
        let (Input::Created { key, outcome: Ok(snapshot) } | Input::Started { key, outcome: Ok(snapshot) }) = input
        else {
            return;
        };
        if self.by_id.insert(snapshot.id.clone(), key.clone()).is_none() {
            let is_on_record = self.ledger.with(|entries| entries.accepted.contains_key(&key.task_arn));
            if is_on_record {
                self.ledger.update(|entries| entries.accepted.remove(&key.task_arn));
            }
        }
    }

    fn drop_unused_image_env(&mut self) {
        let used: BTreeSet<&str> = self.engine.images_in_use().collect();
        self.image_env.retain(|image, _| used.contains(image.as_str()));
    }
}

/// Opens the event stream before anything is listed, so that nothing falls between the two.
async fn subscribe<R: Runtime>(runtime: &R) -> BoxStream<'static, Result<Event, RuntimeError>> {
    let mut backoff = Backoff::new(RECONNECT_MIN, RECONNECT_MAX);
    let mut complaint = Complaint::default();
    while let Err(error) = runtime.ping().await {
        complaint.warn(format!("waiting for Docker: {error}"));
        tokio::time::sleep(backoff.pause()).await;
    }
    complaint.settled("Docker answers");
    runtime.events(labels::TASK)
}

fn stream_end(end: Option<Result<Event, RuntimeError>>) -> String {
    match end {
        Some(Err(error)) => format!("lost Docker's event stream: {error}"),
        Some(Ok(_)) | None => "Docker closed its event stream".to_owned(),
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The wall clock, as reports have it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
