//! The values that expressions compare with: what they mean for each subject, and how two of them are ordered.
//!
//! ECS gives each subject its own kind of value: agent versions are ordered part by part, registration times as
//! instants, counts as integers, and attribute values as text unless both sides are numbers. A literal is read once,
//! when the expression is parsed, so that a bad date is refused there and evaluation cannot fail.
//!
//! Invariant: no floating point; decimals are compared digit by digit, so every machine agrees.

use std::borrow::Cow;
use std::cmp::Ordering;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

/// What kind of value a subject has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    Version,
    Count,
    Instant,
}

/// The meaning of a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    /// Dotted numeric parts without trailing zeros, so that 1.2 equals 1.2.0.
    Version(Vec<u64>),
    Count(u64),
    /// Milliseconds since the epoch, UTC.
    Instant(i64),
}

/// One value of a subject on one instance.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading<'a> {
    Text(&'a str),
    Flag(bool),
    Version(&'a str),
    Count(u64),
    /// Milliseconds since the epoch, UTC.
    Instant(i64),
}

impl Value {
    /// Reads `text` as a value of `kind`; `None` when it is not one.
    pub(super) fn read(kind: Kind, text: &str) -> Option<Self> {
        match kind {
            Kind::Text => Some(Self::Text(text.to_owned())),
            Kind::Flag => text.parse().ok().map(Self::Flag),
            Kind::Version => read_version(text).map(Self::Version),
            Kind::Count => text.parse().ok().map(Self::Count),
            Kind::Instant => read_instant_ms(text).map(Self::Instant),
        }
    }
}

impl<'a> Reading<'a> {
    /// How this stands to a literal; `None` where they cannot be compared, as an agent version that is no version.
    pub(super) fn order(self, literal: &Value) -> Option<Ordering> {
        match (self, literal) {
            (Self::Text(mine), Value::Text(theirs)) => Some(order_text(mine, theirs)),
            (Self::Flag(mine), Value::Flag(theirs)) => Some(mine.cmp(theirs)),
            (Self::Version(mine), Value::Version(theirs)) => Some(read_version(mine)?.cmp(theirs)),
            (Self::Count(mine), Value::Count(theirs)) => Some(mine.cmp(theirs)),
            (Self::Instant(mine), Value::Instant(theirs)) => Some(mine.cmp(theirs)),
            // The parser reads every literal as the kind of its subject, so nothing else occurs.
            (Self::Text(_) | Self::Flag(_) | Self::Version(_) | Self::Count(_) | Self::Instant(_), _) => None,
        }
    }

    /// Equality of text is that of strings even where both are numbers: `01` is not `1`.
    pub(super) fn equals(self, literal: &Value) -> bool {
        match (self, literal) {
            (Self::Text(mine), Value::Text(theirs)) => mine == theirs,
            _ => self.order(literal) == Some(Ordering::Equal),
        }
    }

    /// The form in which a regular expression sees the value; an instant is `2018-06-18T22:28:28Z`.
    pub(super) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) | Self::Version(text) => text.into(),
            Self::Flag(flag) => flag.to_string().into(),
            Self::Count(count) => count.to_string().into(),
            Self::Instant(instant_ms) => instant_text(instant_ms).into(),
        }
    }
}

fn instant_text(instant_ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp(instant_ms.div_euclid(1000))
        .ok()
        .and_then(|instant| instant.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// `1.105.1`, `v1.105.1`; a suffix after the numbers (`1.105.1-rc1`) is not part of the order.
fn read_version(text: &str) -> Option<Vec<u64>> {
    let numbers = text.strip_prefix('v').unwrap_or(text);
    let numbers = numbers.split(['-', '+']).next().unwrap_or(numbers);
    let mut parts = numbers.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    while parts.last() == Some(&0) {
        parts.pop();
    }
    Some(parts)
}

/// The four forms that the developer guide shows; a time without zone, and a date alone, are UTC.
fn read_instant_ms(text: &str) -> Option<i64> {
    let local = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let day = format_description!("[year]-[month]-[day]");
    let instant = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| PrimitiveDateTime::parse(text, local).map(PrimitiveDateTime::assume_utc))
        .or_else(|_| Date::parse(text, day).map(|date| date.midnight().assume_utc()))
        .ok()?;
    i64::try_from(instant.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

fn order_text(mine: &str, theirs: &str) -> Ordering {
    match (Decimal::read(mine), Decimal::read(theirs)) {
        (Some(mine), Some(theirs)) => mine.order(&theirs),
        _ => mine.cmp(theirs),
    }
}

/// A decimal number of any length, as its significant digits.
struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !numeric(whole) || !numeric(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let zero = whole.is_empty() && fraction.is_empty();
        Some(Self { negative: text.starts_with('-') && !zero, whole, fraction })
    }

    fn order(&self, other: &Self) -> Ordering {
        let size = self.whole.len().cmp(&other.whole.len());
        let size =
            size.then_with(|| self.whole.cmp(other.whole)).then_with(|| self.fraction.cmp(other.fraction));
        match (self.negative, other.negative) {
            (false, false) => size,
            (true, true) => size.reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_ordered_by_their_kind() {
        let check = |kind, mine, theirs, expected| {
            let literal = Value::read(kind, theirs).expect("a value of its kind");
            let reading = match Value::read(kind, mine).expect("a value of its kind") {
                Value::Text(_) => Reading::Text(mine),
                Value::Flag(flag) => Reading::Flag(flag),
                Value::Version(_) => Reading::Version(mine),
                Value::Count(count) => Reading::Count(count),
                Value::Instant(instant_ms) => Reading::Instant(instant_ms),
            };
            assert_eq!(reading.order(&literal), Some(expected), "{mine} to {theirs}");
        };
        check(Kind::Text, "9", "10", Ordering::Less);
        check(Kind::Text, "9", "10x", Ordering::Greater);
        check(Kind::Text, "-2", "1.5", Ordering::Less);
        check(Kind::Text, "-2", "-1.5", Ordering::Less);
        check(Kind::Text, "1.50", "01.5", Ordering::Equal);
        check(Kind::Text, "-0", "0", Ordering::Equal);
        check(Kind::Text, "us-east-1a", "us-east-1b", Ordering::Less);
        check(Kind::Version, "1.9.0", "1.105.1", Ordering::Less);
        check(Kind::Version, "v1.2", "1.2.0", Ordering::Equal);
        check(Kind::Count, "2", "10", Ordering::Less);
        check(Kind::Flag, "true", "true", Ordering::Equal);
        check(Kind::Instant, "2018-06-18", "2018-06-18T00:00:00", Ordering::Equal);
        check(Kind::Instant, "2018-06-18T22:28:28+02:00", "2018-06-18T20:28:28Z", Ordering::Equal);
        check(Kind::Instant, "2018-06-18T22:28:28Z", "2018-06-19", Ordering::Less);
    }

    #[test]
    fn what_is_no_value_of_its_kind_is_refused() {
        let check = |kind, text| assert_eq!(Value::read(kind, text), None, "{text} as {kind:?}");
        check(Kind::Flag, "yes");
        check(Kind::Version, "latest");
        check(Kind::Version, "");
        check(Kind::Count, "-1");
        check(Kind::Count, "many");
        check(Kind::Instant, "2018-13-01");
        check(Kind::Instant, "yesterday");
    }
}
