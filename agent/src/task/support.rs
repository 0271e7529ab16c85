//! What this agent cannot do, field by field.
//!
//! The capabilities that it registers keep such tasks away; one that comes anyway must end with a reason that
//! names the field rather than run without it.

use ecsr_api::acs::{Container, Task, Volume};
use serde_json::Value;

use super::Refusal;

pub(super) fn check(task: &Task) -> Result<(), Refusal> {
    check_modes(task)?;
    refuse_if(task.proxy_configuration.is_some(), "proxyConfiguration")?;
    refuse_if(is_filled(task.associations.as_ref()), "associations")?;
    refuse_if(is_filled(task.attachments.as_ref()), "attachments")?;
    refuse_if(is_filled(task.elastic_network_interfaces.as_ref()), "elasticNetworkInterfaces")?;
    refuse_if(task.enable_fault_injection == Some(true), "enableFaultInjection")?;
    let isolation = task.trusted_execution_configuration.as_ref().and_then(|c| c.isolation_mode.as_deref());
    refuse_if(!matches!(isolation, None | Some("" | "SHARED")), "trustedExecutionConfiguration")?;
    for volume in task.volumes.iter().flatten() {
        check_volume(volume)?;
    }
    for container in task.containers.iter().flatten() {
        check_container(container)?;
    }
    Ok(())
}

fn check_modes(task: &Task) -> Result<(), Refusal> {
    match task.network_mode.as_deref().unwrap_or_default() {
        "" | "bridge" | "host" | "none" => {}
        other => return unsupported(format!("networkMode {other}")),
    }
    match task.pid_mode.as_deref().unwrap_or_default() {
        "" | "host" => {}
        other => return unsupported(format!("pidMode {other}")),
    }
    match task.ipc_mode.as_deref().unwrap_or_default() {
        "" | "host" | "none" => Ok(()),
        other => unsupported(format!("ipcMode {other}")),
    }
}

fn check_volume(volume: &Volume) -> Result<(), Refusal> {
    let name = volume.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(Refusal::Invalid("a volume has no name".to_owned()));
    }
    match volume.r#type.as_deref().unwrap_or_default() {
        "" | "host" | "docker" if volume.docker_volume_configuration.is_some() => Ok(()),
        "" | "host" if volume.efs_volume_configuration.is_some() => {
            unsupported("efsVolumeConfiguration".to_owned())
        }
        "" | "host" => Ok(()),
        "docker" => Err(Refusal::Invalid(format!("volume {name} has no dockerVolumeConfiguration"))),
        other => unsupported(format!("volumes of type {other} (volume {name})")),
    }
}

fn check_container(container: &Container) -> Result<(), Refusal> {
    let name = container.name.as_deref().unwrap_or_default();
    let refuse = |is_set: bool, field: &str| refuse_if(is_set, &format!("{field} (container {name})"));
    refuse(is_filled(container.secrets.as_ref()), "secrets")?;
    refuse(is_filled(container.environment_files.as_ref()), "environmentFiles")?;
    refuse(container.registry_authentication.is_some(), "registryAuthentication")?;
    refuse(container.firelens_configuration.is_some(), "firelensConfiguration")?;
    refuse(is_filled(container.managed_agents.as_ref()), "managedAgents")?;
    refuse(is_filled(container.credential_specs.as_ref()), "credentialSpecs")?;
    refuse(is_filled(container.network_interface_names.as_ref()), "networkInterfaceNames")?;
    refuse(
        container.logs_auth_strategy.as_deref() == Some("ExecutionRole"),
        "logsAuthStrategy ExecutionRole",
    )?;
    let health = container.health_check_type.as_deref().unwrap_or_default();
    refuse(!matches!(health, "" | "docker"), &format!("healthCheckType {health}"))?;
    command_override(container).map(drop)
}

/// The command that replaces the container's own, if `overrides` holds one.
pub(super) fn command_override(container: &Container) -> Result<Option<Vec<String>>, Refusal> {
    let name = container.name.as_deref().unwrap_or_default();
    let invalid = || Refusal::Invalid(format!("overrides of container {name} may hold nothing but command"));
    let value = match &container.overrides {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|_| invalid())?,
        Some(other) => other.clone(),
    };
    let Value::Object(mut members) = value else { return Err(invalid()) };
    let command = members.remove("command");
    if members.values().any(|member| !member.is_null()) {
        return Err(invalid());
    }
    match command {
        None | Some(Value::Null) => Ok(None),
        Some(command) => serde_json::from_value(command).map(Some).map_err(|_| invalid()),
    }
}

fn is_filled<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

fn refuse_if(is_set: bool, field: &str) -> Result<(), Refusal> {
    if is_set { unsupported(field.to_owned()) } else { Ok(()) }
}

fn unsupported(what: String) -> Result<(), Refusal> {
    Err(Refusal::Unsupported(what))
}
