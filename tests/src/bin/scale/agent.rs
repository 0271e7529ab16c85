//! One simulated agent: what an agent says on the wire, with no containers behind it. It registers, holds its ACS
//! channel, acknowledges what it is told, and reports each task RUNNING, with a runtime id, an image digest and a port,
//! or STOPPED, through the API.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::counters::Counters;
use crate::wire::{Client, Endpoint};

pub const CLUSTER: &str = "scale";

/// Reports that wait for the one before them: more than the tasks that fit on an instance.
const REPORTS_MAX: usize = 65_536;

/// The first port that agents hand out.
const FIRST_PORT: u16 = 32_768;

/// How often a report is sent before it counts as failed, and what lies between.
const ATTEMPTS_MAX: u32 = 10;
const ATTEMPT_EVERY: Duration = Duration::from_millis(200);

/// Thousands of channels are held in one process, each with two buffers.
const BUFFER_BYTES: usize = 4096;

/// One instance and its agent.
#[derive(Clone, Debug)]
pub struct Agent {
    pub arn: String,
    pub source: Ipv4Addr,
    endpoint: Endpoint,
    counters: Arc<Counters>,
    /// Reports are held back until this turns true.
    may_report: watch::Receiver<bool>,
}

/// A report on its way.
struct Report {
    task: String,
    container: String,
    status: &'static str,
}

#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    message: Told,
}

/// What the messages that matter here have in common.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    message_id: String,
    cluster_arn: String,
    container_instance_arn: String,
    tasks: Vec<Task>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Task {
    arn: String,
    desired_status: String,
    containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
}

impl Agent {
    /// Registers an instance in one of three zones.
    pub async fn register(
        number: usize,
        source: Ipv4Addr,
        endpoint: Endpoint,
        counters: Arc<Counters>,
        may_report: watch::Receiver<bool>,
    ) -> Self {
        let mut client = endpoint.client(source);
        let answer = client.must("RegisterContainerInstance", &registration(number)).await;
        let arn = answer["containerInstance"]["containerInstanceArn"].as_str().unwrap_or_default().to_owned();
        Self { arn, source, endpoint, counters, may_report }
    }

