//! Where a definition can run: `compatibilities`, and the extra rules of FARGATE.
//!
//! ecsr starts no Fargate tasks, yet definitions written for both must register, and their answer must say what
//! ECS's says. A definition is checked against Fargate's rules always; breaking one is an error only if FARGATE is
//! among `requiresCompatibilities`.

use ecsr_api::ecs;

use super::sizes::stored;
use super::{NetworkMode, containers, logging, name_of};
use crate::refusal::{Refusal, client};

/// Fargate's task sizes: CPU units, least and most MiB, and what a size above the least is a multiple of.
const FARGATE_SIZES: [(u32, u32, u32, u32); 8] = [
    (256, 512, 2048, 1024),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
    (32_768, 61_440, 249_856, 4096),
];

/// Log drivers that Fargate offers.
const FARGATE_LOG_DRIVERS: [&str; 3] = ["awslogs", "splunk", "awsfirelens"];

/// The `compatibilities` of a completed definition, in ECS's order.
pub(super) fn compatibilities(
    definition: &ecs::TaskDefinition,
    network: NetworkMode,
) -> Result<Vec<String>, Refusal> {
    let required = definition.requires_compatibilities.as_deref().unwrap_or_default();
    let requires = |name: &str| required.iter().any(|required| required == name);
    let obstacle = obstacle(definition, network);
    if let Some(obstacle) = obstacle.as_ref().filter(|_| requires("FARGATE")) {
        return Err(client(obstacle.clone()));
    }
    if requires("EXTERNAL") && network == NetworkMode::Awsvpc {
        return Err(client("The network mode 'awsvpc' is not supported for the EXTERNAL launch type."));
    }
    let fits = [
        ("EXTERNAL", network != NetworkMode::Awsvpc),
        ("EC2", true),
        ("FARGATE", obstacle.is_none()),
        ("MANAGED_INSTANCES", requires("MANAGED_INSTANCES")),
    ];
    Ok(fits.iter().filter(|(_, fits)| *fits).map(|(name, _)| (*name).to_owned()).collect())
}

/// The first reason why Fargate would not run the definition.
fn obstacle(definition: &ecs::TaskDefinition, network: NetworkMode) -> Option<String> {
    if network != NetworkMode::Awsvpc {
        return Some("Fargate only supports network mode 'awsvpc'.".to_owned());
    }
    if definition.cpu.is_none() {
        return Some("Fargate requires that 'cpu' be defined at the task level.".to_owned());
    }
    if definition.memory.is_none() {
        return Some("Fargate requires that 'memory' be defined at the task level.".to_owned());
    }
    if !is_fargate_size(stored(definition.cpu.as_deref())?, stored(definition.memory.as_deref())?) {
        return Some("No Fargate configuration exists for given values.".to_owned());
    }
    task_obstacle(definition).or_else(|| containers(definition).iter().find_map(container_obstacle))
}

fn is_fargate_size(cpu: u32, memory: u32) -> bool {
    let size = FARGATE_SIZES.iter().find(|(units, ..)| *units == cpu);
    size.is_some_and(|(_, least, most, step)| {
        memory == *least || ((*least..=*most).contains(&memory) && memory.is_multiple_of(*step))
    })
}

fn task_obstacle(definition: &ecs::TaskDefinition) -> Option<String> {
    let not_supported =
        |what: &str| Some(format!("Fargate compatible task definitions do not support {what}."));
    if definition.placement_constraints.as_ref().is_some_and(|constraints| !constraints.is_empty()) {
        return not_supported("placementConstraints");
    }
    if definition.ipc_mode.is_some() {
        return not_supported("ipcMode");
    }
    if definition.pid_mode.as_deref() == Some("host") {
        return not_supported("pidMode host");
    }
    let volumes = definition.volumes.as_deref().unwrap_or_default();
    if volumes.iter().any(|volume| volume.docker_volume_configuration.is_some()) {
        return not_supported("dockerVolumeConfiguration");
    }
    let from_host =
        |volume: &ecs::Volume| volume.host.as_ref().and_then(|host| host.source_path.as_deref()).is_some();
    if volumes.iter().any(from_host) {
        return not_supported("host.sourcePath");
    }
    None
}

