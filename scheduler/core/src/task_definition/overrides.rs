//! What RunTask and StartTask may change of a definition for one run.
//!
//! Placement, the echo in DescribeTasks and the payload for the agent all see the same effective container, made
//! here: the agent's protocol knows no overrides but of the command.
//!
//! Invariant: overrides that passed [`check_overrides`] name only containers of the definition.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ecsr_api::ecs;

use super::{containers, name_of, sizes};
use crate::names;
use crate::refusal::{Refusal, invalid};

/// Longest overrides, in characters of their JSON.
pub const OVERRIDES_LENGTH_MAX: usize = 8192;

/// Checks the overrides of a call against the definition that it runs.
pub fn check_overrides(
    definition: &ecs::TaskDefinition,
    overrides: &ecs::TaskOverride,
) -> Result<(), Refusal> {
    let json = serde_json::to_string(overrides).expect("wire types always serialise");
    if json.chars().count() > OVERRIDES_LENGTH_MAX {
        return Err(invalid(format!("Container Overrides length must be at most {OVERRIDES_LENGTH_MAX}")));
    }
    sizes::task_cpu(overrides.cpu.as_deref()).map_err(Refusal::into_invalid_parameter)?;
    sizes::task_memory(overrides.memory.as_deref()).map_err(Refusal::into_invalid_parameter)?;
    let mut seen = BTreeSet::new();
    for container in overrides.container_overrides.as_deref().unwrap_or_default() {
        let name = container.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(invalid("Container Name can not be blank."));
        }
        let Some(defined) = containers(definition).iter().find(|defined| name_of(defined) == name) else {
            return Err(invalid(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            )));
        };
        if !seen.insert(name) {
            return Err(invalid(format!("Container {name} has more than one override.")));
        }
        check_container(defined, container, definition.memory.as_deref())?;
    }
    check_sums(definition, overrides)
}

/// The container as this run has it: environment merged by name, everything else replaced. Most runs change nothing.
pub fn apply<'a>(
    container: &'a ecs::ContainerDefinition,
    overrides: Option<&ecs::TaskOverride>,
) -> Cow<'a, ecs::ContainerDefinition> {
    let Some(changes) = override_of(name_of(container), overrides) else { return Cow::Borrowed(container) };
    let mut effective = container.clone();
    effective.cpu = changes.cpu.or(effective.cpu);
    effective.memory = changes.memory.or(effective.memory);
    effective.memory_reservation = changes.memory_reservation.or(effective.memory_reservation);
    replace(&mut effective.command, changes.command.as_ref());
    replace(&mut effective.environment_files, changes.environment_files.as_ref());
    replace(&mut effective.resource_requirements, changes.resource_requirements.as_ref());
    for variable in changes.environment.iter().flatten() {
        set_variable(effective.environment.get_or_insert_default(), variable);
    }
    Cow::Owned(effective)
}

/// The `overrides` of a task as DescribeTasks shows them: one entry per container, with what the call changed.
pub fn echo_overrides(
    definition: &ecs::TaskDefinition,
    overrides: Option<&ecs::TaskOverride>,
) -> ecs::TaskOverride {
    let entry = |container: &ecs::ContainerDefinition| {
        let unchanged = || ecs::ContainerOverride { name: container.name.clone(), ..Default::default() };
        override_of(name_of(container), overrides).cloned().unwrap_or_else(unchanged)
    };
    let mut echo = overrides.cloned().unwrap_or_default();
    echo.container_overrides = Some(containers(definition).iter().map(entry).collect());
    echo.inference_accelerator_overrides.get_or_insert_default();
    echo
}

fn override_of<'a>(
    name: &str,
    overrides: Option<&'a ecs::TaskOverride>,
) -> Option<&'a ecs::ContainerOverride> {
    let list = overrides?.container_overrides.as_deref()?;
    list.iter().find(|changes| changes.name.as_deref() == Some(name))
}

