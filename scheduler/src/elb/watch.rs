//! Which target groups are looked after: those that a task has to do with.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_core::State;
use ecsr_core::ids::Name;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::client::LoadBalancing;
use super::group::Group;
use crate::driver::Driver;
use crate::entropy::Entropy;
use crate::stop;

/// Looks after all target groups until `stop` turns true.
pub(crate) async fn watch<B: LoadBalancing>(
    balancing: Arc<B>,
    driver: Driver,
    entropy: Entropy,
    mut stop: watch::Receiver<bool>,
) {
    let mut published = driver.publications();
    let mut watcher = Watcher { balancing, driver, entropy, groups: BTreeMap::new(), kept: JoinSet::new() };
    let mut seen: Option<Arc<State>> = None;
    loop {
        let state = published.borrow_and_update().clone();
        watcher.look(seen.as_deref(), &state);
        seen = Some(state);
        tokio::select! {
            // The groups end with the set that they are in.
            () = stop::told(&mut stop) => return,
            Some(over) = watcher.kept.join_next() => {
                let over = over.expect("looking after a group does not panic");
                watcher.groups.remove(&over);
            }
            changed = published.changed() => if changed.is_err() { return },
        }
    }
}

struct Watcher<B> {
    balancing: Arc<B>,
    driver: Driver,
    entropy: Entropy,
    groups: BTreeMap<Name, Arc<Notify>>,
    /// Each ends with its name; if tasks came to it in the meantime, the next look opens it again.
    kept: JoinSet<Name>,
}

impl<B: LoadBalancing> Watcher<B> {
    /// Opens what is new and wakes what changed since the state that was seen last.
    fn look(&mut self, seen: Option<&State>, state: &State) {
        let same_tasks = seen.is_some_and(|seen| seen.endpoints.ptr_eq(&state.endpoints));
        let same_hosts = seen.is_some_and(|seen| seen.away.ptr_eq(&state.away));
        if same_tasks && same_hosts && self.groups.len() == state.endpoints.len() {
            return;
        }
        for (name, tasks) in &state.endpoints {
            let before = seen.and_then(|seen| seen.endpoints.get(name));
            match self.groups.get(name) {
                None => self.open(name),
                Some(_) if same_hosts && before.is_some_and(|before| before.ptr_eq(tasks)) => {}
                Some(changed) => changed.notify_one(),
            }
        }
        let gone = self.groups.iter().filter(|(name, _)| !state.endpoints.contains_key(*name));
        gone.for_each(|(_, changed)| changed.notify_one());
    }

    fn open(&mut self, name: &Name) {
        let changed = Arc::new(Notify::new());
        self.groups.insert(name.clone(), changed.clone());
        let group = Group {
            name: name.clone(),
            balancing: self.balancing.clone(),
            driver: self.driver.clone(),
            entropy: self.entropy.clone(),
            changed,
        };
        self.kept.spawn(group.keep());
    }
}
