//! The endpoint over a real socket: who is let in, what survives a restart, and that a port which is taken is said.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::{Config, run};

const KEY: (&str, &str) = ("AKIATEST", "secret");

/// A running balancer.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), crate::Error>>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Running {
    async fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, |_| ()).await
    }

    async fn start_with(data_dir: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            data_dir: data_dir.to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            bind: "127.0.0.1".parse().unwrap(),
            dns_name: "localhost".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            instances: BTreeMap::new(),
            keys: Arc::new(|id| (id == KEY.0).then(|| KEY.1.to_owned())),
        };
        change(&mut config);
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let ended = tokio::spawn(run(config, shutdown, ready));
        Self { address: address.await.unwrap(), stop, ended }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }

    fn signed(
        &self,
        key: (&str, &str),
        at: SystemTime,
        target: (&str, &str),
        body: &str,
    ) -> Vec<(String, String)> {
        let identity = Credentials::new(key.0, key.1, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("eu-west-1")
            .name("elasticloadbalancing")
            .time(at)
            .settings(SigningSettings::default())
            .build()
            .unwrap();
        let mut headers = vec![
            ("host".to_owned(), self.address.to_string()),
            ("content-type".to_owned(), "application/x-www-form-urlencoded; charset=utf-8".to_owned()),
        ];
        let (method, path) = target;
        let url = format!("http://{}{path}", self.address);
        let shown = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable =
            SignableRequest::new(method, &url, shown, SignableBody::Bytes(body.as_bytes())).unwrap();
        let (instructions, _) = sign(signable, &params.into()).unwrap().into_parts();
        let (added, _) = instructions.into_parts();
        headers.extend(added.into_iter().map(|header| (header.name().to_owned(), header.value().to_owned())));
        headers
    }

    async fn send(&self, target: (&str, &str), headers: &[(String, String)], body: &str) -> Answer {
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let lines = lines.concat();
        let (method, path) = target;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{lines}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn post(&self, body: &str) -> Answer {
        let headers = self.signed(KEY, SystemTime::now(), ("POST", "/"), body);
        self.send(("POST", "/"), &headers, body).await
    }

    async fn ask(&self, action: &str, parameters: &str) -> String {
        let answer = self.post(&form(action, parameters)).await;
        assert_eq!(answer.status, 200, "{action}: {}", answer.body);
        answer.body
    }
}

fn form(action: &str, parameters: &str) -> String {
    format!("Action={action}&Version=2015-12-01&{parameters}")
}

#[tokio::test]
async fn nothing_is_looked_at_without_a_good_signature() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path()).await;
    let body = form("CreateLoadBalancer", "Name=stolen");
    let check = async |headers: Vec<(String, String)>, sent: &str, code: &str, status: u16| {
        let answer = running.send(("POST", "/"), &headers, sent).await;
        assert_eq!((answer.status, value(&answer.body, "Code")), (status, code), "{}", answer.body);
    };
    let now = SystemTime::now();
    let good = || running.signed(KEY, now, ("POST", "/"), &body);
    let unsigned = good().into_iter().filter(|(name, _)| name != "authorization").collect();
    check(unsigned, &body, "MissingAuthenticationToken", 403).await;
    let forged = running.signed((KEY.0, "wrong"), now, ("POST", "/"), &body);
    check(forged, &body, "SignatureDoesNotMatch", 403).await;
    check(good(), &body.replace("stolen", "stolem"), "SignatureDoesNotMatch", 403).await;
    let old = running.signed(KEY, now - Duration::from_hours(1), ("POST", "/"), &body);
    check(old, &body, "SignatureDoesNotMatch", 403).await;
    let unknown = running.signed(("AKIANOBODY", KEY.1), now, ("POST", "/"), &body);
    check(unknown, &body, "InvalidClientTokenId", 403).await;
    check(good(), &"a".repeat(2 * 1024 * 1024), "RequestEntityTooLarge", 413).await;
    let listed = running.ask("DescribeLoadBalancers", "").await;
    assert_eq!(values(&listed, "LoadBalancerArn"), [""; 0]);
    running.stop().await;
}

