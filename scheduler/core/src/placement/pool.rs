//! Every instance of a cluster, in the order in which a placement would take them.
//!
//! Instances that share the values of all attributes that the strategies spread over form a class: what spreads ranks
//! them alike, so within a class their own ranks decide, and a heap keeps them in order. Among the classes a second heap
//! holds the score of each one's best instance. Taking a task changes that instance and the counts of its buckets, which
//! only grow; so a score in the second heap is never above the true one, and one that has fallen behind is corrected
//! when it comes up. One placement thus costs one look at each instance and a few steps in two heaps for each task.
//!
//! Invariant: [`Pool::take`] gives what [`super::plain`] would choose.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::iter::Peekable;
use std::sync::Arc;

use super::candidate::Candidate;
use super::score::{Ranks, Score, first_turn, own_ranks};
use super::{Ask, Shortfall, peers};
use crate::context::Context;
use crate::ids::{InstanceId, InstanceKey};
use crate::state::{Instance, State};
use crate::task_definition::{PLACEMENT_STRATEGIES_MAX, SpreadField, Strategy};

/// The attribute that offers keep at hand.
const ZONE: &str = "ecs.availability-zone";

/// Buckets, and classes, that are looked for one by one before they are looked up: a cluster has a few zones.
const FIRST_MAX: usize = 8;

/// All candidates of one placement.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    state: &'a State,
    ask: &'a Ask<'a>,
    /// In the order of their ids.
    candidates: Vec<Candidate<'a>>,
    /// Where the tie-break begins to count.
    first_turn: usize,
    /// One for each strategy; of use to those that spread over an attribute.
    spreads: Vec<Spread<'a>>,
    classes: Vec<Class>,
    /// The best of each class, by a score that is not above the true one.
    queue: BinaryHeap<Reverse<(Score, usize)>>,
}

/// The peers of the group by the value of an attribute. Instances that lack it share a bucket of their own.
#[derive(Debug, Default)]
struct Spread<'a> {
    buckets: BTreeMap<&'a str, u32>,
    /// Those that were made first. Names of zones are kept once, so most values are found here by where they are.
    first: Vec<(&'a str, u32)>,
    counts: Vec<u32>,
}

/// The instances that are alike to all strategies that spread over attributes.
#[derive(Debug)]
struct Class {
    /// The bucket of each spread.
    buckets: Ranks,
    /// By their own ranks.
    members: BinaryHeap<Reverse<(Score, u32)>>,
}

impl<'a> Pool<'a> {
    /// Looks at every instance once. `taken` is what this placement has already put on some of them.
    pub fn gather(
        state: &'a State,
        ask: &'a Ask<'a>,
        taken: &BTreeMap<InstanceId, u32>,
        context: &mut Context,
    ) -> Self {
        let candidates = candidates(state, ask, taken);
        let mut pool = Self {
            state,
            ask,
            first_turn: first_turn(candidates.len(), context),
            spreads: ask.strategy.iter().map(|_| Spread::default()).collect(),
            candidates,
            classes: Vec::new(),
            queue: BinaryHeap::new(),
        };
        pool.sort(context);
        pool
    }

