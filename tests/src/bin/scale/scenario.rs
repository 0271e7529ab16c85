//! The scenarios: what is done to the scheduler, and what of it is measured.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Args;
use crate::agent::CLUSTER;
use crate::fleet::{DOOMED, Fleet};
use crate::probe::{Latencies, Probe, p99};
use crate::report::{Report, kib_each, mib, rate, time};
use crate::server::Server;
use crate::wire::Client;

/// Clients that create services or stop tasks at the same time.
const CLIENTS: usize = 16;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a scenario may stand still before it is given up.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long tasks are stopped one after the other while reads are measured.
const CHURN: Duration = Duration::from_secs(15);

/// One scheduler, its agents, and so many tasks in services of equal size.
struct Stage<'a> {
    args: &'a Args,
    server: Server,
    fleet: Fleet,
    /// Tasks that are meant to run.
    tasks: usize,
}

impl<'a> Stage<'a> {
    async fn set(args: &'a Args, tasks: usize, report: &mut Report) -> Self {
        let server = Server::start(args.data_dir.as_ref()).await;
        let mut client = server.endpoint.client(Ipv4Addr::LOCALHOST);
        client.must("RegisterTaskDefinition", &definition()).await;
        let doomed = if args.loss { args.instances / 10 } else { 0 };
        let fleet = Fleet::join(&server.endpoint, args.instances, doomed).await;
        report.add("fleet", 0, "instances registered", rate(fleet.size, fleet.registered_in), "");
        report.add("fleet", 0, "ACS channels opened", rate(fleet.size, fleet.joined_in), "");
        Self { args, server, fleet, tasks }
    }

    fn client(&self) -> Client {
        self.server.endpoint.client(Ipv4Addr::LOCALHOST)
    }

    /// Creates services until they have all the tasks between them.
    async fn create_services(&self) {
        let size = self.args.service_tasks.min(self.tasks);
        let count = self.tasks / size;
        let mut creating = JoinSet::new();
        for number in 0..CLIENTS {
            let mut client = self.client();
            creating.spawn(async move {
                for index in (number..count).step_by(CLIENTS) {
                    client.must("CreateService", &service(index, size)).await;
                }
            });
        }
        creating.join_all().await;
    }

