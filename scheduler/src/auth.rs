//! Who is calling: every request, handshake and telemetry frame is checked against the access keys here.
//!
//! Keys are looked up as they are at this moment (see [`crate::keys`]), and nothing of a request is acted upon before
//! its signature was found good. Refusals are logged at a bounded rate, so that a scanner cannot fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use ecsr_api::ecs::SIGNING_NAME;
use ecsr_api::sigv4::{self, Credential, Identity, Scope, VerifyError};
use ecsr_api::tcs::frame::Frame;

use crate::clock::Clock;
use crate::keys::KeyFile;

/// At most one refusal is logged in this time; the others are counted.
const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(5);

/// Checks signatures against the key file.
#[derive(Debug)]
pub(crate) struct Authenticator {
    keys: KeyFile,
    region: String,
    clock: Clock,
    refusals: Mutex<Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    logged_at: Option<Instant>,
    unlogged: u64,
}

impl Authenticator {
    pub(crate) fn new(keys: KeyFile, region: String, clock: Clock) -> Self {
        Self { keys, region, clock, refusals: Mutex::default() }
    }

    /// Who signed a request.
    pub(crate) fn request(&self, parts: &Parts, body: &[u8]) -> Result<Identity, VerifyError> {
        let headers: Vec<(&str, &[u8])> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        self.verify(parts, &headers, body)
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
        let verified = sigv4::verify(&request, scope, self.clock.now(), lookup);
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
