//! The agent's own HTTP endpoints, on loopback: introspection (port 51678) and task credentials (port 51679).
//!
//! Requests are small and answers short, so this is the least of HTTP/1.1: one GET per connection, a bounded head, no
//! body. A port that is taken, as by another agent on the host, is complained of and done without.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::attend::Inside;
use crate::channel::AGENT_VERSION;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::driver::{Command, Handle};
use crate::engine::{ContainerView, TaskView};

const INTROSPECTION_PORT: u16 = 51678;
const CREDENTIALS_PORT: u16 = 51679;
/// The longest request head: a path and a client's usual headers.
const HEAD_BYTES_MAX: usize = 4096;
/// Connections of one endpoint at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 32;
/// A client that does not finish in this time is cut off.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What an endpoint answers with.
#[derive(Debug, Clone)]
enum Service {
    Introspection { cluster: String, instance: watch::Receiver<String>, driver: Handle },
    Credentials(Credentials),
}

/// An answer: status and JSON.
type Reply = (u16, Value);

/// Starts the endpoints that the settings ask for.
pub(crate) fn spawn(background: &mut JoinSet<()>, config: &Config, inside: &Inside) {
    let introspection = Service::Introspection {
        cluster: config.cluster.clone(),
        instance: inside.instance.clone(),
        driver: inside.driver.clone(),
    };
    background.spawn(serve(INTROSPECTION_PORT, introspection));
    if config.task_iam_role {
        background.spawn(serve(CREDENTIALS_PORT, Service::Credentials(inside.credentials.clone())));
    }
}

async fn serve(port: u16, service: Service) {
    let listener = match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => listener,
        Err(error) => return tracing::warn!("no endpoint on port {port}: {error}"),
    };
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else { continue };
        let service = service.clone();
        tokio::spawn(async move {
            // A client that is slow or gone is its own problem.
            let _ = tokio::time::timeout(REQUEST_TIMEOUT, converse(stream, &service)).await;
            drop(slot);
        });
    }
}

async fn converse(mut stream: TcpStream, service: &Service) -> std::io::Result<()> {
    let (status, body) = match read_target(&mut stream).await? {
        Some(target) => answer(service, &target).await,
        None => (400, json!({"message": "Bad request"})),
    };
    let body = body.to_string();
    let mut head = String::new();
    let _ = write!(
        head,
        "HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The target of a GET; `None` for anything else.
async fn read_target(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut chunk = [0u8; 512];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let count = stream.read(&mut chunk).await?;
        if count == 0 || head.len() + count > HEAD_BYTES_MAX {
            return Ok(None);
        }
        head.extend_from_slice(&chunk[..count]);
    }
    Ok(parse_target(&head))
}

fn parse_target(head: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(head).ok()?;
    let mut words = text.lines().next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    (method == "GET" && target.starts_with('/') && version.starts_with("HTTP/1.")).then(|| target.to_owned())
}

async fn answer(service: &Service, target: &str) -> Reply {
    match service {
        Service::Credentials(credentials) => credentials_reply(credentials, target),
        Service::Introspection { cluster, instance, driver } => match target.split('?').next() {
            Some("/v1/metadata") => {
                let arn = instance.borrow().clone();
                let version = format!("Amazon ECS Agent compatible - ecsr v{AGENT_VERSION}");
                (200, json!({"Cluster": cluster, "ContainerInstanceArn": arn, "Version": version}))
            }
            Some("/v1/tasks") => {
                let tasks = driver.ask(|reply| Command::Views { reply }).await.unwrap_or_default();
                (200, json!({"Tasks": tasks.iter().map(task_json).collect::<Vec<_>>()}))
            }
            _ => (200, json!({"AvailableCommands": ["/v1/metadata", "/v1/tasks"]})),
        },
    }
}

fn task_json(task: &TaskView) -> Value {
    json!({
        "Arn": task.arn,
        "DesiredStatus": task.desired.as_str(),
        "KnownStatus": task.known.as_str(),
        "Family": task.family,
        "Version": task.version,
        "Containers": task.containers.iter().map(container_json).collect::<Vec<_>>(),
    })
}

fn container_json(container: &ContainerView) -> Value {
    json!({"DockerId": container.runtime_id, "Name": container.name, "RestartCount": container.restarts})
}

/// `/v2/credentials/<id>`, in the form that the AWS SDKs read.
fn credentials_reply(credentials: &Credentials, target: &str) -> Reply {
    let failure = |status: u16, code: &str, message: &str| {
        (status, json!({"code": code, "message": message, "HTTPErrorCode": status}))
    };
    let Some(id) = target.strip_prefix("/v2/credentials") else {
        return failure(404, "NotFound", "No such path");
    };
    let id = id.trim_start_matches('/');
    if id.is_empty() {
        return failure(400, "NoIdInRequest", "Credential Request: No Credential ID in the request");
    }
    match credentials.get(id) {
        Some(held) => {
            tracing::info!(role = held.role_arn, "gave credentials to a task");
            let body = json!({
                "RoleArn": held.role_arn,
                "AccessKeyId": held.access_key_id,
                "SecretAccessKey": held.secret_access_key,
                "Token": held.session_token,
                "Expiration": held.expiration,
            });
            (200, body)
        }
        None => failure(400, "InvalidIdInRequest", "Credential Request: ID not found"),
    }
}

#[cfg(test)]
mod tests {
    use ecsr_api::acs::IAMRoleCredentials;

    use super::*;

    #[test]
    fn only_a_plain_get_has_a_target() {
        let cases = [
            ("GET /v1/tasks HTTP/1.1\r\nHost: x\r\n\r\n", Some("/v1/tasks")),
            ("POST /v1/tasks HTTP/1.1\r\n\r\n", None),
            ("GET http://x/ HTTP/1.1\r\n\r\n", None),
            ("GET /\r\n\r\n", None),
            ("\r\n\r\n", None),
        ];
        for (head, expected) in cases {
            assert_eq!(parse_target(head.as_bytes()).as_deref(), expected, "{head:?}");
        }
    }

    #[test]
    fn credentials_are_given_by_id_only() {
        let credentials = Credentials::default();
        credentials.keep(IAMRoleCredentials {
            credentials_id: Some("id".to_owned()),
            access_key_id: Some("AKID".to_owned()),
            ..IAMRoleCredentials::default()
        });
        let cases = [
            ("/v2/credentials/id", 200, "AccessKeyId", "AKID"),
            ("/v2/credentials/other", 400, "code", "InvalidIdInRequest"),
            ("/v2/credentials/", 400, "code", "NoIdInRequest"),
            ("/else", 404, "code", "NotFound"),
        ];
        for (target, status, member, expected) in cases {
            let (found, body) = credentials_reply(&credentials, target);
            assert_eq!((found, body[member].as_str()), (status, Some(expected)), "{target}");
        }
    }
}
