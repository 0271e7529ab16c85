//! The state as plain lists, which is how it is written down to bound the journal.
//!
//! Only objects are kept: indexes and counters are computed again when a snapshot is read.

use std::sync::Arc;

use ecsr_api::arn::Home;
use imbl::Vector;
use serde::{Deserialize, Serialize};

use super::{Cluster, Definition, Family, Instance, Service, ServiceEvent, State, Task, Token};
use crate::ids::{Name, ServiceKey};

/// Everything in a [`State`] that cannot be derived.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Snapshot {
    clusters: Vec<Arc<Cluster>>,
    families: Vec<(Name, Family)>,
    definitions: Vec<Arc<Definition>>,
    instances: Vec<Arc<Instance>>,
    services: Vec<Arc<Service>>,
    service_events: Vec<(ServiceKey, Vec<ServiceEvent>)>,
    tasks: Vec<Arc<Task>>,
    tokens: Vec<Arc<Token>>,
}

impl Snapshot {
    /// Writes a state down.
    pub fn of(state: &State) -> Self {
        let events =
            |(key, events): (&ServiceKey, &Vector<_>)| (key.clone(), events.iter().cloned().collect());
        Self {
            clusters: state.clusters.values().cloned().collect(),
            families: state.families.iter().map(|(name, family)| (name.clone(), family.clone())).collect(),
            definitions: state.definitions.values().cloned().collect(),
            instances: state.instances.values().cloned().collect(),
            services: state.services.values().cloned().collect(),
            service_events: state.service_events.iter().map(events).collect(),
            tasks: state.tasks.values().cloned().collect(),
            tokens: state.tokens.values().cloned().collect(),
        }
    }

    /// Builds the state again.
    pub fn restore(self, home: Home) -> State {
        let mut state = State::new(home);
        state.clusters = self.clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect();
        state.families = self.families.into_iter().collect();
        state.definitions = self.definitions.into_iter().map(|found| (found.id.clone(), found)).collect();
        for instance in &self.instances {
            state.put_instance(instance);
        }
        state.services = self.services.into_iter().map(|service| (service.key.clone(), service)).collect();
        let logs = self.service_events.into_iter();
        state.service_events = logs.map(|(key, events)| (key, Vector::from_iter(events))).collect();
        state.tokens =
            self.tokens.into_iter().map(|used| ((used.cluster.clone(), used.token.clone()), used)).collect();
        for task in self.tasks {
            state.put_task(None, Some(task));
        }
        state
    }
}
