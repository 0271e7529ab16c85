//! Accepting connections, each within bounds: how many, how long their headers may take and how large they may be, and
//! for how long a peer may take nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::lanes::{self, AgentsLane};
use super::share::{Share, Shares};
use crate::agents::Line;
use crate::stop;

/// Most connections that make requests at one time; further ones wait in the kernel. Each of the agents that a cluster
/// may have keeps one open for its reports, and as many again are left for clients. A connection that became an agent's
/// channel is counted by the agents' own bound instead.
pub(super) const CONNECTIONS_MAX: usize = 10_000;

/// How long a connection may take for a request's headers, the idle time before them included. Longer than SDKs keep
/// an idle connection in their pools when they are busy, short enough that forgotten ones do not add up.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(75);

/// Most headers of a request: SDKs send about a dozen.
const HEADERS_MAX: usize = 100;

/// Most bytes of request line and headers: a presigned query with a session token fits well.
const HEADERS_BYTES_MAX: usize = 64 * 1024;

/// How long a peer may leave what it is sent untaken, in milliseconds. The kernel closes the connection then: nothing else
/// bounds how long the rest of an answer waits for a reader that has stopped reading.
const UNTAKEN_MILLIS_MAX: u32 = 30_000;

/// How long requests under way may take to end when the scheduler stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long to wait when the system gives no connection, for want of file descriptors as a rule.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until `stopping` turns true and the requests under way have ended.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    agents_lane: AgentsLane,
    mut stopping: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let shares = Shares::default();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop::told(&mut stopping) => break,
            // Ended connections are taken out here, so the set does not grow with the number that ever were.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let Some(share) = shares.enter(peer.ip()) else {
            tracing::debug!(address = %peer.ip(), "an address has too many connections");
            continue;
        };
        let (router, stopping, agents) = (router.clone(), stopping.clone(), agents_lane.handle());
        connections.spawn(async move {
            if let Err(error) = serve_in_its_lane(stream, share, router, &agents, stopping).await {
                tracing::debug!(%error, "a connection ended before its first request");
            }
            drop(permit);
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, ended).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, permit)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

async fn serve_in_its_lane(
    stream: TcpStream,
    share: Share,
    router: Router,
    agents: &Handle,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let is_agents = tokio::select! {
        told = tokio::time::timeout(HEADERS_TIMEOUT, lanes::is_agents(&stream)) => told??,
        () = stop::told(&mut stopping) => return Ok(()),
    };
    let serve = |stream| serve_connection(stream, router, share, stopping);
    if is_agents {
        return lanes::serve(agents, stream, serve).await;
    }
    serve(stream).await;
    Ok(())
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    share: Share,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are small: waiting for more to send only delays them. A socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    // A peer that takes no byte for so long is gone, or holds what it asked for against us.
    let _ = set_tcp_user_timeout(&stream, UNTAKEN_MILLIS_MAX);
    let (line, router) = (Line::of(&stream), TowerToHyperService::new(router));
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(share.turn());
        if let Some(line) = &line {
            request.extensions_mut().insert(line.clone());
        }
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop::told(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
