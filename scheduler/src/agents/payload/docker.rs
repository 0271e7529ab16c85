//! What ACS has no member for: Docker's `Config` and `HostConfig` as JSON text.
//!
//! An agent builds both objects from the other members, then decodes these texts over them. So only what was asked for
//! may stand here: a member with a default value would undo what the agent put there. Durations are nanoseconds, sizes
//! bytes, as the Docker Engine API has them.

use ecsr_api::{acs, ecs};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Surroundings;

const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;
const BYTES_PER_MIB: i64 = 1024 * 1024;

/// The two texts, and the Docker API version that understands them.
pub(super) fn docker_config(
    around: &Surroundings<'_>,
    definition: &ecs::ContainerDefinition,
) -> acs::DockerConfig {
    acs::DockerConfig {
        version: Some(api_version(definition).to_owned()),
        config: Some(Value::Object(config(definition)).to_string()),
        host_config: Some(Value::Object(host_config(around, definition)).to_string()),
    }
}

/// A health check that is to be run; `NONE` switches off the image's own.
pub(super) fn health_check(definition: &ecs::ContainerDefinition) -> Option<&ecs::HealthCheck> {
    let check = definition.health_check.as_ref()?;
    let command = check.command.as_deref().unwrap_or_default();
    (command.first().is_some_and(|first| first != "NONE")).then_some(check)
}

/// A JSON object in the making: members without a value are left out.
trait Members {
    fn put(&mut self, name: &str, value: Option<impl Serialize>);
}

impl Members for Map<String, Value> {
    fn put(&mut self, name: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            let value =
                serde_json::to_value(value).expect("texts, numbers, lists and maps of texts serialise");
            self.insert(name.to_owned(), value);
        }
    }
}

fn config(definition: &ecs::ContainerDefinition) -> Map<String, Value> {
    let mut config = Map::new();
    config.put("User", definition.user.as_ref());
    config.put("WorkingDir", definition.working_directory.as_ref());
    config.put("Hostname", definition.hostname.as_ref());
    config.put("Labels", definition.docker_labels.as_ref());
    config.put("Tty", definition.pseudo_terminal);
    config.put("OpenStdin", definition.interactive);
    config.put("NetworkDisabled", definition.disable_networking);
    config.put("Healthcheck", definition.health_check.as_ref().map(docker_health_check));
    config
}

fn docker_health_check(check: &ecs::HealthCheck) -> Value {
    let nanoseconds =
        |seconds: Option<i32>| seconds.map(|seconds| i64::from(seconds) * NANOSECONDS_PER_SECOND);
    let mut shown = Map::new();
    shown.put("Test", check.command.as_ref());
    shown.put("Interval", nanoseconds(check.interval));
    shown.put("Timeout", nanoseconds(check.timeout));
    shown.put("StartPeriod", nanoseconds(check.start_period));
    shown.put("Retries", check.retries);
    Value::Object(shown)
}

fn host_config(around: &Surroundings<'_>, definition: &ecs::ContainerDefinition) -> Map<String, Value> {
    let bytes = |mib: Option<i32>| mib.map(|mib| i64::from(mib) * BYTES_PER_MIB);
    let mut host = Map::new();
    host.put("NetworkMode", Some(around.network_mode()));
    host.put("MemoryReservation", bytes(definition.memory_reservation));
    host.put("Privileged", definition.privileged);
    host.put("ReadonlyRootfs", definition.readonly_root_filesystem);
    host.put("Dns", definition.dns_servers.as_ref());
    host.put("DnsSearch", definition.dns_search_domains.as_ref());
    host.put("ExtraHosts", definition.extra_hosts.as_deref().map(extra_hosts));
    host.put("SecurityOpt", definition.docker_security_options.as_ref());
    host.put("Ulimits", definition.ulimits.as_deref().map(ulimits));
    host.put("Sysctls", definition.system_controls.as_deref().filter(|list| !list.is_empty()).map(sysctls));
    host.put("LogConfig", definition.log_configuration.as_ref().map(log_config));
    if let Some(linux) = &definition.linux_parameters {
        linux_parameters(&mut host, linux, definition.memory);
    }
    host
}

