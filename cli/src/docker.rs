//! This machine's Docker engine, for what the CLI does beside ECS: the image and the containers that `up` runs,
//! and logs.

pub(crate) mod agent;
pub(crate) mod balancer;
pub(crate) mod container;
pub(crate) mod image;

use std::env;

use bollard::Docker;
use bollard::errors::Error;

use crate::error::{Failure, Kind, innermost};

/// Where the engine listens unless `DOCKER_HOST` says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Labels that the agent puts on every container of a task: Amazon's (agent protocol, 4.3), and one of our
/// own agent.
pub(crate) mod label {
    /// The ARN of the container instance that the task was placed on.
    pub(crate) const CONTAINER_INSTANCE: &str = "dev.ecsr.container-instance";
    pub(crate) const CONTAINER_NAME: &str = "com.amazonaws.ecs.container-name";
    pub(crate) const TASK_ARN: &str = "com.amazonaws.ecs.task-arn";
}

/// The engine's address, in Docker's notation.
pub(crate) fn host() -> String {
    env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()).unwrap_or_else(|| DEFAULT_HOST.to_owned())
}

/// Connects, and agrees on an API version that both sides know.
pub(crate) async fn connect() -> Result<Docker, Failure> {
    let host = host();
    let unreachable = |error: &Error| {
        let message = format!("cannot reach the Docker engine at {host}: {}", innermost(error));
        Failure::new(Kind::Unreachable, message).hint(if host == DEFAULT_HOST {
            "install and start Docker, or set DOCKER_HOST; without root, be in the group docker"
        } else {
            "check DOCKER_HOST"
        })
    };
    let docker = Docker::connect_with_host(&host).map_err(|error| unreachable(&error))?;
    docker.negotiate_version().await.map_err(|error| unreachable(&error))
}

/// Whether the engine said that the thing does not exist.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// A failed call of the engine as a failure: what was tried, and what the engine said.
pub(crate) fn failed(what: &str, error: &Error) -> Failure {
    match error {
        Error::DockerResponseServerError { message, .. } => {
            Failure::new(Kind::Failed, format!("{what}: {message}"))
        }
        error => Failure::new(Kind::Failed, format!("{what}: {}", innermost(error))),
    }
}
