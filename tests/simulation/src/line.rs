//! A connection: text in order, both ways, with delays, which may stall, break at any moment or end in good order.
//!
//! As with TCP, nothing is reordered or lost while the connection lives; what was under way when it breaks is gone,
//! and an end whose partner vanished behind a partition hears nothing at all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What comes out of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Closed,
    Broken,
}

/// Both directions of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    to_agent: Arc<Pipe>,
    to_scheduler: Arc<Pipe>,
}

/// One end. Dropping it breaks the line, as the death of its process does.
#[derive(Debug)]
pub(crate) struct LineEnd {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Instant, String)>,
    end: Option<Heard>,
    is_stalled: bool,
}

impl Line {
    /// A new connection: itself, the agent's end and the scheduler's.
    pub(crate) fn open() -> (Self, LineEnd, LineEnd) {
        let line = Self { to_agent: Arc::default(), to_scheduler: Arc::default() };
        let (down, up) = (&line.to_agent, &line.to_scheduler);
        let agent = LineEnd { incoming: down.clone(), outgoing: up.clone() };
        let scheduler = LineEnd { incoming: up.clone(), outgoing: down.clone() };
        (line, agent, scheduler)
    }

    /// Breaks it for both.
    pub(crate) fn cut(&self) {
        self.to_agent.end(Heard::Broken);
        self.to_scheduler.end(Heard::Broken);
    }

    /// Nothing comes through any more.
    pub(crate) fn stall(&self) {
        self.set_stalled(true);
    }

    /// Everything comes through that was held up.
    pub(crate) fn resume(&self) {
        self.set_stalled(false);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.to_agent.lock().end.is_some() && self.to_scheduler.lock().end.is_some()
    }

    fn set_stalled(&self, is_stalled: bool) {
        for pipe in [&self.to_agent, &self.to_scheduler] {
            pipe.lock().is_stalled = is_stalled;
            pipe.changed.notify_one();
        }
    }
}

impl LineEnd {
    /// Sends a message that takes `delay`. False if the line is over.
    pub(crate) fn send(&self, text: String, delay: Duration) -> bool {
        let mut state = self.outgoing.lock();
        if state.end.is_some() {
            return false;
        }
        let last = state.queue.back().map(|(due, _)| *due);
        let due = (Instant::now() + delay).max(last.unwrap_or_else(Instant::now));
        state.queue.push_back((due, text));
        drop(state);
        self.outgoing.changed.notify_one();
        true
    }

    /// Ends the line in good order: what was said before is still heard.
    pub(crate) fn close(&self) {
        self.outgoing.lock().end.get_or_insert(Heard::Closed);
        self.outgoing.changed.notify_one();
    }

    /// What comes next. Cancel safe.
    pub(crate) async fn receive(&self) -> Heard {
        loop {
            let due = match self.incoming.next() {
                Next::Heard(heard) => return heard,
                Next::Wait(due) => due,
            };
            let changed = self.incoming.changed.notified();
            match due {
                Some(due) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
                None => changed.await,
            }
        }
    }
}

impl Drop for LineEnd {
    fn drop(&mut self) {
        self.outgoing.end(Heard::Broken);
        self.incoming.end(Heard::Broken);
    }
}

enum Next {
    Heard(Heard),
    Wait(Option<Instant>),
}

impl Pipe {
    fn next(&self) -> Next {
        let mut state = self.lock();
        if state.is_stalled {
            return Next::Wait(None);
        }
        match state.queue.front() {
            Some((due, _)) if *due > Instant::now() => return Next::Wait(Some(*due)),
            Some(_) | None => {}
        }
        if let Some((_, text)) = state.queue.pop_front() {
            return Next::Heard(Heard::Text(text));
        }
        state.end.clone().map_or(Next::Wait(None), Next::Heard)
    }

    /// The first end counts, but for a break, which also takes what was under way.
    fn end(&self, end: Heard) {
        let mut state = self.lock();
        if state.end.is_none() {
            if end == Heard::Broken {
                state.queue.clear();
            }
            state.end = Some(end);
        }
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
