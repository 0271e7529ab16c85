//! What a secret looks like in a log line.
//!
//! Structures that hold secrets write their `Debug` with this in the secret's place, so that no log, panic
//! message or test failure can leak one.

use std::fmt;

/// Stands in `Debug` output for a value that must not be shown.
#[derive(Clone, Copy)]
pub(crate) struct Redacted;

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
