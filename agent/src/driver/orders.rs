//! What the scheduler orders and other parts ask, and what becomes of it.
//!
//! An order only changes what is wanted; the engine draws the consequences. A payload is answered once the ledger
//! holds its tasks, while they start already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ecsr_api::acs;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Alarm, Driver};
use crate::engine::{Contact, Input, TaskView};
use crate::runtime::Runtime;
use crate::task::{Refusal, Task};

/// Orders that may wait for the driver: it takes them faster than a socket can bring them.
pub(super) const COMMANDS_MAX: usize = 64;
/// Tasks that are known at once, those waiting for clean-up included: far above what a host can run, and what
/// keeps a scheduler gone wild from filling the agent's memory.
const TASKS_MAX: usize = 10_000;
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
    /// The scheduler cannot be reached any more.
    Disconnected,
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
    pub(super) fn new(commands: mpsc::Sender<Command>, health: watch::Receiver<u64>) -> Self {
        Handle { commands, health }
    }

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

/// How far the scheduler's word on adopted tasks has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// No connection was made yet.
    Awaited,
    /// A connection was made: a manifest should follow.
    Due,
    /// The manifest came; it decides.
    Given,
}

impl<R: Runtime> Driver<R> {
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Payload { tasks, reply } => self.payload(tasks, reply),
            Command::Manifest { tasks, reply } => {
                let _ = reply.send(self.manifest(&tasks));
            }
            Command::Stop { task_arns } => self.stop(task_arns),
            Command::Disconnected => self.feed(Input::Contact(Contact::Away)),
            Command::Connected => {
                self.feed(Input::Contact(Contact::Present));
                if self.confirmation == Confirmation::Awaited {
                    self.confirmation = Confirmation::Due;
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
        self.stop(stops.into_iter().filter_map(|task| task.arn).collect());
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
        for spec in specs {
            self.feed(Input::Run(spec));
        }
        tokio::spawn(async move {
            version.written().await;
            let _ = reply.send(accepted);
        });
    }

    /// Stops tasks, and sees that a later agent knows that they were to stop: it is not to restart what ends of that.
    fn stop(&mut self, task_arns: Vec<String>) {
        let known: Vec<&String> = task_arns.iter().filter(|arn| self.engine.knows(arn)).collect();
        let is_news = |arn: &&&String| !self.ledger.with(|entries| entries.stopping.contains(**arn));
        let news: Vec<String> = known.iter().filter(is_news).map(|arn| (*arn).clone()).collect();
        if !news.is_empty() {
            self.ledger.update(|entries| entries.stopping.extend(news));
        }
        for task_arn in task_arns {
            self.feed(Input::Stop { task_arn });
        }
    }

    fn admit(&mut self, acs: acs::Task) -> Result<Arc<Task>, Refusal> {
        let task = Task::load(acs)?;
        if task.credentials_id.is_some() && !self.config.task_iam_role {
            let what = "roleCredentials: ECS_ENABLE_TASK_IAM_ROLE is not set on this instance";
            return Err(Refusal::Unsupported(what.to_owned()));
        }
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
        self.confirmation = Confirmation::Given;
        let running: BTreeSet<&String> =
            tasks.iter().filter(|(_, desired)| *desired == "RUNNING").map(|(task_arn, _)| task_arn).collect();
        for task_arn in &running {
            self.feed(Input::Confirm { task_arn: (*task_arn).clone() });
        }
        let unknown: Vec<String> =
            running.iter().filter(|arn| !self.engine.knows(arn)).map(|arn| (*arn).clone()).collect();
        if !unknown.is_empty() {
            self.timers.set(Alarm::Vanished(unknown), VANISHED_GRACE);
        }
        self.engine.wanted().filter(|arn| !running.contains(&(*arn).to_owned())).map(str::to_owned).collect()
    }

    pub(super) fn alarm(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Engine(timer) => self.feed(Input::TimerFired(timer)),
            Alarm::Vanished(task_arns) => {
                for task_arn in task_arns {
                    if !self.engine.knows(&task_arn) {
                        let reason =
                            "ContainerVanishedError: the task's containers are not on this instance any more";
                        self.feed(Input::Reject { task_arn, reason: reason.to_owned() });
                    }
                }
            }
            Alarm::ConfirmAll if self.confirmation == Confirmation::Given => {}
            Alarm::ConfirmAll => {
                let known: Vec<String> = self.engine.wanted().map(str::to_owned).collect();
                for task_arn in known {
                    self.feed(Input::Confirm { task_arn });
                }
            }
            Alarm::CleanImages => self.clean_images(),
        }
    }
}
