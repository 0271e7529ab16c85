//! A placed task in the words that an agent takes: ACS's task out of the stored task definition and the overrides.
//!
//! Overrides of environment, cpu, memory and command are merged here, because an agent takes nothing but a command as
//! an override and refuses the whole task otherwise. What ACS has a member for travels in that member; the rest
//! travels as Docker's own JSON (see [`docker`]). An unmodified Amazon agent honours both.
//!
//! Invariant: the same task always gives the same message, so that sending it again is harmless.

mod container;
mod docker;
mod templates;
mod volume;

use std::collections::BTreeMap;

use ecsr_api::{acs, ecs};
use ecsr_core::State;
use ecsr_core::state::{Definition, Desired, Origin, Task};
use ecsr_core::task_definition;
use serde_json::Value;

pub use self::templates::Templates;

/// CPU units of one vCPU.
const UNITS_PER_VCPU: f64 = 1024.0;

/// The pauses before an agent restarts a container by itself, the first and the longest: soon at first, and no more
/// than some three hundred times a day for what cannot run.
const LOCAL_RESTART_SECONDS: (i64, i64) = (1, 300);

/// What a task's containers need to know of the task.
struct Surroundings<'a> {
    state: &'a State,
    task: &'a Task,
    definition: &'a ecs::TaskDefinition,
}

impl Surroundings<'_> {
    fn network_mode(&self) -> &str {
        self.definition.network_mode.as_deref().unwrap_or("bridge")
    }

    /// The role that agent and log drivers act under, where there is one.
    fn execution_role(&self) -> Option<&String> {
        self.task.overrides.execution_role_arn.as_ref().or(self.definition.execution_role_arn.as_ref())
    }
}

/// The task as its agent is told of it.
pub(super) fn task(state: &State, task: &Task, templates: &Templates) -> acs::Task {
    let definition: &Definition = state.definition(&task.definition);
    let document = &*definition.document;
    let around = Surroundings { state, task, definition: document };
    let id = task.key.id.to_string();
    acs::Task {
        arn: Some(state.home.task_arn(&task.key.cluster, &id)),
        task_cluster_arn: Some(state.home.cluster_arn(&task.key.cluster)),
        family: Some(task.definition.family.to_string()),
        version: Some(task.definition.revision.to_string()),
        desired_status: Some(desired_status(task.wanted_of_agent()).to_owned()),
        task_definition_account_id: Some(state.home.account.clone()),
        zone: task.availability_zone.as_deref().map(str::to_owned),
        cpu: number(task.overrides.cpu.as_ref().or(document.cpu.as_ref()))
            .map(|units| units / UNITS_PER_VCPU),
        memory: task.overrides.memory.as_ref().or(document.memory.as_ref()).and_then(|mib| mib.parse().ok()),
        containers: Some(templates.containers(&around)),
        volumes: Some(document.volumes.iter().flatten().map(volume::volume).collect()),
        overrides: Some(no_overrides()),
        network_mode: Some(around.network_mode().to_owned()),
        launch_type: Some(task.launch_type.as_str().to_owned()),
        service_name: service_name(&task.origin),
        group: Some(task.group.to_string()),
        pid_mode: document.pid_mode.clone(),
        ipc_mode: document.ipc_mode.clone(),
        proxy_configuration: document.proxy_configuration.as_ref().map(proxy),
        enable_fault_injection: document.enable_fault_injection,
        trusted_execution_configuration: None,
        local_restart: local_restart(&task.origin),
        role_credentials: None,
        execution_role_credentials: None,
        elastic_network_interfaces: None,
        associations: None,
        attachments: None,
        agent_configuration: None,
    }
}

/// The words for a task's desired state, which manifests use too.
pub(super) fn desired_status(desired: Desired) -> &'static str {
    match desired {
        Desired::Running => "RUNNING",
        Desired::Stopped => "STOPPED",
    }
}

/// The containers out of definition and overrides.
fn build(around: &Surroundings<'_>) -> Vec<acs::Container> {
    let definitions = around.definition.container_definitions.iter().flatten();
    let effective =
        definitions.map(|definition| task_definition::apply(definition, Some(&around.task.overrides)));
    effective.map(|definition| container::container(around, &definition)).collect()
}

/// What Amazon's service sends for overrides that are merged already.
fn no_overrides() -> Value {
    Value::String("{}".to_owned())
}

fn service_name(origin: &Origin) -> Option<String> {
    match origin {
        Origin::Standalone => None,
        Origin::Service { name, .. } => Some(name.to_string()),
    }
}

/// A service's tasks are kept running while the scheduler is away, as it would replace them; one that somebody ran ends
/// when it ends.
fn local_restart(origin: &Origin) -> Option<acs::LocalRestart> {
    match origin {
        Origin::Standalone => None,
        Origin::Service { .. } => Some(acs::LocalRestart {
            delay_min: Some(LOCAL_RESTART_SECONDS.0),
            delay_max: Some(LOCAL_RESTART_SECONDS.1),
        }),
    }
}

fn number(text: Option<&String>) -> Option<f64> {
    text.and_then(|text| text.parse().ok())
}

fn proxy(configuration: &ecs::ProxyConfiguration) -> acs::ProxyConfiguration {
    acs::ProxyConfiguration {
        r#type: configuration.r#type.clone(),
        container_name: configuration.container_name.clone(),
        properties: configuration.properties.as_ref().map(|pairs| pairs_to_map(pairs)),
    }
}

/// Name and value pairs as a map; of equal names the last wins, as it does in Docker.
fn pairs_to_map(pairs: &[ecs::KeyValuePair]) -> BTreeMap<String, String> {
    let named =
        pairs.iter().filter_map(|pair| Some((pair.name.clone()?, pair.value.clone().unwrap_or_default())));
    named.collect()
}

#[cfg(test)]
mod tests;
