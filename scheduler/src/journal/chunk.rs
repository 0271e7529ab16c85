//! What a snapshot says: the events that build a state, cut into chunks of lines.
//!
//! The first line of a chunk says what it is part of. Each other one is an event, or is about a task: a line `{"like":..}`
//! says what some of the tasks have in common, and a list is one of them, as the placement of that task. Which of the
//! former it is like is the first number in it; they are counted from 0 in each chunk. So any chunk can be read by itself,
//! and a task takes a fifth of what it takes alone.
//!
//! Version 1 was one object, version 2 had tasks as events only. A newer binary reads both.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

use ecsr_api::Timestamp;
use ecsr_core::state::{Alike, Event, Picture, Row, RowOf, Task};
use serde::{Deserialize, Serialize, de};

use super::record::{Error, Founding};

/// The version of snapshots that this binary writes, and the newest that it reads.
const VERSION: u32 = 3;

/// A chunk is ended before it grows beyond this. Large, for each costs a write; but no append waits long for one, and
/// with the store's own few bytes it fits a page of 1 MiB.
pub(crate) const CHUNK_BYTES_MAX: usize = 1024 * 1024 - 1024;

/// A part of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chunk {
    pub founded: Founding,
    /// When the snapshot was taken.
    pub at: Timestamp,
    /// Some of the events that build the state.
    pub events: Vec<Event>,
    /// Tasks that are placed, each with the number of what it is like.
    pub tasks: Vec<(usize, Arc<Task>)>,
}

impl Chunk {
    /// All that it says as events.
    pub(crate) fn into_events(self) -> impl Iterator<Item = Event> {
        let placed = self.tasks.into_iter().map(|(_, task)| Event::TaskPlaced(task));
        self.events.into_iter().chain(placed)
    }
}

#[derive(Deserialize)]
pub(super) struct Version {
    pub v: u32,
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

/// What some of the tasks of a chunk have in common.
#[derive(Serialize, Deserialize)]
struct Like<A> {
    like: A,
}

/// The chunks of a snapshot, each made when it is asked for; at least one.
pub(crate) fn chunks<E: Iterator<Item = Event>>(
    founded: Founding,
    at: Timestamp,
    events: E,
    bytes_max: usize,
) -> Chunks<E> {
    let mut header = Vec::new();
    add_line(&mut header, &Header { v: VERSION, founded, at });
    Chunks { header, events: events.peekable(), begun: false, bytes_max, is_plain: false, cut: 0 }
}

/// The same for people to read: every line is an object, and every task an event by itself.
pub(crate) fn plain_chunks<E: Iterator<Item = Event>>(
    founded: Founding,
    at: Timestamp,
    events: E,
    bytes_max: usize,
) -> Chunks<E> {
    Chunks { is_plain: true, ..chunks(founded, at, events, bytes_max) }
}

/// See [`chunks`].
#[derive(Debug)]
pub(crate) struct Chunks<E: Iterator<Item = Event>> {
    header: Vec<u8>,
    events: Peekable<E>,
    begun: bool,
    bytes_max: usize,
    is_plain: bool,
    /// Events that were cut into chunks so far.
    pub cut: u64,
}

impl<E: Iterator<Item = Event>> Iterator for Chunks<E> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.begun && self.events.peek().is_none() {
            return None;
        }
        self.begun = true;
        let mut chunk = Lines { bytes: self.header.clone(), likes: Vec::new(), hinted: BTreeMap::new() };
        let mut is_first = true;
        while let Some(event) = self.events.peek() {
            let before = chunk.bytes.len();
            match event {
                Event::TaskPlaced(task) if !self.is_plain => chunk.add_row(task),
                event => add_line(&mut chunk.bytes, event),
            }
            // The first whatever its size: an event is never cut.
            if !is_first && chunk.bytes.len() > self.bytes_max {
                chunk.bytes.truncate(before);
                break;
            }
            is_first = false;
            self.cut += 1;
            self.events.next();
        }
        Some(chunk.bytes)
    }
}

/// A chunk that is being written.
#[derive(Debug)]
struct Lines {
    bytes: Vec<u8>,
    likes: Vec<Alike>,
    /// The newest of these by a number that those like it have in common.
    hinted: BTreeMap<u64, usize>,
}

