//! The file itself: made whole, opened on a stage, and what is wrong with it in words.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageError};

use super::{CHUNKS, FORMAT, FORMAT_KEY, ID_KEY, META, RECORDS};
use crate::journal::Error;
use crate::journal::staged::{Stage, StagedBackend};

/// Pages kept in memory. The journal is written at its end and read only at the start: more than the
/// pages that grow would be wasted.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Makes an empty journal: under another name first, so that a journal which exists is whole.
pub(super) fn found(path: &Path) -> Result<(), Error> {
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

pub(super) fn open_database(path: &Path) -> Result<(Database, Stage), Error> {
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

pub(super) fn fresh_id() -> Result<u64, Error> {
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

pub(super) fn explain_io(path: &Path, error: io::Error) -> Error {
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

fn write_format(database: &Database, id: u64) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    write.open_table(META)?.insert(ID_KEY, id)?;
    write.open_table(RECORDS)?;
    write.open_table(CHUNKS)?;
    write.commit()?;
    Ok(())
}
