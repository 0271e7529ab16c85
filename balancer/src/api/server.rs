//! Accepting connections to the API, each within bounds: how many, how long their headers may take, and for how long a
//! peer may take nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Most connections at one time; further ones wait in the kernel. The scheduler keeps a few, people fewer.
const CONNECTIONS_MAX: usize = 512;
/// How long a connection may take for a request's headers, the idle time before them included. Longer than SDKs keep an
/// idle connection in their pools when they are busy.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(75);
/// Most headers of a request: SDKs send about a dozen.
const HEADERS_MAX: usize = 100;
/// Most bytes of request line and headers: a query with a hundred parameters fits.
const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// How long a peer may leave what it is sent untaken, in milliseconds.
const UNTAKEN_MILLIS_MAX: u32 = 30_000;
/// How long requests under way may take to end when the balancer stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long to wait when the system gives no connection, for want of file descriptors as a rule.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until `stopping` turns true and the requests under way have ended.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut stopping: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = told(&mut stopping) => break,
            // Ended connections are taken out here, so the set does not grow with the number that ever were.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let (router, stopping) = (router.clone(), stopping.clone());
        connections.spawn(async move {
            serve_connection(stream, router, stopping).await;
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
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, mut stopping: watch::Receiver<bool>) {
    // Answers are small: waiting for more to send only delays them. A socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let _ = set_tcp_user_timeout(&stream, UNTAKEN_MILLIS_MAX);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Waits until it is said to stop; a sender that is gone says so too.
async fn told(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
