//! HTTP: what an application load balancer does with a connection and its requests.

mod body;
mod cookies;
mod forward;
mod headers;
pub(super) mod matching;
mod redirect;
mod respond;
mod upgrade;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use self::body::Answer;
pub(super) use self::body::Sent;
use self::matching::Subject;
use super::clock;
use super::listen::{Arrival, ending};
use super::service::{Action, Service};
use super::tls::HTTP_2;

/// Most bytes of a request's line and headers, and of one of them (ELB's own).
const HEADERS_BYTES_MAX: usize = 64 * 1024;
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of what is asked for (ELB's own).
const TARGET_BYTES_MAX: usize = 16 * 1024;

/// Most requests at one time on a connection of HTTP/2 (ELB's own).
const STREAMS_MAX: u32 = 128;
/// How much a client may send on a stream of HTTP/2, and on all of one connection, before it is taken.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How a client's connection is encrypted.
pub(super) struct Tls {
    http2: bool,
    version: Option<HeaderValue>,
    cipher: Option<HeaderValue>,
}

/// A client's connection, as its requests see it.
struct Client {
    arrival: Arrival,
    tls: Option<Tls>,
    /// What most requests have, made once.
    forwarded_for: HeaderValue,
    port: HeaderValue,
    /// Requests that are not answered yet, and when the last one came or was answered.
    busy: AtomicUsize,
    moved_at: AtomicU64,
}

impl Tls {
    pub(super) fn of(connection: &ServerConnection) -> Self {
        let value = |text: Option<&str>| HeaderValue::from_str(text?).ok();
        let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        Self {
            http2: connection.alpn_protocol() == Some(HTTP_2),
            version: value(connection.protocol_version().and_then(|version| match version {
                rustls::ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
                rustls::ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
                _ => None,
            })),
            cipher: value(suite.as_deref()),
        }
    }
}

/// Answers the requests of a connection until it ends.
pub(super) async fn serve<S>(stream: S, tls: Option<Tls>, arrival: Arrival, service: &Arc<Service>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http2 = tls.as_ref().is_some_and(|tls| tls.http2);
    let client = Arc::new(Client::new(arrival, tls, service));
    // Each in a place of its own, so that a connection takes no more room than its kind needs.
    if http2 {
        Box::pin(serve_http2(stream, client, service)).await;
    } else {
        Box::pin(serve_http1(stream, client, service)).await;
    }
}

async fn serve_http1<S>(stream: S, client: Arc<Client>, service: &Service)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut phase = client.arrival.phase.clone();
    let answers = service_fn(|request| answer(client.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(service.settings.idle_timeout)
        .max_header_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answers)
        .with_upgrades();
    let mut connection = pin!(connection);
    let told = async {
        tokio::select! {
            () = ending(&mut phase) => {}
            () = sleep(service.settings.client_keep_alive) => {}
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection broke");
    }
}

async fn serve_http2<S>(stream: S, client: Arc<Client>, service: &Service)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut phase = client.arrival.phase.clone();
    let answers = service_fn(|request| {
        let client = client.clone();
        async move {
            let busy = Busy::new(&client);
            let answered = answer(client.clone(), request).await;
            drop(busy);
            answered
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEADERS_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // A peer that answers no ping is gone, whatever its streams wait for.
        .keep_alive_interval(service.settings.idle_timeout)
        .serve_connection(TokioIo::new(stream), answers);
    let mut connection = pin!(connection);
    let told = async {
        tokio::select! {
            () = ending(&mut phase) => {}
            () = sleep(service.settings.client_keep_alive) => {}
            () = client.idle(service.settings.idle_timeout) => {}
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection broke");
    }
}

/// A request that is not answered yet, also when its client gives up on it.
struct Busy<'a>(&'a Client);

impl<'a> Busy<'a> {
    fn new(client: &'a Client) -> Self {
        client.busy.fetch_add(1, Ordering::Relaxed);
        Self(client)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.moved_at.store(clock::now(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Client {
    fn new(arrival: Arrival, tls: Option<Tls>, service: &Service) -> Self {
        let peer = arrival.peer;
        let with_port = service.settings.forwarded_client_port;
        Self {
            forwarded_for: headers::address(
                SocketAddr::new(peer.ip().to_canonical(), peer.port()),
                with_port,
            ),
            port: HeaderValue::from(arrival.door.local.port()),
            arrival,
            tls,
            busy: AtomicUsize::new(0),
            moved_at: AtomicU64::new(clock::now()),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Waits until no request was there for so long.
    async fn idle(&self, timeout: Duration) {
        let timeout = clock::millis(timeout);
        loop {
            let unmoved = clock::now().saturating_sub(self.moved_at.load(Ordering::Relaxed));
            let left =
                if self.busy.load(Ordering::Relaxed) > 0 { timeout } else { timeout.saturating_sub(unmoved) };
            if left == 0 {
                return;
            }
            sleep(Duration::from_millis(left)).await;
        }
    }
}

async fn answer(client: Arc<Client>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let service = client.arrival.door.service().clone();
    let mut response = match refused(&request) {
        Some(status) => respond::made(status),
        None => act(&client, &service, request).await,
    };
    headers::of_listener(response.headers_mut(), &service.settings);
    Ok(response)
}

/// What no target gets to see.
fn refused<B>(request: &Request<B>) -> Option<StatusCode> {
    let uri = request.uri();
    let asked = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    let headers = request.headers();
    if request.method() == Method::TRACE || request.method() == Method::CONNECT {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    if asked > TARGET_BYTES_MAX {
        return Some(StatusCode::URI_TOO_LONG);
    }
    if headers.iter().any(|(name, value)| name.as_str().len() + value.len() > HEADER_BYTES_MAX) {
        return Some(StatusCode::BAD_REQUEST);
    }
    let coding = headers.get(TRANSFER_ENCODING).map(HeaderValue::as_bytes);
    if coding.is_some_and(|coding| {
        !coding.eq_ignore_ascii_case(b"chunked") && !coding.eq_ignore_ascii_case(b"identity")
    }) {
        return Some(StatusCode::NOT_IMPLEMENTED);
    }
    if headers::addresses(headers) > headers::ADDRESSES_MAX {
        return StatusCode::from_u16(463).ok();
    }
    let lacks_host = request.version() == Version::HTTP_11 && headers::host(request).is_none();
    lacks_host.then_some(StatusCode::BAD_REQUEST)
}

async fn act(client: &Arc<Client>, service: &Service, request: Request<Incoming>) -> Response<Answer> {
    let action = {
        let subject = Subject::of(&request, client.arrival.peer.ip());
        service.action(|test| test.holds(&subject))
    };
    match action {
        // Not inside the connection, which would keep the room for it while it is idle.
        Action::Forward(to) => Box::pin(forward::forward(client, service, to, request)).await,
        Action::Redirect(redirect) => redirect::answer(redirect, &request, client),
        Action::Fixed { status, content_type, body } => {
            respond::fixed(*status, content_type.as_deref(), body.as_deref())
        }
    }
}
