//! Headers on their way through: what belongs to one connection is taken off, what a target wants to know is put on.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use hyper::header::{
    CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Uri, Version};

use super::super::settings::{ForwardedFor, ListenerSettings};
use super::Client;

/// Most addresses that `X-Forwarded-For` may have (ELB's own): beyond that requests go in circles.
pub(super) const ADDRESSES_MAX: usize = 30;

/// Most bytes of the parts of a trace that are not ours; a longer one is begun anew.
const TRACE_BYTES_MAX: usize = 7 * 1024;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const TLS_VERSION: HeaderName = HeaderName::from_static("x-amzn-tls-version");
const TLS_CIPHER: HeaderName = HeaderName::from_static("x-amzn-tls-cipher-suite");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Whom the request is for: of an absolute target that, else the first `Host`.
pub(super) fn host<B>(request: &Request<B>) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(HOST)?.to_str().ok(),
    }
}

/// How many addresses `X-Forwarded-For` has.
pub(super) fn addresses(headers: &HeaderMap) -> usize {
    headers
        .get_all(FORWARDED_FOR)
        .iter()
        .map(|value| value.as_bytes().split(|byte| *byte == b',').count())
        .sum()
}

/// An address as `X-Forwarded-For` has it.
pub(super) fn address(address: SocketAddr, with_port: bool) -> HeaderValue {
    let text = if with_port { address.to_string() } else { address.ip().to_string() };
    HeaderValue::try_from(text).expect("an address is visible ASCII")
}

/// Takes off what is for one connection only.
pub(super) fn strip(headers: &mut HeaderMap) {
    if let Some(named) = headers.remove(CONNECTION) {
        for name in named.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE, HTTP2_SETTINGS] {
        headers.remove(name);
    }
}

/// Makes a client's request the target's.
pub(super) fn for_target(parts: &mut Parts, client: &Client, settings: &ListenerSettings, http2: bool) {
    let host = host_for_target(parts, client, settings);
    let trailers = parts.headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip(&mut parts.headers);
    if !trailers || !http2 {
        parts.headers.remove(TE);
    }
    if settings.drop_invalid_headers {
        drop_invalid(&mut parts.headers);
    }
    if parts.version == Version::HTTP_2 && !http2 {
        join_cookies(&mut parts.headers);
    }
    forwarded(&mut parts.headers, client, settings);
    address_to(parts, host, client, http2);
}

/// The host that the target is told.
fn host_for_target(parts: &Parts, client: &Client, settings: &ListenerSettings) -> Option<HeaderValue> {
    let given = match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok()?,
        None => parts.headers.get(HOST)?.clone(),
    };
    if settings.preserve_host {
        return Some(given);
    }
    let port = client.arrival.door.local.port();
    let text = given.to_str().ok()?;
    let name = super::matching::without_port(text);
    if matches!(port, 80 | 443) {
        return if name.len() == text.len() { Some(given) } else { HeaderValue::from_str(name).ok() };
    }
    if text.len() > name.len() && text[name.len() + 1..].parse() == Ok(port) {
        return Some(given);
    }
    HeaderValue::try_from(format!("{name}:{port}")).ok()
}

fn drop_invalid(headers: &mut HeaderMap) {
    let valid =
        |name: &HeaderName| name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let invalid: Vec<_> = headers.keys().filter(|name| !valid(name)).cloned().collect();
    for name in invalid {
        headers.remove(name);
    }
}

/// HTTP/2 may have a header for each cookie, HTTP/1.1 has one for all.
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let lines: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

