//! The access keys of schedulers that share a journal: one value on etcd, in the format of the file.
//!
//! Every scheduler watches it, so a key works, or stops working, on all of them within milliseconds of the command's
//! return; one whose watch has gone silent looks again within [`LOOK_EVERY`].
//!
//! Invariant: a change replaces exactly the keys that it was made from, or is made anew from those that are there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{AccessKey, Error, Scope, SharedRing, decode, encode, fresh_key, in_order, insert};
use crate::journal::etcd::log::Log;
use crate::journal::etcd::{Location, layout};

/// How often the keys are read whether or not the watch says anything.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Pause after etcd could not be asked.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// How often a change is made anew because another came first: nobody manages keys in such a hurry.
const CHANGES_MAX: usize = 10;

/// The keys on etcd.
#[derive(Debug, Clone)]
pub struct SharedKeys {
    log: Arc<Log>,
    /// What messages call them.
    place: PathBuf,
}

impl SharedKeys {
    /// The keys beside the journal that is there. Nothing is read yet.
    pub fn open(location: &Location) -> Result<Self, Error> {
        let log = Log::open(location).map_err(|source| Error::Shared(Box::new(source)))?;
        Ok(Self::beside(Arc::new(log), location))
    }

    pub(crate) fn beside(log: Arc<Log>, location: &Location) -> Self {
        Self { log, place: PathBuf::from(format!("{location}/keys")) }
    }

    /// Makes a key and stores it.
    pub async fn create(&self, description: &str, scope: Scope) -> Result<AccessKey, Error> {
        let key = fresh_key(description, scope)?;
        self.change(|keys| insert(keys, &key)).await?;
        Ok(key)
    }

    /// Every key, the oldest first.
    pub async fn list(&self) -> Result<Vec<AccessKey>, Error> {
        Ok(in_order(self.read().await?.0))
    }

    /// Takes a key back.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        self.change(|keys| keys.remove(id).map(|_| ()).ok_or_else(|| Error::Unknown(id.to_owned()))).await
    }

    /// Makes the first key unless there is one already.
    pub(crate) async fn ensure_first(&self) -> Result<Option<AccessKey>, Error> {
        let first = fresh_key("made at the first start", Scope::default())?;
        let mut made = None;
        self.change(|keys| {
            made = keys.is_empty().then(|| first.clone());
            if keys.is_empty() { insert(keys, &first) } else { Ok(()) }
        })
        .await?;
        Ok(made)
    }

    /// The keys as they are, from here on, kept up by a task of their own.
    pub(crate) async fn follow(self) -> Result<SharedRing, Error> {
        let (keys, _, revision) = self.read().await?;
        let (sender, receiver) = watch::channel(Arc::new(keys));
        tokio::spawn(async move { self.keep_up(&sender, revision).await });
        Ok(receiver)
    }

    async fn keep_up(&self, sender: &watch::Sender<Arc<BTreeMap<String, AccessKey>>>, mut revision: i64) {
        loop {
            self.await_change(revision).await;
            match self.read().await {
                Ok((keys, _, seen)) => {
                    revision = seen;
                    if **sender.borrow() != keys {
                        sender.send_replace(Arc::new(keys));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "going on with the access keys read before");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
            if sender.is_closed() {
                return;
            }
        }
    }

    /// Returns when the keys may have changed after that revision.
    async fn await_change(&self, revision: i64) {
        let key = self.log.names().keys();
        let changed = async {
            let mut watcher = self.log.watch(&key, &layout::after(&key), revision + 1).await.ok()?;
            // The first message says only that the watch was made.
            while watcher.next().await.ok()?.is_empty() {}
            Some(())
        };
        if let Ok(None) = tokio::time::timeout(LOOK_EVERY, changed).await {
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    async fn change(
        &self,
        mut change: impl FnMut(&mut BTreeMap<String, AccessKey>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let key = self.log.names().keys();
        for _ in 0..CHANGES_MAX {
            let (before, revision, _) = self.read().await?;
            let mut after = before.clone();
            change(&mut after)?;
            if after == before {
                return Ok(());
            }
            let replaced = self.log.replace_value(&key, &encode(after), revision).await;
            if replaced.map_err(|source| Error::Shared(Box::new(source)))? {
                return Ok(());
            }
        }
        Err(Error::Contended)
    }

    /// The keys, the revision at which they were last written, and that at which they were read.
    async fn read(&self) -> Result<(BTreeMap<String, AccessKey>, i64, i64), Error> {
        let read = self.log.read_value(&self.log.names().keys()).await;
        let (value, written, revision) = read.map_err(|source| Error::Shared(Box::new(source)))?;
        let keys = value.map_or_else(|| Ok(BTreeMap::new()), |value| decode(&self.place, &value))?;
        Ok((keys, written, revision))
    }
}
