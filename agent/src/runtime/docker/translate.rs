//! Docker's answers in the words of the seam.

use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerStatsResponse, EventMessage,
    Health as DockerHealth, HealthStatusEnum, ImageInspect, PortMap,
};
use ecsr_api::Timestamp;

use crate::engine::{BoundPorts, Exit, Health, NetworkBinding, RunState, Snapshot};
use crate::runtime::{Death, Event, EventKind, ImageInfo, NetworkUsage, RuntimeError, Usage};
use crate::text::chain;

/// Sorts Docker's errors by what the caller can do about them.
pub(super) fn error(error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { status_code: 404, message } => RuntimeError::NotFound(message),
        Error::DockerResponseServerError { status_code: 409, message } => RuntimeError::Conflict(message),
        Error::DockerResponseServerError { status_code, message } => {
            RuntimeError::Refused { status: status_code, message }
        }
        Error::DockerStreamError { error } => RuntimeError::Refused { status: 500, message: error },
        unreachable @ (Error::HyperLegacyError { .. }
        | Error::HyperResponseError { .. }
        | Error::IOError { .. }
        | Error::RequestTimeoutError
        | Error::SocketNotFoundError(_)) => RuntimeError::Unavailable(chain(&unreachable)),
        other => RuntimeError::Refused { status: 500, message: chain(&other) },
    }
}

pub(super) fn snapshot(found: ContainerInspectResponse) -> Result<Snapshot, RuntimeError> {
    let missing =
        |what: &str| RuntimeError::Refused { status: 500, message: format!("the inspection has no {what}") };
    let state = found.state.ok_or_else(|| missing("State"))?;
    Ok(Snapshot {
        id: found.id.ok_or_else(|| missing("Id"))?,
        health: state.health.as_ref().and_then(health),
        state: run_state(state),
        bindings: bindings(found.network_settings.and_then(|settings| settings.ports)),
    })
}

fn run_state(state: ContainerState) -> RunState {
    use ContainerStateStatusEnum as Status;
    let started_at = moment(state.started_at.as_deref());
    match state.status.unwrap_or(Status::EMPTY) {
        Status::CREATED => RunState::Created,
        Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING => {
            RunState::Running { started_at: started_at.unwrap_or_default() }
        }
        Status::EXITED | Status::DEAD | Status::REMOVING | Status::EMPTY => match started_at {
            // A start that failed leaves "exited" or "created", with no moment of start.
            None => RunState::Created,
            Some(started_at) => RunState::Exited(Exit {
                started_at,
                finished_at: moment(state.finished_at.as_deref()).unwrap_or(started_at),
                exit_code: state.exit_code.unwrap_or_default(),
                oom_killed: state.oom_killed.unwrap_or_default(),
                error: state.error.filter(|text| !text.is_empty()),
            }),
        },
    }
}

/// A moment of Docker's; the year 1 stands for "never".
fn moment(text: Option<&str>) -> Option<Timestamp> {
    Timestamp::from_rfc3339(text?).filter(|moment| moment.millis() > 0)
}

