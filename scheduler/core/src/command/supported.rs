//! What calls may ask for: the checks that RunTask, StartTask and the service operations share.
//!
//! A member that ECS knows but that is not acted on here is refused by its name, never dropped silently.

use ecsr_api::ecs;

use crate::refusal::{Refusal, client, invalid};
use crate::resolve;
use crate::state::{Definition, DefinitionStatus, LaunchType, State};

/// The refusal of a member that is not acted on.
pub(super) fn unsupported(member: &str) -> Refusal {
    Refusal::Unsupported(format!("{member} is not supported by this scheduler."))
}

/// A task definition that new tasks may run.
pub(super) fn usable_definition<'a>(state: &'a State, text: Option<&str>) -> Result<&'a Definition, Refusal> {
    let text =
        text.filter(|text| !text.is_empty()).ok_or_else(|| invalid("TaskDefinition can not be blank."))?;
    let definition = resolve::definition(state, text)?.ok_or_else(|| client("TaskDefinition not found."))?;
    match definition.status {
        DefinitionStatus::Active => Ok(definition),
        DefinitionStatus::Inactive | DefinitionStatus::DeleteInProgress => {
            Err(invalid("TaskDefinition is inactive"))
        }
    }
}

/// The launch type, which the task definition must be compatible with.
pub(super) fn launch_type(
    given: Option<&str>,
    definition: &ecs::TaskDefinition,
) -> Result<Option<LaunchType>, Refusal> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(None) };
    crate::names::one_of("launchType", given, ecs::enums::LAUNCH_TYPE)?;
    if !definition.compatibilities.iter().flatten().any(|one| one == given) {
        return Err(invalid(format!("Task definition does not support launch_type {given}.")));
    }
    match given {
        "EC2" => Ok(Some(LaunchType::Ec2)),
        "EXTERNAL" => Ok(Some(LaunchType::External)),
        _ => Err(unsupported(&format!("launchType {given}"))),
    }
}

/// A network configuration goes with awsvpc, and awsvpc with a network configuration.
pub(super) fn network(
    given: Option<&ecs::NetworkConfiguration>,
    definition: &ecs::TaskDefinition,
) -> Result<(), Refusal> {
    let awsvpc = definition.network_mode.as_deref() == Some("awsvpc");
    let configured = given.is_some_and(|network| network.awsvpc_configuration.is_some());
    match (awsvpc, configured) {
        (true, false) => {
            Err(invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified."))
        }
        (false, true) => Err(invalid(
            "Network Configuration is not valid for the given networkMode of this task definition.",
        )),
        (true, true) | (false, false) => Ok(()),
    }
}
