//! The embedded journal, as the writer and the next scheduler see it.

use std::fs;

use redb::ReadableTableMetadata as _;

use super::*;
use crate::journal::Rejected;

fn records(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Everything that a load shows: chunks, the index of the first record, records.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    chunks: Vec<String>,
    first_index: Option<u64>,
    records: Vec<String>,
}

fn shown(chunks: &[&str], first_index: u64, records: &[&str]) -> Shown {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let first_index = (!records.is_empty()).then_some(first_index);
    Shown { chunks: owned(chunks), first_index, records: owned(records) }
}

fn load(journal: &mut EmbeddedJournal) -> Result<(Loaded, Shown), Error> {
    let mut shown = Shown::default();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let loaded = journal.load(&mut |entry| {
        match entry {
            Entry::Chunk { bytes, .. } => shown.chunks.push(text(bytes)),
            Entry::Record { index, bytes } => {
                shown.first_index.get_or_insert(index);
                shown.records.push(text(bytes));
            }
            Entry::End => {}
        }
        Ok(())
    })?;
    Ok((loaded, shown))
}

fn open(dir: &tempfile::TempDir) -> (EmbeddedJournal, u64) {
    let mut journal = EmbeddedJournal::open(dir.path()).unwrap();
    let epoch = load(&mut journal).unwrap().0.epoch;
    (journal, epoch)
}

/// What the next scheduler would see.
fn seen_by_the_next(dir: &tempfile::TempDir) -> Shown {
    load(&mut EmbeddedJournal::open(dir.path()).unwrap()).unwrap().1
}

fn snapshot(journal: &mut EmbeddedJournal, epoch: u64, through: u64, chunks: &[&str]) {
    for (number, chunk) in (0..).zip(chunks) {
        journal.snapshot_chunk(epoch, through, number, chunk.as_bytes()).unwrap();
    }
    journal.snapshot_end(epoch, through, chunks.len().try_into().unwrap()).unwrap();
}

#[test]
fn what_was_appended_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, epoch) = open(&dir);
    journal.append(epoch, 0, &records(&["a", "b"])).unwrap();
    journal.append(epoch, 2, &records(&["c"])).unwrap();
    drop(journal);
    let (loaded, seen) = load(&mut EmbeddedJournal::open(dir.path()).unwrap()).unwrap();
    assert_eq!(seen, shown(&[], 0, &["a", "b", "c"]));
    assert_eq!(loaded, Loaded { epoch: epoch + 1, next_index: 3 });
}

#[test]
fn an_append_replaces_what_stands_from_its_first_index_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, epoch) = open(&dir);
    journal.append(epoch, 0, &records(&["a", "lost", "lost too"])).unwrap();
    journal.append(epoch, 1, &records(&["b"])).unwrap();
    assert_eq!(load(&mut journal).unwrap().1, shown(&[], 0, &["a", "b"]));
}

#[test]
fn a_snapshot_stands_for_the_records_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, epoch) = open(&dir);
    journal.append(epoch, 0, &records(&["a", "b", "c"])).unwrap();
    snapshot(&mut journal, epoch, 0, &["old"]);
    snapshot(&mut journal, epoch, 1, &["a", "b"]);
    drop(journal);
    assert_eq!(seen_by_the_next(&dir), shown(&["a", "b"], 2, &["c"]));
}

#[test]
fn a_snapshot_of_everything_leaves_the_next_index() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, epoch) = open(&dir);
    journal.append(epoch, 0, &records(&["a", "b"])).unwrap();
    snapshot(&mut journal, epoch, 1, &["ab"]);
    let (loaded, seen) = load(&mut journal).unwrap();
    assert_eq!((loaded.next_index, seen), (2, shown(&["ab"], 2, &[])));
}

#[test]
fn a_snapshot_counts_only_once_it_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, epoch) = open(&dir);
    journal.append(epoch, 0, &records(&["a", "b"])).unwrap();
    snapshot(&mut journal, epoch, 0, &["old"]);
    journal.snapshot_chunk(epoch, 1, 0, b"begun").unwrap();
    journal.append(epoch, 2, &records(&["c"])).unwrap();
    assert!(matches!(journal.snapshot_end(epoch, 1, 2), Err(Error::Incomplete { kept: 1, .. })));
    drop(journal);
    assert_eq!(seen_by_the_next(&dir), shown(&["old"], 1, &["b", "c"]));
}

