//! A whole scheduler in this process, called over its socket by a client that signs as AWS's own do.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::keys::{AccessKey, KeyFile, Scope};
use crate::{Config, run};

const TARGET: &str = "AmazonEC2ContainerServiceV20141113.";

/// How often, and how many times, a test asks for something to happen: 20 seconds in all.
const ASKED_EVERY: Duration = Duration::from_millis(10);
const ASKED_MAX: usize = 2000;

/// A scheduler in this process, stopped when dropped.
pub(crate) struct Running {
    pub address: SocketAddr,
    pub key: AccessKey,
    _stop: oneshot::Sender<()>,
    data_dir: tempfile::TempDir,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// A scheduler that may assume roles.
    pub(crate) async fn start_with(roles: Option<aws_config::SdkConfig>) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let (ready, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let config = Config {
            data_dir: data_dir.path().to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            account: "123456789012".into(),
            region: "us-east-1".into(),
            clusters: vec!["default".into()],
            journal: crate::Store::Embedded,
            reads: crate::Consistency::default(),
            advertise: None,
            roles,
            elb: None,
        };
        tokio::spawn(async move { run(config, async { stopped.await.unwrap_or(()) }, ready).await.unwrap() });
        let address = address.await.expect("the scheduler starts");
        let key = KeyFile::open(data_dir.path()).unwrap().list().unwrap().remove(0);
        Self { address, key, _stop: stop, data_dir }
    }

    /// A further key of that scope.
    pub(crate) fn key(&self, scope: Scope) -> AccessKey {
        KeyFile::open(self.data_dir.path()).unwrap().create("", scope).unwrap()
    }

    /// Takes a key back.
    pub(crate) fn delete_key(&self, key: &AccessKey) {
        KeyFile::open(self.data_dir.path()).unwrap().delete(&key.id).unwrap();
    }

    /// The headers of a signed call.
    pub(crate) fn signed(
        &self,
        secret: &str,
        at: SystemTime,
        operation: &str,
        body: &[u8],
    ) -> Vec<(String, String)> {
        let headers = self.call_headers(operation);
        self.sign((&self.key.id, secret), at, ("POST", "/"), headers, body)
    }

    fn call_headers(&self, operation: &str) -> Vec<(String, String)> {
        vec![
            ("host".to_owned(), self.address.to_string()),
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target".to_owned(), format!("{TARGET}{operation}")),
        ]
    }

    /// The headers of a request for a channel, or of a frame on it.
    pub(crate) fn signed_for(&self, path: &str, body: &[u8]) -> Vec<(String, String)> {
        self.signed_for_by(&self.key, path, body)
    }

    /// The same, with that key.
    pub(crate) fn signed_for_by(&self, key: &AccessKey, path: &str, body: &[u8]) -> Vec<(String, String)> {
        let headers = vec![("host".to_owned(), self.address.to_string())];
        self.sign((&key.id, &key.secret), SystemTime::now(), ("GET", path), headers, body)
    }

    fn sign(
        &self,
        (id, secret): (&str, &str),
        at: SystemTime,
        (method, path): (&str, &str),
        mut headers: Vec<(String, String)>,
        body: &[u8],
    ) -> Vec<(String, String)> {
        let identity = Credentials::new(id, secret, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("ecs")
            .time(at)
            .settings(SigningSettings::default())
            .build()
            .unwrap();
        let shown = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let url = format!("http://{}{path}", self.address);
        let signable = SignableRequest::new(method, &url, shown, SignableBody::Bytes(body)).unwrap();
        let (instructions, _) = sign(signable, &params.into()).unwrap().into_parts();
        let (added, _) = instructions.into_parts();
        headers.extend(added.into_iter().map(|header| (header.name().to_owned(), header.value().to_owned())));
        headers
    }

    /// The body of a call that must succeed.
    pub(crate) async fn ask(&self, operation: &str, body: Value) -> Value {
        let answer = self.call(operation, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{operation}: {answer:?}");
        answer.body
    }

    /// Asks until the answer is as wanted: what a client of the API, which tells nobody anything, has to do.
    pub(crate) async fn until(&self, operation: &str, body: Value, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..ASKED_MAX {
            let answer = self.ask(operation, body.clone()).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(ASKED_EVERY).await;
        }
        panic!("{operation} never answered as wanted")
    }

    pub(crate) async fn call(&self, operation: &str, body: &str) -> Answer {
        self.call_by(&self.key, operation, body).await
    }

    /// A call with that key.
    pub(crate) async fn call_by(&self, key: &AccessKey, operation: &str, body: &str) -> Answer {
        let headers = self.call_headers(operation);
        let signer = (key.id.as_str(), key.secret.as_str());
        let headers = self.sign(signer, SystemTime::now(), ("POST", "/"), headers, body.as_bytes());
        self.send("POST / HTTP/1.1", &headers, body.as_bytes()).await
    }

    pub(crate) async fn send(&self, request_line: &str, headers: &[(String, String)], body: &[u8]) -> Answer {
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let lines = lines.concat();
        let length = body.len();
        let head = format!("{request_line}\r\n{lines}content-length: {length}\r\nconnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
    }
}
