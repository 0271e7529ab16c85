//! Reads that miss nothing: what a majority of etcd knows at this moment, asked for many readers at once.
//!
//! A scheduler's own state says what happened, but not that nothing else did: a standby follows, and a leader may have
//! been deposed without knowing, or have appended what it has not yet published. So a read asks etcd for the head of
//! the log, waits until that much is in the state, and answers from there. That is one round trip, made by one question
//! for all the reads that wait for it, and never a write to a disk.
//!
//! Invariant: the question that answers a reader is put after the reader came.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::journal::etcd::log::{Glance, Log};

/// Most readers that wait for the next question: the number of connections is bounded by as much.
const READERS_MAX: usize = 1024;

/// Nobody can say what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a majority of etcd does not answer")]
pub(crate) struct Unconfirmed;

type Reader = oneshot::Sender<Result<Arc<Glance>, Unconfirmed>>;

/// Where readers queue.
#[derive(Debug, Clone)]
pub(crate) struct Barrier {
    readers: mpsc::Sender<Reader>,
}

impl Barrier {
    /// A barrier, and what asks etcd for as long as there are barriers.
    pub(crate) fn start(log: Arc<Log>) -> Self {
        let (readers, queue) = mpsc::channel(READERS_MAX);
        tokio::spawn(ask(log, queue));
        Self { readers }
    }

    /// The log as it was at some moment after this call.
    pub(crate) async fn look(&self) -> Result<Arc<Glance>, Unconfirmed> {
        let (reader, answer) = oneshot::channel();
        self.readers.send(reader).await.map_err(|_| Unconfirmed)?;
        answer.await.unwrap_or(Err(Unconfirmed))
    }
}

async fn ask(log: Arc<Log>, mut queue: mpsc::Receiver<Reader>) {
    let mut readers = Vec::new();
    while queue.recv_many(&mut readers, READERS_MAX).await > 0 {
        let answer = match log.glance().await {
            Ok(glance) => Ok(Arc::new(glance)),
            Err(error) => {
                tracing::warn!(%error, "reads cannot be confirmed");
                Err(Unconfirmed)
            }
        };
        for reader in readers.drain(..) {
            // The reader may have gone.
            let _ = reader.send(answer.clone());
        }
    }
}
