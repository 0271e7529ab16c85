//! Credentials of task roles on their way from STS to an agent. STS is played by a small server of our own, since what
//! matters is what the scheduler makes of its answers.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::http::StatusCode;
use axum::routing::post;
use ecsr_api::acs;
use serde_json::json;

use super::tests::{Agent, Joined};
use crate::testing::Running;

/// Answers AssumeRole: roles named `denied` are refused, all others are granted.
async fn sts(body: String) -> (StatusCode, String) {
    if body.contains("denied") {
        let error = "<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>";
        return (StatusCode::FORBIDDEN, format!("<ErrorResponse>{error}</ErrorResponse>"));
    }
    let credentials = "<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
                       <SessionToken>token</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration>";
    let result = format!("<AssumeRoleResult><Credentials>{credentials}</Credentials></AssumeRoleResult>");
    (StatusCode::OK, format!("<AssumeRoleResponse>{result}</AssumeRoleResponse>"))
}

/// A joined instance of a scheduler that assumes roles.
async fn joined() -> Joined {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, axum::Router::new().route("/", post(sts))).await });
    let keys = Credentials::from_keys("AKIDEXAMPLE", "secret", None);
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build();
    Joined::start_on(Running::start_with(Some(sdk)).await).await
}

async fn run_with_role(joined: &Joined, role: &str) -> String {
    let overrides = json!({"taskRoleArn": format!("arn:aws:iam::123456789012:role/{role}")});
    let answer =
        joined.running.ask("RunTask", json!({"taskDefinition": "web", "overrides": overrides})).await;
    answer["tasks"][0]["taskArn"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// The credentials in the only task of the next payload.
async fn credentials(agent: &mut Agent) -> (Option<String>, acs::IAMRoleCredentials) {
    let payload = agent.payload().await;
    let task = payload.tasks.unwrap().remove(0);
    (payload.message_id, task.role_credentials.expect("the task comes with its credentials"))
}

#[tokio::test]
async fn a_task_is_sent_with_the_credentials_of_its_role() {
    let joined = joined().await;
    let mut agent = joined.agent().await;
    agent.manifest().await;
    run_with_role(&joined, "app").await;
    let (message_id, credentials) = credentials(&mut agent).await;
    assert_eq!(credentials.access_key_id.as_deref(), Some("ASIA"));
    assert_eq!(credentials.session_token.as_deref(), Some("token"));
    assert_eq!(credentials.role_arn.as_deref(), Some("arn:aws:iam::123456789012:role/app"));
    assert_eq!(credentials.expiration.as_deref(), Some("2100-01-01T00:00:00Z"));
    agent.acknowledge(message_id).await;
}

#[tokio::test]
async fn a_new_session_gets_new_credentials_for_what_already_runs() {
    let joined = joined().await;
    let mut agent = joined.agent().await;
    agent.manifest().await;
    let task = run_with_role(&joined, "app").await;
    let (message_id, first) = credentials(&mut agent).await;
    agent.acknowledge(message_id).await;
    agent.settle().await;

    let mut agent = joined.agent().await;
    agent.manifest().await;
    let acs::Message::IAMRoleCredentialsMessage(again) = agent.hear().await else { panic!("no credentials") };
    assert_eq!(again.task_arn, Some(task));
    assert_eq!(again.role_type.as_deref(), Some("TaskApplication"));
    assert_ne!(again.role_credentials.unwrap().credentials_id, first.credentials_id);
}

#[tokio::test]
async fn a_role_that_must_not_be_assumed_ends_the_task_in_the_words_of_ecs() {
    let joined = joined().await;
    let mut agent = joined.agent().await;
    agent.manifest().await;
    let task = run_with_role(&joined, "denied").await;
    let stopped = joined.running.until("DescribeTasks", json!({"tasks": [task]}), |answer| {
        answer["tasks"][0]["lastStatus"] == "STOPPED"
    });
    let stopped = stopped.await["tasks"][0].clone();
    assert_eq!(stopped["stopCode"], "TaskFailedToStart");
    let reason = stopped["stoppedReason"].as_str().unwrap();
    assert!(
        reason.starts_with("ECS was unable to assume the role 'arn:aws:iam::123456789012:role/denied'"),
        "{reason}"
    );
}
