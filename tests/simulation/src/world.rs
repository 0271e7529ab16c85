//! Everything there is in a run, shared by all that happens in it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecsr_api::Timestamp;
use ecsr_core::command::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::control::{Answer, Control};
use crate::law::Law;
use crate::line::Line;
use crate::machine::Machine;
use crate::trace::{Fault, Timeline, Trace};

/// The time of day when every run begins.
pub(crate) const EPOCH: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// How long the network typically takes.
const HOP: Duration = Duration::from_millis(2);

/// How long a caller waits for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// One of so many calls, and as many answers, is lost in bad weather; and one of so many comes twice.
const LOST_ONE_IN: u64 = 40;
const REPEATED_ONE_IN: u64 = 25;

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) law: Law,
    pub(crate) control: Control,
    pub(crate) machines: Vec<Machine>,
    began: Instant,
    weather: Mutex<Weather>,
    /// What goes on by itself: late copies of calls, containers that run.
    loose: Mutex<JoinSet<()>>,
}

/// How the network and the engines are doing.
#[derive(Debug, Default)]
struct Weather {
    is_calm: bool,
    /// Hosts that nothing reaches.
    cut_off: BTreeSet<usize>,
    lines: Vec<(usize, Line)>,
}

/// Who talks over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    Host(usize),
    Client(usize),
}

/// Whether a call may reach the scheduler a second time, later, as it does when a client tries again too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    MayCome,
    Never,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(index) => f.pad(&format!("host {index}")),
            Self::Client(index) => f.pad(&format!("client {index}")),
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, timeline: Timeline) -> Self {
        let chance = Chance::new(seed);
        let hosts = 2 + chance.index(4);
        Self {
            machines: (0..hosts).map(|index| Machine::new(index, &chance)).collect(),
            chance,
            trace: Trace::new(timeline),
            law: Law::default(),
            control: Control::default(),
            began: Instant::now(),
            weather: Mutex::default(),
            loose: Mutex::default(),
        }
    }

    /// The time of day as it truly is; a host's clock may differ.
    pub(crate) fn now(&self) -> Timestamp {
        EPOCH.plus(self.began.elapsed())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether it is time for faults.
    pub(crate) fn is_stormy(&self) -> bool {
        !self.weather().is_calm
    }

    /// From here on nothing goes wrong by itself.
    pub(crate) fn calm_down(&self) {
        self.weather().is_calm = true;
    }

    /// Lets something go on by itself.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut loose = self.loose.lock().unwrap_or_else(PoisonError::into_inner);
        // What has ended is let go of here: a run is long.
        while loose.try_join_next().is_some() {}
        loose.spawn(work);
    }

    /// One call to the scheduler, and its answer; `None` if the caller hears nothing.
    pub(crate) async fn call(
        self: &Arc<Self>,
        from: Party,
        command: Command,
        copies: Copies,
    ) -> Option<Answer> {
        if !self.cross(from, Fault::CallLost).await {
            tokio::time::sleep(CALL_TIMEOUT).await;
            return None;
        }
        if copies == Copies::MayCome && self.is_stormy() && self.chance.one_in(REPEATED_ONE_IN) {
            self.trace.fault(Fault::CallRepeated, from);
            let (world, copy) = (self.clone(), command.clone());
            let late = self.chance.between(Duration::ZERO, CALL_TIMEOUT);
            self.spawn(async move {
                tokio::time::sleep(late).await;
                world.control.submit(copy);
            });
        }
        // A scheduler that is not there refuses the connection.
        let answer = self.control.submit(command)?;
        let answer = tokio::time::timeout(CALL_TIMEOUT, answer).await.ok()?.ok()?;
        if self.cross(from, Fault::AnswerLost).await {
            return Some(answer);
        }
        tokio::time::sleep(CALL_TIMEOUT).await;
        None
    }

    /// The way between somebody and the scheduler. False if what goes there is lost.
    pub(crate) async fn cross(&self, party: Party, fault: Fault) -> bool {
        tokio::time::sleep(self.chance.latency(HOP)).await;
        if self.is_cut_off(party) {
            return false;
        }
        let is_lost = self.is_stormy() && self.chance.one_in(LOST_ONE_IN);
        if is_lost {
            self.trace.fault(fault, party);
        }
        !is_lost
    }

    pub(crate) fn hop(&self) -> Duration {
        self.chance.latency(HOP)
    }

    /// Nothing passes between the host and the scheduler.
    pub(crate) fn cut_off(&self, host: usize) {
        let mut weather = self.weather();
        weather.cut_off.insert(host);
        for (_, line) in weather.lines.iter().filter(|(of, _)| *of == host) {
            line.stall();
        }
    }

    /// The host can be reached again. Its connections may have survived.
    pub(crate) fn rejoin(&self, host: usize) {
        let has_survived = self.chance.one_in(2);
        let mut weather = self.weather();
        weather.cut_off.remove(&host);
        for (_, line) in weather.lines.iter().filter(|(of, _)| *of == host) {
            if !has_survived {
                line.cut();
            }
            line.resume();
        }
    }

    /// Breaks the host's connections.
    pub(crate) fn cut_lines(&self, host: usize) {
        for (_, line) in self.weather().lines.iter().filter(|(of, _)| *of == host) {
            line.cut();
        }
    }

    /// Notes a new connection of a host.
    pub(crate) fn add_line(&self, host: usize, line: Line) {
        let mut weather = self.weather();
        weather.lines.retain(|(_, line)| !line.is_over());
        weather.lines.push((host, line));
    }

    pub(crate) fn is_cut_off(&self, party: Party) -> bool {
        match party {
            Party::Host(host) => self.weather().cut_off.contains(&host),
            Party::Client(_) => false,
        }
    }

    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
