//! The journal in one file of the data directory, kept by redb.
//!
//! Why redb: every commit is durable and atomic through checksums, the file is locked against a second process, and it
//! needs nothing beside it. One table holds the records by index, one the snapshot, one the format and the epoch.
//!
//! After an I/O error redb refuses all further work on the open file, so a failed write closes it and the next one
//! opens it again: a disk that was full for a while costs refused calls, not a restart.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError,
    WriteTransaction,
};

use super::{Error, Journal, Loaded, Snapshot};

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
const SNAPSHOT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshot");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT_KEY: &str = "format";
const EPOCH_KEY: &str = "epoch";
/// The layout of the tables. What the records say has its own version.
const FORMAT: u64 = 1;

/// Pages kept in memory. The journal is written at its end and read only at the start: more would be wasted.
const CACHE_BYTES: usize = 1024 * 1024;

/// The embedded [`Journal`]: `journal.redb` in a data directory.
#[derive(Debug)]
pub struct EmbeddedJournal {
    path: PathBuf,
    /// `None` after a failed write, until the next one opens the file again.
    database: Option<Database>,
}

impl EmbeddedJournal {
    /// The journal's file in a data directory.
    pub fn path_in(data_dir: &Path) -> PathBuf {
        data_dir.join("journal.redb")
    }

    /// Opens the journal of a data directory, or makes an empty one. A file that is something else is left as it is.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let path = Self::path_in(data_dir);
        let database = open_database(&path)?;
        let journal = Self { path, database: Some(database) };
        journal.check_format()?;
        Ok(journal)
    }

    /// Founds an empty file, and refuses one that holds something else without touching it.
    fn check_format(&self) -> Result<(), Error> {
        let foreign = |problem| Err(Error::Foreign { path: self.path.clone(), problem });
        if self.read(is_empty)? {
            return self.read(write_format);
        }
        match self.read(read_format)? {
            Some(FORMAT) => Ok(()),
            Some(other) => {
                foreign(format!("its format is {other}, this version of ecsr reads format {FORMAT}"))
            }
            None => foreign("it is the database of another program".to_owned()),
        }
    }

    fn read<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Error> {
        let database = self.database.as_ref().expect("the file is open until a write has failed");
        work(database).map_err(|source| self.explain_read(source))
    }

    fn explain_read(&self, source: redb::Error) -> Error {
        let path = self.path.clone();
        match source {
            redb::Error::Corrupted(problem) => Error::Damaged { path, problem },
            source @ (redb::Error::TableTypeMismatch { .. } | redb::Error::TableIsMultimap(_)) => {
                Error::Foreign { path, problem: source.to_string() }
            }
            source => Error::Read { source: Box::new(source) },
        }
    }

    /// One durable transaction. The file is closed when it fails, since redb will not go on with it.
    fn write(
        &mut self,
        epoch: u64,
        work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_database(&self.path)?,
        };
        let current =
            transact(&database, epoch, work).map_err(|source| Error::Write { source: Box::new(source) })?;
        self.database = Some(database);
        if current == epoch { Ok(()) } else { Err(Error::Superseded { held: epoch, current }) }
    }
}

impl Journal for EmbeddedJournal {
    fn load(&mut self) -> Result<Loaded, Error> {
        let epoch = self.read(begin_epoch)?;
        let snapshot = self.read(|database| {
            let table = database.begin_read()?.open_table(SNAPSHOT)?;
            let newest = table.last()?;
            Ok(newest
                .map(|(through, bytes)| Snapshot { through: through.value(), bytes: bytes.value().to_vec() }))
        })?;
        let first_index = snapshot.as_ref().map_or(0, |snapshot| snapshot.through + 1);
        let records = self.read(|database| {
            let table = database.begin_read()?.open_table(RECORDS)?;
            let records = table.range(first_index..)?.map(|entry| {
                let (index, bytes) = entry?;
                Ok((index.value(), bytes.value().to_vec()))
            });
            records.collect::<Result<Vec<_>, redb::Error>>()
        })?;
        let gap = (first_index..).zip(&records).find(|(expected, (found, _))| expected != found);
        if let Some((missing, _)) = gap {
            let problem = format!("record {missing} is missing");
            return Err(Error::Damaged { path: self.path.clone(), problem });
        }
        let records = records.into_iter().map(|(_, bytes)| bytes).collect();
        Ok(Loaded { epoch, snapshot, first_index, records })
    }

    fn append(&mut self, epoch: u64, first_index: u64, records: &[Vec<u8>]) -> Result<(), Error> {
        self.write(epoch, |transaction| {
            let mut table = transaction.open_table(RECORDS)?;
            table.retain_in(first_index.., |_, _| false)?;
            for (index, record) in (first_index..).zip(records) {
                table.insert(index, record.as_slice())?;
            }
            Ok(())
        })
    }

    fn snapshot(&mut self, epoch: u64, through: u64, bytes: &[u8]) -> Result<(), Error> {
        self.write(epoch, |transaction| {
            let mut snapshots = transaction.open_table(SNAPSHOT)?;
            snapshots.retain(|_, _| false)?;
            snapshots.insert(through, bytes)?;
            transaction.open_table(RECORDS)?.retain_in(..=through, |_, _| false)?;
            Ok(())
        })
    }
}

