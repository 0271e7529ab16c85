//! Noticing that a scheduler has fallen silent which others may have replaced.
//!
//! A leader that is paused keeps its connections: its kernel acknowledges, and nothing is ever said. Our schedulers let a
//! pulse be felt on the line about every second. Where one was felt that kept time and then stops, it is worth asking
//! whether orders come from elsewhere by now. Amazon's schedulers have no such pulse, and are never asked.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::random_fraction;

/// The longest time from one beat to the next that still makes a pulse: three times what our schedulers take.
const GAP_MAX: Duration = Duration::from_secs(3);

/// Beats in a row that make a pulse. A proxy's own pong now and then makes none.
const BEATS_MIN: u32 = 5;

/// How late the next beat may be before anybody is asked, plus a random part of as much again: all agents of a leader
/// notice at the same time. A leader is replaced in less.
const LATE: Duration = Duration::from_secs(3);

/// Pause between questions, of which the first may go to the very scheduler that is silent.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The pulse on one line.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    beats: u32,
    felt_at: Option<Instant>,
    ask_at: Option<Instant>,
}

impl Pulse {
    /// A beat was felt.
    pub(super) fn felt(&mut self, now: Instant) {
        let is_next = self.felt_at.is_some_and(|before| now.duration_since(before) <= GAP_MAX);
        self.beats = if is_next { self.beats.saturating_add(1) } else { 1 };
        self.felt_at = Some(now);
        self.ask_at = (self.beats >= BEATS_MIN).then(|| now + LATE.mul_f64(1.0 + random_fraction()));
    }

    /// The scheduler said something: it lives, though the pulse may be held up behind what it says.
    pub(super) fn heard(&mut self, now: Instant) {
        if self.ask_at.is_some() {
            self.ask_at = Some(now + LATE.mul_f64(1.0 + random_fraction()));
        }
    }

    /// When it is to be asked whether orders come from elsewhere.
    pub(super) fn ask_at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// The question was answered, and no other place named.
    pub(super) fn asked(&mut self, now: Instant) {
        self.ask_at = Some(now + ASK_AGAIN_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(pulse: &mut Pulse, from: Instant, seconds: impl IntoIterator<Item = u64>) -> Instant {
        let mut last = from;
        for second in seconds {
            last = from + Duration::from_secs(second);
            pulse.felt(last);
        }
        last
    }

    #[test]
    fn a_pulse_that_stops_is_worth_a_question() {
        let mut pulse = Pulse::default();
        let last = beat(&mut pulse, Instant::now(), 0..5);
        let ask_at = pulse.ask_at().unwrap();
        assert!(ask_at >= last + LATE && ask_at <= last + LATE * 2, "{ask_at:?}");
        pulse.asked(ask_at);
        assert_eq!(pulse.ask_at(), Some(ask_at + ASK_AGAIN_AFTER));
    }

    #[test]
    fn what_keeps_no_time_is_no_pulse() {
        let mut pulse = Pulse::default();
        pulse.heard(Instant::now());
        beat(&mut pulse, Instant::now(), [0, 60, 120, 180, 240, 300]);
        assert_eq!(pulse.ask_at(), None, "a pong a minute, as a proxy sends it");
        let mut pulse = Pulse::default();
        beat(&mut pulse, Instant::now(), 0..4);
        assert_eq!(pulse.ask_at(), None, "too few to tell");
    }

    #[test]
    fn whoever_speaks_is_not_doubted() {
        let mut pulse = Pulse::default();
        let last = beat(&mut pulse, Instant::now(), 0..5);
        let later = last + Duration::from_secs(20);
        pulse.heard(later);
        assert!(pulse.ask_at().unwrap() >= later + LATE);
    }
}
