//! A scheduler on a data directory that it cannot read says what is wrong and what can be done, ends, and has changed
//! nothing. What kinds of damage there are is tested beside the journal; here it is what a user sees of one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ecsr_tests::wait;

use super::book::lay_ground;
use super::local::Local;

/// Every file and what is in it, but for the one that says which process has the directory.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("the data directory is there").flatten();
    let files = entries.filter(|entry| entry.path().is_file() && entry.file_name() != "scheduler.pid");
    files
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

#[tokio::test]
async fn a_damaged_journal_is_refused_and_left_alone() {
    let mut local = Local::prepare();
    local.start().await;
    lay_ground(&local.api, 8).await;
    local.end();
    let journal = local.data_dir.join("journal.redb");
    let mut bytes = fs::read(&journal).expect("the journal is there");
    let name = bytes.windows(5).rposition(|window| window == b"own-7").expect("the cluster was kept");
    bytes[name] ^= 4;
    fs::write(&journal, &bytes).expect("the journal can be written");
    let before = content(&local.data_dir);

    let status = {
        let process = local.spawn();
        wait::until("the scheduler to end", async || if process.is_running() { Err(()) } else { Ok(()) })
            .await;
        let said = process.said();
        for expected in ["journal.redb", "is damaged", "nothing was changed", "backup"] {
            assert!(said.contains(expected), "{expected:?} is not said: {said}");
        }
        process.end()
    };
    assert_eq!(status.code(), Some(1));
    assert_eq!(content(&local.data_dir).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(content(&local.data_dir) == before, "a file was changed");

    let verified = local.ecsr(&["journal", "verify"]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verified.stderr).contains("is damaged"), "{verified:?}");
    assert!(content(&local.data_dir) == before, "verifying has changed a file");
}
