//! The journal's seam: numbered records of bytes, durable in order, and a snapshot that stands for the oldest of them.
//!
//! What the bytes mean is the business of [`record`] and [`chunk`], where they are kept the implementation's. [`EmbeddedJournal`] keeps
//! them in one file of the data directory, `etcd` where several schedulers share them; [`FakeJournal`] keeps them in
//! memory and fails when a test tells it to.
//!
//! Nothing here ever holds a whole state. A snapshot is written in chunks between appends, which go on meanwhile, and
//! is read back chunk by chunk; so what a snapshot costs a write is one chunk, however large the state is.
//!
//! Invariants of every implementation:
//! - An append is all or nothing, and durable when it returns `Ok`.
//! - An append that failed may or may not have happened. The writer repeats it with the same `first_index`, and that
//!   replaces whatever stands from there on: so an index is written twice only if nobody was told of the first time.
//! - Only the holder of the latest epoch can write; `load` begins an epoch.
//! - A snapshot counts from `snapshot_end` on and not before. Until then the older one and every record stay.
//! - Nothing is changed by a `load` that fails or whose visitor rejects something.

pub(crate) mod chunk;
mod embedded;
pub(crate) mod etcd;
mod fake;
mod mark;
pub(crate) mod record;
mod staged;

use std::path::PathBuf;

pub use self::embedded::EmbeddedJournal;
pub use self::etcd::Location;
pub use self::fake::{Failure, FakeJournal};

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another scheduler is using {path}; stop it, or choose another data directory")]
    InUse { path: PathBuf },
    #[error(
        "{path} is not a journal of ecsr ({problem}); nothing was changed. Move it away to start with an empty \
         scheduler, restore it from a backup, or choose another data directory"
    )]
    Foreign { path: PathBuf, problem: String },
    #[error(
        "the journal {path} was written by a newer version of ecsr (format {format}; this version reads up to \
         {newest}); nothing was changed. Start that version, or restore a backup that this version made"
    )]
    Newer { path: PathBuf, format: u64, newest: u64 },
    #[error(
        "the journal {path} is damaged ({problem}); nothing was changed. Restore it from a backup, or move it away to \
         start with an empty scheduler"
    )]
    Damaged { path: PathBuf, problem: String },
    #[error(
        "the journal {path} is damaged (the newest {missing} of its records are missing, though they were kept); \
         nothing was changed. Restore it from a backup, or remove {mark} to go on without them"
    )]
    Shortened { path: PathBuf, missing: u64, mark: PathBuf },
    #[error("cannot open the journal {path}")]
    Open { path: PathBuf, source: Box<redb::Error> },
    #[error("cannot read the journal")]
    Read { source: Box<redb::Error> },
    #[error("cannot write the journal")]
    Write { source: Box<redb::Error> },
    #[error("this scheduler's epoch {held} has been superseded by epoch {current}")]
    Superseded { held: u64, current: u64 },
    #[error(transparent)]
    Etcd(#[from] etcd::ClientError),
    #[error("the journal on etcd is damaged ({problem}); nothing was changed. Restore etcd from a backup")]
    DamagedLog { problem: String },
    #[error("this scheduler leads no more: its term {term} is over")]
    Deposed { term: u64 },
    #[error("nobody knows whether the journal took the write; this scheduler gives its lead up")]
    Uncertain,
    #[error("{chunks} chunks of the snapshot through record {through} were to be kept, and {kept} are")]
    Incomplete { through: u64, chunks: u64, kept: u64 },
    /// Who reads the journal knows what was wrong.
    #[error("what the journal holds was rejected")]
    Rejected(#[from] Rejected),
    #[error("the system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
    /// Only the fake answers this.
    #[error("the journal was told to fail")]
    ToldToFail,
}

/// The visitor of [`Journal::load`] will not have what it was shown, and keeps the reason to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the journal holds was rejected")]
pub struct Rejected;

/// What [`Journal::load`] shows, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A part of the newest complete snapshot, which stands for every record up to `through`. Numbered from 0.
    Chunk { through: u64, number: u64, bytes: &'a [u8] },
    /// A record that the snapshot does not stand for. They come in order and without gaps.
    Record { index: u64, bytes: &'a [u8] },
    /// That was everything. Only when this is accepted does the load have an effect.
    End,
}

/// What a load has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// The epoch that this load began, to be given with every write.
    pub epoch: u64,
    /// The index that the next record gets; 0 in an empty journal.
    pub next_index: u64,
}

/// Shown every entry of a journal.
pub type Visitor<'a> = dyn FnMut(Entry<'_>) -> Result<(), Rejected> + 'a;

/// Durable, ordered records. Calls block; the driver makes them off the runtime's threads.
pub trait Journal: std::fmt::Debug + Send {
    /// Shows everything that is kept and, if all of it was accepted, begins a new epoch, which shuts out the holder of
    /// every earlier one.
    fn load(&mut self, visit: &mut Visitor<'_>) -> Result<Loaded, Error>;

    /// Writes `records` under the indexes from `first_index` on, durably and together, in place of whatever stands
    /// there or after.
    fn append(&mut self, epoch: u64, first_index: u64, records: &[Vec<u8>]) -> Result<(), Error>;

    /// Keeps one chunk of a snapshot that will stand for every record up to and including `through`. Chunks come in
    /// order from 0, with appends between them; chunk 0 takes the place of a snapshot that was not ended. It need not
    /// be durable. A snapshot of which any write failed is not gone on with.
    fn snapshot_chunk(&mut self, epoch: u64, through: u64, number: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Makes a snapshot of so many chunks durable and lets it replace the older one and the records that it stands
    /// for. Those may be removed bit by bit later, so that a call never takes as long as there are records.
    fn snapshot_end(&mut self, epoch: u64, through: u64, chunks: u64) -> Result<(), Error>;
}
