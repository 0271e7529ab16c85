//! The verbs: one file each, with its flags as plain data (`Args`) and one function that runs it. The doc
//! comments on the flags are the help text.

pub(crate) mod agent;
pub(crate) mod balancer;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod down;
pub(crate) mod env;
pub(crate) mod instance;
pub(crate) mod journal;
pub(crate) mod key;
pub(crate) mod lb;
pub(crate) mod scheduler;
pub(crate) mod service;
pub(crate) mod task;
pub(crate) mod task_definition;
pub(crate) mod up;

use std::time::Duration;

/// Reads `90s`, `10m`, `1h`; a plain number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let count: u64 = digits.parse().map_err(|_| "expected a time such as 90s, 10m or 1h".to_owned())?;
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => return Err(format!("unknown unit {other:?}; it is s, m or h")),
    };
    count.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_secs), "{text}");
        }
        check("90", Some(90));
        check("90s", Some(90));
        check("10m", Some(600));
        check("1h", Some(3600));
        check("1d", None);
        check("m", None);
        check("-5s", None);
        check("99999999999999999999s", None);
        check("9999999999999999999h", None);
    }
}
