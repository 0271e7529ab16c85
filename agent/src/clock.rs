//! What the agent takes from the world besides its seams: the time of day and a little chance.
//!
//! Both come from the machine, unless the thread is a [`stage`]: a simulation repeats a run exactly, so on its thread
//! the time of day follows the runtime's own clock and chance follows a seed. Nothing else may ask for either.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use ecsr_api::Timestamp;
use tokio::time::Instant;

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Stage {
    opened_at: Instant,
    epoch: Timestamp,
    chance: u64,
}

/// Makes this thread a stage: it is `epoch` now, time passes with the clock of the runtime that runs here, and chance
/// follows `seed`.
pub fn stage(epoch: Timestamp, seed: u64) {
    let stage = Stage { opened_at: Instant::now(), epoch, chance: seed };
    STAGE.with_borrow_mut(|current| *current = Some(stage));
}

/// The time of day.
pub(crate) fn now() -> Timestamp {
    let staged =
        STAGE.with_borrow(|stage| stage.as_ref().map(|stage| stage.epoch.plus(stage.opened_at.elapsed())));
    staged.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

/// A number from 0 to 1. A host with no randomness gets 1: no jitter is no reason to stop.
pub(crate) fn random_fraction() -> f64 {
    let staged = STAGE.with_borrow_mut(|stage| stage.as_mut().map(Stage::draw));
    let random = staged.or_else(|| getrandom::u32().ok());
    random.map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

impl Stage {
    /// The next number of a Weyl sequence, its bits mixed.
    fn draw(&mut self) -> u32 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        u32::try_from(mixed >> 32).expect("half of 64 bits")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stage_repeats_itself_and_keeps_its_own_time() {
        let act = || async {
            stage(Timestamp::from_seconds(1_000), 7);
            tokio::time::sleep(Duration::from_secs(5)).await;
            (now(), [random_fraction(), random_fraction()])
        };
        let (first, again) = (act().await, act().await);
        assert_eq!(first, again);
        assert_eq!(first.0, Timestamp::from_seconds(1_005));
        assert!(first.1.iter().all(|fraction| (0.0..=1.0).contains(fraction)));
        assert!(first.1[0].total_cmp(&first.1[1]).is_ne(), "one draw is not the next");
    }
}
