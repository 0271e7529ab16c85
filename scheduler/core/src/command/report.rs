//! What agents say of their tasks: SubmitTaskStateChange, SubmitContainerStateChange, acknowledgements, health.
//!
//! Reports may come twice, late and out of order. Known state only moves forward, a report that says nothing new
//! records nothing, and one about a task that is gone is refused, upon which an agent drops it.

use std::sync::Arc;

use ecsr_api::ecs;

use super::{Decision, Reply};
use crate::context::Context;
use crate::ids::{InstanceKey, Name, TaskKey};
use crate::refusal::{Refusal, invalid};
use crate::resolve;
use crate::state::{
    ContainerReport, Event, Health, HexText, Known, PortBinding, Report, Service, ServiceStatus, State, Stop,
    StopCode, Task,
};

/// Longest reason that is kept, in bytes; agents cut at the same length.
const REASON_LENGTH_MAX: usize = 1024;

pub(super) fn task(
    state: &State,
    request: &ecs::SubmitTaskStateChangeRequest,
    context: &Context,
) -> Result<Decision, Refusal> {
    let task = reported(state, request.cluster.as_deref(), request.task.as_deref())?;
    let containers = request.containers.iter().flatten().map(container_report).collect();
    let known = match request.status.as_deref() {
        None | Some("") => task.known,
        Some(status) => known(status)?,
    };
    let mut report = Report {
        at: context.now,
        known,
        containers,
        pull_started: request.pull_started_at,
        pull_stopped: request.pull_stopped_at,
        execution_stopped: request.execution_stopped_at,
        stop: None,
    };
    if known == Known::Stopped && task.stop.is_none() {
        report.stop = Some(why_stopped(task, &report, request.reason.as_deref()));
    }
    Ok((record(state, task, report, context), Reply::Acknowledged).into())
}

/// An older agent's report of one container; the task's own state stays as it is.
pub(super) fn container(
    state: &State,
    request: &ecs::SubmitContainerStateChangeRequest,
    context: &Context,
) -> Result<Decision, Refusal> {
    let task = reported(state, request.cluster.as_deref(), request.task.as_deref())?;
    let change = ecs::ContainerStateChange {
        container_name: request.container_name.clone(),
        exit_code: request.exit_code,
        image_digest: None,
        network_bindings: request.network_bindings.clone(),
        reason: request.reason.clone(),
        runtime_id: request.runtime_id.clone(),
        status: request.status.clone(),
    };
    let report = Report {
        at: context.now,
        known: task.known,
        containers: vec![container_report(&change)],
        pull_started: None,
        pull_stopped: None,
        execution_stopped: None,
        stop: None,
    };
    Ok((record(state, task, report, context), Reply::Acknowledged).into())
}

/// The agent stored tasks. Those of another instance, and those already acknowledged, are passed over.
pub(super) fn acknowledged(state: &State, instance: &InstanceKey, tasks: &[TaskKey]) -> Decision {
    let new = tasks.iter().filter_map(|key| task_on(state, instance, key)).filter(|task| !task.acknowledged);
    (new.map(|task| Event::TaskAcknowledged(task.key.clone())).collect(), Reply::Nothing).into()
}

/// The end of a task that was never sent to its agent. One that was is the agent's to end.
pub(super) fn refused(state: &State, key: &TaskKey, reason: &str, context: &Context) -> Decision {
    let unsent = state.tasks.get(key).filter(|task| !task.acknowledged && task.known == Known::Pending);
    let events = unsent.map(|task| {
        let stop = Stop { code: StopCode::TaskFailedToStart, reason: shortened(reason.to_owned()) };
        let report = Report::ended(context.now, Some(stop));
        record(state, task, report, context)
    });
    (events.unwrap_or_default(), Reply::Nothing).into()
}

/// Health of containers, as published over TCS. Only what changed is recorded.
pub(super) fn health(
    state: &State,
    instance: &InstanceKey,
    tasks: &[(TaskKey, Vec<(Name, Health)>)],
) -> Decision {
    let changed = tasks.iter().filter_map(|(key, published)| {
        let task = task_on(state, instance, key).filter(|task| task.is_live())?;
        let differs = |(name, health): &&(Name, Health)| {
            task.containers.iter().any(|container| container.name == *name && container.health != *health)
        };
        let health: Vec<_> = published.iter().filter(differs).cloned().collect();
        (!health.is_empty()).then(|| Event::TaskHealthReported { task: key.clone(), health })
    });
    (changed.collect(), Reply::Nothing).into()
}

fn task_on<'a>(state: &'a State, instance: &InstanceKey, key: &TaskKey) -> Option<&'a Arc<Task>> {
    state.tasks.get(key).filter(|task| task.key.cluster == instance.cluster && task.instance == instance.id)
}

