//! Opening a signed WebSocket, with small buffers and bounded messages.

use std::io;
use std::time::Duration;

use ecsr_api::acs;
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::UrlError;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error as WsError};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::Signer;
use super::sign::SignError;

/// A scheduler that does not complete a handshake in this time is not there.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// A scheduler whose kernel does not answer in this time is not there yet: it is soon tried anew.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the connection may be idle before the scheduler's kernel is asked whether it still knows of it, how often it
/// is asked again, and when it is given up. So a connection that broke in silence is replaced soon after the network is
/// back: what was replaced meanwhile is to stop then, and no scheduler can say so before.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(2);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(6);
/// Messages are small, and the agent's memory is to stay so; longer ones are put together from several reads.
const BUFFER_BYTES: usize = 8 * 1024;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The scheduler says why it does not want this agent.
    #[error("the scheduler refused the connection: {0:?}")]
    Refused(Box<acs::Message>),
    /// The endpoint's address is malformed.
    #[error("{0:?} is not an http or https address")]
    Address(String),
    #[error("cannot sign the handshake")]
    Sign(#[from] SignError),
    #[error("no answer within {}s", HANDSHAKE_TIMEOUT.as_secs())]
    TimedOut,
    #[error("{0}")]
    WebSocket(Box<WsError>),
}

/// A socket's address: `<endpoint>/ws?<query>` with the scheme of WebSockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) url: String,
    pub(super) host: String,
}

impl Address {
    pub(super) fn new(endpoint: &str, query: &str) -> Result<Self, OpenError> {
        let malformed = || OpenError::Address(endpoint.to_owned());
        let (scheme, rest) = endpoint.split_once("://").ok_or_else(malformed)?;
        let scheme = match scheme {
            "http" => "ws",
            "https" => "wss",
            _ => return Err(malformed()),
        };
        let url = format!("{scheme}://{}/ws?{query}", rest.trim_end_matches('/'));
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let host = uri.authority().ok_or_else(malformed)?.as_str().to_owned();
        Ok(Address { url, host })
    }
}

/// Opens the socket.
pub(super) async fn open(address: &Address, signer: &Signer) -> Result<Socket, OpenError> {
    let mut request =
        address.url.as_str().into_client_request().map_err(|error| OpenError::WebSocket(Box::new(error)))?;
    for (name, value) in signer.headers(&address.url, &address.host, &[]).await? {
        let name = HeaderName::try_from(name).map_err(|_| OpenError::Address(address.url.clone()))?;
        let value = HeaderValue::try_from(value).map_err(|_| OpenError::Address(address.url.clone()))?;
        request.headers_mut().insert(name, value);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(acs::FRAME_BYTES_MAX))
        .max_frame_size(Some(acs::FRAME_BYTES_MAX));
    let opening = async {
        let stream = connect(request.uri()).await?;
        client_async_tls_with_config(request, stream, Some(config), None).await
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, opening).await {
        Err(_) => Err(OpenError::TimedOut),
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(WsError::Http(response))) => Err(refusal(*response)),
        Ok(Err(other)) => Err(OpenError::WebSocket(Box::new(other))),
    }
}

async fn connect(uri: &Uri) -> Result<TcpStream, WsError> {
    let host = uri.host().ok_or(WsError::Url(UrlError::NoHostName))?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 });
    let connecting = TcpStream::connect((host.trim_matches(['[', ']']), port));
    let elapsed = |_| io::Error::from(io::ErrorKind::TimedOut);
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(elapsed)??;
    stream.set_nodelay(true)?;
    keep_alive(&stream)?;
    Ok(stream)
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let millis = u32::try_from(ANSWER_MAX.as_millis()).expect("the bound is short");
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    Ok(sockopt::set_tcp_user_timeout(stream, millis)?)
}

fn refusal(response: tungstenite::http::Response<Option<Vec<u8>>>) -> OpenError {
    let body = response.body().as_deref().unwrap_or_default();
    match acs::Message::decode_refusal(&String::from_utf8_lossy(body)) {
        Ok(message) => OpenError::Refused(Box::new(message)),
        Err(_) => OpenError::WebSocket(Box::new(WsError::Http(Box::new(response)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_become_socket_addresses() {
        let cases = [
            ("http://127.0.0.1:7070", Some(("ws://127.0.0.1:7070/ws?a=b", "127.0.0.1:7070"))),
            ("https://ecs-a-1.example/", Some(("wss://ecs-a-1.example/ws?a=b", "ecs-a-1.example"))),
            ("ws://127.0.0.1", None),
            ("127.0.0.1:80", None),
        ];
        for (endpoint, expected) in cases {
            let address = Address::new(endpoint, "a=b").ok();
            let found = address.as_ref().map(|address| (address.url.as_str(), address.host.as_str()));
            assert_eq!(found, expected, "{endpoint}");
        }
    }
}