/// An empty list changes nothing, as ECS takes it.
fn replace<T: Clone>(target: &mut Option<Vec<T>>, source: Option<&Vec<T>>) {
    if let Some(source) = source.filter(|list| !list.is_empty()) {
        *target = Some(source.clone());
    }
}

/// A variable keeps its place in the list, so that the order of the definition is the order of the process.
fn set_variable(environment: &mut Vec<ecs::KeyValuePair>, variable: &ecs::KeyValuePair) {
    match environment.iter_mut().find(|defined| defined.name == variable.name) {
        Some(defined) => defined.value.clone_from(&variable.value),
        None => environment.push(variable.clone()),
    }
}

fn check_container(
    defined: &ecs::ContainerDefinition,
    changes: &ecs::ContainerOverride,
    task_memory: Option<&str>,
) -> Result<(), Refusal> {
    let blank = |variable: &ecs::KeyValuePair| variable.name.as_deref().is_none_or(str::is_empty);
    if changes.environment.iter().flatten().any(blank) {
        return Err(invalid("Container.environment name should not be null or empty."));
    }
    for file in changes.environment_files.iter().flatten() {
        let kind = file.r#type.as_deref().unwrap_or_default();
        names::one_of("environmentFiles.type", kind, ecs::enums::ENVIRONMENT_FILE_TYPE)?;
    }
    for requirement in changes.resource_requirements.iter().flatten() {
        let kind = requirement.r#type.as_deref().unwrap_or_default();
        names::one_of("resourceRequirements.type", kind, ecs::enums::RESOURCE_TYPE)?;
        let value = requirement.value.as_deref().unwrap_or_default();
        if kind == "GPU" && !value.parse::<u32>().is_ok_and(|gpus| gpus > 0) {
            return Err(invalid(format!(
                "Invalid 'resourceRequirements' setting for container '{}'.",
                name_of(defined)
            )));
        }
    }
    let effective = ecs::ContainerDefinition {
        cpu: changes.cpu.or(defined.cpu),
        memory: changes.memory.or(defined.memory),
        memory_reservation: changes.memory_reservation.or(defined.memory_reservation),
        name: defined.name.clone(),
        ..ecs::ContainerDefinition::default()
    };
    sizes::check_container(&effective, task_memory).map_err(Refusal::into_invalid_parameter)
}

