//! The brain of the agent: pure state machines, with no clock, no I/O and no memory of what it asked for beyond
//! the phases of its containers.
//!
//! An [`Input`] is a fact or an order; [`Engine::handle`] answers with the [`Action`]s that follow. Every action
//! that names a container is answered by exactly one input. The engine never asks for two things at once of one
//! container, and it always asks for something while there is something to do: the property test in
//! `property.rs` holds it to that.

mod container;
mod depend;
mod observe;
mod order;
mod spec;
mod task;
mod view;

#[cfg(test)]
mod property;
#[cfg(test)]
mod scenario;

use std::collections::BTreeMap;
use std::time::Duration;

use ecsr_api::Timestamp;

pub use observe::{BoundPorts, Exit, Health, NetworkBinding, RunState, Snapshot};
pub use order::{Action, Contact, ContainerKey, Image, Input, Removal, Settings, Timer};
pub use spec::{Condition, ContainerSpec, Dependency, LocalRestart, RestartPolicy, SpecError, TaskSpec};
pub use view::{ContainerReport, ContainerView, Status, TaskReport, TaskView};

use container::{Container, Phase, Reaction};
use task::Task;

/// First pause before a failed stop is tried again; doubles up to [`STOP_RETRY_MAX`].
const STOP_RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause between attempts to stop: a container that cannot be stopped is an operator's matter, but the
/// task must not be reported STOPPED before it is.
const STOP_RETRY_MAX: Duration = Duration::from_secs(30);
/// Pause before a failed clean-up is tried again.
const CLEANUP_RETRY: Duration = Duration::from_mins(1);

/// All tasks of this instance.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    contact: Contact,
    tasks: BTreeMap<String, Task>,
}

impl Engine {
    /// An engine with no task and no scheduler yet.
    pub fn new(settings: Settings) -> Self {
        Engine { settings, contact: Contact::Away, tasks: BTreeMap::new() }
    }

    /// Whether the task is known here, in whatever state.
    pub fn knows(&self, task_arn: &str) -> bool {
        self.tasks.contains_key(task_arn)
    }

    /// How many tasks are known, those that wait for clean-up included.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no task is known.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The tasks that should run, by ARN: what a manifest is compared with.
    pub fn wanted(&self) -> impl Iterator<Item = &str> {
        self.tasks.values().filter(|task| task.is_wanted()).map(|task| task.spec.arn.as_str())
    }

