//! The access keys that callers sign with: one small file in the data directory that only its owner can read.
//!
//! A file, not journal state, because the first key must exist before anybody can call the API, and because
//! `ecsr key` manages keys beside a running scheduler. The scheduler looks at the file's identity on every lookup and
//! reads it again when it was replaced, so a key works, or stops working, from the moment the command returns.
//!
//! Invariants: a change is whole and durable or did not happen (temporary file, sync, rename, sync of the directory);
//! changes exclude each other through a lock file; a file that cannot be understood is never overwritten.
//!
//! Schedulers that share a journal on etcd keep their keys there instead, see [`shared`].

mod shared;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ecsr_api::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use self::shared::SharedKeys;

/// The version of the file's format that this binary writes, and the newest that it reads.
const VERSION: u32 = 1;
/// Most keys in the file. Each lookup may read the whole file, and nobody hands out more by hand.
pub const KEYS_MAX: usize = 1000;
/// Longest description, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 256;
/// The letters of an access key id, as AWS uses them: base 32 without digits that look like letters.
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot create the data directory {path}")]
    CreateDirectory { path: PathBuf, source: io::Error },
    #[error("cannot lock {path}")]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot read the access keys in {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the access keys to {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "the access keys in {path} cannot be understood; nothing was changed. Repair the file, or move it away to have \
         a new first key made at the next start"
    )]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("{path} was written by a newer version of ecsr (format {version}); nothing was changed")]
    Newer { path: PathBuf, version: u32 },
    #[error("there is no access key {0}")]
    Unknown(String),
    #[error("there are {KEYS_MAX} access keys already; delete one first")]
    TooMany,
    #[error("a description has at most {DESCRIPTION_CHARS_MAX} characters")]
    DescriptionTooLong,
    #[error("the system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
    #[error("cannot reach the access keys on etcd")]
    Shared(#[source] Box<crate::journal::Error>),
    #[error("others change the access keys all the time; try again")]
    Contended,
}

/// A key pair to sign requests with. Every key may do everything.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessKey {
    /// `AKIA` and 16 letters or digits.
    pub id: String,
    /// 40 characters that need no quoting anywhere.
    pub secret: String,
    pub description: String,
    pub created_at: Timestamp,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .field("secret", &"[redacted]")
            .field("description", &self.description)
            .field("created_at", &self.created_at)
            .finish()
    }
}

/// Keys that somebody else keeps up to date.
pub(crate) type SharedRing = watch::Receiver<Arc<BTreeMap<String, AccessKey>>>;

/// Where a scheduler looks keys up.
#[derive(Debug)]
pub(crate) enum KeyRing {
    File(KeyFile),
    Shared(SharedRing),
}

impl KeyRing {
    /// The keys as they are now.
    pub(crate) fn keys(&self) -> Arc<BTreeMap<String, AccessKey>> {
        match self {
            Self::File(file) => file.keys(),
            Self::Shared(keys) => keys.borrow().clone(),
        }
    }
}

/// The file of access keys in a data directory.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    /// What the file was when it was last read; `None` when it did not exist.
    stamp: Option<Stamp>,
    keys: Arc<BTreeMap<String, AccessKey>>,
}

/// What tells one written file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    keys: Vec<AccessKey>,
}

impl KeyFile {
    /// The keys of a data directory, which is created for the owner alone when it does not exist.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
        created.map_err(|source| Error::CreateDirectory { path: data_dir.to_owned(), source })?;
        let file = Self { path: data_dir.join("keys.json"), cache: Mutex::default() };
        file.current()?;
        Ok(file)
    }

    /// Makes a key and stores it.
    pub fn create(&self, description: &str) -> Result<AccessKey, Error> {
        let key = fresh_key(description)?;
        self.change(|keys| insert(keys, &key))?;
        Ok(key)
    }

    /// Every key, the oldest first.
    pub fn list(&self) -> Result<Vec<AccessKey>, Error> {
        Ok(in_order(self.read()?))
    }

    /// Takes a key back. Requests signed with it are refused from here on.
    pub fn delete(&self, id: &str) -> Result<(), Error> {
        self.change(|keys| keys.remove(id).map(|_| ()).ok_or_else(|| Error::Unknown(id.to_owned())))
    }

    /// Makes the first key unless there is one already.
    pub(crate) fn ensure_first(&self) -> Result<Option<AccessKey>, Error> {
        let first = fresh_key("made at the first start")?;
        let mut made = None;
        self.change(|keys| {
            if keys.is_empty() {
                keys.insert(first.id.clone(), first.clone());
                made = Some(first);
            }
            Ok(())
        })?;
        Ok(made)
    }

    /// The keys as they are now. When the file has become unreadable the last good ones go on, so that a slip of an
    /// editor does not lock every agent out.
    pub(crate) fn keys(&self) -> Arc<BTreeMap<String, AccessKey>> {
        self.current().unwrap_or_else(|error| {
            tracing::warn!(%error, "going on with the access keys read before");
            self.lock_cache().keys.clone()
        })
    }

    fn current(&self) -> Result<Arc<BTreeMap<String, AccessKey>>, Error> {
        let stamp = self.stamp()?;
        let mut cache = self.lock_cache();
        if cache.stamp != stamp {
            let read = self.read();
            // Remembered even if unreadable: it is read again once it changes, not on every request.
            cache.stamp = stamp;
            cache.keys = Arc::new(read?);
        }
        Ok(cache.keys.clone())
    }

    fn lock_cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamp(&self) -> Result<Option<Stamp>, Error> {
        match fs::metadata(&self.path) {
            Ok(found) => {
                let modified = (found.mtime(), found.mtime_nsec());
                Ok(Some(Stamp { inode: found.ino(), length: found.len(), modified }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path: self.path.clone(), source }),
        }
    }

    fn read(&self) -> Result<BTreeMap<String, AccessKey>, Error> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(source) => return Err(Error::Read { path: self.path.clone(), source }),
        };
        decode(&self.path, &bytes)
    }

    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, AccessKey>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _lock = self.lock()?;
        let before = self.read()?;
        let mut after = before.clone();
        change(&mut after)?;
        if after == before {
            return Ok(());
        }
        self.replace(after).map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// Holds off other writers until dropped. A file of its own, since the key file itself is replaced.
    fn lock(&self) -> Result<File, Error> {
        let path = self.path.with_extension("lock");
        let explain = |source| Error::Lock { path: path.clone(), source };
        let file = open_private(&path, OpenOptions::new().create(true)).map_err(explain)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| explain(error.into()))?;
        Ok(file)
    }

    fn replace(&self, keys: BTreeMap<String, AccessKey>) -> io::Result<()> {
        let bytes = encode(keys);
        let temporary = self.path.with_extension("new");
        // Left by a writer that was killed; the lock says that nobody is writing it now.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = open_private(&temporary, OpenOptions::new().create_new(true))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        let directory = self.path.parent().expect("the key file lies in the data directory");
        File::open(directory)?.sync_all()
    }
}

fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.write(true).mode(0o600).open(path)
}

/// Reads what [`encode`] wrote; `path` is what it is called in messages.
fn decode(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, AccessKey>, Error> {
    let path = path.to_owned();
    let content: Content = match serde_json::from_slice(bytes) {
        Ok(content) => content,
        Err(source) => return Err(Error::Damaged { path, source }),
    };
    if content.version > VERSION {
        return Err(Error::Newer { path, version: content.version });
    }
    Ok(content.keys.into_iter().map(|key| (key.id.clone(), key)).collect())
}

fn encode(keys: BTreeMap<String, AccessKey>) -> Vec<u8> {
    let content = Content { version: VERSION, keys: keys.into_values().collect() };
    let mut bytes = serde_json::to_vec_pretty(&content).expect("texts and numbers always serialise");
    bytes.push(b'\n');
    bytes
}

/// The oldest first.
fn in_order(keys: BTreeMap<String, AccessKey>) -> Vec<AccessKey> {
    let mut keys: Vec<AccessKey> = keys.into_values().collect();
    keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    keys
}

fn insert(keys: &mut BTreeMap<String, AccessKey>, key: &AccessKey) -> Result<(), Error> {
    if keys.len() >= KEYS_MAX {
        return Err(Error::TooMany);
    }
    keys.insert(key.id.clone(), key.clone());
    Ok(())
}

fn fresh_key(description: &str) -> Result<AccessKey, Error> {
    if description.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(Error::DescriptionTooLong);
    }
    let mut entropy = [0; 16 + 30];
    getrandom::fill(&mut entropy).map_err(Error::Entropy)?;
    let (id, secret) = entropy.split_at(16);
    let letters = id.iter().map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)]));
    Ok(AccessKey {
        id: "AKIA".chars().chain(letters).collect(),
        secret: URL_SAFE_NO_PAD.encode(secret),
        description: description.to_owned(),
        created_at: Timestamp::from(SystemTime::now()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_looks_like_one_of_aws() {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyFile::open(dir.path()).unwrap().create("ci").unwrap();
        assert_eq!((key.id.len(), key.secret.len(), key.description.as_str()), (20, 40, "ci"));
        assert!(key.id.starts_with("AKIA"));
        assert!(!format!("{key:?}").contains(&key.secret));
    }

    #[test]
    fn only_the_owner_can_read_keys() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        KeyFile::open(&data_dir).unwrap().create("").unwrap();
        assert_eq!((mode(&data_dir), mode(&data_dir.join("keys.json"))), (0o700, 0o600));
    }

    #[test]
    fn another_handle_sees_each_change_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let scheduler = KeyFile::open(dir.path()).unwrap();
        let command = KeyFile::open(dir.path()).unwrap();
        let first = command.create("first").unwrap();
        let second = command.create("second").unwrap();
        assert_eq!(scheduler.keys().len(), 2);
        command.delete(&first.id).unwrap();
        assert_eq!(scheduler.keys().keys().collect::<Vec<_>>(), [&second.id]);
        assert_eq!(scheduler.list().unwrap(), [second]);
    }

    #[test]
    fn the_first_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::open(dir.path()).unwrap();
        let first = file.ensure_first().unwrap().unwrap();
        assert_eq!(file.ensure_first().unwrap(), None);
        assert_eq!(file.list().unwrap(), [first]);
    }

    #[test]
    fn unknown_keys_and_long_descriptions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::open(dir.path()).unwrap();
        assert!(matches!(file.delete("AKIANONE"), Err(Error::Unknown(id)) if id == "AKIANONE"));
        assert!(matches!(file.create(&"x".repeat(257)), Err(Error::DescriptionTooLong)));
    }

    #[test]
    fn a_damaged_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let check = |content: &str, expected: &str| {
            fs::write(&path, content).unwrap();
            let error = KeyFile::open(dir.path()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        };
        check("{\"version\":1,\"keys\":[", "cannot be understood; nothing was changed");
        check("{\"version\":9,\"keys\":[]}", "newer version of ecsr (format 9)");
    }

    #[test]
    fn a_running_scheduler_outlives_a_damaged_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::open(dir.path()).unwrap();
        let key = file.create("").unwrap();
        assert_eq!(file.keys().len(), 1);
        fs::write(dir.path().join("keys.json"), "oops").unwrap();
        assert!(file.keys().contains_key(&key.id));
        assert!(matches!(file.create("").unwrap_err(), Error::Damaged { .. }));
    }
}