fn container_obstacle(container: &ecs::ContainerDefinition) -> Option<String> {
    let given = |list: Option<usize>| list.is_some_and(|length| length > 0);
    let linux = container.linux_parameters.as_ref();
    let driver = logging::driver(container);
    let unsupported = [
        ("privileged", container.privileged == Some(true)),
        ("dockerSecurityOptions", given(container.docker_security_options.as_ref().map(Vec::len))),
        ("resourceRequirements", given(container.resource_requirements.as_ref().map(Vec::len))),
        ("devices", given(linux.and_then(|linux| linux.devices.as_ref()).map(Vec::len))),
        ("tmpfs", given(linux.and_then(|linux| linux.tmpfs.as_ref()).map(Vec::len))),
        ("sharedMemorySize", linux.is_some_and(|linux| linux.shared_memory_size.is_some())),
        ("maxSwap", linux.is_some_and(|linux| linux.max_swap.is_some())),
        ("log driver", driver.is_some_and(|driver| !FARGATE_LOG_DRIVERS.contains(&driver))),
    ];
    let (member, _) = unsupported.iter().find(|(_, given)| *given)?;
    Some(format!(
        "Fargate compatible task definitions do not support {member} (container '{}').",
        name_of(container)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{check_accepted, check_refusal};
    use super::is_fargate_size;

    #[test]
    fn where_a_definition_can_run() {
        let check = |task: Value, expected: &[&str]| {
            assert_eq!(
                check_accepted(task.clone()).compatibilities.expect("always there"),
                expected,
                "{task}"
            );
        };
        check(json!({}), &["EXTERNAL", "EC2"]);
        check(json!({"networkMode": "host"}), &["EXTERNAL", "EC2"]);
        check(json!({"networkMode": "awsvpc"}), &["EC2"]);
        check(json!({"networkMode": "awsvpc", "cpu": "300", "memory": "512"}), &["EC2"]);
        check(json!({"networkMode": "awsvpc", "cpu": ".25 vCPU", "memory": "0.5GB"}), &["EC2", "FARGATE"]);
        check(
            json!({"networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"]}),
            &["EC2", "FARGATE"],
        );
        check(
            json!({"requiresCompatibilities": ["MANAGED_INSTANCES"]}),
            &["EXTERNAL", "EC2", "MANAGED_INSTANCES"],
        );
        check(json!({"networkMode": "awsvpc", "cpu": "256", "memory": "512", "ipcMode": "task"}), &["EC2"]);
    }

    #[test]
    fn what_fargate_refuses_when_it_is_required() {
        let check = |members: Value, message: &str| {
            let mut task = json!({"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256",
                "memory": "512"});
            for (name, value) in members.as_object().expect("members") {
                task[name] = value.clone();
            }
            check_refusal(task, message);
        };
        check(json!({"networkMode": "bridge"}), "Fargate only supports network mode 'awsvpc'.");
        check(json!({"cpu": null}), "Fargate requires that 'cpu' be defined at the task level.");
        check(json!({"memory": null}), "Fargate requires that 'memory' be defined at the task level.");
        check(json!({"memory": "513"}), "No Fargate configuration exists for given values.");
        check(json!({"pidMode": "host"}), "Fargate compatible task definitions do not support pidMode host.");
        check(
            json!({"containerDefinitions": [{"name": "app", "image": "i", "privileged": true}]}),
            "Fargate compatible task definitions do not support privileged (container 'app').",
        );
        check_refusal(
            json!({"requiresCompatibilities": ["EXTERNAL"], "networkMode": "awsvpc"}),
            "The network mode 'awsvpc' is not supported for the EXTERNAL launch type.",
        );
    }

    #[test]
    fn fargate_sizes() {
        let check =
            |cpu, memory, expected| assert_eq!(is_fargate_size(cpu, memory), expected, "{cpu} {memory}");
        for memory in [512, 1024, 2048] {
            check(256, memory, true);
        }
        for (cpu, memory) in
            [(256, 256), (256, 768), (256, 3072), (512, 512), (1024, 1024), (1024, 2500), (300, 1024)]
        {
            check(cpu, memory, false);
        }
        check(4096, 30_720, true);
        check(8192, 20_480, true);
        check(8192, 17_408, false);
        check(16_384, 122_880, true);
        check(16_384, 33_792, false);
    }
}
