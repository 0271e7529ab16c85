//! When a snapshot is taken, and how it gets to the journal without anybody waiting for it.
//!
//! A thread writes a published state down, chunk by chunk, no faster than the writer has the chunks kept between its
//! batches; so a snapshot costs a batch the time of one chunk and, in memory, the few chunks that are ready.
//!
//! A snapshot is due when as many events came after the last one as it holds itself. So there is about one event
//! written down again for each that happens, however large the state is, and a start replays no more than it loads.

use std::sync::Arc;

use ecsr_api::Timestamp;
use ecsr_core::State;
use tokio::sync::mpsc;

use super::desk::Position;
use super::recovery::Events;
use crate::journal::chunk::{self, CHUNK_BYTES_MAX};
use crate::journal::record::Founding;
use crate::journal::{self, Journal};

/// Chunks that are ready before the writer has time for them: the next one while one is being kept.
const CHUNKS_AHEAD_MAX: usize = 1;

/// A step of keeping a snapshot.
#[derive(Debug)]
pub(super) enum Piece {
    Chunk {
        through: u64,
        number: u64,
        bytes: Vec<u8>,
    },
    /// That was all of it.
    End {
        through: u64,
        chunks: u64,
        events: u64,
    },
}

impl Piece {
    /// Has it kept, and gives it back.
    pub(super) fn keep(self, epoch: u64, journal: &mut dyn Journal) -> Result<Self, journal::Error> {
        match &self {
            Self::Chunk { through, number, bytes } => {
                journal.snapshot_chunk(epoch, *through, *number, bytes)?;
            }
            Self::End { through, chunks, .. } => journal.snapshot_end(epoch, *through, *chunks)?,
        }
        Ok(self)
    }
}

/// The account of what was snapped, and the snapshot being taken.
#[derive(Debug)]
pub(super) struct Snapshots {
    founding: Founding,
    events_min: u64,
    /// In the newest snapshot, and after it.
    events: Events,
    /// How many events after the newest snapshot make the next one due.
    due_at: u64,
    taking: Option<Taking>,
}

#[derive(Debug)]
struct Taking {
    pieces: mpsc::Receiver<Piece>,
    /// Events that happened since it was begun.
    since: u64,
}

impl Snapshots {
    pub(super) fn new(founding: Founding, events: Events, events_min: u64) -> Self {
        let due_at = events.snapped.max(events_min);
        Self { founding, events_min, events, due_at, taking: None }
    }

    /// Counts events that became durable.
    pub(super) fn count(&mut self, events: u64) {
        self.events.since += events;
        if let Some(taking) = &mut self.taking {
            taking.since += events;
        }
    }

    /// Begins to write the durable state down, if it is time and none is being written.
    pub(super) fn begin_if_due(&mut self, position: Position, state: &Arc<State>, at: Timestamp) {
        if self.taking.is_some() || self.events.since < self.due_at {
            return;
        }
        let Some(through) = position.next_index.checked_sub(1) else { return };
        let (sender, pieces) = mpsc::channel(CHUNKS_AHEAD_MAX);
        let (founding, state) = (self.founding.clone(), state.clone());
        // Ends by itself when the pieces are no longer wanted.
        tokio::task::spawn_blocking(move || write_down(&state, founding, at, through, &sender));
        self.taking = Some(Taking { pieces, since: 0 });
    }

    /// The next piece; for ever pending while no snapshot is being taken.
    pub(super) async fn piece(&mut self) -> Piece {
        loop {
            match &mut self.taking {
                Some(taking) => match taking.pieces.recv().await {
                    Some(piece) => return piece,
                    None => self.give_up(),
                },
                None => std::future::pending().await,
            }
        }
    }

    /// The next piece if it is ready.
    pub(super) fn piece_now(&mut self) -> Option<Piece> {
        self.taking.as_mut()?.pieces.try_recv().ok()
    }

    /// The snapshot being taken is the newest now.
    pub(super) fn ended(&mut self, events: u64) {
        let since = self.taking.take().map_or(0, |taking| taking.since);
        self.events = Events { snapped: events, since };
        self.due_at = events.max(self.events_min);
    }

    /// The snapshot being taken will not be ended. The next one is due when another as many events have happened.
    pub(super) fn give_up(&mut self) {
        self.taking = None;
        self.due_at = self.events.since + self.events.snapped.max(self.events_min);
    }
}

fn write_down(state: &State, founding: Founding, at: Timestamp, through: u64, pieces: &mpsc::Sender<Piece>) {
    let mut chunks = chunk::chunks(founding, at, state.events(), CHUNK_BYTES_MAX);
    let mut number = 0;
    for bytes in chunks.by_ref() {
        if pieces.blocking_send(Piece::Chunk { through, number, bytes }).is_err() {
            return;
        }
        number += 1;
    }
    // Nobody may want it any more.
    let _ = pieces.blocking_send(Piece::End { through, chunks: number, events: chunks.cut });
}
