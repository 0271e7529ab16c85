//! Three schedulers at work, with nothing failing: each answers everything, and a change of leader that is wanted is
//! hardly noticed.

use std::time::{Duration, Instant};

use ecsr_tests::ha::Trio;
use ecsr_tests::ha::trio::HOSTS;
use ecsr_tests::{http, process, wait};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_scheduler_answers_and_the_lead_is_handed_over() {
    let Some(mut trio) = Trio::start().await else { return };
    what_one_is_told_all_know(&trio).await;
    agents_find_the_leader(&trio).await;
    keys_count_everywhere(&trio).await;

    let leader = trio.leader().await;
    let began = Instant::now();
    assert!(trio.stop_scheduler(leader), "a leader that is asked to end ends well");
    let other = (leader + 1) % HOSTS;
    let api = trio.api(other);
    wait::until("a write after the lead was given back", async || {
        api.try_call("CreateCluster", json!({"clusterName": "handed-over"})).await
    })
    .await;
    let took: Duration = began.elapsed();
    eprintln!("handing over took {took:.2?}");
    trio.start_scheduler(leader);
    trio.await_all().await;
    let seen = trio.api(leader).call("DescribeClusters", json!({"clusters": ["handed-over"]})).await;
    assert_eq!(seen["clusters"][0]["status"], "ACTIVE", "who comes back knows what happened: {seen:#}");
}

/// Reads at any scheduler hold what any other has acknowledged, at once.
async fn what_one_is_told_all_know(trio: &Trio) {
    for round in 0..HOSTS * 3 {
        let (writer, name) = (round % HOSTS, format!("c{round}"));
        trio.api(writer).call("CreateCluster", json!({"clusterName": name})).await;
        for reader in 0..HOSTS {
            let seen = trio.api(reader).call("DescribeClusters", json!({"clusters": [name]})).await;
            assert_eq!(seen["clusters"][0]["status"], "ACTIVE", "by {writer}, read at {reader}: {seen:#}");
        }
        let refused = trio
            .api(writer)
            .try_call("DeleteCluster", json!({"cluster": "none"}))
            .await
            .expect_err("there is none");
        assert_eq!(refused.code(), "ClusterNotFoundException", "refusals come through as they are");
    }
}

/// Each says the same of where the leader is, and a channel at another one is refused.
async fn agents_find_the_leader(trio: &Trio) {
    let leader = trio.leader().await;
    for host in 0..HOSTS {
        assert_eq!(trio.leader_seen_by(host).await.expect("each knows"), leader);
        if host != leader {
            let answer =
                http::get(&trio.address(host), "/acs/ws?clusterArn=default").await.expect("an answer");
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(answer.text().contains("ServerException"), "{}", answer.text());
        }
    }
}

/// A key works everywhere from the moment it is made, and nowhere soon after it was deleted.
async fn keys_count_everywhere(trio: &Trio) {
    let environment = [("PATH", "PATH"), ("HOME", "HOME")];
    let environment = environment
        .into_iter()
        .filter_map(|(name, variable)| Some((name.to_owned(), std::env::var(variable).ok()?)))
        .collect();
    let journal = trio.journal();
    let run = |args: &[&str]| {
        let args = [&["key"], args, &["--journal", &journal, "--output", "json"]].concat();
        let output = process::run(&args, &environment);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let key = run(&["create", "--description", "robot"]);
    let text = |member: &str| key[member].as_str().unwrap_or_default();
    let credentials =
        aws_credential_types::Credentials::from_keys(text("accessKeyId"), text("secretAccessKey"), None);
    for host in 0..HOSTS {
        let mut api = trio.api(host);
        api.credentials = credentials.clone();
        wait::until("the new key to count", async || api.try_call("ListClusters", json!({})).await).await;
    }
    run(&["delete", text("accessKeyId")]);
    for host in 0..HOSTS {
        let mut api = trio.api(host);
        api.credentials = credentials.clone();
        wait::until("the deleted key to be refused", async || {
            match api.try_call("ListClusters", json!({})).await {
                Err(refused) if refused.code() == "UnrecognizedClientException" => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }
}
