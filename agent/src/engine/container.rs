//! The machine of one container: which step it has reached, and what each fact from the world does to it.
//!
//! A phase is the agent's knowledge, never its wish. `Pulling`, `Creating`, `Starting` and `Stopping` mean that
//! the matching action is with the driver and that exactly one answer will come; the others wait for a decision
//! of the task. STOPPED is entered only by an exit that the runtime showed, by the container's absence, or by a
//! container that was never started.

use std::time::Duration;

use ecsr_api::Timestamp;

use super::observe::{Exit, Health, NetworkBinding, RunState, Snapshot};
use super::spec::{ContainerSpec, LocalRestart};

/// How far a container has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was asked of the runtime yet.
    Waiting,
    /// Its image is being looked up or pulled.
    Pulling,
    /// Its image is on the host.
    Pulled,
    /// The runtime was asked to make it.
    Creating,
    /// It exists and was not started, or it is about to be restarted.
    Created { id: String },
    /// The runtime was asked to start it.
    Starting { id: String },
    /// Its process lives.
    Running { id: String },
    /// It ended while the scheduler was away, and pauses before it is started again.
    Resting { id: String },
    /// The runtime was asked to stop it, for the `attempt`th time.
    Stopping { id: String, attempt: u32 },
    /// It will not run again, and is known not to run.
    Stopped { id: Option<String> },
}

/// The machine and what is known besides the phase.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) spec: ContainerSpec,
    pub(super) phase: Phase,
    /// When its last run began; `None` if it never ran.
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) exit_code: Option<i64>,
    /// Why it ended or could not begin, as `Name: text`.
    pub(super) reason: Option<String>,
    pub(super) health: Health,
    pub(super) health_since: Option<Timestamp>,
    pub(super) image_digest: Option<String>,
    pub(super) bindings: Vec<NetworkBinding>,
    /// Its `startTimeout` ran out: those that still wait for it give up.
    pub(super) start_expired: bool,
    /// How often it was restarted in place.
    pub(super) restarts: u32,
    /// The exit after which it was restarted: late news of that exit is not a new one.
    restarted_from: Option<Timestamp>,
    /// How often in a row it was restarted because the scheduler was away.
    rests: u32,
    /// This agent saw it run, so that its end is one of this agent's time.
    seen_running: bool,
    /// It was removed by somebody: to run again it has to be made anew.
    vanished: bool,
    /// It came back to life after its end and was stopped once more.
    revenant: bool,
}

/// What a container asks for when a fact arrives that no decision of the task can wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Nothing.
    None,
    /// It runs although it had ended: stop it.
    StopAgain { id: String },
}

/// The exit code of a container that never ran because what it waits for failed, as Amazon's agent gives it.
const EXIT_CODE_DEPENDENCY: i64 = 143;

impl Container {
    pub(super) fn new(spec: ContainerSpec) -> Self {
        Container {
            spec,
            phase: Phase::Waiting,
            started_at: None,
            finished_at: None,
            exit_code: None,
            reason: None,
            health: Health::Unknown,
            health_since: None,
            image_digest: None,
            bindings: Vec::new(),
            start_expired: false,
            restarts: 0,
            restarted_from: None,
            rests: 0,
            seen_running: false,
            vanished: false,
            revenant: false,
        }
    }

    /// The runtime's id of it, once it exists.
    pub(super) fn id(&self) -> Option<&str> {
        match &self.phase {
            Phase::Waiting | Phase::Pulling | Phase::Pulled | Phase::Creating => None,
            Phase::Created { id }
            | Phase::Starting { id }
            | Phase::Running { id }
            | Phase::Resting { id }
            | Phase::Stopping { id, .. } => Some(id),
            Phase::Stopped { id } => id.as_deref(),
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped { .. })
    }

    /// Whether it ever ran.
    pub(super) fn has_started(&self) -> bool {
        self.started_at.is_some()
    }

    /// Takes over a container that an earlier agent made.
    pub(super) fn adopt(&mut self, snapshot: Snapshot, now: Timestamp) {
        self.phase = Phase::Created { id: snapshot.id.clone() };
        self.observe(snapshot, now);
    }

    /// The answer to `Creating`. The container may run already when an earlier agent's call made it.
    pub(super) fn on_created(&mut self, outcome: Result<Snapshot, String>, now: Timestamp) {
        if self.phase != Phase::Creating {
            return;
        }
        match outcome {
            Ok(snapshot) => self.adopt(snapshot, now),
            Err(reason) => self.end_unstarted(reason, now),
        }
    }

