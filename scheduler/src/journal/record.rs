//! What the journal's bytes say: JSON that names its version.
//!
//! The first record founds the journal with the account and region that every ARN in it carries; a scheduler with other
//! settings must not open it, for its ARNs would name resources that do not exist. Every other record holds events in
//! the order they happened. A snapshot holds the events that build a state, cut into chunks: lines of which the first
//! says what the chunk is part of, and each other one is an event. Any chunk can be read by itself.
//!
//! A newer binary reads all older versions; an older binary says so when it meets a newer one.

use std::iter::Peekable;

use ecsr_api::Timestamp;
use ecsr_core::state::{Event, Picture};
use serde::{Deserialize, Serialize};

/// The version of records that this binary writes, and the newest that it reads.
const VERSION: u32 = 1;

/// The version of snapshots that this binary writes, and the newest that it reads. The first was a [`Picture`].
const SNAPSHOT_VERSION: u32 = 2;

/// Most events in one record, so that no record outgrows what a distributed journal takes in one request.
const EVENTS_PER_RECORD_MAX: usize = 256;

/// A chunk is ended before it grows beyond this. Large, for each costs a write; but no append waits long for one, and
/// with the store's own few bytes it fits a page of 1 MiB.
pub(crate) const CHUNK_BYTES_MAX: usize = 1024 * 1024 - 1024;

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

/// A part of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chunk {
    pub founded: Founding,
    /// When the snapshot was taken.
    pub at: Timestamp,
    /// Some of the events that build the state.
    pub events: Vec<Event>,
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

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The first line of a chunk.
#[derive(Serialize, Deserialize)]
struct Header {
    v: u32,
    founded: Founding,
    at: Timestamp,
}

/// A snapshot of version 1, which was one chunk.
#[derive(Deserialize)]
struct Version1 {
    founded: Founding,
    at: Timestamp,
    state: Picture,
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
    let read: Read = serde_json::from_slice(bytes).map_err(|source| match newer_than(VERSION, bytes) {
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

/// The chunks of a snapshot, each made when it is asked for; at least one.
pub(crate) fn chunks<E: Iterator<Item = Event>>(
    founded: Founding,
    at: Timestamp,
    events: E,
    bytes_max: usize,
) -> Chunks<E> {
    let header = json_line(&Header { v: SNAPSHOT_VERSION, founded, at });
    Chunks { header, events: events.peekable(), left_over: Vec::new(), begun: false, bytes_max, cut: 0 }
}

/// See [`chunks`].
#[derive(Debug)]
pub(crate) struct Chunks<E: Iterator<Item = Event>> {
    header: Vec<u8>,
    events: Peekable<E>,
    /// The line that the last chunk had no room for.
    left_over: Vec<u8>,
    begun: bool,
    bytes_max: usize,
    /// Events that were cut into chunks so far.
    pub cut: u64,
}

impl<E: Iterator<Item = Event>> Iterator for Chunks<E> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.begun && self.left_over.is_empty() && self.events.peek().is_none() {
            return None;
        }
        self.begun = true;
        let mut chunk = self.header.clone();
        // Whatever its size: an event is never cut.
        chunk.append(&mut self.left_over);
        for event in self.events.by_ref() {
            self.cut += 1;
            let line = json_line(&event);
            if chunk.len() > self.header.len() && chunk.len() + line.len() > self.bytes_max {
                self.left_over = line;
                break;
            }
            chunk.extend_from_slice(&line);
        }
        Some(chunk)
    }
}

/// Reads the chunk with that number.
pub(crate) fn read_chunk(number: u64, bytes: &[u8]) -> Result<Chunk, Error> {
    let unreadable = |source| Error::Snapshot { number, source };
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let Version { v: version } = version_of(first).map_err(unreadable)?;
    if version > SNAPSHOT_VERSION {
        return Err(Error::NewerSnapshot { version });
    }
    if version < SNAPSHOT_VERSION {
        let Version1 { founded, at, state } = serde_json::from_slice(bytes).map_err(unreadable)?;
        return Ok(Chunk { founded, at, events: state.into_events().collect() });
    }
    let Header { founded, at, .. } = serde_json::from_slice(first).map_err(unreadable)?;
    let events = lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(unreadable)?;
    Ok(Chunk { founded, at, events })
}

/// What a line of a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// A chunk begins.
    Header,
    Event,
    /// The copy is whole if there were so many events.
    End {
        events: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct End {
    end: Count,
}

#[derive(Serialize, Deserialize)]
struct Count {
    events: u64,
}

/// The line that ends a copy of the chunks of a snapshot.
pub(crate) fn copy_end(events: u64) -> Vec<u8> {
    json_line(&End { end: Count { events } })
}

/// Tells the lines of a copy apart. An event is an object named after itself, the others are known by their members.
pub(crate) fn line(bytes: &[u8]) -> Line {
    if bytes.starts_with(b"{\"end\":")
        && let Ok(End { end: Count { events } }) = serde_json::from_slice(bytes)
    {
        return Line::End { events };
    }
    if bytes.starts_with(b"{\"v\":") { Line::Header } else { Line::Event }
}

fn version_of(bytes: &[u8]) -> Result<Version, serde_json::Error> {
    serde_json::from_slice(bytes)
}

fn newer_than(version: u32, bytes: &[u8]) -> Option<u32> {
    version_of(bytes).ok().map(|found| found.v).filter(|found| *found > version)
}

fn json_line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = write(value);
    bytes.push(b'\n');
    bytes
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
    fn a_snapshot_is_cut_into_chunks_that_read_back() {
        let founded = Founding { account: "123456789012".into(), region: "us-east-1".into() };
        let at = Timestamp::from_millis(7);
        let check = |count: u32, bytes_max: usize, expected: std::ops::RangeInclusive<usize>| {
            let many: Vec<Event> = (0..count).map(forgotten).collect();
            let cut: Vec<_> = chunks(founded.clone(), at, many.clone().into_iter(), bytes_max).collect();
            assert!(expected.contains(&cut.len()), "{} chunks", cut.len());
            let back = cut.iter().map(|bytes| read_chunk(0, bytes).unwrap());
            let back = back.inspect(|chunk| assert_eq!((&chunk.founded, chunk.at), (&founded, at)));
            assert_eq!(back.flat_map(|chunk| chunk.events).collect::<Vec<_>>(), many);
        };
        check(0, 1000, 1..=1);
        check(1, 1, 1..=1);
        check(5, 1, 5..=5);
        check(1000, 4096, 10..=30);
        check(1000, CHUNK_BYTES_MAX, 1..=1);
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
