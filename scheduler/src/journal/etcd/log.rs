//! The log on etcd: what may be done to it, by whom.
//!
//! The head is what commits: an append puts its pieces, and in its last transaction the head after them. Pieces that
//! no head ever covered are garbage, which the next append removes. Every transaction of a leader compares the fence
//! and the head it builds upon, so it can be repeated until it is known to have happened: twice it cannot.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::client::{Client, Error as ClientError};
use super::layout::{self, Names, Pointer};
use super::location::Location;
use super::reign::Reign;
use super::tail::Tail;
use super::watch::Watcher;
use super::wire::{
    Bytes, Compare, Delete, KeyValue, Number, Op, Range, Ranged, Txn, Txned, Watch, WatchCreate,
};
use crate::journal::{Entry, Error, Visitor};

const RANGE: &str = "/v3/kv/range";
const TXN: &str = "/v3/kv/txn";
const WATCH: &str = "/v3/watch";

/// Most pieces of the log that are read at once: of a MiB each at the most, they fit in one answer.
const PAGE_PIECES: i64 = 32;

/// Most keys that one transaction removes, so that none holds up etcd for long.
const REMOVED_AT_ONCE: i64 = 1000;

/// Most such transactions after one snapshot; what is left is removed after the next one.
const REMOVALS_MAX: usize = 50;

/// How long a write of which nothing is certain is repeated before the leader gives up and with it its reign. Long
/// enough for etcd to choose a leader of its own, short enough for a client that waits.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Pause before such a write is repeated.
const WRITE_RETRY: Duration = Duration::from_millis(50);

/// Who leads, as everybody can read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leader {
    /// Base URL at which clients and agents reach it.
    pub url: String,
    /// Different for each candidacy, so that a candidate knows itself.
    pub candidacy: String,
}

/// The log at one moment, as a majority of etcd knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glance {
    pub revision: i64,
    /// The index of the next record.
    pub head: u64,
    pub leader: Option<Leader>,
    /// The create revision of the leader's key; 0 if there is none.
    pub fence: i64,
    /// The revision of the newest beat of any leader; 0 if there never was one.
    pub beat: i64,
    term: Option<KeyValue>,
}

/// One journal on one etcd cluster.
#[derive(Debug)]
pub(crate) struct Log {
    client: Client,
    names: Names,
}

