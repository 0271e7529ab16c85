//! TLS on both sides, HTTP/2 and gRPC.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::header::HeaderMap;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::world::{PATIENCE, World, bound, reply, target, target_http2, text};
use crate::model::{Certificate, GroupProtocol, Kind, Protocol, ProtocolVersion};

/// A certificate for `name` and its key, in files.
fn certificate(directory: &Path, name: &str) -> Certificate {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (chain, key) = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Certificate { arn: name.into(), chain, key }
}

fn with_certificates(mut world: World, names: &[&str]) -> (World, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    world.listener().certificates = names.iter().map(|name| certificate(directory.path(), name)).collect();
    (world, directory)
}

/// A client that trusts the certificates of the listener and nobody else.
async fn connect(world: &World, name: &str, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in &world.state.listeners["listener"].certificates {
        roots.add(CertificateDer::from_pem_file(&certificate.chain).unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(world.address()).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
}

async fn http2(world: &World) -> http2::SendRequest<Full<Bytes>> {
    let stream = connect(world, "a.example.com", &[b"h2"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (client, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

fn https() -> (World, TempDir) {
    let world = World::new(Kind::Application, Protocol::Https, GroupProtocol::Http);
    with_certificates(world, &["a.example.com", "*.example.org"])
}

#[tokio::test]
async fn the_server_name_chooses_the_certificate() {
    let (mut world, _files) = https();
    world.register("main", target(|_| async { text("a") }).await);
    world.follow();
    connect(&world, "a.example.com", &[]).await.unwrap();
    connect(&world, "www.example.org", &[]).await.unwrap();
    let error = connect(&world, "other.example.net", &[]).await.unwrap_err().to_string();
    assert!(error.contains("a.example.com"), "the default is shown: {error}");
}

#[tokio::test]
async fn a_listener_whose_files_make_no_sense_is_not_opened() {
    let (mut world, _files) = https();
    let chain = world.listener().certificates[0].chain.clone();
    std::fs::write(&chain, "nonsense").unwrap();
    let listener = world.state.listeners["listener"].clone();
    let error = world.plane.open(&listener).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn http2_clients_reach_http1_targets() {
    let (mut world, _files) = https();
    let echo = |request: Request<Incoming>| async move {
        assert_eq!(request.version(), Version::HTTP_11);
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let told = ["host", "cookie", "x-forwarded-proto"].map(header).join(" ");
        text(format!("{} {told}", request.uri()))
    };
    world.register("main", target(echo).await);
    world.follow();
    let mut client = http2(&world).await;
    let request = Request::get("https://a.example.com/x?y").header("cookie", "a=1").header("cookie", "b=2");
    let answer = client.send_request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    let host = format!("a.example.com:{}", world.address().port());
    assert_eq!(reply(answer).await.body, format!("/x?y {host} a=1; b=2 https"));
}

#[tokio::test]
async fn grpc_calls_pass_with_their_trailers_and_nothing_else_does() {
    let (mut world, _files) = https();
    let call = |request: Request<Incoming>| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let message = request.into_body().collect().await.unwrap().to_bytes();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", 0.into());
        let body = Full::new(message)
            .with_trailers(async move { Some(Ok::<_, std::convert::Infallible>(trailers)) });
        let mut response = Response::new(body);
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        response
    };
    world.group("main").protocol_version = ProtocolVersion::Grpc;
    world.register("main", target_http2(call).await);
    world.follow();
    let mut client = http2(&world).await;
    let uri = "https://a.example.com/service/Method";
    for _ in 0..3 {
        let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        let answer =
            client.send_request(request.body(Full::new(Bytes::from("hello"))).unwrap()).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap();
        assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(answer.to_bytes(), "hello");
    }
    let get = client.send_request(Request::get(uri).body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(get.status().as_u16(), 464);
}

#[tokio::test]
async fn tls_ends_at_a_network_load_balancer() {
    let world = World::new(Kind::Network, Protocol::Tls, GroupProtocol::Tcp);
    let (mut world, _files) = with_certificates(world, &["a.example.com"]);
    let (listener, address) = bound().await;
    world.listener().alpn_policy = Some("HTTP2Preferred".to_owned());
    world.group("main").health_check.enabled = false;
    world.register("main", address);
    world.follow();
    let mut client = connect(&world, "a.example.com", &[b"http/1.1", b"h2"]).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    client.write_all(b"question").await.unwrap();
    let (mut served, _) = listener.accept().await.unwrap();
    let mut question = [0; 8];
    served.read_exact(&mut question).await.unwrap();
    assert_eq!(&question, b"question");
    served.write_all(b"answer").await.unwrap();
    drop(served);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer");
}

#[tokio::test]
async fn targets_are_reached_by_tls_whatever_their_certificate() {
    let (mut inner, _files) = https();
    inner.register("main", target(|_| async { text("inside") }).await);
    inner.follow();
    let mut outer = World::new(Kind::Application, Protocol::Http, GroupProtocol::Https);
    outer.group("main").health_check.protocol = crate::model::HealthProtocol::Https;
    outer.register("main", inner.address());
    outer.follow();
    outer.until("main", inner.address(), crate::model::HealthState::Healthy).await;
    assert_eq!(outer.get("/").await.body, "inside");
}

#[tokio::test]
async fn certificates_written_anew_are_taken_up() {
    let (mut world, files) = https();
    world.register("main", target(|_| async { text("a") }).await);
    world.follow();
    connect(&world, "a.example.com", &[]).await.unwrap();
    let stale = std::fs::read(&world.listener().certificates[0].chain).unwrap();
    certificate(files.path(), "a.example.com");
    assert_ne!(std::fs::read(&world.listener().certificates[0].chain).unwrap(), stale);
    let file = std::fs::File::options().write(true).open(&world.listener().certificates[0].chain).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    world.plane.plan().reread_certificates();
    connect(&world, "a.example.com", &[]).await.expect("the new certificate is shown");
}
