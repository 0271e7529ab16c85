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

mod file;
mod trim;

use std::path::{Path, PathBuf};

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction,
};

use self::file::{explain_io, found, fresh_id, open_database};
use self::trim::trim;
use super::mark::{self, Mark, MarkFile};
use super::staged::Stage;
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
    known: Known,
    /// `None` before the journal was loaded, and if there is no place for it: it only makes what it watches safer.
    mark: Option<MarkFile>,
}

/// What the tables were left like, so that a write need not look: a first or last entry may be a megabyte to read.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// The index that follows the last record. `None` after a failed write, which may have been kept all the same.
    next_index: Option<u64>,
    /// Nothing is there that no longer counts.
    is_tidy: bool,
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
        let journal = Self {
            path,
            database: Some(database),
            stage,
            unfinished: None,
            known: Known::default(),
            mark: None,
        };
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
        let Known { next_index, mut is_tidy } = std::mem::take(&mut self.known);
        let end = first_index + u64::try_from(records.len()).expect("a list is shorter than 2^64");
        self.write(epoch, Durability::Immediate, |transaction| {
            let mut table = transaction.open_table(RECORDS)?;
            if next_index != Some(first_index) {
                table.retain_in(first_index.., |_, _| false)?;
            }
            for (index, record) in (first_index..).zip(records) {
                table.insert(index, record.as_slice())?;
            }
            drop(table);
            is_tidy = is_tidy || trim(transaction, unfinished)?;
            Ok(())
        })?;
        self.known = Known { next_index: Some(end), is_tidy };
        if let Some(Err(error)) = self.mark.as_ref().map(|mark| mark.write(epoch, end)) {
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
        let known = std::mem::take(&mut self.known);
        self.write(epoch, Durability::None, |transaction| {
            transaction.open_table(CHUNKS)?.insert((through, number), bytes)?;
            Ok(())
        })?;
        // The first one may follow those of a snapshot that was given up.
        self.known = Known { is_tidy: known.is_tidy && number != 0, ..known };
        self.unfinished = Some((through, number + 1));
        Ok(())
    }

    fn snapshot_end(&mut self, epoch: u64, through: u64, chunks: u64) -> Result<(), Error> {
        let kept = self.unfinished.take().filter(|(unfinished, _)| *unfinished == through);
        let kept = kept.map_or(0, |(_, kept)| kept);
        if kept != chunks || chunks == 0 {
            return Err(Error::Incomplete { through, chunks, kept });
        }
        let Known { next_index, .. } = std::mem::take(&mut self.known);
        self.write(epoch, Durability::Immediate, |transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert(SNAPSHOT_THROUGH_KEY, through)?;
            meta.insert(SNAPSHOT_CHUNKS_KEY, chunks)?;
            Ok(())
        })?;
        // What it stands for goes with the writes that follow.
        self.known = Known { next_index, is_tidy: false };
        Ok(())
    }
}

fn newest(meta: &impl ReadableTable<&'static str, u64>) -> Result<Option<Newest>, redb::Error> {
    let (through, chunks) = (number(meta, SNAPSHOT_THROUGH_KEY)?, number(meta, SNAPSHOT_CHUNKS_KEY)?);
    Ok(through.zip(chunks).map(|(through, chunks)| Newest { through, chunks }))
}

fn number(meta: &impl ReadableTable<&'static str, u64>, key: &str) -> Result<Option<u64>, redb::Error> {
    Ok(meta.get(key)?.map(|value| value.value()))
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

#[cfg(test)]
mod tests;
