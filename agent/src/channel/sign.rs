//! SigV4 for what the official client does not send: WebSocket handshakes and telemetry frames, both signed as a
//! GET of the socket's URL for the service `ecs`.

use std::time::SystemTime;

use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, error::CredentialsError,
};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign};
use aws_sigv4::sign::v4;

/// The service that agents sign for.
const SERVICE: &str = "ecs";

/// Why something cannot be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    #[error("no credentials to sign with")]
    Credentials(#[from] CredentialsError),
    #[error("cannot sign")]
    Signing(#[from] SigningError),
}

/// Signs with the agent's credentials, fetched anew each time so that rotated ones are used.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    pub(crate) credentials: SharedCredentialsProvider,
    pub(crate) region: String,
}

impl Signer {
    /// The headers that sign a GET of `url` with this body, `host` among them.
    pub(crate) async fn headers(
        &self,
        url: &str,
        host: &str,
        body: &[u8],
    ) -> Result<Vec<(String, String)>, SignError> {
        let identity = self.credentials.provide_credentials().await?.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .expect("every required member is set");
        let headers = [("host", host)];
        let request = SignableRequest::new("GET", url, headers.into_iter(), SignableBody::Bytes(body))?;
        let (instructions, _) = sign(request, &params.into())?.into_parts();
        let signed = instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(std::iter::once(("Host".to_owned(), host.to_owned())).chain(signed).collect())
    }
}
