//! TCS: tells the scheduler how containers are and what they use. Health goes out the moment it changes.
//!
//! Every frame of the agent is signed on its own: a header block, a blank line, the message.

use std::time::Duration;

use ecsr_api::tcs::{
    Connect, InstanceStatus, InstanceStatusMetadata, Message, PublishInstanceStatusRequest, frame,
};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::metrics::{Publisher, Sampler, health_messages, metrics_messages};
use super::socket::{Address, Socket, open};
use super::{
    AGENT_HASH, AGENT_VERSION, End, RECONNECT_MAX, RECONNECT_MIN, Signer, WRITE_TIMEOUT, lifetime, silence,
};
use crate::api::Api;
use crate::backoff::{Backoff, Complaint};
use crate::clock::now;
use crate::driver::{Command, Handle};
use crate::engine::TaskView;
use crate::runtime::Runtime;
use crate::text::chain;

/// Time between publications.
const INTERVAL: Duration = Duration::from_secs(20);

/// The agent's side of TCS.
#[derive(Debug)]
pub(crate) struct Tcs<R> {
    pub(crate) api: Api,
    pub(crate) signer: Signer,
    pub(crate) driver: Handle,
    pub(crate) runtime: R,
    pub(crate) docker_version: String,
    /// Whether usage is published, or only health.
    pub(crate) publishes_metrics: bool,
}

/// One connection.
struct Session<'a, R> {
    tcs: &'a Tcs<R>,
    address: Address,
    publisher: Publisher,
    sampler: Sampler,
    socket: Socket,
}

impl<R: Runtime> Tcs<R> {
    /// Keeps a connection for the instance that this host is registered as, for ever.
    pub(crate) async fn follow(self, mut instance: watch::Receiver<String>, moves: watch::Receiver<u64>) {
        loop {
            let arn = instance.borrow_and_update().clone();
            tokio::select! {
                () = self.keep(&arn, moves.clone()), if !arn.is_empty() => {}
                Ok(()) = instance.changed() => {}
                // The agent ends, and this with it.
                else => return,
            }
        }
    }

