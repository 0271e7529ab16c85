//! A state as the shortest list of events that builds it, which is how it is written down to bound the journal.
//!
//! Events, not a format of its own: what can be replayed can be written down, one vocabulary has to stay readable, and
//! indexes and counters follow from `apply` as always. One object after another, so that a state of any size is
//! written and read as a stream.
//!
//! Invariant: the events of a state, applied to an empty one, give the same state.

use std::sync::Arc;

use serde::Deserialize;

use super::{Cluster, Definition, Event, Family, Instance, Service, ServiceEvent, State, Task, Token};
use crate::ids::{Name, ServiceKey};

impl State {
    /// The events that build this state, in an order that they can be applied in.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        let clusters = self.clusters.values().cloned().map(Event::ClusterSaved);
        let definitions = self.definitions.values().cloned().map(Event::DefinitionSaved);
        let families = self.families.iter().map(|(name, family)| Event::FamilySaved {
            family: name.clone(),
            last_revision: family.last_revision,
        });
        let instances = self.instances.values().cloned().map(Event::InstanceSaved);
        let services = self.services.values().cloned().map(Event::ServiceSaved);
        let logs = self.service_events.iter().flat_map(|(service, events)| {
            events.iter().map(|event| Event::ServiceLogged {
                service: service.clone(),
                event: ServiceEvent::clone(event),
            })
        });
        let tasks = self.tasks.values().cloned().map(Event::TaskPlaced);
        let tokens = self.tokens.values().map(|token| Event::TokenUsed(Token::clone(token)));
        clusters
            .chain(definitions)
            .chain(families)
            .chain(instances)
            .chain(services)
            .chain(logs)
            .chain(tasks)
            .chain(tokens)
    }
}

/// A state as the first format of the journal wrote it down: everything in one object. Only ever read.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Picture {
    clusters: Vec<Arc<Cluster>>,
    families: Vec<(Name, Family)>,
    definitions: Vec<Arc<Definition>>,
    instances: Vec<Arc<Instance>>,
    services: Vec<Arc<Service>>,
    service_events: Vec<(ServiceKey, Vec<ServiceEvent>)>,
    tasks: Vec<Arc<Task>>,
    tokens: Vec<Arc<Token>>,
}

impl Picture {
    /// The events that build the state of the picture.
    pub fn into_events(self) -> impl Iterator<Item = Event> {
        let families = self
            .families
            .into_iter()
            .map(|(family, Family { last_revision })| Event::FamilySaved { family, last_revision });
        let logs = self.service_events.into_iter().flat_map(|(service, events)| {
            let logged = move |event| Event::ServiceLogged { service: service.clone(), event };
            events.into_iter().map(logged)
        });
        let clusters = self.clusters.into_iter().map(Event::ClusterSaved);
        clusters
            .chain(self.definitions.into_iter().map(Event::DefinitionSaved))
            .chain(families)
            .chain(self.instances.into_iter().map(Event::InstanceSaved))
            .chain(self.services.into_iter().map(Event::ServiceSaved))
            .chain(logs)
            .chain(self.tasks.into_iter().map(Event::TaskPlaced))
            .chain(self.tokens.into_iter().map(|token| Event::TokenUsed(Arc::unwrap_or_clone(token))))
    }
}
