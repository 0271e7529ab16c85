//! The rules for one container, and for the list of them.
//!
//! This is the index of the container rules: what has more than a line to check has its own module.

use std::collections::BTreeSet;

use ecsr_api::ecs;

use super::{CONTAINERS_MAX, NetworkMode, bad_setting, check_enum, containers, name_of};
use super::{environment, health, linux, logging, ports, sizes};
use crate::names;
use crate::refusal::{Refusal, client};

/// Longest image with its tag, in characters; a digest is not counted.
const IMAGE_LENGTH_MAX: usize = 255;
/// Hexadecimal digits of a sha256 digest.
const DIGEST_LENGTH: usize = 64;

/// Checks every container of a completed definition.
pub(super) fn check_all(definition: &ecs::TaskDefinition, network: NetworkMode) -> Result<(), Refusal> {
    let containers = containers(definition);
    if containers.is_empty() {
        return Err(client("Container list cannot be empty."));
    }
    if containers.len() > CONTAINERS_MAX {
        return Err(client("Too many containers."));
    }
    containers.iter().try_for_each(|container| check(container, definition, network))?;
    let mut seen = BTreeSet::new();
    if !containers.iter().all(|container| seen.insert(name_of(container))) {
        return Err(client("Container.name must be unique."));
    }
    if !containers.iter().any(|container| container.essential == Some(true)) {
        return Err(client("All tasks must have at least one essential container."));
    }
    ports::check_task(definition)?;
    logging::check_task(definition)
}

fn check(
    container: &ecs::ContainerDefinition,
    definition: &ecs::TaskDefinition,
    network: NetworkMode,
) -> Result<(), Refusal> {
    names::container_name(name_of(container))?;
    check_image(container.image.as_deref().unwrap_or_default())?;
    sizes::check_container(container, definition.memory.as_deref())?;
    ports::check_container(container, network)?;
    environment::check(container, definition.execution_role_arn.as_deref())?;
    health::check(container)?;
    linux::check(container, definition, network)?;
    logging::check_container(container)?;
    check_network(container, network)?;
    check_resources(container, definition)?;
    check_enum(
        "versionConsistency",
        container.version_consistency.as_deref(),
        ecs::enums::VERSION_CONSISTENCY,
    )?;
    if container.start_timeout.is_some_and(i32::is_negative) {
        return Err(bad_setting("startTimeout", container));
    }
    if container.stop_timeout.is_some_and(i32::is_negative) {
        return Err(bad_setting("stopTimeout", container));
    }
    let credentials = container.repository_credentials.as_ref();
    if credentials.is_some_and(|credentials| is_blank(credentials.credentials_parameter.as_deref())) {
        return Err(bad_setting("repositoryCredentials", container));
    }
    Ok(())
}

