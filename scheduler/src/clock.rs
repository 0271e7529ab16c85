//! The shell's wall clock, which never runs backwards.
//!
//! The core orders what happened by the times it is given, and a host's clock is stepped back now and then. Then time goes
//! on here from where it was, at the pace of the monotonic clock, until the host's has caught up: no later event carries
//! an earlier time, and no delay freezes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use ecsr_api::Timestamp;

/// The time of day, monotonic over all clones of one clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    latest: Arc<AtomicI64>,
    /// When the clock was made, by the clock that never steps, and the time that it was then.
    made: (Instant, Timestamp),
}

impl Clock {
    /// A clock that starts no earlier than `floor`, the latest time that was already written down.
    pub(crate) fn not_before(floor: Timestamp) -> Self {
        let start = floor.max(Timestamp::from(SystemTime::now()));
        Self { latest: Arc::new(AtomicI64::new(floor.millis())), made: (Instant::now(), start) }
    }

    /// The current time, never earlier than any time given before.
    pub(crate) fn now(&self) -> Timestamp {
        let (made, start) = self.made;
        self.observe(start.plus(made.elapsed()).max(Timestamp::from(SystemTime::now())))
    }

    /// A number that none given by this clock and none [counted](Self::counted) exceeds. It grows over restarts as the
    /// time does.
    pub(crate) fn number(&self) -> i64 {
        self.now().millis()
    }

    /// Takes note of a number that was given away after [`Self::number`].
    pub(crate) fn counted(&self, number: i64) {
        self.observe(Timestamp::from_millis(number));
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
    fn time_never_goes_back() {
        let clock = Clock::not_before(Timestamp::default());
        let observe = |millis| clock.observe(Timestamp::from_millis(millis)).millis();
        assert_eq!([observe(10), observe(7), observe(12)], [10, 10, 12]);
    }

    #[test]
    fn time_goes_on_from_what_was_written_down() {
        let ahead = Timestamp::from_seconds(4_000_000_000);
        let clock = Clock::not_before(ahead);
        let first = clock.now();
        assert!(first >= ahead && clock.now() >= first);
    }

    #[test]
    fn numbers_go_on_from_those_that_were_counted() {
        let clock = Clock::not_before(Timestamp::from_seconds(4_000_000_000));
        clock.counted(4_000_000_060_000);
        assert!(clock.number() >= 4_000_000_060_000);
    }
}
