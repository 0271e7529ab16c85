//! `ecsr-backend PORT`: the web server behind a load balancer under test. It is static, so it runs in any container; it
//! keeps connections alive, says who it is, and ends at once when it is asked to. Whoever stops it too early is found out.
//!
//! `GET /slow?N` takes N milliseconds, any other path none.

use std::time::Duration;
use std::{env, fs, process};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// Longest line of a request's head that is read; clients under test send short ones.
const LINE_BYTES_MAX: u64 = 8 << 10;

/// One thread: several of these share the processors with what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(port) = env::args().nth(1).and_then(|word| word.parse().ok()) else {
        eprintln!("usage: ecsr-backend PORT");
        process::exit(2);
    };
    let port: u16 = port;
    let mut end = signal(SignalKind::terminate()).expect("a handler can be installed");
    let listener = TcpListener::bind(("0.0.0.0", port)).await.expect("the port is free");
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    loop {
        tokio::select! {
            _ = end.recv() => process::exit(0),
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let name = name.clone();
                    tokio::spawn(async move { drop(serve(stream, &name).await) });
                }
            }
        }
    }
}

/// Answers requests until the client has no more.
async fn serve(stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(target) = head(&mut stream).await? {
        if let Some(millis) = target.strip_prefix("/slow?").and_then(|millis| millis.parse().ok()) {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        let body = format!("served by {name}\n");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// The target of the next request, which has no body; nothing when the client has gone.
async fn head(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    if stream.take(LINE_BYTES_MAX).read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        line.clear();
        match stream.take(LINE_BYTES_MAX).read_line(&mut line).await? {
            0 => return Ok(None),
            _ if line.trim_end().is_empty() => return Ok(Some(target)),
            _ => {}
        }
    }
}
