//! One question to one target: a fresh connection, closed afterwards.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Plan, Verdict};
use crate::model::{HealthProtocol, ProtocolVersion};
use crate::plane::proxy_protocol;
use crate::plane::tls::ToTargets;

/// What ELB calls itself.
const AGENT: &str = "ELB-HealthChecker/2.0";
/// Most bytes of an answer's headers.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// An empty message, as gRPC frames it: not compressed, no bytes.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// gRPC's own status of an answer that has none.
const GRPC_UNKNOWN: u16 = 2;

type Body = Full<Bytes>;

/// Nothing could be learned from the target.
struct Broken;

impl From<std::io::Error> for Broken {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl From<hyper::Error> for Broken {
    fn from(_: hyper::Error) -> Self {
        Self
    }
}

impl From<hyper::http::Error> for Broken {
    fn from(_: hyper::http::Error) -> Self {
        Self
    }
}

pub(super) async fn probe(plan: &Plan, target: SocketAddr, tls: &ToTargets) -> Verdict {
    let address = SocketAddr::new(target.ip(), plan.check.port.unwrap_or(target.port()));
    match timeout(plan.timeout, ask(plan, address, tls)).await {
        Ok(Ok(None)) => Verdict::Good,
        Ok(Ok(Some(code)))
            if plan.check.matcher.ranges.iter().any(|(from, to)| (*from..=*to).contains(&code)) =>
        {
            Verdict::Good
        }
        Ok(Ok(Some(code))) => Verdict::Mismatch(code),
        Ok(Err(Broken)) => Verdict::Failed,
        Err(_) => Verdict::Timeout,
    }
}

/// The status that was answered; none of a check that only connects.
async fn ask(plan: &Plan, address: SocketAddr, tls: &ToTargets) -> Result<Option<u16>, Broken> {
    let mut stream = TcpStream::connect(address).await?;
    if plan.proxy_protocol {
        stream.write_all(&proxy_protocol::local()).await?;
    }
    match plan.check.protocol {
        HealthProtocol::Tcp => Ok(None),
        HealthProtocol::Http => speak(plan, address, "http", stream).await.map(Some),
        HealthProtocol::Https => {
            let stream = tls.connect(plan.version, address.ip(), stream).await?;
            speak(plan, address, "https", stream).await.map(Some)
        }
    }
}

async fn speak<S>(plan: &Plan, address: SocketAddr, scheme: &str, stream: S) -> Result<u16, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let path = &plan.check.path;
    let get = Request::builder().method(Method::GET).header(USER_AGENT, AGENT);
    let whole = format!("{scheme}://{address}{path}");
    match plan.version {
        ProtocolVersion::Http1 => {
            let request = get.uri(path).header(HOST, address.to_string()).header(CONNECTION, "close");
            let answer = over_http1(stream, request.body(Full::default())?).await?;
            Ok(answer.status().as_u16())
        }
        ProtocolVersion::Http2 => over_http2(stream, get.uri(whole).body(Full::default())?, status).await,
        ProtocolVersion::Grpc => {
            let post = Request::builder().method(Method::POST).uri(whole).header(USER_AGENT, AGENT);
            let post = post.header(CONTENT_TYPE, "application/grpc").header("te", "trailers");
            over_http2(stream, post.body(Full::new(Bytes::from_static(EMPTY_MESSAGE)))?, grpc_status).await
        }
    }
}

async fn over_http1<S>(stream: S, request: Request<Body>) -> Result<Response<Incoming>, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    let (mut sender, connection) =
        builder.max_buf_size(ANSWER_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
    driven(connection, sender.send_request(request)).await
}

/// Asks over HTTP/2, and reads from the answer what is wanted of it.
async fn over_http2<S, R>(
    stream: S,
    request: Request<Body>,
    read: impl FnOnce(Response<Incoming>) -> R,
) -> Result<u16, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    R: Future<Output = Result<u16, Broken>>,
{
    let builder = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let answer = async { read(sender.send_request(request).await?).await };
    driven(connection, answer).await
}

/// Drives the connection for as long as the answer takes, and drops it then.
async fn driven<T, E: Into<Broken>>(
    connection: impl Future<Output = hyper::Result<()>>,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Broken> {
    let mut connection = pin!(connection);
    let mut answer = pin!(answer);
    let mut open = true;
    loop {
        tokio::select! {
            answered = &mut answer => return answered.map_err(Into::into),
            _ = &mut connection, if open => open = false,
        }
    }
}

async fn status(answer: Response<Incoming>) -> Result<u16, Broken> {
    Ok(answer.status().as_u16())
}

/// In the headers when there is no message, else behind the last.
async fn grpc_status(answer: Response<Incoming>) -> Result<u16, Broken> {
    if !answer.status().is_success() {
        return Err(Broken);
    }
    if let Some(status) = grpc_status_in(answer.headers()) {
        return Ok(status);
    }
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        if let Some(status) = frame?.trailers_ref().and_then(grpc_status_in) {
            return Ok(status);
        }
    }
    Ok(GRPC_UNKNOWN)
}

fn grpc_status_in(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

impl From<Infallible> for Broken {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
