//! The ECS API: AWS JSON 1.1 over POST `/`.
//!
//! The order is fixed: the body within its bound, then the signature, then whether the key is for that, and only then
//! what the request says. Reads are
//! answered from the published state without the writer; a command's answer is shown out of the durable state that
//! holds its events.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use ecsr_api::ApiError;
use ecsr_api::ecs::{self, ErrorCode, Operation};
use ecsr_core::command::Command;
use ecsr_core::{read, view};

use super::body;
use super::share::Turn;
use crate::access::{self, Caller};
use crate::agents::{ACS_PATH, TCS_PATH};
use crate::app::App;
use crate::auth::Authenticator;
use crate::driver::Failure;
use crate::elb;
use crate::entropy::Entropy;

pub(super) const TARGET_HEADER: &str = "x-amz-target";
const REQUEST_ID_HEADER: &str = "x-amzn-requestid";
/// The content types of AWS JSON, of which the request's is echoed.
const CONTENT_TYPES: [&str; 2] = [ecs::CONTENT_TYPE, "application/x-amz-json-1.0"];

/// One API call.
pub(super) async fn call(State(app): State<Arc<App>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let turn = parts.extensions.remove::<Turn>();
    let answered = answer(&app, &parts, body, turn).await;
    respond(&app.entropy, &parts.headers, answered)
}

/// Any other method or path.
pub(super) async fn nothing_here(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let mut response = respond(&app.entropy, &headers, Err(ApiError::unknown_operation()));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

async fn answer(app: &App, parts: &Parts, body: Body, turn: Option<Turn>) -> Result<Vec<u8>, ApiError> {
    let body = body::read(body).await?;
    // A body that arrives slowly takes nobody's turn.
    let _turn = match turn {
        Some(turn) => Some(turn.come().await),
        None => None,
    };
    let Admitted { caller, operation } = admit(&app.authenticator, parts, &body)?;
    match operation {
        Operation::DiscoverPollEndpoint => poll_endpoint(&base_url(app, &parts.headers), &body),
        Operation::SubmitAttachmentStateChanges => acknowledge_attachments(&body),
        operation => {
            if let Some(command) = ecsr_core::command::parse(operation, &body) {
                let command = bound(command?, &caller);
                let state = app.driver.state();
                access::bind(&app.authenticator, &caller, operation, &body, &state)?;
                elb::admit(&app.elb, &state, &command).await?;
                return execute(app, operation, command).await;
            }
            let state = app.authority.state(&app.driver).await?;
            access::bind(&app.authenticator, &caller, operation, &body, &state)?;
            let answered = read::answer(&state, operation, &body);
            Ok(answered.ok_or_else(|| not_served(operation))??)
        }
    }
}

/// What is asked for, and by whom.
pub(crate) struct Admitted {
    pub caller: Caller,
    pub operation: Operation,
}

/// What a request asks for, once it is known whose it is and that the key is for such things.
pub(crate) fn admit(authenticator: &Authenticator, parts: &Parts, body: &[u8]) -> Result<Admitted, ApiError> {
    let caller = authenticator.request(parts, body)?;
    let target = parts.headers.get(TARGET_HEADER).and_then(|value| value.to_str().ok());
    let operation = ecs::operation_of_target(target.unwrap_or_default())?;
    access::admit(authenticator, &caller, operation, body)?;
    Ok(Admitted { caller, operation })
}

/// An agent's key is remembered with what it registers.
fn bound(command: Command, caller: &Caller) -> Command {
    match (command, caller.agent_key()) {
        (Command::RegisterContainerInstance(request), Some(key)) => {
            Command::RegisterAgentsInstance { request, agent_key: key.into() }
        }
        (command, _) => command,
    }
}

async fn execute(app: &App, operation: Operation, command: Command) -> Result<Vec<u8>, ApiError> {
    match app.driver.execute(command).await {
        Ok(done) => {
            app.authority.confirm().await?;
            Ok(view::respond(&done.state, operation, &done.reply))
        }
        Err(Failure::Refused(refusal)) => {
            app.authority.confirm().await?;
            Err(refusal.into())
        }
        Err(Failure::NotDurable) => {
            Err(ApiError::server("The request could not be written to the journal. Try again later."))
        }
        Err(Failure::Stopping) => {
            Err(ApiError::new(ErrorCode::ServiceUnavailableException, "The scheduler is stopping."))
        }
    }
}

pub(crate) fn not_served(operation: Operation) -> ApiError {
    let message = format!("{} is not supported by this endpoint yet.", operation.name());
    ApiError::new(ErrorCode::UnsupportedFeatureException, message)
}

/// Tells an agent where its channels are. Agents make `ws` of `http`, and refuse any other scheme.
pub(crate) fn poll_endpoint(base: &str, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let _: ecs::DiscoverPollEndpointRequest = ecs::read_request(body)?;
    // Service Connect's relay would be configured over ACS as well.
    let response = ecs::DiscoverPollEndpointResponse {
        endpoint: Some(format!("{base}{ACS_PATH}")),
        telemetry_endpoint: Some(format!("{base}{TCS_PATH}")),
        service_connect_endpoint: Some(format!("{base}{ACS_PATH}")),
    };
    Ok(json(&response))
}

/// What was configured; else the name under which the caller, whose signature covers it, reached this endpoint.
fn base_url(app: &App, headers: &HeaderMap) -> String {
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    match (&app.advertise, named) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(host)) => format!("http://{host}"),
        (None, None) => format!("http://{}", app.listen),
    }
}

/// Network interfaces and volumes are attached by Amazon's machinery, of which there is none here to be told.
pub(crate) fn acknowledge_attachments(body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let _: ecs::SubmitAttachmentStateChangesRequest = ecs::read_request(body)?;
    Ok(json(&ecs::SubmitAttachmentStateChangesResponse { acknowledgment: Some("ACCEPTED".to_owned()) }))
}

fn json(response: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(response).expect("wire types always serialise")
}

/// The answer as it goes out.
pub(crate) fn respond(
    entropy: &Entropy,
    request: &HeaderMap,
    answered: Result<Vec<u8>, ApiError>,
) -> Response {
    let (status, body) = match answered {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (status(&error), error.body().into_bytes()),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let id = HeaderValue::try_from(entropy.uuid()).expect("a UUID is a header value");
    response.headers_mut().insert(REQUEST_ID_HEADER, id);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type(request)));
    response
}

fn status(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.status()).expect("the codes of the model are HTTP's")
}

fn content_type(request: &HeaderMap) -> &'static str {
    let sent = request.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = CONTENT_TYPES.into_iter().find(|known| sent.starts_with(known));
    known.unwrap_or(ecs::CONTENT_TYPE)
}
