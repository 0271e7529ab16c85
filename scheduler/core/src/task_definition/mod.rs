//! Task definitions: what may be registered, how ECS completes it, and what a task of it demands of an instance.
//!
//! [`register`] is the whole of RegisterTaskDefinition that can be decided without the state of a cluster: every
//! rule of ECS, its words, and the defaults that ECS writes back. What ecsr's own agent cannot run is registered all
//! the same, as ECS does it; `requiresAttributes` then keeps its tasks off every instance that lacks the ability.
//!
//! Order: complete first, then check the completed definition, so that no rule has to know a default.
//!
//! Invariant: a definition that passed has a name and a positive size for every container, at least one essential
//! container, ports within range, and references (links, volumes, dependencies) that resolve without a cycle.

mod complete;
mod container;
mod demand;
mod dependencies;
mod environment;
mod fargate;
mod health;
mod linux;
mod logging;
mod overrides;
mod placement_words;
mod ports;
mod requires_attributes;
mod sizes;
mod task;
#[cfg(test)]
mod testing;
mod volumes;

use ecsr_api::ecs;

pub use demand::{Demand, ShownSize, demand, shown_size};
pub use overrides::{OVERRIDES_LENGTH_MAX, apply, check_overrides, echo_overrides};
pub use placement_words::{
    Constraint, PLACEMENT_CONSTRAINTS_MAX, PLACEMENT_STRATEGIES_MAX, SpreadField, Strategy, constraints,
    definition_constraints, echo_strategies, strategies, task_constraints,
};

use crate::names;
use crate::refusal::{Refusal, client};

/// Largest task definition in bytes of JSON.
pub const DEFINITION_BYTES_MAX: usize = 64 * 1024;

/// Most containers in one task definition.
pub const CONTAINERS_MAX: usize = 10;

/// Checks a registration and completes it with ECS's defaults.
///
/// The caller adds what needs the cluster's state or the clock: `taskDefinitionArn`, `revision`, `status`,
/// `registeredAt` and `registeredBy`. Tags are not part of a definition; see [`names::tags`].
///
/// Refused with `ClientException` in ECS's words.
pub fn register(request: ecs::RegisterTaskDefinitionRequest) -> Result<ecs::TaskDefinition, Refusal> {
    check_size(&request)?;
    names::family(request.family.as_deref().unwrap_or_default())?;
    let network = NetworkMode::read(request.network_mode.as_deref())?;
    let mut definition = complete::definition(request, network)?;

    container::check_all(&definition, network)?;
    volumes::check_all(&definition)?;
    dependencies::check_all(&definition, network)?;
    task::check(&definition, network)?;
    sizes::check_sums(&definition)?;

    definition.compatibilities = Some(fargate::compatibilities(&definition, network)?);
    definition.requires_attributes = requires_attributes::of(&definition, network);
    Ok(definition)
}

/// How the containers of a task reach the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NetworkMode {
    Bridge,
    Host,
    Awsvpc,
    None,
}