fn health(health: &DockerHealth) -> Option<Health> {
    match health.status? {
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
        HealthStatusEnum::STARTING => Some(Health::Unknown),
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

fn bindings(ports: Option<PortMap>) -> Vec<NetworkBinding> {
    let mut found: Vec<NetworkBinding> = ports
        .unwrap_or_default()
        .into_iter()
        .flat_map(|(port, hosts)| {
            let (container, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
            let (container, protocol) = (container.parse().ok(), protocol.to_owned());
            hosts.unwrap_or_default().into_iter().filter_map(move |host| {
                let ports = BoundPorts::Single { container: container?, host: host.host_port?.parse().ok()? };
                let bind_ip =
                    host.host_ip.filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
                Some(NetworkBinding { bind_ip, ports, protocol: protocol.clone() })
            })
        })
        .collect();
    found.sort_by(|a, b| (&a.ports, &a.protocol, &a.bind_ip).cmp(&(&b.ports, &b.protocol, &b.bind_ip)));
    found
}

pub(super) fn image(found: ImageInspect) -> ImageInfo {
    let digest = found.repo_digests.unwrap_or_default().into_iter().next();
    ImageInfo {
        id: found.id.unwrap_or_default(),
        digest: digest.and_then(|reference| reference.split_once('@').map(|(_, digest)| digest.to_owned())),
        env: found.config.and_then(|config| config.env).unwrap_or_default(),
    }
}

pub(super) fn event(message: EventMessage) -> Option<Event> {
    let actor = message.actor?;
    let mut attributes = actor.attributes.unwrap_or_default();
    let kind = match message.action?.as_str() {
        "start" => EventKind::Started,
        "die" => EventKind::Died(death(message.time_nano, attributes.get("exitCode"))),
        "oom" => EventKind::OutOfMemory,
        "destroy" => EventKind::Destroyed,
        "health_status: healthy" => EventKind::Health(Health::Healthy),
        "health_status: unhealthy" => EventKind::Health(Health::Unhealthy),
        _ => return None,
    };
    let name = attributes.remove("name").unwrap_or_default();
    Some(Event { id: actor.id?, name, kind })
}

fn death(time_nano: Option<i64>, exit_code: Option<&String>) -> Option<Death> {
    const NANOS_PER_MILLI: i64 = 1_000_000;
    let at = Timestamp::from_millis(time_nano? / NANOS_PER_MILLI);
    Some(Death { exit_code: exit_code?.parse().ok()?, at })
}

pub(super) fn usage(sample: &ContainerStatsResponse) -> Usage {
    let cpu = sample.cpu_stats.as_ref();
    let cpu_usage = cpu.and_then(|cpu| cpu.cpu_usage.as_ref());
    let (read_bytes, write_bytes) = block_bytes(sample);
    Usage {
        at: sample.read.as_deref().and_then(Timestamp::from_rfc3339).unwrap_or_default(),
        cpu_nanos: cpu_usage.and_then(|usage| usage.total_usage).unwrap_or_default(),
        cores: cpu.and_then(|cpu| cpu.online_cpus).unwrap_or(1).max(1),
        memory_bytes: memory_bytes(sample),
        network: network(sample),
        read_bytes,
        write_bytes,
    }
}

/// Memory without page cache: `cache` on cgroup v1, `inactive_file` on v2.
fn memory_bytes(sample: &ContainerStatsResponse) -> u64 {
    let Some(memory) = &sample.memory_stats else { return 0 };
    let detail = |name: &str| memory.stats.as_ref().and_then(|stats| stats.get(name)).copied();
    let cache = detail("cache").or_else(|| detail("inactive_file")).unwrap_or_default();
    memory.usage.unwrap_or_default().saturating_sub(cache)
}

fn network(sample: &ContainerStatsResponse) -> Option<NetworkUsage> {
    let mut total = NetworkUsage::default();
    for interface in sample.networks.as_ref()?.values() {
        let rx = [interface.rx_bytes, interface.rx_packets, interface.rx_errors, interface.rx_dropped];
        let tx = [interface.tx_bytes, interface.tx_packets, interface.tx_errors, interface.tx_dropped];
        for index in 0..rx.len() {
            total.rx[index] += rx[index].unwrap_or_default();
            total.tx[index] += tx[index].unwrap_or_default();
        }
    }
    Some(total)
}

fn block_bytes(sample: &ContainerStatsResponse) -> (u64, u64) {
    let entries = sample.blkio_stats.as_ref().and_then(|stats| stats.io_service_bytes_recursive.as_deref());
    let sum = |op: &str| {
        entries
            .unwrap_or_default()
            .iter()
            .filter(|entry| entry.op.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(op)))
            .filter_map(|entry| entry.value)
            .sum()
    };
    (sum("read"), sum("write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(json: &str) -> RunState {
        run_state(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_process_is_judged_by_its_status_and_its_times() {
        let moment = |text| Timestamp::from_rfc3339(text).unwrap();
        let started_at = moment("2026-11-22T19:42:28.5Z");
        let exit = |exit_code, oom_killed| {
            let finished_at = moment("2026-11-22T19:42:30Z");
            RunState::Exited(Exit { started_at, finished_at, exit_code, oom_killed, error: None })
        };
        let times = r#""StartedAt":"2026-11-22T19:42:28.500000000Z","FinishedAt":"2026-11-22T19:42:30Z""#;
        let never = r#""StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z""#;
        let cases = [
            (format!(r#"{{"Status":"created",{never}}}"#), RunState::Created),
            (format!(r#"{{"Status":"exited","ExitCode":127,{never}}}"#), RunState::Created),
            (format!(r#"{{"Status":"running",{times}}}"#), RunState::Running { started_at }),
            (format!(r#"{{"Status":"paused",{times}}}"#), RunState::Running { started_at }),
            (format!(r#"{{"Status":"exited","ExitCode":7,{times}}}"#), exit(7, false)),
            (format!(r#"{{"Status":"exited","ExitCode":137,"OOMKilled":true,{times}}}"#), exit(137, true)),
        ];
        for (json, expected) in cases {
            assert_eq!(state(&json), expected, "{json}");
        }
    }

    #[test]
    fn events_tell_what_happened() {
        let check = |action: &str, attributes: &str, expected: Option<EventKind>| {
            let json = format!(
                r#"{{"Action":"{action}","Actor":{{"ID":"id","Attributes":{attributes}}},"timeNano":1795386788903000000}}"#
            );
            let told = event(serde_json::from_str(&json).unwrap());
            assert_eq!(told.map(|event| event.kind), expected, "{action} {attributes}");
        };
        let at = Timestamp::from_millis(1_795_386_788_903);
        check("start", "{}", Some(EventKind::Started));
        check("die", r#"{"exitCode":"137"}"#, Some(EventKind::Died(Some(Death { exit_code: 137, at }))));
        check("die", "{}", Some(EventKind::Died(None)));
        check("oom", "{}", Some(EventKind::OutOfMemory));
        check("health_status: healthy", "{}", Some(EventKind::Health(Health::Healthy)));
        check("exec_die", r#"{"exitCode":"0"}"#, None);
    }

    #[test]
    fn bindings_are_listed_in_a_stable_order() {
        let ports = r#"{"53/udp":[{"HostIp":"0.0.0.0","HostPort":"5353"}],"9/tcp":null,
            "80/tcp":[{"HostIp":"0.0.0.0","HostPort":"32769"},{"HostIp":"0.0.0.0","HostPort":"32768"}]}"#;
        let found = bindings(serde_json::from_str(ports).unwrap());
        let told: Vec<String> = found.iter().map(|b| format!("{:?} {}", b.ports, b.protocol)).collect();
        assert_eq!(
            told,
            [
                "Single { container: 53, host: 5353 } udp",
                "Single { container: 80, host: 32768 } tcp",
                "Single { container: 80, host: 32769 } tcp",
            ]
        );
    }
}
