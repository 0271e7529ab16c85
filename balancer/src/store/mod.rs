//! Where the state is kept: one redb file, a row of JSON for each resource.
//!
//! A write holds what differs between two states, in one transaction that is durable before it returns. After a write
//! that failed nobody knows what the file holds, so the next one writes everything.
//!
//! A file is proven sound on a copy in memory before it is opened: one that is damaged, of a later version or of another
//! program is refused, and left as it was found.

mod rows;
mod sound;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, Durability};

use self::rows::{FORMAT, FORMAT_KEY, META};
use crate::model::State;

/// Pages kept in memory. All is read at the start and never again.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Why the state cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{} is used by another balancer", path.display())]
    InUse { path: PathBuf },
    #[error("{} was written by a later version (format {format}, this one reads up to {FORMAT}); nothing was changed",
        path.display())]
    Newer { path: PathBuf, format: u64 },
    #[error("{} is damaged ({problem}); nothing was changed. Restore it from a backup, or move it away", path.display())]
    Damaged { path: PathBuf, problem: String },
    #[error("cannot write the balancer's state")]
    Write(#[source] Box<redb::Error>),
}

/// The file, locked against other processes as long as this lives.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// Nothing after a write that failed: redb does not go on with a file that did.
    database: Option<Database>,
    /// Holds the lock.
    _lock: File,
}

impl Store {
    /// Opens the store of a data directory, or makes an empty one, and reads what it holds.
    pub(crate) fn open(data_dir: &Path) -> Result<(Self, State), Error> {
        fs::create_dir_all(data_dir).map_err(|source| Error::Open { path: data_dir.to_owned(), source })?;
        let lock = lock(&data_dir.join("balancer.lock"))?;
        let path = data_dir.join("balancer.redb");
        let state = match fs::read(&path) {
            Ok(bytes) => sound::check(&path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found(&path)?;
                State::default()
            }
            Err(source) => return Err(Error::Open { path, source }),
        };
        let database = Some(open(&path).map_err(|source| opening(&path, source))?);
        Ok((Self { path, database, _lock: lock }, state))
    }

    /// Makes `new` what the store holds, in place of `old`.
    pub(crate) fn write(&mut self, old: &State, new: &State) -> Result<(), Error> {
        let failed = |source: redb::Error| Error::Write(Box::new(source));
        let (database, old) = match self.database.take() {
            Some(database) => (database, Some(old)),
            None => (open(&self.path).map_err(failed)?, None),
        };
        transact(&database, old, new).map_err(failed)?;
        self.database = Some(database);
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = private(OpenOptions::new().create(true), path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(Error::Open { path: path.to_owned(), source }),
    }
}

/// Makes an empty store: under another name first, so that one which exists is whole.
fn found(path: &Path) -> Result<(), Error> {
    let unfinished = path.with_extension("new");
    let explain = |source| Error::Open { path: path.to_owned(), source };
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(explain(error)),
        Ok(()) | Err(_) => {}
    }
    private(OpenOptions::new().create_new(true), &unfinished)?;
    let database = open(&unfinished).map_err(|source| opening(path, source))?;
    transact(&database, None, &State::default()).map_err(|source| Error::Write(Box::new(source)))?;
    drop(database);
    fs::rename(&unfinished, path).map_err(explain)?;
    let directory = path.parent().expect("the store lies in the data directory");
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(explain)
}

/// For the owner alone.
fn private(options: &mut OpenOptions, path: &Path) -> Result<File, Error> {
    let opened = options.read(true).write(true).mode(0o600).open(path);
    opened.map_err(|source| Error::Open { path: path.to_owned(), source })
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    Ok(builder.create_with_backend(FileBackend::new(file)?)?)
}

fn opening(path: &Path, source: redb::Error) -> Error {
    Error::Open { path: path.to_owned(), source: io::Error::other(source) }
}

/// Writes what differs, or everything if it is not known from what.
fn transact(database: &Database, old: Option<&State>, new: &State) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    write.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    if let Some(old) = old {
        rows::write(&write, old, new)?;
    } else {
        rows::clear(&write)?;
        rows::write(&write, &State::default(), new)?;
    }
    write.commit()?;
    Ok(())
}
