//! The ECS operations that an agent calls, through the official client.
//!
//! Retrying is the callers' business, because each has its own reason to go on for ever: the client's own retries
//! are off. Errors are sorted by what the agent can do about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::config::Region;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::types::{ContainerStateChange, NetworkBinding as WireBinding, TransportProtocol};
use aws_smithy_types::DateTime;
use ecsr_api::Timestamp;

use crate::config::Config;
use crate::engine::{BoundPorts, ContainerReport, NetworkBinding, TaskReport};
use crate::task::names;
use crate::text::chain;
use crate::uplink::{ApiFailure, Submitted};

/// A call that takes longer is given up and tried again.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The same where there is another scheduler to be asked: longer than one of several takes to replace another.
const CALL_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(12);
const CONNECT_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(2);
/// The longest reason, and the longest runtime id or digest, that ECS takes.
const REASON_CHARS_MAX: usize = 1024;
const ID_CHARS_MAX: usize = 255;

/// A client of the scheduler.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    /// One for each scheduler that was configured, at least one.
    clients: Arc<[Client]>,
    current: Arc<AtomicUsize>,
    pub(crate) cluster: String,
}

/// Where the scheduler's two sockets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) acs: String,
    pub(crate) tcs: Option<String>,
}

impl Api {
    pub(crate) fn new(config: &Config, sdk: &SdkConfig, region: &str) -> Self {
        let endpoints = config.endpoints();
        let (connect, call) = match endpoints.len() {
            0 | 1 => (CONNECT_TIMEOUT, CALL_TIMEOUT),
            _ => (CONNECT_TIMEOUT_OF_SEVERAL, CALL_TIMEOUT_OF_SEVERAL),
        };
        let timeouts = TimeoutConfig::builder().connect_timeout(connect).operation_timeout(call).build();
        let client = |endpoint: Option<String>| {
            let builder = aws_sdk_ecs::config::Builder::from(sdk)
                .region(Region::new(region.to_owned()))
                .retry_config(RetryConfig::disabled())
                .timeout_config(timeouts.clone());
            let builder = match endpoint {
                Some(endpoint) => builder.endpoint_url(endpoint),
                None => builder,
            };
            Client::from_conf(builder.build())
        };
        let clients: Vec<Client> = match endpoints.as_slice() {
            [] => vec![client(None)],
            endpoints => endpoints.iter().map(|endpoint| client(Some(endpoint.clone()))).collect(),
        };
        Api { clients: clients.into(), current: Arc::default(), cluster: config.cluster.clone() }
    }

    /// The client of the scheduler that answered last.
    pub(crate) fn client(&self) -> &Client {
        &self.clients[self.current.load(Ordering::Relaxed) % self.clients.len()]
    }

    /// Sorts an error, and lets the next call go to the next scheduler if this one was of no use.
    pub(crate) fn failure<E>(&self, error: &SdkError<E>) -> ApiFailure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        SdkError<E>: std::error::Error,
    {
        let failure = failure(error);
        if let ApiFailure::Passing(_) = failure {
            self.pass_over();
        }
        failure
    }

