//! How many calls ELBv2 gets: AWS throttles who asks too much, and with them everybody else in the account.

use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Most calls under way at once.
const CALLS_MAX: usize = 8;

/// The mean time between calls, and how many may come in one go. A fleet of deployments asks more slowly, none is stopped.
const CALL_EVERY: Duration = Duration::from_millis(25);
const BURST: u32 = 80;

/// A bucket of calls.
#[derive(Debug)]
pub(super) struct Calls {
    room: Semaphore,
    /// When the bucket will be full again.
    full_at: Mutex<Instant>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { room: Semaphore::new(CALLS_MAX), full_at: Mutex::new(Instant::now()) }
    }
}

impl Calls {
    /// Waits for a turn, which lasts while the permit is held.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        let at = {
            let mut full_at = self.full_at.lock().await;
            let now = Instant::now();
            *full_at = (*full_at).max(now) + CALL_EVERY;
            full_at.checked_sub(CALL_EVERY * BURST).unwrap_or(now)
        };
        tokio::time::sleep_until(at).await;
        self.room.acquire().await.expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_come_in_a_burst_and_then_by_and_by() {
        let calls = Calls::default();
        let start = Instant::now();
        for _ in 0..BURST {
            drop(calls.turn().await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(calls.turn().await);
        assert!(start.elapsed() >= CALL_EVERY);
    }
}
