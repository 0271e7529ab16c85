//! Faults, one after the other, under clients whose histories are then checked for linearizability.
//!
//! `ECSR_HA_RUNS` says how many (4: one of each kind), `ECSR_HA_SEED` which clients, `ECSR_HA_FAULT` of which kind alone
//! (`CutLeaderOff`, say). Each run prints how long it took from the fault to the next write that was acknowledged.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ecsr_tests::ha::clients::{Clients, Cluster};
use ecsr_tests::ha::{FakeAgent, Trio};
use ecsr_tests::{ApiError, linear, wait};
use serde_json::{Value, json};

/// Clients at one time, and the clusters that they share: enough at each for their operations to overlap.
const CLIENTS: usize = 6;
const CLUSTERS: usize = 3;

/// Operations before a fault, while it lasts, and after it.
const OPERATIONS: usize = 120;

/// Tasks that run through all of it.
const TASKS: usize = 3;

/// How long a write may take before it is tried at the next scheduler.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a paused leader stays paused at least, before it wakes: more than its lease.
const LEASE_OVER: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillLeader,
    CutLeaderOff,
    PauseLeader,
    KillEtcd,
}

const FAULTS: [Fault; 4] = [Fault::KillLeader, Fault::CutLeaderOff, Fault::PauseLeader, Fault::KillEtcd];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_stale_is_obeyed_whatever_fails() {
    let Some(mut trio) = Trio::start().await else { return };
    let agent = FakeAgent::join(&trio).await;
    let tasks = run_tasks(&trio).await;
    let (runs, seed) = (number("ECSR_HA_RUNS", 4), number("ECSR_HA_SEED", 1));
    let faults = faults();
    let mut took: BTreeMap<Fault, Vec<Duration>> = BTreeMap::new();
    let mut operations = 0;
    for run in 0..runs {
        let fault = faults[usize::try_from(run).expect("few runs") % faults.len()];
        let (back, checked) = one_run(&mut trio, &agent, fault, seed + run).await;
        eprintln!(
            "run {run}: {fault:?}: writes again after {back:.2?}, {checked} operations are linearizable"
        );
        took.entry(fault).or_default().push(back);
        operations += checked;
        assert_untouched(&trio, &agent, &tasks).await;
    }
    eprintln!("{runs} runs, {operations} operations");
    for (fault, took) in took {
        let longest = took.iter().max().expect("each was run");
        let mean = took.iter().sum::<Duration>() / u32::try_from(took.len()).expect("few runs");
        eprintln!("{fault:?}: writes again after {mean:.2?} on average, {longest:.2?} at the most");
    }
}

/// One fault and its end; answers how long there were no writes, and how many operations were checked.
async fn one_run(trio: &mut Trio, agent: &FakeAgent, fault: Fault, seed: u64) -> (Duration, usize) {
    let leader = trio.leader().await;
    let clients = Clients::start(trio, seed, CLIENTS, CLUSTERS);
    clients.await_answers(OPERATIONS).await;
    let began = Instant::now();
    begin(trio, fault, leader);
    let back = await_write(trio, leader, seed).await.duration_since(began);
    clients.await_answers(OPERATIONS).await;
    if fault == Fault::PauseLeader {
        // What it does when it wakes is what matters, and it must have been deposed by then.
        tokio::time::sleep(LEASE_OVER.saturating_sub(began.elapsed())).await;
        let successor = trio.leader().await;
        assert_ne!(successor, leader, "a leader that is paused past its lease is none any more");
    }
    let ended = Instant::now();
    end(trio, fault, leader);
    trio.await_all().await;
    clients.await_answers(OPERATIONS).await;
    let histories = clients.finish().await;
    let open = histories.values().flatten().filter(|operation| operation.ended.is_none()).count();
    eprintln!("{fault:?}: writes again after {back:.2?}; {open} operations were never answered");
    if let Err((cluster, violation)) = linear::check_each(&Cluster, &histories) {
        let shown = violation.explained.len().saturating_sub(20);
        panic!(
            "seed {seed}, {fault:?}: what happened to {cluster} has no order; after {:#?}\nthere is no place for {:#?}",
            &violation.explained[shown..],
            violation.unexplained
        );
    }
    if fault == Fault::PauseLeader {
        assert_nothing_stale(agent, leader, ended);
    }
    agent.await_connected(trio).await;
    (back, histories.values().map(Vec::len).sum())
}

