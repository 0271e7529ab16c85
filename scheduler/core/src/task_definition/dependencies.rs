//! What containers of a task need of each other: start order, links and borrowed volumes.
//!
//! All three order the start of containers, so a cycle through any of them would never start.
//!
//! Invariant: the union of the three is an acyclic graph over the containers of the task.

use std::collections::{BTreeMap, BTreeSet};

use ecsr_api::ecs;

use super::{NetworkMode, check_enum, containers, name_of};
use crate::refusal::{Refusal, client};

/// Which containers each container waits for, by name.
type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Checks that every reference resolves, that conditions can be met, and that there is no cycle.
pub(super) fn check_all(definition: &ecs::TaskDefinition, network: NetworkMode) -> Result<(), Refusal> {
    let by_name: BTreeMap<&str, &ecs::ContainerDefinition> =
        containers(definition).iter().map(|container| (name_of(container), container)).collect();
    let mut graph = Graph::new();
    for container in containers(definition) {
        let needed = graph.entry(name_of(container)).or_default();
        needed.extend(ordered(container, &by_name)?);
        needed.extend(borrowed(container, &by_name)?);
        needed.extend(linked(container, &by_name)?);
    }
    check_proxy(definition, &by_name, network)?;
    if has_cycle(graph) {
        return Err(client("The dependencies between the containers of the task are cyclic."));
    }
    Ok(())
}

fn ordered<'a>(
    container: &'a ecs::ContainerDefinition,
    by_name: &BTreeMap<&str, &ecs::ContainerDefinition>,
) -> Result<Vec<&'a str>, Refusal> {
    let mut needed = Vec::new();
    for dependency in container.depends_on.as_deref().unwrap_or_default() {
        let name = dependency.container_name.as_deref().unwrap_or_default();
        let condition = dependency.condition.as_deref().unwrap_or_default();
        check_enum("dependsOn.condition", Some(condition), ecs::enums::CONTAINER_CONDITION)?;
        let Some(target) = by_name.get(name) else { return Err(unknown("dependsOn", name, container)) };
        match condition {
            "COMPLETE" | "SUCCESS" if target.essential == Some(true) => {
                return Err(client(
                    "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
                ));
            }
            "HEALTHY" if target.health_check.is_none() => {
                return Err(client(format!(
                    "Container '{name}' must have a healthCheck to be a dependency with HEALTHY condition."
                )));
            }
            _ => needed.push(name),
        }
    }
    Ok(needed)
}

fn borrowed<'a>(
    container: &'a ecs::ContainerDefinition,
    by_name: &BTreeMap<&str, &ecs::ContainerDefinition>,
) -> Result<Vec<&'a str>, Refusal> {
    let sources = container.volumes_from.as_deref().unwrap_or_default();
    let names = sources.iter().map(|source| source.source_container.as_deref().unwrap_or_default());
    names
        .map(|name| {
            by_name.contains_key(name).then_some(name).ok_or_else(|| unknown("volumesFrom", name, container))
        })
        .collect()
}

/// A link is `container` or `container:alias`.
fn linked<'a>(
    container: &'a ecs::ContainerDefinition,
    by_name: &BTreeMap<&str, &ecs::ContainerDefinition>,
) -> Result<Vec<&'a str>, Refusal> {
    let links = container.links.as_deref().unwrap_or_default();
    let names = links.iter().map(|link| link.split(':').next().unwrap_or_default());
    names
        .map(|name| {
            by_name.contains_key(name).then_some(name).ok_or_else(|| unknown("links", name, container))
        })
        .collect()
}

