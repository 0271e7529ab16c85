//! One request over HTTP: a form in, XML out.
//!
//! The order is fixed: the body within its bound, then the signature, and only then what the form says.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use ecsr_api::awsquery::Form;
use ecsr_api::elbv2::{self, Error, ErrorCode};
use futures_util::StreamExt as _;

use super::Api;
use super::operations::Call;

const REQUEST_ID_HEADER: &str = "x-amzn-requestid";
/// Largest body: a thousand targets, which is as many as a group takes, with long names.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How much of a body that is too large is still read: a client that is cut off while it sends sees a broken connection
/// instead of the answer that says why.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn call(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let request_id = request_id();
    let answered = answer(&api, &parts, body, &request_id).await;
    let (status, text) = match answered {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (status(&error), error.body(&request_id)),
    };
    respond(status, text, &request_id)
}

/// Any other method or path.
pub(super) async fn nothing_here() -> Response {
    let request_id = request_id();
    let error = Error::new(ErrorCode::InvalidAction, "The ELBv2 API takes POST and GET requests for '/'");
    respond(StatusCode::NOT_FOUND, error.body(&request_id), &request_id)
}

async fn answer(api: &Api, parts: &Parts, body: Body, request_id: &str) -> Result<String, Error> {
    let body = read(body).await?;
    api.authenticator.check(parts, &body)?;
    let raw = if parts.method == Method::POST {
        let unreadable = |_| Error::new(ErrorCode::MalformedQueryString, "The request body is not a form");
        std::str::from_utf8(&body).map_err(unreadable)?
    } else {
        parts.uri.query().unwrap_or_default()
    };
    let form = Form::parse(raw)?;
    let operation = elbv2::operation_of(&form)?;
    api.desk.answer(Call { operation, form, request_id: request_id.to_owned() }).await
}

async fn read(body: Body) -> Result<Vec<u8>, Error> {
    let late = |_| Error::new(ErrorCode::MalformedQueryString, "The request body did not arrive in time");
    tokio::time::timeout(BODY_TIMEOUT, read_within(body)).await.map_err(late)?
}

async fn read_within(body: Body) -> Result<Vec<u8>, Error> {
    let mut kept = Vec::new();
    let mut length = 0;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let unreadable = |error| {
            Error::new(ErrorCode::MalformedQueryString, format!("The request body cannot be read: {error}"))
        };
        let chunk = chunk.map_err(unreadable)?;
        length += chunk.len();
        if length <= BODY_BYTES_MAX {
            kept.extend_from_slice(&chunk);
        } else {
            kept = Vec::new();
            if length > DISCARDED_BYTES_MAX {
                break;
            }
        }
    }
    if length > BODY_BYTES_MAX {
        let message = format!("The request body is larger than {BODY_BYTES_MAX} bytes");
        return Err(Error::new(ErrorCode::RequestEntityTooLarge, message));
    }
    Ok(kept)
}

fn respond(status: StatusCode, text: String, request_id: &str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let id = HeaderValue::try_from(request_id).expect("hex digits and hyphens are a header value");
    response.headers_mut().insert(REQUEST_ID_HEADER, id);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(elbv2::CONTENT_TYPE));
    response
}

fn status(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.code.status()).expect("the codes of the model are HTTP's")
}

/// A random UUID; one of nothing but zeros if the system gives no random numbers, since a request needs none.
fn request_id() -> String {
    let mut bytes = [0; 16];
    let _ = getrandom::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
