//! An agent's side of both channels, over real sockets.

use ecsr_api::{acs, tcs};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::keys::AccessKey;
use crate::testing::{Running, registration};

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A scheduler with one registered instance and a task definition.
pub(super) struct Joined {
    pub running: Running,
    pub instance: String,
}

/// An agent's ACS channel.
pub(super) struct Agent {
    pub socket: Socket,
}

impl Joined {
    pub(super) async fn start() -> Self {
        Self::start_on(Running::start().await).await
    }

    pub(super) async fn start_on(running: Running) -> Self {
        let registered =
            running.ask("RegisterContainerInstance", serde_json::to_value(registration()).unwrap()).await;
        let instance = registered["containerInstance"]["containerInstanceArn"].as_str().unwrap().to_owned();
        let container = json!({"name": "web", "image": "busybox", "memory": 16});
        let definition = json!({"family": "web", "containerDefinitions": [container]});
        running.ask("RegisterTaskDefinition", definition).await;
        Self { running, instance }
    }

    pub(super) fn acs_path(&self) -> String {
        acs_path(&self.instance)
    }

    pub(super) fn tcs_path(&self) -> String {
        let connect = tcs::Connect { container_instance: self.instance.clone(), ..Default::default() };
        format!("/tcs/ws?{}", connect.to_query())
    }

    async fn connect(&self, path: &str) -> Result<Socket, Error> {
        self.connect_by(&self.running.key, path).await
    }

