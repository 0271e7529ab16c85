//! One container of a task, for the agent.

use std::collections::BTreeMap;

use ecsr_api::{acs, ecs};

use super::{Surroundings, docker, no_overrides, pairs_to_map};

/// Tells programs and SDKs in the container where they run. Agents look for it and do not add it themselves.
const EXECUTION_ENVIRONMENT: (&str, &str) = ("AWS_EXECUTION_ENV", "AWS_ECS_EC2");

/// A container, of a definition that the overrides are merged into.
pub(super) fn container(around: &Surroundings<'_>, definition: &ecs::ContainerDefinition) -> acs::Container {
    acs::Container {
        name: definition.name.clone(),
        image: definition.image.clone(),
        container_arn: arn(around, definition),
        cpu: Some(definition.cpu.unwrap_or_default().into()),
        memory: definition.memory.map(i64::from),
        essential: Some(definition.essential.unwrap_or(true)),
        command: definition.command.clone(),
        entry_point: definition.entry_point.clone(),
        environment: Some(environment(definition)),
        environment_files: list(definition.environment_files.as_ref(), environment_file),
        secrets: secrets(around, definition),
        port_mappings: list(definition.port_mappings.as_ref(), port_mapping),
        mount_points: list(definition.mount_points.as_ref(), mount_point),
        volumes_from: list(definition.volumes_from.as_ref(), volume_from),
        links: definition.links.clone(),
        depends_on: list(definition.depends_on.as_ref(), dependency),
        start_timeout: definition.start_timeout.map(i64::from),
        stop_timeout: definition.stop_timeout.map(i64::from),
        health_check_type: docker::health_check(definition).map(|_| "docker".to_owned()),
        restart_policy: definition.restart_policy.as_ref().map(restart_policy),
        linux_parameters: definition.linux_parameters.as_ref().map(linux_parameters),
        privileged: definition.privileged,
        network_interface_names: None,
        registry_authentication: registry_authentication(around, definition),
        logs_auth_strategy: logs_auth_strategy(around, definition),
        managed_agents: managed_agents(around),
        firelens_configuration: definition.firelens_configuration.as_ref().map(firelens),
        credential_specs: definition.credential_specs.clone(),
        overrides: Some(no_overrides()),
        docker_config: Some(docker::docker_config(around, definition)),
    }
}

fn list<T, U>(items: Option<&Vec<T>>, item: impl Fn(&T) -> U) -> Option<Vec<U>> {
    items.map(|items| items.iter().map(item).collect())
}

/// The ARN of a container of this very task.
pub(super) fn arn(around: &Surroundings<'_>, definition: &ecs::ContainerDefinition) -> Option<String> {
    let task = &around.task.key;
    let mut containers = around.task.containers.iter();
    let found = containers.find(|container| Some(&*container.name) == definition.name.as_deref())?;
    Some(around.state.home.container_arn(&task.cluster, &task.id.to_string(), &found.id.dashed().to_string()))
}

fn environment(definition: &ecs::ContainerDefinition) -> BTreeMap<String, String> {
    let (name, value) = EXECUTION_ENVIRONMENT;
    let mut environment = pairs_to_map(definition.environment.as_deref().unwrap_or_default());
    environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    environment
}

