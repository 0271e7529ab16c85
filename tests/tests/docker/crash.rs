//! `kill -9` at any moment of a start of fourteen tasks: of the scheduler, of the agent, of both, and of the agent
//! together with its data directory. When they are back, fourteen tasks run, in fourteen containers, none doubled,
//! and what ran at the moment of the crash runs on as it was.
//!
//! Moments are events of the start (the call acknowledged, the n-th container made or started, the n-th task
//! reported), so they are spread over it however fast the machine is. A seed stands for a victim and a moment;
//! `ECSR_CRASH_SEEDS=100..140` tries others than the usual ones.

use std::collections::BTreeMap;
use std::ops::Range;

use ecsr_tests::spec::{shell, task, web};
use ecsr_tests::{World, engine, wait};
use serde_json::{Value, json};

/// The tasks of the start.
const COUNT: usize = 14;

/// The usual seeds.
const SEEDS: Range<u64> = 0..20;

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Scheduler,
    Agent,
    /// And all that it kept on disk, once a container exists whose labels remember it.
    AgentAndItsData,
    Both,
}

/// When, as seen from outside.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// `CreateService` was answered.
    Acknowledged,
    /// The engine has made so many containers.
    Created(usize),
    /// The engine has started so many containers.
    Started(usize),
    /// So many tasks are RUNNING to the API.
    Running(usize),
}

/// The victim and the moment that `seed` stands for.
fn plan(seed: u64) -> (Victim, Moment) {
    let mut state = seed;
    // SplitMix64: neighbouring seeds give unrelated plans.
    let mut draw = |below: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below).expect("a small number")
    };
    let victim = [Victim::Scheduler, Victim::Agent, Victim::AgentAndItsData, Victim::Both][draw(4)];
    let nth = 1 + draw(COUNT as u64);
    let moment =
        [Moment::Acknowledged, Moment::Created(nth), Moment::Started(nth), Moment::Running(nth)][draw(4)];
    match (victim, moment) {
        (Victim::AgentAndItsData, Moment::Acknowledged) => (victim, Moment::Created(1)),
        plan => plan,
    }
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("ECSR_CRASH_SEEDS") else { return SEEDS };
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.expect("ECSR_CRASH_SEEDS has the form 100..140")
}

/// Creates service `name` of [`COUNT`] tasks and returns at `moment` of its start.
async fn start_until(world: &World, name: &str, moment: Moment) {
    let definition = world.register(task(name, &[web()])).await;
    let mut events = world.engine.events(&world.cluster, name);
    world.create_service(name, &definition, COUNT, json!({})).await;
    let (action, nth) = match moment {
        Moment::Acknowledged => return,
        Moment::Created(nth) => ("create", nth),
        Moment::Started(nth) => ("start", nth),
        Moment::Running(nth) => return await_running(world, name, nth).await,
    };
    let mut seen = 0;
    while seen < nth {
        let event = engine::next(&mut events).await;
        seen += usize::from(event.action.as_deref() == Some(action));
    }
}

async fn await_running(world: &World, name: &str, count: usize) {
    wait::until(&format!("{count} tasks RUNNING"), async || {
        let running = world.api.service(name).await["runningCount"].as_u64().unwrap_or_default();
        if running >= count as u64 { Ok(()) } else { Err(running) }
    })
    .await;
}

/// The running containers of a family and since when each runs.
async fn running_since(world: &World, family: &str) -> BTreeMap<String, String> {
    let mut since = BTreeMap::new();
    for container in world.containers_of(family).await {
        let state = world.engine.inspect(&container.id).await["State"].take();
        if state["Running"] == true {
            since.insert(container.id, state["StartedAt"].as_str().unwrap_or_default().to_owned());
        }
    }
    since
}

fn kill(world: &mut World, victim: Victim) {
    if !matches!(victim, Victim::Scheduler) {
        world.agent.as_mut().expect("the agent runs").kill();
    }
    if matches!(victim, Victim::Scheduler | Victim::Both) {
        world.scheduler.as_mut().expect("the scheduler runs").kill();
    }
    if matches!(victim, Victim::AgentAndItsData) {
        std::fs::remove_dir_all(world.agent_dir()).expect("the agent has a data directory");
    }
}

async fn restart(world: &mut World, victim: Victim) {
    if !matches!(victim, Victim::Scheduler) {
        world.start_agent();
    }
    if matches!(victim, Victim::Scheduler | Victim::Both) {
        world.start_scheduler().await;
    }
}

/// A task that runs to its end through everything: whatever was under way before it has been dealt with after it.
/// An agent that was just killed counts as connected until its scheduler notices, so the task may find none at first.
async fn settle(world: &World) {
    let definition = world.register(task("settled", &[shell("main", "exit 0", json!({}))])).await;
    let arn = wait::until("a task to be placed", async || {
        let answer = world.api.call("RunTask", json!({"taskDefinition": definition})).await;
        answer["tasks"][0]["taskArn"].as_str().map(str::to_owned).ok_or(answer)
    })
    .await;
    world.await_task(&arn, "STOPPED").await;
}