impl Log {
    pub(crate) fn open(location: &Location) -> Result<Self, Error> {
        Ok(Self { client: Client::new(location)?, names: Names::new(&location.prefix) })
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Looks at the log as it is now: nothing that happened before this call is missed.
    pub(crate) async fn glance(&self) -> Result<Glance, Error> {
        let names = [self.names.head(), self.names.leader(), self.names.term(), self.names.beat()];
        let success = names.iter().map(|name| Op::Range(Range::one(name))).collect();
        let found: Txned = self.client.call(TXN, &Txn { success, ..Txn::default() }).await?;
        let leader = found.found(1);
        Ok(Glance {
            revision: found.header.revision.0,
            head: read_head(found.found(0))?,
            leader: leader.map(|found| parse(&found.value.0, "leader")).transpose()?,
            fence: leader.map_or(0, |found| found.create_revision.0),
            beat: found.found(3).map_or(0, |found| found.mod_revision.0),
            term: found.found(2).cloned(),
        })
    }

    /// Shows everything up to the head; gives the index of the next record, and the revision at which that was so.
    pub(crate) async fn load(&self, visit: &mut Visitor<'_>) -> Result<(u64, i64), Error> {
        let Glance { revision, head, .. } = self.glance().await?;
        let pointer = self.read_one(&self.names.snapshot(), revision).await?;
        let mut next = 0;
        if let Some(pointer) = pointer {
            let Pointer { through, chunks } = parse(&pointer.value.0, "snapshot")?;
            for number in 0..chunks {
                let chunk = self.read_one(&self.names.chunk(through, number), revision).await?;
                let chunk =
                    chunk.ok_or_else(|| damaged(format!("chunk {number} of its snapshot is missing")))?;
                visit(Entry::Chunk { through, number, bytes: &chunk.value.0 })?;
            }
            next = through + 1;
        }
        let next = self.load_records(next, head, revision, visit).await?;
        visit(Entry::End)?;
        Ok((next, revision))
    }

    async fn load_records(
        &self,
        mut next: u64,
        head: u64,
        revision: i64,
        visit: &mut Visitor<'_>,
    ) -> Result<u64, Error> {
        let mut from = self.names.log();
        let mut tail = Tail::new(next);
        while next < head {
            let range = Range {
                revision: Some(Number(revision)),
                limit: Some(Number(PAGE_PIECES)),
                ..Range::between(&from, &self.names.append(head))
            };
            let page: Ranged = self.client.fetch(RANGE, &range).await?;
            let last = page.kvs.last().ok_or_else(|| damaged(format!("record {next} is missing")))?;
            from = layout::after(&String::from_utf8_lossy(&last.key.0));
            let is_last_page = !page.more;
            for KeyValue { key, value, .. } in page.kvs {
                let (first, piece) = self.names.read_piece(&key.0).ok_or_else(|| damaged(strange(&key)))?;
                tail.piece(first, piece, value.0);
            }
            // The last append on a page may go on on the next one.
            let whole = if is_last_page { head } else { tail.last_first().min(head) };
            for (index, record) in tail.take_through(whole).map_err(|gap| damaged(gap.to_string()))? {
                visit(Entry::Record { index, bytes: &record })?;
            }
            next = tail.next();
            if is_last_page && next < head {
                return Err(damaged(format!("record {next} is missing")));
            }
        }
        Ok(next)
    }

    async fn read_one(&self, key: &str, revision: i64) -> Result<Option<KeyValue>, Error> {
        let range = Range { revision: Some(Number(revision)), ..Range::one(key) };
        let found: Ranged = self.client.fetch(RANGE, &range).await?;
        Ok(found.kvs.into_iter().next())
    }

    /// Everything that happens to our keys from that revision on.
    pub(crate) async fn watch(&self, from: &str, end: &str, revision: i64) -> Result<Watcher, Error> {
        let start_revision = Number(revision);
        let create_request =
            WatchCreate { key: from.into(), range_end: end.into(), start_revision, fragment: true };
        let body = self.client.stream(WATCH, &Watch { create_request }).await?;
        Ok(Watcher::new(body))
    }

    /// A watch that went silent was held by a member that is of no use.
    pub(crate) fn prefer_another_member(&self) {
        self.client.prefer_another();
    }

    /// Tries to become the leader; `None` if there is one.
    pub(crate) async fn campaign(&self, candidate: &Leader, seen: &Glance) -> Result<Option<Reign>, Error> {
        let asked_at = Instant::now();
        let term = 1 + seen.term.as_ref().map_or(Ok(0), |found| parse::<u64>(&found.value.0, "term"))?;
        let (leader_key, term_key) = (self.names.leader(), self.names.term());
        let term_revision = seen.term.as_ref().map_or(0, |found| found.mod_revision.0);
        let value = serde_json::to_vec(candidate).expect("texts always serialise");
        let txn = Txn {
            compare: vec![Compare::created(&leader_key, 0), Compare::modified(&term_key, term_revision)],
            success: vec![
                Op::put(&leader_key, value),
                Op::put(&term_key, term.to_string()),
                Op::put(&self.names.beat(), term.to_string()),
            ],
            failure: vec![Op::Range(Range::one(&leader_key))],
        };
        let done: Txned = self.client.call(TXN, &txn).await?;
        if done.succeeded {
            return Ok(Some(Reign::new(term, done.header.revision.0, asked_at)));
        }
        // An earlier attempt may have taken place without its answer coming through.
        let holder = done.found(0);
        let leader: Option<Leader> = holder.map(|found| parse(&found.value.0, "leader")).transpose()?;
        let is_own = leader.is_some_and(|leader| leader.candidacy == candidate.candidacy);
        let fence = holder.filter(|_| is_own).map(|found| found.create_revision.0);
        Ok(fence.map(|fence| Reign::new(term, fence, asked_at)))
    }

    /// Writes the reign's next beat.
    pub(crate) async fn renew(&self, reign: &Reign) -> Result<(), Error> {
        let asked_at = Instant::now();
        let txn = Txn {
            compare: vec![self.fenced(reign)],
            success: vec![Op::put(&self.names.beat(), reign.term.to_string())],
            failure: Vec::new(),
        };
        let done: Txned = self.client.call(TXN, &txn).await?;
        if !done.succeeded {
            reign.lose();
            return Err(superseded(reign));
        }
        reign.renewed(asked_at);
        Ok(())
    }

    /// Takes the lead from who wrote that beat and none after it. For who has seen no other for the time of a lease: by
    /// then that leader has been uncertain for a while. False if there was another beat.
    pub(crate) async fn depose(&self, beat: i64) -> Result<bool, Error> {
        let txn = Txn {
            compare: vec![Compare::modified(&self.names.beat(), beat)],
            success: vec![Op::delete_one(&self.names.leader())],
            failure: Vec::new(),
        };
        let done: Txned = self.client.call(TXN, &txn).await?;
        Ok(done.succeeded)
    }

    /// Gives the lead back. Where that fails, the others take it in the time of a lease.
    pub(crate) async fn resign(&self, reign: &Reign) {
        reign.lose();
        let success = vec![Op::delete_one(&self.names.leader())];
        let txn = Txn { compare: vec![self.fenced(reign)], success, failure: Vec::new() };
        let _: Result<Txned, ClientError> = self.client.call(TXN, &txn).await;
    }

    /// Appends records, all or none, whatever it takes to know which.
    pub(crate) async fn append(
        &self,
        reign: &Reign,
        first_index: u64,
        records: &[Vec<u8>],
    ) -> Result<(), Error> {
        let count = u64::try_from(records.len()).expect("a list is shorter than 2^64");
        let head = first_index + count;
        let pieces = layout::pack(records);
        let last = pieces.len() - 1;
        for (number, piece) in pieces.into_iter().enumerate() {
            let key = self.names.piece(first_index, number);
            let mut success =
                vec![Op::delete(&layout::after(&key), &self.names.log_end()), Op::put(&key, piece)];
            if number == last {
                success.push(Op::put(&self.names.head(), head.to_string()));
            }
            let compare = vec![self.fenced(reign), self.at_head(first_index)];
            let aim = if number == last { Some(head) } else { None };
            self.write(reign, compare, success, aim).await?;
        }
        Ok(())
    }

    fn fenced(&self, reign: &Reign) -> Compare {
        Compare::created(&self.names.leader(), reign.fence)
    }

    fn at_head(&self, index: u64) -> Compare {
        match index {
            0 => Compare::created(&self.names.head(), 0),
            index => Compare::value(&self.names.head(), index.to_string()),
        }
    }

    /// One transaction of the leader, repeated until it is known whether it took place. It may be found to have done so
    /// by the head standing where it was to put it, which only this reign can have done.
    async fn write(
        &self,
        reign: &Reign,
        compare: Vec<Compare>,
        success: Vec<Op>,
        aim: Option<u64>,
    ) -> Result<(), Error> {
        let failure =
            vec![Op::Range(Range::one(&self.names.leader())), Op::Range(Range::one(&self.names.head()))];
        let txn = Txn { compare, success, failure };
        let began = Instant::now();
        let mut is_doubtful = false;
        loop {
            if reign.is_lost() {
                return Err(superseded(reign));
            }
            match self.client.call::<_, Txned>(TXN, &txn).await {
                Ok(done) if done.succeeded => return Ok(()),
                Ok(contradicted) => return Self::explain(reign, &contradicted, aim),
                Err(ClientError::Unanswered { problem }) => {
                    tracing::warn!(problem, "etcd did not answer a write; repeating it");
                    is_doubtful = true;
                }
                Err(certain) if !is_doubtful => return Err(certain.into()),
                Err(refused) => tracing::warn!(%refused, "etcd refuses to repeat a write"),
            }
            if began.elapsed() > WRITE_PATIENCE {
                reign.lose();
                return Err(Error::Uncertain);
            }
            tokio::time::sleep(WRITE_RETRY).await;
        }
    }

    fn explain(reign: &Reign, contradicted: &Txned, aim: Option<u64>) -> Result<(), Error> {
        let is_ours = contradicted.found(0).is_some_and(|leader| leader.create_revision.0 == reign.fence);
        let head = read_head(contradicted.found(1))?;
        if is_ours && aim == Some(head) {
            return Ok(());
        }
        reign.lose();
        if is_ours {
            return Err(damaged(format!("its head is {head}, which nobody can have put there")));
        }
        Err(superseded(reign))
    }

    /// Keeps a chunk of a snapshot that does not count yet.
    pub(crate) async fn put_chunk(
        &self,
        reign: &Reign,
        through: u64,
        number: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let put = Op::put(&self.names.chunk(through, number), bytes);
        self.write(reign, vec![self.fenced(reign)], vec![put], None).await
    }

    /// Makes a snapshot count, and removes what it stands for: as much of it as can be done in a short time.
    pub(crate) async fn end_snapshot(&self, reign: &Reign, through: u64, chunks: u64) -> Result<(), Error> {
        let kept = Range {
            keys_only: true,
            ..Range::between(&self.names.chunks(through), &self.names.chunks_end(through))
        };
        let kept: Ranged = self.client.call(RANGE, &kept).await?;
        let kept = u64::try_from(kept.kvs.len()).expect("a list is shorter than 2^64");
        if kept != chunks {
            return Err(Error::Incomplete { through, chunks, kept });
        }
        let pointer = serde_json::to_vec(&Pointer { through, chunks }).expect("numbers always serialise");
        let put = Op::put(&self.names.snapshot(), pointer);
        self.write(reign, vec![self.fenced(reign)], vec![put], None).await?;
        if let Err(error) = self.remove_superseded(reign, through).await {
            tracing::warn!(%error, "what a snapshot stands for could not all be removed; the next one will see to it");
        }
        Ok(())
    }

    async fn remove_superseded(&self, reign: &Reign, through: u64) -> Result<(), Error> {
        let older = Op::delete(&self.names.snap(), &self.names.chunks(through));
        let given_up = Op::delete(&self.names.chunks_end(through), &self.names.snap_end());
        self.write(reign, vec![self.fenced(reign)], vec![older, given_up], None).await?;
        for _ in 0..REMOVALS_MAX {
            // The last append that begins before the first record to stay may hold that record.
            let range = Range {
                keys_only: true,
                limit: Some(Number(REMOVED_AT_ONCE)),
                ..Range::between(&self.names.log(), &self.names.append(through + 2))
            };
            let page: Ranged = self.client.call(RANGE, &range).await?;
            let first = page.kvs.last().and_then(|last| self.names.read_piece(&last.key.0));
            let Some((first, _)) = first.filter(|_| page.kvs.len() > 1) else { return Ok(()) };
            let superseded = Delete {
                key: (&self.names.log()).into(),
                range_end: Some((&self.names.append(first)).into()),
            };
            self.write(reign, vec![self.fenced(reign)], vec![Op::Delete(superseded)], None).await?;
            if !page.more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A value that is not the log's, and its revision; 0 if there is none.
    pub(crate) async fn read_value(&self, key: &str) -> Result<(Option<Vec<u8>>, i64, i64), Error> {
        let found: Ranged = self.client.call(RANGE, &Range::one(key)).await?;
        let revision = found.header.revision.0;
        let value = found.kvs.into_iter().next();
        Ok(value.map_or((None, 0, revision), |value| (Some(value.value.0), value.mod_revision.0, revision)))
    }

    /// Replaces such a value if it was last written at that revision. False if it was not. Repeated if nothing is
    /// certain, which may then answer false for what was done.
    pub(crate) async fn replace_value(&self, key: &str, value: &[u8], revision: i64) -> Result<bool, Error> {
        let txn = Txn {
            compare: vec![Compare::modified(key, revision)],
            success: vec![Op::put(key, value)],
            failure: vec![Op::Range(Range::one(key))],
        };
        let done: Txned = self.client.call(TXN, &txn).await?;
        Ok(done.succeeded || done.found(0).is_some_and(|found| found.value.0 == value))
    }
}

fn read_head(found: Option<&KeyValue>) -> Result<u64, Error> {
    found.map_or(Ok(0), |found| parse(&found.value.0, "head"))
}

fn parse<T: serde::de::DeserializeOwned>(value: &[u8], key: &str) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|error| damaged(format!("its key {key} cannot be read: {error}")))
}

fn strange(key: &Bytes) -> String {
    format!("there is a key {} among its records", String::from_utf8_lossy(&key.0))
}

fn damaged(problem: String) -> Error {
    Error::DamagedLog { problem }
}

fn superseded(reign: &Reign) -> Error {
    Error::Deposed { term: reign.term }
}
