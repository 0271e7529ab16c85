//! Joining the cluster: what this host is and has, told to the scheduler until it takes it.
//!
//! The ARN of an earlier registration is sent along, so that a restart changes nothing for anybody; one that the
//! scheduler does not know any more is given up for the one before it, and after the last a new instance is registered. Capabilities are
//! registered only for what this agent really does.

use std::time::Duration;

use aws_sdk_ecs::types::{Attribute, Resource, Tag};

use crate::api::Api;
use crate::backoff::{Backoff, Complaint};
use crate::config::Config;
use crate::ledger::Ledger;
use crate::runtime::EngineInfo;
use crate::task::names;
use crate::uplink::{ApiFailure, Uplink};

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// The Docker API versions that ECS has names for.
const DOCKER_API_MINORS: &[u32] = &[17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 29, 30, 32];
const CAPABILITY: &str = "com.amazonaws.ecs.capability.";

/// Registers the instance and answers its ARN; tries for ever.
pub(crate) async fn register(uplink: &impl Uplink, config: &Config, ledger: &Ledger) -> String {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let mut complaint = Complaint::default();
    // An instance belongs to one cluster: another one knows nothing of it.
    let is_here = |arn: &&String| names::cluster_in(arn).is_none_or(|named| named == config.cluster_name());
    let mut earlier: Vec<String> =
        ledger.with(|entries| entries.container_instances.iter().filter(is_here).cloned().collect());
    loop {
        match uplink.register(earlier.last().map(String::as_str)).await {
            Ok(arn) => {
                complaint.settled("the scheduler answers again");
                tracing::info!(container_instance = arn, cluster = config.cluster, "registered");
                ledger.update(|entries| entries.remember_instance(&arn)).written().await;
                return arn;
            }
            Err(ApiFailure::Refused(why)) if !earlier.is_empty() => {
                let refused = earlier.pop();
                tracing::warn!(refused, "this earlier registration is not valid any more: {why}");
                continue;
            }
            Err(ApiFailure::NoCluster(why)) => {
                earlier.clear();
                if config.cluster == "default" && uplink.create_cluster("default").await.is_ok() {
                    continue;
                }
                complaint.warn(format!("waiting for cluster {}: {why}", config.cluster));
            }
            Err(other) => {
                let at = config.endpoint.as_deref().unwrap_or("the ECS endpoint");
                complaint.warn(format!("cannot register at {at}, trying again: {other}"));
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// One call.
pub(crate) async fn call(
    api: &Api,
    config: &Config,
    engine: &EngineInfo,
    earlier: Option<&str>,
) -> Result<String, ApiFailure> {
    // Outside EC2 there is no identity document; the protocol wants empty strings then.
    let request = api
        .client()
        .register_container_instance()
        .cluster(&config.cluster)
        .instance_identity_document("")
        .instance_identity_document_signature("")
        .set_container_instance_arn(earlier.map(str::to_owned))
        .set_total_resources(Some(resources(config)))
        .set_attributes(Some(attributes(config, engine)))
        .set_tags(tags(config));
    let reply = request.send().await.map_err(|error| api.failure(&error))?;
    let arn = reply.container_instance().and_then(|instance| instance.container_instance_arn());
    arn.map(str::to_owned)
        .ok_or_else(|| ApiFailure::Passing("the answer names no container instance".to_owned()))
}

fn resources(config: &Config) -> Vec<Resource> {
    let integer = |name: &str, value: i32| {
        Resource::builder().name(name).r#type("INTEGER").integer_value(value).build()
    };
    let ports = |name: &str, ports: &[u16]| {
        let values = ports.iter().map(u16::to_string).collect();
        Resource::builder().name(name).r#type("STRINGSET").set_string_set_value(Some(values)).build()
    };
    vec![
        integer("CPU", cores().saturating_mul(1024)),
        integer("MEMORY", memory_mib().saturating_sub(i32::from(config.reserved_memory_mib)).max(0)),
        ports("PORTS", &config.reserved_ports),
        ports("PORTS_UDP", &config.reserved_ports_udp),
    ]
}

/// The host's cores, also from inside a container: `/proc/cpuinfo` knows no container.
fn cores() -> i32 {
    let listed = std::fs::read_to_string("/proc/cpuinfo")
        .map(|text| text.lines().filter(|line| line.starts_with("processor")).count())
        .unwrap_or_default();
    let known = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    i32::try_from(if listed > 0 { listed } else { known }).unwrap_or(i32::MAX)
}

fn memory_mib() -> i32 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    parse_memory_mib(&text).unwrap_or_default()
}

fn parse_memory_mib(meminfo: &str) -> Option<i32> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: i64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    i32::try_from(kib / 1024).ok()
}

fn tags(config: &Config) -> Option<Vec<Tag>> {
    let tags = config.instance_tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    Some(tags.collect::<Vec<_>>()).filter(|tags| !tags.is_empty())
}

fn attributes(config: &Config, engine: &EngineInfo) -> Vec<Attribute> {
    let valued = |name: &str, value: &str| attribute(name, Some(value));
    let mut custom = config.instance_attributes.clone();
    if let Some(zone) = &config.availability_zone {
        custom.insert("ecs.availability-zone".to_owned(), zone.clone());
    }
    let mut all: Vec<Attribute> = custom.iter().map(|(name, value)| valued(name, value)).collect();
    all.extend(capabilities(config, engine).iter().map(|name| attribute(name, None)));
    all.push(valued("ecs.os-type", "linux"));
    all.push(valued("ecs.os-family", "LINUX"));
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    all.push(valued("ecs.cpu-architecture", architecture));
    all
}

fn attribute(name: &str, value: Option<&str>) -> Attribute {
    Attribute::builder()
        .name(name)
        .set_value(value.map(str::to_owned))
        .build()
        .expect("an attribute needs a name only, and has one")
}

/// The names of what this agent can do with this engine.
fn capabilities(config: &Config, engine: &EngineInfo) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut old = |is_there: bool, name: &str| {
        if is_there {
            all.push(format!("{CAPABILITY}{name}"));
        }
    };
    old(!config.privileged_disabled, "privileged-container");
    let minor = engine.api_version.strip_prefix("1.").and_then(|minor| minor.parse().ok()).unwrap_or(0);
    for version in DOCKER_API_MINORS.iter().filter(|version| **version <= minor) {
        old(true, &format!("docker-remote-api.1.{version}"));
    }
    for driver in logging_drivers(config, engine) {
        old(true, &format!("logging-driver.{driver}"));
    }
    old(config.selinux_capable, "selinux");
    old(config.apparmor_capable, "apparmor");
    old(config.task_iam_role, "task-iam-role");
    old(config.task_iam_role_network_host, "task-iam-role-network-host");
    let mut new = |is_there: bool, name: &str| {
        if is_there {
            all.push(format!("ecs.capability.{name}"));
        }
    };
    for name in
        ["container-ordering", "full-sync", "network.container-port-range", "container-restart-policy"]
    {
        new(true, name);
    }
    new(!config.health_disabled, "container-health-check");
    new(config.external == Some(true), "external");
    for driver in &engine.volume_drivers {
        new(true, &format!("docker-plugin.{driver}"));
    }
    all
}

fn logging_drivers(config: &Config, engine: &EngineInfo) -> Vec<String> {
    config.logging_drivers.clone().unwrap_or_else(|| {
        let mut drivers = engine.log_drivers.clone();
        for always in ["json-file", "none"] {
            if !drivers.iter().any(|driver| driver == always) {
                drivers.push(always.to_owned());
            }
        }
        drivers
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_say_what_the_agent_and_the_engine_can_do() {
        let engine = EngineInfo {
            version: "20.10.24".to_owned(),
            api_version: "1.24".to_owned(),
            volume_drivers: vec!["local".to_owned()],
            log_drivers: vec!["syslog".to_owned()],
        };
        let env = |name: &str| (name == "ECS_DISABLE_PRIVILEGED").then(|| "true".to_owned());
        let names = capabilities(&Config::from_env(env).unwrap(), &engine);
        let has = |name: &str| names.iter().any(|known| known == name);
        assert!(has("com.amazonaws.ecs.capability.docker-remote-api.1.24"));
        assert!(has("com.amazonaws.ecs.capability.logging-driver.syslog"));
        assert!(has("com.amazonaws.ecs.capability.logging-driver.none"));
        assert!(has("ecs.capability.docker-plugin.local"));
        for absent in [
            "com.amazonaws.ecs.capability.docker-remote-api.1.25",
            "com.amazonaws.ecs.capability.privileged-container",
            "com.amazonaws.ecs.capability.task-iam-role",
            "ecs.capability.task-eni",
        ] {
            assert!(!has(absent), "{absent}");
        }
    }

    #[test]
    fn memory_is_read_in_mib() {
        assert_eq!(parse_memory_mib("MemTotal:        2048000 kB\nMemFree: 1 kB\n"), Some(2000));
        assert_eq!(parse_memory_mib(""), None);
    }
}
