//! The floor: the engine asked directly for the same containers, all at once, with nothing in between.

use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};
use ecsr_tests::Engine;
use ecsr_tests::engine::IMAGE;
use futures_util::future::join_all;

use crate::COUNT;

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