/// There are exactly [`COUNT`] tasks of service `name`, and exactly one running container for each.
async fn assert_whole(world: &World, name: &str, before: &BTreeMap<String, String>) {
    let tasks = world.api.tasks(json!({"serviceName": name})).await;
    let running = tasks.iter().filter(|task| task["lastStatus"] == "RUNNING").count();
    assert_eq!((tasks.len(), running), (COUNT, COUNT), "{tasks:#?}");
    let stopped = world.api.tasks(json!({"serviceName": name, "desiredStatus": "STOPPED"})).await;
    assert_eq!(stopped, Vec::<Value>::new(), "no task was given up");

    let containers = world.containers_of(name).await;
    assert!(containers.iter().all(|one| one.state == "running"), "{containers:#?}");
    let mut in_engine: Vec<&str> = containers.iter().map(|one| one.task.as_str()).collect();
    let mut in_api: Vec<&str> = tasks.iter().filter_map(|task| task["taskArn"].as_str()).collect();
    in_engine.sort_unstable();
    in_api.sort_unstable();
    assert_eq!(in_engine, in_api, "one container for each task");

    let after = running_since(world, name).await;
    for (id, since) in before {
        assert_eq!(after.get(id), Some(since), "a container that ran at the crash runs on untouched");
    }
}

/// Removes service `name` with its containers, so that the next round has the engine for itself.
async fn clear(world: &World, name: &str) {
    world.api.call("DeleteService", json!({"service": name, "force": true})).await;
    wait::until("the service to be INACTIVE", async || {
        let seen = world.api.service(name).await;
        if seen["status"] == "INACTIVE" { Ok(()) } else { Err(seen) }
    })
    .await;
    wait::until("its tasks to be STOPPED", async || {
        let left: Vec<_> =
            world.containers_of(name).await.into_iter().filter(|one| one.state == "running").collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    for container in world.containers_of(name).await {
        world.engine.remove(&container.id).await;
    }
}

#[tokio::test]
async fn a_start_survives_kill_9_at_any_moment() {
    let mut world = World::start().await;
    let instance = world.await_instance().await;
    for seed in seeds() {
        let (victim, moment) = plan(seed);
        println!("seed {seed}: kill {victim:?} at {moment:?}");
        let name = format!("seed-{seed}");
        start_until(&world, &name, moment).await;
        kill(&mut world, victim);
        let before = running_since(&world, &name).await;
        restart(&mut world, victim).await;
        assert_eq!(world.await_instance().await, instance, "it is the same instance");
        world.await_stable(&name).await;
        settle(&world).await;
        assert_whole(&world, &name, &before).await;
        clear(&world, &name).await;
    }
}

/// A service of [`COUNT`] tasks that all run; answers since when.
async fn steady(world: &World) -> BTreeMap<String, String> {
    start_until(world, "web", Moment::Running(COUNT)).await;
    world.await_stable("web").await;
    running_since(world, "web").await
}

/// Waits until [`COUNT`] containers of `web` run, each of the `lost` replaced or, by an agent whose scheduler was away,
/// started again, and asserts that all others are untouched.
async fn assert_made_up_for(world: &World, before: &BTreeMap<String, String>, lost: &[String]) {
    let after = wait::until("the lost containers to be made up for", async || {
        let after = running_since(world, "web").await;
        let whole = after.len() == COUNT && lost.iter().all(|id| after.get(id) != before.get(id));
        if whole { Ok(after) } else { Err(after) }
    })
    .await;
    world.await_stable("web").await;
    settle(world).await;
    for (id, since) in before.iter().filter(|(id, _)| !lost.contains(id)) {
        assert_eq!(after.get(id), Some(since), "a container that was not lost is untouched");
    }
    assert_eq!(running_since(world, "web").await, after);
}

#[tokio::test]
async fn nothing_happens_to_what_runs_when_everything_else_is_killed() {
    let mut world = World::start().await;
    let before = steady(&world).await;
    for victim in [Victim::Scheduler, Victim::Agent, Victim::AgentAndItsData, Victim::Both] {
        println!("kill {victim:?}");
        kill(&mut world, victim);
        restart(&mut world, victim).await;
        world.await_instance().await;
        world.await_stable("web").await;
        settle(&world).await;
        assert_whole(&world, "web", &before).await;
    }
}

#[tokio::test]
async fn containers_lost_while_nobody_looked_are_made_up_for() {
    let mut world = World::start().await;
    let mut before = steady(&world).await;
    for victim in [Victim::Scheduler, Victim::Agent, Victim::AgentAndItsData, Victim::Both] {
        println!("kill {victim:?}");
        kill(&mut world, victim);
        let lost: Vec<String> = before.keys().take(3).cloned().collect();
        world.engine.kill(&lost[0]).await;
        world.engine.remove(&lost[1]).await;
        world.engine.remove(&lost[2]).await;
        restart(&mut world, victim).await;
        world.await_instance().await;
        assert_made_up_for(&world, &before, &lost).await;
        before = running_since(&world, "web").await;
    }
}

#[tokio::test]
async fn an_acknowledged_write_survives() {
    let mut world = World::start().await;
    for round in 1..=5 {
        let arn = world.register(task("kept", &[web()])).await;
        world.scheduler.as_mut().expect("the scheduler runs").kill();
        world.start_scheduler().await;
        let seen = world.api.call("DescribeTaskDefinition", json!({"taskDefinition": arn})).await;
        assert_eq!(seen["taskDefinition"]["revision"], round);
    }
    world.await_instance().await;
    let definition = world.register(task("stopped", &[web()])).await;
    let answer = world.api.call("RunTask", json!({"taskDefinition": definition, "count": 3})).await;
    let tasks: Vec<&str> = answer["tasks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|task| task["taskArn"].as_str())
        .collect();
    world.await_task(tasks[0], "RUNNING").await;
    for task in &tasks {
        world.stop(task).await;
    }
    world.scheduler.as_mut().expect("the scheduler runs").kill();
    world.start_scheduler().await;
    for task in tasks {
        let stopped = world.await_task(task, "STOPPED").await;
        assert_eq!(stopped["stopCode"], "UserInitiated", "{stopped:#}");
    }
}
