//! The machine of one task: from what is known of its containers to the next actions.
//!
//! `advance` is level-triggered: it looks at what is, not at what happened, and repeats until no container can go
//! on. So no wake-up can be missed and an input may arrive twice. Essential: the first essential container that
//! ends turns the task's desired status to STOPPED, and nothing turns it back.

use ecsr_api::Timestamp;

use super::container::{Container, Phase};
use super::depend::{Readiness, readiness};
use super::spec::TaskSpec;
use super::view::{
    ContainerReport, Status, TaskReport, TaskView, container_report, container_status, container_view,
};
use super::{Action, Contact, ContainerKey, Settings, Timer};

#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) spec: TaskSpec,
    pub(super) containers: Vec<Container>,
    /// Whether it should run. Never turns back to true.
    wanted: bool,
    /// Taken over from an earlier agent and not confirmed by the scheduler yet: what runs is kept, nothing new
    /// is started.
    held: bool,
    pub(super) pull_started_at: Option<Timestamp>,
    pub(super) pull_stopped_at: Option<Timestamp>,
    execution_stopped_at: Option<Timestamp>,
    reported: Option<(Status, Vec<ContainerReport>)>,
    /// The scheduler has acknowledged STOPPED, so that clean-up was arranged.
    pub(super) stop_accepted: bool,
    /// Its containers are being removed.
    pub(super) removing: bool,
}

impl Task {
    pub(super) fn new(spec: TaskSpec) -> Self {
        let containers = spec.containers.iter().cloned().map(Container::new).collect();
        Task {
            spec,
            containers,
            wanted: true,
            held: false,
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
            reported: None,
            stop_accepted: false,
            removing: false,
        }
    }

    pub(super) fn held(spec: TaskSpec) -> Self {
        Task { held: true, ..Task::new(spec) }
    }

    /// The scheduler wants it to run: nothing is to be waited for any more.
    pub(super) fn release(&mut self) {
        self.held = false;
        for container in &mut self.containers {
            container.wake();
        }
    }

    pub(super) fn stop(&mut self) {
        self.wanted = false;
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.containers.iter().all(Container::is_stopped)
    }

