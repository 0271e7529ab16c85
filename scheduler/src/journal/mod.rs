//! The journal's seam: numbered records of bytes, durable in order, and a snapshot that stands for the oldest of them.
//!
//! What the bytes mean is [`record`]'s business, where they are kept the implementation's. [`EmbeddedJournal`] keeps
//! them in one file of the data directory; [`FakeJournal`] keeps them in memory and fails when a test tells it to.
//!
//! Invariants of every implementation:
//! - An append is all or nothing, and durable when it returns `Ok`.
//! - An append that failed may or may not have happened. The writer repeats it with the same `first_index`, and that
//!   replaces whatever stands from there on: so an index is written twice only if nobody was told of the first time.
//! - Only the holder of the latest epoch can write; `load` begins an epoch.

mod embedded;
mod fake;
pub(crate) mod record;

use std::path::PathBuf;

pub use self::embedded::EmbeddedJournal;
pub use self::fake::{Failure, FakeJournal};

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another scheduler is using {path}; stop it, or choose another data directory")]
    InUse { path: PathBuf },
    #[error(
        "{path} is not a journal of ecsr ({problem}); nothing was changed. Move the file away to start with an empty \
         scheduler, restore it from a backup, or choose another data directory"
    )]
    Foreign { path: PathBuf, problem: String },
    #[error(
        "the journal {path} is damaged ({problem}); nothing was changed. Restore it from a backup, or move it away to \
         start with an empty scheduler"
    )]
    Damaged { path: PathBuf, problem: String },
    #[error("cannot open the journal {path}")]
    Open { path: PathBuf, source: Box<redb::Error> },
    #[error("cannot read the journal")]
    Read { source: Box<redb::Error> },
    #[error("cannot write the journal")]
    Write { source: Box<redb::Error> },
    #[error("this scheduler's epoch {held} has been superseded by epoch {current}")]
    Superseded { held: u64, current: u64 },
    /// Only the fake answers this.
    #[error("the journal was told to fail")]
    ToldToFail,
}

/// What a journal holds when a scheduler starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The epoch that this load began, to be given with every write.
    pub epoch: u64,
    /// The newest snapshot.
    pub snapshot: Option<Snapshot>,
    /// The index of the first of `records`: one more than the snapshot goes to, or 0.
    pub first_index: u64,
    /// The records after the snapshot, in order, without gaps.
    pub records: Vec<Vec<u8>>,
}

/// A snapshot and the index of the last record that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub through: u64,
    pub bytes: Vec<u8>,
}

/// Durable, ordered records. Calls block; the driver makes them off the runtime's threads.
pub trait Journal: std::fmt::Debug + Send {
    /// Reads everything back and begins a new epoch, which shuts out the holder of every earlier one.
    fn load(&mut self) -> Result<Loaded, Error>;

    /// Writes `records` under the indexes from `first_index` on, durably and together, in place of whatever stands
    /// there or after.
    fn append(&mut self, epoch: u64, first_index: u64, records: &[Vec<u8>]) -> Result<(), Error>;

    /// Replaces every record up to and including `through` by one snapshot.
    fn snapshot(&mut self, epoch: u64, through: u64, bytes: &[u8]) -> Result<(), Error>;
}
