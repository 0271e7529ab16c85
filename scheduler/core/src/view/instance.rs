//! A container instance: what its host registered, and what is left of it.
//!
//! The remainder is what was registered less what tasks hold, so it can never disagree with placement, which reads the
//! same usage. ECS lists the ports that are *in use* as "remaining", and puts every numeric member into each resource.

use std::collections::BTreeSet;

use ecsr_api::ecs;

use super::{ShowTags, arn, count};
use crate::state::{Instance, InstanceStatus, Presence, Protocol, Resources, State, Usage};

/// ECS's `ContainerInstance`.
pub fn instance(state: &State, instance: &Instance, show_tags: ShowTags) -> ecs::ContainerInstance {
    let usage = state.usage_of(&instance.key);
    let connected = match instance.status {
        InstanceStatus::Active | InstanceStatus::Draining => instance.is_connected(),
        InstanceStatus::Inactive => false,
    };
    ecs::ContainerInstance {
        container_instance_arn: Some(arn::instance(state, &instance.key)),
        ec2_instance_id: instance.ec2_instance_id.clone(),
        version: Some(instance.version),
        version_info: Some(instance.version_info.clone()),
        registered_resources: Some(registered(&instance.resources)),
        remaining_resources: Some(remaining(state, instance, usage)),
        status: Some(instance.status.as_str().to_owned()),
        agent_connected: Some(connected),
        running_tasks_count: Some(count(usage.running)),
        pending_tasks_count: Some(count(usage.pending)),
        attributes: Some(attributes(instance)),
        registered_at: Some(instance.registered_at),
        attachments: Some(Vec::new()),
        tags: Some(show_tags.list(&instance.tags)),
        ..ecs::ContainerInstance::default()
    }
}

/// Whether the host is there, in the words of ECS's health of the container runtime: what runs on a host whose agent is
/// away cannot be told.
pub fn health(instance: &Instance) -> ecs::ContainerInstanceHealthStatus {
    let (status, since) = match instance.presence {
        Presence::Connected => ("OK", None),
        Presence::Silent { since } => ("INSUFFICIENT_DATA", Some(since)),
        Presence::Unreachable { since } | Presence::Lost { since } => ("IMPAIRED", Some(since)),
    };
    let runtime = ecs::InstanceHealthCheckResult {
        r#type: Some("CONTAINER_RUNTIME".to_owned()),
        status: Some(status.to_owned()),
        last_status_change: since,
        last_updated: since,
        ..ecs::InstanceHealthCheckResult::default()
    };
    ecs::ContainerInstanceHealthStatus {
        overall_status: Some(status.to_owned()),
        details: Some(vec![runtime]),
    }
}

fn attributes(instance: &Instance) -> Vec<ecs::Attribute> {
    let attribute = |(name, value): (&String, &Option<String>)| ecs::Attribute {
        name: Some(name.clone()),
        value: value.clone(),
        ..ecs::Attribute::default()
    };
    instance.attributes.iter().map(attribute).collect()
}

fn registered(resources: &Resources) -> Vec<ecs::Resource> {
    let tcp = resources.reserved_ports_tcp.iter().copied().collect();
    let udp = resources.reserved_ports_udp.iter().copied().collect();
    list(resources.cpu, resources.memory, &tcp, &udp, &resources.gpus)
}

fn remaining(state: &State, instance: &Instance, usage: Usage) -> Vec<ecs::Resource> {
    let resources = &instance.resources;
    let in_use = |protocol: Protocol, reserved: &[u16]| -> BTreeSet<u16> {
        let taken = state.ports_of(instance.key.id).filter(|(of, _)| *of == protocol).map(|(_, port)| port);
        reserved.iter().copied().chain(taken).collect()
    };
    let gpus_taken = usize::try_from(usage.gpus).unwrap_or(usize::MAX).min(resources.gpus.len());
    list(
        resources.cpu.saturating_sub(usage.cpu),
        resources.memory.saturating_sub(usage.memory),
        &in_use(Protocol::Tcp, &resources.reserved_ports_tcp),
        &in_use(Protocol::Udp, &resources.reserved_ports_udp),
        &resources.gpus[gpus_taken..],
    )
}

/// The resources in ECS's order. Hosts without a GPU have no such resource at all.
fn list(
    cpu: u32,
    memory: u32,
    tcp: &BTreeSet<u16>,
    udp: &BTreeSet<u16>,
    gpus: &[String],
) -> Vec<ecs::Resource> {
    let ports = |ports: &BTreeSet<u16>| ports.iter().map(u16::to_string).collect();
    let mut resources = vec![
        integer("CPU", cpu),
        integer("MEMORY", memory),
        string_set("PORTS", ports(tcp)),
        string_set("PORTS_UDP", ports(udp)),
    ];
    if !gpus.is_empty() {
        resources.push(string_set("GPU", gpus.to_vec()));
    }
    resources
}

fn integer(name: &str, value: u32) -> ecs::Resource {
    ecs::Resource { integer_value: Some(count(value)), ..resource(name, "INTEGER") }
}

fn string_set(name: &str, values: Vec<String>) -> ecs::Resource {
    ecs::Resource { string_set_value: Some(values), ..resource(name, "STRINGSET") }
}

fn resource(name: &str, kind: &str) -> ecs::Resource {
    ecs::Resource {
        name: Some(name.to_owned()),
        r#type: Some(kind.to_owned()),
        double_value: Some(0.0),
        long_value: Some(0),
        integer_value: Some(0),
        string_set_value: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::World;

    #[test]
    fn remaining_ports_are_those_in_use() {
        let world = World::with_service();
        let shown = instance(&world.state, world.instance(), ShowTags::No);
        let remaining = shown.remaining_resources.unwrap();
        let find = |name: &str| remaining.iter().find(|found| found.name.as_deref() == Some(name)).unwrap();
        assert_eq!(find("CPU").integer_value, Some(2048 - 2 * 256));
        assert_eq!(find("MEMORY").integer_value, Some(4096 - 2 * 512));
        assert_eq!(find("PORTS").string_set_value, Some(vec!["22".into(), "32768".into()]));
        assert_eq!(find("PORTS_UDP").string_set_value, Some(vec![]));
        assert!(remaining.iter().all(|found| found.name.as_deref() != Some("GPU")));
    }

    #[test]
    fn every_resource_has_all_its_numbers() {
        let world = World::with_service();
        let shown = instance(&world.state, world.instance(), ShowTags::No);
        let written = serde_json::to_value(shown.registered_resources.unwrap()).unwrap();
        assert_eq!(
            written[0],
            serde_json::json!({
                "name": "CPU", "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": 2048
            })
        );
        assert_eq!(
            written[2],
            serde_json::json!({
                "name": "PORTS", "type": "STRINGSET", "doubleValue": 0.0, "longValue": 0, "integerValue": 0,
                "stringSetValue": ["22"]
            })
        );
    }

    #[test]
    fn tags_are_an_empty_list_until_asked_for() {
        let world = World::with_service();
        let tags = |show| instance(&world.state, world.instance(), show).tags.unwrap().len();
        assert_eq!((tags(ShowTags::No), tags(ShowTags::Yes)), (0, 1));
    }
}
