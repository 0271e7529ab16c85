//! One service: start, stop, and keep the account of its deployments.

use std::sync::Arc;
use std::time::Duration;

use ecsr_api::Timestamp;

use super::census::{Census, grace_ends, settled_at};
use super::{Plan, daemon, deployment, journal_words, replica};
use crate::context::Context;
use crate::ids::{ServiceKey, TaskKey};
use crate::state::{Desired, Event, Health, Known, Scheduling, Service, ServiceStatus, State, Task};

/// A steady service says so again after this time, as ECS does; a repeated trouble is repeated no sooner either.
pub const STEADY_STATE_REPEAT: Duration = Duration::from_hours(6);

/// Most tasks named in one line of the log, which keeps a line readable and a log of a hundred lines small.
pub(super) const TASKS_PER_EVENT: usize = 50;

/// Plans one round for a service and gives back the events that it added.
pub(super) fn reconcile(plan: &mut Plan, key: &ServiceKey, context: &mut Context) -> Vec<Event> {
    let before = plan.events.len();
    let Some(service) = plan.state.services.get(key).cloned() else { return Vec::new() };
    match service.status {
        ServiceStatus::Active => active(plan, &service, context),
        ServiceStatus::Draining => draining(plan, &service, context),
        ServiceStatus::Inactive => {}
    }
    plan.events[before..].to_vec()
}

fn active(plan: &mut Plan, service: &Arc<Service>, context: &mut Context) {
    match service.spec.scheduling {
        Scheduling::Replica => replica::plan(plan, service, context),
        Scheduling::Daemon => daemon::plan(plan, service, context),
    }
    // The round may have changed the service itself, a daemon's count for one.
    if let Some(service) = plan.state.services.get(&service.key).cloned() {
        let census = Census::take(&plan.state, &service, context.now);
        deployment::account(plan, &service, &census, context);
    }
}

/// A deleted service stops what it has; with its last task STOPPED it is INACTIVE.
fn draining(plan: &mut Plan, service: &Service, context: &mut Context) {
    let live: Vec<Arc<Task>> = plan.state.live_tasks_of(&service.key).cloned().collect();
    if live.is_empty() {
        let gone = Service {
            status: ServiceStatus::Inactive,
            inactive_at: Some(context.now),
            deployments: service.deployments[..1].to_vec(),
            ..service.clone()
        };
        plan.record(Event::ServiceSaved(Arc::new(gone)));
        return;
    }
    let running = live.iter().filter(|task| task.desired == Desired::Running);
    let keys: Vec<TaskKey> = running.map(|task| task.key.clone()).collect();
    stop_all(plan, service, &keys, context);
}

/// Stops tasks because the service wants fewer or newer ones, and says so in one line.
pub(super) fn stop_all(plan: &mut Plan, service: &Service, tasks: &[TaskKey], context: &mut Context) {
    if tasks.is_empty() {
        return;
    }
    for task in tasks {
        plan.stop(task, journal_words::scaling(service.primary().id), context);
    }
    for tasks in tasks.chunks(TASKS_PER_EVENT) {
        plan.log(&service.key, journal_words::stopped(service, tasks), context);
    }
}

/// When a trouble that was said already is worth saying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeated {
    /// Once something was started since, and after [`STEADY_STATE_REPEAT`].
    AfterStart,
    /// After [`STEADY_STATE_REPEAT`].
    AfterHours,
}

/// Logs a trouble that begins with `trouble`, unless it was said already.
pub(super) fn complain(
    plan: &mut Plan,
    service: &Service,
    trouble: &str,
    rest: &str,
    repeated: Repeated,
    context: &mut Context,
) {
    let log = plan.state.service_events.get(&service.key).into_iter().flatten().rev();
    let counts = |message: &str| repeated == Repeated::AfterHours || !message.contains(") has started ");
    let recent = log.take_while(|event| counts(&event.message));
    let mut recent = recent.filter(|event| context.now.since(event.created_at) < STEADY_STATE_REPEAT);
    if !recent.any(|event| event.message.starts_with(trouble)) {
        plan.log(&service.key, format!("{trouble}{rest}"), context);
    }
}

/// Moments at which time alone gives the service something to do.
pub(super) fn wakes(state: &State, service: &Service) -> Vec<Timestamp> {
    if service.status != ServiceStatus::Active {
        return Vec::new();
    }
    let retry = service.primary().retry_at;
    let unsettled = service.deployments.len() > 1 || service.primary().failed_tasks > 0;
    let settling =
        state.live_tasks_of(&service.key).filter(|_| unsettled).filter_map(|task| settled_at(task));
    let repeat = service.steady_since.map(|since| since.plus(STEADY_STATE_REPEAT));
    let failing = |task: &&Arc<Task>| {
        task.known == Known::Running && task.containers.iter().any(|one| one.health == Health::Unhealthy)
    };
    let graces = match service.spec.health_check_grace_period {
        None | Some(0) => Vec::new(),
        Some(_) => {
            let tasks = state.live_tasks_of(&service.key).filter(failing);
            tasks.filter_map(|task| grace_ends(task, service)).collect()
        }
    };
    retry.into_iter().chain(repeat).chain(settling).chain(graces).collect()
}
