//! The rules for members of the task itself: name spaces, platform, storage, placement.

use std::ops::RangeInclusive;

use ecsr_api::ecs;

use super::container::is_blank;
use super::{NetworkMode, check_enum, placement_words};
use crate::refusal::{Refusal, client};

/// GiB of ephemeral storage that a task may ask for.
const EPHEMERAL_STORAGE_GIB: RangeInclusive<i32> = 21..=200;

/// Checks what no single container is to blame for.
pub(super) fn check(definition: &ecs::TaskDefinition, network: NetworkMode) -> Result<(), Refusal> {
    check_enum("pidMode", definition.pid_mode.as_deref(), ecs::enums::PID_MODE)?;
    check_enum("ipcMode", definition.ipc_mode.as_deref(), ecs::enums::IPC_MODE)?;
    for compatibility in definition.requires_compatibilities.as_deref().unwrap_or_default() {
        check_enum("requiresCompatibilities", Some(compatibility), ecs::enums::COMPATIBILITY)?;
    }
    if let Some(platform) = &definition.runtime_platform {
        let architecture = platform.cpu_architecture.as_deref();
        check_enum("runtimePlatform.cpuArchitecture", architecture, ecs::enums::CPU_ARCHITECTURE)?;
        let family = platform.operating_system_family.as_deref();
        check_enum("runtimePlatform.operatingSystemFamily", family, ecs::enums::OS_FAMILY)?;
    }
    let storage = definition.ephemeral_storage.as_ref();
    let allowed = |gib: Option<i32>| gib.is_some_and(|gib| EPHEMERAL_STORAGE_GIB.contains(&gib));
    if storage.is_some_and(|storage| !allowed(storage.size_in_gi_b)) {
        return Err(client(
            "Invalid 'ephemeralStorage' setting for task. 'sizeInGiB' must be between 21 and 200.",
        ));
    }
    let accelerators = definition.inference_accelerators.as_deref().unwrap_or_default();
    let incomplete = |accelerator: &ecs::InferenceAccelerator| {
        is_blank(accelerator.device_name.as_deref()) || is_blank(accelerator.device_type.as_deref())
    };
    if accelerators.iter().any(incomplete) {
        return Err(client("Invalid 'inferenceAccelerators' setting for task."));
    }
    if definition.enable_fault_injection == Some(true)
        && !matches!(network, NetworkMode::Awsvpc | NetworkMode::Host)
    {
        return Err(client("enableFaultInjection is only supported when networkMode is awsvpc or host."));
    }
    let isolation = definition.trusted_execution_configuration.as_ref();
    let isolation_mode =
        isolation.map(|configuration| configuration.isolation_mode.as_deref().unwrap_or_default());
    check_enum("trustedExecutionConfiguration.isolationMode", isolation_mode, ecs::enums::ISOLATION_MODE)?;
    placement_words::definition_constraints(definition).map(|_| ())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{check_accepted, check_refusal};

    #[test]
    fn members_of_the_task() {
        check_refusal(
            json!({"pidMode": "shared"}),
            "Invalid value 'shared' for pidMode. Valid values are: host, task.",
        );
        check_refusal(
            json!({"ipcMode": "private"}),
            "Invalid value 'private' for ipcMode. Valid values are: host, task, none.",
        );
        check_refusal(
            json!({"requiresCompatibilities": ["ec2"]}),
            "Invalid value 'ec2' for requiresCompatibilities. Valid values are: EC2, FARGATE, EXTERNAL, \
             MANAGED_INSTANCES.",
        );
        check_refusal(
            json!({"runtimePlatform": {"cpuArchitecture": "arm64"}}),
            "Invalid value 'arm64' for runtimePlatform.cpuArchitecture. Valid values are: X86_64, ARM64.",
        );
        for gib in [20, 201, -1] {
            check_refusal(
                json!({"ephemeralStorage": {"sizeInGiB": gib}}),
                "Invalid 'ephemeralStorage' setting for task. 'sizeInGiB' must be between 21 and 200.",
            );
        }
        check_refusal(
            json!({"enableFaultInjection": true}),
            "enableFaultInjection is only supported when networkMode is awsvpc or host.",
        );
        check_accepted(json!({"pidMode": "task", "ipcMode": "none", "enableFaultInjection": false,
            "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}}));
    }

    #[test]
    fn placement_constraints_are_expressions_only() {
        let constraint = |kind: &str, expression: &str| json!({"placementConstraints": [{"type": kind, "expression": expression}]});
        check_accepted(constraint("memberOf", "attribute:ecs.instance-type =~ t3.*"));
        check_refusal(
            json!({"placementConstraints": [{"type": "distinctInstance"}]}),
            "constraint.type 'distinctInstance' is not supported.",
        );
        check_refusal(
            constraint("memberOf", "attribute:a ="),
            "Invalid expression: expected an operator but found '=' at position 12.",
        );
    }
}
