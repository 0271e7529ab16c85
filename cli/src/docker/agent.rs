//! The agent's container on this machine: made when it is missing, replaced when its settings changed, left
//! alone when it is right. It belongs to one data directory and says so in a label, so that several ecsr on
//! one machine never touch each other's. The agent's state is in the data directory, so the container itself
//! can always go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, HostConfigLogConfig, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::image::Image;
use super::label;
use crate::docker::{failed, host, is_missing};
use crate::error::{Failure, Kind};

/// The data directory that an agent's container belongs to.
const DATA_DIR_LABEL: &str = "dev.ecsr.data-dir";
/// A digest of everything that the container was made with.
const SETTINGS_LABEL: &str = "dev.ecsr.settings";
/// The attribute by which `up` recognises this machine's instance among those of the cluster.
pub(crate) const HOST_ATTRIBUTE: &str = "ecsr.host";

/// The port whose agent has the plain name.
pub(crate) const DEFAULT_PORT: u16 = 7070;

/// Seconds that the agent gets to settle: it needs none to be safe, for it survives being killed.
const STOP_SECONDS: i32 = 10;
/// Seconds that a task's containers get when they are purged.
const PURGE_SECONDS: i32 = 2;
/// Containers stopped side by side: more only makes the engine queue them itself.
const PURGE_AT_ONCE: usize = 16;
/// The engine keeps this much of the agent's log, twice.
const LOG_SIZE: &str = "10m";

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

/// What [`ensure`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It ran already, with these settings.
    Nothing,
    /// It was there, and was started.
    Started,
    /// It was made and started.
    Created,
    /// It took the place of one with other settings.
    Replaced,
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

    /// The whole container, as the engine takes it.
    fn container(&self, image: &Image, docker_host: &str) -> ContainerCreateBody {
        let (environment, binds) = (self.environment(docker_host), self.binds(docker_host));
        let fingerprint = fingerprint(&[std::slice::from_ref(&image.id), &environment, &binds]);
        let labels = [
            (DATA_DIR_LABEL.to_owned(), self.data_dir.display().to_string()),
            (SETTINGS_LABEL.to_owned(), fingerprint),
        ];
        let log_options =
            [("max-size".to_owned(), LOG_SIZE.to_owned()), ("max-file".to_owned(), "2".to_owned())];
        ContainerCreateBody {
            image: Some(image.id.clone()),
            env: Some(environment),
            labels: Some(labels.into_iter().collect()),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                binds: Some(binds),
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
                    maximum_retry_count: None,
                }),
                log_config: Some(HostConfigLogConfig {
                    typ: Some("json-file".to_owned()),
                    config: Some(log_options.into_iter().collect()),
                }),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }
}

/// The path of the engine's socket, when it listens on one.
fn socket_of(docker_host: &str) -> Option<&str> {
    docker_host.strip_prefix("unix://")
}

fn fingerprint(parts: &[&[String]]) -> String {
    let mut hash = Sha256::new();
    for text in parts.iter().copied().flatten() {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

/// Makes the agent run with `settings`.
pub(crate) async fn ensure(engine: &Docker, settings: &Settings, image: &Image) -> Result<Done, Failure> {
    let name = settings.container_name();
    let wanted = settings.container(image, &host());
    let Some(found) = inspect(engine, &name).await? else {
        create(engine, &name, wanted).await?;
        return Ok(Done::Created);
    };
    let label = |key: &str| label_of(&found, key);
    if label(DATA_DIR_LABEL) != Some(&settings.data_dir.display().to_string()) {
        return Err(taken(&name, label(DATA_DIR_LABEL)));
    }
    let same = label(SETTINGS_LABEL) == wanted.labels.as_ref().and_then(|labels| labels.get(SETTINGS_LABEL));
    match (same, is_running(&found)) {
        (true, true) => Ok(Done::Nothing),
        (true, false) => {
            start(engine, &name).await?;
            Ok(Done::Started)
        }
        (false, _) => {
            remove(engine, &name).await?;
            create(engine, &name, wanted).await?;
            Ok(Done::Replaced)
        }
    }
}

fn taken(name: &str, owner: Option<&String>) -> Failure {
    let failure = |text: String| Failure::new(Kind::Failed, text);
    match owner {
        Some(data_dir) => failure(format!("the container {name} belongs to the ecsr in {data_dir}"))
            .hint("give another --port, or end that one with `ecsr down --data-dir DIR`"),
        None => failure(format!("a container named {name} exists that ecsr did not make"))
            .hint("rename or remove it, or give another --port"),
    }
}

fn label_of<'a>(container: &'a ContainerInspectResponse, key: &str) -> Option<&'a String> {
    container.config.as_ref()?.labels.as_ref()?.get(key)
}