fn begin(trio: &mut Trio, fault: Fault, leader: u8) {
    match fault {
        Fault::KillLeader => trio.kill_scheduler(leader),
        Fault::CutLeaderOff => trio.cut(leader),
        Fault::PauseLeader => trio.pause_scheduler(leader),
        Fault::KillEtcd => trio.kill_etcd(leader),
    }
}

fn end(trio: &mut Trio, fault: Fault, leader: u8) {
    match fault {
        Fault::KillLeader => trio.start_scheduler(leader),
        Fault::CutLeaderOff => trio.mend(leader),
        Fault::PauseLeader => trio.resume_scheduler(leader),
        Fault::KillEtcd => trio.start_etcd(leader),
    }
}

/// When the first write that began after this call was acknowledged by one of the others.
async fn await_write(trio: &Trio, failed: u8, seed: u64) -> Instant {
    let mut attempt = 0;
    let hosts: Vec<u8> = [0, 1, 2].into_iter().filter(|host| *host != failed).collect();
    wait::until("a write to be acknowledged", async || {
        attempt += 1;
        let api = trio.api(hosts[attempt % hosts.len()]);
        let name = format!("after-{seed}-{attempt}");
        let write = api.try_call("CreateCluster", json!({"clusterName": name}));
        match tokio::time::timeout(WRITE_TIMEOUT, write).await {
            Ok(Ok(_)) => Ok(Instant::now()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    })
    .await
}

/// A leader that wakes gives no order any more on the connections that it had; by now it has noticed.
fn assert_nothing_stale(agent: &FakeAgent, host: u8, woken: Instant) {
    let stale: Vec<_> =
        agent.orders().into_iter().filter(|order| order.host == host && order.at >= woken).collect();
    assert!(stale.is_empty(), "a deposed leader gave orders: {stale:#?}");
}

/// Runs tasks that are RUNNING before anything fails.
async fn run_tasks(trio: &Trio) -> Vec<String> {
    let api = trio.api(0);
    let container = json!({"name": "web", "image": "web", "memory": 8, "cpu": 1, "essential": true});
    let definition = json!({"family": "web", "containerDefinitions": [container]});
    api.call("RegisterTaskDefinition", definition).await;
    let answer = api.call("RunTask", json!({"taskDefinition": "web", "count": TASKS})).await;
    let tasks = answer["tasks"].as_array().into_iter().flatten().filter_map(|task| task["taskArn"].as_str());
    let tasks: Vec<String> = tasks.map(str::to_owned).collect();
    assert_eq!(tasks.len(), TASKS, "all tasks are placed: {answer:#}");
    wait::until("the tasks to be RUNNING", async || {
        let seen = describe(trio, &tasks).await.map_err(|error| json!(error.to_string()))?;
        if seen.iter().all(|task| task["lastStatus"] == "RUNNING") { Ok(()) } else { Err(json!(seen)) }
    })
    .await;
    tasks
}

async fn describe(trio: &Trio, tasks: &[String]) -> Result<Vec<Value>, ApiError> {
    let mut answer = trio.api(1).try_call("DescribeTasks", json!({"tasks": tasks})).await?;
    Ok(answer["tasks"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// Nobody asked for the tasks to be stopped, so they run, and nobody ever told the agent otherwise or twice.
async fn assert_untouched(trio: &Trio, agent: &FakeAgent, tasks: &[String]) {
    let seen = wait::until("the tasks to be described", async || describe(trio, tasks).await).await;
    for task in &seen {
        assert_eq!(
            (&task["lastStatus"], &task["desiredStatus"]),
            (&json!("RUNNING"), &json!("RUNNING")),
            "{task:#}"
        );
    }
    assert_eq!(seen.len(), tasks.len());
    let orders = agent.orders();
    let stops: Vec<_> = orders.iter().filter(|order| order.desired == "STOPPED").collect();
    assert!(stops.is_empty(), "running tasks were told to stop: {stops:#?}");
    let numbers: Vec<i64> = orders.iter().map(|order| order.number).collect();
    assert!(numbers.is_sorted(), "orders are numbered in their order: {numbers:?}");
}

/// The kinds to be tried, in turn.
fn faults() -> Vec<Fault> {
    let wanted = std::env::var("ECSR_HA_FAULT").unwrap_or_default();
    let is_wanted = |fault: &Fault| wanted.is_empty() || format!("{fault:?}") == wanted;
    let faults: Vec<Fault> = FAULTS.into_iter().filter(is_wanted).collect();
    assert!(!faults.is_empty(), "{wanted} is none of {FAULTS:?}");
    faults
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}
