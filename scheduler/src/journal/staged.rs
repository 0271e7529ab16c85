//! A file that can be opened, repaired and read without being changed, until it is known to be sound.
//!
//! The store behind the journal writes as soon as it opens a file: it marks it as open, and mends what a crash left.
//! Under a file that is about to be refused, because it is damaged, or newer, or somebody else's, nothing of that may
//! happen. So writes are kept in memory first, where reads find them, and go to the file in their order when
//! [`Stage::release`] says that the file is ours and whole. From then on this is the file.
//!
//! Invariants: before the release no byte of the file changes; the release repeats the same writes and syncs in the
//! same order, so that a crash in the middle of it is a crash that the store knows how to mend.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// Written bytes are found again by pages of this size, which is also the store's.
const PAGE_BYTES: u64 = 4096;

/// The store's view of the file.
#[derive(Debug)]
pub(super) struct StagedBackend {
    shared: Arc<Shared>,
}

/// The hand that lets the writes through.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: FileBackend,
    phase: RwLock<Phase>,
}

#[derive(Debug)]
enum Phase {
    /// Nothing has reached the file yet.
    Held(Held),
    /// Every write goes to the file.
    Released,
}

/// What was written and has to wait.
#[derive(Debug)]
struct Held {
    len: u64,
    /// Pages that differ from the file, by number.
    pages: BTreeMap<u64, Vec<u8>>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
    Sync,
}

impl StagedBackend {
    /// Stages a file; the stage releases it.
    pub(super) fn new(file: FileBackend) -> io::Result<(Self, Stage)> {
        let held = Held { len: file.len()?, pages: BTreeMap::new(), steps: Vec::new() };
        let shared = Arc::new(Shared { file, phase: RwLock::new(Phase::Held(held)) });
        Ok((Self { shared: shared.clone() }, Stage { shared }))
    }
}

impl Stage {
    /// Lets everything through that was held, and whatever comes.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut phase = self.shared.phase.write().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Held(held) = &*phase {
            for step in &held.steps {
                match step {
                    Step::Write { offset, bytes } => self.shared.file.write(*offset, bytes)?,
                    Step::SetLen(len) => self.shared.file.set_len(*len)?,
                    Step::Sync => self.shared.file.sync_data()?,
                }
            }
        }
        *phase = Phase::Released;
        Ok(())
    }
}

impl Shared {
    fn look<T>(
        &self,
        held: impl FnOnce(&Held) -> io::Result<T>,
        released: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Held(state) => held(state),
            Phase::Released => released(),
        }
    }

    fn change(
        &self,
        held: impl FnOnce(&mut Held) -> io::Result<()>,
        released: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        // Writers share the lock once the file is released: the store orders them itself.
        if let Phase::Released = &*self.phase.read().unwrap_or_else(PoisonError::into_inner) {
            return released();
        }
        match &mut *self.phase.write().unwrap_or_else(PoisonError::into_inner) {
            Phase::Held(state) => held(state),
            Phase::Released => released(),
        }
    }
}

