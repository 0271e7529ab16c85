//! The messages of etcd's JSON gateway: those of its gRPC API, with bytes in base 64 and 64-bit numbers as strings.
//!
//! Only what a journal needs. Members that have their default value are left out by etcd, hence `default` everywhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes, as the gateway writes them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Bytes(pub Vec<u8>);

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<&String> for Bytes {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A 64-bit number, which the gateway writes as a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Number(pub i64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    pub create_revision: Number,
    pub mod_revision: Number,
}

/// Every answer's head.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Header {
    pub revision: Number,
}

/// Which keys to read, from `key` to before `range_end`, or `key` alone.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(clippy::struct_field_names, reason = "etcd's names")]
pub(crate) struct Range {
    pub key: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_end: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_order: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keys_only: bool,
}

impl Range {
    /// One key.
    pub(crate) fn one(key: &str) -> Self {
        Self { key: key.into(), ..Self::default() }
    }

    /// The keys from `from` to before `end`.
    pub(crate) fn between(from: &str, end: &str) -> Self {
        Self { key: from.into(), range_end: Some(end.into()), ..Self::default() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ranged {
    pub header: Header,
    pub kvs: Vec<KeyValue>,
    pub more: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Put {
    pub key: Bytes,
    pub value: Bytes,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Delete {
    pub key: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_end: Option<Bytes>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, Serialize)]
pub(crate) enum Op {
    #[serde(rename = "request_put")]
    Put(Put),
    #[serde(rename = "request_delete_range")]
    Delete(Delete),
    #[serde(rename = "request_range")]
    Range(Range),
}

impl Op {
    pub(crate) fn put(key: &str, value: impl Into<Vec<u8>>) -> Self {
        Self::Put(Put { key: key.into(), value: Bytes(value.into()) })
    }

    pub(crate) fn delete(from: &str, end: &str) -> Self {
        Self::Delete(Delete { key: from.into(), range_end: Some(end.into()) })
    }

    pub(crate) fn delete_one(key: &str) -> Self {
        Self::Delete(Delete { key: key.into(), range_end: None })
    }
}

/// What must hold for a transaction to take place.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Compare {
    key: Bytes,
    target: &'static str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_revision: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mod_revision: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Bytes>,
}

impl Compare {
    fn equal(key: &str, target: &'static str) -> Self {
        let key = key.into();
        Self { key, target, result: "EQUAL", create_revision: None, mod_revision: None, value: None }
    }

    /// The key was created at that revision; 0 means that there is none.
    pub(crate) fn created(key: &str, revision: i64) -> Self {
        Self { create_revision: Some(Number(revision)), ..Self::equal(key, "CREATE") }
    }

    /// The key was last written at that revision; 0 means that there is none.
    pub(crate) fn modified(key: &str, revision: i64) -> Self {
        Self { mod_revision: Some(Number(revision)), ..Self::equal(key, "MOD") }
    }

    /// The key has that value.
    pub(crate) fn value(key: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(Bytes(value.into())), ..Self::equal(key, "VALUE") }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Txn {
    pub compare: Vec<Compare>,
    pub success: Vec<Op>,
    pub failure: Vec<Op>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Txned {
    pub header: Header,
    pub succeeded: bool,
    responses: Vec<OpAnswer>,
}

impl Txned {
    /// The first key that the range of that number, among the operations done, has found.
    pub(crate) fn found(&self, number: usize) -> Option<&KeyValue> {
        self.responses.get(number)?.response_range.as_ref()?.kvs.first()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct OpAnswer {
    response_range: Option<Ranged>,
}

/// A message of one of the gateway's streams.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Streamed<T> {
    pub result: Option<T>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Watch {
    pub create_request: WatchCreate,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct WatchCreate {
    pub key: Bytes,
    pub range_end: Bytes,
    pub start_revision: Number,
    /// Large answers come in several messages, each of a bounded size.
    pub fragment: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Watched {
    pub header: Header,
    pub canceled: bool,
    pub compact_revision: Number,
    pub events: Vec<WatchEvent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WatchEvent {
    #[serde(rename = "type")]
    pub kind: EventKind,
    pub kv: KeyValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum EventKind {
    #[default]
    Put,
    Delete,
}

/// What an answer other than 200 says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Refusal {
    pub code: i32,
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_gateway_takes() {
        let txn = Txn {
            compare: vec![Compare::created("k", 7), Compare::value("h", "1")],
            success: vec![Op::put("k", "v"), Op::delete("a", "b")],
            failure: vec![Op::Range(Range::one("k"))],
        };
        let expected = serde_json::json!({
            "compare": [
                {"key": "aw==", "target": "CREATE", "result": "EQUAL", "create_revision": "7"},
                {"key": "aA==", "target": "VALUE", "result": "EQUAL", "value": "MQ=="},
            ],
            "success": [
                {"request_put": {"key": "aw==", "value": "dg=="}},
                {"request_delete_range": {"key": "YQ==", "range_end": "Yg=="}},
            ],
            "failure": [{"request_range": {"key": "aw=="}}],
        });
        assert_eq!(serde_json::to_value(&txn).unwrap(), expected);
    }

    #[test]
    fn answers_are_read_with_their_defaults() {
        let answer = r#"{"header":{"revision":"2"},"responses":[{"response_put":{}},{"response_range":
            {"kvs":[{"key":"aw==","create_revision":"2","mod_revision":"3","value":"dg=="}],"count":"1"}}]}"#;
        let read: Txned = serde_json::from_str(answer).unwrap();
        let found = read.found(1).unwrap();
        assert_eq!((read.succeeded, read.header.revision), (false, Number(2)));
        assert_eq!((found.value.0.as_slice(), found.mod_revision), (&b"v"[..], Number(3)));
        assert_eq!(read.found(0), None);
    }

    #[test]
    fn a_watch_says_what_was_put_and_what_was_deleted() {
        let message = r#"{"result":{"header":{"revision":"9"},"events":[{"kv":{"key":"aw==","value":"dg=="}},
            {"type":"DELETE","kv":{"key":"aw=="}}]}}"#;
        let read: Streamed<Watched> = serde_json::from_str(message).unwrap();
        let kinds: Vec<_> = read.result.unwrap().events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::Put, EventKind::Delete]);
    }
}
