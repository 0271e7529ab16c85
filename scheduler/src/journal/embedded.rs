//! The journal in one file of the data directory, kept by redb.
//!
//! Why redb: every commit is durable and atomic through checksums, the file is locked against a second process, and it
//! needs nothing beside it. One table holds the records by index, one the chunks of snapshots, one what is known of
//! them all: the format, the epoch, and which snapshot counts.
//!
//! A file is opened on a [stage](super::staged) with every checksum verified, and read to its end before the first byte
//! of it is changed: what is refused is left as it was found.
//!
//! Beside it lies a [note](super::mark) of how far it had come, so that a newest commit that went bad is missed.
//!
//! After an I/O error redb refuses all further work on the open file, so a failed write closes it and the next one
//! opens it again: a disk that was full for a while costs refused calls, not a restart.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError, Table,
    TableDefinition, TableError, WriteTransaction,
};

use super::mark::{self, Mark, MarkFile};
use super::staged::{Stage, StagedBackend};
use super::{Entry, Error, Journal, Loaded, Visitor};

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
/// By the last record that the snapshot stands for, and the chunk's number.
const CHUNKS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("chunks");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Where format 1 kept a snapshot, as one value.
const SNAPSHOT_1: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshot");

const FORMAT_KEY: &str = "format";
/// A random number that tells this journal from every other.
const ID_KEY: &str = "id";
const EPOCH_KEY: &str = "epoch";
/// The snapshot that counts: the last record that it stands for, and how many chunks it has. Absent before the first.
const SNAPSHOT_THROUGH_KEY: &str = "snapshot_through";
const SNAPSHOT_CHUNKS_KEY: &str = "snapshot_chunks";
/// The layout of the tables, and the newest that is read. What the records say has its own version.
const FORMAT: u64 = 2;

/// Pages kept in memory. The journal is written at its end and read only at the start: more would be wasted.
const CACHE_BYTES: usize = 1024 * 1024;

/// Records and chunks that no longer count and are removed along with a write. More than a write ever adds, so that
/// they do get fewer; few enough that nobody waits for it.
const TRIM_MAX: usize = 64;

/// The embedded [`Journal`]: `journal.redb` in a data directory.
#[derive(Debug)]
pub struct EmbeddedJournal {
    path: PathBuf,
    /// `None` after a failed write, until the next one opens the file again.
    database: Option<Database>,
    /// Holds every write back until the journal was loaded.
    stage: Stage,
    /// The snapshot being written: the last record that it stands for, and how many chunks are kept of it.
    unfinished: Option<(u64, u64)>,
    /// `None` before the journal was loaded, and if there is no place for it: it only makes what it watches safer.
    mark: Option<MarkFile>,
}

/// The snapshot that counts.
#[derive(Debug, Clone, Copy)]
struct Newest {
    through: u64,
    chunks: u64,
}

impl EmbeddedJournal {
    /// The journal's file in a data directory.
    pub fn path_in(data_dir: &Path) -> PathBuf {
        data_dir.join("journal.redb")
    }

