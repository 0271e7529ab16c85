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

mod scope;
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

pub use self::scope::{Actions, CLUSTERS_MAX, Scope, Unfit};
pub use self::shared::SharedKeys;

/// The newest version of the file's format that this binary reads, and the one of files that hold a key with a scope: a
/// binary that knows no scopes would take such a key for one that may do everything, so it has to refuse the file.
const VERSION: u32 = 2;
/// The version of files with no such key, which every binary reads.
const VERSION_WITHOUT_SCOPES: u32 = 1;
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
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("the system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
    #[error("cannot reach the access keys on etcd")]
    Shared(#[source] Box<crate::journal::Error>),
    #[error("others change the access keys all the time; try again")]
    Contended,
}

/// A key pair to sign requests with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessKey {
    /// `AKIA` and 16 letters or digits.
    pub id: String,
    /// 40 characters that need no quoting anywhere.
    pub secret: String,
    pub description: String,
    pub created_at: Timestamp,
    /// Keys of the first version may do everything.
    #[serde(default, skip_serializing_if = "Scope::is_everything")]
    pub scope: Scope,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .field("secret", &"[redacted]")
            .field("description", &self.description)
            .field("created_at", &self.created_at)
            .field("scope", &self.scope)
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

/// What every version of the file has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
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
    pub fn create(&self, description: &str, scope: Scope) -> Result<AccessKey, Error> {
        let key = fresh_key(description, scope)?;
        self.change(|keys| insert(keys, &key))?;
        Ok(key)
    }

    /// Every key, the oldest first.
    pub fn list(&self) -> Result<Vec<AccessKey>, Error> {
        Ok(in_order(self.read()?))
    }

    /// The secret of a key without limits, as the file has it now. For whoever else serves an API with these keys and
    /// knows nothing of what limits mean there.
    pub fn unlimited_secret(&self, id: &str) -> Option<String> {
        let keys = self.keys();
        keys.get(id).filter(|key| key.scope.is_everything()).map(|key| key.secret.clone())
    }

    /// Takes a key back. Requests signed with it are refused from here on.
    pub fn delete(&self, id: &str) -> Result<(), Error> {
        self.change(|keys| keys.remove(id).map(|_| ()).ok_or_else(|| Error::Unknown(id.to_owned())))
    }

    /// Makes the first key unless there is one already.
    pub(crate) fn ensure_first(&self) -> Result<Option<AccessKey>, Error> {
        let first = fresh_key("made at the first start", Scope::default())?;
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
    // The version first: what else a newer file holds need not be understood.
    match serde_json::from_slice(bytes) {
        Ok(Versioned { version }) if version > VERSION => return Err(Error::Newer { path, version }),
        Ok(Versioned { .. }) => {}
        Err(source) => return Err(Error::Damaged { path, source }),
    }
    let content: Content = match serde_json::from_slice(bytes) {
        Ok(content) => content,
        Err(source) => return Err(Error::Damaged { path, source }),
    };
    Ok(content.keys.into_iter().map(|key| (key.id.clone(), key)).collect())
}

fn encode(keys: BTreeMap<String, AccessKey>) -> Vec<u8> {
    let has_scopes = keys.values().any(|key| !key.scope.is_everything());
    let version = if has_scopes { VERSION } else { VERSION_WITHOUT_SCOPES };
    let content = Content { version, keys: keys.into_values().collect() };
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

fn fresh_key(description: &str, scope: Scope) -> Result<AccessKey, Error> {
    scope.check()?;
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
        scope,
    })
}

#[cfg(test)]
mod tests;
