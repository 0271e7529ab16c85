//! Creating and starting a container. A name that is taken leads to the container that an earlier call made; a port
//! that is taken leads to another one, where any would do.

use std::sync::PoisonError;
use std::time::Duration;

use super::{Answer, Hands, REPLACED_MAX, RETRY_MAX, RETRY_MIN, daemon, patiently};
use crate::backoff::Backoff;
use crate::engine::{ContainerKey, Input, RunState, Snapshot};
use crate::runtime::{CreateRequest, Runtime, RuntimeError};
use crate::task::body::{self, Surroundings};
use crate::task::labels::{self, Owner};
use crate::task::ports::{self, Dynamic, PortChoice};
use crate::task::{Refusal, Task, names, volumes};

/// Attempts to bind ports that the agent or Docker picked: somebody else may take one in between.
const BIND_ATTEMPTS_MAX: usize = 5;
/// Looks at a name that Docker says is taken and does not show yet.
const CONFLICT_LOOKS_MAX: usize = 10;

impl<R: Runtime> Hands<R> {
    /// Makes the container, or finds the one that an earlier call made.
    pub(in crate::driver) async fn create(
        &self,
        task: &Task,
        key: ContainerKey,
        image_env: &[String],
    ) -> Answer {
        let outcome = self.make(task, &key, image_env).await;
        Answer::Input(Input::Created { key, outcome })
    }

    async fn make(&self, task: &Task, key: &ContainerKey, image_env: &[String]) -> Result<Snapshot, String> {
        let container =
            task.container(&key.container).expect("the engine names only the task's own containers");
        self.provide_volumes(task, container).await?;
        let ports = self.choose_ports(container).map_err(|refusal| refusal.to_string())?;
        let owner = self.owner();
        let around = Surroundings {
            owner: &owner,
            region: self.config.region.as_deref(),
            pids_limit: self.config.pids_limit,
            ipv6: self.ipv6(),
            image_env,
            ports: &ports,
            serves_credentials: self.config.task_iam_role,
        };
        let built = body::build(task, container, &around).map_err(|refusal| refusal.to_string())?;
        if !built.not_understood.is_empty() {
            let members = built.not_understood.join(", ");
            tracing::warn!(
                task = key.task_arn,
                container = key.container,
                "dockerConfig has unknown members: {members}"
            );
        }
        let request = CreateRequest {
            name: names::container(&task.spec, &key.container),
            body: built.docker,
            timeout: self.config.create_timeout,
        };
        match patiently(|| self.runtime.create(request.clone())).await {
            Ok(id) => Ok(Snapshot { id, state: RunState::Created, health: None, bindings: Vec::new() }),
            Err(RuntimeError::Conflict(message)) => self.meet(task, key, &request.name, message).await,
            Err(RuntimeError::TimedOut(limit)) => Err(timed_out("created", limit)),
            Err(error) => Err(format!("CannotCreateContainerError: {}", daemon(&error))),
        }
    }

    /// The container that has the name already: ours if its labels say so.
    async fn meet(
        &self,
        task: &Task,
        key: &ContainerKey,
        name: &str,
        message: String,
    ) -> Result<Snapshot, String> {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        for _ in 0..CONFLICT_LOOKS_MAX {
            match patiently(|| self.runtime.labels(name)).await {
                Ok(found) => {
                    let is_ours =
                        labels::read(&found).is_some_and(|(other, _)| other.spec.arn == key.task_arn);
                    if !is_ours {
                        break;
                    }
                    let found = patiently(|| self.runtime.inspect(name)).await;
                    return found
                        .map(|snapshot| self.settle(task, &key.container, snapshot))
                        .map_err(|error| format!("CannotInspectContainerError: {}", daemon(&error)));
                }
                // The name is reserved by a create call that has not ended.
                Err(RuntimeError::NotFound(_)) => tokio::time::sleep(backoff.pause()).await,
                Err(error) => return Err(format!("CannotInspectContainerError: {}", daemon(&error))),
            }
        }
        Err(format!("CannotCreateContainerError: Error response from daemon: {message}"))
    }

    /// Starts the container and looks at it.
    pub(in crate::driver) async fn start(
        &self,
        task: &Task,
        key: ContainerKey,
        id: String,
        image_env: &[String],
    ) -> Answer {
        let outcome = self.begin(task, &key, id, image_env).await;
        Answer::Input(Input::Started { key, outcome })
    }

