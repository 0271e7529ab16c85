//! Passing a call on to the scheduler that leads.
//!
//! The call goes as it came, Host and signature included, so that the leader checks it as if it had come there: a
//! standby vouches for nothing. What was certainly not begun is tried again with whoever leads then; what may have been
//! begun is answered as an error of the server, as a lost connection would be: whether to repeat it is for the
//! client to say, who knows if it may be done twice.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Request, Response, Uri};
use tokio::sync::watch;
use tokio::time::Instant;

use super::follower::Lead;
use crate::journal::etcd::log::Leader;
use crate::outgoing::Http;

/// Says that a call was passed on once already. It is not to be passed on again: two schedulers that take each other
/// for the leader would do so for ever.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("x-ecsr-forwarded");

/// In the answer of one who does not lead to a call that was passed on: nothing was done.
pub(super) const NOT_LEADER: HeaderName = HeaderName::from_static("x-ecsr-not-leader");

/// How long a call may wait for somebody who leads: twice what a failover takes.
pub(super) const LEADER_PATIENCE: Duration = Duration::from_secs(10);

/// How long the leader may take. Its own bounds are tighter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer that is passed back. Only reads have large ones, and those are not passed on.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Pause before a call is tried again with the same leader.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// Nothing was done.
    #[error("No scheduler leads at the moment. Try again.")]
    NoLeader,
    /// Nobody knows.
    #[error("The scheduler that leads did not answer. Whether the request was carried out is not known.")]
    Lost,
}

/// One attempt's outcome.
enum Attempt {
    Answered(Response<Body>),
    NotBegun,
    Lost,
}

/// What became of a call.
pub(super) enum Passed {
    Answered(Response<Body>),
    /// The leader is this scheduler.
    Here,
}

/// Passes a call on to whoever leads. `own` is this scheduler's URL.
pub(super) async fn pass_on(
    http: &Http,
    mut lead: watch::Receiver<Lead>,
    own: &str,
    parts: &Parts,
    body: &Bytes,
) -> Result<Passed, Unanswered> {
    let deadline = Instant::now() + LEADER_PATIENCE;
    loop {
        let leader = leader(&mut lead, deadline).await.ok_or(Unanswered::NoLeader)?;
        if leader.url == own {
            return Ok(Passed::Here);
        }
        let mut successor = lead.clone();
        let attempt = tokio::select! {
            attempt = attempt(http, &leader, parts, body) => attempt,
            // Somebody else leads, so this one will hardly answer.
            () = deposed(&mut successor, &leader) => Attempt::Lost,
        };
        match attempt {
            Attempt::Answered(response) => return Ok(Passed::Answered(response)),
            Attempt::Lost => return Err(Unanswered::Lost),
            Attempt::NotBegun if Instant::now() >= deadline => return Err(Unanswered::NoLeader),
            Attempt::NotBegun => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}

/// Who leads, as soon as anybody does; `None` when it takes too long.
pub(super) async fn leader(lead: &mut watch::Receiver<Lead>, deadline: Instant) -> Option<Leader> {
    let held = lead.wait_for(|lead| matches!(lead, Lead::Held(_)));
    match tokio::time::timeout_at(deadline, held).await {
        Ok(Ok(lead)) => match &*lead {
            Lead::Held(leader) => Some(leader.clone()),
            Lead::Unknown | Lead::Vacant => None,
        },
        Ok(Err(_)) | Err(_) => None,
    }
}

async fn deposed(lead: &mut watch::Receiver<Lead>, leader: &Leader) {
    // The sender lives as long as the scheduler.
    let is_other = |lead: &Lead| matches!(lead, Lead::Held(other) if other != leader);
    let _ = lead.wait_for(is_other).await;
}

async fn attempt(http: &Http, leader: &Leader, parts: &Parts, body: &Bytes) -> Attempt {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let Ok(uri) = format!("{}{target}", leader.url).parse::<Uri>() else { return Attempt::NotBegun };
    let mut request = Request::new(Body::from(body.clone()));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers.clone();
    for hop in ["connection", "content-length", "transfer-encoding", "expect"] {
        request.headers_mut().remove(hop);
    }
    request.headers_mut().insert(FORWARDED, HeaderValue::from_static("1"));
    match tokio::time::timeout(ANSWER_TIMEOUT, http.request(request)).await {
        Ok(Ok(response)) if response.headers().contains_key(NOT_LEADER) => Attempt::NotBegun,
        Ok(Ok(response)) => {
            let (parts, body) = response.into_parts();
            match axum::body::to_bytes(Body::new(body), ANSWER_BYTES_MAX).await {
                Ok(bytes) => Attempt::Answered(Response::from_parts(parts, Body::from(bytes))),
                Err(_) => Attempt::Lost,
            }
        }
        Ok(Err(error)) if error.is_connect() => Attempt::NotBegun,
        Ok(Err(_)) | Err(_) => Attempt::Lost,
    }
}