impl NetworkMode {
    /// Bridge when not given, as Docker does it on Linux.
    fn read(mode: Option<&str>) -> Result<Self, Refusal> {
        match mode {
            None | Some("bridge") => Ok(Self::Bridge),
            Some("host") => Ok(Self::Host),
            Some("awsvpc") => Ok(Self::Awsvpc),
            Some("none") => Ok(Self::None),
            Some(other) => {
                Err(names::not_one_of("networkMode", other, ecs::enums::NETWORK_MODE).into_client())
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Awsvpc => "awsvpc",
            Self::None => "none",
        }
    }
}

/// ECS measures the definition as JSON; its tags are stored elsewhere and do not count.
fn check_size(request: &ecs::RegisterTaskDefinitionRequest) -> Result<(), Refusal> {
    let untagged = ecs::RegisterTaskDefinitionRequest { tags: None, ..request.clone() };
    let bytes = serde_json::to_vec(&untagged).expect("wire types always serialise").len();
    if bytes > DEFINITION_BYTES_MAX {
        let message =
            format!("Actual length: '{bytes}'. Max allowed length is '{DEFINITION_BYTES_MAX}' bytes.");
        return Err(client(message));
    }
    Ok(())
}

/// The containers of a definition.
fn containers(definition: &ecs::TaskDefinition) -> &[ecs::ContainerDefinition] {
    definition.container_definitions.as_deref().unwrap_or_default()
}

/// A container's name; empty only before it has been checked.
fn name_of(container: &ecs::ContainerDefinition) -> &str {
    container.name.as_deref().unwrap_or_default()
}

/// ECS's words for a member of a container that is out of its range.
fn bad_setting(member: &str, container: &ecs::ContainerDefinition) -> Refusal {
    client(format!("Invalid '{member}' setting for container '{}'.", name_of(container)))
}

/// Checks a member of a container against the values that the service model lists.
fn check_enum(member: &str, value: Option<&str>, allowed: &[&str]) -> Result<(), Refusal> {
    value.map_or(Ok(()), |value| names::one_of(member, value, allowed).map_err(Refusal::into_client))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::testing::{check_refusal, minimal, register_json};

    #[test]
    fn a_minimal_definition_comes_back_with_the_defaults_of_ecs() {
        let definition = register_json(minimal()).expect("a valid definition");
        assert_eq!(
            serde_json::to_value(&definition).expect("serialises"),
            json!({
                "family": "web",
                "containerDefinitions": [{
                    "name": "app", "image": "busybox", "memory": 64, "cpu": 0, "portMappings": [],
                    "essential": true, "environment": [], "mountPoints": [], "volumesFrom": [], "systemControls": []
                }],
                "volumes": [],
                "placementConstraints": [],
                "compatibilities": ["EXTERNAL", "EC2"]
            })
        );
    }

    #[test]
    fn the_task_as_a_whole() {
        check_refusal(json!({"family": null}), "Family can not be blank.");
        check_refusal(json!({"family": "a b"}), "Family contains invalid characters.");
        check_refusal(json!({"containerDefinitions": []}), "Container list cannot be empty.");
        check_refusal(json!({"containerDefinitions": null}), "Container list cannot be empty.");
        let many: Vec<_> =
            (0..11).map(|at| json!({"name": format!("c{at}"), "image": "i", "memory": 8})).collect();
        check_refusal(json!({"containerDefinitions": many}), "Too many containers.");
        check_refusal(
            json!({"networkMode": "nat"}),
            "Invalid value 'nat' for networkMode. Valid values are: bridge, host, awsvpc, none.",
        );
    }

    #[test]
    fn a_definition_over_64_kib_is_refused() {
        let label = "x".repeat(super::DEFINITION_BYTES_MAX);
        let mut request = minimal();
        request["containerDefinitions"][0]["dockerLabels"] = json!({ "l": label });
        let message = register_json(request).expect_err("too large").to_string();
        assert!(message.ends_with("Max allowed length is '65536' bytes."), "{message}");
    }

    #[test]
    fn registering_what_came_back_changes_nothing() {
        let request = json!({
            "family": "web", "networkMode": "host", "cpu": ".5 vCPU", "memory": "1 GB",
            "volumes": [{"name": "data", "host": {}}],
            "containerDefinitions": [{
                "name": "app", "image": "busybox", "portMappings": [{"containerPort": 80}],
                "mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}],
                "healthCheck": {"command": ["CMD", "true"]}, "memoryReservation": 16,
            }],
        });
        let first = register_json(request).expect("valid");
        let again = register_json(serde_json::to_value(&first).expect("serialises")).expect("still valid");
        assert_eq!(again, first);
    }

    /// Anything that a member of the wire could hold, near the bounds of the rules.
    fn member() -> impl Strategy<Value = Value> {
        let number = prop_oneof![any::<i32>(), -1..10, Just(80), Just(i32::MAX)].prop_map(Value::from);
        let text =
            prop_oneof!["\\PC{0,8}", "[a-z:/@.-]{0,12}", Just("app".to_owned()), Just("1 vCPU".to_owned())];
        prop_oneof![
            number,
            text.prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null)
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_registered_or_refused(
            task in prop::collection::btree_map(
                prop::sample::select(vec!["cpu", "memory", "networkMode", "pidMode", "taskRoleArn"]), member(), 0..3),
            container in prop::collection::btree_map(
                prop::sample::select(vec!["name", "image", "cpu", "memory", "memoryReservation", "stopTimeout",
                    "hostname"]), member(), 0..4),
            port in prop::collection::btree_map(
                prop::sample::select(vec!["containerPort", "hostPort", "protocol", "containerPortRange"]), member(), 0..3),
            image in "\\PC{0,20}",
        ) {
            let mut request = minimal();
            let target = &mut request["containerDefinitions"][0];
            target["image"] = image.into();
            target["portMappings"] = json!([port]);
            for (name, value) in container {
                target[name] = value;
            }
            for (name, value) in task {
                request[name] = value;
            }
            let Ok(request) = serde_json::from_value(request) else { return Ok(()) };
            if let Ok(definition) = super::register(request) {
                let demand = super::demand(&definition, None);
                prop_assert!(demand.memory > 0);
            }
        }
    }

    #[test]
    fn tags_do_not_count() {
        let mut request = minimal();
        request["tags"] = json!([{"key": "k", "value": "v".repeat(super::DEFINITION_BYTES_MAX)}]);
        register_json(request).expect("tags are checked elsewhere");
    }
}
