//! Brings what is durable to those who wait for it, a few at a time: answers to callers, news to agents' sessions.
//!
//! A large batch wakes thousands, and each has something to write and as a rule something to ask next. Woken all at once
//! they would stand before everything else that the runtime has to do, reads included, for as long as that takes. So
//! after a few of them whoever is ready gets a turn.
//!
//! A writer that is faster waits: few batches are on their way at a time, and each keeps its state alive.
//!
//! Invariant: the state that holds them is published before any of them is sent.

use std::sync::Arc;

use ecsr_core::command::Reply;
use ecsr_core::{Refusal, State};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::desk::Settled;
use super::{Answer, Bulletin, Done, Failure};

/// Wakings of each kind between two turns for others: enough to keep the threads busy, done in about a millisecond.
const AT_ONCE: usize = 16;

/// Batches on their way: enough for the writer not to wait while one is delivered.
const BATCHES_MAX: usize = 8;

/// By what a caller is told; dropped by callers that do not care.
pub(super) type Caller = oneshot::Sender<Answer>;

/// The way to all who wait.
#[derive(Debug)]
pub(super) struct Courier {
    deliveries: mpsc::Sender<Settled<Caller>>,
}

/// Counts wakings, and lets others have their turn now and then.
#[derive(Debug, Default)]
struct Pace {
    woken: usize,
}

impl Courier {
    /// Works on that runtime until this is dropped and everything is delivered.
    pub(super) fn start(runtime: &Handle, bulletin: Bulletin) -> Self {
        let (deliveries, mut waiting) = mpsc::channel(BATCHES_MAX);
        runtime.spawn(async move {
            let mut pace = Pace::default();
            while let Some(settled) = waiting.recv().await {
                deliver(settled, &bulletin, &mut pace).await;
            }
        });
        Self { deliveries }
    }

    /// Has everything delivered that comes of a batch which is settled and published.
    pub(super) async fn send(&self, settled: Settled<Caller>) {
        // A runtime that has gone took those who wait along.
        let _ = self.deliveries.send(settled).await;
    }
}

async fn deliver(settled: Settled<Caller>, bulletin: &Bulletin, pace: &mut Pace) {
    let Settled { state, answers, stirred } = settled;
    let (mut answers, mut stirred) = (answers.into_iter(), stirred.into_instances());
    // One of each: neither callers nor agents wait for all of the others.
    loop {
        let (answered, news) = (answers.next(), stirred.next());
        if answered.is_none() && news.is_none() {
            return;
        }
        if let Some((caller, outcome)) = answered {
            // The caller may have gone.
            let _ = caller.send(answer(&state, outcome));
        }
        if let Some((instance, news)) = news {
            bulletin.post(&instance, &news);
        }
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