fn is_empty(database: &Database) -> Result<bool, redb::Error> {
    Ok(database.begin_read()?.list_tables()?.next().is_none())
}

fn read_format(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(FORMAT_KEY)?.map(|value| value.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write_format(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    write.open_table(RECORDS)?;
    write.open_table(SNAPSHOT)?;
    write.commit()?;
    Ok(())
}

fn begin_epoch(database: &Database) -> Result<u64, redb::Error> {
    let write = database.begin_write()?;
    let epoch = {
        let mut meta = write.open_table(META)?;
        let epoch = meta.get(EPOCH_KEY)?.map_or(0, |value| value.value()) + 1;
        meta.insert(EPOCH_KEY, epoch)?;
        epoch
    };
    write.commit()?;
    Ok(epoch)
}

/// Does the work if `epoch` is still the current one, and gives the current one back.
fn transact(
    database: &Database,
    epoch: u64,
    work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<u64, redb::Error> {
    let write = database.begin_write()?;
    let current = write.open_table(META)?.get(EPOCH_KEY)?.map_or(0, |value| value.value());
    if current == epoch {
        work(&write)?;
        write.commit()?;
    } else {
        write.abort()?;
    }
    Ok(current)
}

/// For the owner alone: task definitions carry environment variables, which users put secrets in.
fn open_database(path: &Path) -> Result<Database, Error> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let backend = file.map_err(DatabaseError::from).and_then(FileBackend::new);
    let opened = backend
        .and_then(|backend| Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend));
    opened.map_err(|error| explain_open(path, error))
}

fn explain_open(path: &Path, error: DatabaseError) -> Error {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Error::InUse { path },
        DatabaseError::UpgradeRequired(version) => {
            Error::Foreign { path, problem: format!("its file format {version} is too old") }
        }
        DatabaseError::Storage(StorageError::Corrupted(problem)) => Error::Damaged { path, problem },
        DatabaseError::Storage(StorageError::Io(source))
            if source.kind() == std::io::ErrorKind::InvalidData =>
        {
            Error::Foreign { path, problem: source.to_string() }
        }
        error => Error::Open { path, source: Box::new(error.into()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_was_appended_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = EmbeddedJournal::open(dir.path()).unwrap();
        let epoch = journal.load().unwrap().epoch;
        journal.append(epoch, 0, &records(&["a", "b"])).unwrap();
        journal.append(epoch, 2, &records(&["c"])).unwrap();
        drop(journal);
        let loaded = EmbeddedJournal::open(dir.path()).unwrap().load().unwrap();
        assert_eq!(loaded.records, records(&["a", "b", "c"]));
        assert_eq!((loaded.first_index, loaded.epoch), (0, epoch + 1));
    }

    #[test]
    fn an_append_replaces_what_stands_from_its_first_index_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = EmbeddedJournal::open(dir.path()).unwrap();
        let epoch = journal.load().unwrap().epoch;
        journal.append(epoch, 0, &records(&["a", "lost", "lost too"])).unwrap();
        journal.append(epoch, 1, &records(&["b"])).unwrap();
        assert_eq!(journal.load().unwrap().records, records(&["a", "b"]));
    }

    #[test]
    fn a_snapshot_stands_for_the_records_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = EmbeddedJournal::open(dir.path()).unwrap();
        let epoch = journal.load().unwrap().epoch;
        journal.append(epoch, 0, &records(&["a", "b", "c"])).unwrap();
        journal.snapshot(epoch, 0, b"old").unwrap();
        journal.snapshot(epoch, 1, b"ab").unwrap();
        let loaded = journal.load().unwrap();
        assert_eq!(loaded.snapshot, Some(Snapshot { through: 1, bytes: b"ab".to_vec() }));
        assert_eq!((loaded.first_index, loaded.records), (2, records(&["c"])));
    }

    #[test]
    fn an_earlier_epoch_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = EmbeddedJournal::open(dir.path()).unwrap();
        let first = journal.load().unwrap().epoch;
        let second = journal.load().unwrap().epoch;
        let refused = journal.append(first, 0, &records(&["a"]));
        assert!(
            matches!(refused, Err(Error::Superseded { held, current }) if (held, current) == (first, second))
        );
        journal.append(second, 0, &records(&["b"])).unwrap();
        assert_eq!(journal.load().unwrap().records, records(&["b"]));
    }

    #[test]
    fn only_the_owner_can_read_the_journal() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        drop(EmbeddedJournal::open(dir.path()).unwrap());
        let mode = std::fs::metadata(EmbeddedJournal::path_in(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn two_schedulers_cannot_share_a_journal() {
        let dir = tempfile::tempdir().unwrap();
        let _first = EmbeddedJournal::open(dir.path()).unwrap();
        assert!(matches!(EmbeddedJournal::open(dir.path()), Err(Error::InUse { .. })));
    }

    #[test]
    fn a_foreign_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = EmbeddedJournal::path_in(dir.path());
        let content = b"these are the accounts of 1971".repeat(500);
        std::fs::write(&path, &content).unwrap();
        let error = EmbeddedJournal::open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
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
        let epoch = journal.load().unwrap().epoch;
        journal.append(epoch, 1, &records(&["b"])).unwrap();
        let error = journal.load().unwrap_err();
        assert!(error.to_string().contains("record 0 is missing"), "{error}");
    }
}
