//! Data directories that earlier versions wrote are read by this one, and give the same answers.
//!
//! `tests/fixtures/journal-v1` was recorded by `tests/fixtures/record_journal.py` with the last version that wrote
//! format 1: once ended in order after it had cut its journal to a snapshot, once killed before.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ecsr_api::ecs::Operation;
use ecsr_core::State;
use serde_json::Value;

use super::recovery::Events;
use super::*;
use crate::journal::EmbeddedJournal;
use crate::testing::home;

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/journal-v1").join(name)
}

/// A data directory with the recorded journal in it.
fn data_dir(recorded: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let journal = File::create(EmbeddedJournal::path_in(dir.path())).unwrap();
    let packed = File::open(recorded.join("journal.redb.gz")).unwrap();
    let unpacked = Command::new("gzip").arg("-dc").stdin(packed).stdout(Stdio::from(journal)).status();
    assert!(unpacked.unwrap().success());
    dir
}

fn recover_from(dir: &Path) -> Recovered {
    recover(&mut EmbeddedJournal::open(dir).unwrap(), home()).unwrap()
}

#[track_caller]
fn assert_answers(state: &State, recorded: &Path) {
    let calls: Vec<Value> =
        serde_json::from_slice(&fs::read(recorded.join("answers.json")).unwrap()).unwrap();
    assert!(calls.len() >= 20, "{} calls", calls.len());
    for call in calls {
        let (name, request) = (call["operation"].as_str().unwrap(), call["request"].to_string());
        let operation = Operation::from_name(name).unwrap();
        let answer = ecsr_core::read::answer(state, operation, request.as_bytes()).unwrap().unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        let mut expected = call["answer"].clone();
        // Lists of ARNs come in no order that anybody was promised.
        for answer in [&mut answer, &mut expected] {
            if let Some(arns) = answer.get_mut("taskArns").and_then(Value::as_array_mut) {
                arns.sort_by_key(Value::to_string);
            }
        }
        assert_eq!(answer, expected, "{name} {request}");
    }
    assert_eq!(ecsr_core::check::check(state), Vec::<String>::new());
}

#[test]
fn a_killed_scheduler_of_format_1_left_all_its_records() {
    let recorded = recorded("records");
    let dir = data_dir(&recorded);
    let recovered = recover_from(dir.path());
    assert_answers(&recovered.state, &recorded);
    assert_eq!(recovered.events.snapped, 0);
}

#[test]
fn a_snapshot_of_format_1_is_read_and_replaced() {
    let recorded = recorded("snapshot");
    let dir = data_dir(&recorded);
    let recovered = recover_from(dir.path());
    assert_answers(&recovered.state, &recorded);
    assert!(recovered.events.snapped > 20, "{:?}", recovered.events);
    assert_eq!(
        recover_from(dir.path()).events,
        recovered.events,
        "reading the upgraded journal changes nothing"
    );

    let mut journal = EmbeddedJournal::open(dir.path()).unwrap();
    let Recovered { state, founding, epoch, next_index, .. } = recover(&mut journal, home()).unwrap();
    let at = ecsr_api::Timestamp::default();
    let chunks: Vec<_> = journal::chunk::chunks(founding, at, state.events(), 4096).collect();
    let through = next_index - 1;
    for (number, chunk) in (0..).zip(&chunks) {
        journal.snapshot_chunk(epoch, through, number, chunk).unwrap();
    }
    journal.snapshot_end(epoch, through, chunks.len().try_into().unwrap()).unwrap();
    drop(journal);
    let again = recover_from(dir.path());
    assert_answers(&again.state, &recorded);
    assert_eq!(again.events, Events { snapped: recovered.events.snapped, since: 0 });
}
