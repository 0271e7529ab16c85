//! A target group as the traffic sees it: which targets may be picked, and which of them is next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::clock;
use super::health::Standing;
use super::live::{InFlight, Live, Tag, tag};
use super::pick;
use super::settings::{Algorithm, GroupSettings};
use crate::model::{Arn, TargetGroup};

/// Most targets that one request is offered to. More would only make a client wait longer for the same answer.
pub(super) const ATTEMPTS_MAX: usize = 3;

/// A target group, the same for as long as it exists; what it is like is replaced as a whole.
pub(super) struct Group {
    pub(super) arn: Arn,
    pub(super) tag: Tag,
    view: ArcSwap<View>,
    turn: AtomicUsize,
    /// Held while the view is replaced.
    refreshing: Mutex<()>,
}

/// What a group is like.
pub(super) struct View {
    pub(super) spec: Arc<TargetGroup>,
    pub(super) settings: GroupSettings,
    /// Registered and not draining.
    pub(super) members: Vec<Arc<Live>>,
    /// Those of them that get traffic: the healthy, or all when too few are.
    pub(super) usable: Vec<Arc<Live>>,
}

/// The targets that a request has been offered to already.
#[derive(Default)]
pub(super) struct Tried {
    targets: [Option<Tag>; ATTEMPTS_MAX],
    count: usize,
}

impl Group {
    pub(super) fn new(spec: Arc<TargetGroup>, settings: GroupSettings, members: Vec<Arc<Live>>) -> Self {
        Self {
            arn: spec.arn.clone(),
            tag: tag(&spec.arn, ""),
            view: ArcSwap::from_pointee(View::new(spec, settings, members)),
            turn: AtomicUsize::new(0),
            refreshing: Mutex::new(()),
        }
    }

    pub(super) fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    pub(super) fn replace(&self, spec: Arc<TargetGroup>, settings: GroupSettings, members: Vec<Arc<Live>>) {
        let _alone = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        self.view.store(Arc::new(View::new(spec, settings, members)));
    }

    /// A target's health changed: tells anew which are usable.
    pub(super) fn refresh(&self) {
        let _alone = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.view.load_full();
        self.view.store(Arc::new(View::new(old.spec.clone(), old.settings.clone(), old.members.clone())));
    }

    /// The next target by the group's algorithm that has not been tried; none if there is none.
    pub(super) fn next(&self, tried: &Tried) -> Option<InFlight> {
        let view = self.view.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        view.choose(tried, |wanted| view.by_algorithm(turn, wanted))
    }

    /// The target of a flow.
    pub(super) fn of_flow(&self, flow: u64, tried: &Tried) -> Option<InFlight> {
        let view = self.view.load();
        view.choose(tried, |wanted| {
            pick::by_flow(flow, view.usable.iter().map(|live| first_half(live.tag)), wanted)
        })
    }

    /// The target with this tag, if it is usable.
    pub(super) fn tagged(&self, tag: Tag) -> Option<InFlight> {
        let view = self.view.load();
        let now = clock::now();
        view.usable.iter().find(|live| live.tag == tag && !live.is_ejected(now))?.enter()
    }
}

impl View {
    fn new(spec: Arc<TargetGroup>, settings: GroupSettings, members: Vec<Arc<Live>>) -> Self {
        let healthy = members.iter().filter(|live| live.standing() == Standing::Healthy);
        let usable: Vec<_> = healthy.cloned().collect();
        let wanted = settings.healthy_min.max((members.len() * settings.healthy_percent_min).div_ceil(100));
        let usable = if usable.len() < wanted.max(1) { members.clone() } else { usable };
        Self { spec, settings, members, usable }
    }

    /// Picks among those that are neither tried nor ejected; when there is none, among the ejected too. A target that began
    /// to drain since this view was made turns the request away, which is then offered to the next.
    fn choose(
        &self,
        tried: &Tried,
        pick: impl Fn(&mut dyn FnMut(usize) -> bool) -> Option<usize>,
    ) -> Option<InFlight> {
        let now = clock::now();
        let fresh = |index: usize| !tried.has(self.usable[index].tag) && !self.usable[index].is_draining();
        let chosen = pick(&mut |index| fresh(index) && !self.usable[index].is_ejected(now));
        let chosen = chosen.or_else(|| pick(&mut |index| fresh(index)))?;
        self.usable[chosen].enter().or_else(|| {
            self.usable.iter().find_map(|live| if tried.has(live.tag) { None } else { live.enter() })
        })
    }

    fn by_algorithm(&self, turn: usize, wanted: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        let count = self.usable.len();
        match self.settings.algorithm {
            Algorithm::LeastOutstanding => {
                pick::least(count, turn, wanted, |index| self.usable[index].outstanding())
            }
            Algorithm::RoundRobin if self.settings.slow_start.is_zero() => pick::in_turn(count, turn, wanted),
            Algorithm::RoundRobin => {
                let now = clock::now();
                let share = |index: usize| self.usable[index].share(now, self.settings.slow_start);
                let takes = |index: usize| fastrand::u64(..100) < share(index);
                pick::in_turn(count, turn, |index| wanted(index) && takes(index))
                    .or_else(|| pick::in_turn(count, turn, wanted))
            }
            Algorithm::WeightedRandom => {
                let now = clock::now();
                let weights: Vec<_> = (0..count)
                    .map(|index| {
                        let share = || self.usable[index].share(now, self.settings.slow_start);
                        if wanted(index) { share() } else { 0 }
                    })
                    .collect();
                pick::by_weight(weights.into_iter(), fastrand::u64(..))
            }
        }
    }
}

impl Tried {
    pub(super) fn add(&mut self, live: &Live) {
        if let Some(place) = self.targets.get_mut(self.count) {
            *place = Some(live.tag);
        }
        self.count += 1;
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.count >= ATTEMPTS_MAX
    }

    fn has(&self, tag: Tag) -> bool {
        self.targets.contains(&Some(tag))
    }
}

/// Eight bytes of a hash are a hash.
pub(super) fn first_half(tag: Tag) -> u64 {
    let mut half = [0; 8];
    half.copy_from_slice(&tag[..8]);
    u64::from_le_bytes(half)
}