fn is_running(container: &ContainerInspectResponse) -> bool {
    container.state.as_ref().and_then(|state| state.running).unwrap_or(false)
}

async fn inspect(engine: &Docker, name: &str) -> Result<Option<ContainerInspectResponse>, Failure> {
    match engine.inspect_container(name, None::<InspectContainerOptions>).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(failed(&format!("looking for the container {name}"), &error)),
    }
}

async fn create(engine: &Docker, name: &str, body: ContainerCreateBody) -> Result<(), Failure> {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let created = engine.create_container(Some(options), body).await;
    created.map_err(|error| failed(&format!("creating the container {name}"), &error))?;
    start(engine, name).await
}

async fn start(engine: &Docker, name: &str) -> Result<(), Failure> {
    let started = engine.start_container(name, None::<StartContainerOptions>).await;
    started.map_err(|error| failed(&format!("starting the container {name}"), &error))
}

async fn remove(engine: &Docker, name: &str) -> Result<(), Failure> {
    remove_within(engine, name, STOP_SECONDS).await
}

/// Stops a container within `seconds` and removes it; fine when it is gone.
async fn remove_within(engine: &Docker, name: &str, seconds: i32) -> Result<(), Failure> {
    let options = StopContainerOptionsBuilder::default().t(seconds).build();
    match engine.stop_container(name, Some(options)).await {
        Err(error) if !is_missing(&error) => {
            return Err(failed(&format!("stopping the container {name}"), &error));
        }
        Ok(()) | Err(_) => {}
    }
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match engine.remove_container(name, Some(options)).await {
        Err(error) if !is_missing(&error) => Err(failed(&format!("removing the container {name}"), &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the agent's container keeps ending, and how: `None` while it runs.
pub(crate) async fn trouble(engine: &Docker, settings: &Settings) -> Result<Option<String>, Failure> {
    /// Restarts after which it will not come up by being restarted.
    const RESTARTS_MAX: i64 = 3;
    let name = settings.container_name();
    let Some(found) = inspect(engine, &name).await? else {
        return Ok(Some(format!("the container {name} is gone")));
    };
    let restarts = found.restart_count.unwrap_or_default();
    if restarts < RESTARTS_MAX {
        return Ok(None);
    }
    let code = found.state.and_then(|state| state.exit_code).unwrap_or_default();
    Ok(Some(format!("the container {name} was restarted {restarts} times, last exit code {code}")))
}

/// The last lines that the agent wrote; empty when they cannot be read.
pub(crate) async fn last_lines(engine: &Docker, settings: &Settings) -> String {
    /// Enough to hold the reason, little enough to read.
    const LINES: &str = "10";
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LINES).build();
    let mut pieces = Box::pin(engine.logs(&settings.container_name(), Some(options)));
    let mut text = String::new();
    while let Some(Ok(piece)) = pieces.next().await {
        text.push_str(&piece.to_string());
    }
    text
}

/// Stops and removes the agents of `data_dir`; answers their names.
pub(crate) async fn remove_all(engine: &Docker, data_dir: &Path) -> Result<Vec<String>, Failure> {
    let ours = format!("{DATA_DIR_LABEL}={}", data_dir.display());
    let mut removed = Vec::new();
    for (name, _) in labelled(engine, &ours, DATA_DIR_LABEL).await? {
        remove(engine, &name).await?;
        removed.push(name);
    }
    Ok(removed)
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

/// Names and the value of label `shown` of all containers that match the label `filter`.
async fn labelled(engine: &Docker, filter: &str, shown: &str) -> Result<Vec<(String, String)>, Failure> {
    let filters = [("label", vec![filter])].into_iter().collect();
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = engine.list_containers(Some(options)).await;
    let found = found.map_err(|error| failed("listing containers", &error))?;
    let of = |container: bollard::models::ContainerSummary| {
        let value = container.labels?.remove(shown)?;
        let name = container.names?.into_iter().next()?;
        Some((name.trim_start_matches('/').to_owned(), value))
    };
    Ok(found.into_iter().filter_map(of).collect())
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

    fn image() -> Image {
        Image { id: "sha256:1".into(), built: false, superseded: None }
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

    #[test]
    fn any_other_setting_is_another_container() {
        let label = |settings: &Settings, image: &Image| {
            settings.container(image, "unix:///s").labels.unwrap().remove(SETTINGS_LABEL).unwrap()
        };
        let first = label(&settings(), &image());
        assert_eq!(label(&settings(), &image()), first);
        assert_ne!(label(&Settings { cluster: "prod".into(), ..settings() }, &image()), first);
        assert_ne!(label(&settings(), &Image { id: "sha256:2".into(), ..image() }), first);
    }
}
