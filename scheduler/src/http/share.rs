//! Nobody takes everything: what one address may hold of the scheduler at a time.
//!
//! All agents may well sign with one key, and all clients of a site may come from one address, so the shares are
//! generous: they are there for the one that floods. An address has its share of the connections, beyond which it is
//! hung up on, and its share of the requests that are being answered, beyond which its own requests wait for one
//! another. So however many it sends, the writer's queue and the processors stay within reach of everybody else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections of one address: the agents of a whole cluster behind one gateway, and as many clients.
pub(super) const CONNECTIONS_PER_ADDRESS_MAX: usize = super::server::CONNECTIONS_MAX / 2;

/// Most requests of one address that are being answered: a quarter of the writer's queue, which is more than a disk's
/// sync takes together under any load that was seen.
const REQUESTS_PER_ADDRESS_MAX: usize = 256;

/// The shares of all addresses that have connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares {
    table: Arc<Mutex<Table>>,
}

type Table = BTreeMap<IpAddr, Entry>;

#[derive(Debug)]
struct Entry {
    connections: usize,
    requests: Arc<Semaphore>,
}

/// One connection's part of its address's share, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    address: IpAddr,
    requests: Arc<Semaphore>,
    table: Arc<Mutex<Table>>,
}

/// What a request needs to be answered.
#[derive(Debug, Clone)]
pub(crate) struct Turn(Arc<Semaphore>);

impl Shares {
    /// Room for one more connection of an address. `None` if it has too many.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Share> {
        let address = address.to_canonical();
        let mut table = lock(&self.table);
        let entry = table.entry(address).or_insert_with(|| Entry {
            connections: 0,
            requests: Arc::new(Semaphore::new(REQUESTS_PER_ADDRESS_MAX)),
        });
        if entry.connections == CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        entry.connections += 1;
        Some(Share { address, requests: entry.requests.clone(), table: self.table.clone() })
    }
}

impl Share {
    /// Goes with each request of the connection.
    pub(super) fn turn(&self) -> Turn {
        Turn(self.requests.clone())
    }
}

impl Turn {
    /// Waits until few enough requests of the same address are being answered.
    pub(crate) async fn come(self) -> OwnedSemaphorePermit {
        self.0.acquire_owned().await.expect("the semaphore is never closed")
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        if let Some(entry) = table.get_mut(&self.address) {
            entry.connections -= 1;
            if entry.connections == 0 {
                table.remove(&self.address);
            }
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn an_address_has_its_share_of_connections_and_leaves_the_rest() {
        let shares = Shares::default();
        let [flooding, other] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        let mut held: Vec<_> = (0..CONNECTIONS_PER_ADDRESS_MAX).map(|_| shares.enter(flooding)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(shares.enter(flooding).is_none());
        assert!(shares.enter("::ffff:10.0.0.1".parse().unwrap()).is_none(), "the same in other words");
        assert!(shares.enter(other).is_some());
        held.pop();
        assert!(shares.enter(flooding).is_some());
        drop(held);
        assert!(lock(&shares.table).is_empty());
    }

    #[tokio::test]
    async fn requests_of_one_address_wait_for_one_another_only() {
        let shares = Shares::default();
        let [flooding, other] =
            ["10.0.0.1", "10.0.0.2"].map(|address| shares.enter(address.parse().unwrap()).unwrap());
        let mut answering = Vec::new();
        for _ in 0..REQUESTS_PER_ADDRESS_MAX {
            answering.push(flooding.turn().come().await);
        }
        let mut waiting = std::pin::pin!(flooding.turn().come());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(other.turn().come().await);
        answering.pop();
        drop(waiting.await);
    }
}