    /// The answer to `Starting`. An answer that comes after the exit was seen changes nothing; one that shows only the
    /// exit before leaves it to be started.
    pub(super) fn on_started(&mut self, outcome: Result<Snapshot, String>, now: Timestamp) -> Reaction {
        if self.vanished && matches!(self.phase, Phase::Starting { .. }) {
            let is_another = outcome.as_ref().is_ok_and(|snapshot| self.id() != Some(snapshot.id.as_str()));
            if !is_another {
                self.end_vanished(now);
                return Reaction::None;
            }
            self.vanished = false;
        }
        match outcome {
            Ok(snapshot) => {
                if let Phase::Starting { id } = &mut self.phase {
                    id.clone_from(&snapshot.id);
                    if snapshot.state == RunState::Created {
                        self.end_unstarted(
                            "DockerStateError: the container was started but does not run".to_owned(),
                            now,
                        );
                        return Reaction::None;
                    }
                    // The word to start was lost on its way, and what is seen is the end before it: it is due still.
                    if is_exit_of(&snapshot, self.restarted_from) {
                        self.phase = Phase::Created { id: snapshot.id };
                        return Reaction::None;
                    }
                }
                self.observe(snapshot, now)
            }
            Err(reason) => {
                if matches!(self.phase, Phase::Starting { .. }) {
                    self.end_unstarted(reason, now);
                }
                Reaction::None
            }
        }
    }

    /// Any other inspection. Idempotent: the same snapshot twice is as good as once.
    pub(super) fn observe(&mut self, snapshot: Snapshot, now: Timestamp) -> Reaction {
        if self.id() != Some(snapshot.id.as_str()) {
            return Reaction::None;
        }
        let Snapshot { id, state, health, bindings } = snapshot;
        match (&self.phase, state) {
            (Phase::Waiting | Phase::Pulling | Phase::Pulled | Phase::Creating, _)
            | (_, RunState::Created)
            | (Phase::Stopped { .. } | Phase::Resting { .. }, RunState::Exited(_)) => Reaction::None,
            // Late news of a run whose end was seen.
            (
                Phase::Created { .. } | Phase::Starting { .. } | Phase::Resting { .. },
                RunState::Running { started_at },
            ) if self.started_at == Some(started_at) => Reaction::None,
            (
                Phase::Created { .. }
                | Phase::Starting { .. }
                | Phase::Running { .. }
                | Phase::Resting { .. },
                RunState::Running { started_at },
            ) => {
                self.phase = Phase::Running { id };
                self.note_run(started_at, bindings);
                self.note_health(health.unwrap_or_default(), now);
                Reaction::None
            }
            (Phase::Stopping { .. }, RunState::Running { started_at }) => {
                self.note_run(started_at, bindings);
                Reaction::None
            }
            (
                Phase::Created { .. }
                | Phase::Starting { .. }
                | Phase::Running { .. }
                | Phase::Stopping { .. },
                RunState::Exited(exit),
            ) => {
                if self.restarted_from != Some(exit.finished_at) {
                    self.end(id, exit);
                }
                Reaction::None
            }
            (Phase::Stopped { .. }, RunState::Running { .. }) => {
                if std::mem::replace(&mut self.revenant, true) {
                    Reaction::None
                } else {
                    Reaction::StopAgain { id }
                }
            }
        }
    }

    /// A verdict of the health check. True if it is news.
    pub(super) fn note_health(&mut self, health: Health, now: Timestamp) -> bool {
        if self.health == health && self.health_since.is_some() {
            return false;
        }
        self.health = health;
        self.health_since = Some(now);
        self.spec.health_checked
    }

    /// Whether the bare news of a death ends it: its run is known, and it is not to be restarted in place, for which
    /// one exit must be told from the next by the runtime's own times.
    pub(super) fn takes_death(&self) -> bool {
        let runs = matches!(self.phase, Phase::Running { .. } | Phase::Stopping { .. });
        runs && self.started_at.is_some() && self.spec.restart.is_none()
    }

    /// The runtime told that its process ended.
    pub(super) fn on_died(&mut self, id: &str, exit_code: i64, at: Timestamp) {
        if let Some(started_at) = self.started_at
            && self.takes_death()
            && self.id() == Some(id)
        {
            let exit = Exit { started_at, finished_at: at, exit_code, oom_killed: false, error: None };
            self.end(id.to_owned(), exit);
        }
    }

    /// The container is not there any more: nothing of it can run.
    pub(super) fn on_gone(&mut self, id: &str, now: Timestamp) {
        if self.is_stopped() || self.id() != Some(id) {
            return;
        }
        self.vanished = true;
        // One that pauses is about to be made anew; one that is being started is ended by the answer that will come.
        if matches!(self.phase, Phase::Resting { .. } | Phase::Starting { .. }) {
            return;
        }
        self.end_vanished(now);
    }

