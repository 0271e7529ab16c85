//! The one source of chance: every draw of a run, in the order in which they are made, follows from its seed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// See the module.
#[derive(Debug)]
pub(crate) struct Chance {
    rng: Mutex<ChaCha8Rng>,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)) }
    }

    /// A number from 0 up to, and without, `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.lock().next_u64() % end.max(1)
    }

    pub(crate) fn index(&self, length: usize) -> usize {
        let length = u64::try_from(length).expect("a list is shorter than 2^64");
        usize::try_from(self.below(length)).expect("it is below a length")
    }

    pub(crate) fn one_in(&self, number: u64) -> bool {
        self.below(number) == 0
    }

    pub(crate) fn pick<'a, T>(&self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// A duration between the two, in milliseconds.
    pub(crate) fn between(&self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_millis()).expect("spans are short");
        least + Duration::from_millis(self.below(span + 1))
    }

    /// How long something takes that is mostly quick and now and then very slow.
    pub(crate) fn latency(&self, typical: Duration) -> Duration {
        let most = if self.one_in(40) { typical * 100 } else { typical * 2 };
        self.between(typical / 2, most)
    }

    /// Thirty-two bytes for others to draw from.
    pub(crate) fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.lock().fill_bytes(&mut seed);
        seed
    }

    fn lock(&self) -> MutexGuard<'_, ChaCha8Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
