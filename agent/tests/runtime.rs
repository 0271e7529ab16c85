//! The contract of the runtime seam, held by Docker and by the fake alike: what is proven on the fake is worth
//! something only if Docker behaves the same.
//!
//! Needs a Docker engine and a static busybox; says so when there is none.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use ecsr_agent::engine::{BoundPorts, RunState};
use ecsr_agent::runtime::docker::DockerRuntime;
use ecsr_agent::runtime::fake::FakeRuntime;
use ecsr_agent::runtime::{
    CreateRequest, Event, EventKind, PullRequest, Runtime, RuntimeError, VolumeRequest,
};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

const LABEL: &str = "dev.ecsr.test.runtime-contract";
const IMAGE: &str = "ecsr-test/runtime-contract:latest";
/// An engine that lets nothing happen for this long is broken.
const PATIENCE: Duration = Duration::from_mins(1);

fn request(name: &str) -> CreateRequest {
    let body = serde_json::json!({
        "Image": IMAGE,
        "Cmd": ["/bin/busybox", "sleep", "600"],
        "Labels": {LABEL: name},
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}]}},
    });
    let body = Box::new(serde_json::from_value(body).expect("the body is Docker's"));
    CreateRequest { name: name.to_owned(), body, timeout: PATIENCE }
}

/// The next event of the container.
async fn next_of(events: &mut BoxStream<'static, Result<Event, RuntimeError>>, id: &str) -> EventKind {
    loop {
        let event =
            tokio::time::timeout(PATIENCE, events.next()).await.expect("the engine tells what happens");
        let event = event.expect("the stream stays open").expect("the stream works");
        if event.id == id {
            return event.kind;
        }
    }
}

async fn containers_live_and_end<R: Runtime>(runtime: &R, name: &str) {
    let mut events = runtime.events(LABEL);
    let id = runtime.create(request(name)).await.expect("a container can be made");
    let again = runtime.create(request(name)).await;
    assert!(matches!(again, Err(RuntimeError::Conflict(_))), "{again:?}");
    let created = runtime.inspect(name).await.expect("it can be found by name");
    assert_eq!((created.id.as_str(), created.state), (id.as_str(), RunState::Created));
    assert_eq!(runtime.labels(&id).await.expect("it has labels").get(LABEL).map(String::as_str), Some(name));
    let listed = runtime.list(LABEL).await.expect("containers can be listed");
    assert!(listed.iter().any(|found| found.id == id), "created ones are listed, too");

    runtime.start(&id).await.expect("it can be started");
    runtime.start(&id).await.expect("starting twice is no error");
    let running = runtime.inspect(&id).await.expect("it can be inspected");
    assert!(matches!(running.state, RunState::Running { .. }), "{running:?}");
    let port = running.bindings.first().expect("the port is published");
    assert!(matches!(port.ports, BoundPorts::Single { container: 80, host } if host > 0), "{port:?}");
    assert_eq!(next_of(&mut events, &id).await, EventKind::Started);

    runtime.stop(&id, Duration::from_secs(1)).await.expect("it can be stopped");
    runtime.stop(&id, Duration::from_secs(1)).await.expect("stopping twice is no error");
    let stopped = runtime.inspect(&id).await.expect("it can still be inspected");
    let RunState::Exited(exit) = stopped.state else { panic!("{stopped:?}") };
    assert!(exit.exit_code != 0 && exit.finished_at > exit.started_at, "{exit:?}");
    let EventKind::Died(Some(death)) = next_of(&mut events, &id).await else {
        panic!("it tells of the death")
    };
    assert_eq!(death.exit_code, exit.exit_code);

    runtime.remove(&id).await.expect("it can be removed");
    runtime.remove(&id).await.expect("removing twice is no error");
    assert_eq!(next_of(&mut events, &id).await, EventKind::Destroyed);
    let gone = runtime.inspect(&id).await;
    assert!(matches!(gone, Err(RuntimeError::NotFound(_))), "{gone:?}");
}

async fn images_and_volumes_are_there_or_not<R: Runtime>(runtime: &R, volume: &str) {
    let found = runtime.image(IMAGE).await.expect("the image is there");
    assert_eq!(found.digest, None, "no registry knows an image that was made here");
    let missing = runtime.image("ecsr-test/no-such-image:1").await;
    assert!(matches!(missing, Err(RuntimeError::NotFound(_))), "{missing:?}");
    let reference = "127.0.0.1:1/no-such-image:1".to_owned();
    let pull = PullRequest { reference, credentials: None, inactivity: PATIENCE };
    let outcome = runtime.pull(pull).await;
    assert!(matches!(outcome, Err(RuntimeError::Refused { .. } | RuntimeError::NotFound(_))), "{outcome:?}");

    let request =
        VolumeRequest { name: volume.to_owned(), labels: BTreeMap::new(), ..VolumeRequest::default() };
    runtime.create_volume(request.clone()).await.expect("a volume can be made");
    runtime.create_volume(request).await.expect("making it twice is no error");
    assert_eq!(runtime.has_volume(volume).await, Ok(true));
    runtime.remove_volume(volume).await.expect("it can be removed");
    assert_eq!(runtime.has_volume(volume).await, Ok(false));
}

/// Docker with an image of a static busybox, and nothing left of an earlier run.
async fn docker() -> DockerRuntime {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let runtime = DockerRuntime::connect(&host).await;
    let runtime =
        runtime.unwrap_or_else(|error| panic!("this test needs a Docker engine at {host}: {error}"));
    for left in runtime.list(LABEL).await.expect("containers can be listed") {
        runtime.stop(&left.id, Duration::from_secs(1)).await.expect("what is left can be stopped");
        runtime.remove(&left.id).await.expect("what is left can be removed");
    }
    if runtime.image(IMAGE).await.is_err() {
        import_image();
    }
    runtime
}

fn import_image() {
    let archive = Command::new("tar").args(["-C", "/", "-c", "bin/busybox"]).output().expect("tar runs");
    assert!(archive.status.success(), "this test needs /bin/busybox (package busybox-static)");
    let mut import = Command::new("docker")
        .args(["import", "-", IMAGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("this test needs the docker command");
    import.stdin.take().expect("it is piped").write_all(&archive.stdout).expect("docker reads the archive");
    assert!(import.wait().expect("docker ends").success());
}

#[tokio::test]
async fn docker_keeps_the_contract() {
    let runtime = docker().await;
    containers_live_and_end(&runtime, "ecsr-test-runtime-contract").await;
    images_and_volumes_are_there_or_not(&runtime, "ecsr-test-runtime-contract").await;
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    let runtime = FakeRuntime::new();
    runtime.add_image(IMAGE);
    containers_live_and_end(&runtime, "contract").await;
    images_and_volumes_are_there_or_not(&runtime, "contract").await;
}
