//! What the journal's bytes say: JSON that names its version.
//!
//! The first record founds the journal with the account and region that every ARN in it carries; a scheduler with other
//! settings must not open it, for its ARNs would name resources that do not exist. Every other record holds events in
//! the order they happened. What snapshots say is in [`chunk`](super::chunk).
//!
//! A newer binary reads all older versions; an older binary says so when it meets a newer one.

use ecsr_api::Timestamp;
use ecsr_core::state::Event;
use serde::{Deserialize, Serialize, de};

use super::chunk;

/// The version of records that this binary writes, and the newest that it reads.
const VERSION: u32 = 1;

/// Most events in one record, so that no record outgrows what a distributed journal takes in one request.
const EVENTS_PER_RECORD_MAX: usize = 256;

/// The account and region that a journal belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    pub account: String,
    pub region: String,
}

/// Why a record cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("record {index} was written by a newer version of ecsr (format {version}); start that version")]
    Newer { index: u64, version: u32 },
    #[error("record {index} cannot be read")]
    Unreadable { index: u64, source: serde_json::Error },
    #[error("record {index} holds neither events nor a founding")]
    Empty { index: u64 },
    #[error("the snapshot was written by a newer version of ecsr (format {version}); start that version")]
    NewerSnapshot { version: u32 },
    #[error("chunk {number} of the snapshot cannot be read")]
    Snapshot { number: u64, source: serde_json::Error },
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Founded(Founding),
    /// Events decided at one time.
    Happened {
        at: Timestamp,
        events: Vec<Event>,
    },
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    founded: Option<&'a Founding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<&'a [Event]>,
}

#[derive(Deserialize)]
struct Read {
    v: u32,
    founded: Option<Founding>,
    #[serde(default)]
    at: Timestamp,
    events: Option<Vec<Event>>,
}

/// The record that opens a journal.
pub(crate) fn founding(founding: &Founding) -> Vec<u8> {
    write(&Written { v: VERSION, founded: Some(founding), at: None, events: None })
}

/// The records that hold these events, decided at one time, in order.
pub(crate) fn events(at: Timestamp, events: &[Event]) -> Vec<Vec<u8>> {
    let chunks = events.chunks(EVENTS_PER_RECORD_MAX);
    chunks
        .map(|chunk| write(&Written { v: VERSION, founded: None, at: Some(at), events: Some(chunk) }))
        .collect()
}

/// How many records [`events`] makes of these.
pub(crate) fn count(events: &[Event]) -> u64 {
    u64::try_from(events.len().div_ceil(EVENTS_PER_RECORD_MAX)).expect("a list is shorter than 2^64")
}

/// Reads the record with that index.
pub(crate) fn read(index: u64, bytes: &[u8]) -> Result<Record, Error> {
    // Checked once for all of it, rather than for each text in it.
    let text = str::from_utf8(bytes).map_err(de::Error::custom);
    let read =
        text.and_then(serde_json::from_str::<Read>).map_err(|source| match newer_than(VERSION, bytes) {
            Some(version) => Error::Newer { index, version },
            None => Error::Unreadable { index, source },
        })?;
    if read.v > VERSION {
        return Err(Error::Newer { index, version: read.v });
    }
    match (read.founded, read.events) {
        (Some(founding), None) => Ok(Record::Founded(founding)),
        (None, Some(events)) => Ok(Record::Happened { at: read.at, events }),
        (Some(_), Some(_)) | (None, None) => Err(Error::Empty { index }),
    }
}

fn newer_than(version: u32, bytes: &[u8]) -> Option<u32> {
    chunk::version_of(bytes).ok().map(|found| found.v).filter(|found| *found > version)
}

fn write(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the types of the core have string keys and always serialise")
}

#[cfg(test)]
mod tests {
    use ecsr_core::ids::DefinitionId;

    use super::*;

    fn forgotten(revision: u32) -> Event {
        Event::DefinitionForgotten(DefinitionId { family: "web".into(), revision })
    }

    #[test]
    fn records_read_what_they_wrote() {
        let founded = Founding { account: "123456789012".into(), region: "us-east-1".into() };
        assert_eq!(read(0, &founding(&founded)).unwrap(), Record::Founded(founded));
        let at = Timestamp::from_millis(1500);
        let written = events(at, &[forgotten(1), forgotten(2)]);
        assert_eq!(written.len(), 1);
        let expected = Record::Happened { at, events: vec![forgotten(1), forgotten(2)] };
        assert_eq!(read(1, &written[0]).unwrap(), expected);
    }

    #[test]
    fn many_events_are_cut_into_records() {
        let many: Vec<Event> = (0..600).map(forgotten).collect();
        let written = events(Timestamp::default(), &many);
        assert_eq!((written.len(), count(&many), count(&[])), (3, 3, 0));
        let back = written.iter().flat_map(|bytes| match read(1, bytes).unwrap() {
            Record::Happened { events, .. } => events,
            Record::Founded(_) => panic!("no founding was written"),
        });
        assert_eq!(back.collect::<Vec<_>>(), many);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let check = |bytes: &str, expected: &str| {
            assert_eq!(read(7, bytes.as_bytes()).unwrap_err().to_string(), expected, "{bytes}");
        };
        check(
            r#"{"v":2,"wonders":[]}"#,
            "record 7 was written by a newer version of ecsr (format 2); start that version",
        );
        check("nonsense", "record 7 cannot be read");
        check(r#"{"v":1}"#, "record 7 holds neither events nor a founding");
        check(r#"{"v":1,"events":[{"Unheard":1}]}"#, "record 7 cannot be read");
    }
}
