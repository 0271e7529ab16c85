//! What one task takes of an instance, and the sizes that ECS shows for it.
//!
//! The two differ: placement reserves the *reservation* of a container where it has one, while the task object shows
//! the hard limit. Both see the overrides of the run.
//!
//! Invariant: fixed host ports are sorted and without repetition, and dynamic ports demand nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use ecsr_api::ecs;
use serde::{Deserialize, Serialize};

use super::{apply, containers, sizes};

/// What placement must find free on an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// CPU units, 1024 to the core. A task that asks for none reserves none.
    pub cpu: u32,
    /// MiB.
    pub memory: u32,
    /// Fixed host ports.
    pub ports_tcp: Vec<u16>,
    /// Fixed host ports.
    pub ports_udp: Vec<u16>,
    /// Whole GPUs.
    pub gpus: u32,
    /// Names of attributes that the instance must have, whatever their value.
    pub attributes: Vec<Arc<str>>,
}

/// `cpu` and `memory` of a task as the API shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSize {
    /// CPU units.
    pub cpu: String,
    /// MiB.
    pub memory: String,
}

/// The demand of a task of a registered definition, run with these overrides.
pub fn demand(definition: &ecs::TaskDefinition, overrides: Option<&ecs::TaskOverride>) -> Demand {
    let effective = effective_containers(definition, overrides);
    let reserved = |container: &ecs::ContainerDefinition| container.memory_reservation.or(container.memory);
    let attributes = definition.requires_attributes.as_deref().unwrap_or_default();
    Demand {
        cpu: task_cpu(definition, overrides).unwrap_or_else(|| total(&effective, |container| container.cpu)),
        memory: task_memory(definition, overrides).unwrap_or_else(|| total(&effective, reserved)),
        ports_tcp: fixed_ports(definition, "tcp"),
        ports_udp: fixed_ports(definition, "udp"),
        gpus: effective.iter().map(|container| gpus(container)).fold(0, u32::saturating_add),
        attributes: attributes
            .iter()
            .filter_map(|attribute| attribute.name.as_deref())
            .map(Arc::from)
            .collect(),
    }
}

/// The sizes of such a task as DescribeTasks shows them: the task's own, else the sum over its containers.
pub fn shown_size(definition: &ecs::TaskDefinition, overrides: Option<&ecs::TaskOverride>) -> ShownSize {
    let effective = effective_containers(definition, overrides);
    let limit = |container: &ecs::ContainerDefinition| container.memory.or(container.memory_reservation);
    let cpu = task_cpu(definition, overrides).unwrap_or_else(|| total(&effective, |container| container.cpu));
    let memory = task_memory(definition, overrides).unwrap_or_else(|| total(&effective, limit));
    ShownSize { cpu: cpu.to_string(), memory: memory.to_string() }
}

fn effective_containers<'a>(
    definition: &'a ecs::TaskDefinition,
    overrides: Option<&ecs::TaskOverride>,
) -> Vec<Cow<'a, ecs::ContainerDefinition>> {
    containers(definition).iter().map(|container| apply(container, overrides)).collect()
}

/// Overrides are stored as the caller wrote them, hence read with their unit.
fn task_cpu(definition: &ecs::TaskDefinition, overrides: Option<&ecs::TaskOverride>) -> Option<u32> {
    let overridden = overrides.and_then(|overrides| sizes::task_cpu(overrides.cpu.as_deref()).ok().flatten());
    sizes::stored(overridden.as_deref().or(definition.cpu.as_deref()))
}

fn task_memory(definition: &ecs::TaskDefinition, overrides: Option<&ecs::TaskOverride>) -> Option<u32> {
    let overridden =
        overrides.and_then(|overrides| sizes::task_memory(overrides.memory.as_deref()).ok().flatten());
    sizes::stored(overridden.as_deref().or(definition.memory.as_deref()))
}

