//! ACS, the agent communication service: what scheduler and agent say on the agent's WebSocket.
//!
//! Each text frame is `{"type":"<name>","message":{…}}`. Task results do not travel here: the agent reports
//! them through the ECS API. Structures and variants carry the names of Amazon's protocol, and every member
//! is optional, as in [`crate::ecs`]; which ones a receiver insists on is the receiver's rule.
//!
//! `generatedAt` is in milliseconds since 1970; other moments are RFC 3339 text.

mod attachment;
mod connect;
mod payload;

use serde::Deserialize;

use crate::wire::{FrameError, Incoming, messages, structures};

pub use attachment::*;
pub use connect::Connect;
pub use payload::*;

/// The longest frame that either side reads. A task definition has at most 64 KiB and a payload carries the
/// tasks of one instance, so this is a full payload of many tasks with room to spare.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often the scheduler must say something: the agent gives up a silent connection after 60 to 120 s.
pub const HEARTBEAT_INTERVAL_SECONDS: u64 = 20;

/// The version that the agent names in its connection parameters.
pub const PROTOCOL_VERSION: i64 = 2;

messages! {
    /// A message of either direction.
    pub enum Message within FRAME_BYTES_MAX {
        AccessDeniedException(Exception),
        AckRequest(AckRequest),
        AttachInstanceNetworkInterfacesMessage(AttachInstanceNetworkInterfacesMessage),
        AttachTaskNetworkInterfacesMessage(AttachTaskNetworkInterfacesMessage),
        BadRequestException(Exception),
        CloseMessage(CloseMessage),
        ConfirmAttachmentMessage(ConfirmAttachmentMessage),
        ErrorMessage(ErrorMessage),
        HeartbeatAckRequest(HeartbeatAckRequest),
        HeartbeatMessage(HeartbeatMessage),
        IAMRoleCredentialsAckRequest(IAMRoleCredentialsAckRequest),
        IAMRoleCredentialsMessage(IAMRoleCredentialsMessage),
        InactiveInstanceException(Exception),
        InvalidClusterException(Exception),
        InvalidInstanceException(Exception),
        NackRequest(NackRequest),
        PayloadMessage(PayloadMessage),
        PerformUpdateMessage(PerformUpdateMessage),
        ServerException(Exception),
        StageUpdateMessage(StageUpdateMessage),
        TaskManifestMessage(TaskManifestMessage),
        TaskStopVerificationAck(TaskStopVerificationAck),
        TaskStopVerificationMessage(TaskStopVerificationMessage),
    }
}

impl Message {
    /// The message in the body of a refused handshake: an envelope, or the one-key map
    /// `{"InactiveInstanceException":"text"}`.
    ///
    /// # Errors
    /// If the body is neither.
    pub fn decode_refusal(body: &str) -> Result<Self, FrameError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Body {
            Envelope(Incoming),
            Map(std::collections::BTreeMap<String, String>),
        }
        if body.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong { bytes: body.len(), bytes_max: FRAME_BYTES_MAX });
        }
        match serde_json::from_str(body).map_err(FrameError::Envelope)? {
            Body::Envelope(envelope) => Self::from_envelope(envelope),
            Body::Map(map) => {
                let (kind, text) = map.into_iter().next().unwrap_or_default();
                let message = serde_json::Map::from_iter([("message".to_owned(), text.into())]);
                Self::from_envelope(Incoming { kind, message: Some(message) })
            }
        }
    }
}

