//! TCP and TLS: what a client sends its target gets, and the other way round.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::group::{Group, Tried, first_half};
use super::listen::{Arrival, gone};
use super::live::{InFlight, tag};
use super::pipe::{self, End};
use super::pool;
use super::proxy_protocol;
use super::service::Service;
use super::settings::Stickiness;
use crate::model::GroupProtocol;

/// One side of a connection.
pub(super) enum Side {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Joins a client with a target until one of them ends.
pub(super) async fn serve(mut client: Side, arrival: Arrival, service: &Service) {
    let Some(group) = service.group(fastrand::u64(..)) else { return client.reset() };
    let Some((in_flight, mut target)) = Box::pin(connect(&group, &arrival)).await else {
        return client.reset();
    };
    let mut cuts = in_flight.live().cuts();
    let mut phase = arrival.phase.clone();
    let cut = async {
        tokio::select! {
            _ = cuts.changed() => {}
            () = gone(&mut phase) => {}
        }
    };
    match pipe::join(&mut client, &mut target, service.settings.idle_timeout, cut).await {
        End::Done => {}
        // Who sends next is told that nobody is there, rather than that all was said.
        End::Broken | End::Idle | End::Cut => {
            client.reset();
            target.reset();
        }
    }
    drop(in_flight);
}

/// To the flow's target, or to the next one when that takes no connection: nothing was sent yet.
async fn connect(group: &Arc<Group>, arrival: &Arrival) -> Option<(InFlight, Side)> {
    let view = group.view().clone();
    let flow = flow(arrival.peer, arrival.local, view.settings.stickiness == Some(Stickiness::SourceIp));
    let mut tried = Tried::default();
    while !tried.is_exhausted() {
        let in_flight = group.of_flow(flow, &tried)?;
        let live = in_flight.live().clone();
        tried.add(&live);
        let header =
            view.settings.proxy_protocol.then(|| proxy_protocol::proxied(arrival.peer, arrival.local));
        let connected = async {
            let mut stream = pool::dial(&live).await?;
            if let Some(header) = header {
                stream.write_all(&header).await?;
            }
            if view.spec.protocol != GroupProtocol::Tls {
                return Ok(Side::Plain(stream));
            }
            let stream = arrival.tools.tls.connect_raw(live.address.ip(), stream).await?;
            Ok::<_, io::Error>(Side::Tls(Box::new(stream.into())))
        };
        match connected.await {
            Ok(side) => return Some((in_flight, side)),
            Err(error) => {
                tracing::debug!(%error, target = %live.key, "a target takes no connection");
                live.eject();
            }
        }
    }
    None
}

/// Names a flow: a connection, or all those of an address.
pub(super) fn flow(peer: SocketAddr, local: SocketAddr, by_address: bool) -> u64 {
    let name = if by_address { peer.ip().to_string() } else { format!("{peer} {local}") };
    first_half(tag(&name, ""))
}

impl Side {
    /// Has the connection end with a reset instead of an orderly end.
    fn reset(&self) {
        let stream = match self {
            Side::Plain(stream) => stream,
            Side::Tls(stream) => stream.get_ref().0,
        };
        // If it fails the connection is gone already.
        let _ = stream.set_zero_linger();
    }
}

impl AsyncRead for Side {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Side::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Side::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Side {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Side::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Side::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Side::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Side::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Side::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Side::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