/// The sizes of the task and of its containers may be overridden apart; together they must still fit.
fn check_sums(definition: &ecs::TaskDefinition, overrides: &ecs::TaskOverride) -> Result<(), Refusal> {
    let sized = |container: &ecs::ContainerDefinition| {
        let container = apply(container, Some(overrides));
        ecs::ContainerDefinition {
            cpu: container.cpu,
            memory: container.memory,
            memory_reservation: container.memory_reservation,
            ..ecs::ContainerDefinition::default()
        }
    };
    let effective = ecs::TaskDefinition {
        cpu: sizes::task_cpu(overrides.cpu.as_deref())?.or_else(|| definition.cpu.clone()),
        memory: sizes::task_memory(overrides.memory.as_deref())?.or_else(|| definition.memory.clone()),
        container_definitions: Some(containers(definition).iter().map(sized).collect()),
        ..ecs::TaskDefinition::default()
    };
    sizes::check_sums(&effective).map_err(Refusal::into_invalid_parameter)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{check_accepted, check_container_accepted};
    use super::*;

    fn overrides(value: Value) -> ecs::TaskOverride {
        serde_json::from_value(value).expect("overrides of the right types")
    }

    #[test]
    fn bad_overrides_are_refused_in_the_words_of_ecs() {
        let definition = check_container_accepted(json!({"memoryReservation": 32}));
        let check = |value: Value, expected: Result<(), &str>| {
            let shown = value.to_string();
            let result =
                check_overrides(&definition, &overrides(value)).map_err(|refusal| refusal.to_string());
            assert_eq!(result, expected.map_err(str::to_owned), "{shown}");
        };
        let one = |members: Value| {
            let mut container = json!({"name": "app"});
            for (name, value) in members.as_object().expect("members") {
                container[name] = value.clone();
            }
            json!({"containerOverrides": [container]})
        };
        check(json!({}), Ok(()));
        check(one(json!({"command": ["sleep", "1"], "memory": 128, "cpu": 0})), Ok(()));
        check(
            one(json!({"name": "db"})),
            Err("Override for container named db is not a container in the TaskDefinition."),
        );
        check(one(json!({"name": null})), Err("Container Name can not be blank."));
        check(one(json!({"cpu": -1})), Err("Invalid 'cpu' setting for container 'app'."));
        check(one(json!({"memory": -1})), Err("Invalid setting for container 'app'. 'memory' must be >= 6."));
        check(
            one(json!({"memory": 16})),
            Err("Invalid setting for container 'app'. 'memory' must be greater than 'memoryReservation'."),
        );
        check(
            one(json!({"environment": [{"value": "x"}]})),
            Err("Container.environment name should not be null or empty."),
        );
        check(
            one(json!({"command": ["x".repeat(OVERRIDES_LENGTH_MAX)]})),
            Err("Container Overrides length must be at most 8192"),
        );
        check(json!({"cpu": "lots"}), Err("Invalid 'cpu' setting for task."));
        check(json!({"memory": "-1"}), Err("Invalid 'memory' setting for task."));
        check(
            json!({"memory": "16"}),
            Err(
                "The sum of all container 'memory' values cannot be greater than the value of the task 'memory'.",
            ),
        );
        check(
            json!({"containerOverrides": [{"name": "app"}, {"name": "app"}]}),
            Err("Container app has more than one override."),
        );
    }

    #[test]
    fn an_override_merges_the_environment_and_replaces_the_rest() {
        let definition = check_container_accepted(json!({
            "command": ["a"], "entryPoint": ["sh"], "cpu": 10,
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        }));
        let changes = overrides(json!({"containerOverrides": [{
            "name": "app", "command": ["b", "c"], "memory": 128,
            "environment": [{"name": "C", "value": "3"}, {"name": "A", "value": "one"}],
        }]}));
        let effective = apply(&containers(&definition)[0], Some(&changes));
        let expected = json!({"command": ["b", "c"], "entryPoint": ["sh"], "cpu": 10, "memory": 128,
            "environment": [{"name": "A", "value": "one"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]});
        let effective = serde_json::to_value(effective).expect("serialises");
        for (member, value) in expected.as_object().expect("members") {
            assert_eq!(&effective[member], value, "{member}");
        }
        let empty = overrides(json!({"containerOverrides": [{"name": "app", "command": []}]}));
        let unchanged = &containers(&definition)[0];
        assert_eq!(&*apply(unchanged, Some(&empty)), unchanged);
        assert_eq!(&*apply(unchanged, None), unchanged);
    }

    #[test]
    fn the_echo_has_one_entry_per_container() {
        let definition = check_accepted(json!({"containerDefinitions": [
            {"name": "a", "image": "i", "memory": 8}, {"name": "b", "image": "i", "memory": 8},
        ]}));
        let check = |given: Option<Value>, expected: Value| {
            let echo = echo_overrides(&definition, given.map(overrides).as_ref());
            assert_eq!(serde_json::to_value(echo).expect("serialises"), expected);
        };
        check(
            None,
            json!({"containerOverrides": [{"name": "a"}, {"name": "b"}], "inferenceAcceleratorOverrides": []}),
        );
        check(
            Some(json!({"containerOverrides": [{"name": "b", "cpu": 5}], "cpu": "256"})),
            json!({"containerOverrides": [{"name": "a"}, {"name": "b", "cpu": 5}], "cpu": "256",
                "inferenceAcceleratorOverrides": []}),
        );
    }
}