    /// Keeps a connection for this instance, for ever.
    async fn keep(&self, container_instance: &str, mut moves: watch::Receiver<u64>) {
        let mut backoff = Backoff::new(RECONNECT_MIN, RECONNECT_MAX);
        let mut complaint = Complaint::default();
        loop {
            match self.connect(container_instance).await {
                Ok(Some(session)) => {
                    complaint.settled("telemetry can be published again");
                    backoff.reset();
                    moves.mark_unchanged();
                    match session.publish(&mut moves).await {
                        // ACS hears of an inactive instance as well, and acts on it.
                        End::Closed | End::Moved | End::Inactive(_) => {}
                        End::Lost(why) => complaint.warn(format!("lost the telemetry connection: {why}")),
                    }
                }
                Ok(None) => complaint.warn("the scheduler takes no telemetry".to_owned()),
                Err(why) => complaint.warn(format!("cannot publish telemetry: {why}")),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    async fn connect(&self, container_instance: &str) -> Result<Option<Session<'_, R>>, String> {
        let endpoints = self.api.discover(container_instance).await.map_err(|error| error.to_string())?;
        let Some(endpoint) = endpoints.tcs else { return Ok(None) };
        let query = Connect {
            agent_hash: AGENT_HASH.to_owned(),
            agent_version: AGENT_VERSION.to_owned(),
            cluster: self.api.cluster.clone(),
            container_instance: container_instance.to_owned(),
            docker_version: self.docker_version.clone(),
        };
        let address = Address::new(&endpoint, &query.to_query()).map_err(|error| error.to_string())?;
        let socket = open(&address, &self.signer).await.map_err(|error| chain(&error))?;
        let publisher = Publisher {
            cluster: self.api.cluster.clone(),
            container_instance: container_instance.to_owned(),
        };
        Ok(Some(Session { tcs: self, address, publisher, sampler: Sampler::default(), socket }))
    }
}

impl<R: Runtime> Session<'_, R> {
    /// Publishes until the connection ends, or the scheduler that gives the orders is another one.
    async fn publish(mut self, moves: &mut watch::Receiver<u64>) -> End {
        let mut health = self.tcs.driver.health();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let expiry = tokio::time::sleep(lifetime());
        tokio::pin!(expiry);
        let patience = silence();
        let silent = tokio::time::sleep(patience);
        tokio::pin!(silent);
        if let Err(end) = self.send_status().await {
            return end;
        }
        loop {
            let sent = tokio::select! {
                frame = self.socket.next() => match frame {
                    None | Some(Ok(Frame::Close(_))) => return End::Closed,
                    Some(Err(error)) => return End::Lost(error.to_string()),
                    Some(Ok(frame)) => {
                        silent.as_mut().reset(tokio::time::Instant::now() + patience);
                        note(&frame);
                        Ok(())
                    }
                },
                _ = ticks.tick() => self.send_all().await,
                Ok(()) = health.changed() => {
                    let tasks = self.views().await;
                    self.send_health(&tasks).await
                }
                Ok(()) = moves.changed() => return End::Moved,
                () = &mut silent => return End::Lost(format!("silent for {}s", patience.as_secs())),
                () = &mut expiry => {
                    // The connection is given up anyway.
                    let _ = tokio::time::timeout(WRITE_TIMEOUT, self.socket.close(None)).await;
                    return End::Closed;
                }
            };
            if let Err(end) = sent {
                return end;
            }
        }
    }

    async fn views(&self) -> Vec<TaskView> {
        self.tcs.driver.ask(|reply| Command::Views { reply }).await.unwrap_or_default()
    }

    async fn send_all(&mut self) -> Result<(), End> {
        let tasks = self.views().await;
        self.send_health(&tasks).await?;
        if !self.tcs.publishes_metrics {
            return Ok(());
        }
        let metrics = self.sampler.sample(&self.tcs.runtime, &tasks).await;
        for message in metrics_messages(&self.publisher, &message_id(), metrics) {
            self.send(&message).await?;
        }
        Ok(())
    }

    async fn send_health(&mut self, tasks: &[TaskView]) -> Result<(), End> {
        for message in health_messages(&self.publisher, &message_id(), tasks) {
            self.send(&message).await?;
        }
        Ok(())
    }

    /// Says once per connection that the container runtime works: without it there would be no agent to say so.
    async fn send_status(&mut self) -> Result<(), End> {
        let message = Message::PublishInstanceStatusRequest(PublishInstanceStatusRequest {
            metadata: Some(InstanceStatusMetadata {
                cluster: Some(self.publisher.cluster.clone()),
                container_instance: Some(self.publisher.container_instance.clone()),
                request_id: Some(message_id()),
            }),
            statuses: Some(vec![InstanceStatus {
                r#type: Some("ContainerRuntime".to_owned()),
                status: Some("OK".to_owned()),
                last_updated: Some(now()),
                last_status_change: Some(now()),
            }]),
            timestamp: Some(now()),
        });
        self.send(&message).await
    }

    async fn send(&mut self, message: &Message) -> Result<(), End> {
        let body = message.encode();
        let headers = self.tcs.signer.headers(&self.address.url, &self.address.host, body.as_bytes()).await;
        let headers = headers.map_err(|error| End::Lost(chain(&error)))?;
        let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let sending = self.socket.send(Frame::text(frame::compose(lines, &body)));
        match tokio::time::timeout(WRITE_TIMEOUT, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Lost(error.to_string())),
            Err(_) => Err(End::Lost("the scheduler does not read".to_owned())),
        }
    }
}

/// Acknowledgements need no action; what the scheduler objects to is worth a line.
fn note(frame: &Frame) {
    let Frame::Text(text) = frame else { return };
    match Message::decode(text) {
        Ok(
            Message::AckPublishHealth(_)
            | Message::AckPublishInstanceStatus(_)
            | Message::AckPublishMetric(_)
            | Message::HeartbeatMessage(_),
        ) => {}
        Ok(other) => tracing::debug!("the telemetry endpoint says {other:?}"),
        Err(error) => tracing::debug!("ignoring a telemetry frame: {error}"),
    }
}

/// A random identifier, in the form of a UUID.
fn message_id() -> String {
    let mut bytes = [0u8; 16];
    // Ids only tell messages apart; a host with no randomness sends zeros.
    let _ = getrandom::fill(&mut bytes);
    let text = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}
