//! A journal in memory that fails on command, for tests of what the scheduler does when the disk does not do its part.
//!
//! Clones share their content, so a test can keep one, drop the scheduler that held the other, and start a second
//! scheduler on what the first had written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, Error, Journal, Loaded, Visitor};

/// An in-memory [`Journal`].
#[derive(Debug, Clone, Default)]
pub struct FakeJournal {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    epoch: u64,
    records: BTreeMap<u64, Vec<u8>>,
    /// The index after the last whole batch. What lies beyond was being written when its process died.
    end: u64,
    is_next_torn: bool,
    snapshot: Option<Snapshot>,
    unfinished: Option<Snapshot>,
    failure: Option<Failure>,
    appends: u64,
}

/// A snapshot and the index of the last record that it stands for.
#[derive(Debug, Clone, Default)]
struct Snapshot {
    through: u64,
    chunks: Vec<Vec<u8>>,
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

    /// Tears the next append: a part of its bytes is kept, as by a process that dies in the middle of it.
    pub fn tear_next(&self) {
        self.lock().is_next_torn = true;
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
        let inner = self.lock();
        inner.records.range(..inner.end).map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Up to which record a complete snapshot stands for all.
    pub fn snapshot_through(&self) -> Option<u64> {
        self.lock().snapshot.as_ref().map(|snapshot| snapshot.through)
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

impl Inner {
    /// Half of the batch reaches the disk, the last record of it cut in two.
    fn tear(&mut self, first_index: u64, records: &[Vec<u8>]) {
        let written = &records[..records.len().div_ceil(2)];
        self.records.extend((first_index..).zip(written.iter().cloned()));
        if let Some(mut last) = self.records.last_entry() {
            let half = last.get().len() / 2;
            last.get_mut().truncate(half);
        }
        self.end = self.end.min(first_index);
    }

    /// Forgets what is no part of a whole batch, as stores do when they are opened.
    fn drop_torn(&mut self) {
        self.records.split_off(&self.end);
        self.is_next_torn = false;
    }
}

impl Journal for FakeJournal {
    fn load(&mut self, visit: &mut Visitor<'_>) -> Result<Loaded, Error> {
        let mut inner = self.lock();
        inner.drop_torn();
        let mut next_index = 0;
        if let Some(Snapshot { through, chunks }) = &inner.snapshot {
            for (number, bytes) in (0..).zip(chunks) {
                visit(Entry::Chunk { through: *through, number, bytes })?;
            }
            next_index = through + 1;
        }
        for (index, bytes) in &inner.records {
            visit(Entry::Record { index: *index, bytes })?;
            next_index = index + 1;
        }
        visit(Entry::End)?;
        inner.epoch += 1;
        Ok(Loaded { epoch: inner.epoch, next_index })
    }

    fn append(&mut self, epoch: u64, first_index: u64, records: &[Vec<u8>]) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.admit(epoch)?;
        inner.records.split_off(&first_index);
        if std::mem::take(&mut inner.is_next_torn) {
            inner.tear(first_index, records);
            return Err(Error::ToldToFail);
        }
        inner.records.extend((first_index..).zip(records.iter().cloned()));
        inner.end = inner.records.last_key_value().map_or(first_index, |(index, _)| index + 1);
        inner.answer()?;
        inner.appends += 1;
        Ok(())
    }

    fn snapshot_chunk(&mut self, epoch: u64, through: u64, number: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.admit(epoch)?;
        if number == 0 {
            inner.unfinished = Some(Snapshot { through, chunks: Vec::new() });
        }
        let unfinished = inner.unfinished.get_or_insert_default();
        let kept = u64::try_from(unfinished.chunks.len()).expect("a list is shorter than 2^64");
        if unfinished.through != through || kept != number {
            return Err(Error::Incomplete { through, chunks: number, kept });
        }
        unfinished.chunks.push(bytes.to_vec());
        inner.answer()
    }

    fn snapshot_end(&mut self, epoch: u64, through: u64, chunks: u64) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.admit(epoch)?;
        let unfinished = inner.unfinished.take().unwrap_or_default();
        let kept = u64::try_from(unfinished.chunks.len()).expect("a list is shorter than 2^64");
        if unfinished.through != through || kept != chunks {
            return Err(Error::Incomplete { through, chunks, kept });
        }
        inner.records = inner.records.split_off(&(through + 1));
        inner.snapshot = Some(unfinished);
        inner.answer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(journal: &mut FakeJournal) -> (Vec<Vec<u8>>, u64) {
        let mut records = Vec::new();
        let mut visit = |entry: Entry<'_>| {
            if let Entry::Record { bytes, .. } = entry {
                records.push(bytes.to_vec());
            }
            Ok(())
        };
        let Loaded { next_index, .. } = journal.load(&mut visit).unwrap();
        (records, next_index)
    }

    #[test]
    fn of_a_torn_batch_nothing_is_read() {
        let batch = |names: [&str; 3]| names.map(|name| name.as_bytes().to_vec());
        let mut journal = FakeJournal::default();
        loaded(&mut journal);
        journal.append(1, 0, &batch(["a1", "a2", "a3"])).unwrap();
        journal.tear_next();
        journal.append(1, 3, &batch(["b1", "b2", "b3"])).unwrap_err();
        assert_eq!(loaded(&mut journal), (batch(["a1", "a2", "a3"]).to_vec(), 3));
        journal.append(2, 3, &batch(["c1", "c2", "c3"])).unwrap();
        assert_eq!(loaded(&mut journal).1, 6, "and the next one takes its place");
    }
}
