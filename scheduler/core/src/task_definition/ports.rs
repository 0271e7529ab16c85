//! Port mappings: within one container, and across the containers of a task.
//!
//! Invariant: no two containers of a task claim the same fixed host port, so that no instance is ever asked for it
//! twice by one task.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use ecsr_api::ecs;

use super::{NetworkMode, bad_setting, check_enum, containers, name_of};
use crate::refusal::{Refusal, client};

/// Longest name of a port mapping, in characters.
const PORT_NAME_LENGTH_MAX: usize = 64;
/// Most port ranges in one container.
const PORT_RANGES_MAX: usize = 100;

/// Checks the mappings of one container.
pub(super) fn check_container(
    container: &ecs::ContainerDefinition,
    network: NetworkMode,
) -> Result<(), Refusal> {
    let mappings = container.port_mappings.as_deref().unwrap_or_default();
    if network == NetworkMode::None && !mappings.is_empty() {
        return Err(client("PortMappings are not supported when networkMode=none."));
    }
    let ranges = mappings.iter().filter(|mapping| mapping.container_port_range.is_some()).count();
    if ranges > PORT_RANGES_MAX {
        return Err(bad_setting("containerPortRange", container));
    }
    mappings.iter().try_for_each(|mapping| check_mapping(mapping, container, network))?;
    check_overlap(mappings, container)
}

/// Checks what the mappings of all containers claim together: host ports and names.
pub(super) fn check_task(definition: &ecs::TaskDefinition) -> Result<(), Refusal> {
    let mut claimed = BTreeSet::new();
    let mut port_names = BTreeSet::new();
    for container in containers(definition) {
        for mapping in container.port_mappings.as_deref().unwrap_or_default() {
            let host_port = mapping.host_port.filter(|port| *port != 0);
            if host_port.is_some_and(|port| !claimed.insert((port, mapping.protocol.as_deref()))) {
                let port = host_port.unwrap_or_default();
                return Err(client(format!(
                    "Host port {port} of container '{}' is already used by another port mapping of the task.",
                    name_of(container)
                )));
            }
            if mapping.name.as_deref().is_some_and(|name| !port_names.insert(name)) {
                return Err(client("PortMapping.name must be unique in the task definition."));
            }
        }
    }
    Ok(())
}

fn check_mapping(
    mapping: &ecs::PortMapping,
    container: &ecs::ContainerDefinition,
    network: NetworkMode,
) -> Result<(), Refusal> {
    check_enum("protocol", mapping.protocol.as_deref(), ecs::enums::TRANSPORT_PROTOCOL)?;
    check_enum("appProtocol", mapping.app_protocol.as_deref(), ecs::enums::APPLICATION_PROTOCOL)?;
    if mapping.name.as_deref().is_some_and(|name| !is_port_name(name)) {
        return Err(client("PortMapping.name contains invalid characters or is too long."));
    }
    if mapping.container_port_range.is_some() {
        return check_range(mapping, container, network);
    }
    if !mapping.container_port.is_some_and(|port| is_port(port, 1)) {
        return Err(bad_setting("containerPort", container));
    }
    if !mapping.host_port.is_none_or(|port| is_port(port, 0)) {
        return Err(bad_setting("hostPort", container));
    }
    let shared = matches!(network, NetworkMode::Host | NetworkMode::Awsvpc);
    if shared && mapping.host_port != mapping.container_port {
        let mode = network.name();
        return Err(client(format!(
            "When networkMode={mode}, the host ports and container ports in port mappings must match."
        )));
    }
    Ok(())
}

fn check_range(
    mapping: &ecs::PortMapping,
    container: &ecs::ContainerDefinition,
    network: NetworkMode,
) -> Result<(), Refusal> {
    if matches!(network, NetworkMode::Host | NetworkMode::None) {
        let mode = network.name();
        return Err(client(format!("containerPortRange is not supported when networkMode={mode}.")));
    }
    if mapping.container_port.is_some() || mapping.host_port.is_some() {
        return Err(client("containerPortRange can not be used together with containerPort or hostPort."));
    }
    let ascending = |range: RangeInclusive<u16>| *range.start() > 0 && range.start() < range.end();
    if mapping.container_port_range.as_deref().and_then(read_range).is_some_and(ascending) {
        return Ok(());
    }
    Err(bad_setting("containerPortRange", container))
}

/// A container port may stand in one mapping per protocol, unless fixed and dynamic host ports share it.
fn check_overlap(mappings: &[ecs::PortMapping], container: &ecs::ContainerDefinition) -> Result<(), Refusal> {
    for (at, mapping) in mappings.iter().enumerate() {
        let Some(mine) = mapping.container_port_range.as_deref().and_then(read_range) else { continue };
        let others = mappings.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other);
        let overlapping = others
            .filter(|other| other.protocol == mapping.protocol)
            .filter_map(container_ports)
            .any(|theirs| mine.start() <= theirs.end() && theirs.start() <= mine.end());
        if overlapping {
            return Err(bad_setting("containerPortRange", container));
        }
    }
    Ok(())
}

