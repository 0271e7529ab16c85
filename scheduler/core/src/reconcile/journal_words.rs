//! The sentences of a service's log, word for word as ECS writes them.

use crate::ids::{DeploymentId, InstanceKey, TaskKey};
use crate::placement::Shortfall;
use crate::state::{Service, Standing, Stop, StopCode, Task};

const SEE_GUIDE: &str = "For more information, see the Troubleshooting section";

pub(super) fn started(service: &Service, tasks: &[TaskKey]) -> String {
    format!("(service {}) has started {} tasks: {}.", service.key.name, tasks.len(), listed(tasks))
}

pub(super) fn stopped(service: &Service, tasks: &[TaskKey]) -> String {
    format!("(service {}) has stopped {} running tasks: {}.", service.key.name, tasks.len(), listed(tasks))
}

pub(super) fn steady(service: &Service) -> String {
    format!("(service {}) has reached a steady state.", service.key.name)
}

pub(super) fn completed(service: &Service, deployment: DeploymentId) -> String {
    format!("(service {}) (deployment {deployment}) deployment completed.", service.key.name)
}

pub(super) fn failed(service: &Service, deployment: DeploymentId) -> String {
    format!(
        "(service {}) (deployment {deployment}) deployment failed: tasks failed to start.",
        service.key.name
    )
}

pub(super) fn rolling_back(service: &Service, to: DeploymentId) -> String {
    format!("(service {}) rolling back to deployment {to}.", service.key.name)
}

pub(super) fn blocked_by_configuration(service: &Service) -> String {
    format!(
        "(service {}) was unable to stop or start tasks during a deployment because of the service deployment \
         configuration. Update the minimumHealthyPercent or maximumPercent value and try again.",
        service.key.name
    )
}

pub(super) fn inconsistent_starts(service: &Service) -> String {
    format!("(service {}) is unable to consistently start tasks successfully. {SEE_GUIDE}.", service.key.name)
}

/// The beginning that all placement troubles of a service share.
pub(super) fn unable_to_place(service: &Service) -> String {
    format!(
        "(service {}) was unable to place a task because no container instance met all of its requirements.",
        service.key.name
    )
}

/// The end of a placement trouble: the instance that came closest, or that there is none at all.
pub(super) fn placement_reason(closest: Option<&(InstanceKey, Shortfall)>) -> String {
    let reason = match closest {
        None => "Reason: No Container Instances were found in your cluster.".to_owned(),
        Some((instance, shortfall)) => {
            format!("The closest matching (container-instance {}) {shortfall}", instance.id)
        }
    };
    format!("{reason} {SEE_GUIDE} of the Amazon ECS Developer Guide.")
}

/// Why the service scheduler stops a task: scaled in, replaced, or on an instance that is drained.
pub(super) fn scaling(deployment: DeploymentId) -> Stop {
    let reason = format!("Scaling activity initiated by (deployment {deployment})");
    Stop { code: StopCode::ServiceSchedulerInitiated, reason }
}

/// Why a task is stopped that fails its health checks: those of a target group, or those of its containers.
pub(super) fn unhealthy(task: &Task) -> Stop {
    let unhealthy = task.endpoints.iter().find(|one| one.standing() == Some(Standing::Unhealthy));
    let reason = match unhealthy {
        Some(endpoint) => format!("Task failed ELB health checks in (target-group {})", endpoint.group),
        None => "Task failed container health checks".into(),
    };
    Stop { code: StopCode::ServiceSchedulerInitiated, reason }
}

pub(super) fn failed_health_check(service: &Service, task: &TaskKey) -> String {
    format!("(service {}) (task {}) failed container health checks.", service.key.name, task.id)
}

/// Tasks on hosts that were given up, which the service replaces.
pub(super) fn lost(service: &Service, tasks: &[TaskKey]) -> String {
    format!(
        "(service {}) has lost {} tasks on container instances that cannot be reached: {}.",
        service.key.name,
        tasks.len(),
        listed(tasks)
    )
}

/// The beginning of [`held_back`].
pub(super) fn holding_back(service: &Service) -> String {
    format!(
        "(service {}) is not replacing tasks on container instances that cannot be reached",
        service.key.name
    )
}

/// Why tasks on hosts that cannot be reached are not replaced.
pub(super) fn held_back(service: &Service, tasks: usize) -> String {
    format!(
        "{} ({tasks} tasks): most of the cluster vanished at once, which points to the network of the scheduler.",
        holding_back(service)
    )
}

fn listed(tasks: &[TaskKey]) -> String {
    let each: Vec<String> = tasks.iter().map(|task| format!("(task {})", task.id)).collect();
    each.join(" ")
}
