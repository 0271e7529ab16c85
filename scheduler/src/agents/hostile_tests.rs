//! Agents and clients that mean harm, or act as if they did: what they do costs them, and nobody else.

use std::time::Duration;

use futures_util::SinkExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::tests::Joined;

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Resolves when the scheduler has closed the connection.
async fn hung_up(stream: &mut TcpStream) {
    let mut ignored = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut ignored)).await;
    // A reset tells as much as an orderly end.
    let _ = closed.expect("the scheduler hangs up");
}

#[tokio::test]
async fn a_huge_frame_is_refused_by_its_length_before_it_has_come() {
    let joined = Joined::start().await;
    let mut agent = joined.agent().await;
    agent.manifest().await;
    let mut other = joined.another_agent().await;
    other.manifest().await;
    // A masked text frame of 100 MB, of which only the head is ever sent.
    let mut head = vec![0x81, 0xff];
    head.extend(100_000_000_u64.to_be_bytes());
    head.extend([0; 4]);
    let stream = agent.stream();
    stream.write_all(&head).await.unwrap();
    hung_up(stream).await;
    other.settle().await;
}

#[tokio::test]
async fn a_flood_of_nonsense_ends_its_own_channel_only() {
    let joined = Joined::start().await;
    let mut agent = joined.agent().await;
    agent.manifest().await;
    let mut other = joined.another_agent().await;
    other.manifest().await;
    let flood = async {
        for _ in 0..10_000 {
            if agent.socket.feed(Message::text("?")).await.is_err() {
                break;
            }
        }
        let _ = agent.socket.flush().await;
    };
    // The answers are read by nobody, so the flood may come to a halt in the kernel's buffers: the scheduler ends it.
    let (flooded, ()) = tokio::join!(tokio::time::timeout(PATIENCE, flood), other.settle());
    flooded.expect("the flood is cut short");
    hung_up(agent.stream()).await;
}

#[tokio::test]
async fn a_flood_of_requests_leaves_the_agents_their_turn() {
    let joined = Joined::start().await;
    let mut agent = joined.agent().await;
    agent.manifest().await;
    let flood = (0..500).map(|number| {
        let running = &joined.running;
        async move { running.ask("CreateCluster", json!({"clusterName": format!("c{}", number % 7)})).await }
    });
    let (answers, ()) = tokio::join!(futures_util::future::join_all(flood), agent.settle());
    assert_eq!(answers.len(), 500);
}

#[tokio::test]
async fn reports_that_are_replayed_or_come_late_change_nothing() {
    let joined = Joined::start().await;
    let mut agent = joined.agent().await;
    agent.manifest().await;
    let task = joined.run_task().await;
    agent.payload().await;
    let report = |status: &str| {
        let container = json!({"containerName": "web", "runtimeId": "a".repeat(64), "status": status});
        json!({"task": task, "status": status, "containers": [container]})
    };
    let shown = async || {
        let answer = joined.running.ask("DescribeTasks", json!({"tasks": [task]})).await;
        (answer["tasks"][0]["lastStatus"].clone(), answer["tasks"][0]["version"].clone())
    };
    joined.running.ask("SubmitTaskStateChange", report("RUNNING")).await;
    let running = shown().await;
    joined.running.ask("SubmitTaskStateChange", report("RUNNING")).await;
    joined.running.ask("SubmitTaskStateChange", report("PENDING")).await;
    assert_eq!(shown().await, running);
    joined.running.ask("SubmitTaskStateChange", report("STOPPED")).await;
    let stopped = shown().await;
    assert_eq!(stopped.0, "STOPPED");
    joined.running.ask("SubmitTaskStateChange", report("RUNNING")).await;
    assert_eq!(shown().await, stopped);
}