fn container_ports(mapping: &ecs::PortMapping) -> Option<RangeInclusive<u16>> {
    match &mapping.container_port_range {
        Some(range) => read_range(range),
        None => mapping.container_port.and_then(|port| u16::try_from(port).ok()).map(|port| port..=port),
    }
}

fn read_range(range: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = range.split_once('-')?;
    Some(first.parse().ok()?..=last.parse().ok()?)
}

fn is_port(port: i32, least: u16) -> bool {
    u16::try_from(port).is_ok_and(|port| port >= least)
}

fn is_port_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    (1..=PORT_NAME_LENGTH_MAX).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{
        check_container_accepted, check_container_refusal, check_refusal, register_json, with_container,
    };

    fn check(network: &str, mapping: Value, expected: Result<(), &str>) {
        let shown = format!("{network} {mapping}");
        let mut request = with_container(json!({"portMappings": Value::Array(vec![mapping])}));
        request["networkMode"] = json!(network);
        let result = register_json(request).map(|_| ()).map_err(|refusal| refusal.to_string());
        assert_eq!(result, expected.map_err(str::to_owned), "{shown}");
    }

    #[test]
    fn one_mapping() {
        let container_port = Err("Invalid 'containerPort' setting for container 'app'.");
        check("bridge", json!({}), container_port);
        check("bridge", json!({"containerPort": 0}), container_port);
        check("bridge", json!({"containerPort": -80}), container_port);
        check("bridge", json!({"containerPort": 65536}), container_port);
        check("bridge", json!({"containerPort": 65535, "hostPort": 8080}), Ok(()));
        let host_port = Err("Invalid 'hostPort' setting for container 'app'.");
        check("bridge", json!({"containerPort": 80, "hostPort": 65536}), host_port);
        check("bridge", json!({"containerPort": 80, "hostPort": -1}), host_port);
        let protocol = Err("Invalid value 'sctp' for protocol. Valid values are: tcp, udp.");
        check("bridge", json!({"containerPort": 80, "protocol": "sctp"}), protocol);
        let awsvpc =
            Err("When networkMode=awsvpc, the host ports and container ports in port mappings must match.");
        check("awsvpc", json!({"containerPort": 80, "hostPort": 8080}), awsvpc);
        let host =
            Err("When networkMode=host, the host ports and container ports in port mappings must match.");
        check("host", json!({"containerPort": 80, "hostPort": 8080}), host);
        check(
            "none",
            json!({"containerPort": 80}),
            Err("PortMappings are not supported when networkMode=none."),
        );
        let name = Err("PortMapping.name contains invalid characters or is too long.");
        check("bridge", json!({"containerPort": 80, "name": "-web"}), name);
        check("bridge", json!({"containerPort": 80, "name": "Web"}), name);
        check("bridge", json!({"containerPort": 80, "name": "web-1_a", "appProtocol": "http2"}), Ok(()));
    }

    #[test]
    fn port_ranges() {
        let bad = Err("Invalid 'containerPortRange' setting for container 'app'.");
        for range in ["9000", "9010-9000", "0-10", "1-65536", "a-b", "5-5", ""] {
            check("bridge", json!({"containerPortRange": range}), bad);
        }
        check("bridge", json!({"containerPortRange": "9000-9010"}), Ok(()));
        check(
            "bridge",
            json!({"containerPortRange": "9000-9010", "hostPort": 1}),
            Err("containerPortRange can not be used together with containerPort or hostPort."),
        );
        check(
            "host",
            json!({"containerPortRange": "9000-9010"}),
            Err("containerPortRange is not supported when networkMode=host."),
        );
        check_container_refusal(
            json!({"portMappings": [{"containerPortRange": "1-5"}, {"containerPort": 5}]}),
            "Invalid 'containerPortRange' setting for container 'app'.",
        );
    }

    #[test]
    fn host_ports_are_claimed_once_per_task_and_protocol() {
        let twice = |first: Value, second: Value| {
            json!({"containerDefinitions": [
                {"name": "a", "image": "i", "memory": 8, "portMappings": [first]},
                {"name": "b", "image": "i", "memory": 8, "portMappings": [second]},
            ]})
        };
        check_refusal(
            twice(json!({"containerPort": 80, "hostPort": 80}), json!({"containerPort": 81, "hostPort": 80})),
            "Host port 80 of container 'b' is already used by another port mapping of the task.",
        );
        check_refusal(
            twice(json!({"containerPort": 80, "name": "x"}), json!({"containerPort": 81, "name": "x"})),
            "PortMapping.name must be unique in the task definition.",
        );
        check_container_accepted(json!({"portMappings": [
            {"containerPort": 53, "hostPort": 53}, {"containerPort": 53, "hostPort": 53, "protocol": "udp"},
            {"containerPort": 80}, {"containerPort": 81},
        ]}));
    }
}
