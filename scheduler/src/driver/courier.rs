//! Brings what is durable to those who wait for it, a few at a time: answers to callers, news to agents' sessions.
//!
//! A large batch wakes thousands, and each has something to write and as a rule something to ask next. Woken all at once
//! they would stand before everything else that the runtime has to do, reads included, for as long as that takes. So
//! after a few of them whoever is ready gets a turn.
//!
//! What is on its way is bounded: every answer belongs to a caller that waits for it, and news name instances.
//!
//! Invariant: the state that holds them is published before any of them is sent.

use std::sync::Arc;

use ecsr_core::command::Reply;
use ecsr_core::{Refusal, State};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::desk::Settled;
use super::{Answer, Bulletin, Done, Failure};

/// Wakings between two turns for others: enough to keep the threads busy, done in about a millisecond.
const AT_ONCE: usize = 16;

/// By what a caller is told; dropped by callers that do not care.
pub(super) type Caller = oneshot::Sender<Answer>;

/// The way to all who wait.
#[derive(Debug)]
pub(super) struct Courier {
    deliveries: mpsc::UnboundedSender<Settled<Caller>>,
}

/// Counts wakings, and lets others have their turn now and then.
#[derive(Debug, Default)]
struct Pace {
    woken: usize,
}

impl Courier {
    /// Works on that runtime until this is dropped and everything is delivered.
    pub(super) fn start(runtime: &Handle, bulletin: Bulletin) -> Self {
        let (deliveries, mut waiting) = mpsc::unbounded_channel();
        runtime.spawn(async move {
            let mut pace = Pace::default();
            while let Some(settled) = waiting.recv().await {
                deliver(settled, &bulletin, &mut pace).await;
            }
        });
        Self { deliveries }
    }

    /// Has everything delivered that comes of a batch which is settled and published.
    pub(super) fn send(&self, settled: Settled<Caller>) {
        // A runtime that has gone took those who wait along.
        let _ = self.deliveries.send(settled);
    }
}

async fn deliver(settled: Settled<Caller>, bulletin: &Bulletin, pace: &mut Pace) {
    let Settled { state, answers, stirred } = settled;
    for (caller, outcome) in answers {
        if !caller.is_closed() {
            // The caller may have gone meanwhile.
            let _ = caller.send(answer(&state, outcome));
            pace.step().await;
        }
    }
    for (instance, news) in stirred.into_instances() {
        bulletin.post(&instance, &news);
        pace.step().await;
    }
}

fn answer(state: &Arc<State>, outcome: Result<Reply, Refusal>) -> Answer {
    outcome.map(|reply| Done { state: state.clone(), reply }).map_err(Failure::Refused)
}

impl Pace {
    async fn step(&mut self) {
        self.woken += 1;
        if self.woken == AT_ONCE {
            self.woken = 0;
            tokio::task::yield_now().await;
        }
    }
}
