//! A service keeps its count, whatever happens to its containers and whatever it is asked for.

use std::collections::BTreeSet;

use ecsr_tests::spec::{container, idle, shell, task, web};
use ecsr_tests::{Seen, World, wait};
use serde_json::{Value, json};

/// Registers a one-container family and makes a service of it with `count` tasks, which then run.
async fn service(world: &World, name: &str, count: usize) {
    let definition = world.register(task(name, &[web()])).await;
    world.create_service(name, &definition, count, json!({})).await;
    world.await_stable(name).await;
}

/// The containers of a family that run.
async fn running(world: &World, family: &str) -> BTreeSet<Seen> {
    world.containers_of(family).await.into_iter().filter(|one| one.state == "running").collect()
}

/// Waits until `count` containers of the family run, none of them among `lost`.
async fn await_running(world: &World, family: &str, count: usize, lost: &[&Seen]) -> BTreeSet<Seen> {
    wait::until(&format!("{count} containers of {family}"), async || {
        let seen = running(world, family).await;
        let lost_run = lost.iter().any(|lost| seen.iter().any(|one| one.id == lost.id));
        if seen.len() == count && !lost_run { Ok(seen) } else { Err(seen) }
    })
    .await
}

#[tokio::test]
async fn what_is_killed_or_removed_is_replaced_and_the_rest_left_alone() {
    let world = World::start().await;
    service(&world, "web", 4).await;
    let before = running(&world, "web").await;
    let victims: Vec<&Seen> = before.iter().take(2).collect();
    world.engine.kill(&victims[0].id).await;
    world.engine.remove(&victims[1].id).await;
    let after = await_running(&world, "web", 4, &victims).await;
    let kept: Vec<&Seen> = before.iter().skip(2).collect();
    assert!(kept.iter().all(|one| after.contains(one)), "{before:#?} {after:#?}");
    world.await_stable("web").await;

    let killed = world.await_task(&victims[0].task, "STOPPED").await;
    assert_eq!(killed["containers"][0]["exitCode"], 137, "{killed:#}");
    assert_eq!(killed["stoppedReason"], "Essential container in task exited");
    let removed = world.await_task(&victims[1].task, "STOPPED").await;
    assert_eq!(removed["desiredStatus"], "STOPPED", "{removed:#}");
}

#[tokio::test]
async fn a_stopped_task_of_a_service_is_replaced() {
    let world = World::start().await;
    service(&world, "web", 2).await;
    let before = running(&world, "web").await;
    let victim = before.first().expect("two run");
    world.stop(&victim.task).await;
    let after = await_running(&world, "web", 2, &[victim]).await;
    assert!(after.contains(before.last().expect("two run")));
}

#[tokio::test]
async fn scaling_out_adds_and_scaling_in_removes() {
    let world = World::start().await;
    service(&world, "web", 2).await;
    let two = running(&world, "web").await;
    world.api.call("UpdateService", json!({"service": "web", "desiredCount": 5})).await;
    world.await_stable("web").await;
    let five = running(&world, "web").await;
    assert_eq!(five.len(), 5);
    assert!(two.is_subset(&five));
    world.api.call("UpdateService", json!({"service": "web", "desiredCount": 1})).await;
    world.await_stable("web").await;
    let one = await_running(&world, "web", 1, &[]).await;
    assert!(one.is_subset(&five));
    let stopped = world.api.tasks(json!({"serviceName": "web", "desiredStatus": "STOPPED"})).await;
    assert_eq!(stopped.len(), 4);
    for task in stopped {
        let reason = task["stoppedReason"].as_str().unwrap_or_default();
        assert!(reason.starts_with("Scaling activity initiated by (deployment ecs-svc/"), "{task:#}");
        assert_eq!(task["stopCode"], "ServiceSchedulerInitiated");
    }
}

#[tokio::test]
async fn a_deleted_service_leaves_nothing_running() {
    let world = World::start().await;
    service(&world, "web", 3).await;
    let refused = world.api.try_call("DeleteService", json!({"service": "web"})).await;
    assert_eq!(refused.expect_err("three tasks run").code(), "InvalidParameterException");
    let answer = world.api.call("DeleteService", json!({"service": "web", "force": true})).await;
    assert_eq!(answer["service"]["status"], "DRAINING");
    wait::until("the service to be INACTIVE", async || {
        let seen = world.api.service("web").await;
        if seen["status"] == "INACTIVE" { Ok(()) } else { Err(seen) }
    })
    .await;
    await_running(&world, "web", 0, &[]).await;
}