fn linux_parameters(host: &mut Map<String, Value>, linux: &ecs::LinuxParameters, memory: Option<i32>) {
    let capabilities = linux.capabilities.as_ref();
    host.put("CapAdd", capabilities.and_then(|found| found.add.as_ref()));
    host.put("CapDrop", capabilities.and_then(|found| found.drop.as_ref()));
    host.put("Init", linux.init_process_enabled);
    host.put("ShmSize", linux.shared_memory_size.map(|mib| i64::from(mib) * BYTES_PER_MIB));
    host.put("Tmpfs", linux.tmpfs.as_deref().map(tmpfs));
    host.put("Devices", linux.devices.as_deref().map(devices));
    host.put("MemorySwappiness", linux.swappiness.filter(|_| linux.max_swap.is_some()));
    // Docker counts memory and swap together.
    let with_swap = linux.max_swap.zip(memory).map(|(swap, memory)| i64::from(swap) + i64::from(memory));
    host.put("MemorySwap", with_swap.map(|mib| mib * BYTES_PER_MIB));
}

fn extra_hosts(hosts: &[ecs::HostEntry]) -> Vec<String> {
    let line =
        |host: &ecs::HostEntry| Some(format!("{}:{}", host.hostname.as_ref()?, host.ip_address.as_ref()?));
    hosts.iter().filter_map(line).collect()
}

fn ulimits(limits: &[ecs::Ulimit]) -> Vec<Value> {
    let shown =
        |limit: &ecs::Ulimit| json!({"Name": limit.name, "Soft": limit.soft_limit, "Hard": limit.hard_limit});
    limits.iter().map(shown).collect()
}

fn sysctls(controls: &[ecs::SystemControl]) -> Map<String, Value> {
    let entry =
        |control: &ecs::SystemControl| Some((control.namespace.clone()?, control.value.clone()?.into()));
    controls.iter().filter_map(entry).collect()
}

fn log_config(logging: &ecs::LogConfiguration) -> Value {
    let mut shown = Map::new();
    shown.put("Type", logging.log_driver.as_ref());
    shown.put("Config", Some(logging.options.clone().unwrap_or_default()));
    Value::Object(shown)
}

/// Docker takes the size among the mount's options.
fn tmpfs(mounts: &[ecs::Tmpfs]) -> Map<String, Value> {
    let entry = |mount: &ecs::Tmpfs| {
        let size = mount.size.map(|mib| format!("size={mib}m"));
        let options: Vec<String> = mount.mount_options.iter().flatten().cloned().chain(size).collect();
        Some((mount.container_path.clone()?, options.join(",").into()))
    };
    mounts.iter().filter_map(entry).collect()
}

fn devices(devices: &[ecs::Device]) -> Vec<Value> {
    let shown = |device: &ecs::Device| {
        let inside = device.container_path.as_ref().or(device.host_path.as_ref());
        json!({
            "PathOnHost": device.host_path,
            "PathInContainer": inside,
            "CgroupPermissions": device_permissions(device.permissions.as_deref().unwrap_or_default()),
        })
    };
    devices.iter().map(shown).collect()
}

/// `read`, `write`, `mknod` as the letters of the device cgroup; all three when none is given.
fn device_permissions(permissions: &[String]) -> String {
    if permissions.is_empty() {
        return "rwm".to_owned();
    }
    let letters = [("read", 'r'), ("write", 'w'), ("mknod", 'm')];
    letters
        .iter()
        .filter(|(name, _)| permissions.iter().any(|given| given == name))
        .map(|(_, letter)| letter)
        .collect()
}

/// The lowest Docker API version with everything that the container uses. Agents offer no 1.26, 1.27 or 1.31.
fn api_version(definition: &ecs::ContainerDefinition) -> &'static str {
    let linux = definition.linux_parameters.as_ref();
    let driver = definition.log_configuration.as_ref().and_then(|logging| logging.log_driver.as_deref());
    let needs = [
        ("1.25", linux.is_some_and(|linux| linux.init_process_enabled.is_some())),
        ("1.24", definition.health_check.is_some()),
        ("1.24", definition.system_controls.as_ref().is_some_and(|controls| !controls.is_empty())),
        ("1.22", linux.is_some_and(|linux| linux.shared_memory_size.is_some() || linux.tmpfs.is_some())),
        ("1.21", definition.memory_reservation.is_some()),
        ("1.19", matches!(driver, Some("awslogs" | "fluentd"))),
    ];
    needs.iter().find(|(_, needed)| *needed).map_or("1.18", |(version, _)| version)
}
