//! How far the journal had come, said outside of it.
//!
//! The store takes a newest commit that does not verify for one that a power failure tore, and goes on from the one
//! before. That is right when nobody was told of the commit, and a silent loss when a bit of it was flipped later. So
//! after every durable append its end is noted in a small file beside the journal. The note is not synced: it is
//! written after the append is durable, so it may be behind the journal and never ahead, unless the journal lost
//! something. It names the journal and the epoch, for a journal restored from a backup is not the one it was about.
//!
//! A note that is missing, torn or about something else says nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Three numbers and their checksum, 8 bytes each: far less than a disk writes at once.
const BYTES: usize = 32;

/// What the note says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The journal that it is about.
    pub journal: u64,
    pub epoch: u64,
    pub next_index: u64,
}

/// Where the note is kept while the journal is written.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    journal: u64,
}

impl MarkFile {
    pub(super) fn path_of(journal: &Path) -> PathBuf {
        journal.with_extension("mark")
    }

    /// Opens the note beside a journal, which is made when there is none.
    pub(super) fn open(path: &Path, journal: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Self { file, journal })
    }

    /// Notes that everything before `next_index` is durable.
    pub(super) fn write(&self, epoch: u64, next_index: u64) -> io::Result<()> {
        self.file.write_all_at(&encode(Mark { journal: self.journal, epoch, next_index }), 0)
    }
}

/// The note beside a journal, if it says anything.
pub(super) fn read(path: &Path) -> Option<Mark> {
    decode(&std::fs::read(path).ok()?)
}

fn encode(Mark { journal, epoch, next_index }: Mark) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (word, number) in bytes.chunks_exact_mut(8).zip([journal, epoch, next_index]) {
        word.copy_from_slice(&number.to_be_bytes());
    }
    let sum = checksum(&bytes[..24]);
    bytes[24..].copy_from_slice(&sum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let (words, sum) = bytes.split_at_checked(24)?;
    if bytes.len() != BYTES || *sum != checksum(words) {
        return None;
    }
    let number = |at: usize| words[at..at + 8].try_into().map(u64::from_be_bytes).ok();
    Some(Mark { journal: number(0)?, epoch: number(8)?, next_index: number(16)? })
}

fn checksum(words: &[u8]) -> [u8; 8] {
    let digest = Sha256::digest(words);
    digest[..8].try_into().expect("the first 8 of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_what_was_noted_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.mark");
        assert_eq!(read(&path), None);
        let file = MarkFile::open(&path, 7).unwrap();
        assert_eq!(read(&path), None);
        file.write(1, 1000).unwrap();
        file.write(2, 3).unwrap();
        assert_eq!(read(&path), Some(Mark { journal: 7, epoch: 2, next_index: 3 }));
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            assert_eq!((decode(&torn), decode(&whole[..at])), (None, None));
        }
    }
}
