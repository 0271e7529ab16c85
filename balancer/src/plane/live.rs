//! A registered target as the traffic sees it: how much of it is in flight, whether it drains, when it was last refused.
//!
//! Invariant: who enters a target that drains is turned away, and the one who waits for it to be empty sees everybody
//! who was let in. Both write first and read then, in one order for all.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, watch};

use super::clock;
use super::health::{Machine, Standing};
use super::lanes;
use super::pool::Pool;
use crate::model::TargetKey;

/// How long a target that refused a connection is passed over, unless a health check succeeds before.
const EJECTION: Duration = Duration::from_secs(1);

/// Names a target to a client without telling its address.
pub(super) type Tag = [u8; 16];

/// A registered target.
pub(super) struct Live {
    pub(super) key: TargetKey,
    pub(super) address: SocketAddr,
    pub(super) tag: Tag,
    /// Its unused connections, by lane.
    pub(super) pools: Box<[Mutex<Pool>]>,
    in_flight: AtomicUsize,
    draining: AtomicBool,
    emptied: Notify,
    cut: watch::Sender<u64>,
    /// A [`Standing`], beside the machine that decides it, to be read by every request.
    standing: AtomicU8,
    ejected_until: AtomicU64,
    /// When it began to get its share little by little; 0 if it has it.
    ramping_since: AtomicU64,
    checked: Mutex<Machine>,
}

/// Something in flight to a target.
pub(super) struct InFlight(Arc<Live>);

impl Live {
    pub(super) fn new(group: &str, key: &TargetKey, address: SocketAddr) -> Self {
        Self {
            key: key.clone(),
            address,
            tag: tag(group, &key.to_string()),
            pools: (0..lanes::count()).map(|_| Mutex::default()).collect(),
            in_flight: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            emptied: Notify::new(),
            cut: watch::Sender::new(0),
            standing: AtomicU8::new(0),
            ejected_until: AtomicU64::new(0),
            ramping_since: AtomicU64::new(0),
            checked: Mutex::default(),
        }
    }

    /// Lets one more in, unless it drains.
    pub(super) fn enter(self: &Arc<Self>) -> Option<InFlight> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let entered = InFlight(self.clone());
        (!self.draining.load(Ordering::SeqCst)).then_some(entered)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::SeqCst);
        if draining {
            self.drop_idle();
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Waits until nothing is in flight.
    pub(super) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.in_flight.load(Ordering::SeqCst) == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Ends all that is in flight.
    pub(super) fn cut(&self) {
        self.cut.send_modify(|times| *times += 1);
    }

    /// Changes when what is in flight is to end.
    pub(super) fn cuts(&self) -> watch::Receiver<u64> {
        self.cut.subscribe()
    }

    /// It refused a connection: nobody else is sent into that for a moment.
    pub(super) fn eject(&self) {
        self.ejected_until.store(clock::now() + clock::millis(EJECTION), Ordering::Relaxed);
        self.drop_idle();
    }

    pub(super) fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now
    }

    pub(super) fn standing(&self) -> Standing {
        Standing::from_u8(self.standing.load(Ordering::Relaxed))
    }

    /// The machine of its health checks. Whoever changes it says what came out by [`Live::set_standing`].
    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Relaxed);
    }

    pub(super) fn passed_check(&self) {
        self.ejected_until.store(0, Ordering::Relaxed);
    }

    /// From now on its share grows.
    pub(super) fn start_ramp(&self) {
        self.ramping_since.store(clock::now(), Ordering::Relaxed);
    }

    pub(super) fn end_ramp(&self) {
        self.ramping_since.store(0, Ordering::Relaxed);
    }

    /// How much of its share it gets by now, in percent.
    pub(super) fn share(&self, now: u64, slow_start: Duration) -> u64 {
        let since = self.ramping_since.load(Ordering::Relaxed);
        let whole = clock::millis(slow_start);
        if since == 0 || now.saturating_sub(since) >= whole {
            return 100;
        }
        (now.saturating_sub(since) * 100 / whole).max(1)
    }

    pub(super) fn pool(&self, lane: usize) -> MutexGuard<'_, Pool> {
        self.pools[lane].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_idle(&self) {
        for lane in 0..self.pools.len() {
            self.pool(lane).clear();
        }
    }
}

impl InFlight {
    pub(super) fn live(&self) -> &Arc<Live> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.0.draining.load(Ordering::SeqCst) {
            self.0.emptied.notify_one();
        }
    }
}

/// The group's name ends in a random part that no client knows, so the target cannot be guessed from this.
pub(super) fn tag(group: &str, name: &str) -> Tag {
    let digest = Sha256::new().chain_update(group).chain_update([0]).chain_update(name).finalize();
    let mut tag = Tag::default();
    tag.copy_from_slice(&digest[..size_of::<Tag>()]);
    tag
}