    async fn begin(
        &self,
        task: &Task,
        key: &ContainerKey,
        mut id: String,
        image_env: &[String],
    ) -> Result<Snapshot, String> {
        let mut attempt = 1;
        loop {
            match self.start_or_look(&id).await {
                Ok(snapshot) => return Ok(self.settle(task, &key.container, snapshot)),
                Err(RuntimeError::TimedOut(limit)) => return Err(timed_out("started", limit)),
                Err(error) if attempt < BIND_ATTEMPTS_MAX && may_bind_elsewhere(task, key, &error) => {
                    attempt += 1;
                    id = self.replace(task, key, &id, image_env).await?;
                }
                Err(error) => return Err(format!("CannotStartContainerError: {}", daemon(&error))),
            }
        }
    }

    /// Starts and inspects. After an interruption it is looked at first, so that a container which ran meanwhile is
    /// not started twice.
    async fn start_or_look(&self, id: &str) -> Result<Snapshot, RuntimeError> {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let limit = self.config.start_timeout;
        loop {
            let outcome = tokio::time::timeout(limit, self.runtime.start(id)).await;
            match outcome.unwrap_or(Err(RuntimeError::TimedOut(limit))) {
                Ok(()) => return patiently(|| self.runtime.inspect(id)).await,
                Err(RuntimeError::Unavailable(_)) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(backoff.pause()).await;
            let seen = patiently(|| self.runtime.inspect(id)).await?;
            if seen.state != RunState::Created {
                return Ok(seen);
            }
        }
    }

    /// Makes the container anew, with other host ports.
    async fn replace(
        &self,
        task: &Task,
        key: &ContainerKey,
        id: &str,
        image_env: &[String],
    ) -> Result<String, String> {
        {
            let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
            replaced.insert(id.to_owned());
            if replaced.len() > REPLACED_MAX {
                replaced.pop_first();
            }
        }
        patiently(|| self.runtime.remove(id))
            .await
            .map_err(|error| format!("CannotRemoveContainerError: {}", daemon(&error)))?;
        self.make(task, key, image_env).await.map(|snapshot| snapshot.id)
    }

    async fn provide_volumes(&self, task: &Task, container: &ecsr_api::acs::Container) -> Result<(), String> {
        let failed =
            |what: String| format!("VolumeError: Agent could not create task's volume resources: {what}");
        for needed in volumes::needed(&task.acs, container).map_err(|refusal| refusal.to_string())? {
            match needed {
                volumes::Needed::Make(request) => patiently(|| self.runtime.create_volume(request.clone()))
                    .await
                    .map_err(|error| failed(daemon(&error)))?,
                volumes::Needed::Exist(name) => {
                    let found = patiently(|| self.runtime.has_volume(&name)).await;
                    if !found.map_err(|error| failed(daemon(&error)))? {
                        return Err(failed(format!("the shared volume {name} does not exist")));
                    }
                }
            }
        }
        Ok(())
    }

    fn choose_ports(&self, container: &ecsr_api::acs::Container) -> Result<Vec<PortChoice>, Refusal> {
        let mut picker = self.picker.lock().unwrap_or_else(PoisonError::into_inner);
        let dynamic = match self.config.dynamic_host_ports {
            Some(_) => Dynamic::Agent { range: &mut picker },
            None => Dynamic::Docker { ranges: &mut picker },
        };
        ports::choose(container, dynamic, is_port_free)
    }

    fn owner(&self) -> Owner {
        Owner {
            cluster: self.config.cluster_name().to_owned(),
            container_instance: self.instance(),
            scope: labels::scope(&self.config),
        }
    }

    /// The instance that this host is. What is made before it is registered, because a container was lost while no
    /// scheduler could be reached, belongs to the one that it was: else no later agent would know it.
    fn instance(&self) -> String {
        let registered = self.container_instance.borrow().clone();
        if registered.is_empty() {
            self.ledger.with(|entries| entries.container_instances.last().cloned()).unwrap_or_default()
        } else {
            registered
        }
    }
}

/// Whether another host port may do: one was taken, and none was asked for by number.
fn may_bind_elsewhere(task: &Task, key: &ContainerKey, error: &RuntimeError) -> bool {
    let text = error.to_string();
    let is_taken =
        ["port is already allocated", "address already in use"].iter().any(|words| text.contains(words));
    let mappings = task.container(&key.container).and_then(|container| container.port_mappings.as_ref());
    let is_any_dynamic =
        mappings.is_some_and(|mappings| mappings.iter().any(|mapping| mapping.host_port.unwrap_or(0) == 0));
    is_taken && is_any_dynamic
}

fn timed_out(state: &str, limit: Duration) -> String {
    format!(
        "DockerTimeoutError: Could not transition to {state}; timed out after waiting {}s",
        limit.as_secs()
    )
}

fn is_port_free(port: u16, protocol: &str) -> bool {
    if protocol == "udp" {
        std::net::UdpSocket::bind(("0.0.0.0", port)).is_ok()
    } else {
        std::net::TcpListener::bind(("0.0.0.0", port)).is_ok()
    }
}