    /// Whether a start of this container is news: it was not asked for, or it was thought to be over.
    pub fn is_start_news(&self, key: &ContainerKey) -> bool {
        self.container(key).is_some_and(|container| match container.phase {
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. } => false,
            Phase::Waiting
            | Phase::Pulling
            | Phase::Pulled
            | Phase::Creating
            | Phase::Created { .. }
            | Phase::Resting { .. }
            | Phase::Stopped { .. } => true,
        })
    }

    /// Whether [`Input::Died`] would end this container; otherwise it takes an inspection.
    pub fn takes_death(&self, key: &ContainerKey) -> bool {
        // One that may be restarted has its exits told apart by the runtime's own times.
        let may_restart = self.contact == Contact::Away
            && self.tasks.get(&key.task_arn).is_some_and(|task| task.spec.local_restart.is_some());
        !may_restart && self.container(key).is_some_and(Container::takes_death)
    }

    fn container(&self, key: &ContainerKey) -> Option<&Container> {
        let task = self.tasks.get(&key.task_arn)?;
        task.containers.iter().find(|container| container.spec.name == key.container)
    }

    /// The tasks as telemetry and introspection see them, by ARN.
    pub fn views(&self) -> impl Iterator<Item = TaskView> {
        self.tasks.values().map(Task::view)
    }

    /// The images that the known tasks refer to, which must not be cleaned up.
    pub fn images_in_use(&self) -> impl Iterator<Item = &str> {
        self.tasks.values().flat_map(|task| &task.spec.containers).map(|container| container.image.as_str())
    }

    /// Takes a fact or an order at the moment `now` and answers with what must be done, in that order.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        let mut out = Vec::new();
        match input {
            Input::Run(spec) => self.run(spec, now, &mut out),
            Input::Adopt { spec, containers } => self.adopt(spec, containers, now, &mut out),
            Input::Confirm { task_arn } => self.with(&task_arn, now, &mut out, |task, _| task.release()),
            Input::Stop { task_arn } if self.knows(&task_arn) => {
                self.with(&task_arn, now, &mut out, |task, _| task.stop());
            }
            Input::Stop { task_arn } => out.push(Action::Report(bare_stop(task_arn, None))),
            Input::Reject { task_arn, reason } => out.push(Action::Report(bare_stop(task_arn, Some(reason)))),
            Input::Pulled { key, outcome } => self.pulled(&key, outcome, now, &mut out),
            Input::Created { key, outcome } => {
                self.with_container(&key, now, &mut out, |container| {
                    container.on_created(outcome, now);
                    Reaction::None
                });
            }
            Input::Started { key, outcome } => {
                self.with_container(&key, now, &mut out, |container| container.on_started(outcome, now));
            }
            Input::StopFailed { key } => self.stop_failed(&key, &mut out),
            Input::Observed { key, snapshot } => {
                self.with_container(&key, now, &mut out, |container| container.observe(snapshot, now));
            }
            Input::Died { key, .. } if !self.takes_death(&key) => {}
            Input::Died { key, id, exit_code, at } => self.with_container(&key, now, &mut out, |container| {
                container.on_died(&id, exit_code, at);
                Reaction::None
            }),
            Input::Gone { key, id } => self.with_container(&key, now, &mut out, |container| {
                container.on_gone(&id, now);
                Reaction::None
            }),
            Input::Health { key, health } => self.health(&key, health, now, &mut out),
            Input::Contact(contact) => self.contact = contact,
            Input::TimerFired(timer) => self.timer(timer, now, &mut out),
            Input::StopAccepted { task_arn } => self.stop_accepted(&task_arn, now, &mut out),
            Input::Removed { task_arn, outcome } => self.removed(task_arn, outcome, &mut out),
        }
        out
    }

    fn run(&mut self, spec: TaskSpec, now: Timestamp, out: &mut Vec<Action>) {
        let arn = spec.arn.clone();
        if let Err(refusal) = spec.check() {
            out.push(Action::Report(bare_stop(arn, Some(refusal.to_string()))));
            return;
        }
        self.tasks.entry(arn.clone()).or_insert_with(|| Task::new(spec));
        self.with(&arn, now, out, |task, _| task.release());
    }

    fn adopt(
        &mut self,
        spec: TaskSpec,
        containers: Vec<(String, Snapshot)>,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        if self.knows(&spec.arn) || spec.check().is_err() {
            return;
        }
        let arn = spec.arn.clone();
        let mut task = Task::held(spec);
        for (name, snapshot) in containers {
            if let Some(container) = task.container_mut(&name) {
                container.adopt(snapshot, now);
            }
        }
        self.tasks.insert(arn.clone(), task);
        self.with(&arn, now, out, |_, _| ());
    }

    fn pulled(
        &mut self,
        key: &ContainerKey,
        outcome: Result<Image, String>,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        self.with(&key.task_arn, now, out, |task, _| {
            if let Ok(image) = &outcome {
                task.pull_started_at =
                    [task.pull_started_at, image.pull_started_at].into_iter().flatten().min();
                task.pull_stopped_at = task.pull_stopped_at.max(image.pull_stopped_at);
            }
            let Some(container) = task.container_mut(&key.container) else { return };
            if container.phase != Phase::Pulling {
                return;
            }
            match outcome {
                Ok(image) => {
                    container.phase = Phase::Pulled;
                    container.image_digest = image.digest;
                }
                Err(reason) => container.end_unstarted(reason, now),
            }
        });
    }

    fn stop_failed(&mut self, key: &ContainerKey, out: &mut Vec<Action>) {
        let Some(container) = self.container_mut(key) else { return };
        if let Phase::Stopping { attempt, .. } = &mut container.phase {
            let after = STOP_RETRY_MIN.saturating_mul(1 << (*attempt - 1).min(5)).min(STOP_RETRY_MAX);
            *attempt = attempt.saturating_add(1);
            out.push(Action::SetTimer { timer: Timer::StopRetry(key.clone()), after });
        }
    }

    fn health(&mut self, key: &ContainerKey, health: Health, now: Timestamp, out: &mut Vec<Action>) {
        let is_news = self.container_mut(key).is_some_and(|container| container.note_health(health, now));
        if is_news {
            out.push(Action::TellHealth);
        }
        self.with(&key.task_arn, now, out, |_, _| ());
    }

    fn timer(&mut self, timer: Timer, now: Timestamp, out: &mut Vec<Action>) {
        match timer {
            Timer::StartTimeout(key) => {
                if let Some(container) = self.container_mut(&key) {
                    container.start_expired = true;
                }
                self.with(&key.task_arn, now, out, |_, _| ());
            }
            Timer::Rest(key) => {
                if let Some(container) = self.container_mut(&key) {
                    container.wake();
                }
                self.with(&key.task_arn, now, out, |_, _| ());
            }
            Timer::StopRetry(key) => {
                let default_grace = self.settings.stop_timeout;
                let Some(container) = self.container_mut(&key) else { return };
                if let Phase::Stopping { id, .. } = &container.phase {
                    let grace = container.spec.stop_timeout.unwrap_or(default_grace);
                    out.push(Action::Stop { id: id.clone(), grace, key });
                }
            }
            Timer::Cleanup(task_arn) => {
                let Some(task) = self.tasks.get_mut(&task_arn) else { return };
                if task.is_stopped() && task.stop_accepted && !task.removing {
                    task.removing = true;
                    let ids = task.containers.iter().filter_map(|c| c.id().map(str::to_owned)).collect();
                    out.push(Action::Remove { task_arn, ids });
                }
            }
        }
    }

    fn stop_accepted(&mut self, task_arn: &str, now: Timestamp, out: &mut Vec<Action>) {
        let wait = self.settings.cleanup_wait;
        let Some(task) = self.tasks.get_mut(task_arn) else { return };
        if !task.is_stopped() || task.stop_accepted {
            return;
        }
        task.stop_accepted = true;
        let age = task.stopped_at().map_or(Duration::ZERO, |stopped_at| now.since(stopped_at));
        out.push(Action::SetTimer {
            timer: Timer::Cleanup(task_arn.to_owned()),
            after: wait.saturating_sub(age),
        });
    }

    fn removed(&mut self, task_arn: String, outcome: Removal, out: &mut Vec<Action>) {
        match outcome {
            Removal::Done => {
                self.tasks.remove(&task_arn);
            }
            Removal::Failed => {
                if let Some(task) = self.tasks.get_mut(&task_arn) {
                    task.removing = false;
                    out.push(Action::SetTimer { timer: Timer::Cleanup(task_arn), after: CLEANUP_RETRY });
                }
            }
        }
    }

    fn container_mut(&mut self, key: &ContainerKey) -> Option<&mut Container> {
        self.tasks.get_mut(&key.task_arn)?.container_mut(&key.container)
    }

    /// Changes a task, then lets it draw the consequences.
    fn with(
        &mut self,
        task_arn: &str,
        now: Timestamp,
        out: &mut Vec<Action>,
        change: impl FnOnce(&mut Task, &mut Vec<Action>),
    ) {
        if let Some(task) = self.tasks.get_mut(task_arn) {
            change(task, out);
            task.advance(&self.settings, self.contact, now, out);
        }
    }

    fn with_container(
        &mut self,
        key: &ContainerKey,
        now: Timestamp,
        out: &mut Vec<Action>,
        change: impl FnOnce(&mut Container) -> Reaction,
    ) {
        let default_grace = self.settings.stop_timeout;
        self.with(&key.task_arn, now, out, |task, out| {
            let Some(container) = task.container_mut(&key.container) else { return };
            let health = (container.health, container.health_since);
            match change(container) {
                Reaction::None => {}
                Reaction::StopAgain { id } => {
                    let grace = container.spec.stop_timeout.unwrap_or(default_grace);
                    out.push(Action::Stop { key: key.clone(), id, grace });
                }
            }
            if container.spec.health_checked && health != (container.health, container.health_since) {
                out.push(Action::TellHealth);
            }
        });
    }
}

/// The report of a task of which nothing runs here.
fn bare_stop(task_arn: String, reason: Option<String>) -> TaskReport {
    TaskReport {
        task_arn,
        status: Status::Stopped,
        reason,
        containers: Vec::new(),
        pull_started_at: None,
        pull_stopped_at: None,
        execution_stopped_at: None,
    }
}