    /// Opens the channel and serves it until it breaks.
    pub async fn join(self) -> Result<impl Future<Output = ()>, tungstenite::Error> {
        let stream = self.endpoint.connect(self.source).await?;
        let query = format!(
            "agentHash=scale&agentVersion=1.0.0&clusterArn={CLUSTER}&containerInstanceArn={}&protocolVersion=2",
            self.arn.replace(':', "%3A").replace('/', "%2F")
        );
        let mut request = format!("ws://{}/acs/ws?{query}", self.endpoint.address).into_client_request()?;
        let signed =
            self.endpoint.signer.headers(("GET", "/acs/ws", &query), &self.endpoint.host(), None, b"");
        for (name, value) in signed {
            request.headers_mut().insert(name, value.parse().expect("header values are ASCII"));
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_write_buffer_size(16 * 1024 * 1024);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        self.counters.joined.add(1);
        let (reports, waiting) = mpsc::channel(REPORTS_MAX);
        let reporter = self.clone();
        Ok(async move {
            tokio::join!(self.converse(socket, reports), reporter.report(waiting));
        })
    }

    async fn converse(self, mut socket: WebSocketStream<TcpStream>, reports: mpsc::Sender<Report>) {
        while let Some(Ok(received)) = socket.next().await {
            let Message::Text(text) = received else { continue };
            let Ok(Frame { kind, message }) = serde_json::from_str(&text) else { continue };
            let Some(answer) = answer(&kind, &message) else { continue };
            if socket.send(Message::text(answer.to_string())).await.is_err() {
                break;
            }
            if kind == "PayloadMessage" {
                for task in message.tasks {
                    self.take(task, &reports).await;
                }
            }
        }
        self.counters.left.add(1);
    }

    async fn take(&self, task: Task, reports: &mpsc::Sender<Report>) {
        let status = if task.desired_status == "STOPPED" { "STOPPED" } else { "RUNNING" };
        if status == "RUNNING" {
            self.counters.told.add(1);
            self.counters.sample(&task.arn);
        }
        let container = task.containers.into_iter().next().unwrap_or_default().name;
        // The reporter ends after the channel does.
        let _ = reports.send(Report { task: task.arn, container, status }).await;
    }

    async fn report(mut self, mut waiting: mpsc::Receiver<Report>) {
        let mut client = self.endpoint.client(self.source);
        let mut port = FIRST_PORT;
        while let Some(report) = waiting.recv().await {
            if self.may_report.wait_for(|may| *may).await.is_err() {
                return;
            }
            port = port.checked_add(1).unwrap_or(FIRST_PORT);
            let body = body(&report, port).to_string();
            if !submit(&mut client, body.as_bytes()).await {
                self.counters.failed.add(1);
            } else if report.status == "RUNNING" {
                self.counters.running.add(1);
            } else {
                self.counters.stopped.add(1);
            }
        }
    }
}

/// What an agent answers at once.
fn answer(kind: &str, told: &Told) -> Option<Value> {
    match kind {
        "PayloadMessage" | "TaskManifestMessage" => Some(json!({"type": "AckRequest", "message": {
            "cluster": told.cluster_arn,
            "containerInstance": told.container_instance_arn,
            "messageId": told.message_id,
        }})),
        "HeartbeatMessage" => {
            Some(json!({"type": "HeartbeatAckRequest", "message": {"messageId": told.message_id}}))
        }
        _ => None,
    }
}

/// Agents repeat a report until it is taken or refused for good.
async fn submit(client: &mut Client, body: &[u8]) -> bool {
    for _ in 0..ATTEMPTS_MAX {
        match client.call("SubmitTaskStateChange", body).await {
            Ok((200, _)) => return true,
            Ok((400..=499, _)) => return false,
            Ok(_) | Err(_) => tokio::time::sleep(ATTEMPT_EVERY).await,
        }
    }
    false
}

/// SubmitTaskStateChange as Amazon's agent fills it in.
fn body(report: &Report, port: u16) -> Value {
    let id = report.task.rsplit('/').next().unwrap_or_default();
    let runtime_id = format!("{id}{}", id.chars().rev().collect::<String>());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut container =
        json!({"containerName": report.container, "runtimeId": runtime_id, "status": report.status});
    if report.status == "RUNNING" {
        container["imageDigest"] = json!(format!("sha256:{}", "4d".repeat(32)));
        container["networkBindings"] =
            json!([{"bindIP": "0.0.0.0", "containerPort": 8080, "hostPort": port, "protocol": "tcp"}]);
        return json!({"cluster": CLUSTER, "task": report.task, "status": "RUNNING", "reason": "",
            "pullStartedAt": now - 0.2, "pullStoppedAt": now - 0.1, "containers": [container]});
    }
    container["exitCode"] = json!(143);
    json!({"cluster": CLUSTER, "task": report.task, "status": "STOPPED", "reason": "",
        "executionStoppedAt": now, "containers": [container]})
}

/// A host with room for a few hundred tasks.
fn registration(number: usize) -> Value {
    let resource = |name: &str, value: u32| json!({"name": name, "type": "INTEGER", "integerValue": value});
    let ports =
        |name: &str, value: &[&str]| json!({"name": name, "type": "STRINGSET", "stringSetValue": value});
    let capability = |name: String| json!({"name": format!("com.amazonaws.ecs.capability.{name}")});
    let mut attributes: Vec<Value> =
        (17..=44).map(|minor| capability(format!("docker-remote-api.1.{minor}"))).collect();
    attributes.push(capability("logging-driver.json-file".into()));
    let zone = ["us-east-1a", "us-east-1b", "us-east-1c"][number % 3];
    attributes.push(json!({"name": "ecs.availability-zone", "value": zone}));
    json!({
        "cluster": CLUSTER,
        "clientToken": format!("scale-{number}"),
        "totalResources": [
            resource("CPU", 65_536),
            resource("MEMORY", 262_144),
            ports("PORTS", &["22", "2375", "2376", "51678", "51679"]),
            ports("PORTS_UDP", &[]),
        ],
        "attributes": attributes,
    })
}
