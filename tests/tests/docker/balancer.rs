//! Services behind the load balancer, under load: nobody who asks notices deploys, crashes of what is not in the way of a
//! request, or a container that is killed.
//!
//! Short here; `ECSR_DEPLOYS=100 ECSR_SLOW_MS=5000` is the full length.

use std::collections::BTreeSet;
use std::env;
use std::time::{Duration, Instant};

use ecsr_tests::load::{self, Clients, Connection, Load, Tally};
use ecsr_tests::spec::backend;
use ecsr_tests::world::free_port;
use ecsr_tests::{Setup, World, wait};
use serde_json::{Value, json};

/// Rolling deploys, unless `ECSR_DEPLOYS` says otherwise.
const DEPLOYS: usize = 2;
/// How long a slow request takes, unless `ECSR_SLOW_MS` says otherwise.
const SLOW_MILLIS: u64 = 1000;

/// How long load goes on after what it is to show: long enough for whatever is wrong to be noticed.
const AFTERWARDS: Duration = Duration::from_secs(2);

fn number<T: std::str::FromStr>(variable: &str, default: T) -> T {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A cluster with a load balancer and a service of this many tasks behind a port of it.
struct Site {
    world: World,
    port: u16,
}

impl Site {
    async fn start(count: usize) -> Self {
        let world = World::start_with(Setup { balancer: true, ..Setup::default() }).await;
        let site = Self { world, port: free_port() };
        site.world.register(backend("web", "1")).await;
        let expose = format!("{}:8080", site.port);
        let count = count.to_string();
        let created = ["service", "create", "-t", "web", "--count", &count, "--expose", &expose, "--wait"];
        let said = site.world.done(&created);
        assert!(said.contains(&format!("http://{}/", site.address())), "{said}");
        site.await_healthy().await;
        site
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The targets of the service, by the state of their health.
    fn targets(&self) -> Vec<(String, Value)> {
        let described = self.world.done(&["lb", "describe", &self.balancer_name(), "-o", "json"]);
        let described: Value = serde_json::from_str(&described).expect("-o json prints JSON");
        let groups = described["LoadBalancers"][0]["TargetGroups"].as_array().cloned().unwrap_or_default();
        let targets = groups.iter().filter_map(|group| group["TargetHealthDescriptions"].as_array().cloned());
        let state = |target: &Value| target["TargetHealth"]["State"].as_str().unwrap_or_default().to_owned();
        targets.flatten().map(|target| (state(&target), target)).collect()
    }

    fn balancer_name(&self) -> String {
        format!("ecsr-{}", self.world.cluster)
    }

    async fn await_healthy(&self) {
        wait::until("all targets to be healthy", async || {
            let targets = self.targets();
            let whole = !targets.is_empty() && targets.iter().all(|(state, _)| state == "healthy");
            if whole { Ok(()) } else { Err(targets) }
        })
        .await;
    }

    /// Load of short requests, and of slow ones if `slow`.
    fn load(&self, slow: bool) -> Load {
        let millis: u64 = number("ECSR_SLOW_MS", SLOW_MILLIS);
        let slow_path: &'static str = Box::leak(format!("/slow?{millis}").into_boxed_str());
        let mut kinds = vec![
            Clients { count: 4, path: "/", connection: Connection::Kept },
            Clients { count: 2, path: "/", connection: Connection::Fresh },
        ];
        if slow {
            kinds.push(Clients { count: 4, path: slow_path, connection: Connection::Kept });
        }
        Load::start(&self.address(), &kinds)
    }

    /// Rolls out a new revision and waits until it is there.
    async fn deploy(&self, version: usize) {
        let revision = self.world.register(backend("web", &format!("deploy-{version}"))).await;
        let update = json!({"service": "web", "taskDefinition": revision});
        self.world.api.call("UpdateService", update).await;
        self.world.await_stable("web").await;
    }

    /// The names of the containers that answer.
    async fn who_answers(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for _ in 0..20 {
            let good = load::get(&self.address(), "/").await.expect("the service answers");
            names.insert(good.body);
        }
        names
    }
}

fn assert_none_failed(what: &str, tally: &Tally) {
    println!("{what}: {tally}");
    assert!(tally.good > 0, "{what}: nothing was asked");
    let first: Vec<_> = tally.failed.iter().take(10).collect();
    assert!(first.is_empty(), "{what}: {tally}; the first: {first:#?}");
}

#[tokio::test]
async fn an_exposed_service_is_reached_described_and_taken_away() {
    let site = Site::start(3).await;
    assert_eq!(site.who_answers().await.len(), 3, "each task gets its share");
    let page = site.world.done(&["service", "describe", "web"]);
    assert_eq!(page.lines().filter(|line| line.contains(" healthy ")).count(), 3, "{page}");

    let expose = format!("{}:8080", site.port);
    let second = ["service", "create", "-t", "web", "--name", "second", "--expose", &expose];
    let refused = site.world.ecsr(&second);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("leads to target group") && said.contains("--host or --path"), "{said}");
    let by_path: Vec<&str> = second.iter().copied().chain(["--path", "/second/*", "--wait"]).collect();
    site.world.done(&by_path);
    wait::until("the second service to answer", async || load::get(&site.address(), "/second/x").await).await;

    site.world.done(&["service", "delete", "second", "--force"]);
    site.world.done(&["service", "delete", "web", "--force"]);
    let left = site.world.done(&["lb", "describe", &site.balancer_name(), "-o", "json"]);
    let left: Value = serde_json::from_str(&left).expect("-o json prints JSON");
    assert_eq!(left["LoadBalancers"][0]["Listeners"], json!([]), "{left:#}");
    assert_eq!(left["LoadBalancers"][0]["TargetGroups"], json!([]), "{left:#}");
    site.world.done(&["lb", "delete", &site.balancer_name()]);
    assert!(!site.world.done(&["lb", "list"]).contains(&site.balancer_name()));
}

#[tokio::test]
async fn what_create_service_refuses_leaves_nothing_behind() {
    let world = World::start_with(Setup { balancer: true, ..Setup::default() }).await;
    world.register(backend("web", "1")).await;
    let port = free_port().to_string();
    let expose = format!("{port}:8080");
    let refused = world.ecsr(&[
        "service",
        "create",
        "-t",
        "web",
        "--min-healthy",
        "200",
        "--max-percent",
        "50",
        "--expose",
        &expose,
    ]);
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
    assert_eq!(world.done(&["lb", "list", "-o", "json"]).trim(), "{\n  \"LoadBalancers\": []\n}");
    let unmapped = world.ecsr(&["service", "create", "-t", "web", "--expose", "80:9"]);
    let said = String::from_utf8_lossy(&unmapped.stderr).into_owned();
    assert!(said.contains("no container of web:1 maps port 9"), "{said}");
}

#[tokio::test]
async fn a_tcp_port_leads_to_a_service() {
    let world = World::start_with(Setup { balancer: true, ..Setup::default() }).await;
    world.register(backend("web", "1")).await;
    let port = free_port();
    let expose = format!("tcp://{port}:web:8080");
    world.done(&["service", "create", "-t", "web", "--count", "2", "--expose", &expose, "--wait"]);
    let address = format!("127.0.0.1:{port}");
    wait::until("the service to answer", async || load::get(&address, "/").await).await;
    let load = Load::start(&address, &[Clients { count: 4, path: "/", connection: Connection::Fresh }]);
    tokio::time::sleep(AFTERWARDS).await;
    assert_none_failed("connections passed on", &load.end().await);
}

#[tokio::test]
async fn no_request_fails_while_revisions_are_rolled_out() {
    let site = Site::start(4).await;
    let load = site.load(true);
    for deploy in 1..=number("ECSR_DEPLOYS", DEPLOYS) {
        let before = site.who_answers().await;
        site.deploy(deploy).await;
        // The last of the old tasks is told to stop when the new ones are there, and leaves its group after that.
        wait::until("every task to be replaced", async || {
            let answers = site.who_answers().await;
            if answers.is_disjoint(&before) { Ok(()) } else { Err(answers) }
        })
        .await;
    }
    assert_none_failed("rolling deploys", &load.end().await);
}

#[tokio::test]
async fn no_request_fails_while_the_scheduler_and_the_agent_are_killed() {
    let mut site = Site::start(4).await;
    let load = site.load(true);
    site.world.scheduler.as_mut().expect("the scheduler runs").kill();
    tokio::time::sleep(AFTERWARDS).await;
    site.world.start_scheduler().await;
    site.world.await_instance().await;
    tokio::time::sleep(AFTERWARDS).await;
    assert_none_failed("scheduler killed", &load.end().await);

    let load = site.load(true);
    site.world.agent.as_mut().expect("the agent runs").kill();
    tokio::time::sleep(AFTERWARDS).await;
    site.world.start_agent();
    site.world.await_instance().await;
    tokio::time::sleep(AFTERWARDS).await;
    assert_none_failed("agent killed", &load.end().await);
    assert_eq!(site.targets().len(), 4, "nothing was deregistered");
}

#[tokio::test]
async fn a_killed_balancer_loses_what_was_in_flight_and_serves_again() {
    let mut site = Site::start(4).await;
    let load = site.load(false);
    site.world.balancer.as_mut().expect("the balancer runs").kill();
    let killed = Instant::now();
    site.world.start_balancer();
    wait::until("the service to answer again", async || load::get(&site.address(), "/").await).await;
    println!("kill to the first answer: {:?}", killed.elapsed());
    let tally = load.end().await;
    println!("balancer killed: {tally}, longest gap {:?}", tally.longest_gap);

    let load = site.load(false);
    site.await_healthy().await;
    assert_eq!(site.who_answers().await.len(), 4, "all targets are in use again");
    tokio::time::sleep(AFTERWARDS).await;
    assert_none_failed("after the balancer came back", &load.end().await);
}

#[tokio::test]
async fn no_request_fails_when_a_container_is_killed() {
    let site = Site::start(4).await;
    let load = site.load(false);
    for _ in 0..3 {
        let running = site.world.containers_of("web").await;
        let victim = running.iter().find(|one| one.state == "running").expect("four run");
        site.world.engine.kill(&victim.id).await;
        site.world.await_task(&victim.task, "STOPPED").await;
        site.world.await_stable("web").await;
        site.await_healthy().await;
    }
    assert_none_failed("containers killed", &load.end().await);
}
