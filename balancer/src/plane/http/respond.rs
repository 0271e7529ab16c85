//! Answers that the balancer makes itself.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::{Response, StatusCode};

use super::body::Answer;

/// What ELB calls itself.
const BALANCER: HeaderValue = HeaderValue::from_static("awselb/2.0");

/// With the page that ELB shows for a status.
pub(super) fn made(status: StatusCode) -> Response<Answer> {
    // Codes of ELB's own have no text.
    let text = status.canonical_reason().unwrap_or_default();
    let title = format!("{} {text}", status.as_u16());
    let title = title.trim_end();
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    whole(status, HeaderValue::from_static("text/html"), page.into())
}

/// What a rule says word for word.
pub(super) fn fixed(status: u16, content_type: Option<&str>, body: Option<&str>) -> Response<Answer> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let content_type = content_type.and_then(|text| HeaderValue::from_str(text).ok());
    let content_type = content_type.unwrap_or(HeaderValue::from_static("text/plain; charset=utf-8"));
    whole(status, content_type, Bytes::copy_from_slice(body.unwrap_or_default().as_bytes()))
}

fn whole(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(SERVER, BALANCER);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
