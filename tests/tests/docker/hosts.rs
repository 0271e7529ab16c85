//! Hosts that go, and come back: the tasks of a host that is off are replaced, those of one whose agent is away are not,
//! and what was replaced is stopped as soon as its host is back.
//!
//! How long each took is printed; a busy machine is no failure.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ecsr_tests::host::{Host, Lan};
use ecsr_tests::load::{Clients, Connection, Load};
use ecsr_tests::spec::{backend, idle, task};
use ecsr_tests::world::free_port;
use ecsr_tests::{Setup, World, wait};
use serde_json::{Value, json};

/// A cluster on hosts of its own.
struct Rack {
    hosts: Vec<Host>,
    /// The ARN of the instance that each host is.
    instances: Vec<String>,
    world: World,
    lan: Lan,
}

impl Rack {
    async fn start(hosts: u8) -> Self {
        Self::start_with(Setup::default(), hosts).await
    }

    async fn start_with(setup: Setup, hosts: u8) -> Self {
        let has_balancer = setup.balancer;
        let mut world = World::prepare(setup).await;
        let lan = Lan::new();
        let port = world.api.address.rsplit_once(':').expect("an address has a port").1;
        world.api.address = format!("{}:{port}", lan.scheduler());
        if has_balancer {
            world.start_balancer();
        }
        world.start_scheduler().await;
        let mut rack = Self { hosts: Vec::new(), instances: Vec::new(), world, lan };
        for number in 1..=hosts {
            let mut host = rack.lan.host(&rack.world, number).await;
            host.start_agent(&rack.world);
            rack.hosts.push(host);
            let before: BTreeSet<String> = rack.instances.iter().cloned().collect();
            let joined = wait::until("a host to join", async || {
                let seen = rack.world.instances().await;
                let new =
                    seen.iter().find(|one| !before.contains(&arn(one)) && one["agentConnected"] == true);
                new.map(arn).ok_or(seen)
            })
            .await;
            rack.instances.push(joined);
        }
        rack
    }

    /// A service of this many tasks, which run.
    async fn serve(&self, count: usize) {
        let definition = self.world.register(task("web", &[idle("web", json!({}))])).await;
        self.world.create_service("web", &definition, count, json!({})).await;
        self.world.await_stable("web").await;
    }

