//! The body of Docker's create call for a container of a task.
//!
//! First what follows from the payload's own fields, then Docker's JSON from `dockerConfig` on top, then what must
//! hold whatever was sent: the labels, and no restart or removal by Docker itself.

use ecsr_api::acs::{Container, Device};
use serde_json::{Map, Value, json};

use super::labels::Owner;
use super::ports::{Ipv6, PortChoice};
use super::{Refusal, Task, labels, names, overlay, support, volumes};

/// Docker's least and the kernel's largest CPU weight.
const CPU_SHARES_MIN: i64 = 2;
const CPU_SHARES_MAX: i64 = 262_144;
/// Docker refuses less memory than this.
const MEMORY_BYTES_MIN: i64 = 6 * MIB;
const MIB: i64 = 1024 * 1024;
/// Buffer of a log driver in non-blocking mode that names none.
const LOG_BUFFER: &str = "10m";

/// What of the host and the agent goes into a container.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) region: Option<&'a str>,
    pub(crate) pids_limit: Option<i64>,
    pub(crate) ipv6: Ipv6,
    /// The environment that the image sets, as `KEY=VALUE`.
    pub(crate) image_env: &'a [String],
    /// The decided host ports.
    pub(crate) ports: &'a [PortChoice],
    /// Whether the agent serves credentials to tasks.
    pub(crate) serves_credentials: bool,
}

/// The body, and the members of `dockerConfig` that it could not take.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) docker: Box<bollard::models::ContainerCreateBody>,
    pub(crate) not_understood: Vec<String>,
}

/// Builds the body for the container named `name` of the task.
pub(crate) fn build(task: &Task, container: &Container, around: &Surroundings<'_>) -> Result<Body, Refusal> {
    let name = container.name.as_deref().unwrap_or_default();
    let docker = container.docker_config.as_ref();
    let config_text = docker.and_then(|docker| docker.config.as_deref());
    let host_text = docker.and_then(|docker| docker.host_config.as_deref());

    let mut config = base_config(task, container, around)?;
    overlay::apply(&mut config, overlay::parse(config_text)?);
    let mut host = base_host_config(task, container, around)?;
    overlay::apply(&mut host, overlay::parse(host_text)?);
    settle_log_buffer(&mut host);
    for owned in ["RestartPolicy", "AutoRemove"] {
        host.remove(owned);
    }
    config.insert("HostConfig".to_owned(), Value::Object(host.clone()));

    let mut body: bollard::models::ContainerCreateBody =
        serde_json::from_value(Value::Object(config.clone()))
            .map_err(|error| Refusal::Invalid(format!("dockerConfig of container {name}: {error}")))?;
    let not_understood = not_understood(&config, &host, &body);
    let mut all_labels = body.labels.take().unwrap_or_default();
    all_labels.extend(labels::of(task, name, around.owner));
    body.labels = Some(all_labels);
    Ok(Body { docker: Box::new(body), not_understood })
}

fn not_understood(
    config: &Map<String, Value>,
    host: &Map<String, Value>,
    body: &bollard::models::ContainerCreateBody,
) -> Vec<String> {
    let Ok(Value::Object(kept)) = serde_json::to_value(body) else { return Vec::new() };
    let mut lost = overlay::lost(config, &kept);
    if let Some(Value::Object(kept)) = kept.get("HostConfig") {
        lost.extend(overlay::lost(host, kept).into_iter().map(|member| format!("HostConfig.{member}")));
    }
    lost
}

fn base_config(
    task: &Task,
    container: &Container,
    around: &Surroundings<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let mut config = Map::new();
    config.insert("Image".to_owned(), json!(container.image));
    let command = support::command_override(container)?.or_else(|| container.command.clone());
    if let Some(command) = command.filter(|command| !command.is_empty()) {
        config.insert("Cmd".to_owned(), json!(command));
    }
    if let Some(entry_point) = container.entry_point.as_ref().filter(|entry_point| !entry_point.is_empty()) {
        config.insert("Entrypoint".to_owned(), json!(entry_point));
    }
    let exposed: Map<String, Value> =
        around.ports.iter().map(|port| (docker_port(port), Value::Object(Map::new()))).collect();
    if !exposed.is_empty() {
        config.insert("ExposedPorts".to_owned(), Value::Object(exposed));
    }
    config.insert("Env".to_owned(), json!(environment(task, container, around)));
    Ok(config)
}

