//! Checking AWS Signature Version 4: who sent a request, and that nobody changed it.
//!
//! The signature may be in the `Authorization` header or in a presigned query; a telemetry frame is checked
//! like a GET with the frame's headers ([`Request`] does not care where they came from). Sans I/O: time and
//! the key store are arguments.
//!
//! Invariants: an identity is returned only if the signature covers method, path, query, body, `host` and
//! the operation's name, was made with the looked-up secret, and is fresh. Secrets, tokens and signatures
//! are compared in constant time. The body's hash is always computed here, never believed: a request that
//! declares another hash, or none (`UNSIGNED-PAYLOAD`), is refused.

mod canonical;
mod claim;
mod date;
mod error;
#[cfg(test)]
mod tests;

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::redacted::Redacted;
use crate::tcs::frame::Frame;
use crate::timestamp::Timestamp;
use claim::{Carrier, Claim};

pub use error::VerifyError;

/// How far a signature's date may be from the receiver's clock, in seconds.
pub const CLOCK_SKEW_SECONDS_MAX: i64 = 15 * 60;
/// The longest validity of a presigned request, in seconds: seven days, as AWS has it.
pub const EXPIRES_SECONDS_MAX: i64 = 7 * 24 * 60 * 60;
/// The most headers that are looked at: SDKs send about a dozen.
pub const HEADERS_MAX: usize = 100;
/// The most bytes of all header names and values together; a session token has some 2 KiB.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;
/// The longest path and query: a presigned query with a session token fits well.
pub const TARGET_BYTES_MAX: usize = 64 * 1024;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";

/// A request as it came over the wire.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// The path of the request line, percent-encoded as received.
    pub path: &'a str,
    /// What follows the `?`, as received; empty without one.
    pub query: &'a str,
    /// In the order received; names in any case.
    pub headers: &'a [(&'a str, &'a [u8])],
    pub body: &'a [u8],
}

/// What a signature must be made for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
}

/// What is known of an access key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub secret_access_key: String,
    /// Set for temporary credentials: the request must carry exactly this token.
    pub session_token: Option<String>,
    /// When temporary credentials end.
    pub expires_at: Option<Timestamp>,
}

/// Who signed a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub access_key_id: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("secret_access_key", &Redacted)
            .field("session_token", &self.session_token.as_ref().map(|_| Redacted))
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// Finds out who signed `request`, or why nobody validly did.
///
/// `lookup` maps an access key id to what is known of it; a disabled key is not known.
///
/// # Errors
/// The first thing that is wrong, in AWS's order: limits, form, scope, key, token, date, body, signature.
pub fn verify(
    request: &Request<'_>,
    scope: Scope<'_>,
    now: Timestamp,
    lookup: impl Fn(&str) -> Option<Credential>,
) -> Result<Identity, VerifyError> {
    check_limits(request)?;
    let claim = Claim::read(request)?;
    check_scope(&claim, scope)?;
    check_signed_headers(request, &claim)?;
    let credential = lookup(&claim.access_key_id).ok_or(VerifyError::UnknownKey)?;
    check_token(&claim, &credential, now)?;
    check_time(&claim, now)?;
    let payload_hash = hex::encode(Sha256::digest(request.body));
    check_declared_hash(request, &payload_hash)?;
    let canonical = canonical::request(request, &claim, &payload_hash)?;
    let expected = signature(&credential.secret_access_key, &claim, &canonical);
    // `claim.signature` has 64 lower-case hex digits, so lengths agree and only the bits are compared.
    if bool::from(expected.as_bytes().ct_eq(claim.signature.as_bytes())) {
        Ok(Identity { access_key_id: claim.access_key_id })
    } else {
        Err(VerifyError::SignatureMismatch)
    }
}

/// As [`verify`], for a frame of the telemetry WebSocket whose URL had that path and raw query: the agent
/// signs each frame as a GET of that URL with the frame's JSON as the body.
///
/// # Errors
/// As [`verify`]; a frame of plain JSON is `Missing` its signature.
pub fn verify_frame(
    frame: &Frame<'_>,
    path: &str,
    query: &str,
    scope: Scope<'_>,
    now: Timestamp,
    lookup: impl Fn(&str) -> Option<Credential>,
) -> Result<Identity, VerifyError> {
    let headers: Vec<(&str, &[u8])> =
        frame.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    if header_of(&headers, "authorization").is_none() {
        return Err(VerifyError::Missing);
    }
    let body = frame.body.as_bytes();
    verify(&Request { method: "GET", path, query, headers: &headers, body }, scope, now, lookup)
}

