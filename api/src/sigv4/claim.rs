//! What a request says of its own signature, from the `Authorization` header or from a presigned query.
//!
//! Nothing here is believed yet; it is only well-formed: 64 hex digits of signature, five parts of
//! credential, a date that is one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::query;
use crate::timestamp::Timestamp;

use super::{ALGORITHM, EXPIRES_SECONDS_MAX, Request, VerifyError, date, header};

/// The query parameter that holds a presigned request's signature, and is not itself signed.
pub(super) const SIGNATURE_PARAMETER: &str = "X-Amz-Signature";

/// A signature and what it says it is made with.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) carrier: Carrier,
    pub(super) access_key_id: String,
    /// `YYYYMMDD` of the credential scope.
    pub(super) day: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) terminator: String,
    pub(super) signed_at: Timestamp,
    /// Lower-case names, in the order in which they were signed.
    pub(super) signed_headers: Vec<String>,
    /// 64 lower-case hex digits.
    pub(super) signature: String,
    pub(super) session_token: Option<String>,
}

/// Where the signature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Header,
    Query { expires_seconds: i64 },
}

impl Claim {
    /// The claim of a request; the header wins if there are both.
    pub(super) fn read(request: &Request<'_>) -> Result<Self, VerifyError> {
        if let Some(authorization) = header(request, "authorization") {
            return Self::from_header(request, &text(authorization));
        }
        let parameters: BTreeMap<String, String> =
            query::parse_text(request.query).ok_or(VerifyError::TooLarge)?.into_iter().collect();
        let presigned = ["X-Amz-Algorithm", "X-Amz-Credential", SIGNATURE_PARAMETER];
        if presigned.iter().any(|name| parameters.contains_key(*name)) {
            Self::from_query(&parameters)
        } else {
            Err(VerifyError::Missing)
        }
    }

    fn from_header(request: &Request<'_>, authorization: &str) -> Result<Self, VerifyError> {
        let (algorithm, rest) = authorization.trim().split_once(' ').unwrap_or((authorization.trim(), ""));
        check_algorithm(algorithm)?;
        let parameters: BTreeMap<&str, &str> =
            rest.split(',').filter_map(|part| part.trim().split_once('=')).collect();
        let dated = header(request, "x-amz-date").or_else(|| header(request, "date")).map(text);

        let mut missing = String::new();
        for name in ["Credential", "Signature", "SignedHeaders"] {
            if !parameters.contains_key(name) {
                let _ = write!(missing, "Authorization header requires '{name}' parameter. ");
            }
        }
        if dated.is_none() {
            missing +=
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
        }
        let parameter = |name| parameters.get(name).copied();
        match (parameter("Credential"), parameter("Signature"), parameter("SignedHeaders"), dated) {
            (Some(credential), Some(signature), Some(signed_headers), Some(dated)) => {
                let session_token = header(request, "x-amz-security-token").map(text);
                Self::new(Carrier::Header, credential, signature, signed_headers, &dated, session_token)
            }
            _ => Err(VerifyError::Incomplete(missing.trim_end().to_owned())),
        }
    }

    fn from_query(parameters: &BTreeMap<String, String>) -> Result<Self, VerifyError> {
        let require = |name: &str| {
            let missing =
                || VerifyError::Incomplete(format!("AWS query-string parameters must include '{name}'."));
            parameters.get(name).ok_or_else(missing)
        };
        check_algorithm(require("X-Amz-Algorithm")?)?;
        let expires = require("X-Amz-Expires")?;
        let expires_seconds = expires
            .parse()
            .ok()
            .filter(|seconds| (1..=EXPIRES_SECONDS_MAX).contains(seconds))
            .ok_or_else(|| VerifyError::ExpiresForm(expires.clone()))?;
        Self::new(
            Carrier::Query { expires_seconds },
            require("X-Amz-Credential")?,
            require(SIGNATURE_PARAMETER)?,
            require("X-Amz-SignedHeaders")?,
            require("X-Amz-Date")?,
            parameters.get("X-Amz-Security-Token").cloned(),
        )
    }

    fn new(
        carrier: Carrier,
        credential: &str,
        signature: &str,
        signed_headers: &str,
        dated: &str,
        session_token: Option<String>,
    ) -> Result<Self, VerifyError> {
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key_id, day, region, service, terminator] = parts[..] else {
            return Err(VerifyError::CredentialForm(credential.to_owned()));
        };
        if signature.len() != 64 || !signature.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(VerifyError::SignatureForm);
        }
        Ok(Claim {
            carrier,
            access_key_id: access_key_id.to_owned(),
            day: day.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            terminator: terminator.to_owned(),
            signed_at: date::parse(dated).ok_or_else(|| VerifyError::DateForm(dated.to_owned()))?,
            signed_headers: signed_headers.split(';').map(str::to_ascii_lowercase).collect(),
            signature: signature.to_owned(),
            session_token,
        })
    }
}

fn check_algorithm(algorithm: &str) -> Result<(), VerifyError> {
    if algorithm == ALGORITHM { Ok(()) } else { Err(VerifyError::Algorithm(algorithm.to_owned())) }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim().to_owned()
}
