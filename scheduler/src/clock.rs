//! The shell's wall clock, which never runs backwards.
//!
//! The core orders what happened by the times it is given, and a host's clock is stepped back now and then. Then time goes
//! on here from where it was, at the pace of the monotonic clock, until the host's has caught up: no later event carries
//! an earlier time, and no delay freezes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ecsr_api::Timestamp;

/// How many bits of a number count milliseconds: enough for all of this century.
const EPOCH_SHIFT: u32 = 42;

/// Most epochs that numbers tell apart: what is left of 63 bits. Beyond it they grow with the time alone.
const EPOCHS_MAX: i64 = (1 << (63 - EPOCH_SHIFT)) - 1;

/// The rule of the time of day, without a clock: it is told what the host's clock says, and how much time has passed
/// by one that never steps.
#[derive(Debug)]
pub struct Course {
    /// What numbers begin with: those of a later epoch exceed all of an earlier one, whatever the hosts' clocks say.
    base: i64,
    latest: AtomicI64,
    /// The time when the course began.
    start: Timestamp,
}

impl Course {
    /// A course that begins no earlier than `floor`, the latest time that was already written down, in the journal's
    /// epoch.
    pub fn in_epoch(floor: Timestamp, wall: Timestamp, epoch: u64) -> Self {
        let epoch = i64::try_from(epoch).map_or(EPOCHS_MAX, |epoch| epoch.min(EPOCHS_MAX));
        Self { base: epoch << EPOCH_SHIFT, latest: AtomicI64::new(floor.millis()), start: floor.max(wall) }
    }

    /// The current time, never earlier than any time given before.
    pub fn now(&self, wall: Timestamp, elapsed: Duration) -> Timestamp {
        self.observe(self.start.plus(elapsed).max(wall))
    }

    /// The number of a moment that this course gave.
    pub fn number(&self, now: Timestamp) -> i64 {
        self.base + now.millis()
    }

    /// Takes note of a number that was given away after [`Self::number`].
    pub fn counted(&self, number: i64) {
        self.observe(Timestamp::from_millis(number - self.base));
    }

    fn observe(&self, moment: Timestamp) -> Timestamp {
        let previous = self.latest.fetch_max(moment.millis(), Ordering::AcqRel);
        Timestamp::from_millis(previous.max(moment.millis()))
    }
}

/// The time of day, monotonic over all clones of one clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    course: Arc<Course>,
    /// When the clock was made, by the clock that never steps.
    made: Instant,
}

impl Clock {
    /// A clock that starts no earlier than `floor`, the latest time that was already written down.
    #[cfg(test)]
    pub(crate) fn not_before(floor: Timestamp) -> Self {
        Self::in_epoch(floor, 0)
    }

    /// Such a clock of the journal's epoch, for its numbers.
    pub(crate) fn in_epoch(floor: Timestamp, epoch: u64) -> Self {
        let course = Course::in_epoch(floor, Timestamp::from(SystemTime::now()), epoch);
        Self { course: Arc::new(course), made: Instant::now() }
    }

    /// The current time, never earlier than any time given before.
    pub(crate) fn now(&self) -> Timestamp {
        self.course.now(Timestamp::from(SystemTime::now()), self.made.elapsed())
    }

    /// A number that none given by this clock and none [counted](Self::counted) exceeds. It grows over restarts as the
    /// time does.
    pub(crate) fn number(&self) -> i64 {
        self.course.number(self.now())
    }

    /// Takes note of a number that was given away after [`Self::number`].
    pub(crate) fn counted(&self, number: i64) {
        self.course.counted(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back() {
        let course = Course::in_epoch(Timestamp::default(), Timestamp::default(), 0);
        let observe = |millis| course.now(Timestamp::from_millis(millis), Duration::ZERO).millis();
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

    #[test]
    fn numbers_of_a_later_epoch_exceed_those_of_a_clock_that_ran_ahead() {
        let ahead = Clock::in_epoch(Timestamp::from_seconds(4_000_000_000), 7);
        let behind = Clock::in_epoch(Timestamp::default(), 8);
        assert!(behind.number() > ahead.number());
        behind.counted(behind.number() + 1000);
        assert!(behind.now() < ahead.now());
        assert!(Clock::in_epoch(ahead.now(), u64::MAX).number() > 0);
    }
}
