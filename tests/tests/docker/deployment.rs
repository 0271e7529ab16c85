//! Rolling updates, watched from outside: at no moment do fewer containers run than the minimum allows, or more
//! than the maximum.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::RangeInclusive;
use std::path::Path;
use std::pin::pin;

use ecsr_tests::spec::{container, laid_over, task, web};
use ecsr_tests::{World, wait};
use serde_json::{Value, json};

/// Counts the containers of a family, of all revisions, whose process lives. Processes, because the engine calls a
/// container running until it has cleaned up after it, when another may long have taken its place.
struct Census<'a> {
    world: &'a World,
    family: &'a str,
    /// The process of each container that was ever seen running, by the container's id.
    processes: BTreeMap<String, u64>,
}

impl Census<'_> {
    async fn count(&mut self) -> usize {
        let is_dead = |process: &u64| !Path::new(&format!("/proc/{process}")).exists();
        let dead: BTreeSet<String> =
            self.processes.iter().filter(|(_, process)| is_dead(process)).map(|(id, _)| id.clone()).collect();
        let mut running = self.world.containers_of(self.family).await;
        running.retain(|one| one.state == "running" && !dead.contains(&one.id));
        for fresh in running.iter().filter(|one| !self.processes.contains_key(&one.id)).collect::<Vec<_>>() {
            let process = self.world.engine.inspect(&fresh.id).await["State"]["Pid"].as_u64();
            self.processes.extend(process.filter(|id| *id > 0).map(|process| (fresh.id.clone(), process)));
        }
        running.len()
    }
}

/// Counts over and over until `done`; answers the least and the most that were seen.
async fn watched<T>(
    world: &World,
    family: &str,
    done: impl Future<Output = T>,
) -> (T, RangeInclusive<usize>) {
    let mut done = pin!(done);
    let mut census = Census { world, family, processes: BTreeMap::new() };
    let (mut least, mut most) = (usize::MAX, 0);
    loop {
        tokio::select! {
            outcome = &mut done => return (outcome, least..=most),
            running = census.count() => (least, most) = (least.min(running), most.max(running)),
        }
    }
}

fn revision(family: &str, version: &str) -> Value {
    task(family, &[laid_over(web(), json!({"environment": [{"name": "VERSION", "value": version}]}))])
}

/// A container that never starts.
fn broken_web() -> Value {
    container("web", json!({"command": ["/no/such/program"]}))
}

#[tokio::test]
async fn an_update_keeps_between_minimum_and_maximum() {
    let world = World::start().await;
    for (family, count, minimum, maximum, allowed) in
        [("surge", 4, 100, 200, 4..=8), ("one-by-one", 4, 100, 125, 4..=5), ("in-place", 4, 50, 100, 2..=4)]
    {
        let first = world.register(revision(family, "1")).await;
        let limits = json!({"minimumHealthyPercent": minimum, "maximumPercent": maximum});
        world.create_service(family, &first, count, json!({"deploymentConfiguration": limits})).await;
        world.await_stable(family).await;

        let second = world.register(revision(family, "2")).await;
        let update = async {
            world.api.call("UpdateService", json!({"service": family, "taskDefinition": second})).await;
            world.await_stable(family).await
        };
        let (_, seen) = watched(&world, family, update).await;
        assert!(allowed.contains(seen.start()) && allowed.contains(seen.end()), "{family}: {seen:?}");
        for task in world.api.tasks(json!({"serviceName": family})).await {
            assert_eq!(task["taskDefinitionArn"], json!(second), "{family}: {task:#}");
        }
        world.api.call("DeleteService", json!({"service": family, "force": true})).await;
    }
}

#[tokio::test]
async fn a_forced_deployment_replaces_every_task() {
    let world = World::start().await;
    let definition = world.register(revision("fresh", "1")).await;
    world.create_service("fresh", &definition, 2, json!({})).await;
    world.await_stable("fresh").await;
    let before = world.api.list_tasks(json!({"serviceName": "fresh"})).await;
    world.api.call("UpdateService", json!({"service": "fresh", "forceNewDeployment": true})).await;
    world.await_stable("fresh").await;
    let after = world.api.list_tasks(json!({"serviceName": "fresh"})).await;
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|arn| !before.contains(arn)), "{before:?} {after:?}");
}

#[tokio::test]
async fn a_broken_revision_leaves_the_good_one_serving() {
    let world = World::start().await;
    let good = world.register(revision("careful", "1")).await;
    world.create_service("careful", &good, 2, json!({})).await;
    world.await_stable("careful").await;
    let broken = world.register(task("careful", &[broken_web()])).await;
    let update = async {
        world.api.call("UpdateService", json!({"service": "careful", "taskDefinition": broken})).await;
        wait::until("tasks of the broken revision to fail", async || {
            let tasks = world.api.tasks(json!({"serviceName": "careful", "desiredStatus": "STOPPED"})).await;
            let failed = tasks.iter().filter(|task| task["taskDefinitionArn"] == json!(broken)).count();
            if failed >= 3 { Ok(()) } else { Err(failed) }
        })
        .await;
    };
    let ((), seen) = watched(&world, "careful", update).await;
    assert!(*seen.start() >= 2, "{seen:?}");
    world.api.call("UpdateService", json!({"service": "careful", "taskDefinition": good})).await;
    world.await_stable("careful").await;
}

#[tokio::test]
async fn the_circuit_breaker_rolls_a_broken_revision_back() {
    let world = World::start().await;
    let good = world.register(revision("fused", "1")).await;
    let breaker =
        json!({"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true}}});
    world.create_service("fused", &good, 1, breaker).await;
    world.await_stable("fused").await;
    let broken = world.register(task("fused", &[broken_web()])).await;
    world.api.call("UpdateService", json!({"service": "fused", "taskDefinition": broken})).await;
    let settled = wait::until("the service to be back on the good revision", async || {
        let seen = world.api.service("fused").await;
        let back =
            seen["taskDefinition"] == json!(good) && seen["deployments"].as_array().map_or(0, Vec::len) == 1;
        if back { Ok(seen) } else { Err(seen) }
    })
    .await;
    assert_eq!(settled["runningCount"], 1, "{settled:#}");
}