/// The container's environment with what the agent adds. A region that the user or the image sets is left alone.
fn environment(task: &Task, container: &Container, around: &Surroundings<'_>) -> Vec<String> {
    let mut all = container.environment.clone().unwrap_or_default();
    let image_sets = |name: &str| {
        around.image_env.iter().any(|entry| entry.split_once('=').is_some_and(|(key, _)| key == name))
    };
    if let Some(region) = around.region {
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            if !image_sets(name) {
                all.entry(name.to_owned()).or_insert_with(|| region.to_owned());
            }
        }
    }
    if let Some(id) = task.credentials_id.as_ref().filter(|_| around.serves_credentials) {
        let uri = format!("/v2/credentials/{id}");
        all.insert("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI".to_owned(), uri);
    }
    all.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn base_host_config(
    task: &Task,
    container: &Container,
    around: &Surroundings<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let mut host = Map::new();
    let mut set = |name: &str, value: Value| host.insert(name.to_owned(), value);
    set("CpuShares", json!(container.cpu.unwrap_or(0).clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)));
    if let Some(cpu) = task.acs.cpu.filter(|cpu| *cpu > 0.0) {
        set("NanoCpus", json!(nano_cpus(cpu)));
    }
    let memory =
        container.memory.filter(|memory| *memory > 0).or(task.acs.memory.filter(|memory| *memory > 0));
    if let Some(memory) = memory {
        set("Memory", json!(memory.saturating_mul(MIB).max(MEMORY_BYTES_MIN)));
    }
    if let Some(limit) = around.pids_limit {
        set("PidsLimit", json!(limit));
    }
    for (name, mode) in [("PidMode", &task.acs.pid_mode), ("IpcMode", &task.acs.ipc_mode)] {
        if let Some(mode) = mode.as_ref().filter(|mode| !mode.is_empty()) {
            set(name, json!(mode));
        }
    }
    let network_mode = task.acs.network_mode.as_deref().filter(|mode| !mode.is_empty()).unwrap_or("bridge");
    set("NetworkMode", json!(network_mode));
    if network_mode == "bridge" {
        set("PortBindings", Value::Object(port_bindings(around)));
        set("Links", json!(links(task, container)));
    }
    set("Binds", json!(volumes::binds(&task.acs, container)?));
    set("VolumesFrom", json!(volumes_from(task, container)));
    if container.privileged == Some(true) {
        set("Privileged", json!(true));
    }
    linux_parameters(container, &mut host);
    Ok(host)
}

/// A hard limit for the container where the task has one: no cgroup holds the task as a whole.
#[expect(clippy::cast_possible_truncation, reason = "a number of CPUs times 1e9 is far below 2^63")]
fn nano_cpus(cpu: f64) -> i64 {
    (cpu * 1e9).round() as i64
}

fn linux_parameters(container: &Container, host: &mut Map<String, Value>) {
    let Some(linux) = &container.linux_parameters else { return };
    if let Some(capabilities) = &linux.capabilities {
        for (name, list) in [("CapAdd", &capabilities.add), ("CapDrop", &capabilities.drop)] {
            if let Some(list) = list {
                host.insert(name.to_owned(), json!(list));
            }
        }
    }
    if let Some(devices) = &linux.devices {
        host.insert("Devices".to_owned(), devices.iter().map(device).collect());
    }
    if let Some(init) = linux.init_process_enabled {
        host.insert("Init".to_owned(), json!(init));
    }
    if let Some(mib) = linux.shared_memory_size.filter(|mib| *mib > 0) {
        host.insert("ShmSize".to_owned(), json!(mib.saturating_mul(MIB)));
    }
}

fn device(device: &Device) -> Value {
    let path = device.host_path.as_deref().unwrap_or_default();
    let letters: String = match &device.permissions {
        None => "rwm".to_owned(),
        Some(permissions) if permissions.is_empty() => "rwm".to_owned(),
        Some(permissions) => permissions.iter().filter_map(|permission| permission.chars().next()).collect(),
    };
    json!({
        "PathOnHost": path,
        "PathInContainer": device.container_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(path),
        "CgroupPermissions": letters,
    })
}

fn docker_port(port: &PortChoice) -> String {
    format!("{}/{}", port.container, port.protocol)
}

fn port_bindings(around: &Surroundings<'_>) -> Map<String, Value> {
    let host_ip = match around.ipv6 {
        Ipv6::Excluded => "0.0.0.0",
        Ipv6::Included => "",
    };
    let mut bindings: Map<String, Value> = Map::new();
    for port in around.ports {
        let host_port = port.host.map(|host| host.to_string()).unwrap_or_default();
        let row = json!({ "HostIp": host_ip, "HostPort": host_port });
        match bindings.entry(docker_port(port)).or_insert_with(|| json!([])) {
            Value::Array(rows) => rows.push(row),
            other => *other = json!([row]),
        }
    }
    bindings
}

/// `other:alias` with the other container's name on this host.
fn links(task: &Task, container: &Container) -> Vec<String> {
    let link = |link: &String| {
        let (other, alias) = link.split_once(':').unwrap_or((link, link));
        format!("{}:{alias}", names::container(&task.spec, other))
    };
    container.links.iter().flatten().map(link).collect()
}

fn volumes_from(task: &Task, container: &Container) -> Vec<String> {
    container
        .volumes_from
        .iter()
        .flatten()
        .map(|from| {
            let other = names::container(&task.spec, from.source_container.as_deref().unwrap_or_default());
            if from.read_only == Some(true) { format!("{other}:ro") } else { other }
        })
        .collect()
}

