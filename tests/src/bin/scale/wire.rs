//! A connection to the scheduler's API that is kept open, as SDKs keep theirs: HTTP/1.1, one request after the other.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use ecsr_tests::sign::Signer;

const TARGET: &str = "AmazonEC2ContainerServiceV20141113";

/// Where the scheduler is and how calls to it are signed.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub signer: Arc<Signer>,
}

/// One connection, made when it is first needed and again when it broke.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    source: Ipv4Addr,
    stream: Option<TcpStream>,
    received: Vec<u8>,
}

/// An answer's status and body.
pub type Answer = (u16, Vec<u8>);

impl Endpoint {
    /// The name under which requests are signed.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// A connection from one of this machine's loopback addresses, of which each has ports of its own.
    pub async fn connect(&self, source: Ipv4Addr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddrV4::new(source, 0).into())?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    pub fn client(&self, source: Ipv4Addr) -> Client {
        Client { endpoint: self.clone(), source, stream: None, received: Vec::new() }
    }
}

impl Client {
    /// Calls an operation; a connection that was closed while it was idle is made anew, once.
    pub async fn call(&mut self, operation: &str, body: &[u8]) -> io::Result<Answer> {
        let kept = self.stream.is_some();
        match self.exchange(operation, body).await {
            Err(_) if kept => self.exchange(operation, body).await,
            answered => answered,
        }
    }

    /// Calls an operation that must succeed.
    ///
    /// # Panics
    /// If it does not: then there is nothing to be measured.
    pub async fn must(&mut self, operation: &str, input: &Value) -> Value {
        let answer = self.must_answer(operation, input.to_string().as_bytes()).await;
        serde_json::from_slice(&answer).unwrap_or_default()
    }

    /// [`Client::must`], with the answer as it came.
    pub async fn must_answer(&mut self, operation: &str, body: &[u8]) -> Vec<u8> {
        match self.call(operation, body).await {
            Ok((200, body)) => body,
            Ok((status, body)) => panic!("{operation}: {status} {}", String::from_utf8_lossy(&body)),
            Err(error) => panic!("{operation}: {error}"),
        }
    }

    async fn exchange(&mut self, operation: &str, body: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.endpoint.connect(self.source).await?,
        };
        stream.write_all(&self.request(operation, body)).await?;
        let answer = read(&mut stream, &mut self.received).await?;
        self.stream = Some(stream);
        Ok(answer)
    }

    fn request(&self, operation: &str, body: &[u8]) -> Vec<u8> {
        let target = format!("{TARGET}.{operation}");
        let host = self.endpoint.host();
        let headers = self.endpoint.signer.headers(("POST", "/", ""), &host, Some(&target), body);
        let mut request = String::with_capacity(512 + body.len());
        request.push_str("POST / HTTP/1.1\r\ncontent-type: application/x-amz-json-1.1\r\n");
        for (name, value) in headers {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        let _ = write!(request, "content-length: {}\r\n\r\n", body.len());
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        request
    }
}

async fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Answer> {
    received.clear();
    let (status, head, length) = loop {
        if let Some(head) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let (status, length) = parse(&received[..head]).ok_or(io::ErrorKind::InvalidData)?;
            break (status, head + 4, length);
        }
        more(stream, received).await?;
    };
    while received.len() < head + length {
        more(stream, received).await?;
    }
    Ok((status, received[head..head + length].to_vec()))
}

async fn more(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(received).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Status and length of the body.
fn parse(head: &[u8]) -> Option<(u16, usize)> {
    let head = str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some((status, length?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_taken_apart() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nDate: now"), Some((200, 7)));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nDate: now"), None);
    }
}