    fn end_vanished(&mut self, now: Timestamp) {
        self.phase = Phase::Stopped { id: self.id().map(str::to_owned) };
        self.finished_at = Some(now);
        self.reason =
            Some("ContainerVanishedError: The container was removed from Docker by someone else".to_owned());
    }

    /// Ends a container that was never started.
    pub(super) fn end_unstarted(&mut self, reason: String, now: Timestamp) {
        self.phase = Phase::Stopped { id: self.id().map(str::to_owned) };
        self.finished_at = Some(now);
        self.reason.get_or_insert(reason);
    }

    /// Ends a container that was never started and that nobody needs any more.
    pub(super) fn end_unneeded(&mut self) {
        self.phase = Phase::Stopped { id: self.id().map(str::to_owned) };
    }

    /// Ends a container whose dependency can never be satisfied.
    pub(super) fn end_for_dependency(&mut self, reason: String, now: Timestamp) {
        self.exit_code = Some(EXIT_CODE_DEPENDENCY);
        self.end_unstarted(reason, now);
    }

    /// Turns an exit into a restart in place, if the policy allows one. True if it did.
    pub(super) fn restart_in_place(&mut self) -> bool {
        let (Some(policy), Phase::Stopped { id: Some(id) }) = (&self.spec.restart, &self.phase) else {
            return false;
        };
        let (Some(started_at), Some(finished_at), Some(code)) =
            (self.started_at, self.finished_at, self.exit_code)
        else {
            return false;
        };
        let ran_long_enough = finished_at.since(started_at) >= policy.attempt_period;
        if !ran_long_enough || policy.ignored_exit_codes.contains(&code) {
            return false;
        }
        self.phase = Phase::Created { id: id.clone() };
        self.restarted_from = Some(finished_at);
        self.begin_anew();
        true
    }

    /// Turns an end into a pause before another start, if it was this agent that saw it run. The pause.
    pub(super) fn rest(&mut self, rule: LocalRestart, now: Timestamp) -> Option<Duration> {
        let Phase::Stopped { id: Some(id) } = &self.phase else { return None };
        let started_at = self.started_at.filter(|_| self.seen_running)?;
        let finished_at = self.finished_at.unwrap_or(now);
        if finished_at.since(started_at) >= rule.delay_max {
            self.rests = 0;
        }
        let doubled = rule.delay_min.saturating_mul(1_u32.checked_shl(self.rests).unwrap_or(u32::MAX));
        self.rests = self.rests.saturating_add(1);
        self.phase = Phase::Resting { id: id.clone() };
        // A start that failed is no exit, and the exit before it may still be heard of.
        if self.exit_code.is_some() {
            self.restarted_from = self.finished_at;
        }
        Some(doubled.min(rule.delay_max))
    }

    /// Ends the pause, if it is in one. True if it was.
    pub(super) fn wake(&mut self) -> bool {
        let Phase::Resting { id } = &self.phase else { return false };
        self.phase = if self.vanished { Phase::Waiting } else { Phase::Created { id: id.clone() } };
        self.vanished = false;
        self.begin_anew();
        true
    }

    /// Forgets how the last run ended.
    fn begin_anew(&mut self) {
        self.restarts += 1;
        (self.exit_code, self.finished_at, self.reason) = (None, None, None);
        (self.health, self.health_since) = (Health::Unknown, None);
    }

    fn note_run(&mut self, started_at: Timestamp, bindings: Vec<NetworkBinding>) {
        self.started_at = Some(started_at);
        self.seen_running = true;
        if !bindings.is_empty() {
            self.bindings = bindings;
        }
    }

    fn end(&mut self, id: String, exit: Exit) {
        self.phase = Phase::Stopped { id: Some(id) };
        self.started_at = Some(exit.started_at);
        self.finished_at = Some(exit.finished_at);
        self.exit_code = Some(exit.exit_code);
        if exit.oom_killed {
            self.reason = Some("OutOfMemoryError: Container killed due to memory usage".to_owned());
        } else if exit.error.is_some() {
            self.reason = exit.error;
        }
    }
}

/// Whether the snapshot shows the exit of that moment.
fn is_exit_of(snapshot: &Snapshot, moment: Option<Timestamp>) -> bool {
    match &snapshot.state {
        RunState::Exited(exit) => moment == Some(exit.finished_at),
        RunState::Created | RunState::Running { .. } => false,
    }
}
