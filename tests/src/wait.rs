//! Waiting for a state of the world: look, and look again, until it is there or the deadline has passed. A test
//! that passes never waits longer than the state takes, and one that fails says what was seen last.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long any one state may take on a busy machine with two cores and a debug build. Only failing tests wait
/// this long, so it is generous: no test fails for being slow.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often a state is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks with `look` until it answers `Ok`, and answers what it found.
///
/// # Panics
/// When [`PATIENCE`] is exhausted, with `what` was waited for and the `Err` that was seen last.
pub async fn until<T, E: Debug>(what: &str, look: impl AsyncFnMut() -> Result<T, E>) -> T {
    match within(PATIENCE, look).await {
        Ok(found) => found,
        Err(seen) => panic!("waited {PATIENCE:?} for {what}; last seen: {seen:#?}"),
    }
}

/// Like [`until`], with a limit of its own and the last `Err` as an answer instead of a panic.
pub async fn within<T, E>(limit: Duration, mut look: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + limit;
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(seen) if Instant::now() >= deadline => return Err(seen),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