    /// Opens the journal of a data directory, or makes an empty one. Nothing of a file that is there is changed before
    /// [`Journal::load`] has shown all of it.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let path = Self::path_in(data_dir);
        if !path.try_exists().map_err(|error| explain_io(&path, error))? {
            found(&path)?;
        }
        Self::open_existing(data_dir)
    }

    /// Shows everything that is kept, without beginning an epoch or changing anything.
    pub fn inspect(&self, visit: &mut Visitor<'_>) -> Result<Loaded, Error> {
        let next_index = self.show(visit)?;
        visit(Entry::End)?;
        let epoch = self.read(|database| number(&database.begin_read()?.open_table(META)?, EPOCH_KEY))?;
        Ok(Loaded { epoch: epoch.unwrap_or_default(), next_index })
    }

    /// Opens the journal of a data directory that has one.
    pub fn open_existing(data_dir: &Path) -> Result<Self, Error> {
        let path = Self::path_in(data_dir);
        let (database, stage) = open_database(&path)?;
        let journal = Self { path, database: Some(database), stage, unfinished: None, mark: None };
        journal.check_format()?;
        Ok(journal)
    }

    fn check_format(&self) -> Result<(), Error> {
        match self.read(read_format)? {
            Some(1) => {
                let id = fresh_id()?;
                self.read(|database| upgrade_from_1(database, id))
            }
            Some(FORMAT) => Ok(()),
            Some(format) => Err(Error::Newer { path: self.path.clone(), format, newest: FORMAT }),
            None => {
                let problem = "it is the database of another program".to_owned();
                Err(Error::Foreign { path: self.path.clone(), problem })
            }
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

    fn damaged(&self, problem: String) -> Error {
        Error::Damaged { path: self.path.clone(), problem }
    }

    /// One transaction. The file is closed when it fails, since redb will not go on with it.
    fn write(
        &mut self,
        epoch: u64,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.open_again()?,
        };
        let written = transact(&database, epoch, durability, work);
        let current = written.map_err(|source| {
            // Chunks that were not durable are gone with the open file.
            self.unfinished = None;
            Error::Write { source: Box::new(source) }
        })?;
        self.database = Some(database);
        if current == epoch { Ok(()) } else { Err(Error::Superseded { held: epoch, current }) }
    }

    /// The file was loaded before, so it is ours to write at once.
    fn open_again(&mut self) -> Result<Database, Error> {
        let (database, stage) = open_database(&self.path)?;
        stage.release().map_err(|error| Error::Write { source: Box::new(error.into()) })?;
        self.stage = stage;
        Ok(database)
    }

    /// Shows everything and changes nothing; answers the index that the next record would get.
    fn show(&self, visit: &mut Visitor<'_>) -> Result<u64, Error> {
        let (newest, id, epoch) = self.read(|database| {
            let meta = database.begin_read()?.open_table(META)?;
            Ok((newest(&meta)?, number(&meta, ID_KEY)?, number(&meta, EPOCH_KEY)?))
        })?;
        if let Some(newest) = newest {
            self.show_chunks(newest, visit)?;
        }
        let next_index = self.show_records(newest.map_or(0, |newest| newest.through + 1), visit)?;
        let path = MarkFile::path_of(&self.path);
        match mark::read(&path) {
            Some(Mark { journal, epoch: noted_in, next_index: noted })
                if (Some(journal), Some(noted_in)) == (id, epoch) && noted > next_index =>
            {
                Err(Error::Shortened { path: self.path.clone(), missing: noted - next_index, mark: path })
            }
            Some(_) | None => Ok(next_index),
        }
    }

    fn show_chunks(&self, newest: Newest, visit: &mut Visitor<'_>) -> Result<(), Error> {
        let Newest { through, chunks } = newest;
        let table = self.read(|database| Ok(database.begin_read()?.open_table(CHUNKS)?))?;
        let range = table.range((through, 0)..(through, chunks));
        let mut found = range.map_err(|error| self.explain_read(error.into()))?;
        for number in 0..chunks {
            let chunk = found.next().transpose().map_err(|error| self.explain_read(error.into()))?;
            match chunk {
                Some((key, bytes)) if key.value() == (through, number) => {
                    visit(Entry::Chunk { through, number, bytes: bytes.value() })?;
                }
                Some(_) | None => {
                    return Err(self.damaged(format!("chunk {number} of its snapshot is missing")));
                }
            }
        }
        Ok(())
    }

    fn show_records(&self, first_index: u64, visit: &mut Visitor<'_>) -> Result<u64, Error> {
        let table = self.read(|database| Ok(database.begin_read()?.open_table(RECORDS)?))?;
        let mut next_index = first_index;
        let range = table.range(first_index..);
        for entry in range.map_err(|error| self.explain_read(error.into()))? {
            let (index, bytes) = entry.map_err(|error| self.explain_read(error.into()))?;
            if index.value() != next_index {
                return Err(self.damaged(format!("record {next_index} is missing")));
            }
            visit(Entry::Record { index: next_index, bytes: bytes.value() })?;
            next_index += 1;
        }
        Ok(next_index)
    }
}

impl Journal for EmbeddedJournal {
    fn load(&mut self, visit: &mut Visitor<'_>) -> Result<Loaded, Error> {
        let next_index = self.show(visit)?;
        visit(Entry::End)?;
        self.stage.release().map_err(|error| Error::Write { source: Box::new(error.into()) })?;
        let (epoch, id) = self.read(begin_epoch)?;
        let mark = MarkFile::open(&MarkFile::path_of(&self.path), id);
        self.mark =
            mark.inspect_err(|error| tracing::warn!(%error, "the journal goes without its mark")).ok();
        Ok(Loaded { epoch, next_index })
    }