fn reported<'a>(
    state: &'a State,
    cluster: Option<&str>,
    task: Option<&str>,
) -> Result<&'a Arc<Task>, Refusal> {
    let cluster = resolve::cluster_name(state, cluster)?;
    let task = task.filter(|text| !text.is_empty()).ok_or_else(|| invalid("Task can not be blank."))?;
    let key = resolve::task_key(state, &cluster, task)?;
    state.tasks.get(&key).ok_or_else(|| invalid("The referenced task was not found."))
}

/// The agent's finer states all count as PENDING until all containers run.
fn known(status: &str) -> Result<Known, Refusal> {
    match status {
        "NONE" | "PENDING" | "MANIFEST_PULLED" | "PULLED" | "CREATED" => Ok(Known::Pending),
        "RUNNING" | "RESOURCES_PROVISIONED" => Ok(Known::Running),
        "STOPPED" => Ok(Known::Stopped),
        _ => Err(invalid(format!("Invalid status: {status}"))),
    }
}

fn container_report(change: &ecs::ContainerStateChange) -> ContainerReport {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let hex = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(HexText::from);
    let bindings = change.network_bindings.as_ref();
    ContainerReport {
        name: change.container_name.as_deref().unwrap_or_default().into(),
        known: change.status.as_deref().and_then(|status| known(status).ok()),
        runtime_id: hex(&change.runtime_id),
        image_digest: hex(&change.image_digest),
        exit_code: change.exit_code,
        reason: text(&change.reason).map(shortened),
        network_bindings: bindings.map(|bindings| bindings.iter().cloned().map(PortBinding::from).collect()),
    }
}

fn shortened(mut reason: String) -> String {
    let end = (0..=REASON_LENGTH_MAX.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    reason.truncate(end.unwrap_or(0));
    reason
}

/// The reason that a task stopped when nobody had asked it to: the agent tells what happened, the service why.
fn why_stopped(task: &Task, report: &Report, agent_reason: Option<&str>) -> Stop {
    let ran = task.known == Known::Running
        || report
            .containers
            .iter()
            .any(|container| container.exit_code.is_some() && container.reason.is_none());
    if ran {
        let reason = "Essential container in task exited".into();
        return Stop { code: StopCode::EssentialContainerExited, reason };
    }
    let agent_reason =
        agent_reason.filter(|reason| !reason.is_empty()).map(|reason| shortened(reason.to_owned()));
    let of_container = || report.containers.iter().find_map(|container| container.reason.clone());
    let reason = agent_reason.or_else(of_container).unwrap_or_else(|| "Task failed to start".into());
    Stop { code: StopCode::TaskFailedToStart, reason }
}

/// The report, if it says anything new, and what it means for the task's deployment.
fn record(state: &State, task: &Arc<Task>, report: Report, context: &Context) -> Vec<Event> {
    if !task.is_live() || !says_news(task, &report) {
        return Vec::new();
    }
    let account = account(state, task, &report, context);
    let reported = Event::TaskReported { task: task.key.clone(), report };
    std::iter::once(reported).chain(account).collect()
}

fn says_news(task: &Task, report: &Report) -> bool {
    let newer_time = (report.pull_started.is_some() && task.times.pull_started.is_none())
        || (report.pull_stopped.is_some() && task.times.pull_stopped.is_none())
        || (report.execution_stopped.is_some() && task.times.execution_stopped.is_none());
    newer_time
        || report.known > task.known
        || !task.acknowledged
        || report.containers.iter().any(|change| differs(task, change))
}

fn differs(task: &Task, change: &ContainerReport) -> bool {
    let Some(container) = task.containers.iter().find(|container| container.name == change.name) else {
        return false;
    };
    change.known.is_some_and(|known| known > container.known)
        || (change.runtime_id.is_some() && change.runtime_id != container.runtime_id)
        || (change.image_digest.is_some() && change.image_digest != container.image_digest)
        || (change.exit_code.is_some() && change.exit_code != container.exit_code)
        || (change.reason.is_some() && change.reason.as_deref() != container.reason.as_deref())
        || change.network_bindings.as_ref().is_some_and(|bindings| *bindings != container.network_bindings)
}

/// Keeps the deployment's account of failures, to which a task that ends by itself adds.
fn account(state: &State, task: &Task, report: &Report, context: &Context) -> Option<Event> {
    let service = state.services.get(&task.service()?)?;
    if service.status != ServiceStatus::Active {
        return None;
    }
    match report.known {
        Known::Pending | Known::Running => return None,
        // Stopped on request: nothing to hold against the deployment.
        Known::Stopped if task.stop.is_some() => return None,
        Known::Stopped => {}
    }
    let index = service.deployments.iter().position(|one| Some(one.id) == task.deployment())?;
    let mut changed = Service::clone(service);
    let ran = task.times.started.map(|started| context.now.since(started));
    changed.deployments[index].count_end(ran, service.desired_count, context.now);
    (changed != **service).then(|| Event::ServiceSaved(Arc::new(changed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let cut = shortened("ä".repeat(2000));
        assert!(cut.len() <= REASON_LENGTH_MAX && cut.chars().all(|c| c == 'ä'));
        assert_eq!(shortened("short".into()), "short");
    }
}