fn check_proxy(
    definition: &ecs::TaskDefinition,
    by_name: &BTreeMap<&str, &ecs::ContainerDefinition>,
    network: NetworkMode,
) -> Result<(), Refusal> {
    let Some(proxy) = &definition.proxy_configuration else { return Ok(()) };
    check_enum("proxyConfiguration.type", proxy.r#type.as_deref(), ecs::enums::PROXY_CONFIGURATION_TYPE)?;
    let name = proxy.container_name.as_deref().unwrap_or_default();
    if !by_name.contains_key(name) {
        return Err(client(format!("proxyConfiguration names the unknown container '{name}'.")));
    }
    if network != NetworkMode::Awsvpc {
        return Err(client("proxyConfiguration is only supported when networkMode=awsvpc."));
    }
    Ok(())
}

/// Takes away what waits for nothing until nothing is left, or only cycles are.
fn has_cycle(mut graph: Graph<'_>) -> bool {
    while !graph.is_empty() {
        let ready: BTreeSet<&str> =
            graph.iter().filter(|(_, needed)| needed.is_empty()).map(|(name, _)| *name).collect();
        if ready.is_empty() {
            return true;
        }
        graph.retain(|name, _| !ready.contains(name));
        for needed in graph.values_mut() {
            needed.retain(|name| !ready.contains(name));
        }
    }
    false
}

fn unknown(member: &str, name: &str, container: &ecs::ContainerDefinition) -> Refusal {
    client(format!("{member} of container '{}' names the unknown container '{name}'.", name_of(container)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{register_json, with_task};

    fn check(app: Value, side: Value, expected: Result<(), &str>) {
        let container = |name: &str, members: Value| {
            let mut container = json!({"name": name, "image": "i", "memory": 8});
            for (member, value) in members.as_object().expect("members") {
                container[member] = value.clone();
            }
            container
        };
        let task = json!({"containerDefinitions": [container("app", app), container("side", side)]});
        let shown = task.to_string();
        let result = register_json(with_task(task)).map(|_| ()).map_err(|refusal| refusal.to_string());
        assert_eq!(result, expected.map_err(str::to_owned), "{shown}");
    }

    fn on(name: &str, condition: &str) -> Value {
        json!({"dependsOn": [{"containerName": name, "condition": condition}]})
    }

    #[test]
    fn start_order() {
        check(on("side", "START"), json!({}), Ok(()));
        check(on("side", "COMPLETE"), json!({"essential": false}), Ok(()));
        let essential =
            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container";
        check(on("side", "SUCCESS"), json!({}), Err(essential));
        check(
            on("side", "HEALTHY"),
            json!({}),
            Err("Container 'side' must have a healthCheck to be a dependency with HEALTHY condition."),
        );
        check(on("side", "HEALTHY"), json!({"healthCheck": {"command": ["CMD", "true"]}}), Ok(()));
        check(
            on("db", "START"),
            json!({}),
            Err("dependsOn of container 'app' names the unknown container 'db'."),
        );
        check(
            on("side", "READY"),
            json!({}),
            Err(
                "Invalid value 'READY' for dependsOn.condition. Valid values are: START, COMPLETE, SUCCESS, HEALTHY.",
            ),
        );
    }

    #[test]
    fn links_and_borrowed_volumes() {
        check(json!({"links": ["side:db"]}), json!({}), Ok(()));
        check(
            json!({"links": ["db"]}),
            json!({}),
            Err("links of container 'app' names the unknown container 'db'."),
        );
        check(json!({"volumesFrom": [{"sourceContainer": "side"}]}), json!({}), Ok(()));
        check(
            json!({"volumesFrom": [{"sourceContainer": "db"}]}),
            json!({}),
            Err("volumesFrom of container 'app' names the unknown container 'db'."),
        );
    }

    #[test]
    fn cycles_through_any_kind_of_need() {
        let cyclic = Err("The dependencies between the containers of the task are cyclic.");
        check(on("app", "START"), json!({}), cyclic);
        check(on("side", "START"), on("app", "START"), cyclic);
        check(on("side", "START"), json!({"links": ["app"]}), cyclic);
        check(json!({"volumesFrom": [{"sourceContainer": "side"}]}), json!({"links": ["app"]}), cyclic);
    }
}
