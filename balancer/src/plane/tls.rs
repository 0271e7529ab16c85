//! TLS on both sides: a listener's certificates by server name, and connections to targets, whose certificates count
//! for nothing, as with ELB.

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, DEFAULT_VERSIONS, DigitallySignedStruct, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::model::{Certificate, Listener, ProtocolVersion};

/// How long a TLS handshake may take, on either side.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) const HTTP_1: &[u8] = b"http/1.1";
pub(super) const HTTP_2: &[u8] = b"h2";

/// When the files of a listener's certificates were last written.
pub(super) type Written = Vec<Option<SystemTime>>;

/// What a listener needs to speak TLS; reads its files.
pub(super) fn server(listener: &Listener, alpn: Vec<Vec<u8>>) -> io::Result<ServerConfig> {
    let provider = Arc::new(default_provider());
    let keys = listener.certificates.iter().map(|certificate| read(certificate, &provider));
    let keys = keys.collect::<io::Result<Vec<_>>>()?;
    if keys.is_empty() {
        return Err(invalid("a listener with TLS has a certificate"));
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(listener.ssl_policy.as_deref()))
        .map_err(invalid)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(keys)));
    config.ticketer = Ticketer::new().map_err(invalid)?;
    config.alpn_protocols = alpn;
    Ok(config)
}

/// When each of the files was last written.
pub(super) fn written(listener: &Listener) -> Written {
    let of = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    listener
        .certificates
        .iter()
        .flat_map(|certificate| [of(&certificate.chain), of(&certificate.key)])
        .collect()
}

/// Only the policies that begin at TLS 1.3 leave out 1.2; older versions than that are not spoken at all.
fn versions(policy: Option<&str>) -> &'static [&'static SupportedProtocolVersion] {
    const ONLY_1_3: &[&SupportedProtocolVersion] = &[&TLS13];
    if policy.is_some_and(|policy| policy.contains("TLS13-1-3-")) { ONLY_1_3 } else { DEFAULT_VERSIONS }
}

fn read(certificate: &Certificate, provider: &CryptoProvider) -> io::Result<Arc<CertifiedKey>> {
    let told = |path: &Path, error: &dyn fmt::Display| invalid(format!("{}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(&certificate.chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| told(&certificate.chain, &error))?;
    let key =
        PrivateKeyDer::from_pem_file(&certificate.key).map_err(|error| told(&certificate.key, &error))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| told(&certificate.key, &error))?;
    Ok(Arc::new(key))
}

fn invalid(error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{error}"))
}

/// The certificates of a listener, the default first.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| {
            let name = ServerName::try_from(name).ok()?;
            self.0.iter().find(|key| is_for(key, &name))
        });
        named.or(self.0.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

/// How connections to targets speak TLS.
#[derive(Clone)]
pub(super) struct ToTargets {
    http1: TlsConnector,
    http2: TlsConnector,
    any: TlsConnector,
}

impl ToTargets {
    pub(super) fn new() -> Self {
        let connector = |alpn: &[&[u8]]| {
            let provider = Arc::new(default_provider());
            let mut config = ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .expect("the provider knows the default versions of TLS")
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
                .with_no_client_auth();
            config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        Self { http1: connector(&[HTTP_1]), http2: connector(&[HTTP_2]), any: connector(&[]) }
    }

    /// To a target that speaks HTTP.
    pub(super) async fn connect(
        &self,
        version: ProtocolVersion,
        address: IpAddr,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let connector = if version == ProtocolVersion::Http1 { &self.http1 } else { &self.http2 };
        handshake(connector, address, stream).await
    }

    /// To a target that speaks what its clients speak.
    pub(super) async fn connect_raw(
        &self,
        address: IpAddr,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        handshake(&self.any, address, stream).await
    }
}

async fn handshake(
    connector: &TlsConnector,
    address: IpAddr,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    timeout(HANDSHAKE_TIMEOUT, connector.connect(ServerName::from(address), stream)).await?
}

/// Takes any certificate, as ELB does: targets show what they made themselves. Signatures are checked all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