impl Lines {
    fn add_row(&mut self, task: &Task) {
        let number = self.number_of(task);
        add_line(&mut self.bytes, &RowOf::new(number, task));
    }

    /// The number of what a task is like, which is said first if it was not yet.
    fn number_of(&mut self, task: &Task) -> usize {
        let hint = Alike::hint(task);
        let known = self.hinted.get(&hint).copied().filter(|number| self.likes[*number].fits(task));
        known.unwrap_or_else(|| {
            let like = Alike::of(task);
            add_line(&mut self.bytes, &Like { like: &like });
            self.likes.push(like);
            let number = self.likes.len() - 1;
            self.hinted.insert(hint, number);
            number
        })
    }
}

/// Reads the chunk with that number.
pub(crate) fn read(number: u64, bytes: &[u8]) -> Result<Chunk, Error> {
    let unreadable = |source| Error::Snapshot { number, source };
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Version { v: version } = version_of(first).map_err(unreadable)?;
    if version > VERSION {
        return Err(Error::NewerSnapshot { version });
    }
    // Checked once for all of it, rather than for each text in it.
    let text = str::from_utf8(bytes).map_err(de::Error::custom).map_err(unreadable)?;
    if version == 1 {
        let Version1 { founded, at, state } = serde_json::from_str(text).map_err(unreadable)?;
        return Ok(Chunk { founded, at, events: state.into_events().collect(), tasks: Vec::new() });
    }
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let header = lines.next().unwrap_or_default();
    let Header { founded, at, .. } = serde_json::from_str(header).map_err(unreadable)?;
    let mut chunk = Chunk { founded, at, events: Vec::new(), tasks: Vec::new() };
    let mut likes = Vec::new();
    for line in lines {
        read_line(line, &mut likes, &mut chunk).map_err(unreadable)?;
    }
    Ok(chunk)
}

fn read_line(line: &str, likes: &mut Vec<Alike>, chunk: &mut Chunk) -> Result<(), serde_json::Error> {
    match kind(line.as_bytes()) {
        Kind::Row => chunk.tasks.push(read_row(line, likes)?),
        Kind::Like => likes.push(serde_json::from_str::<Like<Alike>>(line)?.like),
        Kind::Header | Kind::Other => chunk.events.push(serde_json::from_str(line)?),
    }
    Ok(())
}

fn read_row(line: &str, likes: &[Alike]) -> Result<(usize, Arc<Task>), serde_json::Error> {
    let row: Row = serde_json::from_str(line)?;
    let number = row.alike();
    let task = likes.get(number).and_then(|like| row.task(like));
    let task = task.ok_or_else(|| de::Error::custom(format_args!("no task is like {number}")))?;
    Ok((number, Arc::new(task)))
}

/// The lines of a chunk as [`plain_chunks`] would have them.
pub(crate) fn plain(number: u64, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Snapshot { number, source };
    let text = str::from_utf8(bytes).map_err(de::Error::custom).map_err(unreadable)?;
    let (mut likes, mut plain) = (Vec::new(), Vec::new());
    for line in text.lines() {
        match kind(line.as_bytes()) {
            Kind::Row => {
                let (_, task) = read_row(line, &likes).map_err(unreadable)?;
                add_line(&mut plain, &Event::TaskPlaced(task));
            }
            Kind::Like => likes.push(serde_json::from_str::<Like<Alike>>(line).map_err(unreadable)?.like),
            Kind::Header | Kind::Other => {
                plain.extend_from_slice(line.as_bytes());
                plain.push(b'\n');
            }
        }
    }
    Ok(plain)
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
    let mut line = Vec::new();
    add_line(&mut line, &End { end: Count { events } });
    line
}

/// Tells the lines of a copy apart.
pub(crate) fn line(bytes: &[u8]) -> Line {
    if bytes.starts_with(b"{\"end\":")
        && let Ok(End { end: Count { events } }) = serde_json::from_slice(bytes)
    {
        return Line::End { events };
    }
    match kind(bytes) {
        Kind::Header => Line::Header,
        Kind::Like | Kind::Row | Kind::Other => Line::Event,
    }
}

/// What a line is, by its first bytes. An event is an object named after itself, the others are known by their members.
enum Kind {
    Header,
    Like,
    Row,
    Other,
}

