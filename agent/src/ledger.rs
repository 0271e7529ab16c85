//! What Docker cannot hold, on disk: the container instance's ARN, tasks accepted but not created yet, reports not
//! acknowledged yet, and the images that this agent pulled.
//!
//! One small file, replaced as a whole (write, fsync, rename, fsync of the directory), so that it is always either
//! the old or the new one. It never stops the agent: an unreadable file is set aside with a message, a disk that
//! cannot be written to is complained of, because labels alone are enough to go on.
//!
//! The file is behind a seam, [`Disk`], so that a simulation can lose power and fill up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ecsr_api::{Timestamp, acs};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::backoff::Complaint;
use crate::engine::TaskReport;

/// The file within the data directory.
const FILE_NAME: &str = "ecsr-agent.json";
/// Container instance ARNs that are remembered, newest last: enough to know one's own containers after a cluster
/// was made anew a few times.
const INSTANCES_MAX: usize = 8;
/// Images that are remembered; the oldest are forgotten, hence never cleaned up, beyond it.
const IMAGES_MAX: usize = 1000;

/// The content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Entries {
    /// The ARNs that this agent was registered under, newest last.
    pub(crate) container_instances: Vec<String>,
    /// Tasks that were acknowledged and have no container yet, by ARN, credentials left out.
    pub(crate) accepted: BTreeMap<String, acs::Task>,
    /// STOPPED reports that the scheduler has not acknowledged, by task.
    pub(crate) unsent: BTreeMap<String, TaskReport>,
    /// Tasks that were to stop and whose containers are not removed yet.
    pub(crate) stopping: BTreeSet<String>,
    /// Tasks whose STOPPED was acknowledged and whose containers are not removed yet.
    pub(crate) acknowledged: BTreeSet<String>,
    /// When images were last pulled or used, by reference.
    pub(crate) images: BTreeMap<String, ImageRecord>,
}

/// An image that this agent pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageRecord {
    pub(crate) pulled_at: Timestamp,
    pub(crate) used_at: Timestamp,
}

impl Entries {
    pub(crate) fn remember_instance(&mut self, arn: &str) {
        self.container_instances.retain(|known| known != arn);
        self.container_instances.push(arn.to_owned());
        let surplus = self.container_instances.len().saturating_sub(INSTANCES_MAX);
        self.container_instances.drain(..surplus);
    }

    pub(crate) fn note_pull(&mut self, image: &str, now: Timestamp) {
        self.images.insert(image.to_owned(), ImageRecord { pulled_at: now, used_at: now });
        if self.images.len() > IMAGES_MAX {
            let oldest =
                self.images.iter().min_by_key(|(_, record)| record.used_at).map(|(image, _)| image.clone());
            oldest.and_then(|image| self.images.remove(&image));
        }
    }
}

/// Where the ledger is kept: one piece of text that is replaced as a whole or not at all.
pub trait Disk: std::fmt::Debug + Send + Sync + 'static {
    /// What was written last; `None` if nothing was.
    fn read(&self) -> io::Result<Option<Vec<u8>>>;

    /// Replaces it, durably once the future is ready.
    fn replace(&self, bytes: Vec<u8>) -> BoxFuture<'static, io::Result<()>>;

    /// Puts what cannot be understood out of the way, for somebody to look at.
    fn set_aside(&self);
}

/// The ledger's file.
#[derive(Debug)]
struct FileDisk {
    path: PathBuf,
}

/// The ledger: entries in memory, and a writer that follows them.
#[derive(Debug, Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Box<dyn Disk>,
    current: Mutex<(u64, Entries)>,
    changed: Notify,
    /// The version that is on disk, or was tried to be.
    written: watch::Sender<u64>,
}

impl Ledger {
    /// Opens the ledger of a data directory, which is made if it is not there.
    pub(crate) fn open(data_dir: &Path) -> Self {
        let path = data_dir.join(FILE_NAME);
        if let Err(error) = fs::create_dir_all(data_dir) {
            tracing::warn!("cannot make the data directory {}: {error}", data_dir.display());
        }
        Ledger::over(FileDisk { path })
    }

    /// Opens the ledger that a disk holds.
    pub fn over(disk: impl Disk) -> Self {
        let entries = read(&disk);
        let inner = Inner {
            disk: Box::new(disk),
            current: Mutex::new((0, entries)),
            changed: Notify::new(),
            written: watch::Sender::new(0),
        };
        Ledger { inner: Arc::new(inner) }
    }

