//! A plane with one load balancer and one listener, targets that do what a test wants, and clients.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ecsr_api::Timestamp;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::model::{
    Action, Arn, GroupProtocol, HealthCheck, HealthProtocol, HealthState, INTERVAL_MILLISECONDS, Kind,
    Listener, LoadBalancer, Matcher, Protocol, ProtocolVersion, State, Target, TargetGroup, TargetHealth,
    TargetKey, TargetType, WeightedGroup,
};
use crate::plane::{Drained, Plane};

/// How long a test waits for what has to come: long, for machines that are busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) struct World {
    pub(super) plane: Plane,
    pub(super) drained: mpsc::Receiver<Drained>,
    pub(super) state: State,
}

/// What a client got.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl World {
    /// A listener on a free port that forwards to the group `main`, which has no targets.
    pub(super) fn new(kind: Kind, protocol: Protocol, group: GroupProtocol) -> Self {
        let (plane, drained) = Plane::start();
        let mut world = Self { plane, drained, state: State::default() };
        world.state.load_balancers.insert("lb".into(), Arc::new(balancer(kind)));
        world.state.listeners.insert("listener".into(), Arc::new(listener(protocol)));
        world.add_group("main", group);
        world
    }

    pub(super) fn http() -> Self {
        Self::new(Kind::Application, Protocol::Http, GroupProtocol::Http)
    }

    pub(super) fn tcp() -> Self {
        Self::new(Kind::Network, Protocol::Tcp, GroupProtocol::Tcp)
    }

    pub(super) fn add_group(&mut self, name: &str, protocol: GroupProtocol) {
        self.state.target_groups.insert(name.into(), Arc::new(group(name, protocol)));
    }

    pub(super) fn group(&mut self, name: &str) -> &mut TargetGroup {
        Arc::make_mut(self.state.target_groups.get_mut(name).unwrap())
    }

    pub(super) fn listener(&mut self) -> &mut Listener {
        Arc::make_mut(self.state.listeners.get_mut("listener").unwrap())
    }

    pub(super) fn balancer(&mut self) -> &mut LoadBalancer {
        Arc::make_mut(self.state.load_balancers.get_mut("lb").unwrap())
    }

    pub(super) fn set(&mut self, group: &str, key: &str, value: &str) {
        self.group(group).attributes.insert(key.to_owned(), value.to_owned());
    }

    pub(super) fn register(&mut self, group: &str, address: SocketAddr) {
        let target = Target {
            address: address.ip(),
            availability_zone: None,
            registered_at: Timestamp::default(),
            draining_since: None,
        };
        self.group(group).targets.insert(key(address), target);
    }

    pub(super) fn deregister(&mut self, group: &str, address: SocketAddr) {
        let since = Timestamp::from(std::time::SystemTime::now());
        self.group(group).targets.get_mut(&key(address)).unwrap().draining_since = Some(since);
    }

    pub(super) fn follow(&self) {
        self.plane.follow(Arc::new(self.state.clone()));
    }

    /// Where clients go.
    pub(super) fn address(&self) -> SocketAddr {
        self.plane.plan().local("listener").unwrap()
    }

    pub(super) fn health(&self, group: &str, address: SocketAddr) -> TargetHealth {
        self.plane.health(&self.state.target_groups[group], &key(address))
    }

    /// Waits until a target is in this state.
    pub(super) async fn until(&self, group: &str, address: SocketAddr, state: HealthState) {
        let reached = async {
            while self.health(group, address).state != state {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, reached).await.expect("the target gets there");
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        ask(self.address(), Request::get(path).header("host", "example.com")).await
    }
}

pub(super) fn key(address: SocketAddr) -> TargetKey {
    TargetKey { id: address.ip().to_string().into(), port: address.port() }
}

pub(super) fn forward(groups: &[(&str, u32)], stick_seconds: Option<u32>) -> Action {
    let weighted = |(group, weight): &(&str, u32)| WeightedGroup { group: (*group).into(), weight: *weight };
    Action::Forward { groups: groups.iter().map(weighted).collect(), stick_seconds }
}

fn balancer(kind: Kind) -> LoadBalancer {
    LoadBalancer {
        arn: "lb".into(),
        name: "lb".to_owned(),
        kind,
        scheme: "internal".to_owned(),
        dns_name: "localhost".to_owned(),
        address: LOCALHOST,
        own_address: None,
        subnets: Vec::new(),
        security_groups: Vec::new(),
        ip_address_type: "ipv4".to_owned(),
        attributes: [].into(),
        tags: [].into(),
        created_at: Timestamp::default(),
    }
}

fn listener(protocol: Protocol) -> Listener {
    Listener {
        arn: "listener".into(),
        load_balancer: "lb".into(),
        address: SocketAddr::new(LOCALHOST, 0),
        protocol,
        certificates: Vec::new(),
        ssl_policy: None,
        alpn_policy: None,
        rules: Vec::new(),
        default_action: forward(&[("main", 1)], None),
        default_order: None,
        default_rule: "default".into(),
        default_rule_tags: [].into(),
        attributes: [].into(),
        tags: [].into(),
    }
}

fn group(name: &str, protocol: GroupProtocol) -> TargetGroup {
    let arn: Arn = name.into();
    let interval = (INTERVAL_MILLISECONDS.to_owned(), "50".to_owned());
    TargetGroup {
        arn,
        name: name.to_owned(),
        protocol,
        protocol_version: ProtocolVersion::Http1,
        port: 80,
        target_type: TargetType::Ip,
        vpc_id: None,
        ip_address_type: "ipv4".to_owned(),
        health_check: HealthCheck {
            enabled: true,
            protocol: HealthProtocol::Tcp,
            port: None,
            path: "/health".to_owned(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: Matcher { text: "200".to_owned(), ranges: vec![(200, 200)] },
        },
        attributes: [interval].into(),
        targets: [].into(),
        tags: [].into(),
    }
}

/// An address at which nobody listens.
pub(super) async fn nobody() -> SocketAddr {
    bound().await.1
}

pub(super) async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A target that answers each request with what `answer` makes of it.
pub(super) async fn target<F, R, B>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let (listener, address) = bound().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let answers = service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), answers).with_upgrades());
        }
    });
    address
}

/// The same, over HTTP/2 without TLS.
pub(super) async fn target_http2<F, R, B>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let (listener, address) = bound().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let answers = service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), answers));
        }
    });
    address
}

pub(super) fn text(text: impl Into<String>) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from(text.into())))
}

/// A target that tells its name.
pub(super) async fn named(name: &'static str) -> SocketAddr {
    target(move |_| async move { text(name) }).await
}

/// A request on a connection of its own.
pub(super) async fn ask(address: SocketAddr, request: hyper::http::request::Builder) -> Reply {
    send(address, request.body(Full::default()).unwrap()).await
}

pub(super) async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Reply {
    let mut client = connect(address).await;
    reply(timeout(PATIENCE, client.send_request(request)).await.unwrap().unwrap()).await
}

pub(super) type Client = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

pub(super) async fn connect(address: SocketAddr) -> Client {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    client
}

pub(super) async fn reply(response: Response<Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}
