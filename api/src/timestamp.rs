//! A moment, as AWS JSON 1.1 writes it: a number of seconds since 1970 with up to three decimals.
//!
//! Held as integer milliseconds, because the scheduler must compute the same value on every machine and a
//! float neither orders nor compares exactly. What is read from the wire is rounded to the millisecond.

use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(
    /// Counted from the earliest moment that there is, which makes their order that of the moments. It is never zero, so
    /// a moment that may be absent takes no more room: a task has six of those.
    NonZeroU64,
);

/// Where the count begins, as milliseconds since the epoch.
const ORIGIN: u64 = i64::MIN.cast_unsigned();

/// The Unix epoch.
impl Default for Timestamp {
    fn default() -> Self {
        Self::from_millis(0)
    }
}

/// The years 0000 to 9999: what RFC 3339 can write, and far inside what a double holds to the millisecond.
const MILLIS_MIN: i64 = -62_167_219_200_000;
const MILLIS_MAX: i64 = 253_402_300_799_999;

impl Timestamp {
    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        match NonZeroU64::new(millis.cast_unsigned() ^ ORIGIN) {
            Some(count) => Timestamp(count),
            None => Timestamp(NonZeroU64::MIN),
        }
    }

    /// The moment `seconds` seconds after the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        (self.0.get() ^ ORIGIN).cast_signed()
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.millis().div_euclid(1000)
    }

    /// Seconds since the epoch with the milliseconds as decimals, as the wire has it.
    #[expect(clippy::cast_precision_loss, reason = "a millisecond count of year 9999 has 48 bits")]
    pub fn seconds_f64(self) -> f64 {
        self.millis() as f64 / 1000.0
    }

    /// This moment moved by `duration` into the future; the last representable one on overflow.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.millis().saturating_add(millis))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.millis().saturating_sub(earlier.millis())).unwrap_or(0))
    }

    /// The moment from the seconds of the wire; `None` unless it is a finite number in years 0 to 9999.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked before the cast")]
    #[expect(clippy::cast_precision_loss, reason = "the bounds are exact in a double")]
    pub fn from_seconds_f64(seconds: f64) -> Option<Self> {
        let millis = (seconds * 1000.0).round();
        (MILLIS_MIN as f64..=MILLIS_MAX as f64).contains(&millis).then_some(Self::from_millis(millis as i64))
    }

    /// `2026-11-22T19:42:28.5Z`, as credentials and events write a moment.
    pub fn to_rfc3339(self) -> String {
        let millis = self.millis().clamp(MILLIS_MIN, MILLIS_MAX);
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok())
            .expect("a moment in years 0 to 9999 has an RFC 3339 form")
    }

    /// The moment that an RFC 3339 text names; `None` if it is not one.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
        i64::try_from(nanos.div_euclid(1_000_000)).ok().map(Self::from_millis)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(moment: SystemTime) -> Self {
        match moment.duration_since(UNIX_EPOCH) {
            Ok(after) => Self::from_millis(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => {
                Self::from_millis(-i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX))
            }
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.millis()).finish()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.millis();
        if millis % 1000 == 0 {
            serializer.serialize_i64(millis / 1000)
        } else {
            serializer.serialize_f64(self.seconds_f64())
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Timestamp::from_seconds_f64(seconds)
            .ok_or_else(|| de::Error::custom(format_args!("{seconds} is not a moment in seconds since 1970")))
    }
}

/// A moment as text, as AWS's XML services write it: for `#[serde(with)]` on what may be absent.
pub(crate) mod rfc3339 {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp, de};

    #[expect(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands the field over as it is"
    )]
    pub(crate) fn serialize<S: Serializer>(
        moment: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        moment.map(Timestamp::to_rfc3339).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let moment = |text: String| {
            let moment = Timestamp::from_rfc3339(&text);
            moment.ok_or_else(|| de::Error::custom(format_args!("{text:?} is not a moment")))
        };
        text.map(moment).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_number_form_and_writes_at_most_three_decimals() {
        let check = |read: &str, millis: i64, written: &str| {
            let moment: Timestamp = serde_json::from_str(read).unwrap();
            assert_eq!(moment.millis(), millis, "{read}");
            assert_eq!(serde_json::to_string(&moment).unwrap(), written, "{read}");
        };
        check("0", 0, "0");
        check("1557119253", 1_557_119_253_000, "1557119253");
        check("1557119253.821", 1_557_119_253_821, "1557119253.821");
        check("1.619952106055E9", 1_619_952_106_055, "1619952106.055");
        check("1795376538.3724567", 1_795_376_538_372, "1795376538.372");
        check("-1.5", -1500, "-1.5");
    }

    #[test]
    fn moments_are_in_order_however_far_away() {
        let millis = [i64::MIN, i64::MIN + 2, -1, 0, 1, i64::MAX];
        let moments = millis.map(Timestamp::from_millis);
        assert!(moments.is_sorted());
        assert_eq!(moments[1..].iter().map(|moment| moment.millis()).collect::<Vec<_>>(), millis[1..]);
        assert_eq!(Timestamp::default().millis(), 0);
        assert_eq!(size_of::<Option<Timestamp>>(), size_of::<Timestamp>());
    }

    #[test]
    fn refuses_what_is_no_moment() {
        for text in ["\"2020-01-01T00:00:00Z\"", "1e300", "-1e18", "true", "{}"] {
            assert!(serde_json::from_str::<Timestamp>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rfc3339_there_and_back() {
        let check = |millis: i64, text: &str| {
            let moment = Timestamp::from_millis(millis);
            assert_eq!(moment.to_rfc3339(), text);
            assert_eq!(Timestamp::from_rfc3339(text), Some(moment));
        };
        check(0, "1970-01-01T00:00:00Z");
        check(1_795_376_538_372, "2026-11-22T19:42:18.372Z");
    }

    #[test]
    fn arithmetic_saturates() {
        let moment = Timestamp::from_seconds(10);
        assert_eq!(moment.plus(Duration::from_millis(1500)).millis(), 11_500);
        assert_eq!(moment.since(Timestamp::from_seconds(12)), Duration::ZERO);
        assert_eq!(Timestamp::from_seconds(12).since(moment), Duration::from_secs(2));
        assert_eq!(moment.plus(Duration::MAX).millis(), i64::MAX);
    }
}