    pub(super) fn container_mut(&mut self, name: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|container| container.spec.name == name)
    }

    pub(super) fn key(&self, index: usize) -> ContainerKey {
        ContainerKey { task_arn: self.spec.arn.clone(), container: self.containers[index].spec.name.clone() }
    }

    /// When the last container ended; what clean-up counts from.
    pub(super) fn stopped_at(&self) -> Option<Timestamp> {
        self.containers.iter().filter_map(|container| container.finished_at).max()
    }

    /// Every action that is due now, and the reports that they lead to.
    pub(super) fn advance(
        &mut self,
        settings: &Settings,
        contact: Contact,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        loop {
            self.settle_desired(contact, now, out);
            let mut moved = false;
            for index in 0..self.containers.len() {
                moved |= self.step(index, settings, now, out);
            }
            if !moved {
                break;
            }
        }
        self.report(out);
    }

    /// Draws the consequences of exits: restart in place, a pause while the scheduler is away, or the end of the task.
    fn settle_desired(&mut self, contact: Contact, now: Timestamp, out: &mut Vec<Action>) {
        for index in 0..self.containers.len() {
            if self.containers[index].is_stopped() {
                self.settle_exit(index, contact, now, out);
            }
        }
    }

    fn settle_exit(&mut self, index: usize, contact: Contact, now: Timestamp, out: &mut Vec<Action>) {
        let local_restart = self.spec.local_restart.filter(|_| self.wanted && contact == Contact::Away);
        let key = self.key(index);
        let container = &mut self.containers[index];
        if self.wanted && !self.held && container.restart_in_place() {
            return;
        }
        if !container.spec.essential {
            return;
        }
        if let Some(after) = local_restart.and_then(|rule| container.rest(rule, now)) {
            out.push(Action::SetTimer { timer: Timer::Rest(key), after });
            return;
        }
        self.wanted = false;
        self.execution_stopped_at.get_or_insert(container.finished_at.unwrap_or(now));
    }

    /// Moves one container as far as a single decision goes. True if it moved.
    fn step(&mut self, index: usize, settings: &Settings, now: Timestamp, out: &mut Vec<Action>) -> bool {
        match &self.containers[index].phase {
            Phase::Waiting
            | Phase::Pulling
            | Phase::Pulled
            | Phase::Created { .. }
            | Phase::Resting { .. }
                if !self.wanted =>
            {
                self.drop_unneeded(index)
            }
            Phase::Pulling
            | Phase::Creating
            | Phase::Starting { .. }
            | Phase::Stopping { .. }
            | Phase::Resting { .. }
            | Phase::Stopped { .. } => false,
            Phase::Running { id } => {
                if self.wanted || !self.dependents_stopped(index) {
                    return false;
                }
                let id = id.clone();
                self.ask_stop(index, id, settings, out);
                true
            }
            // What ran under this agent was not new to start with.
            Phase::Waiting | Phase::Pulled | Phase::Created { .. }
                if self.held && self.containers[index].restarts == 0 =>
            {
                false
            }
            Phase::Waiting if settings.pull_upfront => self.go_on(index, out),
            Phase::Waiting | Phase::Pulled | Phase::Created { .. } => {
                match readiness(&self.containers[index].spec.depends_on, &self.containers) {
                    Readiness::Ready => self.go_on(index, out),
                    Readiness::Wait => false,
                    Readiness::Impossible(reason) => {
                        self.containers[index].end_for_dependency(reason, now);
                        true
                    }
                }
            }
        }
    }

    /// Asks for the step after `Waiting`, `Pulled` or `Created`.
    fn go_on(&mut self, index: usize, out: &mut Vec<Action>) -> bool {
        let key = self.key(index);
        let container = &mut self.containers[index];
        match std::mem::replace(&mut container.phase, Phase::Waiting) {
            Phase::Waiting => {
                container.phase = Phase::Pulling;
                out.push(Action::Pull { image: container.spec.image.clone(), key });
            }
            Phase::Pulled => {
                container.phase = Phase::Creating;
                out.push(Action::Create { key });
            }
            Phase::Created { id } => {
                container.phase = Phase::Starting { id: id.clone() };
                if let Some(after) = container.spec.start_timeout {
                    out.push(Action::SetTimer { timer: Timer::StartTimeout(key.clone()), after });
                }
                out.push(Action::Start { key, id });
            }
            Phase::Pulling
            | Phase::Creating
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Resting { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped { .. } => unreachable!("only a container that waits for a decision goes on"),
        }
        true
    }

    fn drop_unneeded(&mut self, index: usize) -> bool {
        self.containers[index].end_unneeded();
        true
    }

    fn ask_stop(&mut self, index: usize, id: String, settings: &Settings, out: &mut Vec<Action>) {
        let key = self.key(index);
        let container = &mut self.containers[index];
        container.phase = Phase::Stopping { id: id.clone(), attempt: 1 };
        let grace = container.spec.stop_timeout.unwrap_or(settings.stop_timeout);
        out.push(Action::Stop { key, id, grace });
    }

    /// Whether all that depend on this container have ended: the reverse order of starting.
    fn dependents_stopped(&self, index: usize) -> bool {
        let name = &self.containers[index].spec.name;
        self.containers
            .iter()
            .filter(|other| other.spec.depends_on.iter().any(|dependency| &dependency.container == name))
            .all(Container::is_stopped)
    }

    /// Tells the scheduler what it was not told yet.
    fn report(&mut self, out: &mut Vec<Action>) {
        if self.has_reached_running() && (self.wanted || self.reported.is_none()) {
            self.report_as(Status::Running, out);
        }
        if self.is_stopped() {
            self.report_as(Status::Stopped, out);
        }
    }

    /// Whether every container runs or ran, but for non-essential ones that could not.
    fn has_reached_running(&self) -> bool {
        self.containers
            .iter()
            .all(|container| container.has_started() || (container.is_stopped() && !container.spec.essential))
            && self.containers.iter().any(Container::has_started)
    }

    fn report_as(&mut self, status: Status, out: &mut Vec<Action>) {
        let containers: Vec<ContainerReport> = self.containers.iter().map(container_report).collect();
        let news = (status, containers);
        if self.reported.as_ref().is_some_and(|told| *told == news || told.0 > status) {
            return;
        }
        out.push(Action::Report(TaskReport {
            task_arn: self.spec.arn.clone(),
            status,
            reason: None,
            containers: news.1.clone(),
            pull_started_at: self.pull_started_at,
            pull_stopped_at: self.pull_stopped_at,
            execution_stopped_at: if status == Status::Stopped { self.execution_stopped_at } else { None },
        }));
        self.reported = Some(news);
    }

    pub(super) fn view(&self) -> TaskView {
        let known = if self.is_stopped() {
            Status::Stopped
        } else if self.has_reached_running() {
            Status::Running
        } else {
            Status::Pending
        };
        debug_assert!(
            known != Status::Stopped
                || self.containers.iter().all(|c| container_status(c) == Status::Stopped)
        );
        TaskView {
            arn: self.spec.arn.clone(),
            family: self.spec.family.clone(),
            version: self.spec.version.clone(),
            desired: if self.wanted { Status::Running } else { Status::Stopped },
            known,
            containers: self.containers.iter().map(container_view).collect(),
        }
    }
}