    /// The scheduler that answered last is of no use at the moment: the next call goes to the next one.
    pub(crate) fn pass_over(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    /// `DiscoverPollEndpoint`.
    pub(crate) async fn discover(&self, container_instance: &str) -> Result<Endpoints, ApiFailure> {
        let request = self.client().discover_poll_endpoint().cluster(&self.cluster);
        let reply = request.container_instance(container_instance).send().await;
        let reply = reply.map_err(|error| self.failure(&error))?;
        let acs = reply.endpoint().filter(|endpoint| !endpoint.is_empty());
        let acs =
            acs.ok_or_else(|| ApiFailure::Passing("DiscoverPollEndpoint names no endpoint".to_owned()))?;
        let tcs = reply.telemetry_endpoint().filter(|endpoint| !endpoint.is_empty());
        Ok(Endpoints { acs: acs.to_owned(), tcs: tcs.map(str::to_owned) })
    }

    /// `CreateCluster`, for an agent that was given no cluster.
    pub(crate) async fn create_cluster(&self, name: &str) -> Result<(), ApiFailure> {
        let created = self.client().create_cluster().cluster_name(name).send().await;
        created.map(drop).map_err(|error| self.failure(&error))
    }

    /// The cluster that a task's ARN names, which is not the agent's for what it left unsent in another one.
    fn cluster_of<'a>(&'a self, task_arn: &'a str) -> &'a str {
        let own = self.cluster.rsplit('/').next();
        names::cluster_in(task_arn).filter(|named| own != Some(*named)).unwrap_or(&self.cluster)
    }

    /// `SubmitTaskStateChange`.
    pub(crate) async fn submit(&self, report: TaskReport) -> Submitted {
        let reason: String = report.reason.unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
        let containers = report.containers.iter().map(container_change).collect();
        let call = self
            .client()
            .submit_task_state_change()
            .cluster(self.cluster_of(&report.task_arn))
            .task(&report.task_arn)
            .status(report.status.as_str())
            .reason(reason)
            .set_containers(Some(containers))
            .set_pull_started_at(report.pull_started_at.map(date_time))
            .set_pull_stopped_at(report.pull_stopped_at.map(date_time))
            .set_execution_stopped_at(report.execution_stopped_at.map(date_time));
        match call.send().await {
            Ok(_) => Submitted::Acknowledged,
            // The key of this cluster is none of the other, and will not become one by trying.
            Err(error) if is_denied(&error) && self.cluster_of(&report.task_arn) != self.cluster => {
                Submitted::Refused(chain(&error))
            }
            Err(error) => match self.failure(&error) {
                ApiFailure::Refused(why) => Submitted::Refused(why),
                ApiFailure::NoCluster(why) | ApiFailure::Passing(why) => Submitted::Failed(why),
            },
        }
    }
}

/// Whether the key that signed is not for this.
fn is_denied<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code() == Some("AccessDeniedException")
}

/// Sorts an error. A refusal is an error of ours in a well-formed answer, credentials aside: those may be put right.
fn failure<E>(error: &SdkError<E>) -> ApiFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    SdkError<E>: std::error::Error,
{
    let code = error.code().unwrap_or_default();
    let message = error.message().unwrap_or_default();
    let text = if code.is_empty() { chain(error) } else { format!("{code}: {message}") };
    match code {
        "ClusterNotFoundException" => ApiFailure::NoCluster(text),
        "ClientException" | "InvalidParameterException" => ApiFailure::Refused(text),
        _ => ApiFailure::Passing(text),
    }
}

fn container_change(container: &ContainerReport) -> ContainerStateChange {
    let cut = |text: &String| text.chars().take(ID_CHARS_MAX).collect::<String>();
    ContainerStateChange::builder()
        .container_name(&container.name)
        .status(container.status.as_str())
        .set_runtime_id(container.runtime_id.as_ref().map(cut))
        .set_image_digest(container.image_digest.as_ref().map(cut))
        .set_exit_code(container.exit_code.and_then(|code| i32::try_from(code).ok()))
        .set_reason(container.reason.as_ref().map(|reason| reason.chars().take(REASON_CHARS_MAX).collect()))
        .set_network_bindings(Some(container.bindings.iter().map(wire_binding).collect()))
        .build()
}

fn wire_binding(binding: &NetworkBinding) -> WireBinding {
    let row = WireBinding::builder()
        .bind_ip(&binding.bind_ip)
        .protocol(TransportProtocol::from(binding.protocol.as_str()));
    let range = |(first, last): (u16, u16)| format!("{first}-{last}");
    match binding.ports {
        BoundPorts::Single { container, host } => {
            row.container_port(i32::from(container)).host_port(i32::from(host)).build()
        }
        BoundPorts::Range { container, host } => {
            row.container_port_range(range(container)).host_port_range(range(host)).build()
        }
    }
}

fn date_time(moment: Timestamp) -> DateTime {
    DateTime::from_millis(moment.millis())
}