    fn append(&mut self, epoch: u64, first_index: u64, records: &[Vec<u8>]) -> Result<(), Error> {
        let unfinished = self.unfinished;
        let count = u64::try_from(records.len()).expect("a list is shorter than 2^64");
        self.write(epoch, Durability::Immediate, |transaction| {
            let mut table = transaction.open_table(RECORDS)?;
            if table.last()?.is_some_and(|(last, _)| last.value() >= first_index) {
                table.retain_in(first_index.., |_, _| false)?;
            }
            for (index, record) in (first_index..).zip(records) {
                table.insert(index, record.as_slice())?;
            }
            drop(table);
            trim(transaction, unfinished)
        })?;
        if let Some(Err(error)) = self.mark.as_ref().map(|mark| mark.write(epoch, first_index + count)) {
            tracing::debug!(%error, "the journal's mark stays behind");
        }
        Ok(())
    }

    fn snapshot_chunk(&mut self, epoch: u64, through: u64, number: u64, bytes: &[u8]) -> Result<(), Error> {
        let kept = match self.unfinished {
            Some((unfinished, kept)) if unfinished == through => kept,
            Some(_) | None => 0,
        };
        if number != 0 && number != kept {
            return Err(Error::Incomplete { through, chunks: number, kept });
        }
        self.write(epoch, Durability::None, |transaction| {
            transaction.open_table(CHUNKS)?.insert((through, number), bytes)?;
            Ok(())
        })?;
        self.unfinished = Some((through, number + 1));
        Ok(())
    }

    fn snapshot_end(&mut self, epoch: u64, through: u64, chunks: u64) -> Result<(), Error> {
        let kept = self.unfinished.take().filter(|(unfinished, _)| *unfinished == through);
        let kept = kept.map_or(0, |(_, kept)| kept);
        if kept != chunks || chunks == 0 {
            return Err(Error::Incomplete { through, chunks, kept });
        }
        self.write(epoch, Durability::Immediate, |transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert(SNAPSHOT_THROUGH_KEY, through)?;
            meta.insert(SNAPSHOT_CHUNKS_KEY, chunks)?;
            drop(meta);
            trim(transaction, None)
        })
    }
}

fn newest(meta: &impl ReadableTable<&'static str, u64>) -> Result<Option<Newest>, redb::Error> {
    let (through, chunks) = (number(meta, SNAPSHOT_THROUGH_KEY)?, number(meta, SNAPSHOT_CHUNKS_KEY)?);
    Ok(through.zip(chunks).map(|(through, chunks)| Newest { through, chunks }))
}

fn number(meta: &impl ReadableTable<&'static str, u64>, key: &str) -> Result<Option<u64>, redb::Error> {
    Ok(meta.get(key)?.map(|value| value.value()))
}

/// Removes some of what the newest snapshot has made superfluous: the records that it stands for, and the chunks of
/// other snapshots than it and the one being written.
fn trim(transaction: &WriteTransaction, unfinished: Option<(u64, u64)>) -> Result<(), redb::Error> {
    let newest = newest(&transaction.open_table(META)?)?;
    let Some(Newest { through, .. }) = newest else { return Ok(()) };
    let mut records = transaction.open_table(RECORDS)?;
    for _ in 0..TRIM_MAX {
        if records.first()?.is_none_or(|(first, _)| first.value() > through) {
            break;
        }
        records.pop_first()?;
    }
    trim_chunks(&mut transaction.open_table(CHUNKS)?, through, unfinished)
}

fn trim_chunks(
    chunks: &mut Table<'_, (u64, u64), &'static [u8]>,
    through: u64,
    unfinished: Option<(u64, u64)>,
) -> Result<(), redb::Error> {
    for _ in 0..TRIM_MAX {
        // Older ones come first; what follows the newest is being written, or was given up.
        let first = chunks.first()?.map(|(key, _)| key.value());
        let last = chunks.last()?.map(|(key, _)| key.value());
        let given_up = |key: &(u64, u64)| {
            key.0 != through && unfinished.is_none_or(|(unfinished, _)| key.0 != unfinished)
        };
        match first.filter(|key| key.0 < through).or(last.filter(given_up)) {
            Some(key) => drop(chunks.remove(key)?),
            None => break,
        }
    }
    Ok(())
}

