//! ACS: takes the scheduler's orders to the driver and brings its acknowledgements back.
//!
//! Orders reach the driver in the order in which they came. An acknowledgement may take until the ledger is on disk;
//! other messages are answered meanwhile. Nothing is acknowledged that a crash could lose.

use std::collections::BTreeMap;

use ecsr_api::acs::{
    AckRequest, HeartbeatAckRequest, IAMRoleCredentials, IAMRoleCredentialsAckRequest,
    IAMRoleCredentialsMessage, Message, NackRequest, PayloadMessage, TaskIdentifier, TaskManifestMessage,
    TaskStopVerificationAck, TaskStopVerificationMessage,
};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::pulse::Pulse;
use super::{End, RECONNECT_MAX, RECONNECT_MIN, lifetime, silence};
use crate::backoff::{Backoff, Complaint};
use crate::credentials::Credentials;
use crate::driver::{Accepted, Command, Handle};
use crate::uplink::{Hello, Line, Received, Unopened, Uplink};

/// Answers under way at once; the socket is not read while there are more.
const ANSWERS_MAX: usize = 64;

type Answer = BoxFuture<'static, Vec<Message>>;

/// The agent's side of ACS.
#[derive(Debug)]
pub(crate) struct Acs<U> {
    pub(crate) uplink: U,
    pub(crate) driver: Handle,
    pub(crate) credentials: Credentials,
    /// Numbers of payloads and manifests, over all connections.
    pub(crate) timeline: Timeline,
    /// Whether a connection was ever made: until then the scheduler is asked for all credentials.
    pub(crate) was_connected: bool,
    /// Counts how often a scheduler was left because another one gives the orders.
    pub(crate) moves: watch::Sender<u64>,
}

/// What was seen of the scheduler's numbering.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    highest: i64,
    /// The manifest whose verification is awaited.
    awaited: Option<String>,
}

impl Timeline {
    fn note_payload(&mut self, seq_num: i64) {
        self.highest = self.highest.max(seq_num);
    }

    /// Whether the manifest is newer than everything seen.
    fn admit_manifest(&mut self, timeline: i64, message_id: &str) -> bool {
        let is_newer = timeline > self.highest;
        if is_newer {
            self.highest = timeline;
            self.awaited = Some(message_id.to_owned());
        }
        is_newer
    }

    /// Whether this is the one answer to the last manifest.
    fn admit_verification(&mut self, message_id: &str) -> bool {
        let is_awaited = self.awaited.as_deref() == Some(message_id);
        if is_awaited {
            self.awaited = None;
        }
        is_awaited
    }
}

