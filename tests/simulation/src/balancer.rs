//! Target groups in virtual time, and the scheduler's rounds over them.
//!
//! A target is healthy while a container that runs has its port, and its host is on and within reach. One that was
//! deregistered drains for a while. Calls of the scheduler, and the answers to them, are lost as everybody's are.
//!
//! Only one run of [`RUNS_WITH_ONE_IN`] has a balancer: the others are the same runs that they were without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecsr_core::State;
use ecsr_core::command::Command;
use ecsr_core::ids::Name;
use ecsr_core::state::{Known, Standing, Target, Whereabouts};
use ecsr_core::targets::{self, Observed, TargetType};

use crate::control::Office;
use crate::trace::Fault;
use crate::world::{Party, World};

const RUNS_WITH_ONE_IN: u64 = 8;

/// Target groups that services may name.
pub(crate) const GROUPS: u64 = 2;

/// How often a group is asked, how long a target is probed before it is healthy, and how long it drains.
const ROUND_EVERY: Duration = Duration::from_millis(700);
const HEALTHY_AFTER: Duration = Duration::from_secs(2);
const DRAINS_FOR: Duration = Duration::from_secs(15);

/// How long a failing target goes unnoticed.
const UNHEALTHY_AFTER: Duration = Duration::from_secs(20);

/// The load balancer's own network party.
const CALLER: Party = Party::Client(98);

/// See the module.
#[derive(Debug)]
pub(crate) struct Balancer {
    pub(crate) is_there: bool,
    groups: Mutex<BTreeMap<Name, BTreeMap<Target, Held>>>,
}

/// A target of a group.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// When it was registered or deregistered.
    since: Duration,
    is_draining: bool,
    /// When it was last seen to serve.
    served_at: Option<Duration>,
}

/// The ARN of a group.
pub(crate) fn group_arn(number: u64) -> String {
    format!("arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/group-{number}/{number:016x}")
}

/// Where a host is, towards the groups.
pub(crate) fn whereabouts(host: usize) -> Whereabouts {
    let last = u8::try_from(host + 1).expect("there are few hosts");
    Whereabouts { address: [10, 0, 0, last].into(), answers: true }
}

impl Balancer {
    pub(crate) fn of(seed: u64) -> Self {
        Self { is_there: seed % RUNS_WITH_ONE_IN == RUNS_WITH_ONE_IN / 2, groups: Mutex::default() }
    }

    /// What a group says that it holds.
    fn ask(&self, world: &World, group: &Name) -> BTreeMap<Target, Observed> {
        let now = world.elapsed();
        let mut groups = self.lock();
        let held = groups.entry(group.clone()).or_default();
        held.retain(|_, one| !one.is_draining || now < one.since + DRAINS_FOR);
        for (target, one) in held.iter_mut() {
            one.served_at = if serves(world, target) { Some(now) } else { one.served_at };
        }
        held.iter().map(|(target, one)| (target.clone(), one.observed(now))).collect()
    }

    fn register(&self, world: &World, group: &Name, targets: &BTreeSet<Target>) {
        let since = world.elapsed();
        let mut groups = self.lock();
        let held = groups.entry(group.clone()).or_default();
        for target in targets {
            let fresh = Held { since, is_draining: false, served_at: None };
            held.entry(target.clone()).and_modify(|one| one.is_draining = false).or_insert(fresh);
        }
    }

    fn deregister(&self, world: &World, group: &Name, targets: &BTreeSet<Target>) {
        let since = world.elapsed();
        let mut groups = self.lock();
        for (target, one) in groups.entry(group.clone()).or_default() {
            if targets.contains(target) && !one.is_draining {
                (one.is_draining, one.since) = (true, since);
            }
        }
    }

    /// Whatever takes requests was written down by the scheduler.
    pub(crate) fn unclaimed(&self, state: &State) -> Option<String> {
        let groups = self.lock();
        groups.iter().find_map(|(group, held)| {
            let claimed = claims(state, group);
            let active = held.iter().filter(|(_, one)| !one.is_draining);
            let stray = active.map(|(target, _)| target).find(|target| !claimed.contains_key(target))?;
            Some(format!("{}:{} is registered, and no task knows of it", stray.id, stray.port))
        })
    }

