//! `dependsOn`: containers start in the order that their conditions ask for, and a condition that can never be
//! met ends the task with a reason instead of leaving it hanging.

use ecsr_tests::spec::{idle, laid_over, shell, task};
use ecsr_tests::{World, wait};
use serde_json::{Value, json};

fn after(container: &str, condition: &str) -> Value {
    json!({"dependsOn": [{"containerName": container, "condition": condition}]})
}

/// Container `name` of a described task.
fn part<'a>(task: &'a Value, name: &str) -> &'a Value {
    let found = task["containers"].as_array().into_iter().flatten().find(|one| one["name"] == name);
    found.unwrap_or(&Value::Null)
}

/// `StartedAt` and `FinishedAt` of container `name`; the engine's RFC 3339 times in UTC sort as text.
async fn times(world: &World, task: &str, name: &str) -> (String, String) {
    let state = world.inspect(task, name).await["State"].take();
    let text = |member: &str| state[member].as_str().unwrap_or_default().to_owned();
    (text("StartedAt"), text("FinishedAt"))
}

/// Whether container `name` ever ran; the engine's word for never is the year one.
async fn has_started(world: &World, task: &str, name: &str) -> bool {
    let (started, _) = times(world, task, name).await;
    !started.is_empty() && !started.starts_with("0001-")
}

#[tokio::test]
async fn each_condition_is_met_before_the_next_container_starts() {
    let world = World::start().await;
    let not_essential = json!({"essential": false});
    let healthy = json!({"healthCheck": {
        "command": ["CMD-SHELL", "test -e /tmp/ready"], "interval": 5, "timeout": 2, "retries": 10,
    }});
    let ready_later = "trap 'exit 0' TERM; sleep 1; touch /tmp/ready; while :; do sleep 3600 & wait $!; done";
    let first = |name, script| shell(name, script, not_essential.clone());
    for (condition, first, ends_first) in [
        ("START", idle("first", not_essential.clone()), false),
        ("COMPLETE", first("first", "sleep 1; exit 3"), true),
        ("SUCCESS", first("first", "sleep 1"), true),
        ("HEALTHY", shell("first", ready_later, laid_over(not_essential.clone(), healthy)), false),
    ] {
        let definition = task(&condition.to_lowercase(), &[idle("second", after("first", condition)), first]);
        let arn = world.run(definition).await;
        let seen = world.await_task(&arn, "RUNNING").await;
        let (first, second) = (times(&world, &arn, "first").await, times(&world, &arn, "second").await);
        assert!(first.0 < second.0, "{condition}: {first:?} {second:?}");
        if ends_first {
            assert!(first.1 <= second.0, "{condition}: {first:?} {second:?}");
            assert_eq!(part(&seen, "first")["lastStatus"], "STOPPED", "{condition}");
        }
        if condition == "HEALTHY" {
            assert_eq!(world.inspect(&arn, "first").await["State"]["Health"]["Status"], "healthy");
        }
        world.stop(&arn).await;
    }
}

#[tokio::test]
async fn a_chain_starts_forwards_and_stops_backwards() {
    let world = World::start().await;
    let containers = [
        idle("web", after("cache", "START")),
        idle("cache", after("database", "START")),
        idle("database", json!({})),
    ];
    let arn = world.run(task("chain", &containers)).await;
    world.await_task(&arn, "RUNNING").await;
    world.stop(&arn).await;
    world.await_task(&arn, "STOPPED").await;
    let (web, cache, database) = (
        times(&world, &arn, "web").await,
        times(&world, &arn, "cache").await,
        times(&world, &arn, "database").await,
    );
    assert!(database.0 < cache.0 && cache.0 < web.0, "{database:?} {cache:?} {web:?}");
    assert!(web.1 < cache.1 && cache.1 < database.1, "{database:?} {cache:?} {web:?}");
}

#[tokio::test]
async fn a_condition_that_cannot_be_met_ends_the_task_with_a_reason() {
    let world = World::start().await;
    let sick = json!({"essential": false, "healthCheck": {
        "command": ["CMD-SHELL", "false"], "interval": 5, "timeout": 2, "retries": 1,
    }});
    let slow = json!({"essential": false, "startTimeout": 2});
    for (family, condition, first) in [
        ("not-successful", "SUCCESS", shell("first", "exit 3", json!({"essential": false}))),
        ("never-healthy", "HEALTHY", idle("first", laid_over(sick, json!({"startTimeout": 7})))),
        ("never-complete", "COMPLETE", idle("first", slow)),
        (
            "never-started",
            "START",
            laid_over(
                idle("first", json!({"essential": false})),
                json!({"image": "ecsr-test/absent:latest"}),
            ),
        ),
    ] {
        let definition = task(family, &[idle("second", after("first", condition)), first]);
        let arn = world.run(definition).await;
        let stopped = world.await_task(&arn, "STOPPED").await;
        let second = part(&stopped, "second");
        assert_eq!(second["lastStatus"], "STOPPED", "{family}: {stopped:#}");
        let said = |of: &Value, member: &str| of[member].as_str().unwrap_or_default().to_owned();
        let reasons = said(second, "reason")
            + &said(part(&stopped, "first"), "reason")
            + &said(&stopped, "stoppedReason");
        assert!(reasons.contains("first") || reasons.contains("Cannot"), "{family}: {stopped:#}");
        assert!(!has_started(&world, &arn, "second").await, "{family}");
        wait::until("nothing of the task to run", async || {
            let running: Vec<_> = world
                .containers()
                .await
                .into_iter()
                .filter(|one| one.task == arn && one.state == "running")
                .collect();
            if running.is_empty() { Ok(()) } else { Err(running) }
        })
        .await;
    }
}