fn check_limits(request: &Request<'_>) -> Result<(), VerifyError> {
    let header_bytes: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let within = request.headers.len() <= HEADERS_MAX
        && header_bytes <= HEADER_BYTES_MAX
        && request.path.len() + request.query.len() <= TARGET_BYTES_MAX;
    if within { Ok(()) } else { Err(VerifyError::TooLarge) }
}

fn check_scope(claim: &Claim, scope: Scope<'_>) -> Result<(), VerifyError> {
    if claim.terminator != TERMINATOR {
        return Err(VerifyError::Terminator(claim.terminator.clone()));
    }
    if claim.region != scope.region {
        return Err(VerifyError::Region);
    }
    if claim.service != scope.service {
        return Err(VerifyError::Service(scope.service.to_owned()));
    }
    if date::day(claim.signed_at) != claim.day {
        let dated = date::format(claim.signed_at);
        return Err(VerifyError::ScopeDate { scope: claim.day.clone(), dated });
    }
    Ok(())
}

/// What a receiver acts upon must be covered: the host, so that a request for one endpoint is not taken by
/// another, and the operation's name. The date is part of what is signed, and the token is compared itself.
/// Names are sorted and unique, as the algorithm has it: a name repeated would be hashed again each time.
fn check_signed_headers(request: &Request<'_>, claim: &Claim) -> Result<(), VerifyError> {
    if !claim.signed_headers.is_sorted_by(|name, next| name < next) {
        return Err(VerifyError::SignatureMismatch);
    }
    for required in ["host", "x-amz-target"] {
        let present = required == "host" || header(request, required).is_some();
        if present && !claim.signed_headers.iter().any(|name| name == required) {
            return Err(VerifyError::HeaderNotSigned(required));
        }
    }
    Ok(())
}

fn check_token(claim: &Claim, credential: &Credential, now: Timestamp) -> Result<(), VerifyError> {
    match (&credential.session_token, &claim.session_token) {
        (None, None) => {}
        (Some(known), Some(sent)) if bool::from(known.as_bytes().ct_eq(sent.as_bytes())) => {}
        (Some(_), Some(_) | None) | (None, Some(_)) => return Err(VerifyError::Token),
    }
    match credential.expires_at {
        Some(expires_at) if expires_at <= now => Err(VerifyError::TokenExpired),
        Some(_) | None => Ok(()),
    }
}

fn check_time(claim: &Claim, now: Timestamp) -> Result<(), VerifyError> {
    let (signed, now) = (claim.signed_at.seconds(), now.seconds());
    if signed > now + CLOCK_SKEW_SECONDS_MAX {
        return Err(VerifyError::NotYetCurrent { signed, now });
    }
    match claim.carrier {
        Carrier::Header if signed < now - CLOCK_SKEW_SECONDS_MAX => Err(VerifyError::Expired { signed, now }),
        Carrier::Query { expires_seconds } if signed + expires_seconds < now => {
            Err(VerifyError::PresignedExpired { expired: signed + expires_seconds, now })
        }
        Carrier::Header | Carrier::Query { .. } => Ok(()),
    }
}

fn check_declared_hash(request: &Request<'_>, payload_hash: &str) -> Result<(), VerifyError> {
    match header(request, "x-amz-content-sha256") {
        Some(declared) if declared != payload_hash.as_bytes() => Err(VerifyError::ContentHash),
        Some(_) | None => Ok(()),
    }
}

/// The signature that belongs to a canonical request, in hex.
fn signature(secret: &str, claim: &Claim, canonical: &[u8]) -> String {
    let key = signing_key(secret, claim);
    hex::encode(hmac(&key, string_to_sign(claim, canonical).as_bytes()))
}

fn string_to_sign(claim: &Claim, canonical: &[u8]) -> String {
    let Claim { day, region, service, .. } = claim;
    let moment = date::format(claim.signed_at);
    let hash = hex::encode(Sha256::digest(canonical));
    format!("{ALGORITHM}\n{moment}\n{day}/{region}/{service}/{TERMINATOR}\n{hash}")
}

fn signing_key(secret: &str, claim: &Claim) -> [u8; 32] {
    let by_day = hmac(format!("AWS4{secret}").as_bytes(), claim.day.as_bytes());
    let by_region = hmac(&by_day, claim.region.as_bytes());
    let by_service = hmac(&by_region, claim.service.as_bytes());
    hmac(&by_service, TERMINATOR.as_bytes())
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// The first value of a header of the request.
fn header<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    header_of(request.headers, name)
}

fn header_of<'a>(headers: &[(&str, &'a [u8])], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(sent, _)| sent.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}
