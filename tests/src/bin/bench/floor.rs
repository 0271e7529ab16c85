//! The floor: the engine asked directly for the same containers, all at once, with nothing in between.

use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};
use ecsr_tests::Engine;
use ecsr_tests::engine::IMAGE;
use futures_util::future::join_all;

use crate::{COUNT, rest};

/// What the web server is started with, by every contender.
pub const COMMAND: [&str; 6] = ["httpd", "-f", "-p", "8080", "-h", "/www"];
/// Its port.
pub const PORT: u16 = 8080;
/// Its memory limit.
pub const MEMORY_MIB: i64 = 16;

/// Makes and starts [`COUNT`] containers concurrently; answers how long it took, and removes them.
pub async fn start_all(engine: &Engine) -> Duration {
    start(engine, COUNT).await
}

/// Makes and starts one container; answers how long it took, and removes it.
pub async fn start_one(engine: &Engine) -> Duration {
    start(engine, 1).await
}

/// Kills a container, and makes and starts another as soon as the engine says that it is dead; answers how long that
/// took from the kill, and removes both. While it starts one, the engine still clears up what the other leaves behind:
/// nobody who waits for the death of a container can replace it sooner.
pub async fn replace_one(engine: &Engine) -> Duration {
    let victim = create_and_start(engine).await;
    rest().await;
    let began = Instant::now();
    let replaced = async {
        engine.wait(&victim).await;
        let id = create_and_start(engine).await;
        (id, began.elapsed())
    };
    let ((), (id, took)) = tokio::join!(engine.kill(&victim), replaced);
    tokio::join!(engine.remove(&victim), engine.remove(&id));
    took
}

async fn start(engine: &Engine, count: usize) -> Duration {
    let began = Instant::now();
    let ids = join_all((0..count).map(|_| create_and_start(engine))).await;
    let took = began.elapsed();
    join_all(ids.iter().map(|id| engine.remove(id))).await;
    took
}

async fn create_and_start(engine: &Engine) -> String {
    let docker = engine.docker();
    let created = docker.create_container(None::<CreateContainerOptions>, body()).await;
    let id = created.expect("the engine makes a container").id;
    let started = docker.start_container(&id, None::<StartContainerOptions>).await;
    started.expect("the engine starts a container");
    id
}

fn body() -> ContainerCreateBody {
    let port = format!("{PORT}/tcp");
    let anywhere = PortBinding { host_ip: Some("0.0.0.0".to_owned()), host_port: Some(String::new()) };
    ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(COMMAND.map(str::to_owned).to_vec()),
        exposed_ports: Some(vec![port.clone()]),
        host_config: Some(HostConfig {
            memory: Some(MEMORY_MIB << 20),
            port_bindings: Some([(port, Some(vec![anywhere]))].into_iter().collect()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}
