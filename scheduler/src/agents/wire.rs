//! A channel's socket: text frames out within a time bound, and why a session ends.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::{Sink, SinkExt};

use super::conversation::Over;
use super::line;

/// How long a frame may take to be taken by the peer. Beyond it the connection is as good as dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the WebSocket protocol leaves for a reason in a control frame of at most 125 bytes.
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the agent closed the connection")]
    Closed,
    #[error("the connection broke")]
    Broken,
    #[error("the host of the agent does not answer")]
    Unanswered,
    #[error(transparent)]
    Over(#[from] Over),
    #[error("the agent takes nothing any more")]
    Stuck,
    #[error("a newer connection of the same instance took over")]
    Superseded,
    #[error("a frame is not signed as it must be: {0}")]
    NotAuthenticated(String),
    #[error("the access key that opened the connection was deleted")]
    KeyDeleted,
    #[error("the scheduler is stopping")]
    Stopping,
}

impl End {
    /// The close code that tells the peer. Agents come back at once after the normal ones.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Closed | Self::Broken | Self::Unanswered | Self::Stuck => None,
            Self::Over(Over::Silent | Over::Deregistered) | Self::Superseded => Some(close_code::NORMAL),
            Self::Over(Over::Unreadable) | Self::NotAuthenticated(_) | Self::KeyDeleted => {
                Some(close_code::POLICY)
            }
            Self::Stopping => Some(close_code::AWAY),
        }
    }
}

/// Sends one text frame.
pub(super) async fn send(socket: &mut WebSocket, text: String) -> Result<(), End> {
    put(SEND_TIMEOUT, socket, Message::Text(text.into())).await
}

/// Sends what needs no answer but the acknowledgement of the host's kernel: a pong that was not asked for, which RFC 6455
/// has for this very purpose.
pub(super) async fn pulse(socket: &mut WebSocket) -> Result<(), End> {
    put(SEND_TIMEOUT, socket, Message::Pong(Bytes::new())).await
}

async fn put(
    time: Duration,
    socket: &mut (impl Sink<Message, Error = axum::Error> + Unpin),
    message: Message,
) -> Result<(), End> {
    match tokio::time::timeout(time, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(broken(&error)),
        Err(_) => Err(End::Stuck),
    }
}

fn broken(error: &axum::Error) -> End {
    if line::is_unanswered(error) { End::Unanswered } else { End::Broken }
}

/// The text of a received frame; `None` for frames that the protocol has no use for.
pub(super) fn text(received: Option<Result<Message, axum::Error>>) -> Result<Option<String>, End> {
    match received {
        Some(Ok(Message::Text(text))) => Ok(Some(text.as_str().to_owned())),
        // Pings are answered by the WebSocket layer, and the protocol has no binary frames.
        Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(End::Closed),
        Some(Err(error)) => Err(broken(&error)),
    }
}

/// Says goodbye where the peer still listens, or answers its own goodbye.
pub(super) async fn close(mut socket: WebSocket, end: &End) {
    let goodbye = async {
        if let Some(code) = end.code() {
            let reason = cut(end.to_string()).into();
            let _ = socket.send(Message::Close(Some(CloseFrame { code, reason }))).await;
        }
        let _ = socket.close().await;
    };
    // The peer may be gone; there is nothing to be done about it.
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, goodbye).await;
}

/// The text, cut to what fits in a close frame.
fn cut(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX));
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_given_up() {
        let mut stuck = std::pin::pin!(futures_util::sink::unfold((), |(), _: Message| {
            std::future::pending::<Result<(), axum::Error>>()
        }));
        let sent = put(Duration::ZERO, &mut stuck, Message::Text("hello".into())).await;
        assert!(matches!(sent, Err(End::Stuck)), "{sent:?}");
    }

    #[test]
    fn a_reason_is_cut_between_letters() {
        assert_eq!(cut("short".to_owned()), "short");
        assert_eq!(cut("ä".repeat(100)).len(), CLOSE_REASON_BYTES_MAX - 1);
    }
}
