//! DAEMON services: one task on every instance that may have one.
//!
//! The desired count follows the instances. An older task leaves before its successor comes, since one instance never
//! has two, and only as many leave at once as the lower bound allows.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Plan;
use super::census::{Census, count};
use super::replica::may_start;
use super::service::{stop_all, stop_unhealthy};
use super::start::{Needs, complain_of_placement, start_on};
use crate::context::Context;
use crate::ids::{InstanceId, InstanceKey, TaskKey};
use crate::placement::{self, Shortfall};
use crate::state::{Event, Instance, Service, State, Task};

/// Plans one round.
pub(super) fn plan(plan: &mut Plan<'_>, service: &Arc<Service>, context: &mut Context) {
    let needs = Needs::of(plan, service);
    let eligible: BTreeSet<InstanceId> =
        placement::eligible(plan.state, &needs.ask(service)).into_iter().collect();
    let service = follow_instances(plan, service, count(eligible.len()));
    let census = Census::take(plan.state, &service, context.now);
    stop_all(plan, &service, &leaving(&service, &census, &eligible), context);
    for task in &census.unhealthy {
        stop_unhealthy(plan, &service, task, context);
    }
    if may_start(&service, context) {
        let (vacant, lacking) = vacant(plan, &service, &needs, &eligible);
        start_on(plan, &service, &needs, &vacant, context);
        if !lacking.is_empty() {
            let closest = |_: &State| lacking.into_iter().max_by(|(_, one), (_, other)| one.cmp(other));
            complain_of_placement(plan, &service, closest, context);
        }
    }
}

/// The desired count of a daemon is the number of instances that it should be on.
fn follow_instances(plan: &mut Plan<'_>, service: &Arc<Service>, desired_count: u32) -> Arc<Service> {
    if service.desired_count == desired_count {
        return service.clone();
    }
    let changed = Arc::new(Service { desired_count, ..Service::clone(service) });
    plan.record(Event::ServiceSaved(changed.clone()));
    changed
}

/// Tasks where none should be, second tasks of one instance, and as many outdated ones as may go.
fn leaving(service: &Service, census: &Census, eligible: &BTreeSet<InstanceId>) -> Vec<TaskKey> {
    let mut seen = BTreeSet::new();
    let stays = |task: &&Arc<Task>| eligible.contains(&task.instance) && seen.insert(task.instance);
    let (_, misplaced): (Vec<_>, Vec<_>) = census.keep.iter().partition(stays);
    let lower = service.spec.bounds.lower(service.desired_count);
    let spare = census.healthy().saturating_sub(lower) as usize;
    let (healthy, ailing): (Vec<_>, Vec<_>) = census.outdated.iter().partition(|task| task.is_healthy());
    let outdated = ailing.into_iter().chain(healthy.into_iter().take(spare));
    misplaced.into_iter().chain(outdated).map(|task| task.key.clone()).collect()
}

/// Eligible instances with no task of the service, not even one that is about to leave: those with room for one, and
/// what the others lack. An instance whose agent is away is not complained of.
fn vacant(
    plan: &Plan<'_>,
    service: &Service,
    needs: &Needs,
    eligible: &BTreeSet<InstanceId>,
) -> (Vec<Arc<Instance>>, Vec<(InstanceKey, Shortfall)>) {
    let taken: BTreeSet<InstanceId> =
        plan.state.live_tasks_of(&service.key).map(|task| task.instance).collect();
    let key = |id: &InstanceId| InstanceKey { cluster: service.key.cluster.clone(), id: *id };
    let free = eligible.difference(&taken).filter_map(|id| plan.state.instances.get(&key(id)));
    let ask = needs.ask(service);
    let (mut vacant, mut lacking) = (Vec::new(), Vec::new());
    for instance in free {
        match placement::fits(plan.state, &ask, &instance.key) {
            Ok(()) => vacant.push(instance.clone()),
            Err(Shortfall::Agent) => {}
            Err(shortfall) => lacking.push((instance.key.clone(), shortfall)),
        }
    }
    (vacant, lacking)
}