/// Absent and negative sizes count as nothing; the latter never pass registration.
fn total(
    containers: &[Cow<'_, ecs::ContainerDefinition>],
    size: impl Fn(&ecs::ContainerDefinition) -> Option<i32>,
) -> u32 {
    let sizes =
        containers.iter().filter_map(|container| size(container)).filter_map(|size| u32::try_from(size).ok());
    sizes.fold(0, u32::saturating_add)
}

/// A task with a network interface of its own takes no port of the instance.
fn fixed_ports(definition: &ecs::TaskDefinition, protocol: &str) -> Vec<u16> {
    if definition.network_mode.as_deref() == Some("awsvpc") {
        return Vec::new();
    }
    let mappings =
        containers(definition).iter().flat_map(|container| container.port_mappings.iter().flatten());
    let ports: BTreeSet<u16> = mappings
        .filter(|mapping| mapping.protocol.as_deref().unwrap_or("tcp") == protocol)
        .filter_map(|mapping| u16::try_from(mapping.host_port?).ok())
        .filter(|port| *port != 0)
        .collect();
    ports.into_iter().collect()
}

fn gpus(container: &ecs::ContainerDefinition) -> u32 {
    let requirements = container.resource_requirements.as_deref().unwrap_or_default();
    let counts = requirements
        .iter()
        .filter(|requirement| requirement.r#type.as_deref() == Some("GPU"))
        .filter_map(|requirement| requirement.value.as_deref()?.parse::<u32>().ok());
    counts.fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::check_accepted;
    use super::*;

    fn two(task: Value, first: Value, second: Value) -> ecs::TaskDefinition {
        let container = |name: &str, members: Value| {
            let mut container = json!({"name": name, "image": "i"});
            for (member, value) in members.as_object().expect("members") {
                container[member] = value.clone();
            }
            container
        };
        let mut task = task;
        task["containerDefinitions"] = json!([container("a", first), container("b", second)]);
        check_accepted(task)
    }

    fn overrides(value: Value) -> ecs::TaskOverride {
        serde_json::from_value(value).expect("overrides of the right types")
    }

    #[test]
    fn sizes_for_placement_and_for_show() {
        let check =
            |definition: &ecs::TaskDefinition, overrides: Option<ecs::TaskOverride>, expected: [u32; 4]| {
                let taken = demand(definition, overrides.as_ref());
                let shown = shown_size(definition, overrides.as_ref());
                let shown = [&shown.cpu, &shown.memory].map(|size| size.parse().expect("a number"));
                assert_eq!([taken.cpu, taken.memory, shown[0], shown[1]], expected);
            };
        let summed = two(
            json!({}),
            json!({"cpu": 10, "memory": 100, "memoryReservation": 50}),
            json!({"cpu": 20, "memory": 30}),
        );
        check(&summed, None, [30, 80, 30, 130]);
        check(
            &summed,
            Some(overrides(
                json!({"containerOverrides": [{"name": "a", "cpu": 100, "memoryReservation": 60}]}),
            )),
            [120, 90, 120, 130],
        );
        check(&summed, Some(overrides(json!({"cpu": "1 vCPU", "memory": "1GB"}))), [1024, 1024, 1024, 1024]);
        let sized = two(json!({"cpu": "256", "memory": "512"}), json!({"cpu": 10}), json!({"memory": 30}));
        check(&sized, None, [256, 512, 256, 512]);
        check(&two(json!({}), json!({"memory": 8}), json!({"memory": 8})), None, [0, 16, 0, 16]);
    }

    #[test]
    fn ports_gpus_and_attributes() {
        let ports = json!({"memory": 8, "portMappings": [
            {"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "hostPort": 53, "protocol": "udp"},
            {"containerPort": 81}, {"containerPortRange": "90-99"},
        ]});
        let gpus = json!({"memory": 8, "resourceRequirements": [{"type": "GPU", "value": "2"}]});
        let taken = demand(&two(json!({}), ports.clone(), gpus), None);
        assert_eq!((taken.ports_tcp, taken.ports_udp, taken.gpus), (vec![8080], vec![53], 2));
        assert_eq!(taken.attributes, ["ecs.capability.network.container-port-range".into()]);
    }

    #[test]
    fn host_ports_of_the_network_modes() {
        let check = |network: &str, expected: &[u16]| {
            let ports = json!({"memory": 8, "portMappings": [{"containerPort": 80}]});
            let definition = two(json!({"networkMode": network}), ports, json!({"memory": 8}));
            assert_eq!(demand(&definition, None).ports_tcp, expected, "{network}");
        };
        check("bridge", &[]);
        check("host", &[80]);
        check("awsvpc", &[]);
    }
}