    /// Reads the entries.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Entries) -> T) -> T {
        read(&self.inner.current.lock().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Changes the entries; the writer follows.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> Version {
        let mut current = self.inner.current.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut current.1);
        current.0 += 1;
        self.inner.changed.notify_one();
        Version { version: current.0, written: self.inner.written.subscribe() }
    }

    /// Writes whatever changes, many changes at once, for as long as the agent lives.
    pub(crate) async fn keep_writing(self) {
        let mut complaint = Complaint::default();
        loop {
            self.inner.changed.notified().await;
            self.flush(&mut complaint).await;
        }
    }

    /// Writes what is not written yet: the last act of an agent that is told to end.
    pub(crate) async fn close(&self) {
        self.flush(&mut Complaint::default()).await;
    }

    async fn flush(&self, complaint: &mut Complaint) {
        let (version, bytes) = {
            let current = self.inner.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.0 == *self.inner.written.borrow() {
                return;
            }
            (current.0, serde_json::to_vec(&current.1).expect("entries have string keys and finite numbers"))
        };
        match self.inner.disk.replace(bytes).await {
            Ok(()) => complaint.settled("the ledger can be written again"),
            Err(error) => complaint.warn(format!("cannot write the ledger ({:?}): {error}", self.inner.disk)),
        }
        self.inner.written.send_replace(version);
    }
}

/// A moment in the ledger's history.
#[derive(Debug)]
pub(crate) struct Version {
    version: u64,
    written: watch::Receiver<u64>,
}

impl Version {
    /// Waits until this version is on disk, or could not be written.
    pub(crate) async fn written(mut self) {
        // The sender lives in the ledger, which outlives its versions; were it gone, nothing is left to wait for.
        let _ = self.written.wait_for(|written| *written >= self.version).await;
    }
}

fn read(disk: &impl Disk) -> Entries {
    let bytes = match disk.read() {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Entries::default(),
        Err(error) => {
            tracing::warn!("cannot read the ledger ({disk:?}): {error}; going on from labels alone");
            return Entries::default();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!("the ledger ({disk:?}) is unreadable and set aside: {error}");
        disk.set_aside();
        Entries::default()
    })
}

impl Disk for FileDisk {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, bytes: Vec<u8>) -> BoxFuture<'static, io::Result<()>> {
        let path = self.path.clone();
        let writing = tokio::task::spawn_blocking(move || replace(&path, &bytes));
        async move { writing.await.unwrap_or_else(|error| Err(io::Error::other(error))) }.boxed()
    }

    fn set_aside(&self) {
        let aside = self.path.with_extension("json.unreadable");
        if let Err(error) = fs::rename(&self.path, &aside) {
            tracing::warn!("cannot set {} aside: {error}", self.path.display());
        }
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension("json.next");
    let mut file = fs::File::create(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ecsr-ledger-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[tokio::test]
    async fn what_was_written_is_read_again() {
        let dir = directory("again");
        let ledger = Ledger::open(&dir);
        let writer = tokio::spawn(ledger.clone().keep_writing());
        let version = ledger.update(|entries| {
            entries.remember_instance("arn:1");
            entries.remember_instance("arn:2");
            entries
                .accepted
                .insert("t".to_owned(), acs::Task { arn: Some("t".to_owned()), ..acs::Task::default() });
        });
        version.written().await;
        writer.abort();
        let again = Ledger::open(&dir);
        assert_eq!(again.with(|entries| entries.container_instances.clone()), ["arn:1", "arn:2"]);
        assert!(again.with(|entries| entries.accepted.contains_key("t")));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn an_unreadable_ledger_is_set_aside_and_does_not_block() {
        let dir = directory("unreadable");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(FILE_NAME), b"{ half").unwrap();
        let ledger = Ledger::open(&dir);
        assert!(ledger.with(|entries| entries.container_instances.is_empty()));
        assert_eq!(fs::read(dir.join("ecsr-agent.json.unreadable")).unwrap(), b"{ half");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn only_the_newest_instances_are_remembered() {
        let mut entries: Entries = Entries::default();
        for index in 0..20 {
            entries.remember_instance(&format!("arn:{index}"));
        }
        assert_eq!(entries.container_instances.len(), INSTANCES_MAX);
        assert_eq!(entries.container_instances.last().map(String::as_str), Some("arn:19"));
    }
}
