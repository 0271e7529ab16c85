//! What a scheduler answers that does not lead: reads from the log that it follows, everything else by the leader.
//!
//! Agents are told where the leader is, and refused their channels here: so they come to it by asking again.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use ecsr_api::ApiError;
use ecsr_api::acs;
use ecsr_api::ecs::Operation;
use ecsr_core::{State, read};
use tokio::time::Instant;

use super::Consistency;
use super::barrier::Barrier;
use super::follower::Outlook;
use super::forward::{self, FORWARDED, NOT_LEADER, Passed};
use crate::access;
use crate::auth::Authenticator;
use crate::entropy::Entropy;
use crate::http::api::Admitted;
use crate::http::share::Turn;
use crate::http::{api, body};
use crate::outgoing::Http;

/// How long a read may wait for the state to hold all that had happened when it came.
pub(super) const CATCH_UP_MAX: Duration = Duration::from_secs(3);

/// What a standby needs to answer.
#[derive(Debug)]
pub(crate) struct Standby {
    pub(super) outlook: Outlook,
    pub(super) barrier: Barrier,
    pub(super) consistency: Consistency,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) entropy: Entropy,
    pub(super) http: Http,
    /// This scheduler's own URL, by which it knows itself as the leader.
    pub(super) own: String,
}

/// What a standby did with a request.
pub(super) enum Outcome {
    Answered(Response),
    /// This scheduler leads by now: the request, to be answered as a leader does.
    Leading(Parts, Bytes),
}

impl Standby {
    /// Answers a request, or gives it back because this scheduler has become the leader.
    pub(super) async fn answer(&self, mut parts: Parts, body: Body) -> Outcome {
        if parts.method != Method::POST || parts.uri.path() != "/" {
            return Outcome::Answered(self.refuse_channel(&parts));
        }
        if parts.headers.contains_key(FORWARDED) {
            return Outcome::Answered(not_leader());
        }
        let body = match body::read(body).await {
            Ok(body) => Bytes::from(body),
            Err(error) => return self.respond(&parts.headers, Err(error)),
        };
        let _turn = match parts.extensions.remove::<Turn>() {
            Some(turn) => Some(turn.come().await),
            None => None,
        };
        let admitted = match api::admit(&self.authenticator, &parts, &body) {
            Ok(admitted) => admitted,
            Err(error) => return self.respond(&parts.headers, Err(error)),
        };
        match self.serve(&admitted, &parts, &body).await {
            Ok(Served::Body(answer)) => self.respond(&parts.headers, answer),
            Ok(Served::Passed(Passed::Answered(response))) => Outcome::Answered(response),
            Ok(Served::Passed(Passed::Here)) => Outcome::Leading(parts, body),
            Err(error) => self.respond(&parts.headers, Err(error)),
        }
    }

    async fn serve(&self, admitted: &Admitted, parts: &Parts, body: &Bytes) -> Result<Served, ApiError> {
        let Admitted { caller, operation } = admitted;
        match *operation {
            Operation::DiscoverPollEndpoint => {
                let base = self.leader_url().await?;
                Ok(Served::Body(api::poll_endpoint(&base, body)))
            }
            Operation::SubmitAttachmentStateChanges => Ok(Served::Body(api::acknowledge_attachments(body))),
            // The leader decides anew whether the caller may.
            operation if ecsr_core::command::parse(operation, body).is_some() => {
                self.pass_on(parts, body).await
            }
            operation => {
                let state = self.state().await?;
                access::bind(&self.authenticator, caller, operation, body, &state)?;
                let answer = read::answer(&state, operation, body);
                Ok(Served::Body(answer.map_or_else(|| Err(api::not_served(operation)), |answer| Ok(answer?))))
            }
        }
    }

    async fn pass_on(&self, parts: &Parts, body: &Bytes) -> Result<Served, ApiError> {
        let lead = self.outlook.lead.clone();
        let passed = forward::pass_on(&self.http, lead, &self.own, parts, body).await;
        passed.map(Served::Passed).map_err(|error| ApiError::server(error.to_string()))
    }

    async fn leader_url(&self) -> Result<String, ApiError> {
        let deadline = Instant::now() + forward::LEADER_PATIENCE;
        let leader = forward::leader(&mut self.outlook.lead.clone(), deadline).await;
        let leader = leader.ok_or_else(|| ApiError::server(forward::Unanswered::NoLeader.to_string()))?;
        Ok(leader.url)
    }

    /// The state with everything that had happened when this was called.
    async fn state(&self) -> Result<Arc<State>, ApiError> {
        let head = match self.consistency {
            Consistency::Local => 0,
            Consistency::Confirmed => {
                self.barrier.look().await.map_err(|error| ApiError::server(error.to_string()))?.head
            }
        };
        let mut replicas = self.outlook.replica.clone();
        let is_there = replicas.wait_for(|replica| replica.as_ref().is_some_and(|it| it.next_index >= head));
        match tokio::time::timeout(CATCH_UP_MAX, is_there).await {
            Ok(Ok(replica)) => Ok(replica.as_ref().expect("one that is there was waited for").state.clone()),
            Ok(Err(_)) | Err(_) => Err(ApiError::server("This scheduler has not caught up yet. Try again.")),
        }
    }

    fn respond(&self, headers: &HeaderMap, answer: Result<Vec<u8>, ApiError>) -> Outcome {
        Outcome::Answered(api::respond(&self.entropy, headers, answer))
    }

    /// A channel is opened by the leader alone. The agent asks again where that is.
    fn refuse_channel(&self, parts: &Parts) -> Response {
        if parts.method != Method::GET {
            let mut response =
                api::respond(&self.entropy, &parts.headers, Err(ApiError::unknown_operation()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        let message = "This scheduler does not lead. Discover the endpoint anew.".to_owned();
        let exception = acs::Message::ServerException(acs::Exception { message: Some(message) });
        (StatusCode::SERVICE_UNAVAILABLE, exception.encode()).into_response()
    }
}

enum Served {
    Body(Result<Vec<u8>, ApiError>),
    Passed(Passed),
}

fn not_leader() -> Response {
    let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
    response.headers_mut().insert(NOT_LEADER, HeaderValue::from_static("1"));
    response
}
