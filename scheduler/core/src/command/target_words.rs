//! The sentences of a service's log that are about its target groups, word for word as ECS writes them.

use super::target::Unhealthy;

pub(super) fn registered(service: &str, targets: usize, group: &str) -> String {
    format!("(service {service}) registered {targets} targets in (target-group {group})")
}

pub(super) fn deregistered(service: &str, targets: usize, group: &str) -> String {
    format!("(service {service}) deregistered {targets} targets in (target-group {group})")
}

pub(super) fn draining(service: &str, tasks: usize) -> String {
    format!("(service {service}) has begun draining connections on {tasks} tasks.")
}

pub(super) fn unhealthy(service: &str, group: &str, unhealthy: &Unhealthy) -> String {
    let Unhealthy { task, port, reason } = unhealthy;
    format!(
        "(service {service}) (task {task}) (port {port}) is unhealthy in (target-group {group}) due to (reason {reason})."
    )
}

/// What keeps the targets of a service from being registered or deregistered.
pub(super) fn trouble(service: &str, group: &str, trouble: &str) -> String {
    format!("(service {service}) was unable to update its targets in (target-group {group}): {trouble}")
}
