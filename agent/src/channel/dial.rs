//! The real uplink: the ECS API for calls, and for the line a WebSocket where that API says it is.

use std::sync::Arc;
use std::time::Duration;

use ecsr_api::acs::{Connect, Message, PROTOCOL_VERSION};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::socket::{Address, OpenError, Socket, open};
use super::{AGENT_HASH, AGENT_VERSION, Signer, WRITE_TIMEOUT};
use crate::api::Api;
use crate::config::Config;
use crate::engine::TaskReport;
use crate::register;
use crate::runtime::EngineInfo;
use crate::text::chain;
use crate::uplink::{ApiFailure, Hello, Line, Received, Submitted, Unopened, Uplink};

/// How long a scheduler may take to say where orders come from, while the one that gave them is silent.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    pub(crate) api: Api,
    pub(crate) signer: Signer,
    pub(crate) config: Arc<Config>,
    pub(crate) engine_info: Arc<EngineInfo>,
}

/// A socket, and the endpoint that it was opened at.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    endpoint: String,
}

impl Uplink for Dialer {
    type Line = Connection;

    async fn register(&self, earlier: Option<&str>) -> Result<String, ApiFailure> {
        register::call(&self.api, &self.config, &self.engine_info, earlier).await
    }

    async fn create_cluster(&self, name: &str) -> Result<(), ApiFailure> {
        self.api.create_cluster(name).await
    }

    async fn submit(&self, report: TaskReport) -> Submitted {
        self.api.submit(report).await
    }

    async fn open(&self, hello: Hello<'_>) -> Result<Connection, Unopened> {
        let endpoints =
            self.api.discover(hello.container_instance).await.map_err(|failure| match failure {
                ApiFailure::NoCluster(why) | ApiFailure::Refused(why) => Unopened::Inactive(why),
                ApiFailure::Passing(why) => Unopened::Lost(why),
            })?;
        let query = Connect {
            agent_hash: AGENT_HASH.to_owned(),
            agent_version: AGENT_VERSION.to_owned(),
            cluster: self.api.cluster.clone(),
            container_instance_arn: hello.container_instance.to_owned(),
            docker_version: format!("DockerVersion: {}", self.engine_info.version),
            protocol_version: PROTOCOL_VERSION,
            send_credentials: hello.send_credentials,
            seq_num: 1,
        };
        let address =
            Address::new(&endpoints.acs, &query.to_query()).map_err(|error| Unopened::Lost(chain(&error)))?;
        let opened = open(&address, &self.signer).await.map_err(|error| match error {
            OpenError::Refused(message) if is_of_an_unknown_instance(&message) => {
                Unopened::Inactive(format!("{message:?}"))
            }
            other => Unopened::Lost(chain(&other)),
        });
        Ok(Connection { socket: opened?, endpoint: endpoints.acs })
    }

    async fn has_moved(&self, container_instance: &str, place: &str) -> bool {
        match tokio::time::timeout(ASK_TIMEOUT, self.api.discover(container_instance)).await {
            Ok(Ok(endpoints)) => endpoints.acs != place,
            // Another scheduler is asked the next time.
            Ok(Err(_)) => false,
            Err(_) => {
                self.api.pass_over();
                false
            }
        }
    }
}

/// Whether a refusal means that the instance must register anew.
fn is_of_an_unknown_instance(refusal: &Message) -> bool {
    matches!(
        refusal,
        Message::InactiveInstanceException(_)
            | Message::InvalidInstanceException(_)
            | Message::InvalidClusterException(_)
    )
}

impl Line for Connection {
    async fn receive(&mut self) -> Result<Received, String> {
        match self.socket.next().await {
            None | Some(Ok(Frame::Close(_))) => Ok(Received::Close),
            Some(Ok(Frame::Text(text))) => Ok(Received::Text(text.to_string())),
            // Nobody here sends pings, so a pong is one that was not asked for.
            Some(Ok(Frame::Pong(_))) => Ok(Received::Pulse),
            Some(Ok(Frame::Ping(_) | Frame::Binary(_) | Frame::Frame(_))) => Ok(Received::Life),
            Some(Err(error)) => Err(error.to_string()),
        }
    }

    async fn send(&mut self, text: String) -> Result<(), String> {
        match tokio::time::timeout(WRITE_TIMEOUT, self.socket.send(Frame::text(text))).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err("the scheduler does not read".to_owned()),
        }
    }

    fn place(&self) -> String {
        self.endpoint.clone()
    }

    async fn close(&mut self, reason: &'static str) {
        let close = CloseFrame { code: CloseCode::Normal, reason: reason.into() };
        // The connection is given up anyway.
        let _ = tokio::time::timeout(WRITE_TIMEOUT, self.socket.close(Some(close))).await;
    }
}
