//! Parts that are not there yet, or not any more: the others wait for them, say so, and go on when they come.

use std::os::unix::fs::symlink;

use ecsr_tests::spec::{shell, task};
use ecsr_tests::{Setup, World, wait};
use serde_json::json;

/// Proves that scheduler, agent and engine work together.
async fn prove(world: &World) {
    let arn = world.run(task("proof", &[shell("main", "exit 0", json!({}))])).await;
    world.await_task(&arn, "STOPPED").await;
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
    assert_eq!(world.instances().await, Vec::<serde_json::Value>::new(), "without Docker it is no instance");
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
    let definition = world.register(task("patient", &[ecsr_tests::spec::web()])).await;
    let answer = world.api.call("RunTask", json!({"taskDefinition": definition})).await;
    assert_eq!(answer["failures"][0]["reason"], "AGENT", "{answer:#}");
    world.create_service("patient", &definition, 2, json!({})).await;
    world.start_agent();
    world.await_stable("patient").await;
}
