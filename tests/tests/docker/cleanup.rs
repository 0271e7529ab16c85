//! What a stopped task leaves behind is removed after its time, and nothing else is.

use ecsr_tests::spec::{idle, shell, task};
use ecsr_tests::{Setup, World, wait};
use serde_json::json;

/// The least wait that the agent takes.
fn at_once() -> Setup {
    Setup { agent: vec![("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "1s".to_owned())], ..Setup::default() }
}

#[tokio::test]
async fn containers_and_volumes_of_a_stopped_task_are_removed() {
    let world = World::start_with(at_once()).await;
    let members = json!({"mountPoints": [{"sourceVolume": "scratch", "containerPath": "/s"}]});
    let family = format!("{}-gone", world.cluster);
    let mut definition = task(&family, &[shell("main", "echo x >/s/x", members)]);
    definition["volumes"] = json!([{"name": "scratch", "host": {}}]);
    let kept = world.run(task("kept", &[idle("main", json!({}))])).await;
    world.await_task(&kept, "RUNNING").await;
    let gone = world.run(definition).await;
    world.await_task(&gone, "STOPPED").await;
    wait::until("the stopped task's container and volume to be removed", async || {
        let containers = world.containers_of(&family).await;
        let volumes = world.engine.volumes(&format!("ecs-{family}-")).await;
        if containers.is_empty() && volumes.is_empty() { Ok(()) } else { Err((containers, volumes)) }
    })
    .await;
    assert_eq!(world.inspect(&kept, "main").await["State"]["Running"], true);
    assert_eq!(world.api.task(&gone).await["lastStatus"], "STOPPED", "the API still tells of it");
}

#[tokio::test]
async fn what_stopped_before_the_agent_was_killed_is_removed_by_the_next() {
    let mut world = World::start().await;
    let gone = world.run(task("gone", &[shell("main", "exit 0", json!({}))])).await;
    world.await_task(&gone, "STOPPED").await;
    world.agent.as_mut().expect("the agent runs").kill();
    assert_eq!(world.containers_of("gone").await.len(), 1, "the default wait is hours");
    world.set_agent("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "1s");
    world.start_agent();
    wait::until("the container to be removed", async || {
        let containers = world.containers_of("gone").await;
        if containers.is_empty() { Ok(()) } else { Err(containers) }
    })
    .await;
}
