//! One HTTP request over one connection, as plainly as it can be made: HTTP/1.0, so that the answer ends where the
//! connection ends and no client library stands between a test and what the server really sent.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer: status, headers in the order sent with lower-case names, body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text; a test that asks for text has sent for text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `GET http://<address><path>`.
pub async fn get(address: &str, path: &str) -> io::Result<Answer> {
    send(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"), &[]).await
}

/// `POST http://<address>/` with `headers` (which include `host`) and `body`.
pub async fn post(address: &str, headers: &[(String, String)], body: &[u8]) -> io::Result<Answer> {
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n{}\r\n", body.len(), lines.concat());
    send(address, &head, body).await
}

async fn send(address: &str, head: &str, body: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await?;
    parse(&received).ok_or_else(|| {
        let text = String::from_utf8_lossy(&received).into_owned();
        io::Error::new(io::ErrorKind::InvalidData, format!("not an HTTP answer: {text:?}"))
    })
}

fn parse(received: &[u8]) -> Option<Answer> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = str::from_utf8(&received[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Some(Answer { status, headers: lines.filter_map(header).collect(), body: received[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let answer = parse(b"HTTP/1.1 400 Bad Request\r\nX-Amzn-RequestId: 7\r\n\r\n{}").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (400, "{}"));
        assert_eq!(answer.headers, [("x-amzn-requestid".to_owned(), "7".to_owned())]);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"HTTP/1.1 two\r\n\r\n"), None);
    }
}