    /// Everything that is not as it should be once the cluster is at rest.
    pub(crate) fn amiss(&self, world: &World, state: &State) -> Vec<String> {
        let groups = self.lock().clone();
        let each = groups.keys().flat_map(|group| {
            let claimed = claims(state, group);
            let observed = self.ask(world, group);
            let wrong = observed.iter().filter_map(|(target, observed)| {
                let of_running = claimed.get(target).is_some_and(|known| *known == Known::Running);
                let is_well = of_running && *observed == Observed::Healthy;
                (!is_well).then(|| format!("{}:{} is {observed:?} in its group", target.id, target.port))
            });
            let missing = claimed.keys().filter(|target| !observed.contains_key(*target));
            let missing = missing.map(|target| format!("{}:{} is not in its group", target.id, target.port));
            wrong.chain(missing).collect::<Vec<_>>()
        });
        let unregistered = state.tasks.values().filter(|task| {
            task.known == Known::Running
                && task.endpoints.iter().any(|one| one.standing() != Some(Standing::Healthy))
        });
        let unregistered =
            unregistered.map(|task| format!("task {} is not healthy in its groups", task.key.id));
        each.chain(unregistered).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, BTreeMap<Target, Held>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn observed(&self, now: Duration) -> Observed {
        let fails = |since: Duration| now >= since + UNHEALTHY_AFTER;
        match self.served_at {
            _ if self.is_draining => Observed::Draining,
            Some(at) if fails(at) => Observed::Unhealthy("Request timed out".to_owned()),
            Some(at) if at >= self.since + HEALTHY_AFTER => Observed::Healthy,
            None if fails(self.since) => Observed::Unhealthy("Request timed out".to_owned()),
            Some(_) | None => Observed::Initial,
        }
    }
}

/// The targets of a group that tasks have claimed, and how these tasks are.
fn claims(state: &State, group: &Name) -> BTreeMap<Target, Known> {
    let mut claims = BTreeMap::new();
    for task in state.tasks.values() {
        let endpoints = task.endpoints.iter().filter(|one| one.group == *group);
        for registration in endpoints.filter_map(|one| one.registration.as_ref()) {
            let known = claims.entry(registration.target.clone()).or_insert(task.known);
            *known = (*known).min(task.known);
        }
    }
    claims
}

/// Whether something answers at a target.
fn serves(world: &World, target: &Target) -> bool {
    world.machines.iter().any(|machine| {
        let is_here = whereabouts(machine.index).address.to_string() == *target.id;
        if !is_here || world.is_cut_off(Party::Host(machine.index)) {
            return false;
        }
        let inner = machine.lock();
        let mut running = inner.containers.values().filter(|one| one.is_running());
        inner.is_on && running.any(|one| one.host_ports().any(|port| port == target.port))
    })
}

/// The scheduler's part: round after round over all groups that a task has to do with. Ends with its process.
pub(crate) async fn balance(world: Arc<World>, office: Arc<Office>) {
    loop {
        tokio::time::sleep(ROUND_EVERY).await;
        let groups: Vec<Name> = office.state().endpoints.keys().cloned().collect();
        for group in groups {
            round(&world, &office, &group).await;
        }
    }
}

/// As `ecsr_scheduler`'s own rounds: what is news becomes durable before anything is changed.
async fn round(world: &World, office: &Office, group: &Name) -> Option<()> {
    let heard = call(world, || world.balancer.ask(world, group)).await?;
    let mut state = office.state();
    let steps = targets::steps(&state, group, TargetType::Ip, Some(&heard));
    if !steps.reports.is_empty() {
        let observed = Command::TargetsObserved { group: group.clone(), reports: steps.reports };
        state = office.submit(observed)?.await.ok()?.ok()?.state;
    }
    let steps = targets::steps(&state, group, TargetType::Ip, Some(&heard));
    if !steps.deregister.is_empty() {
        call(world, || world.balancer.deregister(world, group, &steps.deregister)).await?;
    }
    if !steps.register.is_empty() {
        call(world, || world.balancer.register(world, group, &steps.register)).await?;
    }
    Some(())
}

/// One call to the load balancer; `None` if no answer is heard.
async fn call<T>(world: &World, act: impl FnOnce() -> T) -> Option<T> {
    if !world.cross(CALLER, Fault::CallLost).await {
        return None;
    }
    let answer = act();
    world.cross(CALLER, Fault::AnswerLost).await.then_some(answer)
}
