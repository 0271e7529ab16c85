//! Health checks: what the engine finds is what the API says, at once in both directions, and a service replaces
//! what is sick.

use ecsr_tests::spec::{idle, laid_over, shell, task};
use ecsr_tests::{World, wait};
use serde_json::{Value, json};

/// Healthy while `/tmp/well` exists.
fn check() -> Value {
    json!({"healthCheck": {"command": ["CMD-SHELL", "test -e /tmp/well"], "interval": 5, "timeout": 2, "retries": 1}})
}

/// Waits until the task's `healthStatus` is `status`.
async fn await_health(world: &World, arn: &str, status: &str) -> Value {
    wait::until(&format!("healthStatus {status}"), async || {
        let seen = world.api.task(arn).await;
        if seen["healthStatus"] == status { Ok(seen) } else { Err(seen) }
    })
    .await
}

#[tokio::test]
async fn health_goes_both_ways() {
    let world = World::start().await;
    let script = "touch /tmp/well; trap 'rm /tmp/well' USR1; trap 'exit 0' TERM; \
                  while :; do sleep 3600 & wait $!; done";
    let arn = world.run(task("moody", &[shell("main", script, check())])).await;
    let healthy = await_health(&world, &arn, "HEALTHY").await;
    assert_eq!(healthy["containers"][0]["healthStatus"], "HEALTHY");
    let id = world.inspect(&arn, "main").await["Id"].as_str().unwrap_or_default().to_owned();
    let options = bollard::query_parameters::KillContainerOptionsBuilder::default().signal("USR1").build();
    world.engine.docker().kill_container(&id, Some(options)).await.expect("the container runs");
    let sick = await_health(&world, &arn, "UNHEALTHY").await;
    assert_eq!(sick["lastStatus"], "RUNNING", "a task of no service stays");
}

#[tokio::test]
async fn without_a_check_health_is_unknown() {
    let world = World::start().await;
    let arn = world.run(task("unchecked", &[idle("main", json!({}))])).await;
    let seen = world.await_task(&arn, "RUNNING").await;
    assert_eq!(seen["healthStatus"], "UNKNOWN");
    assert_eq!(seen["containers"][0]["healthStatus"], "UNKNOWN");
}

#[tokio::test]
async fn only_essential_containers_make_a_task_sick() {
    let world = World::start().await;
    let well =
        shell("well", "touch /tmp/well; exec sleep 3600", laid_over(check(), json!({"stopTimeout": 1})));
    let sick = idle("sick", laid_over(check(), json!({"essential": false})));
    let arn = world.run(task("mixed", &[well, sick])).await;
    let seen = wait::until("the sick container to be found", async || {
        let seen = await_health(&world, &arn, "HEALTHY").await;
        let sick = seen["containers"].as_array().into_iter().flatten().find(|one| one["name"] == "sick");
        if sick.is_some_and(|sick| sick["healthStatus"] == "UNHEALTHY") { Ok(seen) } else { Err(seen) }
    })
    .await;
    assert_eq!(seen["healthStatus"], "HEALTHY");
}

#[tokio::test]
async fn a_service_replaces_a_task_that_turned_sick() {
    let world = World::start().await;
    let script = "touch /tmp/well; trap 'rm /tmp/well' USR1; trap 'exit 0' TERM; \
                  while :; do sleep 3600 & wait $!; done";
    let definition = world.register(task("nursed", &[shell("main", script, check())])).await;
    world.create_service("nursed", &definition, 1, json!({})).await;
    world.await_stable("nursed").await;
    let first = world.api.list_tasks(json!({"serviceName": "nursed"})).await.remove(0);
    await_health(&world, &first, "HEALTHY").await;
    let id = world.inspect(&first, "main").await["Id"].as_str().unwrap_or_default().to_owned();
    let options = bollard::query_parameters::KillContainerOptionsBuilder::default().signal("USR1").build();
    world.engine.docker().kill_container(&id, Some(options)).await.expect("the container runs");
    let stopped = world.await_task(&first, "STOPPED").await;
    assert_eq!(stopped["stoppedReason"], "Task failed container health checks", "{stopped:#}");
    world.await_stable("nursed").await;
    let second = world.api.list_tasks(json!({"serviceName": "nursed"})).await;
    assert!(second.len() == 1 && second[0] != first, "{second:?}");
}
