//! Randomness for the whole scheduler from one read of the system's source.
//!
//! The core takes a seed with every decision. Seeds are hashes of a secret read at the start and a counter, so a
//! decision needs no system call that could fail in the middle of a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// A source of seeds, shared by all its clones.
#[derive(Debug, Clone)]
pub(crate) struct Entropy {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    secret: [u8; 32],
    count: AtomicU64,
}

impl Entropy {
    /// Reads a fresh secret from the system.
    pub(crate) fn from_system() -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self { inner: Arc::new(Inner { secret, count: AtomicU64::new(0) }) })
    }

    /// Thirty-two bytes that were never given before.
    pub(crate) fn seed(&self) -> [u8; 32] {
        let count = self.inner.count.fetch_add(1, Ordering::Relaxed);
        Sha256::new().chain_update(self.inner.secret).chain_update(count.to_be_bytes()).finalize().into()
    }

    /// A random UUID, as AWS shows request ids and message ids.
    pub(crate) fn uuid(&self) -> String {
        let seed = self.seed();
        let mut bytes: [u8; 16] = seed[..16].try_into().expect("sixteen of thirty-two bytes");
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex::encode(bytes);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_of_version_four_and_differ() {
        let entropy = Entropy::from_system().unwrap();
        let [first, second] = [entropy.uuid(), entropy.uuid()];
        assert_ne!(first, second);
        assert_eq!((first.len(), &first[14..15]), (36, "4"));
        assert!("89ab".contains(&first[19..20]), "{first}");
    }
}
