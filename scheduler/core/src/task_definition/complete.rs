//! The defaults that ECS writes into a definition before it stores it.
//!
//! Clients compare what they sent with what comes back (terraform replaces a task definition whose echo differs), so
//! only members seen in real answers are filled in; the rest stays absent.
//!
//! Invariant: completing a completed definition changes nothing.

use ecsr_api::ecs;

use super::{NetworkMode, sizes};
use crate::refusal::Refusal;

/// Health check interval, timeout and retries where a check leaves them out; seconds, seconds, count.
const HEALTH_CHECK_DEFAULTS: (i32, i32, i32) = (30, 5, 3);

/// Moves the request's members over and fills in what is missing.
pub(super) fn definition(
    request: ecs::RegisterTaskDefinitionRequest,
    network: NetworkMode,
) -> Result<ecs::TaskDefinition, Refusal> {
    let mut containers = request.container_definitions.unwrap_or_default();
    for container in &mut containers {
        complete_container(container, network);
    }
    Ok(ecs::TaskDefinition {
        container_definitions: Some(containers),
        cpu: sizes::task_cpu(request.cpu.as_deref())?,
        memory: sizes::task_memory(request.memory.as_deref())?,
        family: request.family,
        volumes: Some(request.volumes.unwrap_or_default()),
        placement_constraints: Some(request.placement_constraints.unwrap_or_default()),
        network_mode: request.network_mode,
        task_role_arn: request.task_role_arn,
        execution_role_arn: request.execution_role_arn,
        requires_compatibilities: request.requires_compatibilities.filter(|list| !list.is_empty()),
        pid_mode: request.pid_mode,
        ipc_mode: request.ipc_mode,
        proxy_configuration: request.proxy_configuration,
        inference_accelerators: request.inference_accelerators,
        ephemeral_storage: request.ephemeral_storage,
        runtime_platform: request.runtime_platform,
        enable_fault_injection: request.enable_fault_injection,
        trusted_execution_configuration: request.trusted_execution_configuration,
        ..ecs::TaskDefinition::default()
    })
}

fn complete_container(container: &mut ecs::ContainerDefinition, network: NetworkMode) {
    container.cpu.get_or_insert(0);
    container.essential.get_or_insert(true);
    container.environment.get_or_insert_default();
    container.mount_points.get_or_insert_default();
    container.volumes_from.get_or_insert_default();
    container.system_controls.get_or_insert_default();
    for mapping in container.port_mappings.get_or_insert_default() {
        complete_port(mapping, network);
    }
    if let Some(check) = &mut container.health_check {
        let (interval, timeout, retries) = HEALTH_CHECK_DEFAULTS;
        check.interval.get_or_insert(interval);
        check.timeout.get_or_insert(timeout);
        check.retries.get_or_insert(retries);
    }
}

/// Without a host port, bridge mode picks one when the task starts (0); the other modes share the container's.
fn complete_port(mapping: &mut ecs::PortMapping, network: NetworkMode) {
    mapping.protocol.get_or_insert_with(|| "tcp".to_owned());
    if mapping.container_port_range.is_some() {
        return;
    }
    match network {
        NetworkMode::Bridge | NetworkMode::None => {
            mapping.host_port.get_or_insert(0);
        }
        NetworkMode::Host | NetworkMode::Awsvpc => {
            if mapping.host_port.is_none_or(|port| port == 0) {
                mapping.host_port = mapping.container_port;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{register_json, with_container};

    #[test]
    fn ports_and_protocols() {
        let check = |network: &str, mapping: Value, expected: Value| {
            let mut request = with_container(json!({"portMappings": [mapping]}));
            request["networkMode"] = json!(network);
            let definition =
                serde_json::to_value(register_json(request).expect("valid")).expect("serialises");
            assert_eq!(definition["containerDefinitions"][0]["portMappings"][0], expected);
        };
        let bridge = json!({"containerPort": 80, "hostPort": 0, "protocol": "tcp"});
        check("bridge", json!({"containerPort": 80}), bridge);
        let same = json!({"containerPort": 80, "hostPort": 80, "protocol": "tcp"});
        check("awsvpc", json!({"containerPort": 80}), same.clone());
        check("host", json!({"containerPort": 80, "hostPort": 0}), same);
        let udp = json!({"containerPort": 53, "hostPort": 5353, "protocol": "udp"});
        check("bridge", udp.clone(), udp);
        let range = json!({"containerPortRange": "9000-9010", "protocol": "tcp"});
        check("bridge", json!({"containerPortRange": "9000-9010"}), range);
    }

    #[test]
    fn health_checks() {
        let request = with_container(json!({"healthCheck": {"command": ["CMD", "true"], "retries": 5}}));
        let definition = serde_json::to_value(register_json(request).expect("valid")).expect("serialises");
        assert_eq!(
            definition["containerDefinitions"][0]["healthCheck"],
            json!({"command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 5})
        );
    }
}
