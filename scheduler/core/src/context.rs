//! What a decision may know besides the state: the time, a source of fresh ids, and who asks.
//!
//! All three are values given by the shell, so a decision can be repeated byte for byte.

use ecsr_api::Timestamp;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The time, the entropy and the caller of one decision.
#[derive(Debug)]
pub struct Context {
    /// When the decision is taken.
    pub now: Timestamp,
    /// ARN of the principal that asks, as ECS echoes it in `registeredBy` and `createdBy`.
    pub caller: String,
    entropy: ChaCha12Rng,
}

impl Context {
    pub fn new(now: Timestamp, caller: String, seed: [u8; 32]) -> Self {
        Self { now, caller, entropy: ChaCha12Rng::from_seed(seed) }
    }

    /// Fresh random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill_bytes(&mut bytes);
        bytes
    }

    /// A context with a small seed and a fixed time, for tests.
    pub fn for_test(seed: u8) -> Self {
        Self::new(Timestamp::from_millis(1_000_000), "arn:aws:iam::123456789012:root".into(), [seed; 32])
    }
}