fn read_format(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(FORMAT_KEY)?.map(|value| value.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Format 1 kept a snapshot as one value: it becomes the only chunk of one.
fn upgrade_from_1(database: &Database, id: u64) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut meta = write.open_table(META)?;
        let mut chunks = write.open_table(CHUNKS)?;
        if let Some((through, bytes)) = write.open_table(SNAPSHOT_1)?.last()? {
            chunks.insert((through.value(), 0), bytes.value())?;
            meta.insert(SNAPSHOT_THROUGH_KEY, through.value())?;
            meta.insert(SNAPSHOT_CHUNKS_KEY, 1)?;
        }
        meta.insert(FORMAT_KEY, FORMAT)?;
        meta.insert(ID_KEY, id)?;
    }
    write.delete_table(SNAPSHOT_1)?;
    write.commit()?;
    Ok(())
}

fn write_format(database: &Database, id: u64) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    write.open_table(META)?.insert(ID_KEY, id)?;
    write.open_table(RECORDS)?;
    write.open_table(CHUNKS)?;
    write.commit()?;
    Ok(())
}

/// The new epoch, and the journal's number.
fn begin_epoch(database: &Database) -> Result<(u64, u64), redb::Error> {
    let write = database.begin_write()?;
    let begun = {
        let mut meta = write.open_table(META)?;
        let epoch = number(&meta, EPOCH_KEY)?.unwrap_or_default() + 1;
        meta.insert(EPOCH_KEY, epoch)?;
        (epoch, number(&meta, ID_KEY)?.unwrap_or_default())
    };
    write.commit()?;
    Ok(begun)
}

/// Does the work if `epoch` is still the current one, and gives the current one back.
fn transact(
    database: &Database,
    epoch: u64,
    durability: Durability,
    work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<u64, redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(durability)?;
    let current = write.open_table(META)?.get(EPOCH_KEY)?.map_or(0, |value| value.value());
    if current == epoch {
        work(&write)?;
        write.commit()?;
    } else {
        write.abort()?;
    }
    Ok(current)
}

/// Makes an empty journal: under another name first, so that a journal which exists is whole.
fn found(path: &Path) -> Result<(), Error> {
    let unfinished = path.with_extension("new");
    let explain = |error| explain_io(path, error);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(explain(error)),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    let file = open_private(options.create_new(true), &unfinished).map_err(explain)?;
    let backend = FileBackend::new(file).map_err(|error| explain_open(path, error))?;
    let database = builder().create_with_backend(backend).map_err(|error| explain_open(path, error))?;
    write_format(&database, fresh_id()?).map_err(|source| Error::Write { source: Box::new(source) })?;
    drop(database);
    fs::rename(&unfinished, path).map_err(explain)?;
    let directory = path.parent().expect("the journal lies in the data directory");
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(explain)
}

fn open_database(path: &Path) -> Result<(Database, Stage), Error> {
    let explain = |error| explain_io(path, error);
    let file = open_private(&mut OpenOptions::new(), path).map_err(explain)?;
    if file.metadata().map_err(explain)?.len() == 0 {
        // Never ours: a journal gets its name when it is whole.
        return Err(Error::Damaged { path: path.to_owned(), problem: "it is empty".to_owned() });
    }
    let backend = FileBackend::new(file).map_err(|error| explain_open(path, error))?;
    let (backend, stage) = StagedBackend::new(backend).map_err(explain)?;
    let opened = builder().set_check_integrity_on_open(true).create_with_backend(backend);
    Ok((opened.map_err(|error| explain_open(path, error))?, stage))
}

fn fresh_id() -> Result<u64, Error> {
    getrandom::u64().map_err(Error::Entropy)
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// For the owner alone: task definitions carry environment variables, which users put secrets in.
fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.read(true).write(true).mode(0o600).open(path)
}

fn explain_io(path: &Path, error: io::Error) -> Error {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::IsADirectory => Error::Foreign { path, problem: "it is a directory".to_owned() },
        _ => Error::Open { path, source: Box::new(error.into()) },
    }
}

fn explain_open(path: &Path, error: DatabaseError) -> Error {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Error::InUse { path },
        DatabaseError::UpgradeRequired(version) => {
            Error::Foreign { path, problem: format!("its file format {version} is too old") }
        }
        DatabaseError::Storage(StorageError::Corrupted(problem)) => Error::Damaged { path, problem },
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() == io::ErrorKind::InvalidData => {
            Error::Foreign { path, problem: source.to_string() }
        }
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Damaged { path, problem: "it ends too early".to_owned() }
        }
        error => Error::Open { path, source: Box::new(error.into()) },
    }
}

#[cfg(test)]
mod tests;
