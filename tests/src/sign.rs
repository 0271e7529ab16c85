//! SigV4 for very many small requests from one key: the signing key is derived once a day, and only the headers that
//! a scheduler insists on are signed.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

const SERVICE: &str = "ecs";

/// Signs as one access key.
#[derive(Debug)]
pub struct Signer {
    credentials: Credentials,
    region: String,
    /// The key of a day, by that day.
    key: Mutex<(String, Vec<u8>)>,
}

impl Signer {
    pub fn new(credentials: Credentials, region: &str) -> Self {
        Self { credentials, region: region.to_owned(), key: Mutex::default() }
    }

    /// The header lines `host`, `x-amz-date`, `x-amz-target` where there is one, and `authorization`. The query must
    /// be in canonical form.
    pub fn headers(
        &self,
        (method, path, query): (&str, &str, &str),
        host: &str,
        target: Option<&str>,
        body: &[u8],
    ) -> Vec<(&'static str, String)> {
        let moment = moment();
        let day = &moment[..8];
        let mut headers = vec![("host", host.to_owned()), ("x-amz-date", moment.clone())];
        headers.extend(target.map(|target| ("x-amz-target", target.to_owned())));
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut canonical = format!("{method}\n{path}\n{query}\n");
        for (name, value) in &headers {
            let _ = writeln!(canonical, "{name}:{value}");
        }
        let _ = write!(canonical, "\n{names}\n{}", hex::encode(Sha256::digest(body)));
        let scope = format!("{day}/{}/{SERVICE}/aws4_request", self.region);
        let hash = hex::encode(Sha256::digest(&canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hash}");
        let signature = calculate_signature(self.key_of(day), to_sign.as_bytes());
        let id = self.credentials.access_key_id();
        headers.push((
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"),
        ));
        headers
    }

    fn key_of(&self, day: &str) -> Vec<u8> {
        let mut cached = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.0 != day {
            let secret = self.credentials.secret_access_key();
            let key = generate_signing_key(secret, SystemTime::now(), &self.region, SERVICE);
            *cached = (day.to_owned(), key.as_ref().to_vec());
        }
        cached.1.clone()
    }
}

/// `20260131T235959Z`
fn moment() -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    OffsetDateTime::now_utc().format(format).expect("the format has all that it needs")
}
