//! Listeners: their sockets, and the connections that come in by them.

use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use rustix::net::listen;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::clock;
use super::http;
use super::lanes::{Lanes, Place};
use super::service::Service;
use super::tcp::{self, Side};
use super::tls::{HANDSHAKE_TIMEOUT, ToTargets};
use super::udp;
use crate::model::{Arn, Listener, Protocol};

/// Most connections of clients at one time; further ones wait in the kernel. Several times what one machine's cores can
/// keep busy, and bounded by what each costs in memory.
pub(super) const CONNECTIONS_MAX: usize = 50_000;

/// Most connections that wait in the kernel to be taken.
const BACKLOG: i32 = 4096;

/// How long to wait when the system gives no connection, for want of file descriptors as a rule.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a listener has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Takes no new connection, and lets those that it has end in order.
    Ending,
    /// It is no more, nor is any connection of it.
    Gone,
}

pub(super) type PhaseReceiver = watch::Receiver<Phase>;

/// What every connection needs of the plane.
pub(super) struct Tools {
    pub(super) lanes: Lanes,
    pub(super) room: Arc<Semaphore>,
    pub(super) to_targets: Arc<Outward>,
}

/// What it takes to reach targets.
pub(super) struct Outward {
    pub(super) tls: ToTargets,
}

/// A bound address.
pub(super) struct Bound {
    /// What was asked for.
    pub(super) address: SocketAddr,
    protocol: Protocol,
    tcp: Option<net::TcpListener>,
    udp: Option<net::UdpSocket>,
}

/// A listener that takes connections, until this is dropped.
pub(super) struct Open {
    pub(super) address: SocketAddr,
    protocol: Protocol,
    pub(super) door: Arc<Door>,
    phase: watch::Sender<Phase>,
}

/// A listener as its connections see it: the same while it is open, with what it does replaced as a whole.
pub(super) struct Door {
    pub(super) arn: Arn,
    /// Where it is bound.
    pub(super) local: SocketAddr,
    service: ArcSwap<Service>,
}

/// A connection that came in.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) door: Arc<Door>,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) lane: usize,
    pub(super) tools: Arc<Outward>,
    pub(super) phase: PhaseReceiver,
    /// Kept for as long as anything of the connection is left.
    _held: Arc<Held>,
}

/// What a connection takes up: its place on the lane, and one of those that there may be.
pub(super) struct Held {
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

impl Bound {
    pub(super) fn to(address: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let (mut tcp, mut udp, mut at) = (None, None, address);
        if protocol != Protocol::Udp {
            let socket = net::TcpListener::bind(address)?;
            // The standard library's backlog is short; the system takes a longer one at any time.
            listen(&socket, BACKLOG)?;
            socket.set_nonblocking(true)?;
            at = socket.local_addr()?;
            tcp = Some(socket);
        }
        if matches!(protocol, Protocol::Udp | Protocol::TcpUdp) {
            let socket = net::UdpSocket::bind(at)?;
            socket.set_nonblocking(true)?;
            udp = Some(socket);
        }
        Ok(Self { address, protocol, tcp, udp })
    }

    pub(super) fn is_for(&self, listener: &Listener) -> bool {
        self.address == listener.address && sockets(self.protocol) == sockets(listener.protocol)
    }

    /// Takes connections from now on.
    pub(super) fn open(self, service: Service, tools: &Arc<Tools>, on: &Handle) -> io::Result<Open> {
        let local = match (&self.tcp, &self.udp) {
            (Some(socket), _) => socket.local_addr()?,
            (_, Some(socket)) => socket.local_addr()?,
            (None, None) => self.address,
        };
        let arn = service.listener.arn.clone();
        let door = Arc::new(Door { arn, local, service: ArcSwap::from_pointee(service) });
        let (phase, receiver) = watch::channel(Phase::Open);
        let _entered = on.enter();
        if let Some(socket) = self.tcp {
            let socket = TcpListener::from_std(socket)?;
            tokio::spawn(accept(socket, door.clone(), tools.clone(), receiver.clone()));
        }
        if let Some(socket) = self.udp {
            let socket = UdpSocket::from_std(socket)?;
            tokio::spawn(udp::serve(socket, door.clone(), receiver));
        }
        Ok(Open { address: self.address, protocol: self.protocol, door, phase })
    }
}

/// Which kinds of socket a protocol has.
fn sockets(protocol: Protocol) -> (bool, bool) {
    (protocol != Protocol::Udp, matches!(protocol, Protocol::Udp | Protocol::TcpUdp))
}

impl Open {
    /// Whether the listener is served by these sockets.
    pub(super) fn is_for(&self, listener: &Listener) -> bool {
        self.address == listener.address && sockets(self.protocol) == sockets(listener.protocol)
    }

