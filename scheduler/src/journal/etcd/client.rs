//! Speaking to etcd, over the JSON gateway that every etcd serves beside gRPC.
//!
//! Why not a gRPC library: the kept one compiles protobuf at build time with a compiler that must be installed, and
//! brings a second HTTP stack into a binary that is also the agent. The gateway takes the HTTP client that is here
//! already; bytes are a third longer on the way.
//!
//! A call begins with the member that answered last. One that is slow is not waited for: the next is asked as well, and
//! the first answer counts. So a member that is cut off, or has no leader of its own to ask yet, costs a moment and not
//! a timeout, and what was asked while etcd chose a leader is answered soon after. What comes back is an answer, a
//! refusal by etcd itself, or nothing certain: then the call may or may not have taken place, once or more often, which
//! is why every write is a transaction that can be repeated (see [`super::EtcdJournal`]).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::location::Location;
use super::wire::Refusal;
use crate::outgoing::{self, Http, Tls};

/// How long one member may take to answer. An etcd that has a leader and a disk answers in milliseconds; one that is
/// cut off must be given up well within the time of a lease.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(900);

/// How long a member may take before the next one is asked as well: many times what a healthy one needs, and little of
/// the time in which a failed leader is to be replaced.
const HEDGE_AFTER: Duration = Duration::from_millis(250);

/// How often each member is asked in one call. Twice: while etcd chooses a leader, what a member was asked may be lost.
const ATTEMPTS_PER_MEMBER: usize = 2;

/// How long a member may take for a large answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer: a page of the log (see [`super::log`]) in base 64, and room.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// gRPC's code for a request that etcd could not decide upon: no leader, too busy, timed out.
const CODES_UNCERTAIN: [i32; 3] = [4, 13, 14];

/// gRPC's code for a revision that was compacted away, or is yet to come.
pub(crate) const CODE_OUT_OF_RANGE: i32 = 11;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody knows whether it took place.
    #[error("no member of etcd answers: {problem}")]
    Unanswered { problem: String },
    /// It did not take place.
    #[error("etcd refuses: {message}")]
    Refused { code: i32, message: String },
    #[error("cannot use the system's certificates for TLS")]
    Certificates { source: std::io::Error },
}

/// A client of one etcd cluster.
#[derive(Debug)]
pub(crate) struct Client {
    http: Http,
    endpoints: Vec<String>,
    /// The member that answered last.
    preferred: AtomicUsize,
}

impl Client {
    pub(crate) fn new(location: &Location) -> Result<Self, Error> {
        let tls = Tls::for_urls(location.endpoints.iter().map(String::as_str));
        let http = outgoing::client(tls).map_err(|source| Error::Certificates { source })?;
        Ok(Self { http, endpoints: location.endpoints.clone(), preferred: AtomicUsize::new(0) })
    }

    /// One call, of which the first answer of any member counts.
    pub(crate) async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
    ) -> Result<A, Error> {
        let body = serde_json::to_vec(request).expect("requests always serialise");
        let first = self.preferred.load(Ordering::Relaxed);
        let mut members = first..first + self.endpoints.len() * ATTEMPTS_PER_MEMBER;
        let mut attempts = FuturesUnordered::new();
        let mut problem = String::new();
        loop {
            if let Some(member) = members.next() {
                attempts.push(self.attempt(member, path, body.clone(), ATTEMPT_TIMEOUT));
            }
            let ended = match members.len() {
                0 => attempts.next().await,
                _ => tokio::time::timeout(HEDGE_AFTER, attempts.next()).await.unwrap_or(None),
            };
            match ended {
                Some(Ok(answer)) => return Ok(answer),
                // Only of what nobody else was asked for.
                Some(Err(certain @ (Error::Refused { .. } | Error::Certificates { .. })))
                    if members.start == first + 1 =>
                {
                    return Err(certain);
                }
                Some(Err(error)) => problem = error.to_string(),
                None if attempts.is_empty() => return Err(Error::Unanswered { problem }),
                None => {}
            }
        }
    }

    /// Reads much: each member is asked once and given time, since asking several would only slow all of them down.
    pub(crate) async fn fetch<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
    ) -> Result<A, Error> {
        let body = serde_json::to_vec(request).expect("requests always serialise");
        let first = self.preferred.load(Ordering::Relaxed);
        let mut problem = String::new();
        for member in first..first + self.endpoints.len() {
            match self.attempt(member, path, body.clone(), FETCH_TIMEOUT).await {
                Err(Error::Unanswered { problem: another }) => problem = another,
                ended => return ended,
            }
        }
        Err(Error::Unanswered { problem })
    }

    /// Asks one member, which is preferred from then on if it answers.
    async fn attempt<A: DeserializeOwned>(
        &self,
        member: usize,
        path: &str,
        body: Vec<u8>,
        time: Duration,
    ) -> Result<A, Error> {
        let answer = tokio::time::timeout(time, self.ask(member, path, body)).await;
        let answer = answer.unwrap_or_else(|_| Err(timed_out(time)));
        if answer.is_ok() {
            self.preferred.store(member % self.endpoints.len(), Ordering::Relaxed);
        }
        answer
    }

    async fn ask<A: DeserializeOwned>(&self, member: usize, path: &str, body: Vec<u8>) -> Result<A, Error> {
        let response = self.post(member, path, body).await?;
        let is_good = response.status() == StatusCode::OK;
        let bytes = axum::body::to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| unanswered(&error))?;
        if !is_good {
            return Err(refused(&bytes));
        }
        serde_json::from_slice(&bytes).map_err(|error| unanswered(&error))
    }

    /// Opens a stream of messages at some member; each failure moves on to the next for the time after.
    pub(crate) async fn stream<Q: Serialize>(&self, path: &str, request: &Q) -> Result<Incoming, Error> {
        let body = serde_json::to_vec(request).expect("requests always serialise");
        let member = self.preferred.load(Ordering::Relaxed) % self.endpoints.len();
        let opened = tokio::time::timeout(ATTEMPT_TIMEOUT, self.post(member, path, body));
        match opened.await.unwrap_or_else(|_| Err(timed_out(ATTEMPT_TIMEOUT))) {
            Ok(response) if response.status() == StatusCode::OK => Ok(response.into_body()),
            Ok(response) => {
                self.prefer_another();
                Err(unanswered(&format!("a stream was answered with {}", response.status())))
            }
            Err(error) => {
                self.prefer_another();
                Err(error)
            }
        }
    }

    /// The member that is preferred has proved to be of no use.
    pub(crate) fn prefer_another(&self) {
        self.preferred.fetch_add(1, Ordering::Relaxed);
    }

    async fn post(&self, member: usize, path: &str, body: Vec<u8>) -> Result<Response<Incoming>, Error> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.endpoints[member % self.endpoints.len()]))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .map_err(|error| unanswered(&error))?;
        self.http.request(request).await.map_err(|error| unanswered(&error))
    }
}

