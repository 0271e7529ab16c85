//! The agent's container on this machine, and the containers of the tasks that it runs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bollard::Docker;
use futures_util::StreamExt as _;

use super::container::{Wanted, labelled, remove_within};
use super::label;
use crate::error::Failure;

/// The attribute by which `up` recognises this machine's instance among those of the cluster.
pub(crate) const HOST_ATTRIBUTE: &str = "ecsr.host";

/// The port whose agent has the plain name.
pub(crate) const DEFAULT_PORT: u16 = 7070;

/// Seconds that a task's containers get when they are purged.
const PURGE_SECONDS: i32 = 2;
/// Containers stopped side by side: more only makes the engine queue them itself.
const PURGE_AT_ONCE: usize = 16;
/// What the agent of this machine is to be.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Port of the scheduler, which tells several ecsr on one machine apart.
    pub(crate) port: u16,
    pub(crate) data_dir: PathBuf,
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) cluster: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    /// This machine's name, for [`HOST_ATTRIBUTE`].
    pub(crate) host_name: String,
}

impl Settings {
    /// The container's name.
    pub(crate) fn container_name(&self) -> String {
        match self.port {
            DEFAULT_PORT => "ecsr-agent".to_owned(),
            port => format!("ecsr-agent-{port}"),
        }
    }

    /// Where the agent keeps its state on the host.
    pub(crate) fn agent_dir(&self) -> PathBuf {
        self.data_dir.join("agent")
    }

    fn environment(&self, docker_host: &str) -> Vec<String> {
        let agent_dir = self.agent_dir();
        let mut environment = vec![
            format!("AWS_ACCESS_KEY_ID={}", self.access_key_id),
            format!("AWS_SECRET_ACCESS_KEY={}", self.secret_access_key),
            format!("AWS_DEFAULT_REGION={}", self.region),
            format!("ECS_BACKEND_HOST={}", self.endpoint),
            format!("ECS_CLUSTER={}", self.cluster),
            "ECS_DATADIR=/data/".to_owned(),
            format!("ECS_HOST_DATA_DIR={}", agent_dir.display()),
            "ECS_EXTERNAL=true".to_owned(),
            format!("ECS_INSTANCE_ATTRIBUTES={}", serde_json::json!({HOST_ATTRIBUTE: self.host_name})),
        ];
        if socket_of(docker_host).is_none() {
            environment.push(format!("DOCKER_HOST={docker_host}"));
        }
        environment
    }

    fn binds(&self, docker_host: &str) -> Vec<String> {
        let mut binds = vec![format!("{}:/data", self.agent_dir().display())];
        if let Some(socket) = socket_of(docker_host) {
            binds.push(format!("{socket}:/var/run/docker.sock"));
        }
        binds
    }

    /// The container that runs it.
    pub(crate) fn container(&self, docker_host: &str) -> Wanted {
        Wanted {
            name: self.container_name(),
            data_dir: self.data_dir.clone(),
            command: Vec::new(),
            environment: self.environment(docker_host),
            binds: self.binds(docker_host),
            port_flag: "--port",
        }
    }
}

/// The path of the engine's socket, when it listens on one.
fn socket_of(docker_host: &str) -> Option<&str> {
    docker_host.strip_prefix("unix://")
}

/// Stops and removes all containers of tasks that were placed on `instances` (ARNs), many at once; answers
/// how many.
///
/// By instance, because its id is unique: the name of a cluster may be another ecsr's on the same engine as
/// well.
pub(crate) async fn purge_tasks(engine: &Docker, instances: &BTreeSet<String>) -> Result<usize, Failure> {
    let mut found = labelled(engine, label::CONTAINER_INSTANCE, label::CONTAINER_INSTANCE).await?;
    found.retain(|(_, instance)| instances.contains(instance));
    let removals = found.iter().map(|(name, _)| remove_within(engine, name, PURGE_SECONDS));
    let done: Vec<_> = futures_util::stream::iter(removals).buffer_unordered(PURGE_AT_ONCE).collect().await;
    done.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            port: DEFAULT_PORT,
            data_dir: "/var/lib/ecsr".into(),
            endpoint: "http://127.0.0.1:7070".into(),
            region: "us-east-1".into(),
            cluster: "default".into(),
            access_key_id: "AKID".into(),
            secret_access_key: "secret".into(),
            host_name: "laptop".into(),
        }
    }

    #[test]
    fn names_tell_several_on_one_machine_apart() {
        assert_eq!(settings().container_name(), "ecsr-agent");
        assert_eq!(Settings { port: 7071, ..settings() }.container_name(), "ecsr-agent-7071");
    }

    #[test]
    fn the_engine_is_reached_the_way_the_cli_reaches_it() {
        let settings = settings();
        assert_eq!(
            settings.binds("unix:///run/user/1000/docker.sock"),
            ["/var/lib/ecsr/agent:/data", "/run/user/1000/docker.sock:/var/run/docker.sock"]
        );
        let remote = "tcp://127.0.0.1:2375";
        assert_eq!(settings.binds(remote), ["/var/lib/ecsr/agent:/data"]);
        assert!(settings.environment(remote).contains(&format!("DOCKER_HOST={remote}")));
    }
}
