//! What has ended and is remembered for a while, by when that while began.
//!
//! A tick asks what is to be forgotten. Most of what there is has not ended, and most of what has ended is not due yet,
//! so the tick reads these sets from their beginning and stops at the first that is not due. How long things are kept
//! is the tick's business.

use std::collections::BTreeSet;

use ecsr_api::Timestamp;
use imbl::{OrdMap, OrdSet};

use super::{Definition, DefinitionStatus, Instance, InstanceStatus, Service, Token};
use crate::ids::{DefinitionId, InstanceKey, Name, ServiceKey};

/// A client token in its cluster.
pub type TokenKey = (Name, Name);

/// Derived from the things themselves, kept by `State::apply`, proven by `check`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// INACTIVE services.
    pub services: OrdSet<(Timestamp, ServiceKey)>,
    /// INACTIVE instances, and those that registered and were never heard of again.
    pub instances: OrdSet<(Timestamp, InstanceKey)>,
    /// Definitions whose deletion was asked for.
    pub definitions: OrdSet<(Timestamp, DefinitionId)>,
    /// Client tokens, by their use.
    pub tokens: OrdSet<(Timestamp, TokenKey)>,
    /// How many services, INACTIVE ones included, name a definition that they run, replace or would return to.
    pub employers: OrdMap<DefinitionId, u32>,
}

impl Kept {
    pub(super) fn change_service(&mut self, old: Option<&Service>, new: Option<&Service>) {
        let since = |service: &Service| Some((service.inactive_at?, service.key.clone()));
        change(&mut self.services, old.and_then(since), new.and_then(since));
        let (before, after) =
            (old.map(definitions).unwrap_or_default(), new.map(definitions).unwrap_or_default());
        for left in before.difference(&after) {
            let employers = self.employers.get(*left).copied().unwrap_or_default();
            if employers > 1 {
                self.employers.insert(DefinitionId::clone(left), employers - 1);
            } else {
                self.employers.remove(*left);
            }
        }
        for taken_up in after.difference(&before) {
            let employers = self.employers.get(*taken_up).copied().unwrap_or_default();
            self.employers.insert(DefinitionId::clone(taken_up), employers + 1);
        }
    }

    pub(super) fn change_instance(&mut self, old: Option<&Instance>, new: Option<&Instance>) {
        let since = |instance: &Instance| Some((ended(instance)?, instance.key.clone()));
        change(&mut self.instances, old.and_then(since), new.and_then(since));
    }

    pub(super) fn change_definition(&mut self, old: Option<&Definition>, new: Option<&Definition>) {
        let since = |one: &Definition| match one.status {
            DefinitionStatus::Active | DefinitionStatus::Inactive => None,
            DefinitionStatus::DeleteInProgress => Some((one.delete_requested_at?, one.id.clone())),
        };
        change(&mut self.definitions, old.and_then(since), new.and_then(since));
    }

    pub(super) fn change_token(&mut self, old: Option<&Token>, new: Option<&Token>) {
        let since = |token: &Token| (token.at, (token.cluster.clone(), token.token.clone()));
        change(&mut self.tokens, old.map(since), new.map(since));
    }

    /// The tokens that were used at one moment.
    pub fn tokens_at(&self, at: Timestamp) -> impl Iterator<Item = &TokenKey> {
        let first = (at, (Name::from(""), Name::from("")));
        self.tokens.range(first..).take_while(move |(used, _)| *used == at).map(|(_, key)| key)
    }
}

/// When an instance became one to be forgotten: deregistered, or registered in vain, which is what is left of a
/// registration whose answer was lost.
fn ended(instance: &Instance) -> Option<Timestamp> {
    match instance.status {
        InstanceStatus::Inactive => instance.inactive_at,
        InstanceStatus::Active | InstanceStatus::Draining => {
            let unheard_of = instance.version == 1 && !instance.is_connected();
            unheard_of.then_some(instance.registered_at)
        }
    }
}

fn definitions(service: &Service) -> BTreeSet<&DefinitionId> {
    let deployed = service.deployments.iter().map(|deployment| &deployment.definition);
    deployed.chain(&service.last_completed).chain([&service.definition]).collect()
}

fn change<T: Ord + Clone>(set: &mut OrdSet<T>, old: Option<T>, new: Option<T>) {
    if old != new {
        old.and_then(|old| set.remove(&old));
        new.and_then(|new| set.insert(new));
    }
}
