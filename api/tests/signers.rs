//! Requests that Amazon's own signers signed are accepted: botocore (recorded from the wire by
//! `fixtures/record-botocore`) and `aws-sigv4`, which `aws-sdk-ecs` and the agent sign with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use ecsr_api::Timestamp;
use ecsr_api::sigv4::{Credential, Identity, Request, Scope, VerifyError, verify, verify_frame};
use ecsr_api::tcs::frame;
use serde::Deserialize;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLE//////////token+with/every=character";
const SCOPE: Scope<'static> = Scope { region: "us-east-1", service: "ecs" };
/// 2026-11-22T19:42:28Z.
const NOW_SECONDS: u64 = 1_795_376_548;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recording {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    requests: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Recorded {
    fn has_token(&self) -> bool {
        self.query.contains("X-Amz-Security-Token=")
            || self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-amz-security-token"))
    }

    /// The moment at which it was signed.
    fn signed_at(&self) -> Timestamp {
        let in_query = self.query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Date="));
        let in_header = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-amz-date"));
        let basic = in_query.or(in_header.map(|(_, value)| value.as_str())).expect("a recording is dated");
        let (day, time) = (&basic[..8], &basic[9..15]);
        let rfc3339 = format!(
            "{}-{}-{}T{}:{}:{}Z",
            &day[..4],
            &day[4..6],
            &day[6..],
            &time[..2],
            &time[2..4],
            &time[4..]
        );
        Timestamp::from_rfc3339(&rfc3339).expect("a date in basic format has an RFC 3339 form")
    }
}

#[test]
fn what_botocore_sends_is_accepted_and_nothing_like_it() {
    let recording: Recording = serde_json::from_str(include_str!("fixtures/botocore.json")).unwrap();
    for sent in &recording.requests {
        let headers: Vec<(&str, &[u8])> =
            sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let request = Request {
            method: &sent.method,
            path: &sent.path,
            query: &sent.query,
            headers: &headers,
            body: sent.body.as_bytes(),
        };
        let lookup = |key: &str| {
            (key == recording.access_key_id).then(|| Credential {
                secret_access_key: recording.secret_access_key.clone(),
                session_token: sent.has_token().then(|| recording.session_token.clone()),
                expires_at: None,
            })
        };
        let verified = verify(&request, SCOPE, sent.signed_at(), lookup);
        assert_eq!(verified, Ok(Identity { access_key_id: KEY.to_owned() }), "{}", sent.name);
        let changed = Request { body: b"{\"cluster\":\"other\"}", ..request };
        let refused = verify(&changed, SCOPE, sent.signed_at(), lookup);
        assert_eq!(refused, Err(VerifyError::SignatureMismatch), "{}", sent.name);
    }
    assert!(recording.requests.len() >= 5);
}

/// What `aws-sigv4` adds to a request: headers, or query parameters if it presigns.
struct Signed {
    headers: Vec<(String, String)>,
    query: String,
}

/// Signs `method` `url` with these headers and body.
fn signed(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
    token: Option<&str>,
    location: SignatureLocation,
) -> Signed {
    let identity = Credentials::new(KEY, SECRET, token.map(str::to_owned), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.signature_location = location;
    if location == SignatureLocation::QueryParams {
        settings.expires_in = Some(Duration::from_mins(1));
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(SCOPE.region)
        .name(SCOPE.service)
        .time(moment())
        .settings(settings)
        .build()
        .expect("all parameters are set")
        .into();
    let body = SignableBody::Bytes(body.as_bytes());
    let request = SignableRequest::new(method, url, headers.iter().copied(), body).expect("the URL is one");
    let (instructions, _) = sign(request, &params).expect("the request can be signed").into_parts();
    let mut all: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    all.extend(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut http = http_target(url);
    for (name, value) in instructions.params() {
        http = format!("{http}{}{name}={}", if http.is_empty() { "" } else { "&" }, percent(value));
    }
    Signed { headers: all, query: http }
}

fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_SECONDS)
}

fn http_target(url: &str) -> String {
    url.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default()
}

fn percent(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn lookup(token: Option<&str>) -> impl Fn(&str) -> Option<Credential> {
    move |key| {
        (key == KEY).then(|| Credential {
            secret_access_key: SECRET.to_owned(),
            session_token: token.map(str::to_owned),
            expires_at: None,
        })
    }
}

#[test]
fn what_aws_sigv4_signs_is_accepted() {
    let host = ("host", "127.0.0.1:7070");
    let check = |method, target: &str, more: &[(&str, &str)], body: &str, token, location| {
        let headers = [&[host], more].concat();
        let signed = signed(method, &format!("http://{}{target}", host.1), &headers, body, token, location);
        let headers: Vec<(&str, &[u8])> =
            signed.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let path = target.split('?').next().unwrap_or_default();
        let request =
            Request { method, path, query: &signed.query, headers: &headers, body: body.as_bytes() };
        let verified = verify(&request, SCOPE, moment().into(), lookup(token));
        assert_eq!(verified, Ok(Identity { access_key_id: KEY.to_owned() }), "{method} {target} {token:?}");
    };
    let call = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "AmazonEC2ContainerServiceV20141113.ListClusters"),
        ("x-amz-user-agent", "aws-sdk-rust/1.4.1   os/linux"),
    ];
    for token in [None, Some(TOKEN)] {
        check("POST", "/", &call, "{}", token, SignatureLocation::Headers);
        check("POST", "/", &call, "{\"name\":\"gr\u{fc}n\"}", token, SignatureLocation::Headers);
        for location in [SignatureLocation::Headers, SignatureLocation::QueryParams] {
            check("GET", "/ws", &[], "", token, location);
            check("GET", "/ws?b=DockerVersion%3A%2020&a=arn%3Aaws%3Aecs&a=2&c", &[], "", token, location);
            check("GET", "/a%20b//./c/?x=%C3%BC", &[], "", token, location);
        }
    }
}

#[test]
fn a_signed_telemetry_frame_is_accepted_for_its_own_connection_only() {
    let query = "agentVersion=1&cluster=default&dockerVersion=20.10.24";
    let url = format!("http://127.0.0.1:18081/ws?{query}");
    let json = r#"{"type":"PublishMetricsRequest","message":{"metadata":{"idle":true,"fin":true}}}"#;
    let host = ("host", "127.0.0.1:18081");
    for token in [None, Some(TOKEN)] {
        let signed = signed("GET", &url, &[host], json, token, SignatureLocation::Headers);
        let headers = signed.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let text = frame::compose(headers, json);
        let frame = frame::split(&text).unwrap();
        let check = |query: &str| {
            verify_frame(&frame, "/ws", query, SCOPE, moment().into(), lookup(token))
                .map(|by| by.access_key_id)
        };
        assert_eq!(check(query).as_deref(), Ok(KEY));
        assert_eq!(check("cluster=other"), Err(VerifyError::SignatureMismatch));
        let forged = text.replace("\"idle\":true", "\"idle\":false");
        let forged = frame::split(&forged).unwrap();
        let refused = verify_frame(&forged, "/ws", query, SCOPE, moment().into(), lookup(token));
        assert_eq!(refused, Err(VerifyError::SignatureMismatch));
    }
    let plain = frame::split(json).unwrap();
    let refused = verify_frame(&plain, "/ws", query, SCOPE, moment().into(), lookup(None));
    assert_eq!(refused, Err(VerifyError::Missing));
}
