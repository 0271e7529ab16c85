//! Times as people read them: ECS sends seconds since 1970 as JSON numbers; tables show ages, everything else
//! shows ISO 8601 in UTC. Which number is a time is told by its member's name, by the naming rule of the ECS
//! API.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Members that hold a time although their names do not end in `At`.
const OTHER_TIMES: [&str; 4] = ["expirationDate", "lastStatusChange", "lastUpdated", "statusSince"];

/// `value` with every timestamp as ISO 8601 text.
pub(crate) fn with_iso_times(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, member)| {
                    let shown = if is_time(name) { iso_value(member) } else { None };
                    (name.clone(), shown.unwrap_or_else(|| with_iso_times(member)))
                })
                .collect(),
        ),
        Value::Array(items) => items.iter().map(with_iso_times).collect(),
        scalar => scalar.clone(),
    }
}

fn is_time(member: &str) -> bool {
    member.ends_with("At") || OTHER_TIMES.contains(&member)
}

fn iso_value(value: &Value) -> Option<Value> {
    value.as_f64().and_then(iso).map(Value::String)
}

/// ISO 8601 of seconds since 1970, to the millisecond; `None` when it is outside the calendar.
pub(crate) fn iso(seconds: f64) -> Option<String> {
    let millis = milliseconds(seconds)?;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()?.format(&Rfc3339).ok()
}

/// Rounded, because the service's resolution is a millisecond and binary fractions would show beyond it.
fn milliseconds(seconds: f64) -> Option<i64> {
    const CALENDAR_END: f64 = 253_402_300_799.0; // the last second of the year 9999
    if !(0.0..=CALENDAR_END).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range was just checked, and is far inside i64")]
    Some((seconds * 1000.0).round() as i64)
}

/// Seconds since 1970 by this machine's clock.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// How long ago `seconds` was, the way kubectl abbreviates: `12s`, `3m12s`, `5h20m`, `2d3h`, `12d`.
pub(crate) fn age(seconds: f64, now: f64) -> String {
    short(Duration::try_from_secs_f64(now - seconds).unwrap_or(Duration::ZERO))
}

/// A duration in at most two units, the second one only while it matters.
pub(crate) fn short(duration: Duration) -> String {
    let total = duration.as_secs();
    let (days, hours, minutes, seconds) = (total / 86_400, total / 3600 % 24, total / 60 % 60, total % 60);
    let two = |big: u64, big_unit: char, small: u64, small_unit: char| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match total {
        0..120 => format!("{total}s"),
        120..600 => two(minutes, 'm', seconds, 's'),
        600..10_800 => format!("{}m", total / 60),
        10_800..28_800 => two(hours, 'h', minutes, 'm'),
        28_800..172_800 => format!("{}h", total / 3600),
        172_800..691_200 => two(days, 'd', hours, 'h'),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_short() {
        fn check(seconds: u64, expected: &str) {
            assert_eq!(short(Duration::from_secs(seconds)), expected);
        }
        check(0, "0s");
        check(119, "119s");
        check(192, "3m12s");
        check(180, "3m");
        check(660, "11m");
        check(3 * 3600 + 20 * 60, "3h20m");
        check(9 * 3600 + 59, "9h");
        check(2 * 86_400 + 3 * 3600, "2d3h");
        check(12 * 86_400 + 5, "12d");
    }

    #[test]
    fn a_clock_that_is_behind_shows_no_negative_age() {
        assert_eq!(age(1000.0, 990.0), "0s");
        assert_eq!(age(1000.0, 1045.9), "45s");
    }

    #[test]
    fn times_become_iso_and_other_numbers_stay() {
        let shown = with_iso_times(&json!({
            "createdAt": 1.619_952_106_055E9,
            "desiredCount": 14,
            "cpuAt": "text",
            "deployments": [{"updatedAt": 1_795_376_455}],
        }));
        assert_eq!(
            shown,
            json!({
                "createdAt": "2021-05-02T10:41:46.055Z",
                "desiredCount": 14,
                "cpuAt": "text",
                "deployments": [{"updatedAt": "2026-11-22T19:40:55Z"}],
            })
        );
        assert_eq!(iso(-1.0), None);
        assert_eq!(iso(f64::NAN), None);
    }
}
