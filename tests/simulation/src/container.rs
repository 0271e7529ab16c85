//! A container of the simulated engine: what it is, what its process does, and how long it will.

use std::collections::BTreeMap;
use std::time::Duration;

use ecsr_agent::engine::{BoundPorts, Exit, NetworkBinding, RunState, Snapshot};
use ecsr_agent::runtime::{CreateRequest, Event, EventKind};
use ecsr_api::Timestamp;

use crate::chance::Chance;

/// Exit codes of processes that were stopped, killed, or lost with the power.
pub(crate) const TERMINATED: i64 = 143;
pub(crate) const KILLED: i64 = 137;
const POWER_LOST: i64 = 255;

/// What the processes of an image are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Runs until it is stopped.
    Steady,
    /// Runs until it is killed.
    Stubborn,
    /// Ends with code 1 after some seconds.
    Crashing,
    /// Ends with code 0 after some seconds.
    Job,
    /// Runs for some minutes.
    Mortal,
    /// The engine cannot start it.
    Unstartable,
    /// No registry has it.
    Unpullable,
}

impl Temper {
    pub(crate) const ALL: [Self; 7] = [
        Self::Steady,
        Self::Stubborn,
        Self::Crashing,
        Self::Job,
        Self::Mortal,
        Self::Unstartable,
        Self::Unpullable,
    ];

    /// The image that is like this.
    pub(crate) const fn image(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Stubborn => "stubborn",
            Self::Crashing => "crashing",
            Self::Job => "job",
            Self::Mortal => "mortal",
            Self::Unstartable => "unstartable",
            Self::Unpullable => "unpullable",
        }
    }

    pub(crate) fn of(image: &str) -> Self {
        let known = Self::ALL.into_iter().find(|temper| temper.image() == image);
        known.expect("definitions name these images only")
    }

    /// When a process ends by itself, and how.
    pub(crate) fn end(self, chance: &Chance) -> Option<(Duration, i64)> {
        let seconds = Duration::from_secs;
        match self {
            Self::Steady | Self::Stubborn | Self::Unstartable | Self::Unpullable => None,
            Self::Crashing => Some((chance.between(Duration::ZERO, seconds(15)), 1)),
            Self::Job => Some((chance.between(Duration::ZERO, seconds(40)), 0)),
            Self::Mortal => Some((chance.between(seconds(20), seconds(600)), 1)),
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// In whole seconds, as Docker's lists have it.
    pub(crate) created_at: Timestamp,
    pub(crate) temper: Temper,
    ports: Vec<(u16, Option<u16>, String)>,
    pub(crate) state: RunState,
    bindings: Vec<NetworkBinding>,
    /// Counts runs: the end that was meant for one is not that of the next.
    pub(crate) run: u64,
    /// It hangs: neither SIGTERM nor SIGKILL ends it until the fault is lifted.
    pub(crate) is_immortal: bool,
}

impl Container {
    pub(crate) fn new(id: String, request: CreateRequest, now: Timestamp) -> Self {
        let CreateRequest { name, body, .. } = request;
        let mut ports = Vec::new();
        for (port, rows) in body.host_config.and_then(|host| host.port_bindings).unwrap_or_default() {
            let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
            let number = number.parse().expect("a port is a number");
            for row in rows.unwrap_or_default() {
                let host = row.host_port.and_then(|host| host.parse().ok()).filter(|host| *host > 0);
                ports.push((number, host, protocol.to_owned()));
            }
        }
        // Docker's map has no order.
        ports.sort();
        Self {
            id,
            name,
            labels: body.labels.unwrap_or_default().into_iter().collect(),
            created_at: Timestamp::from_seconds(now.millis() / 1000),
            temper: Temper::of(&body.image.unwrap_or_default()),
            ports,
            state: RunState::Created,
            bindings: Vec::new(),
            run: 0,
            is_immortal: false,
        }
    }

    /// The task that it belongs to.
    pub(crate) fn task_arn(&self) -> &str {
        self.labels.get("com.amazonaws.ecs.task-arn").map_or("", String::as_str)
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, RunState::Running { .. })
    }

    /// The host ports that it holds.
    pub(crate) fn host_ports(&self) -> impl Iterator<Item = u16> {
        let bindings = if self.is_running() { &self.bindings[..] } else { &[] };
        bindings.iter().filter_map(|binding| match binding.ports {
            BoundPorts::Single { host, .. } => Some(host),
            BoundPorts::Range { .. } => None,
        })
    }

    /// The host ports that it names.
    pub(crate) fn fixed_ports(&self) -> impl Iterator<Item = u16> {
        self.ports.iter().filter_map(|(_, host, _)| *host)
    }

    pub(crate) fn start(&mut self, now: Timestamp, mut dynamic: impl FnMut() -> u16) {
        let bind = |(inner, host, protocol): &(u16, Option<u16>, String)| NetworkBinding {
            bind_ip: "0.0.0.0".to_owned(),
            ports: BoundPorts::Single { container: *inner, host: host.unwrap_or_else(&mut dynamic) },
            protocol: protocol.clone(),
        };
        self.bindings = self.ports.iter().map(bind).collect();
        self.state = RunState::Running { started_at: now };
        self.run += 1;
    }

    /// Its process ends. False if none ran.
    pub(crate) fn exit(&mut self, exit_code: i64, now: Timestamp) -> bool {
        let RunState::Running { started_at } = self.state else { return false };
        let exit = Exit { started_at, finished_at: now, exit_code, oom_killed: false, error: None };
        self.state = RunState::Exited(exit);
        true
    }

    pub(crate) fn lose_power(&mut self, now: Timestamp) {
        self.exit(POWER_LOST, now);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let bindings = if self.is_running() { self.bindings.clone() } else { Vec::new() };
        Snapshot { id: self.id.clone(), state: self.state.clone(), health: None, bindings }
    }

    pub(crate) fn event(&self, kind: EventKind) -> Event {
        Event { id: self.id.clone(), name: self.name.clone(), kind }
    }
}
