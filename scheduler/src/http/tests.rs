//! The endpoint over a real socket: what is refused before anything else, and in which words.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::keys::{Actions, Scope};
use crate::testing::Running;

#[tokio::test]
async fn a_signed_call_is_answered() {
    let running = Running::start().await;
    let answer = running.call("CreateCluster", r#"{"clusterName":"web"}"#).await;
    assert_eq!((answer.status, &answer.body["cluster"]["clusterName"]), (200, &json!("web")), "{answer:?}");
    assert!(answer.head.contains("content-type: application/x-amz-json-1.1"), "{}", answer.head);
    assert!(answer.head.to_lowercase().contains("x-amzn-requestid: "), "{}", answer.head);
    let answer = running.call("ListClusters", "").await;
    assert_eq!(answer.body["clusterArns"].as_array().map(Vec::len), Some(2), "{answer:?}");
}

#[tokio::test]
async fn agents_are_sent_where_they_came_from() {
    let running = Running::start().await;
    let answer = running.call("DiscoverPollEndpoint", "{}").await;
    let address = running.address;
    let expected = json!({
        "endpoint": format!("http://{address}/acs"),
        "telemetryEndpoint": format!("http://{address}/tcs"),
        "serviceConnectEndpoint": format!("http://{address}/acs"),
    });
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn bad_calls_are_answered_in_the_words_of_ecs() {
    let running = Running::start().await;
    let check = async |operation: &str, body: &str, status: u16, kind: &str, message: &str| {
        let answer = running.call(operation, body).await;
        let found = answer.body["message"].as_str().unwrap_or_default();
        assert_eq!((answer.status, &answer.body["__type"]), (status, &json!(kind)), "{answer:?}");
        assert!(found.contains(message), "{answer:?}");
    };
    check("DeleteCluster", r#"{"cluster":"none"}"#, 400, "ClusterNotFoundException", "Cluster not found.")
        .await;
    check("Fly", "{}", 400, "UnknownOperationException", "").await;
    check("CreateDaemon", "{}", 400, "UnsupportedFeatureException", "CreateDaemon").await;
    check("CreateCluster", r#"{"clusterName":"#, 400, "SerializationException", "").await;
    check("CreateCluster", r#"{"clusterName":7}"#, 400, "SerializationException", "").await;
    check("DescribeClusters", r#"{"clusters":"all"}"#, 400, "SerializationException", "").await;
    let large = format!(r#"{{"clusterName":"{}"}}"#, "a".repeat(1024 * 1024));
    check("CreateCluster", &large, 413, "RequestEntityTooLargeException", "").await;
}

#[tokio::test]
async fn nothing_is_looked_at_without_a_good_signature() {
    let running = Running::start().await;
    let body = br#"{"clusterName":"stolen"}"#;
    let check = async |headers: Vec<(String, String)>, sent: &[u8], kind: &str| {
        let answer = running.send("POST / HTTP/1.1", &headers, sent).await;
        assert_eq!((answer.status, &answer.body["__type"]), (400, &json!(kind)), "{answer:?}");
    };
    let (secret, now) = (running.key.secret.as_str(), SystemTime::now());
    let good = || running.signed(secret, now, "CreateCluster", body);
    let unsigned = good().into_iter().filter(|(name, _)| name != "authorization").collect();
    check(unsigned, body, "MissingAuthenticationTokenException").await;
    check(running.signed("wrong", now, "CreateCluster", body), body, "InvalidSignatureException").await;
    check(good(), br#"{"clusterName":"stolem"}"#, "InvalidSignatureException").await;
    let hour = Duration::from_hours(1);
    check(running.signed(secret, now - hour, "CreateCluster", body), body, "InvalidSignatureException").await;
    let unknown =
        good().into_iter().map(|(name, value)| (name, value.replace(&running.key.id, "AKIANOBODY")));
    check(unknown.collect(), body, "UnrecognizedClientException").await;
    let answer = running.call("ListClusters", "{}").await;
    assert_eq!(
        answer.body["clusterArns"].as_array().map(Vec::len),
        Some(1),
        "nothing was created: {answer:?}"
    );
}

#[tokio::test]
async fn other_paths_and_methods_are_not_there() {
    let running = Running::start().await;
    let host = vec![("host".to_owned(), running.address.to_string())];
    for line in ["GET / HTTP/1.1", "POST /other HTTP/1.1", "DELETE / HTTP/1.1"] {
        let answer = running.send(line, &host, b"").await;
        assert_eq!(
            (answer.status, &answer.body["__type"]),
            (404, &json!("UnknownOperationException")),
            "{line}"
        );
    }
    let answer = running.send("GET /acs/ws HTTP/1.1", &host, b"").await;
    assert_eq!((answer.status, &answer.body["type"]), (403, &json!("AccessDeniedException")));
}

#[tokio::test]
async fn a_key_of_one_cluster_is_refused_on_another() {
    let running = Running::start().await;
    for cluster in ["prod", "dev"] {
        running.ask("CreateCluster", json!({"clusterName": cluster})).await;
    }
    let scope = Scope { clusters: ["prod".to_owned()].into(), actions: Actions::All };
    let key = running.key(scope);
    let call = async |operation: &str, body: serde_json::Value| {
        let answer = running.call_by(&key, operation, &body.to_string()).await;
        (answer.status, answer.body["__type"].as_str().unwrap_or_default().to_owned())
    };
    let denied = (400, "AccessDeniedException".to_owned());
    assert_eq!(call("ListTasks", json!({"cluster": "prod"})).await.0, 200);
    assert_eq!(call("ListTasks", json!({"cluster": "dev"})).await, denied);
    assert_eq!(call("DeleteCluster", json!({"cluster": "dev"})).await, denied);
    assert_eq!(call("ListClusters", json!({})).await, denied);
    let definition =
        json!({"family": "web", "containerDefinitions": [{"name": "web", "image": "web", "memory": 8}]});
    assert_eq!(call("RegisterTaskDefinition", definition).await.0, 200);
    assert_eq!(call("DeregisterTaskDefinition", json!({"taskDefinition": "web:1"})).await, denied);
    let service = json!({"cluster": "dev", "serviceName": "web", "taskDefinition": "web", "desiredCount": 0});
    assert_eq!(call("CreateService", service).await, denied);
    let shown = running.ask("DescribeClusters", json!({"clusters": ["dev"]})).await;
    assert_eq!(
        (&shown["clusters"][0]["status"], &shown["clusters"][0]["activeServicesCount"]),
        (&json!("ACTIVE"), &json!(0)),
        "{shown}"
    );
    running.delete_key(&key);
    assert_eq!(call("ListTasks", json!({"cluster": "prod"})).await.1, "UnrecognizedClientException");
}
