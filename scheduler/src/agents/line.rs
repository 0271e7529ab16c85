//! The TCP connection below an agent's channel: where the other end is, and how soon it has to answer.
//!
//! A kernel acknowledges what it receives whatever its processes do. So when nothing of what was sent is acknowledged
//! for [`ANSWER_MAX`], the host or the way to it is gone, and not merely its agent; the kernel here then breaks the
//! connection. For that something has to be under way: see [`super::wire::pulse`].

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

/// How long the host of an agent may leave data unacknowledged. Long enough for three transmissions of it, so that a
/// lost packet or two are no reason to doubt a host.
const ANSWER_MAX: Duration = Duration::from_millis(1200);

/// A connection as requests on it find it among their extensions.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// A second handle, which must not outlive the requests: the connection would not end with the first.
    socket: Arc<OwnedFd>,
    here: IpAddr,
    there: IpAddr,
}

impl Line {
    /// `None` if the connection is gone already.
    pub(crate) fn of(stream: &TcpStream) -> Option<Self> {
        Some(Self {
            socket: Arc::new(stream.as_fd().try_clone_to_owned().ok()?),
            here: stream.local_addr().ok()?.ip().to_canonical(),
            there: stream.peer_addr().ok()?.ip().to_canonical(),
        })
    }

    /// The address of the host at the other end; `None` for this very host, which is there for as long as anybody asks.
    pub(super) fn host(&self) -> Option<IpAddr> {
        let is_here = self.there == self.here || self.there.is_loopback();
        (!is_here).then_some(self.there)
    }

    /// Has the kernel break the connection once the host does not acknowledge any more.
    pub(super) fn limit_answer(&self) {
        let millis = u32::try_from(ANSWER_MAX.as_millis()).expect("the bound is short");
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&self.socket, millis) {
            tracing::warn!(%error, "a lost host will be noticed late: the kernel does not limit its answers");
        }
    }
}

/// Whether a connection ended because nothing came back, rather than by a word of the other end.
pub(super) fn is_unanswered(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
            );
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_very_host_is_no_host_to_watch() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let line = Line::of(&stream).unwrap();
        line.limit_answer();
        assert_eq!(line.host(), None);
        let there = "192.0.2.1".parse().unwrap();
        assert_eq!(Line { there, ..line }.host(), Some(there));
    }

    #[test]
    fn silence_is_told_from_a_farewell() {
        let check = |kind: io::ErrorKind, expected| {
            assert_eq!(is_unanswered(&axum::Error::new(io::Error::from(kind))), expected, "{kind}");
        };
        check(io::ErrorKind::TimedOut, true);
        check(io::ErrorKind::HostUnreachable, true);
        check(io::ErrorKind::ConnectionReset, false);
        check(io::ErrorKind::BrokenPipe, false);
    }
}
