//! The agent's two sockets to the scheduler: ACS brings orders, TCS takes telemetry.
//!
//! Both are kept open for ever: watched for silence, reopened with growing, jittered pauses. Losing them changes
//! nothing for the tasks.

pub(crate) mod acs;
mod dial;
pub(crate) mod metrics;
mod pulse;
mod sign;
mod socket;
pub(crate) mod tcs;

#[cfg(test)]
mod moved_tests;

use std::time::Duration;

pub(crate) use dial::Dialer;
pub(crate) use sign::Signer;

use crate::clock::random_fraction;

/// First pause before a lost connection is opened again, and the longest.
const RECONNECT_MIN: Duration = Duration::from_millis(200);
const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// A connection is given up after this much silence, plus a random part of as much again.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// A connection is renewed after this time, plus a random part of [`LIFETIME_JITTER`], so that agents spread over
/// schedulers.
const LIFETIME: Duration = Duration::from_mins(30);
const LIFETIME_JITTER: Duration = Duration::from_mins(5);

/// A scheduler that does not read is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The version and the build that the agent tells the scheduler.
pub(crate) const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const AGENT_HASH: &str = "ecsr";

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// The instance is not registered any more: register anew.
    Inactive(String),
    /// It had its time, or the scheduler closed it in good order: open it again.
    Closed,
    /// The scheduler is silent, and another one is named in its place.
    Moved,
    /// Something went wrong: open it again after a pause.
    Lost(String),
}

fn silence() -> Duration {
    SILENCE_MAX.mul_f64(1.0 + random_fraction())
}

fn lifetime() -> Duration {
    LIFETIME + LIFETIME_JITTER.mul_f64(random_fraction())
}
