//! Data directories that are not what a scheduler left there: each is refused in words that help, and stays as it was.
//!
//! Where a damaged byte belongs to nothing, the journal may be taken as well, but then it must give everything back.

use std::fs;
use std::path::{Path, PathBuf};

use ecsr_api::Timestamp;
use ecsr_core::state::Event;
use sha2::{Digest, Sha256};

use super::*;
use crate::journal::EmbeddedJournal;
use crate::testing::home;

/// Flips in each third of the file, of each of the two journals.
const FLIPS: u32 = 30;

/// How the scheduler ended that left the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    InOrder,
    Killed,
}

/// A journal as a scheduler left it, and what it holds.
struct Left {
    bytes: Vec<u8>,
    mark: Vec<u8>,
    next_index: u64,
    state: Vec<Event>,
}

fn cluster(number: usize) -> Event {
    Event::ClusterSaved(Arc::new(ecsr_core::state::Cluster {
        name: format!("cluster-{number}").into(),
        status: ecsr_core::state::ClusterStatus::Active,
        settings: Vec::new(),
        configuration: None,
        service_connect_defaults: None,
        capacity_providers: Vec::new(),
        default_capacity_provider_strategy: Vec::new(),
        tags: [("filler".to_owned(), "x".repeat(200))].into(),
    }))
}

/// A journal with a snapshot, records after it, and pages that are free again.
fn left(end: End) -> Left {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = EmbeddedJournal::open(dir.path()).unwrap();
    let Recovered { state, founding, epoch, mut next_index, .. } = recover(&mut journal, home()).unwrap();
    let mut state = State::clone(&state);
    for number in 0..200 {
        let event = cluster(number);
        state.apply(&event);
        let at = Timestamp::from_millis(number.try_into().unwrap());
        journal.append(epoch, next_index, &journal::record::events(at, &[event])).unwrap();
        next_index += 1;
        if number == 120 {
            let chunks = journal::chunk::chunks(founding.clone(), at, state.events(), 8192);
            let mut count = 0;
            for chunk in chunks {
                journal.snapshot_chunk(epoch, next_index - 1, count, &chunk).unwrap();
                count += 1;
            }
            journal.snapshot_end(epoch, next_index - 1, count).unwrap();
        }
    }
    let path = EmbeddedJournal::path_in(dir.path());
    let killed = fs::read(&path).unwrap();
    drop(journal);
    let mark = fs::read(path.with_extension("mark")).unwrap();
    let bytes = match end {
        End::InOrder => fs::read(&path).unwrap(),
        End::Killed => killed,
    };
    Left { bytes, mark, next_index, state: state.events().collect() }
}

/// A data directory with this in the place of the journal.
fn data_dir(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = EmbeddedJournal::path_in(dir.path());
    fs::write(&path, content).unwrap();
    (dir, path)
}

fn try_recover(dir: &Path) -> Result<Recovered, RecoveryError> {
    recover(&mut EmbeddedJournal::open(dir)?, home())
}

/// The whole message, as the log and the command line show it.
fn explained(error: &RecoveryError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[track_caller]
fn assert_refused(content: &[u8], expected: &str) {
    let (dir, path) = data_dir(content);
    let message = explained(&try_recover(dir.path()).expect_err("it is refused"));
    for part in [expected, "nothing was changed"] {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
    assert!(
        ["ackup", "version"].iter().any(|way_out| message.contains(way_out)),
        "{message:?} shows no way out"
    );
    assert!(fs::read(&path).unwrap() == content, "it was changed: {message}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something was put beside it");
}

#[test]
fn a_crash_loses_nothing_and_a_sound_journal_is_taken() {
    for end in [End::InOrder, End::Killed] {
        let left = left(end);
        let (dir, _) = data_dir(&left.bytes);
        let recovered = try_recover(dir.path()).unwrap();
        assert_eq!(recovered.next_index, left.next_index, "{end:?}");
        assert_eq!(recovered.state.events().collect::<Vec<_>>(), left.state);
    }
}

#[test]
fn a_truncated_journal_is_refused() {
    for end in [End::InOrder, End::Killed] {
        let left = left(end);
        let length = left.bytes.len();
        for kept in [0, 1, 300, 4096, length / 3, length / 2, length - 4096, length - 1] {
            // Too short for a head: it could have been anything.
            let expected = if (1..4096).contains(&kept) { "journal" } else { "is damaged" };
            assert_refused(&left.bytes[..kept], expected);
        }
    }
}

#[test]
fn what_others_made_is_refused() {
    assert_refused(b"SQLite format 3\0".repeat(1024).as_slice(), "is not a journal of ecsr");
    assert_refused(&b"these are the accounts of 1971\n".repeat(500), "is not a journal of ecsr");

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(EmbeddedJournal::path_in(dir.path())).unwrap();
    let message = explained(&try_recover(dir.path()).unwrap_err());
    assert!(message.contains("it is a directory"), "{message}");
}

#[test]
fn what_a_newer_version_wrote_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = EmbeddedJournal::open(dir.path()).unwrap();
    let Recovered { epoch, next_index, .. } = recover(&mut journal, home()).unwrap();
    journal.append(epoch, next_index, &[br#"{"v":9,"wonders":[]}"#.to_vec()]).unwrap();
    drop(journal);
    let bytes = fs::read(EmbeddedJournal::path_in(dir.path())).unwrap();
    assert_refused(&bytes, "newer version of ecsr (format 9)");
}

/// The `count`th number of a sequence that is the same in every run.
fn drawn(count: u32) -> usize {
    let digest = Sha256::digest(count.to_be_bytes());
    usize::from_be_bytes(digest[..8].try_into().unwrap())
}

#[test]
fn flipped_bits_are_noticed_or_harmless() {
    for end in [End::InOrder, End::Killed] {
        let left = left(end);
        let third = left.bytes.len() / 3;
        let mut refused = 0;
        for (part, from, to) in
            [(0, 0, 4096), (1, 0, third), (2, third, 2 * third), (3, 2 * third, left.bytes.len())]
        {
            for flip in 0..FLIPS {
                let number = drawn(part * FLIPS + flip);
                let (at, bit) = (from + number / 8 % (to - from), number % 8);
                let mut bytes = left.bytes.clone();
                bytes[at] ^= 1 << bit;
                refused += u32::from(is_refused(&left, &bytes, &format!("{end:?}: bit {bit} of byte {at}")));
            }
        }
        println!("{end:?}: {refused} of {} refused, {} bytes", 4 * FLIPS, left.bytes.len());
        assert!(refused > FLIPS / 2, "{end:?}: only {refused} were refused");
    }
}

/// Whether it is; if not, everything must be there.
fn is_refused(left: &Left, bytes: &[u8], what: &str) -> bool {
    let (dir, path) = data_dir(bytes);
    fs::write(path.with_extension("mark"), &left.mark).unwrap();
    match try_recover(dir.path()) {
        Ok(recovered) => {
            assert_eq!(recovered.next_index, left.next_index, "{what}");
            assert_eq!(recovered.state.events().collect::<Vec<_>>(), left.state, "{what}");
            false
        }
        Err(error) => {
            let message = explained(&error);
            assert!(message.contains("nothing was changed"), "{what}: {message}");
            assert!(fs::read(&path).unwrap() == bytes, "{what}: the file was changed");
            true
        }
    }
}
