//! The dates of a signature: `20150830T123600Z`, or an HTTP date in a `Date` header.

use time::format_description::FormatItem;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::timestamp::Timestamp;

const BASIC: &[FormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// The longest text that is looked at; an HTTP date has 29 characters.
const DATE_BYTES_MAX: usize = 64;

/// The moment in ISO 8601 basic format or in HTTP's; `None` if it is neither.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    if text.len() > DATE_BYTES_MAX {
        return None;
    }
    let basic = PrimitiveDateTime::parse(text, BASIC).map(PrimitiveDateTime::assume_utc);
    let moment = basic.or_else(|_| OffsetDateTime::parse(text, &Rfc2822)).ok()?;
    Some(Timestamp::from_seconds(moment.unix_timestamp()))
}

/// The moment in ISO 8601 basic format; one that no four-digit year holds comes out as 1970.
pub(super) fn format(moment: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(moment.seconds())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(BASIC)
        .expect("the format needs nothing that a moment lacks")
}

/// The day of the moment: `20150830`.
pub(super) fn day(moment: Timestamp) -> String {
    let mut text = format(moment);
    text.truncate(8);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let check = |text: &str, written: Option<&str>| {
            assert_eq!(parse(text).map(format).as_deref(), written, "{text}");
        };
        check("20150830T123600Z", Some("20150830T123600Z"));
        check("Sun, 30 Aug 2015 12:36:00 GMT", Some("20150830T123600Z"));
        for text in ["", "2015-08-30T12:36:00Z", "20150830", "20151330T123600Z", "99999999T999999Z"] {
            check(text, None);
        }
        assert_eq!(day(parse("20150830T123600Z").unwrap()), "20150830");
    }
}