    /// Takes no new connections, and lets requests in flight end.
    pub(super) fn end(&self) {
        self.phase.send_replace(Phase::Ending);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Gone);
    }
}

impl Door {
    pub(super) fn service(&self) -> Guard<Arc<Service>> {
        self.service.load()
    }

    pub(super) fn replace(&self, service: Service) {
        self.service.store(Arc::new(service));
    }
}

/// Waits until a listener takes no more connections.
pub(super) async fn ending(phase: &mut PhaseReceiver) {
    // An error is its sender's end, which is the listener's.
    let _ = phase.wait_for(|phase| *phase >= Phase::Ending).await;
}

/// Waits until a listener is no more.
pub(super) async fn gone(phase: &mut PhaseReceiver) {
    let _ = phase.wait_for(|phase| *phase == Phase::Gone).await;
}

async fn accept(socket: TcpListener, door: Arc<Door>, tools: Arc<Tools>, mut phase: PhaseReceiver) {
    loop {
        let room = tools.room.clone();
        let accepted = tokio::select! {
            () = ending(&mut phase) => return,
            accepted = async {
                let permit = room.acquire_owned().await.expect("the semaphore is never closed");
                let (stream, peer) = socket.accept().await?;
                // From here on it belongs to the runtime of its lane.
                Ok::<_, io::Error>((stream.into_std()?, peer, permit))
            } => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, listener = %door.arn, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let lane = tools.lanes.least();
        let held = Arc::new(Held { _place: lane.enter(), _permit: permit });
        let local = stream.local_addr().unwrap_or(door.local);
        let (door, tools, phase) = (door.clone(), tools.to_targets.clone(), phase.clone());
        let arrival = Arrival { door, peer, local, lane: lane.index, tools, phase, _held: held };
        lane.handle.spawn(async move {
            if let Err(error) = serve(stream, arrival).await {
                tracing::debug!(%error, "a connection ended before it was served");
            }
        });
    }
}

async fn serve(stream: net::TcpStream, arrival: Arrival) -> io::Result<()> {
    let stream = TcpStream::from_std(stream)?;
    let service = arrival.door.service().clone();
    // What is sent is sent as a whole; a socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    // A peer that takes no byte for so long is gone, or holds what it asked for against us.
    let untaken = clock::millis(service.settings.idle_timeout);
    let _ = set_tcp_user_timeout(&stream, u32::try_from(untaken).unwrap_or(u32::MAX));
    // Each in a place of its own, so that a connection takes no more room than its kind needs.
    match service.listener.protocol {
        Protocol::Http => Box::pin(http::serve(stream, None, arrival, &service)).await,
        Protocol::Https => {
            let stream = Box::pin(shake_hands(stream, &service)).await?;
            let tls = http::Tls::of(stream.get_ref().1);
            Box::pin(http::serve(stream, Some(tls), arrival, &service)).await;
        }
        Protocol::Tcp | Protocol::TcpUdp => {
            Box::pin(tcp::serve(Side::Plain(stream), arrival, &service)).await;
        }
        Protocol::Tls => {
            let stream = Box::pin(shake_hands(stream, &service)).await?;
            Box::pin(tcp::serve(Side::Tls(Box::new(stream.into())), arrival, &service)).await;
        }
        Protocol::Udp => {}
    }
    Ok(())
}

async fn shake_hands(
    stream: TcpStream,
    service: &Service,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let config = service.tls.clone().ok_or(io::ErrorKind::NotConnected)?;
    timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await?
}