fn settle_log_buffer(host: &mut Map<String, Value>) {
    let Some(Value::Object(options)) = host.get_mut("LogConfig").and_then(|log| log.get_mut("Config")) else {
        return;
    };
    if options.get("mode").and_then(Value::as_str) == Some("non-blocking") {
        options.entry("max-buffer-size").or_insert_with(|| json!(LOG_BUFFER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build_json(task: &str, ports: &[PortChoice]) -> Value {
        let task = Task::load(serde_json::from_str(task).unwrap()).unwrap();
        let owner =
            Owner { cluster: "c".to_owned(), container_instance: "i".to_owned(), scope: "s".to_owned() };
        let around = Surroundings {
            owner: &owner,
            region: Some("us-east-1"),
            pids_limit: None,
            ipv6: Ipv6::Excluded,
            image_env: &["AWS_DEFAULT_REGION=eu-west-1".to_owned()],
            ports,
            serves_credentials: true,
        };
        let body = build(&task, task.container("a").unwrap(), &around).unwrap();
        let mut value = serde_json::to_value(&body.docker).unwrap();
        let labels = value["Labels"].as_object_mut().unwrap();
        labels.retain(|name, _| !name.starts_with("dev.ecsr"));
        value["NotUnderstood"] = json!(body.not_understood);
        value
    }

    fn task(container: &str, rest: &str) -> String {
        format!(
            r#"{{"arn":"t","family":"f","version":"1","containers":[{{"name":"a","image":"i"{container}}},
                {{"name":"b","image":"i"}}]{rest}}}"#
        )
    }

    #[test]
    fn the_payloads_own_fields_reach_docker() {
        let json = task(
            r#","cpu":0,"memory":2,"command":["sh"],"entryPoint":["/e"],"environment":{"K":"v"},"links":["b:db"],
               "volumesFrom":[{"sourceContainer":"b","readOnly":true}],"privileged":true,
               "linuxParameters":{"capabilities":{"drop":["ALL"]},"initProcessEnabled":true,"sharedMemorySize":8,
               "devices":[{"hostPath":"/dev/null","permissions":["read","mknod"]}]}"#,
            r#","memory":512,"cpu":0.5,"pidMode":"host","roleCredentials":{"credentialsId":"id"}"#,
        );
        let port = PortChoice { container: 80, host: None, protocol: "tcp".to_owned() };
        let body = build_json(&json, &[port]);
        let host = &body["HostConfig"];
        assert_eq!(body["Cmd"], json!(["sh"]));
        assert_eq!(body["Entrypoint"], json!(["/e"]));
        assert_eq!(
            body["Env"],
            json!([
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/id",
                "AWS_REGION=us-east-1",
                "K=v"
            ])
        );
        assert_eq!(body["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(host["PortBindings"], json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}]}));
        assert_eq!(host["CpuShares"], json!(2));
        assert_eq!(host["Memory"], json!(6 * MIB), "raised to what Docker takes");
        assert_eq!(host["NanoCpus"], json!(500_000_000));
        assert_eq!(host["PidMode"], json!("host"));
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert_eq!(host["ShmSize"], json!(8 * MIB));
        assert_eq!(host["Devices"][0]["CgroupPermissions"], json!("rm"));
        assert!(host["Links"][0].as_str().unwrap().starts_with("ecs-f-1-b-"));
        assert!(host["VolumesFrom"][0].as_str().unwrap().ends_with(":ro"));
    }

    #[test]
    fn docker_config_lies_on_top_but_not_over_what_the_agent_needs() {
        let json = task(
            r#","environment":{"K":"v"},"dockerConfig":{
               "config":"{\"User\":\"nobody\",\"Labels\":{\"x\":\"y\",\"com.amazonaws.ecs.task-arn\":\"lie\"},\"Healthcheck\":{\"Test\":[\"CMD\",\"true\"],\"Interval\":1000000000},\"Novelty\":1}",
               "hostConfig":"{\"NetworkMode\":\"host\",\"CapAdd\":[\"NET_ADMIN\"],\"Tmpfs\":{\"/t\":\"size=1m\"},\"RestartPolicy\":{\"Name\":\"always\"},\"AutoRemove\":true,\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"mode\":\"non-blocking\"}},\"KernelMemory\":0}"}"#,
            "",
        );
        let body = build_json(&json, &[]);
        let host = &body["HostConfig"];
        assert_eq!(body["User"], json!("nobody"));
        assert_eq!(body["Healthcheck"]["Interval"], json!(1_000_000_000));
        assert_eq!(body["Labels"]["x"], json!("y"));
        assert_eq!(body["Labels"]["com.amazonaws.ecs.task-arn"], json!("t"));
        assert_eq!(host["NetworkMode"], json!("host"));
        assert_eq!(host["Tmpfs"], json!({"/t": "size=1m"}));
        assert_eq!(host["LogConfig"]["Config"]["max-buffer-size"], json!("10m"));
        assert_eq!(host.get("RestartPolicy"), None);
        assert_eq!(host.get("AutoRemove"), None);
        assert_eq!(body["NotUnderstood"], json!(["Novelty"]));
    }
}
