//! The one place that builds an AWS configuration. Whatever ECS it is that answers, ecsr's or Amazon's, it is
//! reached through the official SDK, so profiles, roles, SSO and `AWS_ENDPOINT_URL_ECS` work as everywhere.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_config::environment::credentials::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_ecs::config::SharedHttpClient;

use crate::context::Context;
use crate::verb::key;

/// How old a key may be that was read from the data directory, where it may be replaced.
const KEY_READ_EVERY: Duration = Duration::from_mins(10);

/// Who answers, as what configures the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The ecsr that `ecsr up` started on this machine.
    Local(Context),
    /// A scheduler behind plain HTTP, whose agent has its keys from variables or from the host: nothing needs TLS.
    Plain { endpoint_url: String, region: Option<String> },
    /// Whatever the AWS configuration of the environment leads to, with the given overrides.
    Configured { endpoint_url: Option<String>, region: Option<String>, profile: Option<String> },
}

/// HTTP over rustls with ring and the host's certificates: no C library to link, nothing to embed.
fn https_client() -> SharedHttpClient {
    use aws_smithy_http_client::{Builder, tls};
    Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
}

/// HTTP alone, which spares a process the memory of all those certificates.
fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_http()
}

/// Loads the SDK configuration for `target`.
pub(crate) async fn load(target: &Target) -> SdkConfig {
    match target {
        Target::Local(context) => local_config(context),
        Target::Plain { endpoint_url, region } => {
            let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
            if let (Some(region), Ok(keys)) = (region, keys_in_environment().await) {
                return with_keys(endpoint_url, region, keys, RetryConfig::standard());
            }
            in_region(loader.endpoint_url(endpoint_url), region.as_ref()).load().await
        }
        Target::Configured { endpoint_url, region, profile } => {
            let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https_client());
            if let Some(url) = endpoint_url {
                loader = loader.endpoint_url(url);
            }
            if let Some(profile) = profile {
                loader = loader.profile_name(profile);
            }
            in_region(loader, region.as_ref()).load().await
        }
    }
}

fn in_region(loader: ConfigLoader, region: Option<&String>) -> ConfigLoader {
    match region {
        Some(region) => loader.region(Region::new(region.clone())),
        None => loader,
    }
}

/// Keys given as variables are all that is needed: no chain of sources is built, or asked, in vain.
async fn keys_in_environment() -> Result<Credentials, CredentialsError> {
    EnvironmentVariableCredentialsProvider::new().provide_credentials().await
}

/// A local ecsr needs no profile files and no instance metadata, whose look-ups would only cost time.
fn local_config(context: &Context) -> SdkConfig {
    let keys = Credentials::from_keys(&context.access_key_id, &context.secret_access_key, None);
    // A scheduler on this machine answers at once or is not there.
    let retries =
        RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50));
    with_keys(&context.endpoint, &context.region, keys, retries)
}

fn with_keys(endpoint_url: &str, region: &str, keys: Credentials, retries: RetryConfig) -> SdkConfig {
    with_provider(endpoint_url, region, SharedCredentialsProvider::new(keys), retries)
}

/// A client of an endpoint that takes the first access key of a data directory, as it is when it is used.
pub(crate) fn with_first_key(endpoint_url: &str, region: &str, data_dir: PathBuf) -> SdkConfig {
    let keys = SharedCredentialsProvider::new(FirstKey { data_dir });
    with_provider(endpoint_url, region, keys, RetryConfig::standard())
}

/// The first access key of a data directory.
#[derive(Debug)]
struct FirstKey {
    data_dir: PathBuf,
}

impl ProvideCredentials for FirstKey {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let read = key::first(&self.data_dir).map_err(CredentialsError::provider_error);
        let until = SystemTime::now() + KEY_READ_EVERY;
        future::ProvideCredentials::ready(
            read.map(|key| Credentials::new(key.id, key.secret, None, Some(until), "data directory")),
        )
    }
}

fn with_provider(
    endpoint_url: &str,
    region: &str,
    keys: SharedCredentialsProvider,
    retries: RetryConfig,
) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client())
        .endpoint_url(endpoint_url)
        .region(Region::new(region.to_owned()))
        .credentials_provider(keys)
        .retry_config(retries)
        .build()
}