#[test]
fn what_no_longer_counts_is_removed_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, epoch) = open(&dir);
    let many: Vec<_> = (0..1000).map(|number: u32| number.to_string().into_bytes()).collect();
    journal.append(epoch, 0, &many).unwrap();
    journal.snapshot_chunk(epoch, 5, 0, b"given up").unwrap();
    snapshot(&mut journal, epoch, 3, &["older"]);
    snapshot(&mut journal, epoch, 989, &["all but ten"]);
    let kept = |journal: &EmbeddedJournal| {
        let count = |database: &Database| {
            use redb::ReadableTableMetadata;
            let read = database.begin_read()?;
            Ok((read.open_table(RECORDS)?.len()?, read.open_table(CHUNKS)?.len()?))
        };
        journal.read(count).unwrap()
    };
    let after_the_end = kept(&journal);
    assert!(after_the_end.0 > 500, "{after_the_end:?}: the end of a snapshot removes a little");
    for index in 1000..1020 {
        journal.append(epoch, index, &records(&["more"])).unwrap();
    }
    assert_eq!(kept(&journal), (30, 1));
}

#[test]
fn an_earlier_epoch_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, first) = open(&dir);
    let second = load(&mut journal).unwrap().0.epoch;
    let refused = [journal.append(first, 0, &records(&["a"])), journal.snapshot_chunk(first, 0, 0, b"a")];
    for refused in refused {
        assert!(
            matches!(refused, Err(Error::Superseded { held, current }) if (held, current) == (first, second))
        );
    }
    journal.append(second, 0, &records(&["b"])).unwrap();
    assert_eq!(load(&mut journal).unwrap().1, shown(&[], 0, &["b"]));
}

#[test]
fn a_load_that_is_rejected_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, epoch) = open(&dir);
    journal.append(epoch, 0, &records(&["a"])).unwrap();
    drop(journal);
    let path = EmbeddedJournal::path_in(dir.path());
    let before = fs::read(&path).unwrap();
    let mut journal = EmbeddedJournal::open(dir.path()).unwrap();
    let rejected = journal.load(&mut |entry| if entry == Entry::End { Err(Rejected) } else { Ok(()) });
    assert!(matches!(rejected, Err(Error::Rejected(_))));
    drop(journal);
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn only_the_owner_can_read_the_journal() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    drop(EmbeddedJournal::open(dir.path()).unwrap());
    let mode = fs::metadata(EmbeddedJournal::path_in(dir.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn two_schedulers_cannot_share_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (_first, _) = open(&dir);
    assert!(matches!(EmbeddedJournal::open(dir.path()), Err(Error::InUse { .. })));
}

#[test]
fn a_foreign_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = EmbeddedJournal::path_in(dir.path());
    let content = b"these are the accounts of 1971".repeat(500);
    fs::write(&path, &content).unwrap();
    let error = EmbeddedJournal::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), content);
}

#[test]
fn the_database_of_another_program_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = EmbeddedJournal::path_in(dir.path());
    let other = Database::create(&path).unwrap();
    let write = other.begin_write().unwrap();
    write.open_table(TableDefinition::<u64, u64>::new("recipes")).unwrap();
    write.commit().unwrap();
    drop(other);
    let error = EmbeddedJournal::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    let tables = Database::open(&path).unwrap().begin_read().unwrap().list_tables().unwrap().count();
    assert_eq!(tables, 1);
}

#[test]
fn a_missing_record_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = EmbeddedJournal::open(dir.path()).unwrap();
    let epoch = load(&mut journal).unwrap().0.epoch;
    journal.append(epoch, 1, &records(&["b"])).unwrap();
    let error = load(&mut journal).unwrap_err();
    assert!(error.to_string().contains("record 0 is missing"), "{error}");
}

#[test]
fn what_no_longer_counts_goes_with_the_writes_that_follow() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, epoch) = open(&dir);
    let kept = |journal: &EmbeddedJournal| {
        let counted = journal.read(|database| {
            let read = database.begin_read()?;
            Ok((read.open_table(RECORDS)?.len()?, read.open_table(CHUNKS)?.len()?))
        });
        counted.unwrap()
    };
    let append = |journal: &mut EmbeddedJournal, indexes: std::ops::Range<u64>| {
        indexes.for_each(|index| journal.append(epoch, index, &records(&["again"])).unwrap());
    };
    append(&mut journal, 0..150);
    journal.snapshot_chunk(epoch, 99, 0, b"given up").unwrap();
    snapshot(&mut journal, epoch, 149, &["old", "er"]);
    append(&mut journal, 150..160);
    assert_eq!(kept(&journal), (10, 2));
    snapshot(&mut journal, epoch, 154, &["new"]);
    append(&mut journal, 160..161);
    assert_eq!(kept(&journal), (6, 1));
    drop(journal);
    assert_eq!(seen_by_the_next(&dir), shown(&["new"], 155, &["again"; 6]));
}
