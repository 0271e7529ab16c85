//! Health checks and restart policies: what ECS allows an agent to be told about a container's life.

use std::ops::RangeInclusive;

use ecsr_api::ecs;

use super::bad_setting;
use crate::refusal::{Refusal, client};

/// Seconds between two probes.
const INTERVAL_SECONDS: RangeInclusive<i32> = 5..=300;
/// Seconds that one probe may take.
const TIMEOUT_SECONDS: RangeInclusive<i32> = 2..=60;
/// Failures in a row until a container is UNHEALTHY.
const RETRIES: RangeInclusive<i32> = 1..=10;
/// Seconds at the start in which failures do not count.
const START_PERIOD_SECONDS: RangeInclusive<i32> = 0..=300;
/// Seconds that a container must run before a restart is tried.
const RESTART_ATTEMPT_PERIOD_SECONDS: RangeInclusive<i32> = 60..=1800;
/// Most exit codes that a restart policy may ignore.
const IGNORED_EXIT_CODES_MAX: usize = 50;

/// Checks the health check and the restart policy of one container.
pub(super) fn check(container: &ecs::ContainerDefinition) -> Result<(), Refusal> {
    if let Some(health) = &container.health_check {
        check_health(health, container)?;
    }
    container.restart_policy.as_ref().map_or(Ok(()), |policy| check_restart(policy, container))
}

fn check_health(health: &ecs::HealthCheck, container: &ecs::ContainerDefinition) -> Result<(), Refusal> {
    let command = health.command.as_deref().unwrap_or_default();
    let complete = match command.first().map(String::as_str) {
        Some("NONE") => true,
        Some("CMD" | "CMD-SHELL") => command.len() > 1,
        _ => false,
    };
    if !complete {
        return Err(client(format!(
            "Invalid 'healthCheck' setting for container '{}'. The command must start with CMD or CMD-SHELL.",
            super::name_of(container)
        )));
    }
    let members = [
        ("healthCheck.interval", health.interval, INTERVAL_SECONDS),
        ("healthCheck.timeout", health.timeout, TIMEOUT_SECONDS),
        ("healthCheck.retries", health.retries, RETRIES),
        ("healthCheck.startPeriod", health.start_period, START_PERIOD_SECONDS),
    ];
    check_ranges(&members, container)
}

fn check_restart(
    policy: &ecs::ContainerRestartPolicy,
    container: &ecs::ContainerDefinition,
) -> Result<(), Refusal> {
    let ignored = policy.ignored_exit_codes.as_deref().unwrap_or_default();
    if policy.enabled.is_none() || ignored.len() > IGNORED_EXIT_CODES_MAX {
        return Err(bad_setting("restartPolicy", container));
    }
    let period = policy.restart_attempt_period;
    check_ranges(&[("restartPolicy.restartAttemptPeriod", period, RESTART_ATTEMPT_PERIOD_SECONDS)], container)
}

fn check_ranges(
    members: &[(&str, Option<i32>, RangeInclusive<i32>)],
    container: &ecs::ContainerDefinition,
) -> Result<(), Refusal> {
    let outside = members.iter().find(|(_, value, range)| value.is_some_and(|value| !range.contains(&value)));
    outside.map_or(Ok(()), |(member, ..)| Err(bad_setting(member, container)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{check_container_accepted, check_container_refusal};

    #[test]
    fn health_checks() {
        let command = |command: Value| json!({"healthCheck": {"command": command}});
        check_container_accepted(command(json!(["CMD-SHELL", "wget -q localhost || exit 1"])));
        check_container_accepted(command(json!(["NONE"])));
        for bad in [json!([]), json!(["CMD"]), json!(["curl", "localhost"]), json!(null)] {
            check_container_refusal(
                command(bad),
                "Invalid 'healthCheck' setting for container 'app'. The command must start with CMD or CMD-SHELL.",
            );
        }
        let member = |name: &str, value: i32| {
            let mut health = json!({"healthCheck": {"command": ["CMD", "true"]}});
            health["healthCheck"][name] = json!(value);
            health
        };
        for (name, least, most) in
            [("interval", 5, 300), ("timeout", 2, 60), ("retries", 1, 10), ("startPeriod", 0, 300)]
        {
            let message = format!("Invalid 'healthCheck.{name}' setting for container 'app'.");
            check_container_accepted(member(name, least));
            check_container_accepted(member(name, most));
            check_container_refusal(member(name, least - 1), &message);
            check_container_refusal(member(name, most + 1), &message);
        }
    }

    #[test]
    fn restart_policies() {
        check_container_accepted(json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": 60}}));
        check_container_refusal(
            json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": 59}}),
            "Invalid 'restartPolicy.restartAttemptPeriod' setting for container 'app'.",
        );
        check_container_refusal(
            json!({"restartPolicy": {"ignoredExitCodes": [1]}}),
            "Invalid 'restartPolicy' setting for container 'app'.",
        );
        check_container_refusal(
            json!({"restartPolicy": {"enabled": true, "ignoredExitCodes": vec![1; 51]}}),
            "Invalid 'restartPolicy' setting for container 'app'.",
        );
    }
}
