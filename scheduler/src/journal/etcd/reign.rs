//! The time in which one scheduler leads.
//!
//! etcd holds a key for the leader. Its create revision is the fence: every write compares it, so that whatever a leader
//! believes of itself, etcd takes nothing from one whose key is gone.
//!
//! What leaves the scheduler without passing through etcd, orders to agents above all, is held back by the clock
//! instead: a reign is certain only for the time of a lease, counted from before the leader wrote its last beat. The
//! others see each beat after it was written. Only who has seen no other for the time of a lease may take the leader's
//! key away, in a transaction that finds the very beat that it has seen: so by then the leader has been uncertain for a
//! while, and a leader that was paused or cut off finds itself uncertain the moment it goes on.
//!
//! Why not a lease of etcd's: after a change of its own leader etcd prolongs every lease, by its time for an election.
//! A host that takes etcd's leader and ours with it would be replaced too late.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long a leader that is not heard of stays the leader: four beats, and little enough for writes to go on within
/// 5 s of a leader's death.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// What is left at the end of each lease, for clocks that do not run alike and for what is on its way out.
const MARGIN: Duration = Duration::from_millis(300);

/// One scheduler's time as the leader.
#[derive(Debug)]
pub(crate) struct Reign {
    /// How many leaders there were, this one included: the journal's epoch.
    pub(super) term: u64,
    /// The create revision of the leader's key.
    pub(super) fence: i64,
    certain_until: Mutex<Instant>,
    standing: watch::Sender<Standing>,
}

/// How a reign is doing. The number of renewals is in it only so that each of them is a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Held { renewals: u64 },
    Lost,
}

impl Reign {
    /// A reign whose first beat etcd was asked to write at that moment.
    pub(super) fn new(term: u64, fence: i64, asked_at: Instant) -> Self {
        let (standing, _) = watch::channel(Standing::Held { renewals: 0 });
        Self { term, fence, certain_until: Mutex::new(until(asked_at)), standing }
    }

    /// The journal's epoch.
    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    /// The create revision of the leader's key while it reigns.
    pub(crate) fn fence(&self) -> i64 {
        self.fence
    }

    /// A beat was written, as asked for at that moment.
    pub(super) fn renewed(&self, asked_at: Instant) {
        *self.certain_until.lock().unwrap_or_else(PoisonError::into_inner) = until(asked_at);
        self.standing.send_if_modified(|standing| match standing {
            Standing::Held { renewals } => {
                *renewals += 1;
                true
            }
            Standing::Lost => false,
        });
    }

    /// Somebody else may lead from here on, or this scheduler does not want to any more. There is no way back.
    pub(crate) fn lose(&self) {
        self.standing.send_replace(Standing::Lost);
    }

    pub(crate) fn is_lost(&self) -> bool {
        *self.standing.borrow() == Standing::Lost
    }

    /// Resolves when the reign is over.
    pub(crate) async fn lost(&self) {
        let mut standing = self.standing.subscribe();
        // The sender lives as long as `self`.
        let _ = standing.wait_for(|standing| *standing == Standing::Lost).await;
    }

    /// Whether nobody else can lead at this moment.
    pub(crate) fn is_certain(&self) -> bool {
        let until = *self.certain_until.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_lost() && Instant::now() < until
    }

    /// Resolves with true as soon as nobody else can lead, with false if the reign is over instead.
    pub(crate) async fn certain(&self) -> bool {
        let mut standing = self.standing.subscribe();
        loop {
            standing.mark_unchanged();
            if self.is_lost() {
                return false;
            }
            if self.is_certain() {
                return true;
            }
            if standing.changed().await.is_err() {
                return false;
            }
        }
    }
}

fn until(asked_at: Instant) -> Instant {
    asked_at + LEASE.checked_sub(MARGIN).expect("a lease is longer than its margin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reign(asked_at: Instant) -> Reign {
        Reign::new(1, 7, asked_at)
    }

    #[tokio::test]
    async fn a_reign_is_certain_until_its_lease_could_have_run_out() {
        let now = Instant::now();
        let long_ago = now.checked_sub(LEASE).unwrap();
        assert!(reign(now).certain().await);
        let reign = reign(long_ago);
        assert!(!reign.is_certain());
        let (is_certain, ()) = tokio::join!(reign.certain(), async { reign.renewed(Instant::now()) });
        assert!(is_certain);
    }

    #[tokio::test]
    async fn a_lost_reign_is_never_certain_again() {
        let reign = reign(Instant::now());
        reign.lose();
        reign.renewed(Instant::now());
        reign.lost().await;
        assert!(!reign.is_certain() && !reign.certain().await);
    }
}