structures! {
    /// Agent to scheduler: the message is stored and will be acted on. It does not mean that it was done.
    pub struct AckRequest {
        /// The `clusterArn` of the acknowledged message.
        cluster: String,
        /// The `containerInstanceArn` of the acknowledged message.
        container_instance: String,
        message_id: String,
    }

    /// Agent to scheduler: the message will not be acted on.
    pub struct NackRequest {
        cluster: String,
        container_instance: String,
        message_id: String,
        reason: String,
    }

    /// Scheduler to agent: the connection lives.
    pub struct HeartbeatMessage {
        message_id: String,
        healthy: bool,
    }

    /// Agent to scheduler: answers a [`HeartbeatMessage`].
    pub struct HeartbeatAckRequest {
        message_id: String,
    }

    /// Scheduler to agent: fresh credentials of one task.
    pub struct IAMRoleCredentialsMessage {
        message_id: String,
        task_arn: String,
        task_cluster_arn: String,
        /// `TaskApplication` or `TaskExecution`.
        role_type: String,
        role_credentials: IAMRoleCredentials,
    }

    /// Temporary credentials of an IAM role.
    pub struct IAMRoleCredentials hide(secret_access_key, session_token) {
        credentials_id: String,
        role_arn: String,
        access_key_id: String,
        secret_access_key: String,
        session_token: String,
        /// RFC 3339.
        expiration: String,
        credential_scope: String,
    }

    /// Agent to scheduler: the credentials are stored. Not sent for a task that the agent does not know.
    pub struct IAMRoleCredentialsAckRequest {
        message_id: String,
        credentials_id: String,
        /// RFC 3339, as it was sent.
        expiration: String,
    }

    /// Scheduler to agent: every task that the instance should have. It stops nothing by itself.
    pub struct TaskManifestMessage {
        message_id: String,
        cluster_arn: String,
        container_instance_arn: String,
        generated_at: i64,
        /// Dropped unless higher than every payload's `seqNum` and manifest's `timeline` before it.
        timeline: i64,
        tasks: Vec<TaskIdentifier>,
    }

    /// Agent to scheduler: tasks that run here and are not in the manifest. May they be stopped?
    pub struct TaskStopVerificationMessage {
        /// The manifest's.
        message_id: String,
        stop_candidates: Vec<TaskIdentifier>,
    }

    /// Scheduler to agent: those of the candidates that really are to be stopped.
    pub struct TaskStopVerificationAck {
        /// The manifest's; the agent takes one answer per manifest.
        message_id: String,
        generated_at: i64,
        stop_tasks: Vec<TaskIdentifier>,
    }

    /// A task in a manifest and in its verification.
    pub struct TaskIdentifier {
        task_arn: String,
        task_cluster_arn: String,
        /// `RUNNING` or `STOPPED`.
        desired_status: String,
    }

    /// Scheduler to agent: fetch another version of the agent.
    pub struct StageUpdateMessage {
        message_id: String,
        cluster_arn: String,
        container_instance_arn: String,
        update_info: UpdateInfo,
    }

    /// Scheduler to agent: leave, so that the staged version starts.
    pub struct PerformUpdateMessage {
        message_id: String,
        cluster_arn: String,
        container_instance_arn: String,
        update_info: UpdateInfo,
    }

    /// Where another version of the agent is to be had.
    pub struct UpdateInfo {
        location: String,
        /// SHA-256 of the download, in hex.
        signature: String,
    }

    /// Scheduler to agent: the connection ends.
    pub struct CloseMessage {
        message: String,
    }

    /// Scheduler to agent: something went wrong that concerns no message of the agent.
    pub struct ErrorMessage {
        message: String,
    }

    /// What every exception carries.
    pub struct Exception {
        message: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_written_as_on_the_wire() {
        let check = |frame: &str, message: &Message| {
            assert_eq!(&Message::decode(frame).unwrap(), message);
            assert_eq!(message.encode(), frame);
        };
        check(
            r#"{"type":"AckRequest","message":{"cluster":"c","containerInstance":"i","messageId":"payload-1"}}"#,
            &Message::AckRequest(AckRequest {
                cluster: Some("c".to_owned()),
                container_instance: Some("i".to_owned()),
                message_id: Some("payload-1".to_owned()),
            }),
        );
        check(
            r#"{"type":"TaskManifestMessage","message":{"timeline":100,"tasks":[]}}"#,
            &Message::TaskManifestMessage(TaskManifestMessage {
                timeline: Some(100),
                tasks: Some(vec![]),
                ..TaskManifestMessage::default()
            }),
        );
        check(
            r#"{"type":"HeartbeatMessage","message":{"healthy":true}}"#,
            &Message::HeartbeatMessage(HeartbeatMessage { healthy: Some(true), message_id: None }),
        );
    }

    #[test]
    fn what_a_newer_peer_says_is_skipped() {
        let unknown = Message::decode(r#"{"type":"NewThing","message":{"a":1}}"#).unwrap();
        assert_eq!(unknown, Message::Unknown { kind: "NewThing".to_owned() });
        let extra =
            r#"{"type":"HeartbeatMessage","more":1,"message":{"messageId":"m","healthy":null,"x":[]}}"#;
        let heartbeat = HeartbeatMessage { message_id: Some("m".to_owned()), healthy: None };
        assert_eq!(Message::decode(extra).unwrap(), Message::HeartbeatMessage(heartbeat));
        assert!(matches!(Message::decode(r#"{"type":"CloseMessage"}"#), Ok(Message::CloseMessage(_))));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for frame in ["", "[]", "{}", "1", r#"{"type":1}"#, r#"{"type":"AckRequest","message":[]}"#] {
            assert!(matches!(Message::decode(frame), Err(FrameError::Envelope(_))), "{frame}");
        }
        let wrong = r#"{"type":"PayloadMessage","message":{"tasks":{}}}"#;
        assert!(matches!(Message::decode(wrong), Err(FrameError::Message { .. })));
        let long = " ".repeat(FRAME_BYTES_MAX + 1);
        assert!(matches!(Message::decode(&long), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn a_refused_handshake_is_read_in_both_forms() {
        let refusal = Message::InactiveInstanceException(Exception { message: Some("gone".to_owned()) });
        for body in [r#"{"InactiveInstanceException":"gone"}"#, refusal.encode().as_str()] {
            assert_eq!(Message::decode_refusal(body).unwrap(), refusal, "{body}");
        }
        assert!(Message::decode_refusal("<html>").is_err());
    }

    #[test]
    fn secrets_do_not_reach_logs() {
        let credentials = IAMRoleCredentials {
            access_key_id: Some("AKID".to_owned()),
            secret_access_key: Some("hush".to_owned()),
            ..IAMRoleCredentials::default()
        };
        let shown = format!("{credentials:?}");
        assert!(shown.contains("AKID") && !shown.contains("hush"), "{shown}");
    }
}
