//! Identifiers of the things that a cluster holds.
//!
//! Names are shared strings, since one cluster's name stands in every task's key. Ids of tasks and instances are 128
//! bits shown as 32 hex digits, as ECS shows them; deployments are numbered as `ecs-svc/<19 digits>`.
//!
//! The ids of instances and containers are random throughout, those of tasks end with the time, by which they are
//! ordered. What is ordered by the ids of tasks grows at its end then: the tasks that one batch makes lie side by side,
//! and a persistent map copies a node once for all of them rather than once for each. The first digits, by which people
//! tell tasks apart, are random.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ecsr_api::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::context::Context;

/// The name of a cluster, service or family.
pub type Name = Arc<str>;

/// A text that is not the 32 hex digits of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits")]
pub struct InvalidId;

/// What each byte is worth as a lower-case hexadecimal digit; more than any where it is none.
const DIGITS: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// The bytes that so many lower-case hexadecimal digits stand for. A start reads millions of them, so nothing is decided
/// before the last digit.
pub(crate) fn digits<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; BYTES] = pairs.try_into().ok()?;
    let mut all = 0;
    let bytes = pairs.map(|[high, low]| {
        let (high, low) = (DIGITS[usize::from(high)], DIGITS[usize::from(low)]);
        all |= high | low;
        high << 4 | low & 0xf
    });
    (all < 16).then_some(bytes)
}

/// Reads a value from its text where that lies: a start reads millions of them.
pub(crate) struct OfText<T, E> {
    expected: &'static str,
    read: fn(&str) -> Result<T, E>,
}

impl<T, E> OfText<T, E> {
    pub(crate) fn new(expected: &'static str, read: fn(&str) -> Result<T, E>) -> Self {
        Self { expected, read }
    }
}

impl<T, E: fmt::Display> de::Visitor<'_> for OfText<T, E> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<F: de::Error>(self, text: &str) -> Result<T, F> {
        (self.read)(text).map_err(de::Error::custom)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident ordered by the last $last_bits:literal bits first) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name([u8; 16]);

        // Found by comparing one number: every map of the state asks for it all the time.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                let place = |id: &Self| u128::from_be_bytes(id.0).rotate_right($last_bits);
                place(self).cmp(&place(other))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// The id that sorts before every other, where a range over ids begins.
            pub const FIRST: Self = Self([0; 16]);
            /// The id that sorts after every other, where a range over ids ends.
            pub const LAST: Self = Self([0xff; 16]);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 32];
                hex::encode_to_slice(self.0, &mut digits).expect("two digits for each of sixteen bytes");
                f.write_str(str::from_utf8(&digits).expect("hexadecimal digits"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if let Some(bytes) = digits(text) {
                    return Ok(Self(bytes));
                }
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidId)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(OfText::new("32 hexadecimal digits", str::parse))
            }
        }
    };
}

hex_id! {
    /// A task, unique over all clusters.
    TaskId ordered by the last 40 bits first
}
hex_id! {
    /// A container instance, unique over all clusters.
    InstanceId ordered by the last 0 bits first
}

hex_id! {
    /// A container of a task; ECS shows it as a UUID with dashes.
    ContainerId ordered by the last 0 bits first
}

impl TaskId {
    /// A fresh id: 88 random bits, then the time at which it is made, in the 256ths of a second that a batch takes.
    pub fn fresh(context: &mut Context) -> Self {
        let mut bytes: [u8; 16] = context.bytes();
        let millis = context.now.since(Timestamp::default()).as_millis();
        let time = u64::try_from((millis * 256 / 1000).min((1 << 40) - 1)).expect("cut to 40 bits");
        bytes[11..].copy_from_slice(&time.to_be_bytes()[3..]);
        Self(bytes)
    }
}

impl InstanceId {
    /// A fresh random id.
    pub fn fresh(context: &mut Context) -> Self {
        Self(context.bytes())
    }
}

impl ContainerId {
    /// A fresh random id.
    pub fn fresh(context: &mut Context) -> Self {
        Self(context.bytes())
    }

    /// The id in the form `8-4-4-4-12`.
    pub fn dashed(&self) -> impl fmt::Display {
        Dashed(self.0)
    }
}