fn forwarded(headers: &mut HeaderMap, client: &Client, settings: &ListenerSettings) {
    match settings.forwarded_for {
        ForwardedFor::Append => {
            let value = appended(headers, &client.forwarded_for);
            headers.insert(FORWARDED_FOR, value);
        }
        ForwardedFor::Preserve => {}
        ForwardedFor::Remove => {
            headers.remove(FORWARDED_FOR);
        }
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(client.scheme()));
    headers.insert(FORWARDED_PORT, client.port.clone());
    let trace = trace(headers.get(TRACE_ID), SystemTime::now());
    headers.insert(TRACE_ID, trace);
    if settings.tls_headers
        && let Some(tls) = &client.tls
    {
        for (name, value) in [(TLS_VERSION, &tls.version), (TLS_CIPHER, &tls.cipher)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

fn appended(headers: &HeaderMap, client: &HeaderValue) -> HeaderValue {
    let mut before = headers.get_all(FORWARDED_FOR).iter().peekable();
    if before.peek().is_none() {
        return client.clone();
    }
    let mut bytes = Vec::new();
    for value in before.chain([client]) {
        if !bytes.is_empty() {
            bytes.extend(b", ");
        }
        bytes.extend(value.as_bytes());
    }
    HeaderValue::from_bytes(&bytes).unwrap_or_else(|_| client.clone())
}

/// `Root=..` of a request that has none; one that has gets `Self=..` in front, in place of what was there.
fn trace(given: Option<&HeaderValue>, now: SystemTime) -> HeaderValue {
    let given = given.and_then(|value| value.to_str().ok()).filter(|text| text.len() <= TRACE_BYTES_MAX);
    let has_root = given.is_some_and(|text| text.split(';').any(|part| part.trim().starts_with("Root=")));
    let mut trace = String::with_capacity(48);
    trace.push_str(if has_root { "Self=" } else { "Root=" });
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let random = fastrand::u128(..) >> 32;
    // Writing to a string cannot fail.
    let _ = write!(trace, "1-{:08x}-{random:024x}", seconds & 0xffff_ffff);
    for part in given.unwrap_or_default().split(';').map(str::trim) {
        if !part.is_empty() && !part.starts_with("Self=") {
            trace.push(';');
            trace.push_str(part);
        }
    }
    HeaderValue::try_from(trace).unwrap_or(HeaderValue::from_static(""))
}

/// A target's request names its path, and its host beside it: in a header, or with HTTP/2 as the authority.
fn address_to(parts: &mut Parts, host: Option<HeaderValue>, client: &Client, http2: bool) {
    let path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    if http2 {
        parts.version = Version::HTTP_2;
        parts.headers.remove(HOST);
        let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let whole =
            Uri::builder().scheme(client.scheme()).authority(authority).path_and_query(path.clone()).build();
        parts.uri = whole.unwrap_or(Uri::from(path));
        return;
    }
    parts.version = Version::HTTP_11;
    if parts.uri.authority().is_some() {
        parts.uri = Uri::from(path);
    }
    if let Some(host) = host {
        parts.headers.insert(HOST, host);
    }
}

/// Headers that the listener puts on every answer.
pub(super) fn of_listener(headers: &mut HeaderMap, settings: &ListenerSettings) {
    for (name, value) in &settings.response_headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    if !settings.server_header {
        headers.remove(hyper::header::SERVER);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn traces() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(0x6789_1233);
        let trace = |given: &'static str| {
            let trace = trace((!given.is_empty()).then(|| HeaderValue::from_static(given)).as_ref(), now);
            let text = trace.to_str().unwrap().to_owned();
            let (random, rest) = text["Root=1-67891233-".len()..].split_at(24);
            assert!(random.bytes().all(|byte| byte.is_ascii_hexdigit()));
            (text["".len().."Root=1-67891233".len()].to_owned(), rest.to_owned())
        };
        let expected = |ours: &str, rest: &str| (format!("{ours}=1-67891233"), rest.to_owned());
        assert_eq!(trace(""), expected("Root", ""));
        assert_eq!(trace("Root=1-a-b;CalledFrom=x"), expected("Self", ";Root=1-a-b;CalledFrom=x"));
        assert_eq!(trace("Self=1-c-d;Root=1-a-b"), expected("Self", ";Root=1-a-b"));
        assert_eq!(trace("CalledFrom=x"), expected("Root", ";CalledFrom=x"));
    }

    #[test]
    fn what_belongs_to_a_connection_stays_on_it() {
        let mut headers = map(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-end", "2"),
        ]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("x-end", "2")]));
    }

    #[test]
    fn the_client_is_appended_to_those_before_it() {
        let client = address("192.0.2.7:1000".parse().unwrap(), false);
        assert_eq!(appended(&HeaderMap::new(), &client), "192.0.2.7");
        let before = map(&[("x-forwarded-for", "10.0.0.1, 10.0.0.2"), ("x-forwarded-for", "10.0.0.3")]);
        assert_eq!(appended(&before, &client), "10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7");
        assert_eq!(addresses(&before), 3);
        assert_eq!(address("[2001:db8::1]:1000".parse().unwrap(), true), "[2001:db8::1]:1000");
        assert_eq!(address("[2001:db8::1]:1000".parse().unwrap(), false), "2001:db8::1");
    }
}
