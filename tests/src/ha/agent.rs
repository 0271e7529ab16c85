//! An agent on the wire that remembers every order and by whom it was given.
//!
//! It runs nothing: what it is told to start it reports as RUNNING. Unlike a good agent it does not let go of a
//! connection when it has another one, so that an order of a leader who is none any more would reach it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use super::trio::{HOSTS, Trio};
use crate::api::Api;
use crate::wait;

/// How often it asks where the leader is.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How long one scheduler may take to say so.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// One task in one payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub at: Instant,
    /// The scheduler that gave it.
    pub host: u8,
    pub number: i64,
    pub task: String,
    pub desired: String,
}

/// The agent of one registered instance.
#[derive(Debug)]
pub struct FakeAgent {
    pub instance: String,
    orders: Arc<Mutex<Vec<Order>>>,
    /// Ended when this is dropped.
    _tasks: JoinSet<()>,
}

impl FakeAgent {
    /// Registers an instance of much room, and stays connected with whoever leads.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn join(trio: &Trio) -> Self {
        let attributes = [
            "com.amazonaws.ecs.capability.docker-remote-api.1.18",
            "com.amazonaws.ecs.capability.docker-remote-api.1.21",
            "ecs.capability.container-ordering",
        ];
        let attributes: Vec<Value> = attributes.iter().map(|name| json!({"name": name})).collect();
        let resource =
            |name: &str, amount: u32| json!({"name": name, "type": "INTEGER", "integerValue": amount});
        let request = json!({
            "totalResources": [
                resource("CPU", 100_000),
                resource("MEMORY", 1_000_000),
                {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"]},
                {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
            ],
            "attributes": attributes,
        });
        let answer = trio.api(0).call("RegisterContainerInstance", request).await;
        let instance = answer["containerInstance"]["containerInstanceArn"].as_str().unwrap_or_default();
        let orders = Arc::new(Mutex::new(Vec::new()));
        let link = Link {
            apis: (0..HOSTS).map(|host| trio.api(host)).collect(),
            instance: instance.to_owned(),
            orders: orders.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(link.keep());
        let agent = Self { instance: instance.to_owned(), orders, _tasks: tasks };
        agent.await_connected(trio).await;
        agent
    }

    /// Waits until the schedulers see it connected.
    pub async fn await_connected(&self, trio: &Trio) {
        let request = json!({"containerInstances": [self.instance]});
        wait::until("the instance to be connected", async || {
            let mut last = Value::Null;
            for host in 0..HOSTS {
                let call = trio.api(host);
                let call = call.try_call("DescribeContainerInstances", request.clone());
                if let Ok(Ok(answer)) = tokio::time::timeout(ASK_TIMEOUT, call).await {
                    if answer["containerInstances"][0]["agentConnected"] == true {
                        return Ok(());
                    }
                    last = answer;
                }
            }
            Err(last)
        })
        .await;
    }

    /// Every order so far.
    pub fn orders(&self) -> Vec<Order> {
        lock(&self.orders).clone()
    }
}

#[derive(Clone, Debug)]
struct Link {
    apis: Vec<Api>,
    instance: String,
    orders: Arc<Mutex<Vec<Order>>>,
}

impl Link {
    /// Opens a connection whenever somebody else leads, or the one with the leader has ended. A connection may be dead
    /// without anybody telling, so one of an earlier lead does not count.
    async fn keep(self) {
        let mut connections = JoinSet::new();
        let mut next = 0;
        let mut current: Option<(u8, AbortHandle)> = None;
        loop {
            let api = &self.apis[next % self.apis.len()];
            let asked = tokio::time::timeout(ASK_TIMEOUT, api.try_call("DiscoverPollEndpoint", json!({})));
            match asked.await {
                Ok(Ok(answer)) => {
                    let endpoint = answer["endpoint"].as_str().unwrap_or_default();
                    let leads = |api: &&Api| endpoint == format!("http://{}/acs", api.address);
                    let leader = self.apis.iter().position(|api| leads(&api)).expect("one of three");
                    let host = u8::try_from(leader).expect("one of three");
                    let is_open =
                        current.as_ref().is_some_and(|(led, open)| *led == host && !open.is_finished());
                    if !is_open {
                        let link = self.clone();
                        // Why it ends is no matter: it is opened again.
                        let open = connections.spawn(async move { link.converse(host).await });
                        current = Some((host, open));
                    }
                }
                Ok(Err(_)) | Err(_) => next += 1,
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn converse(&self, host: u8) -> Option<()> {
        let api = &self.apis[usize::from(host)];
        let mut socket = open(api, &self.instance).await?;
        loop {
            let Message::Text(text) = socket.next().await?.ok()? else { continue };
            let frame: Value = serde_json::from_str(&text).ok()?;
            let message = &frame["message"];
            match frame["type"].as_str() {
                Some("PayloadMessage") => {
                    self.remember(host, message);
                    let ack = json!({"type": "AckRequest", "message": {
                        "cluster": message["clusterArn"],
                        "containerInstance": message["containerInstanceArn"],
                        "messageId": message["messageId"],
                    }});
                    socket.send(Message::text(ack.to_string())).await.ok()?;
                    self.report(message.clone());
                }
                Some("HeartbeatMessage") => {
                    let ack = json!({"type": "HeartbeatAckRequest", "message": {"messageId": message["messageId"]}});
                    socket.send(Message::text(ack.to_string())).await.ok()?;
                }
                Some(_) | None => {}
            }
        }
    }

    fn remember(&self, host: u8, message: &Value) {
        let at = Instant::now();
        let number = message["seqNum"].as_i64().unwrap_or_default();
        let orders = message["tasks"].as_array().into_iter().flatten().map(|task| Order {
            at,
            host,
            number,
            task: task["arn"].as_str().unwrap_or_default().to_owned(),
            desired: task["desiredStatus"].as_str().unwrap_or_default().to_owned(),
        });
        lock(&self.orders).extend(orders);
    }

    /// Tells the schedulers that every task is what it shall be, until one of them takes it.
    fn report(&self, message: Value) {
        let link = self.clone();
        tokio::spawn(async move {
            for task in message["tasks"].as_array().into_iter().flatten() {
                let status = &task["desiredStatus"];
                let names = task["containers"].as_array().into_iter().flatten().map(|it| &it["name"]);
                let containers: Vec<Value> = names
                    .map(|name| json!({"containerName": name, "status": status, "runtimeId": "c0ffee"}))
                    .collect();
                let report = json!({"task": task["arn"], "status": status, "containers": containers});
                link.submit(report).await;
            }
        });
    }

    async fn submit(&self, report: Value) {
        for api in self.apis.iter().cycle() {
            let call = api.try_call("SubmitTaskStateChange", report.clone());
            match tokio::time::timeout(ASK_TIMEOUT, call).await {
                Ok(Ok(_)) => return,
                Ok(Err(error)) if error.code() == "InvalidParameterException" => return,
                Ok(Err(_)) | Err(_) => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    }
}

async fn open(api: &Api, instance: &str) -> Option<WebSocketStream<TcpStream>> {
    let instance = instance.replace(':', "%3A").replace('/', "%2F");
    let target = format!(
        "/acs/ws?agentHash=test&agentVersion=1.0.0&clusterArn=default&containerInstanceArn={instance}\
         &dockerVersion=20.10.24&protocolVersion=2&sendCredentials=true&seqNum=1"
    );
    let mut request = format!("ws://{}{target}", api.address).into_client_request().ok()?;
    for (name, value) in api.signed("GET", &target, vec![("host".to_owned(), api.address.clone())], b"") {
        request.headers_mut().insert(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    let opening = async {
        let stream = TcpStream::connect(&api.address).await.ok()?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.ok()?;
        Some(socket)
    };
    tokio::time::timeout(ASK_TIMEOUT, opening).await.ok()?
}

fn lock(orders: &Mutex<Vec<Order>>) -> std::sync::MutexGuard<'_, Vec<Order>> {
    orders.lock().unwrap_or_else(PoisonError::into_inner)
}