fn timed_out(time: Duration) -> Error {
    Error::Unanswered { problem: format!("no answer within {} ms", time.as_millis()) }
}

fn unanswered(error: &impl ToString) -> Error {
    Error::Unanswered { problem: error.to_string() }
}

fn refused(body: &[u8]) -> Error {
    let Ok(Refusal { code, message }) = serde_json::from_slice(body) else {
        return unanswered(&String::from_utf8_lossy(body));
    };
    if CODES_UNCERTAIN.contains(&code) { unanswered(&message) } else { Error::Refused { code, message } }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    /// The next connection, once a request has come on it.
    async fn asked(listener: &TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream
    }

    async fn answer(mut stream: TcpStream, status: &str, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        stream.write_all((head + body).as_bytes()).await.unwrap();
    }

    fn client(members: &[&str]) -> Client {
        Client::new(&format!("etcd://{}/x", members.join(",")).parse().unwrap()).unwrap()
    }

    async fn read(client: &Client) -> Result<Value, Error> {
        client.call("/v3/kv/range", &json!({})).await
    }

    #[tokio::test]
    async fn the_next_member_is_asked_before_a_slow_one_is_given_up() {
        let ((slow, first), (quick, second)) = (listen().await, listen().await);
        let client = client(&[&first, &second]);
        let is_given_up = Arc::new(AtomicBool::new(false));
        let given_up = is_given_up.clone();
        tokio::spawn(async move {
            // The end of the connection is all that ever comes on it.
            let _ = asked(&slow).await.read(&mut [0]).await;
            given_up.store(true, Ordering::SeqCst);
        });
        let answering = async {
            let stream = asked(&quick).await;
            let was_given_up = is_given_up.load(Ordering::SeqCst);
            answer(stream, "200 OK", r#"{"it":"is"}"#).await;
            was_given_up
        };
        let (answered, was_given_up) = tokio::join!(read(&client), answering);
        assert_eq!(answered.unwrap(), json!({"it": "is"}));
        assert!(!was_given_up, "it may still answer first");
        assert_eq!(client.preferred.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_refusal_is_certain_when_nobody_else_was_asked() {
        let (member, address) = listen().await;
        let client = client(&[&address]);
        let refusal = r#"{"code":11,"message":"compacted"}"#;
        let answering = async { answer(asked(&member).await, "400 Bad Request", refusal).await };
        let (answered, ()) = tokio::join!(read(&client), answering);
        let error = answered.unwrap_err();
        assert!(matches!(error, Error::Refused { code: CODE_OUT_OF_RANGE, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_member_that_is_gone_costs_nothing() {
        let (gone, first) = listen().await;
        drop(gone);
        let (member, second) = listen().await;
        let client = client(&[&first, &second]);
        let answering = async { answer(asked(&member).await, "200 OK", "{}").await };
        let (answered, ()) = tokio::join!(read(&client), answering);
        assert_eq!(answered.unwrap(), json!({}));
    }
}
