//! Who is calling. Nothing of a request is acted upon before its signature was found good.

use std::fmt;
use std::time::SystemTime;

use axum::http::request::Parts;
use ecsr_api::Timestamp;
use ecsr_api::elbv2::{Error, ErrorCode, SIGNING_NAME};
use ecsr_api::sigv4::{self, Credential, VerifyError};

use crate::Keys;

/// Checks signatures.
#[derive(Clone)]
pub(super) struct Authenticator {
    pub keys: Keys,
    pub region: String,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authenticator").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Whether a request was signed with a key that is known.
    pub(super) fn check(&self, parts: &Parts, body: &[u8]) -> Result<(), Error> {
        let headers: Vec<(&str, &[u8])> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let request = sigv4::Request {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &headers,
            body,
        };
        let scope = sigv4::Scope { region: &self.region, service: SIGNING_NAME };
        let lookup = |id: &str| {
            let secret_access_key = (self.keys)(id)?;
            Some(Credential { secret_access_key, session_token: None, expires_at: None })
        };
        let now = Timestamp::from(SystemTime::now());
        match sigv4::verify(&request, scope, now, lookup) {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "a request was not authenticated");
                Err(Error::new(code(&error), error.to_string()))
            }
        }
    }
}

/// What the Query services of AWS call it. A signature that is too old is a wrong one to them.
fn code(error: &VerifyError) -> ErrorCode {
    match error {
        VerifyError::Missing => ErrorCode::MissingAuthenticationToken,
        VerifyError::TooLarge => ErrorCode::RequestEntityTooLarge,
        VerifyError::Incomplete(_)
        | VerifyError::Algorithm(_)
        | VerifyError::CredentialForm(_)
        | VerifyError::SignatureForm
        | VerifyError::DateForm(_)
        | VerifyError::ExpiresForm(_) => ErrorCode::IncompleteSignature,
        VerifyError::UnknownKey | VerifyError::Token => ErrorCode::InvalidClientTokenId,
        VerifyError::TokenExpired => ErrorCode::ExpiredToken,
        VerifyError::HeaderNotSigned(_)
        | VerifyError::Terminator(_)
        | VerifyError::Region
        | VerifyError::Service(_)
        | VerifyError::ScopeDate { .. }
        | VerifyError::Expired { .. }
        | VerifyError::PresignedExpired { .. }
        | VerifyError::NotYetCurrent { .. }
        | VerifyError::ContentHash
        | VerifyError::SignatureMismatch => ErrorCode::SignatureDoesNotMatch,
    }
}