impl Held {
    fn read(&self, file: &FileBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + length(out);
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let in_file = file.len()?.saturating_sub(offset).min(length(out));
        let (from_file, beyond) = out.split_at_mut(index(in_file));
        if !from_file.is_empty() {
            file.read(offset, from_file)?;
        }
        beyond.fill(0);
        for (number, page) in self.pages.range(offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES)) {
            let start = number * PAGE_BYTES;
            let (first, last) = (start.max(offset), (start + PAGE_BYTES).min(end));
            let part = &page[index(first - start)..index(last - start)];
            out[index(first - offset)..index(last - offset)].copy_from_slice(part);
        }
        Ok(())
    }

    /// The page that starts there, with zeros from `len` on.
    fn page(&self, file: &FileBackend, start: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; index(PAGE_BYTES)];
        let known = len.saturating_sub(start).min(PAGE_BYTES);
        if known > 0 {
            self.read(file, start, &mut page[..index(known)])?;
        }
        Ok(page)
    }

    fn write(&mut self, file: &FileBackend, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + length(bytes);
        for number in offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            let start = number * PAGE_BYTES;
            if !self.pages.contains_key(&number) {
                let page = self.page(file, start, self.len)?;
                self.pages.insert(number, page);
            }
            let page = self.pages.get_mut(&number).expect("the page was put there if it was missing");
            let (first, last) = (start.max(offset), (start + PAGE_BYTES).min(end));
            let part = &bytes[index(first - offset)..index(last - offset)];
            page[index(first - start)..index(last - start)].copy_from_slice(part);
        }
        self.len = self.len.max(end);
        self.steps.push(Step::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn set_len(&mut self, file: &FileBackend, len: u64) -> io::Result<()> {
        let shrunk_into_the_file = len < self.len && len < file.len()?;
        self.pages.split_off(&len.div_ceil(PAGE_BYTES));
        if let Some(page) = self.pages.get_mut(&(len / PAGE_BYTES)) {
            page[index(len % PAGE_BYTES)..].fill(0);
        }
        if shrunk_into_the_file {
            // What lies beyond must read as zeros should the file grow again: those pages are written, as such.
            let covered = len / PAGE_BYTES..file.len()?.div_ceil(PAGE_BYTES);
            self.len = len;
            for number in covered {
                let page = self.page(file, number * PAGE_BYTES, len)?;
                self.pages.insert(number, page);
            }
        }
        self.len = len;
        self.steps.push(Step::SetLen(len));
        Ok(())
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a slice is shorter than 2^64")
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within a buffer fits the machine")
}

impl StorageBackend for StagedBackend {
    fn len(&self) -> io::Result<u64> {
        self.shared.look(|held| Ok(held.len), || self.shared.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // The closures cannot share `out`, so the phase is looked at here.
        match &*self.shared.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Held(held) => held.read(&self.shared.file, offset, out),
            Phase::Released => self.shared.file.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let file = &self.shared.file;
        self.shared.change(|held| held.set_len(file, len), || file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let hold = |held: &mut Held| {
            held.steps.push(Step::Sync);
            Ok(())
        };
        self.shared.change(hold, || self.shared.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let file = &self.shared.file;
        self.shared.change(|held| held.write(file, offset, data), || file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.shared.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.shared.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.shared.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.shared.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.shared.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.shared.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.shared.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    fn staged(content: &[u8]) -> (tempfile::TempDir, StagedBackend, Stage) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, content).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let (backend, stage) = StagedBackend::new(FileBackend::new(file).unwrap()).unwrap();
        (dir, backend, stage)
    }

    fn whole(backend: &StagedBackend) -> Vec<u8> {
        let mut bytes = vec![0xee; index(backend.len().unwrap())];
        backend.read(0, &mut bytes).unwrap();
        bytes
    }

    /// A few writes of every kind; what reads show at the end.
    fn scribble(backend: &StagedBackend) -> Vec<u8> {
        let mut expected = vec![7; 10_000];
        let write = |expected: &mut Vec<u8>, offset: usize, bytes: &[u8]| {
            backend.write(offset.try_into().unwrap(), bytes).unwrap();
            expected.resize(expected.len().max(offset + bytes.len()), 0);
            expected[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        write(&mut expected, 4_000, &[1; 200]);
        write(&mut expected, 9_990, &[2; 5_000]);
        backend.sync_data().unwrap();
        for (shrunk, grown) in [(5_000, 20_000), (8_192, 8_192), (100, 9_000)] {
            backend.set_len(shrunk).unwrap();
            backend.set_len(grown).unwrap();
            expected.resize(index(shrunk), 0);
            expected.resize(index(grown), 0);
        }
        write(&mut expected, 50, &[3; 100]);
        assert_eq!(whole(backend), expected);
        expected
    }

    #[test]
    fn nothing_reaches_the_file_before_the_release_and_everything_after() {
        let content = vec![7; 10_000];
        let (dir, backend, stage) = staged(&content);
        let path = dir.path().join("file");
        let expected = scribble(&backend);
        assert_eq!(fs::read(&path).unwrap(), content);
        stage.release().unwrap();
        assert_eq!(fs::read(&path).unwrap(), expected);
        backend.write(0, b"now").unwrap();
        assert_eq!(fs::read(&path).unwrap()[..3], *b"now");
    }

    #[test]
    fn what_lies_beyond_the_end_cannot_be_read() {
        let (_dir, backend, _stage) = staged(b"short");
        assert!(backend.read(3, &mut [0; 3]).is_err());
    }
}
