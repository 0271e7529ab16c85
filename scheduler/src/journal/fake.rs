//! A journal in memory that fails on command, for tests of what the scheduler does when the disk does not do its part.
//!
//! Clones share their content, so a test can keep one, drop the scheduler that held the other, and start a second
//! scheduler on what the first had written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Error, Journal, Loaded, Snapshot};

/// An in-memory [`Journal`].
#[derive(Debug, Clone, Default)]
pub struct FakeJournal {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    epoch: u64,
    records: BTreeMap<u64, Vec<u8>>,
    snapshot: Option<Snapshot>,
    failure: Option<Failure>,
    appends: u64,
}

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was written.
    Refused,
    /// All was written, but the answer was lost: the case that a retry must get right.
    AnswerLost,
}

impl FakeJournal {
    /// Makes every write fail until [`FakeJournal::heal`].
    pub fn fail(&self, failure: Failure) {
        self.lock().failure = Some(failure);
    }

    /// Lets writes succeed again.
    pub fn heal(&self) {
        self.lock().failure = None;
    }

    /// How many appends were durable.
    pub fn appends(&self) -> u64 {
        self.lock().appends
    }

    /// The records that are kept, oldest first.
    pub fn records(&self) -> Vec<Vec<u8>> {
        self.lock().records.values().cloned().collect()
    }

    /// Whether a snapshot was taken.
    pub fn has_snapshot(&self) -> bool {
        self.lock().snapshot.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn admit(&self, epoch: u64) -> Result<(), Error> {
        if epoch != self.epoch {
            return Err(Error::Superseded { held: epoch, current: self.epoch });
        }
        match self.failure {
            Some(Failure::Refused) => Err(Error::ToldToFail),
            Some(Failure::AnswerLost) | None => Ok(()),
        }
    }

    fn answer(&self) -> Result<(), Error> {
        match self.failure {
            Some(Failure::Refused | Failure::AnswerLost) => Err(Error::ToldToFail),
            None => Ok(()),
        }
    }
}

impl Journal for FakeJournal {
    fn load(&mut self) -> Result<Loaded, Error> {
        let mut inner = self.lock();
        inner.epoch += 1;
        let snapshot = inner.snapshot.clone();
        let first_index = snapshot.as_ref().map_or(0, |snapshot| snapshot.through + 1);
        let records = inner.records.values().cloned().collect();
        Ok(Loaded { epoch: inner.epoch, snapshot, first_index, records })
    }

    fn append(&mut self, epoch: u64, first_index: u64, records: &[Vec<u8>]) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.admit(epoch)?;
        inner.records.split_off(&first_index);
        inner.records.extend((first_index..).zip(records.iter().cloned()));
        inner.answer()?;
        inner.appends += 1;
        Ok(())
    }

    fn snapshot(&mut self, epoch: u64, through: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.admit(epoch)?;
        inner.records = inner.records.split_off(&(through + 1));
        inner.snapshot = Some(Snapshot { through, bytes: bytes.to_vec() });
        inner.answer()
    }
}
