//! What is derived of tasks, gathered over all of them at once.
//!
//! While tasks come one by one, each changes half a dozen persistent maps. When all of them come together, as at a
//! start, everything is counted in plain maps first, and each persistent one is made once, in its order.
//!
//! Invariant: what is gathered is what `State::apply` would have kept, proven by `check`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_api::Timestamp;
use imbl::OrdMap;

use super::apply::{ailing, stopped_at};
use super::host::footing;
use super::strength::strengthened;
use super::{Desired, LaunchType, Offer, Peers, State, Strength, Tally, Task, Tenants, Usage};
use crate::ids::{DefinitionId, DeploymentId, GroupKey, InstanceId, Name, ServiceKey, TaskId, TaskKey};

/// What is derived of tasks, in plain maps.
#[derive(Debug, Default)]
struct Gathered {
    tenants: BTreeMap<InstanceId, Tenants>,
    usage: BTreeMap<InstanceId, Usage>,
    service_tasks: BTreeMap<ServiceKey, Vec<TaskId>>,
    stopped_tasks: Vec<(Timestamp, TaskKey)>,
    peers: BTreeMap<GroupKey, Peers>,
    strengths: BTreeMap<DeploymentId, Strength>,
    ailing: BTreeMap<ServiceKey, u32>,
    tallies: BTreeMap<(Name, LaunchType), Tally>,
    patterns: BTreeMap<DefinitionId, u32>,
    endpoints: BTreeMap<Name, OrdMap<TaskKey, i64>>,
}

impl State {
    /// Puts all tasks into a state that counts none so far.
    pub(super) fn put_all_tasks(&mut self, tasks: BTreeMap<TaskKey, Arc<Task>>) {
        let mut gathered = Gathered::default();
        let mut by_instance: BTreeMap<InstanceId, Vec<&Task>> = BTreeMap::new();
        let mut by_deployment: BTreeMap<Option<DeploymentId>, Vec<&Task>> = BTreeMap::new();
        for task in tasks.values() {
            by_deployment.entry(task.deployment()).or_default().push(task);
            for group in task.groups() {
                let tasks = gathered.endpoints.entry(group.clone()).or_default();
                tasks.insert(task.key.clone(), task.version);
            }
            match stopped_at(task) {
                Some(stopped_at) => gathered.stopped_tasks.push((stopped_at, task.key.clone())),
                None => by_instance.entry(task.instance).or_default().push(task),
            }
        }
        let mut offers = BTreeMap::new();
        for (instance, tasks) in by_instance {
            gathered.take_instance(instance, &tasks);
            if let Some(offer) = tasks.first().and_then(|task| self.offers.get(&task.host())) {
                offers.insert(instance, offer);
            }
        }
        let companies =
            by_deployment.values().flat_map(|tasks| tasks.chunk_by(|one, next| company(one, next)));
        companies.for_each(|tasks| gathered.take_company(tasks, &offers));
        self.keep(gathered);
        for task in tasks.into_values() {
            self.tasks.insert(task);
        }
    }

    fn keep(&mut self, mut gathered: Gathered) {
        self.tenants = kept(gathered.tenants, Arc::new);
        self.usage = kept(gathered.usage, |usage| usage);
        self.service_tasks = kept(gathered.service_tasks, |ids| ids.into_iter().collect());
        gathered.stopped_tasks.sort_unstable();
        self.stopped_tasks = gathered.stopped_tasks.into_iter().collect();
        self.peers = kept(gathered.peers, Arc::new);
        self.strengths = kept(gathered.strengths, |strength| strength);
        self.ailing = kept(gathered.ailing, |count| count);
        self.endpoints = kept(gathered.endpoints, |tasks| tasks);
        self.tallies = kept(gathered.tallies, |tally| tally);
        let patterns = gathered.patterns.into_iter().filter_map(|(definition, tasks)| {
            let mut pattern = self.patterns.get(&definition)?.clone();
            pattern.tasks = tasks;
            Some((definition, pattern))
        });
        self.patterns = patterns.collect();
    }
}

/// Whether tasks count for the same in everything that is not their instance's.
fn company(one: &Task, other: &Task) -> bool {
    one.key.cluster == other.key.cluster
        && one.definition == other.definition
        && one.origin == other.origin
        && one.group == other.group
        && one.launch_type == other.launch_type
}

impl Gathered {
    /// Takes the tasks of an instance that are not STOPPED.
    fn take_instance(&mut self, instance: InstanceId, tasks: &[&Task]) {
        let tenants = self.tenants.entry(instance).or_default();
        let usage = self.usage.entry(instance).or_default();
        for task in tasks {
            tenants.add(task);
            usage.add(task);
        }
    }

    /// Takes tasks that are one company, on instances that offer this.
    fn take_company(&mut self, tasks: &[&Task], offers: &BTreeMap<InstanceId, &Offer>) {
        let Some(first) = tasks.first() else { return };
        let all = u32::try_from(tasks.len()).expect("a state has fewer tasks than 2^32");
        *self.patterns.entry(first.definition.clone()).or_default() += all;
        let live = tasks.iter().filter(|task| task.is_live());
        if let Some(service) = first.service() {
            self.service_tasks.entry(service).or_default().extend(live.clone().map(|task| task.key.id));
        }
        let peers = self.peers.entry(first.peers()).or_default();
        let tally = self.tallies.entry(first.tally()).or_default();
        for task in live.filter(|task| task.desired == Desired::Running) {
            let offer = offers.get(&task.instance).copied();
            tally.add(task);
            peers.add(task.instance, offer.and_then(Offer::zone_of_tasks));
            if let Some(deployment) = strengthened(task) {
                self.strengths.entry(deployment).or_default().add(task, footing(offer));
            }
            if let Some(service) = ailing(task) {
                *self.ailing.entry(service).or_default() += 1;
            }
        }
    }
}

/// The map without what is as good as none, which is never kept.
fn kept<K: Ord + Clone, G: Default + PartialEq, V: Clone>(
    gathered: BTreeMap<K, G>,
    keep: fn(G) -> V,
) -> OrdMap<K, V> {
    let all = gathered.into_iter().filter(|(_, value)| *value != G::default());
    all.map(|(key, value)| (key, keep(value))).collect()
}
