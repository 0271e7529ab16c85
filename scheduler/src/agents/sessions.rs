//! Which session speaks for an instance: the newest one.
//!
//! An agent that lost its connection comes back before the scheduler has noticed the loss. The new session takes the
//! instance over at once and the old one is told to end, so that no task is ever sent on a connection that is dead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecsr_core::ids::InstanceKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Most sessions of each kind at one time: twice the instances that ECS allows in a cluster, for those that are being
/// superseded.
const SESSIONS_MAX: usize = 10_000;

/// The sessions of all agents.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Arc<Mutex<Table>>,
    room: Arc<Semaphore>,
    telemetry_room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Table {
    last_number: u64,
    current: BTreeMap<InstanceKey, Current>,
}

#[derive(Debug)]
struct Current {
    number: u64,
    /// Dropped when another session takes over, which is how this one learns of it.
    _superseder: oneshot::Sender<()>,
}

/// One ACS session's claim on its instance.
#[derive(Debug)]
pub(super) struct Session {
    pub key: InstanceKey,
    number: u64,
    superseded: oneshot::Receiver<()>,
    table: Arc<Mutex<Table>>,
    _permit: OwnedSemaphorePermit,
}

impl Default for Sessions {
    fn default() -> Self {
        let room = || Arc::new(Semaphore::new(SESSIONS_MAX));
        Self { table: Arc::default(), room: room(), telemetry_room: room() }
    }
}

impl Sessions {
    /// Takes an instance over. `None` if there are too many sessions.
    pub(super) fn enter(&self, key: &InstanceKey) -> Option<Session> {
        let permit = self.room.clone().try_acquire_owned().ok()?;
        let (superseder, superseded) = oneshot::channel();
        let mut table = lock(&self.table);
        table.last_number += 1;
        let number = table.last_number;
        table.current.insert(key.clone(), Current { number, _superseder: superseder });
        Some(Session { key: key.clone(), number, superseded, table: self.table.clone(), _permit: permit })
    }

    /// Whether some session has the instance.
    pub(super) fn has(&self, key: &InstanceKey) -> bool {
        lock(&self.table).current.contains_key(key)
    }

    /// Room for a telemetry session, of which an instance may have several.
    pub(super) fn enter_telemetry(&self) -> Option<OwnedSemaphorePermit> {
        self.telemetry_room.clone().try_acquire_owned().ok()
    }

    /// Resolves when every session has ended.
    pub(crate) async fn all_ended(&self) {
        let all = u32::try_from(SESSIONS_MAX).expect("the bound is small");
        let _ = self.room.acquire_many(all).await;
        let _ = self.telemetry_room.acquire_many(all).await;
    }
}

impl Session {
    /// Resolves when a newer session has taken over.
    pub(super) async fn superseded(&mut self) {
        // Nothing is ever sent: the sender is dropped.
        let _ = (&mut self.superseded).await;
    }

    /// Gives the instance up. False if a newer session has it.
    pub(super) fn leave(&self) -> bool {
        let mut table = lock(&self.table);
        let is_current = table.current.get(&self.key).is_some_and(|current| current.number == self.number);
        if is_current {
            table.current.remove(&self.key);
        }
        is_current
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: char) -> InstanceKey {
        InstanceKey { cluster: "default".into(), id: digit.to_string().repeat(32).parse().unwrap() }
    }

    #[tokio::test]
    async fn the_newest_session_has_the_instance() {
        let sessions = Sessions::default();
        let mut old = sessions.enter(&key('1')).unwrap();
        let other = sessions.enter(&key('2')).unwrap();
        let new = sessions.enter(&key('1')).unwrap();
        old.superseded().await;
        assert_eq!([old.leave(), new.leave(), new.leave(), other.leave()], [false, true, false, true]);
    }

    #[tokio::test]
    async fn the_end_of_all_sessions_can_be_awaited() {
        let sessions = Sessions::default();
        let session = sessions.enter(&key('1')).unwrap();
        drop(session);
        sessions.all_ended().await;
    }
}
