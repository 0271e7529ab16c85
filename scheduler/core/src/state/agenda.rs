//! Which services something can give reason to plan: those that time moves, and those that wait for room.
//!
//! Most services of a large cluster are steady and have nothing to do until one of their own tasks changes. Without
//! these sets, every tick and every instance that comes or goes would have to look at all of them.

use std::sync::Arc;

use ecsr_api::Timestamp;
use imbl::OrdSet;

use super::{Scheduling, Service, ServiceStatus};
use crate::ids::ServiceKey;

/// Services by what moves them. Derived from the services, kept by `State::apply`, proven by `check`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agenda {
    /// DRAINING, or ACTIVE and not in a steady state.
    pub unsteady: OrdSet<ServiceKey>,
    /// ACTIVE, and waiting for time to pass: for new tasks to settle, or for the end of a delay.
    pub waiting: OrdSet<ServiceKey>,
    /// ACTIVE daemons: the instances that there are decide how many tasks they want.
    pub daemons: OrdSet<ServiceKey>,
    /// ACTIVE services in a steady state, by the time that they last said so.
    pub steady: OrdSet<(Timestamp, ServiceKey)>,
}

impl Agenda {
    pub(super) fn change(&mut self, old: Option<&Arc<Service>>, new: Option<&Arc<Service>>) {
        if let Some(old) = old {
            self.remove(old);
        }
        if let Some(new) = new {
            self.add(new);
        }
    }

    fn add(&mut self, service: &Service) {
        let key = || service.key.clone();
        if is_unsteady(service) {
            self.unsteady.insert(key());
        }
        if is_waiting(service) {
            self.waiting.insert(key());
        }
        if is_daemon(service) {
            self.daemons.insert(key());
        }
        if let Some(since) = steady_since(service) {
            self.steady.insert((since, key()));
        }
    }

    fn remove(&mut self, service: &Service) {
        if is_unsteady(service) {
            self.unsteady.remove(&service.key);
        }
        if is_waiting(service) {
            self.waiting.remove(&service.key);
        }
        if is_daemon(service) {
            self.daemons.remove(&service.key);
        }
        if let Some(since) = steady_since(service) {
            self.steady.remove(&(since, service.key.clone()));
        }
    }
}

fn is_unsteady(service: &Service) -> bool {
    match service.status {
        ServiceStatus::Active => service.steady_since.is_none(),
        ServiceStatus::Draining => true,
        ServiceStatus::Inactive => false,
    }
}

fn is_waiting(service: &Service) -> bool {
    let primary = service.primary();
    service.status == ServiceStatus::Active
        && (service.deployments.len() > 1 || primary.failed_tasks > 0 || primary.retry_at.is_some())
}

fn is_daemon(service: &Service) -> bool {
    service.status == ServiceStatus::Active && service.spec.scheduling == Scheduling::Daemon
}

fn steady_since(service: &Service) -> Option<Timestamp> {
    service.steady_since.filter(|_| service.status == ServiceStatus::Active)
}
