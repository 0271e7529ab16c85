//! The time in which one scheduler leads.
//!
//! etcd holds a key for the leader that goes when the leader's lease does. Its create revision is the fence: every
//! write compares it, so that whatever a leader believes of itself, etcd takes nothing from one whose key is gone.
//!
//! What leaves the scheduler without passing through etcd, orders to agents above all, is held back by the clock
//! instead: a reign is certain only until its lease could have run out, counted from before etcd was asked to renew
//! it. A leader that was paused or cut off finds itself uncertain the moment it goes on.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::wire::Number;

/// How long a leader that is not heard of stays the leader. etcd grants no less than 2 s at its default settings, and
/// writes are to go on within 5 s of a leader's death.
pub(crate) const LEASE_SECONDS: i64 = 2;

/// What is left at the end of each lease, for clocks that do not run alike and for what is on its way out.
const MARGIN: Duration = Duration::from_millis(300);

/// One scheduler's time as the leader.
#[derive(Debug)]
pub(crate) struct Reign {
    /// How many leaders there were, this one included: the journal's epoch.
    pub(super) term: u64,
    /// The create revision of the leader's key.
    pub(super) fence: i64,
    pub(super) lease: Number,
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
    /// A reign whose lease was asked for at that moment.
    pub(super) fn new(term: u64, fence: i64, lease: Number, asked_at: Instant) -> Self {
        let (standing, _) = watch::channel(Standing::Held { renewals: 0 });
        Self { term, fence, lease, certain_until: Mutex::new(until(asked_at)), standing }
    }

    /// The journal's epoch.
    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    /// The create revision of the leader's key while it reigns.
    pub(crate) fn fence(&self) -> i64 {
        self.fence
    }

    /// The lease was renewed, as asked for at that moment, and the key was seen after that.
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
    let lease = Duration::from_secs(LEASE_SECONDS.unsigned_abs());
    asked_at + lease.checked_sub(MARGIN).expect("a lease is longer than its margin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reign(asked_at: Instant) -> Reign {
        Reign::new(1, 7, Number(3), asked_at)
    }

    #[tokio::test]
    async fn a_reign_is_certain_until_its_lease_could_have_run_out() {
        let now = Instant::now();
        let long_ago = now.checked_sub(Duration::from_secs(2)).unwrap();
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
