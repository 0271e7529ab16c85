//! Following the log: the state as the leader makes it, a few milliseconds later.
//!
//! A watch brings what is appended, and the leader's beats. Since a member of etcd that is cut off keeps its watches open
//! and silent, one on which not even a beat comes is given up for another. Beside it the head is asked for at a slow
//! pace, of whichever member answers: who is behind it for long watches elsewhere as well. Both tell who leads, and when
//! the leader gave its last sign of life.
//!
//! Invariant: only what a head covers is ever applied, in its order, once.

use std::sync::Arc;
use std::time::Duration;

use ecsr_api::Timestamp;
use ecsr_api::arn::Home;
use ecsr_core::State;
use ecsr_core::state::Event;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::driver::{Events, RecoveryError, check_founding, explain};
use crate::journal::chunk;
use crate::journal::etcd::log::{Leader, Log};
use crate::journal::etcd::wire::{EventKind, WatchEvent};
use crate::journal::etcd::{ClientError, Tail};
use crate::journal::record::{self, Founding, Record};
use crate::journal::{self, Entry, Rejected};

/// How often the head is asked for. A leader's death is told by the watch; this finds watches that tell nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a follower may be behind the head before it watches elsewhere.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// How long a watch may tell nothing: two beats and some. It is then replaced well before the leader is.
const SILENCE_MAX: Duration = Duration::from_millis(1200);

/// Pause after etcd could not be read.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The state up to some record.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub state: Arc<State>,
    /// The index of the next record.
    pub next_index: u64,
    /// The time of the newest record.
    pub latest: Timestamp,
    pub events: Events,
}

/// Who leads, as far as this scheduler knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Lead {
    #[default]
    Unknown,
    /// Nobody does.
    Vacant,
    Held(Leader),
}

/// The newest sign of life of whoever leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beat {
    /// At which it was written; 0 if there never was one.
    pub revision: i64,
    /// When it was seen here, which was after it was written.
    pub seen_at: Instant,
}

/// What a follower tells.
#[derive(Debug, Clone)]
pub(crate) struct Outlook {
    /// `None` until the log was read.
    pub replica: watch::Receiver<Option<Replica>>,
    pub lead: watch::Receiver<Lead>,
    pub beat: watch::Receiver<Beat>,
}

/// A follower at work.
#[derive(Debug)]
pub(super) struct Follower {
    log: Arc<Log>,
    founding: Founding,
    home: Home,
    replica: watch::Sender<Option<Replica>>,
    lead: watch::Sender<Lead>,
    beat: watch::Sender<Beat>,
}

/// The state while it is being built.
struct Building {
    state: State,
    next_index: u64,
    latest: Timestamp,
    events: Events,
}

/// Why one attempt to follow ended.
enum Lost {
    /// What was followed is gone, or contradicts itself: read everything anew.
    Place(journal::Error),
    /// The watch is of no use: go on with another.
    Watch(journal::Error),
    /// It can never be followed.
    Everything(RecoveryError),
}

impl Follower {
    /// A follower that has read nothing, and what it will tell. What is known of the lead is kept.
    pub(super) fn new(log: Arc<Log>, home: Home, lead: watch::Sender<Lead>) -> (Self, Outlook) {
        let founding = Founding { account: home.account.clone(), region: home.region.clone() };
        let (replica, replicas) = watch::channel(None);
        let (beat, beats) = watch::channel(Beat { revision: 0, seen_at: Instant::now() });
        let outlook = Outlook { replica: replicas, lead: lead.subscribe(), beat: beats };
        (Self { log, founding, home, replica, lead, beat }, outlook)
    }