    /// A channel that is opened with that key.
    pub(super) async fn connect_by(&self, key: &AccessKey, path: &str) -> Result<Socket, Error> {
        let mut request = format!("ws://{}{path}", self.running.address).into_client_request()?;
        for (name, value) in self.running.signed_for_by(key, path, b"") {
            let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        Ok(tokio_tungstenite::connect_async(request).await?.0)
    }

    pub(super) async fn agent(&self) -> Agent {
        Agent { socket: self.connect(&self.acs_path()).await.expect("the agent may connect") }
    }

    /// The agent of a further instance.
    pub(super) async fn another_agent(&self) -> Agent {
        let registered = self
            .running
            .ask("RegisterContainerInstance", serde_json::to_value(registration()).unwrap())
            .await;
        let instance = registered["containerInstance"]["containerInstanceArn"].as_str().unwrap();
        Agent { socket: self.connect(&acs_path(instance)).await.expect("the agent may connect") }
    }

    /// Runs a task as soon as the instance is connected, and gives its ARN.
    pub(super) async fn run_task(&self) -> String {
        let answer = self.running.ask("RunTask", json!({"taskDefinition": "web"})).await;
        answer["tasks"][0]["taskArn"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn shown_instance(&self) -> Value {
        let body = json!({"containerInstances": [self.instance]});
        self.running.ask("DescribeContainerInstances", body).await["containerInstances"][0].clone()
    }
}

pub(super) fn acs_path(instance: &str) -> String {
    let connect = acs::Connect {
        agent_version: "1.2.3".into(),
        cluster: "default".into(),
        container_instance_arn: instance.to_owned(),
        protocol_version: 2,
        ..Default::default()
    };
    format!("/acs/ws?{}", connect.to_query())
}

impl Agent {
    /// What lies below the WebSocket.
    pub(super) fn stream(&mut self) -> &mut TcpStream {
        match self.socket.get_mut() {
            MaybeTlsStream::Plain(stream) => stream,
            other => panic!("{other:?}"),
        }
    }

    /// The next message that is no heartbeat.
    pub(super) async fn hear(&mut self) -> acs::Message {
        loop {
            match self.socket.next().await.expect("the channel is open").unwrap() {
                Message::Text(text) => match acs::Message::decode(&text).unwrap() {
                    acs::Message::HeartbeatMessage(_) => {}
                    other => return other,
                },
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn payload(&mut self) -> acs::PayloadMessage {
        match self.hear().await {
            acs::Message::PayloadMessage(payload) => payload,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn manifest(&mut self) -> acs::TaskManifestMessage {
        match self.hear().await {
            acs::Message::TaskManifestMessage(manifest) => manifest,
            other => panic!("{other:?}"),
        }
    }

    async fn say(&mut self, message: acs::Message) {
        self.socket.send(Message::text(message.encode())).await.unwrap();
    }

    pub(super) async fn acknowledge(&mut self, message_id: Option<String>) {
        self.say(acs::Message::AckRequest(acs::AckRequest { message_id, ..Default::default() })).await;
    }

    /// Resolves when the scheduler has handled everything said so far: it answers a frame that it cannot read.
    pub(super) async fn settle(&mut self) {
        self.socket.send(Message::text("?")).await.unwrap();
        match self.hear().await {
            acs::Message::BadRequestException(_) => {}
            other => panic!("{other:?}"),
        }
    }

    /// The code that the scheduler closes with.
    async fn closed(mut self) -> u16 {
        while let Some(received) = self.socket.next().await {
            if let Message::Close(Some(frame)) = received.unwrap() {
                return frame.code.into();
            }
        }
        panic!("closed without a word")
    }
}

fn arns(payload: &acs::PayloadMessage) -> Vec<&str> {
    payload.tasks.iter().flatten().filter_map(|task| task.arn.as_deref()).collect()
}

/// How a channel was refused.
pub(super) fn refusal(connected: Result<Socket, Error>) -> (u16, String) {
    match connected {
        Err(Error::Http(response)) => {
            let body = String::from_utf8(response.body().clone().unwrap_or_default()).unwrap();
            let message =
                acs::Message::decode_refusal(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
            (response.status().as_u16(), message.kind().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_task_is_sent_once_and_stopped_once() {
    let joined = Joined::start().await;
    let mut agent = joined.agent().await;
    assert_eq!(agent.manifest().await.tasks, Some(vec![]));
    let task = joined.run_task().await;
    let payload = agent.payload().await;
    assert_eq!(arns(&payload), [task.as_str()]);
    agent.acknowledge(payload.message_id).await;

    joined.running.ask("StopTask", json!({"task": task})).await;
    let stop = agent.payload().await;
    let told = &stop.tasks.as_ref().unwrap()[0];
    assert_eq!((told.arn.as_deref(), told.desired_status.as_deref()), (Some(task.as_str()), Some("STOPPED")));
    assert!(stop.seq_num > payload.seq_num);
    agent.settle().await;
}

#[tokio::test]
async fn the_next_session_gets_what_was_not_acknowledged_and_then_the_manifest() {
    let joined = Joined::start().await;
    let mut first = joined.agent().await;
    let old = first.manifest().await;
    let stored = joined.run_task().await;
    let payload = first.payload().await;
    first.acknowledge(payload.message_id).await;
    let unheard = joined.run_task().await;
    assert_eq!(arns(&first.payload().await), [unheard.as_str()]);
    first.settle().await;

    let mut second = joined.agent().await;
    let again = second.payload().await;
    assert_eq!(arns(&again), [unheard.as_str()]);
    let manifest = second.manifest().await;
    let mut named: Vec<_> = manifest.tasks.into_iter().flatten().filter_map(|task| task.task_arn).collect();
    named.sort();
    let mut expected = vec![stored, unheard];
    expected.sort();
    assert_eq!(named, expected);
    assert!(manifest.timeline > again.seq_num && again.seq_num > old.timeline);
    assert_eq!(first.closed().await, 1000, "the first session was superseded");
    assert_eq!(joined.shown_instance().await["agentConnected"], true);
}

#[tokio::test]
async fn an_agent_may_stop_only_what_the_scheduler_agrees_to() {
    let joined = Joined::start().await;
    let mut agent = joined.agent().await;
    let message_id = agent.manifest().await.message_id;
    let wanted = joined.run_task().await;
    agent.payload().await;
    let candidate = |arn: String| acs::TaskIdentifier { task_arn: Some(arn), ..Default::default() };
    let unknown = format!("{}{}", &wanted[..wanted.len() - 32], "f".repeat(32));
    let candidates = vec![candidate(wanted), candidate(unknown.clone())];
    let ask = acs::TaskStopVerificationMessage { message_id, stop_candidates: Some(candidates) };
    agent.say(acs::Message::TaskStopVerificationMessage(ask)).await;
    match agent.hear().await {
        acs::Message::TaskStopVerificationAck(ack) => {
            assert_eq!(ack.stop_tasks, Some(vec![candidate(unknown)]));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_connection_shows_on_the_instance() {
    let joined = Joined::start().await;
    assert_eq!(joined.shown_instance().await["agentConnected"], false);
    let mut agent = joined.agent().await;
    agent.manifest().await;
    joined.run_task().await;
    let shown = joined.shown_instance().await;
    assert_eq!(
        (&shown["agentConnected"], &shown["versionInfo"]["agentVersion"]),
        (&json!(true), &json!("1.2.3"))
    );
    joined
        .running
        .ask("DeregisterContainerInstance", json!({"containerInstance": joined.instance, "force": true}))
        .await;
    assert_eq!(agent.closed().await, 1000);
    assert_eq!(refusal(joined.connect(&joined.acs_path()).await), (400, "InactiveInstanceException".into()));
}

#[tokio::test]
async fn a_channel_is_refused_in_words_that_agents_know() {
    let joined = Joined::start().await;
    let other_cluster = joined.acs_path().replace("clusterArn=default", "clusterArn=none");
    assert_eq!(refusal(joined.connect(&other_cluster).await), (400, "InvalidClusterException".into()));
    let id = joined.instance.rsplit('/').next().unwrap();
    let other_instance = joined.acs_path().replace(id, &"f".repeat(32));
    assert_eq!(refusal(joined.connect(&other_instance).await), (400, "InvalidInstanceException".into()));
    let unsigned = format!("ws://{}{}", joined.running.address, joined.acs_path());
    let unsigned = tokio_tungstenite::connect_async(unsigned).await.map(|(socket, _)| socket);
    assert_eq!(refusal(unsigned), (403, "AccessDeniedException".into()));
}

#[tokio::test]
async fn health_arrives_in_signed_frames_only() {
    let joined = Joined::start().await;
    let mut agent = joined.agent().await;
    agent.manifest().await;
    let task = joined.run_task().await;
    let path = joined.tcs_path();
    let mut socket = joined.connect(&path).await.unwrap();
    let container = json!({"containerName": "web", "healthStatus": "UNHEALTHY", "statusSince": 1});
    let health = json!({"type": "PublishHealthRequest", "message":
        {"tasks": [{"taskArn": task, "containers": [container]}], "timestamp": 1}})
    .to_string();
    let headers = joined.running.signed_for(&path, health.as_bytes());
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    socket.send(Message::text(tcs::frame::compose(headers, &health))).await.unwrap();
    let mut heard = Vec::new();
    while !heard.contains(&"AckPublishHealth".to_owned()) {
        let received = socket.next().await.unwrap().unwrap().into_text().unwrap();
        heard.push(tcs::Message::decode(&received).unwrap().kind().to_owned());
    }
    // The next command is decided after the health, which was queued before it was acknowledged.
    joined.running.ask("TagResource", json!({"resourceArn": task, "tags": []})).await;
    let shown = joined.running.ask("DescribeTasks", json!({"tasks": [task]})).await;
    assert_eq!(shown["tasks"][0]["containers"][0]["healthStatus"], "UNHEALTHY", "{shown}");

    socket.send(Message::text(health)).await.unwrap();
    let policy = loop {
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(policy, 1008);
}