    /// The service's tasks that are meant to run, by the instance that they are on.
    async fn on(&self, host: usize) -> BTreeSet<String> {
        let tasks = self.world.api.tasks(json!({"serviceName": "web"})).await;
        let here = tasks.iter().filter(|task| task["containerInstanceArn"] == self.instances[host].as_str());
        here.map(|task| task["taskArn"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What the scheduler thinks of a host: OK, INSUFFICIENT_DATA or IMPAIRED.
    async fn health(&self, host: usize) -> String {
        let request =
            json!({"containerInstances": [self.instances[host]], "include": ["CONTAINER_INSTANCE_HEALTH"]});
        let answer = self.world.api.call("DescribeContainerInstances", request).await;
        let health = &answer["containerInstances"][0]["healthStatus"]["overallStatus"];
        health.as_str().unwrap_or_default().to_owned()
    }

    async fn await_health(&self, host: usize, expected: &str) {
        wait::until(&format!("host {host} to be {expected}"), async || {
            let seen = self.health(host).await;
            if seen == expected { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    /// Waits until the service has all its tasks RUNNING, none of them on this host.
    async fn await_replaced(&self, host: usize, count: usize) {
        wait::until("the lost tasks to be replaced", async || {
            let service = self.world.api.service("web").await;
            let left = self.on(host).await;
            if service["runningCount"] == count && left.is_empty() { Ok(()) } else { Err((service, left)) }
        })
        .await;
    }
}

fn arn(instance: &Value) -> String {
    instance["containerInstanceArn"].as_str().unwrap_or_default().to_owned()
}

fn print(what: &str, since: Instant) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or_default();
    println!("{what}: {:.1} s (load {load})", since.elapsed().as_secs_f64());
}

#[tokio::test]
async fn the_tasks_of_a_host_that_is_off_run_elsewhere() {
    let mut rack = Rack::start(3).await;
    rack.serve(6).await;
    let lost = rack.on(2).await;
    assert_eq!(lost.len(), 2, "spread over the hosts");
    let kept: Vec<BTreeSet<String>> = vec![rack.on(0).await, rack.on(1).await];

    let off = Instant::now();
    rack.hosts[2].power_off();
    rack.await_health(2, "IMPAIRED").await;
    print("power-off to being out of the balancer", off);
    rack.await_replaced(2, 6).await;
    print("power-off to all tasks RUNNING elsewhere", off);

    for (host, before) in kept.iter().enumerate() {
        assert!(rack.on(host).await.is_superset(before), "the others' tasks are left alone");
    }
    let ended = rack.world.api.task(lost.first().expect("two were lost")).await;
    assert_eq!(
        (&ended["desiredStatus"], &ended["stopCode"]),
        (&json!("STOPPED"), &json!("TerminationNotice"))
    );
    let service = rack.world.await_stable("web").await;
    let said = service["events"].to_string();
    assert!(said.contains("has lost 2 tasks on container instances that cannot be reached"), "{said}");
}

#[tokio::test]
async fn a_host_that_is_off_gets_no_more_requests() {
    let mut rack = Rack::start_with(Setup { balancer: true, ..Setup::default() }, 2).await;
    rack.world.register(backend("web", "1")).await;
    let port = free_port();
    let expose = format!("{port}:8080");
    rack.world.done(&["service", "create", "-t", "web", "--count", "4", "--expose", &expose, "--wait"]);
    let page = rack.world.done(&["service", "describe", "web"]);
    let on = |page: &str, host: &str| page.lines().filter(|line| line.contains(host)).count();
    let addresses = [1, 2].map(|number| rack.lan.host_address(number).to_string());
    assert_eq!(addresses.each_ref().map(|address| on(&page, address)), [2, 2], "{page}");

    let off = Instant::now();
    rack.hosts[1].power_off();
    wait::until("the host's targets to be out of service", async || {
        let page = rack.world.done(&["service", "describe", "web"]);
        let serves = |line: &&str| line.contains(&addresses[1]) && line.contains(" healthy ");
        if page.lines().any(|line| serves(&line)) { Err(page) } else { Ok(()) }
    })
    .await;
    print("power-off to being out of the balancer", off);
    let clients = Clients { count: 4, path: "/", connection: Connection::Fresh };
    let load = Load::start(&format!("127.0.0.1:{port}"), &[clients]);
    rack.await_replaced(1, 4).await;
    let tally = load.end().await;
    println!("while the tasks were replaced: {tally}");
    assert!(tally.good > 0 && tally.failed.is_empty(), "{tally}: {:#?}", tally.failed.first());
}

#[tokio::test]
async fn a_cut_cable_replaces_tasks_which_then_stop_and_a_dead_agent_does_not() {
    let mut rack = Rack::start(2).await;
    let cluster = rack.world.api.call("DescribeClusters", json!({"clusters": [rack.world.cluster]})).await;
    let cluster = cluster["clusters"][0]["clusterArn"].clone();
    let tags = json!([{"key": "ecsr:host-lost-after", "value": "1"}]);
    rack.world.api.call("TagResource", json!({"resourceArn": cluster, "tags": tags})).await;
    rack.serve(4).await;
    let before = rack.on(1).await;
    let containers = rack.hosts[1].running().await;
    assert_eq!((before.len(), containers.len()), (2, 2));

    // No event says that nothing will happen: several times what it takes to give a host up must pass.
    rack.hosts[1].kill_agent();
    rack.await_health(1, "INSUFFICIENT_DATA").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(rack.health(1).await, "INSUFFICIENT_DATA", "the host answers");
    assert_eq!((rack.on(1).await, rack.hosts[1].running().await), (before.clone(), containers.clone()));
    let world = &rack.world;
    rack.hosts[1].start_agent(world);
    rack.await_health(1, "OK").await;
    assert_eq!((rack.on(1).await, rack.hosts[1].running().await), (before.clone(), containers.clone()));

    let cut = Instant::now();
    rack.hosts[1].unplug();
    rack.await_replaced(1, 4).await;
    print("cable cut to all tasks RUNNING elsewhere, with ecsr:host-lost-after 1", cut);
    assert_eq!(rack.hosts[1].running().await, containers, "the host itself knows of nothing");

    let back = Instant::now();
    rack.hosts[1].plug();
    rack.await_health(1, "OK").await;
    print("cable back to reconnected", back);
    wait::until("the replaced tasks' containers to stop", async || {
        let running = rack.hosts[1].running().await;
        if running.is_disjoint(&containers) { Ok(()) } else { Err(running) }
    })
    .await;
    print("cable back to nothing running twice", back);
    for task in &before {
        rack.world.await_task(task, "STOPPED").await;
    }
    assert_eq!(rack.world.api.service("web").await["runningCount"], 4);
}
