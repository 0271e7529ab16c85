//! `ecsr journal`: a backup while writes go on, restored; verification; export.

use std::process::Output;
use std::sync::Arc;

use serde_json::Value;

use super::book::{Book, assert_there, lay_ground};
use super::local::Local;

const CLIENTS: usize = 4;

/// Writes before the backup begins.
const WRITES: usize = 80;

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

/// The lines of an export, each an object.
fn exported(output: &Output) -> Vec<Value> {
    assert_done(output);
    let text = String::from_utf8(output.stdout.clone()).expect("JSON is UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_holds_what_was_acknowledged_before_it() {
    let mut local = Local::prepare();
    local.start().await;
    lay_ground(&local.api, CLIENTS).await;
    let instance = local.register_instance().await;
    local.connect_agent(&instance).await;
    let book = Arc::new(Book::default());
    for client in 0..CLIENTS {
        let (book, api) = (book.clone(), local.api.clone());
        tokio::spawn(async move { book.write_on(&api, client).await });
    }
    book.reaches(WRITES).await;
    let before: Vec<_> = book.acknowledged().into_iter().collect();
    let copy = local.dir().join("copy");
    assert_done(&local.ecsr(&["journal", "backup", &copy.display().to_string()]));
    let again = local.ecsr(&["journal", "backup", &copy.display().to_string()]);
    assert_eq!(again.status.code(), Some(1), "a backup overwrites nothing: {}", said(&again));
    let lines = exported(&local.ecsr(&["journal", "export"]));
    assert!(lines.iter().any(|line| line.get("TaskPlaced").is_some()), "the export of a running scheduler");
    local.kill();

    let mut restored = Local::on(&copy, local.api.credentials.clone());
    let verified = restored.ecsr(&["journal", "verify", "-o", "json"]);
    assert_done(&verified);
    let report: Value = serde_json::from_slice(&verified.stdout).expect("-o json prints JSON");
    assert_eq!(report["contradictions"], serde_json::json!([]));
    assert!(report["tasks"].as_u64() >= Some(1), "{report}");
    restored.start().await;
    assert_there(&restored.api, &before).await;

    let used = restored.ecsr(&["journal", "verify"]);
    assert_eq!(used.status.code(), Some(1), "{}", said(&used));
    assert!(said(&used).contains("journal backup"), "it says what can be done: {}", said(&used));
}

#[tokio::test]
async fn a_journal_at_rest_is_verified_exported_and_copied() {
    let mut local = Local::prepare();
    let missing = local.ecsr(&["journal", "verify"]);
    assert_eq!(missing.status.code(), Some(3), "{}", said(&missing));
    local.start().await;
    lay_ground(&local.api, 2).await;
    local.end();

    let verified = local.ecsr(&["journal", "verify"]);
    assert_done(&verified);
    assert!(said(&verified).contains("is sound"), "{}", said(&verified));
    let lines = exported(&local.ecsr(&["journal", "export"]));
    assert!(lines[0].get("founded").is_some(), "{}", lines[0]);
    assert!(lines.len() >= 3, "{} lines", lines.len());

    let copy = local.dir().join("copies/first");
    assert_done(&local.ecsr(&["journal", "backup", &copy.display().to_string()]));
    let restored = Local::on(&copy, local.api.credentials.clone());
    assert_eq!(exported(&restored.ecsr(&["journal", "export"])), lines);
}
