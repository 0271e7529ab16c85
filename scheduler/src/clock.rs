//! The shell's wall clock, which never runs backwards.
//!
//! The core orders what happened by the times it is given, and a host's clock is stepped back now and then. A step
//! back shows here as time standing still until the clock has caught up, so no later event carries an earlier time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use ecsr_api::Timestamp;

/// The time of day, monotonic over all clones of one clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    latest: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that starts no earlier than `floor`, the latest time that was already written down.
    pub(crate) fn not_before(floor: Timestamp) -> Self {
        Self { latest: Arc::new(AtomicI64::new(floor.millis())) }
    }

    /// The current time, never earlier than any time given before.
    pub(crate) fn now(&self) -> Timestamp {
        self.observe(Timestamp::from(SystemTime::now()))
    }

    /// A number greater than every other that this clock counted: the current milliseconds, or one more than the
    /// last. It grows over restarts as the time does.
    pub(crate) fn next_number(&self) -> i64 {
        let now = Timestamp::from(SystemTime::now()).millis();
        let next = |latest: i64| Some(now.max(latest + 1));
        let previous = self
            .latest
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            .expect("the update always gives a value");
        now.max(previous + 1)
    }

    fn observe(&self, moment: Timestamp) -> Timestamp {
        let previous = self.latest.fetch_max(moment.millis(), Ordering::AcqRel);
        Timestamp::from_millis(previous.max(moment.millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_rather_than_going_back() {
        let clock = Clock::default();
        let observe = |millis| clock.observe(Timestamp::from_millis(millis)).millis();
        assert_eq!([observe(10), observe(7), observe(12)], [10, 10, 12]);
    }

    #[test]
    fn numbers_grow_even_within_a_millisecond() {
        let clock = Clock::not_before(Timestamp::from_seconds(4_000_000_000));
        let numbers: Vec<i64> = (0..3).map(|_| clock.next_number()).collect();
        assert_eq!(numbers, [4_000_000_000_001, 4_000_000_000_002, 4_000_000_000_003]);
    }
}