#[tokio::test]
async fn a_draining_instance_hands_its_tasks_over() {
    let mut world = World::start().await;
    let first = world.await_instance().await;
    service(&world, "web", 3).await;
    let before = running(&world, "web").await;
    world.join_another().await;
    let update = json!({"containerInstances": [first], "status": "DRAINING"});
    let answer = world.api.call("UpdateContainerInstancesState", update).await;
    assert_eq!(answer["containerInstances"][0]["status"], "DRAINING");
    let lost: Vec<&Seen> = before.iter().collect();
    await_running(&world, "web", 3, &lost).await;
    world.await_stable("web").await;
    for task in world.api.tasks(json!({"serviceName": "web"})).await {
        assert_ne!(task["containerInstanceArn"], json!(first), "{task:#}");
    }
    let drained = wait::until("the drained instance to be empty", async || {
        let drained =
            world.instances().await.into_iter().find(|one| one["containerInstanceArn"] == json!(first));
        match drained {
            Some(one) if one["runningTasksCount"] == 0 => Ok(one),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(drained["status"], "DRAINING");
}

#[tokio::test]
async fn a_daemon_runs_once_on_each_instance() {
    let mut world = World::start().await;
    let definition = world.register(task("daemon", &[idle("main", json!({}))])).await;
    let request =
        json!({"serviceName": "daemon", "taskDefinition": definition, "schedulingStrategy": "DAEMON"});
    world.api.call("CreateService", request).await;
    await_running(&world, "daemon", 1, &[]).await;
    world.join_another().await;
    await_running(&world, "daemon", 2, &[]).await;
    let tasks = world.api.tasks(json!({"serviceName": "daemon"})).await;
    let instances: BTreeSet<String> =
        tasks.iter().map(|task| task["containerInstanceArn"].to_string()).collect();
    assert_eq!(instances.len(), 2, "{tasks:#?}");
}

#[tokio::test]
async fn what_does_not_fit_is_an_event_and_runs_once_it_fits() {
    let world = World::start().await;
    let port = ecsr_tests::world::free_port();
    let mapping = json!({"portMappings": [{"containerPort": 8080, "hostPort": port}]});
    let fixed = shell("web", "trap 'exit 0' TERM; httpd -f -p 8080 -h /www & wait $!", mapping);
    let definition = world.register(task("fixed", &[fixed])).await;
    world.create_service("fixed", &definition, 2, json!({})).await;
    let unplaced = wait::until("an event that says why", async || {
        let seen = world.api.service("fixed").await;
        let events: Vec<String> = messages(&seen).filter(|text| text.contains("unable to place")).collect();
        events.into_iter().next().ok_or(seen)
    })
    .await;
    assert!(unplaced.contains("is already using a port required by your task"), "{unplaced}");
    world.api.call("UpdateService", json!({"service": "fixed", "desiredCount": 1})).await;
    world.await_stable("fixed").await;
}

#[tokio::test]
async fn a_service_that_cannot_start_says_so_and_backs_off() {
    let world = World::start().await;
    let broken = container("main", json!({"command": ["/no/such/program"]}));
    let definition = world.register(task("broken", &[broken])).await;
    world.create_service("broken", &definition, 1, json!({})).await;
    let said = wait::until("an event on the failing starts", async || {
        let seen = world.api.service("broken").await;
        let found: Vec<String> =
            messages(&seen).filter(|text| text.contains("unable to consistently")).collect();
        found.into_iter().next().ok_or(seen)
    })
    .await;
    assert!(said.contains("is unable to consistently start tasks successfully"), "{said}");
}

fn messages(service: &Value) -> impl Iterator<Item = String> {
    let events = service["events"].as_array().cloned().unwrap_or_default();
    events.into_iter().map(|event| event["message"].as_str().unwrap_or_default().to_owned())
}
