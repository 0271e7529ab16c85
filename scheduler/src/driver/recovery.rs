//! From the journal's bytes back to the state that was last acknowledged.
//!
//! Reading, decoding and applying go on at once on threads of their own, a few entries apart, so that a start takes as
//! long as the slowest of them and holds no more than those entries beside the state. Decoding is most of the work, so
//! several threads share it: they take the entries in turns, and what they make is applied in the same turns.
//!
//! Invariant: the state is exactly what the snapshot and the records say, or the scheduler does not start and nothing
//! is changed. A record that cannot be read is never skipped, since the events after it were decided knowing it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use ecsr_api::Timestamp;
use ecsr_api::arn::Home;
use ecsr_core::State;
use ecsr_core::state::{Event, Rebuild, Task};

use crate::journal::chunk::{self, Chunk};
use crate::journal::record::{self, Founding, Record};
use crate::journal::{self, EmbeddedJournal, Entry, Journal, Loaded, Rejected, Visitor};

/// Entries, read or decoded, that wait for the next thread at each decoder: enough for neither to idle, few enough to be
/// small beside any state that fills them.
const ENTRIES_AHEAD_MAX: usize = 4;

/// Threads that decode. What they make is applied several times faster, so that one core is left for that and reading.
const DECODERS_MAX: usize = 8;

/// Why the state cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error("the journal cannot be understood; nothing was changed")]
    Record(#[from] record::Error),
    #[error(
        "the data directory belongs to account {found_account} in {found_region}, not to account {account} in \
         {region}; start with those, or choose another data directory"
    )]
    OtherHome { found_account: String, found_region: String, account: String, region: String },
    #[error(
        "the journal has no founding record; nothing was changed. Restore it from a backup, or move it away"
    )]
    Unfounded,
}

/// What was recovered, and where the journal goes on.
#[derive(Debug)]
pub struct Recovered {
    pub state: Arc<State>,
    pub founding: Founding,
    pub epoch: u64,
    /// The index of the next record.
    pub next_index: u64,
    /// How many events the newest snapshot holds, and how many came after it.
    pub events: Events,
    /// The time of the newest record.
    pub latest: Timestamp,
}

/// How much there is to read at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events {
    pub snapped: u64,
    pub since: u64,
}

/// Reads the journal back; an empty one is founded for `home`.
pub fn recover(journal: &mut dyn Journal, home: Home) -> Result<Recovered, Error> {
    let founding = Founding { account: home.account.clone(), region: home.region.clone() };
    let (loaded, replayed) = replay(Some(&founding), |visit| journal.load(visit))?;
    let Loaded { epoch, mut next_index } = loaded;
    if next_index == 0 {
        journal.append(epoch, 0, &[record::founding(&founding)])?;
        next_index = 1;
    }
    let Replayed { founded, latest, events } = replayed;
    let state = founded.map_or_else(|| State::new(home), |(_, state)| state);
    Ok(Recovered { state: Arc::new(state), founding, epoch, next_index, events, latest })
}

/// What is in a journal, whoever it belongs to.
#[derive(Debug)]
pub(crate) struct Surveyed {
    pub state: State,
    pub loaded: Loaded,
    pub events: Events,
}

/// Reads a journal like [`recover`], and changes nothing.
pub(crate) fn survey(journal: &EmbeddedJournal) -> Result<Surveyed, Error> {
    let (loaded, Replayed { founded, events, .. }) = replay(None, |visit| journal.inspect(visit))?;
    let (_, state) = founded.ok_or(Error::Unfounded)?;
    Ok(Surveyed { state, loaded, events })
}

/// An entry as it was read.
#[derive(Debug)]
enum Raw {
    Chunk { number: u64, bytes: Vec<u8> },
    Record { index: u64, bytes: Vec<u8> },
}

/// An entry as it is applied.
#[derive(Debug)]
struct Decoded {
    source: Source,
    founded: Option<Founding>,
    at: Timestamp,
    events: Vec<Event>,
    /// See [`chunk::Chunk`].
    tasks: Vec<(usize, Arc<Task>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Snapshot,
    Record,
}

#[derive(Debug)]
struct Replayed {
    /// Whose it is, and the state; `None` if there was nothing at all.
    founded: Option<(Founding, State)>,
    latest: Timestamp,
    events: Events,
}

/// Reads everything that `load` shows. With `wanted` given, it must be theirs.
fn replay(
    wanted: Option<&Founding>,
    load: impl FnOnce(&mut Visitor<'_>) -> Result<Loaded, journal::Error>,
) -> Result<(Loaded, Replayed), Error> {
    thread::scope(|scope| {
        let mut pipeline = Pipeline::start(scope, wanted);
        let loaded = load(&mut |entry| pipeline.take(entry));
        match (loaded, pipeline.finish()) {
            (Ok(loaded), Ok(replayed)) => Ok((loaded, replayed)),
            // The visitor rejects for no other reason than this.
            (Ok(_) | Err(journal::Error::Rejected(_)), Err(error)) => Err(error),
            (Err(error), _) => Err(error.into()),
        }
    })
}

/// The threads behind the one that reads.
#[derive(Debug)]
struct Pipeline<'scope> {
    /// To each of the decoders; none once everything was read.
    raw: Vec<SyncSender<Raw>>,
    /// Whose turn it is.
    turn: usize,
    applier: Option<ScopedJoinHandle<'scope, Result<Replayed, Error>>>,
    outcome: Option<Result<Replayed, Error>>,
}

impl<'scope> Pipeline<'scope> {
    fn start<'env>(scope: &'scope Scope<'scope, 'env>, wanted: Option<&'env Founding>) -> Self {
        let decoders = thread::available_parallelism().map_or(1, usize::from).min(DECODERS_MAX);
        let start_decoder = |_| {
            let (raw, to_decode) = sync_channel(ENTRIES_AHEAD_MAX);
            let (decoded, to_apply) = sync_channel(ENTRIES_AHEAD_MAX);
            scope.spawn(move || decode_all(&to_decode, &decoded));
            (raw, to_apply)
        };
        let (raw, decoded): (_, Vec<_>) = (0..decoders).map(start_decoder).unzip();
        let applier = scope.spawn(move || apply_all(&decoded, wanted));
        Self { raw, turn: 0, applier: Some(applier), outcome: None }
    }

