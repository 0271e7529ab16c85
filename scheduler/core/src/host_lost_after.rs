//! `ecsr:host-lost-after`: how long a cluster waits for a host that cannot be reached.
//!
//! A tag of the cluster, because a tag is what ECS's own API can carry: any client can set it, and Amazon's service
//! ignores it. Checked when it is given, so a cluster never has one that cannot be read.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::refusal::{Refusal, invalid};
use crate::state::{State, Tags};

/// The key of the tag.
pub const TAG: &str = "ecsr:host-lost-after";

/// Without the tag. A power-off is seen within three seconds and a replacement takes one or two to start, so tasks are
/// replaced within ten.
pub const DEFAULT: Duration = Duration::from_secs(4);

/// What the tag may say, in seconds: at most a day.
const SECONDS: RangeInclusive<u64> = 1..=86_400;

/// The word for leaving tasks where they are whatever happens.
const NEVER: &str = "never";

/// Checks a cluster's tags.
pub fn check(tags: &Tags) -> Result<(), Refusal> {
    tags.get(TAG).map_or(Ok(()), |text| read(text).map(|_| ()))
}

/// How long a cluster waits; `None` for ever.
pub fn of_cluster(state: &State, cluster: &str) -> Option<Duration> {
    let text = state.clusters.get(cluster).and_then(|cluster| cluster.tags.get(TAG));
    text.and_then(|text| read(text).ok()).unwrap_or(Some(DEFAULT))
}

/// `None` for never.
fn read(text: &str) -> Result<Option<Duration>, Refusal> {
    if text == NEVER {
        return Ok(None);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse().ok().filter(|seconds| is_number && SECONDS.contains(seconds));
    seconds.map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(|| {
        invalid(format!(
            "Invalid value '{text}' for tag {TAG}. It should be a number of seconds between {} and {}, or '{NEVER}'.",
            SECONDS.start(),
            SECONDS.end()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_time_that_makes_sense_is_taken() {
        let cases = [
            ("1", Some(Some(1))),
            ("86400", Some(Some(86_400))),
            ("never", Some(None)),
            ("0", None),
            ("86401", None),
            ("+5", None),
            ("5s", None),
            ("", None),
            ("-1", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|seconds| seconds.map(Duration::from_secs));
            assert_eq!(read(text).ok(), expected, "{text}");
            assert_eq!(check(&Tags::from([(TAG.to_owned(), text.to_owned())])).is_ok(), expected.is_some());
        }
    }
}