fn kind(bytes: &[u8]) -> Kind {
    match bytes {
        [b'[', ..] => Kind::Row,
        _ if bytes.starts_with(b"{\"v\":") => Kind::Header,
        _ if bytes.starts_with(b"{\"like\":") => Kind::Like,
        _ => Kind::Other,
    }
}

pub(super) fn version_of(bytes: &[u8]) -> Result<Version, serde_json::Error> {
    serde_json::from_slice(bytes)
}

fn add_line(bytes: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *bytes, value)
        .expect("the types of the core have string keys and always serialise");
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use ecsr_core::ids::DefinitionId;

    use super::*;
    use crate::testing::World;

    fn founded() -> Founding {
        Founding { account: "123456789012".into(), region: "us-east-1".into() }
    }

    fn forgotten(revision: u32) -> Event {
        Event::DefinitionForgotten(DefinitionId { family: "web".into(), revision })
    }

    fn read_back(cut: &[Vec<u8>], at: Timestamp) -> Vec<Event> {
        let back = cut.iter().map(|bytes| read(0, bytes).unwrap());
        let back = back.inspect(|chunk| assert_eq!((&chunk.founded, chunk.at), (&founded(), at)));
        back.flat_map(Chunk::into_events).collect()
    }

    #[test]
    fn a_snapshot_is_cut_into_chunks_that_read_back() {
        let at = Timestamp::from_millis(7);
        let check = |count: u32, bytes_max: usize, expected: std::ops::RangeInclusive<usize>| {
            let many: Vec<Event> = (0..count).map(forgotten).collect();
            let cut: Vec<_> = chunks(founded(), at, many.clone().into_iter(), bytes_max).collect();
            assert!(expected.contains(&cut.len()), "{} chunks", cut.len());
            assert_eq!(read_back(&cut, at), many);
        };
        check(0, 1000, 1..=1);
        check(1, 1, 1..=1);
        check(5, 1, 5..=5);
        check(1000, 4096, 10..=30);
        check(1000, CHUNK_BYTES_MAX, 1..=1);
    }
    #[test]
    fn tasks_are_rows_of_what_they_are_like() {
        let world = World::with_tasks(50);
        let at = Timestamp::from_millis(7);
        let events: Vec<Event> = world.state.events().collect();
        for bytes_max in [1, 4096, CHUNK_BYTES_MAX] {
            let cut: Vec<_> = chunks(founded(), at, events.clone().into_iter(), bytes_max).collect();
            let likes = cut.iter().map(|bytes| bytes.windows(8).filter(|part| part == b"{\"like\":").count());
            assert!(likes.max() <= Some(1), "one definition has one kind of tasks");
            let mut back = read_back(&cut, at);
            back.sort_by_key(|event| events.iter().position(|known| known == event));
            assert_eq!(back, events);
            let plain: Vec<_> = cut.iter().map(|bytes| plain(0, bytes).unwrap()).collect();
            assert_eq!(
                plain
                    .concat()
                    .split(|byte| *byte == b'\n')
                    .filter(|line| line.starts_with(b"{\"TaskPlaced\":"))
                    .count(),
                50
            );
            assert_eq!(read_back(&plain, at).len(), events.len());
        }
        let plain: Vec<_> = plain_chunks(founded(), at, events.clone().into_iter(), 4096).collect();
        assert_eq!(read_back(&plain, at), events);
    }

    #[test]
    fn a_snapshot_of_version_2_is_read() {
        let world = World::with_tasks(2);
        let events: Vec<Event> = world.state.events().collect();
        let founded = serde_json::to_string(&founded()).unwrap();
        let lines = events.iter().map(|event| serde_json::to_string(event).unwrap());
        let header = format!("{{\"v\":2,\"founded\":{founded},\"at\":1.5}}");
        let bytes = [header].into_iter().chain(lines).collect::<Vec<_>>().join("\n");
        assert_eq!(read_back(&[bytes.into_bytes()], Timestamp::from_millis(1500)), events);
    }

    #[test]
    fn a_task_that_is_like_nothing_is_refused() {
        let world = World::with_tasks(1);
        let cut: Vec<_> =
            chunks(founded(), Timestamp::default(), world.state.events(), CHUNK_BYTES_MAX).collect();
        let text = String::from_utf8(cut[0].clone()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("{\"like\":")).collect::<Vec<_>>();
        let error = read(3, lines.join("\n").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "chunk 3 of the snapshot cannot be read");
    }
}
