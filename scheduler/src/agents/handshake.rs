//! Opening a channel: who is it, which instance, and may it.
//!
//! A refusal is what Amazon's agent can read: a status other than 101 and an envelope that names the exception. The
//! names matter: an INACTIVE instance makes an agent register anew, anything else makes it try again.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ecsr_api::sigv4::VerifyError;
use ecsr_api::{acs, ecs, tcs};
use ecsr_core::ids::InstanceKey;
use ecsr_core::state::InstanceStatus;
use ecsr_core::{State as Cluster, resolve};

use super::line::Line;
use super::{acs as channel, telemetry};
use crate::access::{self, Caller, Denied};
use crate::app::App;

/// Bytes that a channel reads at once. Most frames are small, and each channel holds this much for good.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// Why a channel is not opened.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    NotAuthenticated(#[from] VerifyError),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("The connection parameters cannot be read.")]
    BadRequest,
    #[error("Cluster not found.")]
    InvalidCluster,
    #[error("The referenced container instance was not found.")]
    InvalidInstance,
    #[error("The container instance is INACTIVE.")]
    InactiveInstance,
    #[error("There are too many channels open.")]
    Busy,
}

impl Refused {
    fn message(&self) -> acs::Message {
        let exception = acs::Exception { message: Some(self.to_string()) };
        match self {
            Self::NotAuthenticated(_) | Self::Denied(_) => acs::Message::AccessDeniedException(exception),
            Self::BadRequest => acs::Message::BadRequestException(exception),
            Self::InvalidCluster => acs::Message::InvalidClusterException(exception),
            Self::InvalidInstance => acs::Message::InvalidInstanceException(exception),
            Self::InactiveInstance => acs::Message::InactiveInstanceException(exception),
            Self::Busy => acs::Message::ServerException(exception),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotAuthenticated(_) | Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::BadRequest | Self::InvalidCluster | Self::InvalidInstance | Self::InactiveInstance => {
                StatusCode::BAD_REQUEST
            }
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.message().encode()));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(ecs::CONTENT_TYPE));
        response
    }
}

/// Opens the channel on which an agent gets its tasks.
pub(crate) async fn open_acs(State(app): State<Arc<App>>, request: Request) -> Response {
    match admit_acs(&app, request).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn admit_acs(app: &Arc<App>, request: Request) -> Result<Response, Refused> {
    let (mut parts, _) = request.into_parts();
    let caller = app.authenticator.request(&parts, b"")?;
    let connect =
        acs::Connect::from_query(parts.uri.query().unwrap_or_default()).ok_or(Refused::BadRequest)?;
    let named = Named { cluster: &connect.cluster, instance: &connect.container_instance_arn };
    let key = instance(app, &caller, access::POLL, named)?;
    let upgrade = upgrade(&mut parts, acs::FRAME_BYTES_MAX).await?;
    let session = app.sessions.enter(&key).ok_or(Refused::Busy)?;
    let host = parts.extensions.remove::<Line>().and_then(|line| {
        let host = line.host()?;
        line.limit_answer();
        Some(host)
    });
    let app = app.clone();
    let joining =
        channel::Joining { access_key_id: caller.access_key_id, version_info: version_info(connect), host };
    Ok(upgrade.on_upgrade(move |socket| channel::serve(app, socket, session, joining)))
}

/// Opens the channel on which an agent publishes health and metrics.
pub(crate) async fn open_tcs(State(app): State<Arc<App>>, request: Request) -> Response {
    match admit_tcs(&app, request).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn admit_tcs(app: &Arc<App>, request: Request) -> Result<Response, Refused> {
    let (mut parts, _) = request.into_parts();
    let caller = app.authenticator.request(&parts, b"")?;
    let connect =
        tcs::Connect::from_query(parts.uri.query().unwrap_or_default()).ok_or(Refused::BadRequest)?;
    let named = Named { cluster: &connect.cluster, instance: &connect.container_instance };
    let key = instance(app, &caller, access::START_TELEMETRY, named)?;
    let frame_bytes_max = tcs::FRAME_BYTES_MAX + tcs::frame::HEADER_BYTES_MAX;
    let upgrade = upgrade(&mut parts, frame_bytes_max).await?;
    let permit = app.sessions.enter_telemetry().ok_or(Refused::Busy)?;
    parts.extensions.remove::<Line>();
    let app = app.clone();
    Ok(upgrade.on_upgrade(move |socket| telemetry::serve(app, socket, key, parts, permit)))
}

/// What an agent says it is.
#[derive(Clone, Copy)]
struct Named<'a> {
    cluster: &'a str,
    instance: &'a str,
}

/// The instance that an agent says it is, if it may connect, and as that one. A refusal of access is logged.
fn instance(
    app: &App,
    caller: &Caller,
    action: &'static str,
    named: Named<'_>,
) -> Result<InstanceKey, Refused> {
    let found = find(&app.driver.state(), caller, action, named);
    if let Err(Refused::Denied(denied)) = &found {
        app.authenticator.log_denied(denied);
    }
    found
}

fn find(
    state: &Cluster,
    caller: &Caller,
    action: &'static str,
    named: Named<'_>,
) -> Result<InstanceKey, Refused> {
    caller.on_cluster(&state.home, action, Some(named.cluster))?;
    let cluster = resolve::cluster(state, Some(named.cluster)).map_err(|_| Refused::InvalidCluster)?;
    let key = resolve::instance_key(state, &cluster.name, named.instance);
    let key = key.map_err(|_| Refused::InvalidInstance)?;
    let found = state.instances.get(&key).ok_or(Refused::InvalidInstance)?;
    match found.status {
        InstanceStatus::Active | InstanceStatus::Draining => {}
        InstanceStatus::Inactive => return Err(Refused::InactiveInstance),
    }
    caller.speaks_for(&state.home, action, found)?;
    Ok(key)
}

async fn upgrade(parts: &mut Parts, frame_bytes_max: usize) -> Result<WebSocketUpgrade, Refused> {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await.map_err(|_| Refused::BadRequest)?;
    Ok(upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_frame_size(frame_bytes_max)
        .max_message_size(frame_bytes_max))
}

/// Versions as the agent says them, the label that Amazon's puts before Docker's included: so ECS shows them.
fn version_info(connect: acs::Connect) -> ecs::VersionInfo {
    let given = |text: String| (!text.is_empty()).then_some(text);
    ecs::VersionInfo {
        agent_hash: given(connect.agent_hash),
        agent_version: given(connect.agent_version),
        docker_version: given(connect.docker_version),
    }
}
