//! The Docker engine of this machine, seen beside ecsr: what containers there are, what is in them, and the hand
//! that kills and removes them. Answers are the engine's own JSON, so that a test can look at any part of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    ListVolumesOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
    WaitContainerOptions,
};
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use crate::wait;

/// The image that all tasks of tests run: busybox, its applets by name, and a page in `/www`.
pub const IMAGE: &str = "ecsr-test/busybox:latest";

/// What `script/setup` puts into the page that the image serves.
pub const PAGE: &str = "served by ecsr";

/// Amazon's labels on the containers of tasks (agent protocol, 4.3).
pub mod label {
    pub const CLUSTER: &str = "com.amazonaws.ecs.cluster";
    pub const CONTAINER_NAME: &str = "com.amazonaws.ecs.container-name";
    pub const FAMILY: &str = "com.amazonaws.ecs.task-definition-family";
    pub const TASK_ARN: &str = "com.amazonaws.ecs.task-arn";
}

/// A container of a task, as the engine lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub id: String,
    /// ARN of its task.
    pub task: String,
    /// Its name in the task definition.
    pub name: String,
    /// `created`, `running`, `exited`...
    pub state: String,
}

/// What happens on the engine.
pub type Events = BoxStream<'static, Result<EventMessage, Error>>;

/// A connection to the engine.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
}

impl Engine {
    /// Connects, and has the test image built when it is missing.
    ///
    /// # Panics
    /// When no engine answers: tests of containers cannot run without one, and must not seem to have.
    pub async fn connect() -> Self {
        let docker = Docker::connect_with_defaults().expect("DOCKER_HOST is well-formed");
        let docker = match docker.negotiate_version().await {
            Ok(docker) => docker,
            Err(error) => panic!("no Docker engine answers ({error}); `script/setup docker` starts one"),
        };
        let engine = Self { docker };
        if engine.docker.inspect_image(IMAGE).await.is_err() {
            build_image();
        }
        engine
    }

    /// The connection itself, for what has no method here.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The engine's version.
    pub async fn version(&self) -> String {
        self.docker.version().await.ok().and_then(|version| version.version).unwrap_or_default()
    }

    /// Containers of all states that carry all of `labels` (`key=value`), in the order of their ids.
    ///
    /// # Panics
    /// When the engine does not list them.
    pub async fn list(&self, labels: &[String]) -> Vec<Seen> {
        let filters = [("label", labels.to_vec())].into_iter().collect();
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.docker.list_containers(Some(options)).await.expect("the engine lists containers");
        let mut seen: Vec<Seen> = found
            .into_iter()
            .map(|container| {
                let mut labels = container.labels.unwrap_or_default();
                let mut take = |key: &str| labels.remove(key).unwrap_or_default();
                Seen {
                    id: container.id.unwrap_or_default(),
                    task: take(label::TASK_ARN),
                    name: take(label::CONTAINER_NAME),
                    state: container.state.map(|state| state.to_string()).unwrap_or_default(),
                }
            })
            .collect();
        seen.sort();
        seen
    }

    /// All that the engine knows of a container; `Null` when it does not exist.
    ///
    /// # Panics
    /// When the engine does not say.
    pub async fn inspect(&self, id: &str) -> Value {
        match self.docker.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(found) => serde_json::to_value(found).expect("the engine's JSON is JSON"),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Value::Null,
            Err(error) => panic!("inspecting {id}: {error}"),
        }
    }

    /// `docker kill`.
    ///
    /// # Panics
    /// When the container did not run.
    pub async fn kill(&self, id: &str) {
        let options = KillContainerOptionsBuilder::default().signal("KILL").build();
        self.docker.kill_container(id, Some(options)).await.expect("a running container can be killed");
    }

    /// Waits until a container does not run.
    ///
    /// # Panics
    /// When the engine does not know it.
    pub async fn wait(&self, id: &str) {
        let ended = self.docker.wait_container(id, None::<WaitContainerOptions>).next().await;
        // An exit code other than 0 comes as an error.
        let known = matches!(ended, Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })));
        assert!(known, "the engine waits for {id}: {ended:?}");
    }

    /// `docker rm -f -v`; fine when it is gone already.
    ///
    /// # Panics
    /// When the engine does not remove it.
    pub async fn remove(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            // 409: somebody else is removing it at this moment.
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
            Err(error) => panic!("removing {id}: {error}"),
        }
    }

    /// Everything that a container wrote so far, stdout and stderr in turn.
    ///
    /// # Panics
    /// When the engine does not keep it.
    pub async fn logs(&self, id: &str) -> String {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let chunks: Vec<LogOutput> =
            self.docker.logs(id, Some(options)).try_collect().await.expect("the engine keeps logs");
        chunks.iter().map(ToString::to_string).collect()
    }

    /// What happens from now on to containers of `family` in `cluster`, as the engine tells it. "Now" is the moment of
    /// this call, not that of the first look at the stream.
    pub fn events(&self, cluster: &str, family: &str) -> Events {
        let labels = vec![of_cluster(cluster), format!("{}={family}", label::FAMILY)];
        let filters = [("type", vec!["container".to_owned()]), ("label", labels)].into_iter().collect();
        let since =
            SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs().to_string();
        let options = EventsOptionsBuilder::default().filters(&filters).since(&since).build();
        self.docker.events(Some(options)).boxed()
    }

    /// Names of the volumes that begin with `prefix`.
    ///
    /// # Panics
    /// When the engine does not list them.
    pub async fn volumes(&self, prefix: &str) -> Vec<String> {
        let listed = self.docker.list_volumes(Some(ListVolumesOptionsBuilder::default().build())).await;
        let volumes = listed.expect("the engine lists volumes").volumes.unwrap_or_default();
        volumes.into_iter().map(|volume| volume.name).filter(|name| name.starts_with(prefix)).collect()
    }

    /// Removes a volume; fine when it is gone already.
    pub async fn remove_volume(&self, name: &str) {
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        // A volume that stays because something uses it is another test's affair.
        let _ = self.docker.remove_volume(name, Some(options)).await;
    }

    /// Removes every container of `cluster`, running or not.
    pub async fn remove_all(&self, cluster: &str) {
        let containers = self.list(&[of_cluster(cluster)]).await;
        futures_util::future::join_all(containers.iter().map(|container| self.remove(&container.id))).await;
    }
}

/// The next event.
///
/// # Panics
/// When there is none for as long as anything may take.
pub async fn next(events: &mut Events) -> EventMessage {
    let event = tokio::time::timeout(wait::PATIENCE, events.next()).await.expect("something happens in time");
    event.expect("the event stream is endless").expect("the engine tells its events")
}

/// The filter for the containers of `cluster`.
pub fn of_cluster(cluster: &str) -> String {
    format!("{}={cluster}", label::CLUSTER)
}

/// Has `script/setup` build the image: one place knows what is in it.
fn build_image() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("script").join("setup");
    let status = Command::new(&script).arg("image").stdin(Stdio::null()).status();
    let done = status.is_ok_and(|status| status.success());
    assert!(done, "{} image did not make {IMAGE}", script.display());
}