/// `repository[:tag][@sha256:digest]`.
fn check_image(image: &str) -> Result<(), Refusal> {
    if image.trim().is_empty() {
        return Err(client("Container.image should not be null or empty."));
    }
    let (tagged, digest) =
        image.split_once('@').map_or((image, None), |(tagged, digest)| (tagged, Some(digest)));
    let name = tagged.rsplit('/').next().unwrap_or(tagged);
    if tagged.is_empty() || name.is_empty() || name.starts_with(':') {
        return Err(client("Container.image repository should not be null or empty."));
    }
    if tagged.len() > IMAGE_LENGTH_MAX {
        return Err(client(format!("Container.image must be at most {IMAGE_LENGTH_MAX} characters long.")));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:./#".contains(&byte);
    if !tagged.bytes().all(allowed) || !digest.is_none_or(is_digest) {
        return Err(client("Container.image contains invalid characters."));
    }
    Ok(())
}

fn is_digest(digest: &str) -> bool {
    let hash = digest.strip_prefix("sha256:").unwrap_or_default();
    hash.len() == DIGEST_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Members that only make sense where the container has a network of its own.
fn check_network(container: &ecs::ContainerDefinition, network: NetworkMode) -> Result<(), Refusal> {
    let unsupported =
        |member: &str| client(format!("{member} are not supported when networkMode={}.", network.name()));
    let has_links = container.links.as_ref().is_some_and(|links| !links.is_empty());
    if has_links && network != NetworkMode::Bridge {
        return Err(unsupported("Links"));
    }
    let shared = matches!(network, NetworkMode::Host | NetworkMode::Awsvpc);
    if shared && container.hostname.as_deref().is_some_and(|hostname| !hostname.is_empty()) {
        return Err(unsupported("Hostnames"));
    }
    let hosts = container.extra_hosts.as_deref().unwrap_or_default();
    if network == NetworkMode::Awsvpc && !hosts.is_empty() {
        return Err(unsupported("Extra hosts"));
    }
    let incomplete =
        |host: &ecs::HostEntry| is_blank(host.hostname.as_deref()) || is_blank(host.ip_address.as_deref());
    if hosts.iter().any(incomplete) {
        return Err(bad_setting("extraHosts", container));
    }
    Ok(())
}

/// GPUs are counted; an inference accelerator is one of those that the task declares.
fn check_resources(
    container: &ecs::ContainerDefinition,
    definition: &ecs::TaskDefinition,
) -> Result<(), Refusal> {
    let mut gpus_asked = false;
    for requirement in container.resource_requirements.as_deref().unwrap_or_default() {
        let kind = requirement.r#type.as_deref().unwrap_or_default();
        check_enum("resourceRequirements.type", Some(kind), ecs::enums::RESOURCE_TYPE)?;
        let value = requirement.value.as_deref().unwrap_or_default();
        let valid = match kind {
            "GPU" => {
                !std::mem::replace(&mut gpus_asked, true) && value.parse::<u32>().is_ok_and(|gpus| gpus > 0)
            }
            "InferenceAccelerator" => declares_accelerator(definition, value),
            _ => value.parse::<u32>().is_ok(),
        };
        if !valid {
            return Err(bad_setting("resourceRequirements", container));
        }
    }
    Ok(())
}

fn declares_accelerator(definition: &ecs::TaskDefinition, name: &str) -> bool {
    let declared = definition.inference_accelerators.as_deref().unwrap_or_default();
    declared.iter().any(|accelerator| accelerator.device_name.as_deref() == Some(name))
}

pub(super) fn is_blank(text: Option<&str>) -> bool {
    text.is_none_or(|text| text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{check_container_accepted, check_container_refusal, check_refusal};

    #[test]
    fn names_and_images() {
        check_container_refusal(json!({"name": null}), "Container.name should not be null or empty.");
        check_container_refusal(json!({"name": "a b"}), "Container.name contains invalid characters.");
        check_container_refusal(json!({"image": null}), "Container.image should not be null or empty.");
        check_container_refusal(json!({"image": ""}), "Container.image should not be null or empty.");
        for image in [":latest", "registry/", "repo/:1", "@sha256:00"] {
            check_container_refusal(
                json!({"image": image}),
                "Container.image repository should not be null or empty.",
            );
        }
        for image in ["two words", "busybox@sha256:00", "busybox@md5:00", "é"] {
            check_container_refusal(json!({"image": image}), "Container.image contains invalid characters.");
        }
        check_container_refusal(
            json!({"image": "i".repeat(256)}),
            "Container.image must be at most 255 characters long.",
        );
        let digest = format!("registry.example:5000/a/b:1@sha256:{}", "0a".repeat(32));
        check_container_accepted(json!({ "image": digest }));
    }

    #[test]
    fn the_list_of_containers() {
        let list = |essential: bool, second: &str| {
            json!({"containerDefinitions": [
                {"name": "a", "image": "i", "memory": 8, "essential": essential},
                {"name": second, "image": "i", "memory": 8, "essential": false},
            ]})
        };
        check_refusal(list(false, "b"), "All tasks must have at least one essential container.");
        check_refusal(list(true, "a"), "Container.name must be unique.");
    }

    #[test]
    fn what_the_network_mode_rules_out() {
        let check = |network: &str, member: serde_json::Value, message: &str| {
            let mut container = json!({"name": "app", "image": "i", "memory": 8});
            let (name, value) =
                member.as_object().and_then(|members| members.iter().next()).expect("one member");
            container[name] = value.clone();
            check_refusal(json!({"networkMode": network, "containerDefinitions": [container]}), message);
        };
        check("host", json!({"links": ["db"]}), "Links are not supported when networkMode=host.");
        check("none", json!({"links": ["db"]}), "Links are not supported when networkMode=none.");
        check("awsvpc", json!({"hostname": "x"}), "Hostnames are not supported when networkMode=awsvpc.");
        let hosts = json!({"extraHosts": [{"hostname": "a", "ipAddress": "10.0.0.1"}]});
        check("awsvpc", hosts.clone(), "Extra hosts are not supported when networkMode=awsvpc.");
        check_container_accepted(hosts);
        let half = json!({"extraHosts": [{"hostname": "a"}]});
        check_container_refusal(half, "Invalid 'extraHosts' setting for container 'app'.");
    }

    #[test]
    fn resources_and_times() {
        let gpus = |value: &str| json!({"resourceRequirements": [{"type": "GPU", "value": value}]});
        check_container_accepted(gpus("2"));
        for value in ["0", "-1", "many", ""] {
            check_container_refusal(
                gpus(value),
                "Invalid 'resourceRequirements' setting for container 'app'.",
            );
        }
        check_container_refusal(
            json!({"resourceRequirements": [{"type": "TPU", "value": "1"}]}),
            "Invalid value 'TPU' for resourceRequirements.type. Valid values are: GPU, InferenceAccelerator, NeuronDevice.",
        );
        check_container_refusal(
            json!({"stopTimeout": -1}),
            "Invalid 'stopTimeout' setting for container 'app'.",
        );
        check_container_refusal(
            json!({"startTimeout": -1}),
            "Invalid 'startTimeout' setting for container 'app'.",
        );
        check_container_accepted(json!({"stopTimeout": 0, "startTimeout": 600}));
    }
}