    /// Takes the best instance for one more task.
    pub fn take(&mut self, context: &mut Context) -> Option<&'a Arc<Instance>> {
        loop {
            let Reverse((score, class)) = self.queue.pop()?;
            let Some((best, index)) = self.best(class) else { continue };
            if best == score {
                return Some(self.promise(class, index, context));
            }
            self.queue.push(Reverse((best, class)));
        }
    }

    /// Sorts the candidates that may fit into classes, and counts the peers of all.
    fn sort(&mut self, context: &mut Context) {
        let mut classes: BTreeMap<Ranks, usize> = BTreeMap::new();
        let mut members: Vec<Vec<Reverse<(Score, u32)>>> = Vec::new();
        for index in 0..self.candidates.len() {
            let candidate = self.candidates[index];
            let has_room = candidate.has_room(self.ask.demand);
            if !has_room && candidate.peers() == 0 {
                continue;
            }
            let buckets = self.buckets(&candidate);
            self.count(&buckets, candidate.peers());
            if has_room {
                let first = self.classes.iter().take(FIRST_MAX).position(|class| class.buckets == buckets);
                let class = first.unwrap_or_else(|| {
                    *classes.entry(buckets).or_insert_with(|| {
                        self.classes.push(Class { buckets, members: BinaryHeap::new() });
                        members.push(Vec::new());
                        members.len() - 1
                    })
                });
                members[class].push(self.member(index, context));
            }
        }
        for (index, members) in members.into_iter().enumerate() {
            self.classes[index].members = members.into();
            self.enqueue(index);
        }
    }

    fn member(&self, index: usize, context: &mut Context) -> Reverse<(Score, u32)> {
        let candidate = &self.candidates[index];
        let ranks = own_ranks(self.ask.strategy, self.ask.demand, candidate, context);
        let behind = if index < self.first_turn { self.candidates.len() } else { 0 };
        let short = |number: usize| u32::try_from(number).expect("a cluster has fewer than 2^32 instances");
        Reverse((Score { ranks, turn: short(index + behind - self.first_turn) }, short(index)))
    }

    fn buckets(&mut self, candidate: &Candidate<'a>) -> Ranks {
        let mut buckets = Ranks::default();
        for (slot, strategy) in self.ask.strategy.iter().enumerate().take(PLACEMENT_STRATEGIES_MAX) {
            match strategy {
                Strategy::Spread(SpreadField::Attribute(name)) => {
                    buckets[slot] = self.spreads[slot].bucket(value(candidate, name));
                }
                Strategy::Spread(SpreadField::InstanceId)
                | Strategy::Random
                | Strategy::BinpackCpu
                | Strategy::BinpackMemory => {}
            }
        }
        buckets
    }

    fn count(&mut self, buckets: &Ranks, peers: u32) {
        for (spread, bucket) in self.spreads.iter_mut().zip(buckets) {
            if let Some(count) = spread.counts.get_mut(*bucket as usize) {
                *count += peers;
            }
        }
    }

    /// Puts a class in line by the score of its first member, whether or not that one fits.
    fn enqueue(&mut self, class: usize) {
        let first = self.classes[class].members.peek().map(|Reverse((own, _))| *own);
        if let Some(own) = first {
            self.queue.push(Reverse((self.score(class, own), class)));
        }
    }

    /// The first member of a class that fits, after dropping those before it: what does not fit now never will, since
    /// a placement only ever takes room.
    fn best(&mut self, class: usize) -> Option<(Score, usize)> {
        loop {
            let Reverse((own, index)) = *self.classes[class].members.peek()?;
            if self.candidates[index as usize].fits(self.state, self.ask) {
                return Some((self.score(class, own), index as usize));
            }
            self.classes[class].members.pop();
        }
    }

    /// Own ranks and those of the buckets together.
    fn score(&self, class: usize, own: Score) -> Score {
        let mut score = own;
        for (slot, (spread, bucket)) in self.spreads.iter().zip(&self.classes[class].buckets).enumerate() {
            if let Some(count) = spread.counts.get(*bucket as usize) {
                score.ranks[slot] = *count;
            }
        }
        score
    }

    /// Promises one task's share of the first member of a class.
    fn promise(&mut self, class: usize, index: usize, context: &mut Context) -> &'a Arc<Instance> {
        self.classes[class].members.pop();
        self.candidates[index].taken += 1;
        let buckets = self.classes[class].buckets;
        self.count(&buckets, 1);
        if self.candidates[index].has_room(self.ask.demand) {
            let member = self.member(index, context);
            self.classes[class].members.push(member);
        }
        self.enqueue(class);
        self.candidates[index].instance()
    }
}

impl<'a> Spread<'a> {
    fn bucket(&mut self, value: &'a str) -> u32 {
        if let Some((_, bucket)) = self.first.iter().find(|(known, _)| std::ptr::eq(*known, value)) {
            return *bucket;
        }
        let bucket = *self.buckets.entry(value).or_insert_with(|| {
            self.counts.push(0);
            u32::try_from(self.counts.len() - 1).expect("fewer buckets than instances")
        });
        if self.first.len() < FIRST_MAX {
            self.first.push((value, bucket));
        }
        bucket
    }
}

fn value<'a>(candidate: &Candidate<'a>, attribute: &str) -> &'a str {
    let value = match attribute {
        ZONE => candidate.offer.zone.as_deref(),
        other => candidate.instance().attribute(other),
    };
    value.unwrap_or_default()
}

/// What each instance lacks for one more task, in the order of their ids.
pub(super) fn shortfalls(
    state: &State,
    ask: &Ask<'_>,
    taken: &BTreeMap<InstanceId, u32>,
) -> impl Iterator<Item = (InstanceKey, Shortfall)> {
    let lacking =
        |candidate: Candidate<'_>| Some((candidate.instance().key.clone(), candidate.shortfall(state, ask)?));
    candidates(state, ask, taken).into_iter().filter_map(lacking)
}

/// The instances of the cluster beside what is known of them: all of it is in the order of ids.
fn candidates<'a>(state: &'a State, ask: &Ask<'_>, taken: &BTreeMap<InstanceId, u32>) -> Vec<Candidate<'a>> {
    let mut usage = state.usage.iter().peekable();
    let mut peers = peers(state, ask).into_iter().flat_map(|peers| &peers.by_instance).peekable();
    let mut taken = taken.iter().peekable();
    let mut candidates = Vec::with_capacity(state.offers.len());
    for (key, offer) in state.offers_of(ask.cluster) {
        let usage = beside(&mut usage, key.id, |(other, _)| **other).map(|(_, usage)| *usage);
        let peers = beside(&mut peers, key.id, |(other, _)| **other).map(|(_, count)| *count);
        let taken = beside(&mut taken, key.id, |(other, _)| **other).map(|(_, count)| *count);
        let candidate = Candidate::new(offer, usage.unwrap_or_default(), peers.unwrap_or_default());
        candidates.extend(candidate.map(|candidate| candidate.with_taken(taken.unwrap_or_default())));
    }
    candidates
}

/// What a list that is in the order of ids says of one of them, if it has come to it.
pub(super) fn beside<T>(
    list: &mut Peekable<impl Iterator<Item = T>>,
    wanted: InstanceId,
    id: impl Fn(&T) -> InstanceId,
) -> Option<T> {
    loop {
        match id(list.peek()?).cmp(&wanted) {
            Ordering::Less => list.next(),
            Ordering::Equal => return list.next(),
            Ordering::Greater => return None,
        };
    }
}
