//! Constant load on one address, as clients put it: requests one after the other, by many at once. Every answer is
//! looked at, and whatever is not a whole good one counts as failed, with what was wrong and when.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long one request may take over what its target takes by itself. Only a broken balancer is that slow.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The pause of a client whose request failed: nobody gains by thousands of the same failure.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// How a client treats its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// One for all requests, as long as the other side lets it.
    Kept,
    /// One for each request.
    Fresh,
}

/// Some clients that do the same.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    pub count: usize,
    pub path: &'static str,
    pub connection: Connection,
}

/// A request that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// After the load began.
    pub at: Duration,
    pub path: &'static str,
    pub why: String,
}

/// What became of all requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub good: usize,
    pub failed: Vec<Failed>,
    /// The longest time in which no request succeeded that a client sent again and again.
    pub longest_gap: Duration,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} good, {} failed", self.good, self.failed.len())
    }
}

/// Running load.
#[derive(Debug)]
pub struct Load {
    ended: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Starts it.
    pub fn start(address: &str, kinds: &[Clients]) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let each = kinds.iter().flat_map(|kind| std::iter::repeat_n(*kind, kind.count));
        let clients = each.map(|kind| {
            let client = Client { address: address.to_owned(), kind, stream: None };
            tokio::spawn(client.run(began, ended.clone()))
        });
        let clients = clients.collect();
        Self { ended, clients }
    }

    /// Lets the requests under way end, and answers what became of all.
    ///
    /// # Panics
    /// When a client has.
    pub async fn end(self) -> Tally {
        self.ended.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for tally in join_all(self.clients).await {
            let tally = tally.expect("a client does not panic");
            sum.good += tally.good;
            sum.failed.extend(tally.failed);
            sum.longest_gap = sum.longest_gap.max(tally.longest_gap);
        }
        sum.failed.sort_by_key(|failed| failed.at);
        sum
    }
}

struct Client {
    address: String,
    kind: Clients,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    async fn run(mut self, began: Instant, ended: Arc<AtomicBool>) -> Tally {
        let mut tally = Tally::default();
        let mut last_good = Instant::now();
        while !ended.load(Ordering::Relaxed) {
            match self.request().await {
                Ok(()) => {
                    tally.good += 1;
                    tally.longest_gap = tally.longest_gap.max(last_good.elapsed());
                    last_good = Instant::now();
                }
                Err(error) => {
                    self.stream = None;
                    let (at, path) = (began.elapsed(), self.kind.path);
                    tally.failed.push(Failed { at, path, why: error.to_string() });
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
        tally
    }

    async fn request(&mut self) -> io::Result<()> {
        let exchanged = tokio::time::timeout(ANSWER_WITHIN, self.exchange()).await;
        exchanged.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))?
    }

    async fn exchange(&mut self) -> io::Result<()> {
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        };
        let (path, host) = (self.kind.path, &self.address);
        let last = match self.kind.connection {
            Connection::Kept => "",
            Connection::Fresh => "connection: close\r\n",
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{last}\r\n");
        stream.get_mut().write_all(request.as_bytes()).await?;
        if answer(&mut stream).await?.reusable && self.kind.connection == Connection::Kept {
            self.stream = Some(stream);
        }
        Ok(())
    }
}

/// A whole good answer.
#[derive(Debug)]
pub struct Good {
    pub body: String,
    reusable: bool,
}

/// One request on a connection of its own.
pub async fn get(address: &str, path: &str) -> io::Result<Good> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).await?;
    answer(&mut stream).await
}

/// Reads an answer, which must be a `200` with all the body that it announces.
async fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<Good> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(wrong("closed without an answer".to_owned()));
    }
    let status = line.trim_end().to_owned();
    let (mut length, mut reusable) = (0, true);
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(wrong(format!("{status}, cut off in its head")));
        }
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(text) = header.strip_prefix("content-length:") {
            length = text.trim().parse().map_err(|_| wrong(header.clone()))?;
        }
        reusable &= header != "connection: close";
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(|_| wrong(format!("{status}, cut off in its body")))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if status.split(' ').nth(1) != Some("200") {
        return Err(wrong(status));
    }
    Ok(Good { body, reusable })
}