    fn take(&mut self, entry: Entry<'_>) -> Result<(), Rejected> {
        let raw = match entry {
            Entry::Chunk { number, bytes, .. } => Raw::Chunk { number, bytes: bytes.to_vec() },
            Entry::Record { index, bytes } => Raw::Record { index, bytes: bytes.to_vec() },
            Entry::End => {
                self.outcome = self.join();
                return if matches!(self.outcome, Some(Ok(_))) { Ok(()) } else { Err(Rejected) };
            }
        };
        let decoder = &self.raw[self.turn % self.raw.len()];
        self.turn += 1;
        // The decoder has gone if who applies will not have what it got.
        decoder.send(raw).map_err(|_| Rejected)
    }

    fn finish(mut self) -> Result<Replayed, Error> {
        let outcome = self.outcome.take().or_else(|| self.join());
        outcome.expect("the threads are joined here or at the end of the journal")
    }

    fn join(&mut self) -> Option<Result<Replayed, Error>> {
        self.raw.clear();
        Some(self.applier.take()?.join().expect("applying does not panic"))
    }
}

/// Ends early when nobody applies any more: then that thread knows what is wrong.
fn decode_all(raw: &Receiver<Raw>, decoded: &SyncSender<Result<Decoded, record::Error>>) {
    for entry in raw {
        if decoded.send(decode(entry)).is_err() {
            break;
        }
    }
}

fn decode(entry: Raw) -> Result<Decoded, record::Error> {
    match entry {
        Raw::Chunk { number, bytes } => {
            let Chunk { founded, at, events, tasks } = chunk::read(number, &bytes)?;
            Ok(Decoded { source: Source::Snapshot, founded: Some(founded), at, events, tasks })
        }
        Raw::Record { index, bytes } => {
            let (founded, at, events) = match record::read(index, &bytes)? {
                Record::Founded(founded) => (Some(founded), Timestamp::default(), Vec::new()),
                Record::Happened { at, events } => (None, at, events),
            };
            Ok(Decoded { source: Source::Record, founded, at, events, tasks: Vec::new() })
        }
    }
}

fn apply_all(
    decoded: &[Receiver<Result<Decoded, record::Error>>],
    wanted: Option<&Founding>,
) -> Result<Replayed, Error> {
    let mut founded: Option<(Founding, Rebuild)> = None;
    let (mut latest, mut events) = (Timestamp::default(), Events::default());
    // The first who has nothing more in its turn was left out, and so was everybody after it.
    for entry in decoded.iter().cycle().map_while(|decoder| decoder.recv().ok()) {
        let Decoded { source, founded: found, at, events: happened, tasks } = entry?;
        if let Some(found) = found {
            if let Some(known) = wanted.or(founded.as_ref().map(|(known, _)| known)) {
                check_founding(&found, known)?;
            }
            founded.get_or_insert_with(|| {
                let home = Home { region: found.region.clone(), account: found.account.clone() };
                (found, Rebuild::new(home))
            });
        }
        let (_, rebuild) = founded.as_mut().ok_or(Error::Unfounded)?;
        latest = latest.max(at);
        let count = u64::try_from(happened.len() + tasks.len()).expect("a list is shorter than 2^64");
        match source {
            Source::Snapshot => events.snapped += count,
            Source::Record => events.since += count,
        }
        for event in happened {
            rebuild.apply(event);
        }
        rebuild.place(tasks);
    }
    let founded = founded.map(|(founding, rebuild)| (founding, rebuild.finish()));
    Ok(Replayed { founded, latest, events })
}

/// Refuses a journal of another account or region.
pub(crate) fn check_founding(found: &Founding, wanted: &Founding) -> Result<(), Error> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::OtherHome {
        found_account: found.account.clone(),
        found_region: found.region.clone(),
        account: wanted.account.clone(),
        region: wanted.region.clone(),
    })
}
