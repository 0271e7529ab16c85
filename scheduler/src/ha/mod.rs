//! Several schedulers of one cluster, of which one leads.
//!
//! ```text
//!           clients, agents
//!          /       |       \
//!     standby -> leader <- standby      writes are passed on to the leader
//!          \       |       /
//!        follow  append  follow         reads are answered everywhere
//!            \     |     /
//!                etcd
//! ```
//!
//! - [`node`]: one scheduler's life: follow, stand for election, lead, step down.
//! - [`follower`]: the state out of the log. [`barrier`]: reads that miss nothing. [`standby`]: what a scheduler answers
//!   that does not lead. [`forward`]: how a call reaches the one that does.
//!
//! Invariants: what is acknowledged is in etcd, appended by the one who led then. What reaches an agent was said by one
//! who led at that moment by the clock. A new leader begins with everything that any client or standby has ever seen.

pub(crate) mod barrier;
mod follower;
mod forward;
pub(crate) mod node;
mod standby;

use std::sync::Arc;

use ecsr_api::ApiError;
use ecsr_core::State;

use self::barrier::{Barrier, Unconfirmed};
use crate::driver::Driver;
use crate::journal::etcd::reign::Reign;

/// What reads are to say when several schedulers share a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Everything that had happened when the read came: one question to etcd before it.
    #[default]
    Confirmed,
    /// What this scheduler knows, which is behind by a few milliseconds, or by more while it is cut off.
    Local,
}

/// By what right a scheduler decides and speaks.
#[derive(Debug)]
pub(crate) enum Authority {
    /// There is no other.
    Alone,
    /// It was elected, and may be deposed without knowing.
    Elected { reign: Arc<Reign>, barrier: Barrier, consistency: Consistency },
}

impl Authority {
    /// Resolves with true once nobody else can be leading, with false if that will not be again.
    pub(crate) async fn may_speak(&self) -> bool {
        match self {
            Self::Alone => true,
            Self::Elected { reign, .. } => reign.certain().await,
        }
    }

    /// The state for a read, with everything that had happened when this was called.
    pub(crate) async fn state(&self, driver: &Driver) -> Result<Arc<State>, ApiError> {
        if let Self::Elected { reign, barrier, consistency: Consistency::Confirmed } = self {
            let glance = barrier.look().await.map_err(unconfirmed)?;
            if glance.fence != reign.fence() {
                reign.lose();
                return Err(unconfirmed(Unconfirmed));
            }
            // What was appended is seen at standbys before it is published here.
            let caught_up = driver.published_through(glance.head);
            let in_time = tokio::time::timeout(standby::CATCH_UP_MAX, caught_up).await;
            in_time.map_err(|_| unconfirmed(Unconfirmed))?;
        }
        Ok(driver.state())
    }

    /// Makes sure that an answer which was decided without an append was this scheduler's to give.
    pub(crate) async fn confirm(&self) -> Result<(), ApiError> {
        if let Self::Elected { reign, barrier, .. } = self
            && !reign.is_certain()
        {
            let glance = barrier.look().await.map_err(unconfirmed)?;
            if glance.fence != reign.fence() {
                reign.lose();
                return Err(unconfirmed(Unconfirmed));
            }
        }
        Ok(())
    }
}

fn unconfirmed(why: Unconfirmed) -> ApiError {
    ApiError::server(format!("The scheduler cannot confirm that it leads: {why}. Try again."))
}