/// One deployment of a service; ECS shows it as `ecs-svc/` and 19 digits, and as the `startedBy` of its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeploymentId(u64);

impl DeploymentId {
    /// Nineteen digits, the first of them not zero.
    pub fn fresh(context: &mut Context) -> Self {
        const SMALLEST: u64 = 1_000_000_000_000_000_000;
        let bytes: [u8; 16] = context.bytes();
        let random = u64::from_be_bytes(bytes[..8].try_into().expect("eight of sixteen bytes"));
        Self(SMALLEST + random % (8 * SMALLEST))
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ecs-svc/{:019}", self.0)
    }
}

/// A task in its cluster. Ordered by cluster first, so that one cluster's tasks are one range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskKey {
    pub cluster: Name,
    pub id: TaskId,
}

/// A container instance in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceKey {
    pub cluster: Name,
    pub id: InstanceId,
}

/// A service in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceKey {
    pub cluster: Name,
    pub name: Name,
}

/// A group of tasks in its cluster: `service:<name>` for a service, else what its caller named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKey {
    pub cluster: Name,
    pub group: Name,
}

/// Keys are ordered by cluster first, whose name is mostly the very same string: that is seen without reading it.
macro_rules! ordered_within_cluster {
    ($($key:ident by $member:ident),+) => {
        $(
            impl Ord for $key {
                fn cmp(&self, other: &Self) -> Ordering {
                    let cluster = if Arc::ptr_eq(&self.cluster, &other.cluster) {
                        Ordering::Equal
                    } else {
                        self.cluster.cmp(&other.cluster)
                    };
                    cluster.then_with(|| self.$member.cmp(&other.$member))
                }
            }

            impl PartialOrd for $key {
                fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                    Some(self.cmp(other))
                }
            }
        )+
    };
}

ordered_within_cluster!(TaskKey by id, InstanceKey by id, ServiceKey by name, GroupKey by group);

/// One revision of a task definition family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DefinitionId {
    pub family: Name,
    pub revision: u32,
}

impl fmt::Display for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.family, self.revision)
    }
}

/// A random UUID with dashes, as ECS shows the ids of service events.
pub fn uuid(context: &mut Context) -> String {
    Dashed(context.bytes()).to_string()
}

/// Sixteen bytes as a UUID.
struct Dashed([u8; 16]);

impl fmt::Display for Dashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DASHES: [usize; 4] = [8, 13, 18, 23];
        let mut digits = [0; 32];
        hex::encode_to_slice(self.0, &mut digits).expect("two digits for each of sixteen bytes");
        let mut text = [b'-'; 36];
        let mut digits = digits.iter();
        for (place, character) in text.iter_mut().enumerate() {
            if !DASHES.contains(&place) {
                *character = *digits.next().expect("as many digits as places for them");
            }
        }
        f.write_str(str::from_utf8(&text).expect("hexadecimal digits and dashes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_print() {
        let mut context = Context::for_test(7);
        let id = TaskId::fresh(&mut context);
        assert_eq!(id.to_string().len(), 32);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("xyz".parse::<TaskId>(), Err(InvalidId));
    }

    #[test]
    fn tasks_are_in_the_order_of_the_moments_that_they_are_made_in() {
        let made = |millis: i64, seed: u8| {
            let mut context = Context::for_test(seed);
            context.now = Timestamp::from_millis(millis);
            TaskId::fresh(&mut context)
        };
        let moments = [i64::MIN, 0, 4, 1_700_000_000_000, 1_700_000_000_004, i64::MAX];
        let ids = moments.map(|millis| made(millis, 7));
        assert!(ids[1..].is_sorted() && ids[0] == ids[1], "{ids:?}");
        assert_ne!(made(5, 1), made(5, 2), "chance tells those of one moment apart");
        assert_eq!(made(5, 1), made(5, 1));
    }

    #[test]
    fn deployments_have_nineteen_digits() {
        let mut context = Context::for_test(7);
        for _ in 0..100 {
            let shown = DeploymentId::fresh(&mut context).to_string();
            assert_eq!(shown.strip_prefix("ecs-svc/").map(str::len), Some(19));
        }
    }

    #[test]
    fn uuids_have_their_dashes() {
        let shown = uuid(&mut Context::for_test(1));
        let lengths: Vec<usize> = shown.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
    }
}
