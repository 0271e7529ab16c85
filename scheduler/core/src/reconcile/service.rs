//! One service: start, stop, and keep the account of its deployments.

use std::sync::Arc;
use std::time::Duration;

use super::{Plan, daemon, deployment, journal_words, replica, rest};
use crate::context::Context;
use crate::ids::{ServiceKey, TaskKey};
use crate::state::{Desired, Event, Scheduling, Service, ServiceStatus, State, Task};

/// A steady service says so again after this time, as ECS does; a repeated trouble is repeated no sooner either.
pub const STEADY_STATE_REPEAT: Duration = Duration::from_hours(6);

/// Most tasks named in one line of the log, which keeps a line readable and a log of a hundred lines small.
pub(super) const TASKS_PER_EVENT: usize = 50;

/// Largest service of which debug builds prove that it is at rest; beyond it that costs more than it can find.
const DOUBTED_MAX: u32 = 100;

/// Plans one round for a service.
pub(super) fn reconcile(plan: &mut Plan<'_>, key: &ServiceKey, context: &mut Context) {
    let Some(service) = plan.state.services.get(key).cloned() else { return };
    let at_rest = rest::is_at_rest(plan.state, &service, context.now);
    if at_rest && !(cfg!(debug_assertions) && service.desired_count <= DOUBTED_MAX) {
        return;
    }
    let before = plan.events.len();
    match service.status {
        ServiceStatus::Active => active(plan, &service, context),
        ServiceStatus::Draining => draining(plan, &service, context),
        ServiceStatus::Inactive => {}
    }
    let planned = &plan.events[before..];
    debug_assert!(!at_rest || planned.is_empty(), "at rest, yet there was something to do: {planned:#?}");
}

fn active(plan: &mut Plan<'_>, service: &Arc<Service>, context: &mut Context) {
    match service.spec.scheduling {
        Scheduling::Replica => replica::plan(plan, service, context),
        Scheduling::Daemon => daemon::plan(plan, service, context),
    }
    // The round may have changed the service itself, a daemon's count for one.
    if let Some(service) = plan.state.services.get(&service.key).cloned() {
        deployment::account(plan, &service, context);
    }
}

/// A deleted service stops what it has; with its last task STOPPED it is INACTIVE.
fn draining(plan: &mut Plan<'_>, service: &Service, context: &mut Context) {
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
pub(super) fn stop_all(plan: &mut Plan<'_>, service: &Service, tasks: &[TaskKey], context: &mut Context) {
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

/// Stops a task that fails its health checks. What a target group found is in the log already.
pub(super) fn stop_unhealthy(plan: &mut Plan<'_>, service: &Service, task: &Task, context: &mut Context) {
    if task.fails_container_checks() {
        plan.log(&service.key, journal_words::failed_health_check(service, &task.key), context);
    }
    plan.stop(&task.key, journal_words::unhealthy(task), context);
}

/// When a trouble that was said already is worth saying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeated {
    /// Once something was started since, and after [`STEADY_STATE_REPEAT`].
    AfterStart,
    /// After [`STEADY_STATE_REPEAT`].
    AfterHours,
}

/// Logs a trouble that begins with `trouble`, unless it was said already. What the rest of the line says may take time to
/// find out.
pub(super) fn complain(
    plan: &mut Plan<'_>,
    service: &Service,
    trouble: &str,
    rest: impl FnOnce(&State) -> String,
    repeated: Repeated,
    context: &mut Context,
) {
    let log = plan.state.service_events.get(&service.key).into_iter().flatten().rev();
    let counts = |message: &str| repeated == Repeated::AfterHours || !message.contains(") has started ");
    let recent = log.take_while(|event| counts(&event.message));
    let mut recent = recent.filter(|event| context.now.since(event.created_at) < STEADY_STATE_REPEAT);
    if !recent.any(|event| event.message.starts_with(trouble)) {
        let rest = rest(plan.state);
        plan.log(&service.key, format!("{trouble}{rest}"), context);
    }
}
