//! The shell around the engine: carries its actions out, feeds facts back, and keeps both bounded.
//!
//! One task owns the engine and does nothing that waits. Operations run beside it in lanes of bounded width; their
//! answers, Docker's events, timers and the scheduler's orders come in as inputs. Docker's event stream drives
//! state; when it breaks, everything known is inspected once it is back, so no event can be missed for good.

mod adopt;
mod images;
mod lanes;
mod ops;
mod orders;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::lanes::{Lane, Lanes};
use self::ops::{Answer, Hands};
pub(crate) use self::orders::{Accepted, Command, Handle};
use self::orders::{COMMANDS_MAX, Confirmation};
use self::timers::Timers;
use crate::backoff::{Backoff, Complaint};
use crate::clock::{now, random_fraction};
use crate::config::Config;
use crate::engine::{Action, ContainerKey, Engine, Input, Settings, Status, TaskReport};
use crate::ledger::Ledger;
use crate::report::Reporter;
use crate::runtime::{Death, Event, EventKind, Runtime, RuntimeError};
use crate::task::{Task, labels, ports};

/// Pauses between attempts to reach Docker: short, because everything waits for it.
const RECONNECT_MIN: Duration = Duration::from_millis(200);
const RECONNECT_MAX: Duration = Duration::from_secs(5);
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
    /// Tasks that an earlier agent has called STOPPED, which the scheduler has not acknowledged yet.
    over: BTreeSet<String>,
    /// Containers in which the kernel killed something for memory: how they end takes an inspection.
    starved: BTreeSet<String>,
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
    /// Whether the scheduler's manifest decides over adopted tasks, or is still waited for.
    confirmation: Confirmation,
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
            cleanup_wait: config.cleanup_wait + config.cleanup_wait_jitter.mul_f64(random_fraction()),
            pull_upfront: config.pull_upfront,
        };
        let driver = Driver {
            hands: Arc::new(Hands::new(runtime, Arc::clone(&config), ledger.clone(), container_instance)),
            engine: Engine::new(settings),
            lanes: Lanes::default(),
            timers: Timers::default(),
            tasks: BTreeMap::new(),
            by_id: BTreeMap::new(),
            over: BTreeSet::new(),
            starved: BTreeSet::new(),
            pulls: BTreeMap::new(),
            image_env: BTreeMap::new(),
            ledger,
            reporter,
            commands,
            stopped,
            health,
            config,
            confirmation: Confirmation::Awaited,
        };
        (driver, Handle::new(sender, health_changes))
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
                // In this order, so that a run can be repeated exactly. Each brings less than is taken in.
                biased;
                Some(answer) = self.lanes.next() => self.take(answer),
                Some(task_arn) = self.stopped.recv() => self.stop_accepted(task_arn),
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
                Some(command) = self.commands.recv() => self.obey(command),
            }
        }
    }

    /// Inspects every container that is known to exist: what an event would have told.
    fn resync(&mut self) {
        let known: Vec<(String, ContainerKey)> =
            self.by_id.iter().map(|(id, key)| (id.clone(), key.clone())).collect();
        for (id, key) in known {
            self.inspect(key, id);
        }
    }

    fn event(&mut self, event: &Event) {
        let Some(key) = self.by_id.get(&event.id).cloned() else { return };
        match event.kind {
            EventKind::Started if !self.engine.is_start_news(&key) => {}
            EventKind::Started => self.inspect(key, event.id.clone()),
            EventKind::Died(death) => self.died(key, event.id.clone(), death),
            EventKind::OutOfMemory => drop(self.starved.insert(event.id.clone())),
            EventKind::Destroyed if self.hands.was_replaced(&event.id) => {}
            EventKind::Destroyed => self.feed(Input::Gone { key, id: event.id.clone() }),
            EventKind::Health(health) if !self.config.health_disabled => {
                self.feed(Input::Health { key, health });
            }
            EventKind::Health(_) => {}
        }
    }

    /// A death ends its container as soon as it is told. An inspection would be answered only after Docker has
    /// released the network and the mounts, which takes about as long as a start does; it is made where that is the
    /// very thing to wait for (a fixed port is not free before) or where the event does not say enough.
    fn died(&mut self, key: ContainerKey, id: String, death: Option<Death>) {
        let is_starved = self.starved.remove(&id);
        let container = self.tasks.get(&key.task_arn).and_then(|task| task.container(&key.container));
        let holds_ports = container.is_none_or(ports::are_fixed);
        match death {
            Some(Death { exit_code, at }) if !is_starved && !holds_ports && self.engine.takes_death(&key) => {
                self.feed(Input::Died { key, id, exit_code, at });
            }
            Some(_) | None => self.inspect(key, id),
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
                self.operate(Lane::Make, key, |hands, task, key| async move {
                    hands.create(&task, key, &env).await
                });
            }
            Action::Start { key, id } => {
                let env = self.image_env_of(&key);
                self.operate(Lane::Make, key, |hands, task, key| async move {
                    hands.start(&task, key, id, &env).await
                });
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
            Action::Report(report) => self.report(report),
            Action::SetTimer { timer, after } => self.timers.set(Alarm::Engine(timer), after),
            Action::TellHealth => self.health.send_modify(|version| *version += 1),
        }
    }

    /// Passes a report on, unless an earlier agent already had the task's STOPPED acknowledged, or had it yet to be
    /// told: then its words, which say why, are on their way already.
    fn report(&mut self, report: TaskReport) {
        let TaskReport { task_arn, status, .. } = &report;
        if self.over.contains(task_arn) {
            return;
        }
        if !self.ledger.with(|entries| entries.acknowledged.contains(task_arn)) {
            tracing::info!(task = task_arn, status = status.as_str(), "reporting");
            self.reporter.tell(report);
        } else if *status == Status::Stopped {
            self.feed(Input::StopAccepted { task_arn: task_arn.clone() });
        }
    }

    /// The scheduler knows that the task is over: nobody has to be told again, whoever adopts what is left.
    fn stop_accepted(&mut self, task_arn: String) {
        self.over.remove(&task_arn);
        if self.engine.knows(&task_arn) {
            self.ledger.update(|entries| entries.acknowledged.insert(task_arn.clone()));
        }
        self.feed(Input::StopAccepted { task_arn });
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
        let image = task
            .and_then(|task| task.container(&key.container))
            .and_then(|container| container.image.as_ref());
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
                    self.ledger.update(|entries| {
                        entries.acknowledged.remove(&task_arn);
                        entries.stopping.remove(&task_arn);
                    });
                    self.tasks.remove(&task_arn);
                    self.by_id.retain(|_, key| key.task_arn != task_arn);
                    self.starved.retain(|id| self.by_id.contains_key(id));
                    self.drop_unused_image_env();
                }
            }
            Answer::ImagesCleaned => {}
        }
    }

    /// Remembers which container an id stands for, and that the task needs the ledger no more.
    fn index(&mut self, input: &Input) {
        let (Input::Created { key, outcome: Ok(snapshot) } | Input::Started { key, outcome: Ok(snapshot) }) =
            input
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