impl<U: Uplink> Acs<U> {
    /// Keeps a connection for this instance, until the scheduler says that the instance is not registered.
    pub(crate) async fn keep(&mut self, container_instance: &str) -> String {
        let mut backoff = Backoff::new(RECONNECT_MIN, RECONNECT_MAX);
        let mut complaint = Complaint::default();
        loop {
            let hello = Hello { container_instance, send_credentials: !self.was_connected };
            match self.uplink.open(hello).await {
                Ok(line) => {
                    complaint.settled("the scheduler's orders can be received again");
                    if !self.was_connected {
                        tracing::info!("connected to the scheduler");
                    }
                    self.was_connected = true;
                    self.driver.order(Command::Connected).await;
                    backoff.reset();
                    let end = self.converse(container_instance, line).await;
                    self.driver.order(Command::Disconnected).await;
                    match end {
                        End::Inactive(why) => return why,
                        End::Closed => {}
                        End::Moved => {
                            tracing::info!("the scheduler is silent and another one gives the orders");
                            self.moves.send_modify(|moves| *moves += 1);
                        }
                        End::Lost(why) => complaint.warn(format!("lost the scheduler: {why}")),
                    }
                }
                Err(Unopened::Inactive(why)) => return why,
                Err(Unopened::Lost(why)) => complaint.warn(format!("cannot reach the scheduler: {why}")),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    async fn converse(&mut self, container_instance: &str, mut line: U::Line) -> End {
        let mut answers: FuturesUnordered<Answer> = FuturesUnordered::new();
        let (uplink, place) = (self.uplink.clone(), line.place());
        let (mut pulse, mut heard_at) = (Pulse::default(), Instant::now());
        // Whether the orders come from elsewhere by now, while that is being found out.
        let mut question: Option<BoxFuture<'_, bool>> = None;
        let expiry = tokio::time::sleep(lifetime());
        tokio::pin!(expiry);
        let patience = silence();
        loop {
            tokio::select! {
                // In this order, so that a run can be repeated exactly. There are no more answers than messages.
                biased;
                () = &mut expiry => {
                    line.close("ConnectionExpired: Reconnect to continue").await;
                    return End::Closed;
                }
                Some(messages) = answers.next() => {
                    for message in messages {
                        if let Err(why) = line.send(message.encode()).await {
                            return End::Lost(why);
                        }
                    }
                }
                received = tokio::time::timeout_at(heard_at + patience, line.receive()),
                    if answers.len() < ANSWERS_MAX => {
                    heard_at = Instant::now();
                    pulse.heard(heard_at);
                    let text = match received {
                        Err(_) => return End::Lost(format!("silent for {}s", patience.as_secs())),
                        Ok(Err(why)) => return End::Lost(why),
                        Ok(Ok(Received::Close)) => return End::Closed,
                        Ok(Ok(Received::Pulse)) => {
                            pulse.felt(heard_at);
                            continue;
                        }
                        Ok(Ok(Received::Life)) => continue,
                        Ok(Ok(Received::Text(text))) => text,
                    };
                    match Message::decode(&text) {
                        Ok(Message::InactiveInstanceException(exception)) => {
                            return End::Inactive(exception.message.unwrap_or_default());
                        }
                        Ok(message) => answers.extend(self.take(message).await),
                        Err(error) => tracing::warn!("ignoring a frame: {error}"),
                    }
                }
                has_moved = answered(&mut question) => {
                    question = None;
                    if has_moved {
                        return End::Moved;
                    }
                    pulse.asked(Instant::now());
                }
                () = come(pulse.ask_at()), if question.is_none() => {
                    question = Some(uplink.has_moved(container_instance, &place).boxed());
                }
            }
        }
    }

    /// Acts on a message, and answers what will be said to it.
    async fn take(&mut self, message: Message) -> Option<Answer> {
        match message {
            Message::HeartbeatMessage(heartbeat) => {
                let ack = HeartbeatAckRequest { message_id: heartbeat.message_id };
                Some(at_once(Message::HeartbeatAckRequest(ack)))
            }
            Message::PayloadMessage(payload) => self.payload(payload).await,
            Message::TaskManifestMessage(manifest) => self.manifest(manifest).await,
            Message::TaskStopVerificationAck(verified) => {
                self.stop_verified(verified).await;
                None
            }
            Message::IAMRoleCredentialsMessage(message) => self.role_credentials(message).await,
            Message::StageUpdateMessage(update) => {
                Some(nack(update.cluster_arn, update.container_instance_arn, update.message_id))
            }
            Message::PerformUpdateMessage(update) => {
                Some(nack(update.cluster_arn, update.container_instance_arn, update.message_id))
            }
            other @ (Message::AttachTaskNetworkInterfacesMessage(_)
            | Message::AttachInstanceNetworkInterfacesMessage(_)
            | Message::ConfirmAttachmentMessage(_)) => {
                tracing::warn!("attachments are not supported: {} is left unanswered", other.kind());
                None
            }
            said @ (Message::CloseMessage(_)
            | Message::ErrorMessage(_)
            | Message::AccessDeniedException(_)
            | Message::BadRequestException(_)
            | Message::InactiveInstanceException(_)
            | Message::InvalidClusterException(_)
            | Message::InvalidInstanceException(_)
            | Message::ServerException(_)) => {
                tracing::warn!("the scheduler says: {said:?}");
                None
            }
            skipped @ (Message::AckRequest(_)
            | Message::HeartbeatAckRequest(_)
            | Message::IAMRoleCredentialsAckRequest(_)
            | Message::NackRequest(_)
            | Message::TaskStopVerificationMessage(_)
            | Message::Unknown { .. }) => {
                tracing::debug!("skipping a message of type {}", skipped.kind());
                None
            }
        }
    }

    async fn payload(&mut self, payload: PayloadMessage) -> Option<Answer> {
        let ack = acknowledgement(payload.cluster_arn, payload.container_instance_arn, payload.message_id)?;
        self.timeline.note_payload(payload.seq_num.unwrap_or_default());
        let tasks = payload.tasks.unwrap_or_default();
        let mut credentials_acks = Vec::new();
        for task in &tasks {
            for credentials in
                [&task.role_credentials, &task.execution_role_credentials].into_iter().flatten()
            {
                credentials_acks.push(credentials_ack(ack.message_id.clone(), credentials));
                self.credentials.keep(credentials.clone());
            }
        }
        let (reply, accepted) = oneshot::channel();
        self.driver.order(Command::Payload { tasks, reply }).await;
        let answer = async move {
            match accepted.await {
                Ok(Accepted::All) => {
                    std::iter::once(Message::AckRequest(ack)).chain(credentials_acks).collect()
                }
                Ok(Accepted::Some) | Err(_) => Vec::new(),
            }
        };
        Some(answer.boxed())
    }

    async fn manifest(&mut self, manifest: TaskManifestMessage) -> Option<Answer> {
        let cluster = manifest.cluster_arn.clone();
        let ack =
            acknowledgement(manifest.cluster_arn, manifest.container_instance_arn, manifest.message_id)?;
        let message_id = ack.message_id.clone().unwrap_or_default();
        if !self.timeline.admit_manifest(manifest.timeline.unwrap_or_default(), &message_id) {
            tracing::debug!("skipping a manifest that is not newer than what was seen");
            return None;
        }
        let tasks: BTreeMap<String, String> = manifest
            .tasks
            .unwrap_or_default()
            .into_iter()
            .filter_map(|task| Some((task.task_arn?, task.desired_status.unwrap_or_default())))
            .collect();
        let (reply, candidates) = oneshot::channel();
        self.driver.order(Command::Manifest { tasks, reply }).await;
        let answer = async move {
            let mut messages = vec![Message::AckRequest(ack)];
            let candidates = candidates.await.unwrap_or_default();
            if !candidates.is_empty() {
                messages.push(verification(message_id, cluster.as_ref(), candidates));
            }
            messages
        };
        Some(answer.boxed())
    }

    async fn stop_verified(&mut self, verified: TaskStopVerificationAck) {
        if !self.timeline.admit_verification(verified.message_id.as_deref().unwrap_or_default()) {
            tracing::warn!("skipping a verification that answers no manifest");
            return;
        }
        let tasks = verified.stop_tasks.unwrap_or_default();
        let task_arns = tasks.into_iter().filter_map(|task| task.task_arn).collect();
        self.driver.order(Command::Stop { task_arns }).await;
    }

    async fn role_credentials(&self, message: IAMRoleCredentialsMessage) -> Option<Answer> {
        let task_arn = message.task_arn.unwrap_or_default();
        let credentials = message.role_credentials?;
        let is_known = self.driver.ask(|reply| Command::Knows { task_arn: task_arn.clone(), reply }).await;
        if is_known != Some(true) {
            tracing::warn!(task = task_arn, "credentials for a task that is not here");
            return None;
        }
        let ack = credentials_ack(message.message_id, &credentials);
        self.credentials.keep(credentials);
        Some(at_once(ack))
    }
}

/// Never resolves while there is no question.
async fn answered(question: &mut Option<BoxFuture<'_, bool>>) -> bool {
    match question {
        Some(question) => question.await,
        None => std::future::pending().await,
    }
}

/// Resolves at that moment, if there is one.
async fn come(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn at_once(message: Message) -> Answer {
    std::future::ready(vec![message]).boxed()
}

/// The acknowledgement of a message; `None` if it lacks what the protocol insists on.
fn acknowledgement(
    cluster_arn: Option<String>,
    container_instance_arn: Option<String>,
    message_id: Option<String>,
) -> Option<AckRequest> {
    if cluster_arn.is_none() || container_instance_arn.is_none() || message_id.is_none() {
        tracing::warn!("dropping a message with no messageId, clusterArn or containerInstanceArn");
        return None;
    }
    Some(AckRequest { cluster: cluster_arn, container_instance: container_instance_arn, message_id })
}

fn credentials_ack(message_id: Option<String>, credentials: &IAMRoleCredentials) -> Message {
    Message::IAMRoleCredentialsAckRequest(IAMRoleCredentialsAckRequest {
        message_id,
        credentials_id: credentials.credentials_id.clone(),
        expiration: credentials.expiration.clone(),
    })
}

fn verification(message_id: String, cluster: Option<&String>, candidates: Vec<String>) -> Message {
    let candidate = |task_arn| TaskIdentifier {
        task_arn: Some(task_arn),
        task_cluster_arn: cluster.cloned(),
        desired_status: Some("STOPPED".to_owned()),
    };
    Message::TaskStopVerificationMessage(TaskStopVerificationMessage {
        message_id: Some(message_id),
        stop_candidates: Some(candidates.into_iter().map(candidate).collect()),
    })
}

fn nack(cluster: Option<String>, container_instance: Option<String>, message_id: Option<String>) -> Answer {
    let reason = Some("Updates are disabled".to_owned());
    at_once(Message::NackRequest(NackRequest { cluster, container_instance, message_id, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_count_only_when_newer_and_are_verified_once() {
        let mut timeline = Timeline::default();
        timeline.note_payload(5);
        assert!(!timeline.admit_manifest(5, "old"));
        assert!(!timeline.admit_verification("old"));
        assert!(timeline.admit_manifest(6, "new"));
        assert!(!timeline.admit_manifest(6, "again"));
        assert!(!timeline.admit_verification("other"));
        assert!(timeline.admit_verification("new"));
        assert!(!timeline.admit_verification("new"), "once only");
    }
}