    /// Waits until so many tasks are placed, and gives the time since `began`.
    async fn placed(&self, count: usize, began: Instant) -> Duration {
        let mut client = self.client();
        let mut progress = Progress::new(count);
        loop {
            let cluster = describe_cluster(&mut client).await;
            if progress.reached(cluster.pending + cluster.running, "tasks placed") {
                return began.elapsed();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until so many tasks were reported RUNNING, and gives the time since `began`.
    async fn running(&self, count: usize, began: Instant) -> Duration {
        let mut progress = Progress::new(count);
        while !progress.reached(usize::try_from(self.fleet.counters.running.get()).unwrap_or(0), "RUNNING") {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        began.elapsed()
    }
}

/// Placement alone, with agents that acknowledge and report nothing yet; then their reports all at once; then the loss
/// of a tenth of the hosts.
pub async fn placement_and_loss(args: &Args, tasks: usize, report: &mut Report) {
    let stage = Stage::set(args, tasks, report).await;
    let began = Instant::now();
    let (placed, ()) = tokio::join!(stage.placed(tasks, began), stage.create_services());
    report.add(
        "placement",
        tasks,
        "durable placements",
        rate(tasks, placed),
        "20,000/s wanted; Kubernetes 160-810 pods/s, Nomad C1M 3,750/s, C2M 1,500/s",
    );
    let began = Instant::now();
    stage.fleet.report();
    let running = stage.running(tasks, began).await;
    report.add("placement", tasks, "reports of RUNNING taken", rate(tasks, running), "");
    if args.loss {
        lose_hosts(&stage, report).await;
    }
}

/// A tenth of the hosts vanish: nothing that they send or are sent arrives any more.
async fn lose_hosts(stage: &Stage<'_>, report: &mut Report) {
    let mut client = stage.client();
    let before = describe_cluster(&mut client).await.running;
    let told = stage.fleet.counters.told.get();
    let _outage = match Outage::of(DOOMED) {
        Ok(outage) => outage,
        Err(why) => {
            eprintln!("  hosts cannot be made to vanish here ({why}); left out");
            return;
        }
    };
    let began = Instant::now();
    let (mut detected, mut progress) = (None, Progress::new(1));
    let replaced = loop {
        let cluster = describe_cluster(&mut client).await;
        if detected.is_none() && (cluster.running < before || cluster.pending > 0) {
            detected = Some(began.elapsed());
        }
        let whole = cluster.pending == 0 && cluster.running >= before;
        if progress.reached(usize::from(detected.is_some() && whole), "lost tasks replaced") {
            break began.elapsed();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let detected = detected.unwrap_or_default();
    let count = usize::try_from(stage.fleet.counters.told.get() - told).unwrap_or(0);
    let tasks = stage.tasks;
    report.add("loss", tasks, "tasks started anew", count.to_string(), "");
    report.add("loss", tasks, "power-off to detection", time(detected), "");
    report.add(
        "loss",
        tasks,
        "detection to all RUNNING",
        time(replaced.saturating_sub(detected)),
        "10 s wanted",
    );
}

/// So many tasks in services, every one reported RUNNING; reads meanwhile, memory and restart with that state.
pub async fn c1m(args: &Args, tasks: usize, report: &mut Report) {
    let mut stage = Stage::set(args, tasks, report).await;
    let (idle, _) = stage.server.memory();
    let probe = Probe::start(stage.server.endpoint.clone(), stage.fleet.counters.clone());
    stage.fleet.report();
    let began = Instant::now();
    let (running, ()) = tokio::join!(stage.running(tasks, began), stage.create_services());
    let beside = if tasks >= 1_000_000 { "240 s wanted; Nomad's C1M 267 s on five servers" } else { "" };
    report.add("C1M", tasks, "all RUNNING after", time(running), beside);
    report.add("C1M", tasks, "RUNNING tasks", rate(tasks, running), "Nomad's C1M 3,750/s");
    report.add("C1M", tasks, "scheduler's processor time", format!("{:.0} s", stage.server.cpu()), "");
    latencies(probe.finish(), tasks, "while starting", report);

    let (resident, highest) = stage.server.memory();
    report.add("memory", tasks, "resident", mib(resident), "");
    report.add("memory", tasks, "highest", mib(highest), "");
    let each = kib_each(resident.saturating_sub(idle), tasks);
    report.add("memory", tasks, "resident per task, fleet subtracted", each, "");
    let beside = if tasks >= 1_000_000 { "1.5 KiB wanted" } else { "" };
    report.add("memory", tasks, "resident per task, all included", kib_each(resident, tasks), beside);

    churn(&stage, report).await;
    report.add("restart", tasks, "data directory per task", kib_each(stage.server.disk(), tasks), "");
    let Stage { server, fleet, .. } = &mut stage;
    let failed = fleet.counters.failed.get();
    report.add("C1M", tasks, "reports refused", failed.to_string(), "0 wanted");
    let beside = if tasks >= 1_000_000 { "10 s wanted" } else { "" };
    report.add("restart", tasks, "kill -9 to the first answer", time(server.restart().await), beside);
}

/// Reads while tasks are stopped, and replaced, as fast as the scheduler takes it.
async fn churn(stage: &Stage<'_>, report: &mut Report) {
    let counters = stage.fleet.counters.clone();
    let probe = Probe::start(stage.server.endpoint.clone(), counters.clone());
    let before = (counters.stopped.get(), counters.running.get());
    let began = Instant::now();
    let mut stopping = JoinSet::new();
    for number in 0..CLIENTS {
        let (mut client, counters) = (stage.client(), counters.clone());
        stopping.spawn(async move {
            for turn in (number..).step_by(CLIENTS) {
                if began.elapsed() > CHURN {
                    break;
                }
                for task in counters.sampled(1, turn) {
                    client.must("StopTask", &json!({"cluster": CLUSTER, "task": task})).await;
                }
            }
        });
    }
    stopping.join_all().await;
    let writes = counters.stopped.get() + counters.running.get() - before.0 - before.1;
    let writes = usize::try_from(writes).unwrap_or(0);
    report.add("churn", stage.tasks, "stops and starts reported", rate(writes, began.elapsed()), "");
    latencies(probe.finish(), stage.tasks, "while replacing", report);
}

fn latencies(measured: Latencies, tasks: usize, load: &'static str, report: &mut Report) {
    let (describe, list) = match load {
        "while starting" => ("DescribeTasks(100) p99 while starting", "ListTasks page p99 while starting"),
        _ => ("DescribeTasks(100) p99 while replacing", "ListTasks page p99 while replacing"),
    };
    for (what, times) in [(describe, measured.describe), (list, measured.list)] {
        if let Some(p99) = p99(&times) {
            report.add("reads", tasks, what, time(p99), "5 ms wanted at 1M");
        }
    }
}

/// A number that is waited for, and given up when it stands still.
struct Progress {
    wanted: usize,
    last: (usize, Instant),
}

impl Progress {
    fn new(wanted: usize) -> Self {
        Self { wanted, last: (0, Instant::now()) }
    }

    fn reached(&mut self, now: usize, what: &str) -> bool {
        if now != self.last.0 {
            self.last = (now, Instant::now());
        }
        let stuck = self.last.1.elapsed() > PATIENCE;
        assert!(!stuck, "{now} of {} {what}, and no more for {PATIENCE:?}", self.wanted);
        now >= self.wanted
    }
}

/// The cluster's own counts.
struct Counted {
    running: usize,
    pending: usize,
}

async fn describe_cluster(client: &mut Client) -> Counted {
    let answer = client.must("DescribeClusters", &json!({"clusters": [CLUSTER]})).await;
    let count = |name: &str| {
        answer["clusters"][0][name].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
    };
    Counted { running: count("runningTasksCount"), pending: count("pendingTasksCount") }
}

/// An address of this network namespace, of and to which every packet is dropped until this is.
struct Outage(Ipv4Addr);

impl Outage {
    fn of(address: Ipv4Addr) -> Result<Self, String> {
        let outage = Self(address);
        outage.rules("-I").map(|()| outage)
    }

    fn rules(&self, action: &str) -> Result<(), String> {
        for (chain, direction) in [("INPUT", "-s"), ("OUTPUT", "-d"), ("OUTPUT", "-s")] {
            let rule = [action, chain, direction, &self.0.to_string(), "-j", "DROP"].map(str::to_owned);
            let done = Command::new("iptables").args(rule).output().map_err(|error| error.to_string())?;
            if !done.status.success() {
                return Err(String::from_utf8_lossy(&done.stderr).trim().to_owned());
            }
        }
        Ok(())
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        if let Err(why) = self.rules("-D") {
            eprintln!("  {} stays cut off: {why}", self.0);
        }
    }
}

fn definition() -> Value {
    json!({"family": "web", "containerDefinitions": [{
        "name": "web", "image": "busybox", "cpu": 16, "memory": 64, "essential": true,
        "command": ["httpd", "-f", "-p", "8080"],
        "portMappings": [{"containerPort": 8080, "hostPort": 0, "protocol": "tcp"}],
    }]})
}

fn service(index: usize, tasks: usize) -> Value {
    json!({"cluster": CLUSTER, "serviceName": format!("web-{index:05}"), "taskDefinition": "web",
        "desiredCount": tasks, "launchType": "EC2"})
}
