//! What connections hold that do nothing: ten thousand clients that have been served once and wait.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::memory::{resident, settle};

/// The connections.
pub const COUNT: usize = 10_000;

/// What a process holds without and with them.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    pub connections: usize,
    pub before: u64,
    pub with: u64,
}

/// Opens the connections, lets them rest, and looks at the process.
pub async fn measure(port: u16, process: u64) -> Idle {
    settle().await;
    let before = resident(process);
    let opened = tokio::task::spawn_blocking(move || open_all(port)).await.expect("opening does not panic");
    settle().await;
    Idle { connections: opened.len(), before, with: resident(process) }
}

/// As many as the machine gives: each has had one answer.
fn open_all(port: u16) -> Vec<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    (0..COUNT).map_while(|_| served_once(address).ok()).collect()
}

fn served_once(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = [0; 1024];
    let _ = stream.read(&mut answer)?;
    Ok(stream)
}
