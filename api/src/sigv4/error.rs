//! What can be wrong with a signature, and how AWS words it.
//!
//! The texts are those that clients, and people searching for them, know from AWS.

use crate::ecs::ErrorCode;
use crate::error::ApiError;
use crate::timestamp::Timestamp;

use super::{CLOCK_SKEW_SECONDS_MAX, date};

/// Why a request has no valid signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Neither an `Authorization` header nor a presigned query.
    #[error("Missing Authentication Token")]
    Missing,
    /// More headers, or longer ones, than are looked at.
    #[error("The request's headers or URL are too large.")]
    TooLarge,
    /// Parameters are missing; says which, one sentence each.
    #[error("{0}")]
    Incomplete(String),
    #[error("Unsupported AWS 'algorithm': '{0}'.")]
    Algorithm(String),
    #[error(
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{0}'"
    )]
    CredentialForm(String),
    /// Not 64 lower-case hex digits.
    #[error("Signature must be 64 lower-case hexadecimal digits.")]
    SignatureForm,
    #[error("Date must be in ISO-8601 'basic format'. Got '{0}'. See http://en.wikipedia.org/wiki/ISO_8601")]
    DateForm(String),
    #[error("X-Amz-Expires must be a number of seconds from 1 to 604800, got '{0}'.")]
    ExpiresForm(String),
    #[error("'{0}' must be a 'SignedHeader' in the AWS Authorization.")]
    HeaderNotSigned(&'static str),
    #[error("Credential should be scoped with a valid terminator: 'aws4_request', not '{0}'. ")]
    Terminator(String),
    #[error("Credential should be scoped to a valid region. ")]
    Region,
    #[error("Credential should be scoped to correct service: '{0}'. ")]
    Service(String),
    #[error(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
         '{scope}' != '{}', from '{dated}'.", .dated.get(..8).unwrap_or_default()
    )]
    ScopeDate { scope: String, dated: String },
    /// The access key is not known here.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// A session token is missing, wrong, or sent with a key that has none.
    #[error("The security token included in the request is invalid.")]
    Token,
    #[error("The security token included in the request is expired")]
    TokenExpired,
    /// Seconds since 1970.
    #[error("Signature expired: {}", expired(*.signed, *.now))]
    Expired { signed: i64, now: i64 },
    /// Seconds since 1970.
    #[error("Signature expired: {} is now earlier than {}", moment(*.expired), moment(*.now))]
    PresignedExpired { expired: i64, now: i64 },
    /// Seconds since 1970.
    #[error("Signature not yet current: {}", not_yet(*.signed, *.now))]
    NotYetCurrent { signed: i64, now: i64 },
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    ContentHash,
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details."
    )]
    SignatureMismatch,
}

impl VerifyError {
    /// The name that AWS gives it.
    pub const fn code(&self) -> ErrorCode {
        match self {
            VerifyError::Missing => ErrorCode::MissingAuthenticationTokenException,
            VerifyError::TooLarge => ErrorCode::RequestEntityTooLargeException,
            VerifyError::Incomplete(_)
            | VerifyError::Algorithm(_)
            | VerifyError::CredentialForm(_)
            | VerifyError::SignatureForm
            | VerifyError::DateForm(_)
            | VerifyError::ExpiresForm(_) => ErrorCode::IncompleteSignatureException,
            VerifyError::UnknownKey | VerifyError::Token => ErrorCode::UnrecognizedClientException,
            VerifyError::TokenExpired => ErrorCode::ExpiredTokenException,
            VerifyError::HeaderNotSigned(_)
            | VerifyError::Terminator(_)
            | VerifyError::Region
            | VerifyError::Service(_)
            | VerifyError::ScopeDate { .. }
            | VerifyError::Expired { .. }
            | VerifyError::PresignedExpired { .. }
            | VerifyError::NotYetCurrent { .. }
            | VerifyError::ContentHash
            | VerifyError::SignatureMismatch => ErrorCode::InvalidSignatureException,
        }
    }
}

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        ApiError::new(error.code(), error.to_string())
    }
}

fn moment(seconds: i64) -> String {
    date::format(Timestamp::from_seconds(seconds))
}

fn expired(signed: i64, now: i64) -> String {
    let minutes = CLOCK_SKEW_SECONDS_MAX / 60;
    let earliest = moment(now - CLOCK_SKEW_SECONDS_MAX);
    format!("{} is now earlier than {earliest} ({} - {minutes} min.)", moment(signed), moment(now))
}

fn not_yet(signed: i64, now: i64) -> String {
    let minutes = CLOCK_SKEW_SECONDS_MAX / 60;
    let latest = moment(now + CLOCK_SKEW_SECONDS_MAX);
    format!("{} is still later than {latest} ({} + {minutes} min.)", moment(signed), moment(now))
}
