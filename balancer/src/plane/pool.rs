//! Connections to targets that speak HTTP, kept for the next request.
//!
//! Each lane has its own for each target. A connection that its target closes is seen at once by the task that drives
//! it, so it is as a rule gone from here before a request could try it.

use std::io;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::clock;
use super::http::Sent;
use super::live::Live;
use super::tls::ToTargets;
use crate::model::{GroupProtocol, ProtocolVersion, TargetGroup};

/// How long a target has to take a connection.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most unused connections of a lane to one target. Those beyond were for a peak that is over.
const IDLE_MAX: usize = 256;
/// How long an unused connection is kept: servers as a rule close theirs after a minute or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Most bytes of an answer's headers (ELB's own limit).
const ANSWER_HEADERS_MAX: usize = 32 * 1024;

/// How much a target may send on an HTTP/2 stream, and on all of one connection, before it is taken.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

pub(super) type Http1 = http1::SendRequest<Sent>;
pub(super) type Http2 = http2::SendRequest<Sent>;

/// The connections of one lane to one target.
#[derive(Default)]
pub(super) struct Pool {
    idle: Vec<Idle>,
    /// One carries all requests of HTTP/2.
    http2: Option<Http2>,
}

struct Idle {
    sender: Http1,
    since: u64,
}

/// A way to send a request.
pub(super) enum Sender {
    Http1(Http1),
    Http2(Http2),
}

impl Pool {
    /// A connection that takes a request now; the one used last, so that those too many grow old.
    pub(super) fn take(&mut self, version: ProtocolVersion) -> Option<Sender> {
        if version != ProtocolVersion::Http1 {
            let sender = self.http2.take_if(|sender| sender.is_closed());
            drop(sender);
            return self.http2.clone().map(Sender::Http2);
        }
        let mut at = self.idle.len();
        while let Some(before) = at.checked_sub(1) {
            at = before;
            if self.idle[at].sender.is_closed() {
                self.idle.swap_remove(at);
            } else if self.idle[at].sender.is_ready() {
                return Some(Sender::Http1(self.idle.swap_remove(at).sender));
            }
        }
        None
    }

    pub(super) fn put(&mut self, sender: Http1) {
        if self.idle.len() < IDLE_MAX && !sender.is_closed() {
            self.idle.push(Idle { sender, since: clock::now() });
        }
    }

    fn share(&mut self, sender: &Http2) {
        self.http2 = Some(sender.clone());
    }

    pub(super) fn clear(&mut self) {
        self.idle.clear();
        self.http2 = None;
    }

    /// Lets go of what is closed or was not used for long.
    pub(super) fn sweep(&mut self, now: u64) {
        let until = now.saturating_sub(clock::millis(IDLE_TIMEOUT));
        self.idle.retain(|idle| idle.since > until && !idle.sender.is_closed());
        self.http2.take_if(|sender| sender.is_closed());
    }
}

/// A connection to a target, within the time that it has for that.
pub(super) async fn dial(live: &Live) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(live.address)).await??;
    // What is sent is sent as a whole; a socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// A new connection that speaks what the group does.
pub(super) async fn connect(
    live: &Live,
    group: &TargetGroup,
    lane: usize,
    tls: &ToTargets,
) -> io::Result<Sender> {
    let stream = dial(live).await?;
    let version = group.protocol_version;
    let cut = live.cuts();
    let sender = if group.protocol == GroupProtocol::Https {
        shake_hands(tls.connect(version, live.address.ip(), stream).await?, version, cut).await
    } else {
        shake_hands(stream, version, cut).await
    };
    let sender = sender.map_err(io::Error::other)?;
    if let Sender::Http2(sender) = &sender {
        live.pool(lane).share(sender);
    }
    Ok(sender)
}

async fn shake_hands<S>(
    stream: S,
    version: ProtocolVersion,
    cut: watch::Receiver<u64>,
) -> hyper::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    if version == ProtocolVersion::Http1 {
        let mut builder = http1::Builder::new();
        let (sender, connection) = builder.max_header_size(ANSWER_HEADERS_MAX).handshake(stream).await?;
        tokio::spawn(drive(connection.with_upgrades(), cut));
        return Ok(Sender::Http1(sender));
    }
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let (sender, connection) = builder.handshake(stream).await?;
    tokio::spawn(drive(connection, cut));
    Ok(Sender::Http2(sender))
}

/// Until the connection ends, or all that is in flight to its target is cut, or the target is gone. What it fails with
/// is told to the request that it carries.
async fn drive(connection: impl Future<Output = hyper::Result<()>>, mut cut: watch::Receiver<u64>) {
    tokio::select! {
        _ = connection => {}
        _ = cut.changed() => {}
    }
}
