//! The containers that `ecsr up` runs on this machine, the agent's and the load balancer's: made when missing, replaced when
//! their settings changed, left alone when they are right. Each belongs to one data directory and says so in a label, so
//! that several ecsr on one machine never touch each other's. What they keep is in that directory, so the container itself
//! can always go.

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
use crate::docker::{failed, is_missing};
use crate::error::{Failure, Kind};

/// The data directory that a container belongs to.
const DATA_DIR_LABEL: &str = "dev.ecsr.data-dir";
/// A digest of everything that the container was made with.
const SETTINGS_LABEL: &str = "dev.ecsr.settings";

/// Seconds that a container gets to settle: it needs none to be safe, for it survives being killed.
const STOP_SECONDS: i32 = 10;
/// The engine keeps this much of a container's log, twice.
const LOG_SIZE: &str = "10m";

/// What a container is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) data_dir: PathBuf,
    /// What the binary is told to do; nothing is what the image does by itself.
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) binds: Vec<String>,
    /// The flag that moves it out of the way of another of its name.
    pub(crate) port_flag: &'static str,
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

impl Done {
    /// What was done to `what` in the container `name`.
    pub(crate) fn told(self, what: &str, name: &str) -> String {
        match self {
            Self::Nothing => format!("{what} runs already (container {name})"),
            Self::Started => format!("started {what} (container {name})"),
            Self::Created => format!("created {what} (container {name})"),
            Self::Replaced => format!("replaced {what}, whose settings changed (container {name})"),
        }
    }
}

impl Wanted {
    /// The whole container, as the engine takes it.
    fn body(&self, image: &Image) -> ContainerCreateBody {
        let Self { command, environment, binds, .. } = self;
        let mut parts = vec![std::slice::from_ref(&image.id), environment, binds];
        if !command.is_empty() {
            parts.push(command);
        }
        let labels = [
            (DATA_DIR_LABEL.to_owned(), self.data_dir.display().to_string()),
            (SETTINGS_LABEL.to_owned(), fingerprint(&parts)),
        ];
        let log_options =
            [("max-size".to_owned(), LOG_SIZE.to_owned()), ("max-file".to_owned(), "2".to_owned())];
        ContainerCreateBody {
            image: Some(image.id.clone()),
            cmd: (!command.is_empty()).then(|| command.clone()),
            env: Some(environment.clone()),
            labels: Some(labels.into_iter().collect()),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                binds: Some(binds.clone()),
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

fn fingerprint(parts: &[&[String]]) -> String {
    let mut hash = Sha256::new();
    for text in parts.iter().copied().flatten() {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

/// Makes a container run as it is `wanted`.
pub(crate) async fn ensure(engine: &Docker, wanted: &Wanted, image: &Image) -> Result<Done, Failure> {
    let name = &wanted.name;
    let body = wanted.body(image);
    let Some(found) = inspect(engine, name).await? else {
        create(engine, name, body).await?;
        return Ok(Done::Created);
    };
    let label = |key: &str| label_of(&found, key);
    if label(DATA_DIR_LABEL) != Some(&wanted.data_dir.display().to_string()) {
        return Err(taken(wanted, label(DATA_DIR_LABEL)));
    }
    let same = label(SETTINGS_LABEL) == body.labels.as_ref().and_then(|labels| labels.get(SETTINGS_LABEL));
    match (same, is_running(&found)) {
        (true, true) => Ok(Done::Nothing),
        (true, false) => {
            start(engine, name).await?;
            Ok(Done::Started)
        }
        (false, _) => {
            remove(engine, name).await?;
            create(engine, name, body).await?;
            Ok(Done::Replaced)
        }
    }
}

fn taken(wanted: &Wanted, owner: Option<&String>) -> Failure {
    let Wanted { name, port_flag, .. } = wanted;
    let failure = |text: String| Failure::new(Kind::Failed, text);
    match owner {
        Some(data_dir) => failure(format!("the container {name} belongs to the ecsr in {data_dir}"))
            .hint(format!("give another {port_flag}, or end that one with `ecsr down --data-dir DIR`")),
        None => failure(format!("a container named {name} exists that ecsr did not make"))
            .hint(format!("rename or remove it, or give another {port_flag}")),
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

/// Stops and removes a container; fine when it is gone.
pub(crate) async fn remove(engine: &Docker, name: &str) -> Result<(), Failure> {
    remove_within(engine, name, STOP_SECONDS).await
}

/// Stops a container within `seconds` and removes it; fine when it is gone.
pub(crate) async fn remove_within(engine: &Docker, name: &str, seconds: i32) -> Result<(), Failure> {
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

/// Whether a container keeps ending, and how: `None` while it runs.
pub(crate) async fn trouble(engine: &Docker, name: &str) -> Result<Option<String>, Failure> {
    /// Restarts after which it will not come up by being restarted.
    const RESTARTS_MAX: i64 = 3;
    let Some(found) = inspect(engine, name).await? else {
        return Ok(Some(format!("the container {name} is gone")));
    };
    let restarts = found.restart_count.unwrap_or_default();
    if restarts < RESTARTS_MAX {
        return Ok(None);
    }
    let code = found.state.and_then(|state| state.exit_code).unwrap_or_default();
    Ok(Some(format!("the container {name} was restarted {restarts} times, last exit code {code}")))
}

/// The last lines that a container wrote; empty when they cannot be read.
pub(crate) async fn last_lines(engine: &Docker, name: &str) -> String {
    /// Enough to hold the reason, little enough to read.
    const LINES: &str = "10";
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LINES).build();
    let mut pieces = Box::pin(engine.logs(name, Some(options)));
    let mut text = String::new();
    while let Some(Ok(piece)) = pieces.next().await {
        text.push_str(&piece.to_string());
    }
    text
}

/// Names of the containers of `data_dir`.
pub(crate) async fn names(engine: &Docker, data_dir: &Path) -> Result<Vec<String>, Failure> {
    let ours = format!("{DATA_DIR_LABEL}={}", data_dir.display());
    let found = labelled(engine, &ours, DATA_DIR_LABEL).await?;
    Ok(found.into_iter().map(|(name, _)| name).collect())
}

/// Names and the value of label `shown` of all containers that match the label `filter`.
pub(crate) async fn labelled(
    engine: &Docker,
    filter: &str,
    shown: &str,
) -> Result<Vec<(String, String)>, Failure> {
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

    fn wanted() -> Wanted {
        Wanted {
            name: "ecsr-agent".into(),
            data_dir: "/var/lib/ecsr".into(),
            command: Vec::new(),
            environment: vec!["ECS_CLUSTER=default".into()],
            binds: Vec::new(),
            port_flag: "--port",
        }
    }

    #[test]
    fn any_other_setting_is_another_container() {
        let image = Image { id: "sha256:1".into(), built: false, superseded: None };
        let label = |wanted: &Wanted, image: &Image| {
            wanted.body(image).labels.unwrap().remove(SETTINGS_LABEL).unwrap()
        };
        let first = label(&wanted(), &image);
        assert_eq!(label(&wanted(), &image), first);
        let other = Wanted { environment: vec!["ECS_CLUSTER=prod".into()], ..wanted() };
        assert_ne!(label(&other, &image), first);
        let other = Wanted { command: vec!["balancer".into()], ..wanted() };
        assert_ne!(label(&other, &image), first);
        assert_ne!(label(&wanted(), &Image { id: "sha256:2".into(), ..image }), first);
    }
}
