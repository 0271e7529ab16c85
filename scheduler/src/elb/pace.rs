//! When a target group is asked again.

use std::time::Duration;

/// The first pause after something changed. A target is healthy no sooner than its balancer has probed it.
const FIRST: Duration = Duration::from_millis(30);

/// The longest pause while something is on its way: health to be found, connections to drain.
const MOVING_MAX: Duration = Duration::from_secs(1);

/// The pause when all is as it should be, in which a target that fails is noticed.
const SETTLED: Duration = Duration::from_secs(5);

/// The pauses after a call that failed; they double.
const TROUBLED_FIRST: Duration = Duration::from_millis(250);
const TROUBLED_MAX: Duration = Duration::from_secs(30);

/// The pauses of one group.
#[derive(Debug, Default)]
pub(super) struct Pace {
    moving: Option<Duration>,
    troubled: Option<Duration>,
}

impl Pace {
    /// Something changed here or there.
    pub(super) fn quicken(&mut self) {
        self.moving = None;
        self.troubled = None;
    }

    /// The pause after a round in which something is still on its way.
    pub(super) fn moving(&mut self) -> Duration {
        self.troubled = None;
        let pause = self.moving.map_or(FIRST, |last| (last * 3 / 2).min(MOVING_MAX));
        self.moving = Some(pause);
        pause
    }

    /// The pause after a round that found all as it should be.
    pub(super) fn settled(&mut self) -> Duration {
        self.quicken();
        SETTLED
    }

    /// The pause after a call that failed, up to half of it by chance (0 to 255), so that groups do not come back all at
    /// once.
    pub(super) fn troubled(&mut self, chance: u8) -> Duration {
        self.moving = None;
        let pause = self.troubled.map_or(TROUBLED_FIRST, |last| (last * 2).min(TROUBLED_MAX));
        self.troubled = Some(pause);
        pause / 2 + pause / 2 * u32::from(chance) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_something_changes() {
        let mut pace = Pace::default();
        let pauses: Vec<_> = std::iter::repeat_with(|| pace.moving()).take(20).collect();
        assert!(pauses.is_sorted() && pauses[0] == FIRST && pauses[19] == MOVING_MAX);
        pace.quicken();
        assert_eq!(pace.moving(), FIRST);
        assert_eq!(pace.settled(), SETTLED);
        assert_eq!(pace.troubled(255), TROUBLED_FIRST);
        assert_eq!(pace.troubled(0), TROUBLED_FIRST);
        let longest = std::iter::repeat_with(|| pace.troubled(255)).take(20).last();
        assert_eq!(longest, Some(TROUBLED_MAX));
    }
}
