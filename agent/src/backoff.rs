//! Pauses between attempts: each longer than the last up to a limit, and jittered, so that the agents of a cluster
//! whose scheduler restarted do not all come back in the same instant.

use std::time::Duration;

use crate::clock::random_fraction;

/// A growing pause.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, limit: Duration) -> Self {
        Backoff { first, limit, next: first }
    }

    /// The pause before the next attempt: between half and all of the current step.
    pub(crate) fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.limit);
        step.mul_f64(0.5 + random_fraction() / 2.0)
    }

    /// Starts anew after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Says a thing once for as long as it stays the same, so that waiting for ever does not fill a disk.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    last: Option<String>,
}

impl Complaint {
    /// Warns of `text` unless that was the last thing said.
    pub(crate) fn warn(&mut self, text: String) {
        if self.last.as_ref() != Some(&text) {
            tracing::warn!("{text}");
            self.last = Some(text);
        }
    }

    /// The reason is gone: tells so if it was complained of.
    pub(crate) fn settled(&mut self, text: &str) {
        if self.last.take().is_some() {
            tracing::info!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_anew() {
        let (first, limit) = (Duration::from_millis(200), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, limit);
        let pauses: Vec<Duration> = (0..10).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= first / 2 && pauses[0] <= first);
        assert!(pauses[9] >= limit / 2 && pauses[9] <= limit);
        backoff.reset();
        assert!(backoff.pause() <= first);
    }
}
