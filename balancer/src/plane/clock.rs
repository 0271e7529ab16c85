//! Moments that fit into an atomic: milliseconds since the process began to ask for them.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the first call; never 0, which can mean "not set".
pub(super) fn now() -> u64 {
    millis(BEGIN.elapsed()) + 1
}

/// A duration in whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