    /// Follows until the log turns out to be one that this scheduler cannot follow.
    pub(super) async fn run(self) -> RecoveryError {
        loop {
            let error = match self.follow().await {
                Lost::Place(error) | Lost::Watch(error) => error,
                Lost::Everything(error) => return error,
            };
            tracing::warn!(error = explain(&error), "the log cannot be followed; trying again");
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Reads everything, then goes on from there for as long as that is possible.
    async fn follow(&self) -> Lost {
        let (mut building, mut revision) = match self.read().await {
            Ok(read) => read,
            Err(lost) => return lost,
        };
        self.publish(&building);
        loop {
            let lost = tokio::select! {
                lost = self.watch(&mut building, &mut revision) => lost,
                lost = self.look_on() => lost,
            };
            match lost {
                Lost::Watch(error) => {
                    tracing::warn!(error = explain(&error), "watching the log elsewhere");
                    self.log.prefer_another_member();
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                lost @ (Lost::Place(_) | Lost::Everything(_)) => return lost,
            }
        }
    }

    async fn read(&self) -> Result<(Building, i64), Lost> {
        let (log, home, founding) = (self.log.clone(), self.home.clone(), self.founding.clone());
        let runtime = Handle::current();
        let read = tokio::task::spawn_blocking(move || {
            let mut building = Building::new(home);
            let mut refused = None;
            let loaded = runtime.block_on(log.load(&mut |entry| {
                building.take(entry, &founding).map_err(|error| {
                    refused = Some(error);
                    Rejected
                })
            }));
            match (loaded, refused) {
                (_, Some(error)) => Err(Lost::Everything(error)),
                (Ok((next_index, revision)), None) => Ok((Building { next_index, ..building }, revision)),
                (Err(error), None) => Err(Lost::Place(error)),
            }
        });
        read.await.expect("reading the log does not panic")
    }

    /// Applies what happens after `revision`, which is always the one of the last head that was applied.
    async fn watch(&self, building: &mut Building, revision: &mut i64) -> Lost {
        let names = self.log.names();
        let (start, end) = (names.start(), names.end());
        let mut watcher = match self.log.watch(&start, &end, *revision + 1).await {
            Ok(watcher) => watcher,
            Err(error) => return Lost::Watch(error),
        };
        let mut tail = Tail::new(building.next_index);
        loop {
            let events = match tokio::time::timeout(SILENCE_MAX, watcher.next()).await {
                Ok(Ok(events)) => events,
                Ok(Err(error)) if is_compacted(&error) => return Lost::Place(error),
                Ok(Err(error)) => return Lost::Watch(error),
                Err(_) => return Lost::Watch(unanswered("a watch tells nothing, not even a beat")),
            };
            for event in events {
                if let Err(lost) = self.take(event, &mut tail, building, revision) {
                    return lost;
                }
            }
        }
    }

    fn take(
        &self,
        event: WatchEvent,
        tail: &mut Tail,
        building: &mut Building,
        revision: &mut i64,
    ) -> Result<(), Lost> {
        let names = self.log.names();
        let key = event.kv.key.0;
        if let Some((first, piece)) = names.read_piece(&key) {
            if event.kind == EventKind::Put {
                tail.piece(first, piece, event.kv.value.0);
            }
        } else if key == names.head().into_bytes() && event.kind == EventKind::Put {
            let head = parse(&event.kv.value.0)?;
            let records = tail.take_through(head).map_err(|gap| Lost::Place(damaged(&gap)))?;
            for (index, record) in records {
                building.record(index, &record, &self.founding).map_err(Lost::Everything)?;
            }
            if tail.next() != head {
                return Err(Lost::Place(damaged(&format!("its head is {head}, its end {}", tail.next()))));
            }
            building.next_index = head;
            *revision = event.kv.mod_revision.0;
            self.publish(building);
        } else if key == names.leader().into_bytes() {
            let lead = match event.kind {
                EventKind::Put => Lead::Held(parse(&event.kv.value.0)?),
                EventKind::Delete => Lead::Vacant,
            };
            self.tell(lead);
        } else if key == names.beat().into_bytes() && event.kind == EventKind::Put {
            self.tell_beat(event.kv.mod_revision.0);
        }
        Ok(())
    }

    /// Asks for the head for as long as the watch keeps up with it.
    async fn look_on(&self) -> Lost {
        let mut behind_since = None;
        loop {
            match self.log.glance().await {
                Ok(glance) => {
                    self.tell_beat(glance.beat);
                    self.tell(glance.leader.map_or(Lead::Vacant, Lead::Held));
                    let known = self.replica.borrow().as_ref().map_or(0, |replica| replica.next_index);
                    if glance.head <= known {
                        behind_since = None;
                    } else if behind_since.get_or_insert_with(Instant::now).elapsed() >= BEHIND_MAX {
                        return Lost::Watch(unanswered("a watch tells nothing of what happened"));
                    }
                }
                Err(error) => {
                    tracing::warn!(error = explain(&error), "etcd cannot be asked for its head");
                    self.tell(Lead::Unknown);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn publish(&self, building: &Building) {
        let Building { state, next_index, latest, events } = building;
        let state = Arc::new(state.clone());
        let replica = Replica { state, next_index: *next_index, latest: *latest, events: *events };
        self.replica.send_replace(Some(replica));
    }

    fn tell(&self, lead: Lead) {
        self.lead.send_if_modified(|known| {
            let is_news = *known != lead;
            *known = lead;
            is_news
        });
    }

    /// A watch that was opened anew tells of old beats again; those are no news.
    fn tell_beat(&self, revision: i64) {
        self.beat.send_if_modified(|known| {
            let is_news = revision > known.revision;
            if is_news {
                *known = Beat { revision, seen_at: Instant::now() };
            }
            is_news
        });
    }
}

impl Building {
    fn new(home: Home) -> Self {
        Self {
            state: State::new(home),
            next_index: 0,
            latest: Timestamp::default(),
            events: Events::default(),
        }
    }

    fn take(&mut self, entry: Entry<'_>, wanted: &Founding) -> Result<(), RecoveryError> {
        match entry {
            Entry::Chunk { number, bytes, .. } => {
                let chunk = chunk::read(number, bytes)?;
                check_founding(&chunk.founded, wanted)?;
                self.latest = self.latest.max(chunk.at);
                self.events.snapped += self.apply(chunk.into_events());
                Ok(())
            }
            Entry::Record { index, bytes } => self.record(index, bytes, wanted),
            Entry::End => Ok(()),
        }
    }

    fn record(&mut self, index: u64, bytes: &[u8], wanted: &Founding) -> Result<(), RecoveryError> {
        match record::read(index, bytes)? {
            Record::Founded(found) => check_founding(&found, wanted),
            Record::Happened { at, events } => {
                self.latest = self.latest.max(at);
                self.events.since += self.apply(events.into_iter());
                Ok(())
            }
        }
    }

    fn apply(&mut self, events: impl Iterator<Item = Event>) -> u64 {
        events.map(|event| self.state.apply(&event)).fold(0, |count, ()| count + 1)
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, Lost> {
    serde_json::from_slice(value).map_err(|error| Lost::Place(damaged(&error)))
}

fn damaged(problem: &impl ToString) -> journal::Error {
    journal::Error::DamagedLog { problem: problem.to_string() }
}

fn unanswered(problem: &str) -> journal::Error {
    ClientError::Unanswered { problem: problem.to_owned() }.into()
}

fn is_compacted(error: &journal::Error) -> bool {
    matches!(error, journal::Error::Etcd(ClientError::Refused { .. }))
}
