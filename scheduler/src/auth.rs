//! Who is calling: every request, handshake and telemetry frame is checked against the access keys here.
//!
//! Keys are looked up as they are at this moment (see [`crate::keys`]), and nothing of a request is acted upon before
//! its signature was found good. What a key may then be used for is [`crate::access`]'s to say. Refusals are logged at a
//! bounded rate, so that a scanner cannot fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::http::request::Parts;
use ecsr_api::arn::Home;
use ecsr_api::ecs::SIGNING_NAME;
use ecsr_api::sigv4::{self, Credential, VerifyError};
use ecsr_api::tcs::frame::Frame;
use ecsr_api::{ApiError, Timestamp};

use crate::access::{Caller, Denied};
use crate::keys::KeyRing;

/// At most one refusal is logged in this time; the others are counted.
const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(5);

/// Checks signatures against the access keys.
#[derive(Debug)]
pub(crate) struct Authenticator {
    keys: KeyRing,
    home: Home,
    unauthenticated: Refusals,
    denied: Refusals,
}

/// Refusals of one kind, of which some are logged.
#[derive(Debug, Default)]
struct Refusals(Mutex<Logged>);

#[derive(Debug, Default)]
struct Logged {
    at: Option<Instant>,
    others: u64,
}

impl Authenticator {
    pub(crate) fn new(keys: KeyRing, home: Home) -> Self {
        Self { keys, home, unauthenticated: Refusals::default(), denied: Refusals::default() }
    }

    /// Where everything lives that keys are for.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Who signed a request.
    pub(crate) fn request(&self, parts: &Parts, body: &[u8]) -> Result<Caller, VerifyError> {
        let headers: Vec<(&str, &[u8])> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        self.verify(parts, &headers, body)
    }

    /// Whether a key still counts, for connections that outlive the request that opened them.
    pub(crate) fn is_known(&self, access_key_id: &str) -> bool {
        self.keys.keys().get(access_key_id).is_some()
    }

    /// Who signed a telemetry frame on the connection that began with `handshake`.
    pub(crate) fn frame(&self, handshake: &Parts, frame: &Frame<'_>) -> Result<Caller, VerifyError> {
        let headers: Vec<(&str, &[u8])> =
            frame.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        self.verify(handshake, &headers, frame.body.as_bytes())
    }

    fn verify(&self, parts: &Parts, headers: &[(&str, &[u8])], body: &[u8]) -> Result<Caller, VerifyError> {
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
        let scope = sigv4::Scope { region: &self.home.region, service: SIGNING_NAME };
        // The host's own time: a journal that was written while it ran ahead must not lock everybody out.
        let now = Timestamp::from(SystemTime::now());
        match sigv4::verify(&request, scope, now, lookup) {
            Ok(identity) => {
                let scope = keys.get(&identity.access_key_id).map(|key| key.scope.clone());
                let scope = scope.expect("the key was there a moment ago, and these are the same keys");
                Ok(Caller { access_key_id: identity.access_key_id, scope })
            }
            Err(error) => {
                if let Some(others) = self.unauthenticated.note() {
                    tracing::warn!(%error, others, "a request was not authenticated");
                }
                Err(error)
            }
        }
    }

    /// Passes on what was decided of a request, and logs a refusal.
    pub(crate) fn logged(&self, decided: Result<(), Denied>) -> Result<(), ApiError> {
        decided.map_err(|denied| {
            self.log_denied(&denied);
            denied.into()
        })
    }

    /// Logs a refusal of something that its sender may not do.
    pub(crate) fn log_denied(&self, denied: &impl std::fmt::Display) {
        if let Some(others) = self.denied.note() {
            tracing::warn!(%denied, others, "a request was refused");
        }
    }
}

impl Refusals {
    /// Counts one. `Some` if it is to be logged, with how many were not before it.
    fn note(&self) -> Option<u64> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.at.is_some_and(|at| at.elapsed() < REFUSALS_LOGGED_EVERY) {
            logged.others += 1;
            return None;
        }
        let others = logged.others;
        *logged = Logged { at: Some(Instant::now()), others: 0 };
        Some(others)
    }
}