fn environment_file(file: &ecs::EnvironmentFile) -> acs::EnvironmentFile {
    acs::EnvironmentFile { value: file.value.clone(), r#type: file.r#type.clone() }
}

fn port_mapping(mapping: &ecs::PortMapping) -> acs::PortMapping {
    acs::PortMapping {
        container_port: mapping.container_port,
        host_port: mapping.host_port,
        container_port_range: mapping.container_port_range.clone(),
        protocol: Some(mapping.protocol.clone().unwrap_or_else(|| "tcp".to_owned())),
    }
}

fn mount_point(mount: &ecs::MountPoint) -> acs::MountPoint {
    acs::MountPoint {
        source_volume: mount.source_volume.clone(),
        container_path: mount.container_path.clone(),
        read_only: Some(mount.read_only.unwrap_or_default()),
    }
}

fn volume_from(volumes: &ecs::VolumeFrom) -> acs::VolumeFrom {
    acs::VolumeFrom {
        source_container: volumes.source_container.clone(),
        read_only: Some(volumes.read_only.unwrap_or_default()),
    }
}

fn dependency(dependency: &ecs::ContainerDependency) -> acs::ContainerDependency {
    acs::ContainerDependency {
        container_name: dependency.container_name.clone(),
        condition: dependency.condition.clone(),
    }
}

fn restart_policy(policy: &ecs::ContainerRestartPolicy) -> acs::RestartPolicy {
    acs::RestartPolicy {
        enabled: policy.enabled,
        ignored_exit_codes: policy.ignored_exit_codes.clone(),
        restart_attempt_period: policy.restart_attempt_period.map(i64::from),
    }
}

fn linux_parameters(parameters: &ecs::LinuxParameters) -> acs::LinuxParameters {
    let capabilities = |found: &ecs::KernelCapabilities| acs::KernelCapabilities {
        add: found.add.clone(),
        drop: found.drop.clone(),
    };
    let device = |device: &ecs::Device| acs::Device {
        host_path: device.host_path.clone(),
        container_path: device.container_path.clone().or_else(|| device.host_path.clone()),
        permissions: device.permissions.clone(),
    };
    acs::LinuxParameters {
        capabilities: parameters.capabilities.as_ref().map(capabilities),
        devices: list(parameters.devices.as_ref(), device),
        init_process_enabled: parameters.init_process_enabled,
        shared_memory_size: parameters.shared_memory_size.map(i64::from),
    }
}

/// Secrets of the container itself, then those of its log driver.
fn secrets(around: &Surroundings<'_>, definition: &ecs::ContainerDefinition) -> Option<Vec<acs::Secret>> {
    let logging = definition.log_configuration.as_ref().and_then(|logging| logging.secret_options.as_ref());
    if definition.secrets.is_none() && logging.is_none() {
        return None;
    }
    let own = definition.secrets.iter().flatten().map(|found| secret(around, found, "CONTAINER"));
    let logging = logging.into_iter().flatten().map(|found| secret(around, found, "LOG_DRIVER"));
    Some(own.chain(logging).collect())
}

fn secret(around: &Surroundings<'_>, found: &ecs::Secret, target: &str) -> acs::Secret {
    let from = found.value_from.as_deref().unwrap_or_default();
    // A bare name is a parameter of Systems Manager in the task's own region.
    let (service, region) = match from.split(':').collect::<Vec<_>>()[..] {
        ["arn", _, service, region, ..] => (service, region.to_owned()),
        _ => ("ssm", around.state.home.region.clone()),
    };
    acs::Secret {
        name: found.name.clone(),
        value_from: found.value_from.clone(),
        region: Some(region),
        provider: Some(if service == "secretsmanager" { "asm" } else { "ssm" }.to_owned()),
        r#type: Some("ENVIRONMENT_VARIABLE".to_owned()),
        target: Some(target.to_owned()),
        container_path: None,
    }
}

fn registry_authentication(
    around: &Surroundings<'_>,
    definition: &ecs::ContainerDefinition,
) -> Option<acs::RegistryAuthentication> {
    if let Some(credentials) = &definition.repository_credentials {
        let data = acs::AsmAuthData {
            credentials_parameter: credentials.credentials_parameter.clone(),
            region: Some(around.state.home.region.clone()),
        };
        return Some(acs::RegistryAuthentication {
            r#type: Some("asm".to_owned()),
            asm_auth_data: Some(data),
            ecr_auth_data: None,
        });
    }
    let (registry, region) = ecr_registry(definition.image.as_deref()?)?;
    let data = acs::EcrAuthData {
        registry_id: Some(registry.to_owned()),
        region: Some(region.to_owned()),
        endpoint_override: None,
        use_execution_role: Some(around.execution_role().is_some()),
    };
    Some(acs::RegistryAuthentication {
        r#type: Some("ecr".to_owned()),
        ecr_auth_data: Some(data),
        asm_auth_data: None,
    })
}

/// Account and region of an image in Amazon ECR: `<account>.dkr.ecr.<region>.amazonaws.com/…`.
fn ecr_registry(image: &str) -> Option<(&str, &str)> {
    let (host, _) = image.split_once('/')?;
    match host.split('.').collect::<Vec<_>>()[..] {
        [account, "dkr", "ecr" | "ecr-fips", region, "amazonaws", "com", ..] => Some((account, region)),
        _ => None,
    }
}

fn logs_auth_strategy(around: &Surroundings<'_>, definition: &ecs::ContainerDefinition) -> Option<String> {
    let driver = definition.log_configuration.as_ref()?.log_driver.as_deref();
    let with_role = driver == Some("awslogs") && around.execution_role().is_some();
    with_role.then(|| "ExecutionRole".to_owned())
}

fn managed_agents(around: &Surroundings<'_>) -> Option<Vec<acs::ManagedAgent>> {
    let agent = acs::ManagedAgent { name: Some("ExecuteCommandAgent".to_owned()), properties: None };
    around.task.enable_execute_command.then(|| vec![agent])
}

fn firelens(configuration: &ecs::FirelensConfiguration) -> acs::FirelensConfiguration {
    acs::FirelensConfiguration {
        r#type: configuration.r#type.clone(),
        options: configuration.options.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_ecr_are_recognised() {
        let check = |image: &str, expected: Option<(&str, &str)>| {
            assert_eq!(ecr_registry(image), expected, "{image}");
        };
        let ours = Some(("123456789012", "eu-west-1"));
        check("123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:1", ours);
        check("123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn/web", ours);
        check("123456789012.dkr.ecr-fips.eu-west-1.amazonaws.com/web", ours);
        check("busybox", None);
        check("docker.io/library/busybox", None);
        check("public.ecr.aws/docker/library/busybox", None);
    }
}
