//! The HTTP client by which this scheduler speaks to others: to etcd, and to the scheduler that leads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

/// How long a connection may take to be made: both are machines of the same network, or they are away.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// A client that keeps its connections.
pub(crate) type Http = Client<HttpsConnector<HttpConnector>, Body>;

/// Whether a client is to speak TLS as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Checked by the certificates of the system.
    WithSystemRoots,
    /// Only plain HTTP: no certificate is read.
    None,
}

impl Tls {
    /// What it takes to reach these URLs.
    pub(crate) fn for_urls<'a>(mut urls: impl Iterator<Item = &'a str>) -> Self {
        if urls.any(|url| url.starts_with("https://")) { Self::WithSystemRoots } else { Self::None }
    }
}

/// A client of its own connections.
pub(crate) fn client(tls: Tls) -> io::Result<Http> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = match tls {
        Tls::WithSystemRoots => HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?,
        Tls::None => HttpsConnectorBuilder::new().with_tls_config(trusting_nobody(provider)),
    };
    let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT);
    Ok(client.build(connector))
}

fn trusting_nobody(provider: Arc<rustls::crypto::CryptoProvider>) -> ClientConfig {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions of TLS")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}
