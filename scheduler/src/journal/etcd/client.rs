//! Speaking to etcd, over the JSON gateway that every etcd serves beside gRPC.
//!
//! Why not a gRPC library: the kept one compiles protobuf at build time with a compiler that must be installed, and
//! brings a second HTTP stack into a binary that is also the agent. The gateway takes the HTTP client that is here
//! already; bytes are a third longer on the way.
//!
//! A call tries each member once, beginning with the one that answered last, each within a bound. What comes back is
//! an answer, a refusal by etcd itself, or nothing certain: then the call may or may not have taken place, which is why
//! every write is a transaction that can be repeated (see [`super::EtcdJournal`]).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
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

    /// One call, tried at each member until one answers.
    pub(crate) async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
    ) -> Result<A, Error> {
        let body = serde_json::to_vec(request).expect("requests always serialise");
        let first = self.preferred.load(Ordering::Relaxed);
        let mut problem = String::new();
        for attempt in 0..self.endpoints.len() {
            let member = (first + attempt) % self.endpoints.len();
            let answer = tokio::time::timeout(ATTEMPT_TIMEOUT, self.attempt(member, path, body.clone()));
            match answer.await.unwrap_or_else(|_| Err(timed_out())) {
                Ok(answer) => {
                    self.preferred.store(member, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(Error::Unanswered { problem: another }) => problem = another,
                Err(certain) => return Err(certain),
            }
        }
        Err(Error::Unanswered { problem })
    }

    async fn attempt<A: DeserializeOwned>(
        &self,
        member: usize,
        path: &str,
        body: Vec<u8>,
    ) -> Result<A, Error> {
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
        match opened.await.unwrap_or_else(|_| Err(timed_out())) {
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

fn timed_out() -> Error {
    Error::Unanswered { problem: format!("no answer within {} ms", ATTEMPT_TIMEOUT.as_millis()) }
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
