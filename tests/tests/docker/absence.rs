//! Parts that are not there yet, or not any more: the others wait for them, say so, and go on when they come.

use std::os::unix::fs::symlink;

use ecsr_tests::spec::{shell, task, web};
use ecsr_tests::{Setup, World, wait};
use serde_json::{Value, json};

/// Proves that scheduler, agent and engine work together.
async fn prove(world: &World) {
    let arn = world.run(task("proof", &[shell("main", "exit 0", json!({}))])).await;
    world.await_task(&arn, "STOPPED").await;
}

/// When the run of a container began that is its last so far.
async fn started_at(world: &World, id: &str) -> Value {
    world.engine.inspect(id).await["State"]["StartedAt"].take()
}

/// Waits until the agent has said `word`, and is still there.
async fn await_said(world: &mut World, word: &str) {
    let agent = world.agent.as_mut().expect("the agent was started");
    wait::until(&format!("the agent to say {word:?}"), async || {
        let said = agent.said();
        if said.contains(word) { Ok(()) } else { Err(said) }
    })
    .await;
    assert!(agent.is_running(), "it waits");
}

#[tokio::test]
async fn an_agent_waits_for_its_scheduler() {
    let mut world = World::prepare(Setup::default()).await;
    world.start_agent();
    let address = world.api.address.clone();
    await_said(&mut world, &address).await;
    world.start_scheduler().await;
    world.await_instance().await;
    prove(&world).await;
}

#[tokio::test]
async fn an_agent_waits_for_docker() {
    let mut world = World::prepare(Setup::default()).await;
    let socket = world.dir().join("docker.sock");
    world.set_agent("DOCKER_HOST", &format!("unix://{}", socket.display()));
    world.start_scheduler().await;
    world.start_agent();
    await_said(&mut world, &socket.display().to_string()).await;
    assert_eq!(world.instances().await, Vec::<Value>::new(), "without Docker it is no instance");
    symlink("/var/run/docker.sock", &socket).expect("the world's directory is writable");
    world.await_instance().await;
    prove(&world).await;
}

#[tokio::test]
async fn a_scheduler_that_comes_back_finds_its_agent_and_the_other_way_round() {
    let mut world = World::start().await;
    let instance = world.await_instance().await;
    for _ in 0..2 {
        let status = world.scheduler.as_mut().expect("the scheduler runs").end();
        assert!(status.success(), "SIGTERM is a clean end: {status}");
        world.start_scheduler().await;
        assert_eq!(world.await_instance().await, instance);
        prove(&world).await;

        let status = world.agent.as_mut().expect("the agent runs").end();
        assert!(status.success(), "SIGTERM is a clean end: {status}");
        wait::until("the agent to be seen disconnected", async || {
            let instances = world.instances().await;
            if instances[0]["agentConnected"] == false { Ok(()) } else { Err(instances) }
        })
        .await;
        world.start_agent();
        assert_eq!(world.await_instance().await, instance);
        prove(&world).await;
    }
}

#[tokio::test]
async fn a_task_for_an_absent_agent_is_a_failure_and_a_service_waits() {
    let mut world = World::start().await;
    world.agent.as_mut().expect("the agent runs").kill();
    wait::until("the agent to be seen disconnected", async || {
        let instances = world.instances().await;
        if instances[0]["agentConnected"] == false { Ok(()) } else { Err(instances) }
    })
    .await;
    let definition = world.register(task("patient", &[web()])).await;
    let answer = world.api.call("RunTask", json!({"taskDefinition": definition})).await;
    assert_eq!(answer["failures"][0]["reason"], "AGENT", "{answer:#}");
    world.create_service("patient", &definition, 2, json!({})).await;
    world.start_agent();
    world.await_stable("patient").await;
}

#[tokio::test]
async fn while_the_scheduler_is_away_its_services_are_kept_running_and_its_return_changes_nothing() {
    let mut world = World::start().await;
    world.await_instance().await;
    let definition = world.register(task("web", &[web()])).await;
    world.create_service("web", &definition, 2, json!({})).await;
    world.await_stable("web").await;
    let tasks = world.api.list_tasks(json!({"serviceName": "web"})).await;
    world.scheduler.as_mut().expect("the scheduler runs").kill();

    let before = world.containers_of("web").await;
    let victim = &before[0];
    let first_start = started_at(&world, &victim.id).await;
    world.engine.kill(&victim.id).await;
    wait::until("the agent to start what was killed again", async || {
        let seen = world.engine.inspect(&victim.id).await["State"].clone();
        if seen["Running"] == true && seen["StartedAt"] != first_start { Ok(()) } else { Err(seen) }
    })
    .await;
    let starts = [started_at(&world, &before[0].id).await, started_at(&world, &before[1].id).await];

    world.start_scheduler().await;
    world.await_instance().await;
    world.await_stable("web").await;
    assert_eq!(world.api.list_tasks(json!({"serviceName": "web"})).await, tasks, "the same tasks");
    assert_eq!(world.containers_of("web").await, before, "in the same containers");
    let now = [started_at(&world, &before[0].id).await, started_at(&world, &before[1].id).await];
    assert_eq!(now, starts, "which nobody touched again");

    // With a scheduler an end is an end: the task is replaced.
    world.engine.kill(&victim.id).await;
    world.await_task(&victim.task, "STOPPED").await;
    world.await_stable("web").await;
}