#[tokio::test]
async fn answers_are_xml_with_a_request_id() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path()).await;
    let answer = running.post(&form("DescribeLoadBalancers", "")).await;
    assert!(answer.head.contains("content-type: text/xml"), "{}", answer.head);
    let id = value(&answer.body, "RequestId");
    assert!(answer.head.contains(&format!("x-amzn-requestid: {id}")), "{}", answer.head);
    assert!(answer.body.starts_with("<DescribeLoadBalancersResponse xmlns=\"http://elasticloadbalancing."));

    let path = "/?Action=DescribeLoadBalancers&Version=2015-12-01";
    let headers = running.signed(KEY, SystemTime::now(), ("GET", path), "");
    assert_eq!(running.send(("GET", path), &headers, "").await.status, 200);

    for (body, code) in [
        ("Action=DescribeLoadBalancers&Version=2012-06-01", "InvalidAction"),
        ("Action=Fly&Version=2015-12-01", "InvalidAction"),
        ("Version=2015-12-01", "MissingAction"),
        ("Action=CreateLoadBalancer&Action=CreateLoadBalancer", "MalformedQueryString"),
    ] {
        let answer = running.post(body).await;
        assert_eq!((answer.status, value(&answer.body, "Code")), (400, code), "{body}");
    }
    assert_eq!(running.send(("POST", "/other"), &[], "").await.status, 404);
    running.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path()).await;
    let balancer = running.ask("CreateLoadBalancer", "Name=web").await;
    let balancer = value(&balancer, "LoadBalancerArn");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let request = format!(
        "LoadBalancerArn={balancer}&Protocol=HTTP&Port={}&DefaultActions.member.1.Type=fixed-response\
         &DefaultActions.member.1.FixedResponseConfig.StatusCode=200",
        address.port()
    );
    let refused = running.post(&form("CreateListener", &request)).await;
    assert_eq!((refused.status, value(&refused.body, "Code")), (400, "InvalidConfigurationRequest"));
    let message = value(&refused.body, "Message");
    assert!(message.starts_with(&format!("cannot listen on {address}: ")), "{message}");
    let listed = running.ask("DescribeListeners", &format!("LoadBalancerArn={balancer}")).await;
    assert!(!listed.contains("ListenerArn"), "{listed}");
    drop(taken);
    running.ask("CreateListener", &request).await;
    running.stop().await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path()).await;
    let group = running.ask("CreateTargetGroup", "Name=web&Protocol=HTTP&Port=80&TargetType=ip").await;
    let group = value(&group, "TargetGroupArn").to_owned();
    running.ask("RegisterTargets", &format!("TargetGroupArn={group}&Targets.member.1.Id=127.0.0.1")).await;
    let before = running.ask("DescribeTargetGroups", "").await;
    running.stop().await;

    let running = Running::start(dir.path()).await;
    let after = running.ask("DescribeTargetGroups", "").await;
    assert_eq!(value(&after, "TargetGroups"), value(&before, "TargetGroups"));
    let health = running.ask("DescribeTargetHealth", &format!("TargetGroupArn={group}")).await;
    assert_eq!(value(&health, "Id"), "127.0.0.1");
    running.stop().await;
}

#[tokio::test]
async fn a_restart_elsewhere_takes_everything_along() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path()).await;
    let moving = running.ask("CreateLoadBalancer", "Name=moving").await;
    let own = "Name=staying&SubnetMappings.member.1.PrivateIPv4Address=127.0.0.3";
    let staying = running.ask("CreateLoadBalancer", own).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for balancer in [&moving, &staying] {
        let request = format!(
            "LoadBalancerArn={}&Protocol=HTTP&Port={free}&DefaultActions.member.1.Type=fixed-response\
             &DefaultActions.member.1.FixedResponseConfig.StatusCode=200",
            value(balancer, "LoadBalancerArn")
        );
        running.ask("CreateListener", &request).await;
    }
    running.stop().await;

    let elsewhere = |config: &mut Config| {
        config.bind = "127.0.0.2".parse().unwrap();
        config.dns_name = "elsewhere.test".to_owned();
    };
    let running = Running::start_with(dir.path(), elsewhere).await;
    let listed = running.ask("DescribeLoadBalancers", "").await;
    assert_eq!(values(&listed, "DNSName"), ["elsewhere.test"; 2]);
    for address in ["127.0.0.2", "127.0.0.3"] {
        assert!(TcpStream::connect((address, free)).await.is_ok(), "{address}:{free}");
    }
    assert!(TcpStream::connect(("127.0.0.1", free)).await.is_err());
    running.stop().await;
}

#[tokio::test]
async fn a_target_that_has_drained_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path()).await;
    let group = running.ask("CreateTargetGroup", "Name=web&Protocol=HTTP&Port=80&TargetType=ip").await;
    let target = format!("TargetGroupArn={}&Targets.member.1.Id=127.0.0.1", value(&group, "TargetGroupArn"));
    running.ask("RegisterTargets", &target).await;
    running.ask("DeregisterTargets", &target).await;
    // Nothing tells a client of it, so it asks, as the waiter of SDKs does.
    for _ in 0..1000 {
        let health = running.ask("DescribeTargetHealth", &target).await;
        if health.contains("<Reason>Target.NotRegistered</Reason>") {
            running.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the target drains for ever");
}
