//! Who is calling: every request, handshake and telemetry frame is checked against the access keys here.
//!
//! Keys are looked up as they are at this moment (see [`crate::keys`]), and nothing of a request is acted upon before
//! its signature was found good. Refusals are logged at a bounded rate, so that a scanner cannot fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::http::request::Parts;
use ecsr_api::Timestamp;
use ecsr_api::ecs::SIGNING_NAME;
use ecsr_api::sigv4::{self, Credential, Identity, Scope, VerifyError};
use ecsr_api::tcs::frame::Frame;

use crate::keys::KeyRing;

/// At most one refusal is logged in this time; the others are counted.
const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(5);

/// Checks signatures against the access keys.
#[derive(Debug)]
pub(crate) struct Authenticator {
    keys: KeyRing,
    region: String,
    refusals: Mutex<Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    logged_at: Option<Instant>,
    unlogged: u64,
}

impl Authenticator {
    pub(crate) fn new(keys: KeyRing, region: String) -> Self {
        Self { keys, region, refusals: Mutex::default() }
    }

    /// Who signed a request.
    pub(crate) fn request(&self, parts: &Parts, body: &[u8]) -> Result<Identity, VerifyError> {
        let headers: Vec<(&str, &[u8])> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        self.verify(parts, &headers, body)
    }

    /// Whether a key still counts, for connections that outlive the request that opened them.
    pub(crate) fn is_known(&self, access_key_id: &str) -> bool {
        self.keys.keys().get(access_key_id).is_some()
    }

    /// Who signed a telemetry frame on the connection that began with `handshake`.
    pub(crate) fn frame(&self, handshake: &Parts, frame: &Frame<'_>) -> Result<Identity, VerifyError> {
        let headers: Vec<(&str, &[u8])> =
            frame.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        self.verify(handshake, &headers, frame.body.as_bytes())
    }

    fn verify(&self, parts: &Parts, headers: &[(&str, &[u8])], body: &[u8]) -> Result<Identity, VerifyError> {
        let request = sigv4::Request {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers,
            body,
        };
        let keys = self.keys.keys();
        let lookup = |id: &str| {
            let key = keys.get(id)?;
            Some(Credential { secret_access_key: key.secret.clone(), session_token: None, expires_at: None })
        };
        let scope = Scope { region: &self.region, service: SIGNING_NAME };
        // The host's own time: a journal that was written while it ran ahead must not lock everybody out.
        let now = Timestamp::from(SystemTime::now());
        let verified = sigv4::verify(&request, scope, now, lookup);
        if let Err(error) = &verified {
            self.log_refusal(error);
        }
        verified
    }

    fn log_refusal(&self, error: &VerifyError) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.logged_at.is_some_and(|at| at.elapsed() < REFUSALS_LOGGED_EVERY) {
            refusals.unlogged += 1;
            return;
        }
        tracing::warn!(%error, others = refusals.unlogged, "a request was not authenticated");
        *refusals = Refusals { logged_at: Some(Instant::now()), unlogged: 0 };
    }
}
