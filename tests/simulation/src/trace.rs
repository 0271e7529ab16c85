//! What happened, in order: hashed, so that two runs of a seed can be compared, counted where it is a fault, and
//! printed where somebody wants to read it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Everything that is done to the cluster to see whether it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    SchedulerCrashed,
    CrashedWhileAppending,
    AppendRefused,
    AppendAnswerLost,
    AppendTorn,
    DiskFull,
    ClockForward,
    ClockBackward,
    AgentCrashed,
    AgentLostItsDisk,
    AgentDiskFull,
    HostPoweredOff,
    HostWiped,
    Partitioned,
    CallLost,
    AnswerLost,
    CallRepeated,
    LineCut,
    EngineAway,
    EngineAnswerLost,
    EventStreamBroken,
    ContainerExited,
    ContainerIgnoresStop,
    ContainerCannotStop,
    ContainerVanished,
    CannotStart,
    CannotPull,
}

/// Whether the timeline is printed as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeline {
    Silent,
    Printed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Trace {
    began: Instant,
    timeline: Timeline,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    hash: Fnv,
    lines: u64,
    faults: BTreeMap<Fault, u64>,
    violation: Option<String>,
}

/// FNV-1a, which needs no buffer: lines are hashed as they are formatted.
#[derive(Debug)]
struct Fnv(u64);

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

impl Trace {
    /// A trace that begins now.
    pub(crate) fn new(timeline: Timeline) -> Self {
        let inner =
            Inner { hash: Fnv(0xcbf2_9ce4_8422_2325), lines: 0, faults: BTreeMap::new(), violation: None };
        Self { began: Instant::now(), timeline, inner: Mutex::new(inner) }
    }

    /// Notes that something happened.
    pub(crate) fn note(&self, who: impl Display, what: fmt::Arguments<'_>) {
        let at = self.began.elapsed();
        let mut inner = self.lock();
        inner.lines += 1;
        writeln!(inner.hash, "{} {who} {what}", at.as_millis()).expect("hashing does not fail");
        drop(inner);
        if self.timeline == Timeline::Printed {
            let seconds = at.as_secs();
            let (minutes, seconds, millis) = (seconds / 60, seconds % 60, at.subsec_millis());
            println!("{minutes:4}:{seconds:02}.{millis:03}  {who:<12} {what}");
        }
    }

    /// Notes something that was done to somebody.
    pub(crate) fn fault(&self, fault: Fault, who: impl Display) {
        *self.lock().faults.entry(fault).or_default() += 1;
        self.note(who, format_args!("FAULT {fault:?}"));
    }

    /// Notes that an invariant is broken. The first one counts.
    pub(crate) fn broken(&self, what: String) {
        self.note("law", format_args!("BROKEN: {what}"));
        self.lock().violation.get_or_insert(what);
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    pub(crate) fn hash(&self) -> u64 {
        self.lock().hash.0
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lock().lines
    }

    pub(crate) fn faults(&self) -> BTreeMap<Fault, u64> {
        self.lock().faults.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
