//! Target groups in memory, which fail on command.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecsr_core::command::GroupFacts;
use ecsr_core::state::Target;
use ecsr_core::targets::Observed;

use super::client::{LoadBalancing, Trouble};

/// A load balancer whose targets are healthy at once and drain when the test says so.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeBalancer(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    groups: BTreeMap<String, BTreeMap<Target, Observed>>,
    trouble: Option<Trouble>,
    calls: usize,
}

impl FakeBalancer {
    pub(super) fn with_group(group: &str) -> Self {
        let fake = Self::default();
        fake.lock().groups.insert(group.to_owned(), BTreeMap::new());
        fake
    }

    /// From now on every call fails like that, or none.
    pub(super) fn trouble(&self, trouble: Option<Trouble>) {
        self.lock().trouble = trouble;
    }

    pub(super) fn held(&self, group: &str) -> BTreeMap<Target, Observed> {
        self.lock().groups.get(group).cloned().unwrap_or_default()
    }

    /// What drains has drained.
    pub(super) fn drained(&self, group: &str) {
        let mut inner = self.lock();
        inner.groups.entry(group.to_owned()).or_default().retain(|_, held| *held != Observed::Draining);
    }

    pub(super) fn delete(&self, group: &str) {
        self.lock().groups.remove(group);
    }

    pub(super) fn calls(&self) -> usize {
        self.lock().calls
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) -> Result<MutexGuard<'_, Inner>, Trouble> {
        let mut inner = self.lock();
        inner.calls += 1;
        inner.trouble.clone().map_or(Ok(inner), Err)
    }

    fn change(&self, group: &str, targets: &BTreeSet<Target>, to: &Observed) -> Result<(), Trouble> {
        let mut inner = self.call()?;
        let held =
            inner.groups.get_mut(group).ok_or_else(|| Trouble::Refused("TargetGroupNotFound".into()))?;
        held.extend(targets.iter().map(|target| (target.clone(), to.clone())));
        Ok(())
    }
}

impl LoadBalancing for FakeBalancer {
    async fn facts(&self, group: &str) -> Result<Option<GroupFacts>, Trouble> {
        let exists = self.call()?.groups.contains_key(group);
        Ok(exists.then(|| GroupFacts { target_type: "ip".into(), has_load_balancer: true }))
    }

    async fn held(&self, group: &str) -> Result<Option<BTreeMap<Target, Observed>>, Trouble> {
        Ok(self.call()?.groups.get(group).cloned())
    }

    async fn register(&self, group: &str, targets: &BTreeSet<Target>) -> Result<(), Trouble> {
        self.change(group, targets, &Observed::Healthy)
    }

    async fn deregister(&self, group: &str, targets: &BTreeSet<Target>) -> Result<(), Trouble> {
        self.change(group, targets, &Observed::Draining)
    }
}
