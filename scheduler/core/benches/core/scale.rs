//! Placements, reports, losses and memory at one number of tasks. Time is that on the processor: everything here runs on
//! one thread, and the machine may have others to serve.

use std::time::Duration;

use ecsr_api::ecs::{self, Operation};
use ecsr_core::command::Command;
use ecsr_core::ids::Name;
use ecsr_core::placement::{self, Ask};
use ecsr_core::task_definition::{Demand, SpreadField, Strategy};

use crate::churn::churn;
use crate::fleet::{BATCH, Fleet};
use crate::process;

const INSTANCES: usize = 5000;

/// Tasks of one service.
const SERVICE: usize = 1000;

/// Tasks that the plain scan places: it takes about as long for each.
const PLAIN: u32 = 20;

/// Reads and ticks of each kind.
const PAGES: usize = 100;

/// RunTask calls of each kind.
const RUNS: usize = 2000;

/// Prints everything for a cluster of as many tasks.
pub(crate) fn measure(tasks: usize) {
    let empty = process::resident();
    let mut fleet = Fleet::new(INSTANCES);
    println!("{tasks} tasks on {INSTANCES} instances, in processor time (load {})", process::load());
    let placed = timed(|| create(&mut fleet, tasks));
    say("placed by the default spread, through decide, plan and apply", tasks, placed);
    compare(&mut fleet);
    let pending = fleet.pending();
    let reported = timed(|| {
        for (number, key) in pending.iter().enumerate() {
            fleet.report_running(key, number);
            if number % BATCH == BATCH - 1 {
                fleet.settle();
            }
        }
        fleet.settle();
    });
    say("acknowledged and reported RUNNING, in batches", tasks, reported);
    let one_by_one = timed(|| one_by_one(&mut fleet));
    say("reports that each are a batch of their own", 1000, one_by_one);
    drop(pending);
    println!("  {:>12} bytes resident per task, all included", (process::resident() - empty) / tasks);
    look(&mut fleet);
    churn(&mut fleet);
    lose(&mut fleet);
    run_tasks(&mut fleet);
}

fn create(fleet: &mut Fleet, tasks: usize) {
    for number in 0..tasks.div_ceil(SERVICE) {
        fleet.serve(number, SERVICE.min(tasks - number * SERVICE));
        fleet.settle();
    }
}

/// One placement of a whole service against the plain scan, on the cluster as it is.
fn compare(fleet: &mut Fleet) {
    let zone = SpreadField::Attribute("ecs.availability-zone".into());
    let strategy = [Strategy::Spread(zone), Strategy::Spread(SpreadField::InstanceId)];
    let demand = Demand { cpu: 128, memory: 64, ..Demand::default() };
    let (cluster, group) = (Name::from("default"), Name::from("service:web-0"));
    let ask =
        Ask { cluster: &cluster, demand: &demand, constraints: &[], strategy: &strategy, group: &group };
    let mut context = fleet.context();
    let count = u32::try_from(SERVICE).expect("a small number");
    let fast = timed(|| placement::place(&fleet.state, &ask, count, &mut context)) / count;
    let plain = timed(|| placement::plain::place(&fleet.state, &ask, PLAIN, &mut context)) / PLAIN;
    println!(
        "  {:>12} placements/s chosen alone, {:.0} times the plain scan",
        rate(1, fast),
        plain.as_secs_f64() / fast.as_secs_f64()
    );
}

/// Health comes and goes, one task at a time.
fn one_by_one(fleet: &mut Fleet) {
    use ecsr_core::ids::InstanceKey;
    use ecsr_core::state::Health;
    let tasks: Vec<_> = fleet.state.tasks.values().take(1000).cloned().collect();
    for task in tasks {
        let instance = InstanceKey { cluster: task.key.cluster.clone(), id: task.instance };
        let health = vec![(Name::from("web"), Health::Healthy)];
        fleet.must(&Command::HealthPublished { instance, tasks: vec![(task.key.clone(), health)] });
        fleet.settle();
    }
}

/// What readers and the clock ask of a cluster that is at rest. Pages are taken from all over the list.
fn look(fleet: &mut Fleet) {
    fleet.settle();
    let everything = ecs::ListTasksRequest::default();
    let service = ecs::ListTasksRequest { service_name: Some("web-0".into()), ..everything.clone() };
    for (what, mut request) in [("all", everything), ("one service's", service)] {
        let mut listed = Vec::new();
        let pages = timed(|| {
            for _ in 0..PAGES {
                let answer = fleet.read(Operation::ListTasks, &request);
                let page: ecs::ListTasksResponse =
                    serde_json::from_slice(&answer).expect("an answer can be read");
                request.next_token = page.next_token;
                listed.extend(page.task_arns.into_iter().flatten());
            }
        });
        say(&format!("pages of ListTasks, {what} tasks"), PAGES, pages);
        let described = timed(|| {
            for tasks in listed.chunks(100).cycle().take(PAGES) {
                let request = ecs::DescribeTasksRequest {
                    tasks: Some(tasks.to_vec()),
                    ..ecs::DescribeTasksRequest::default()
                };
                fleet.read(Operation::DescribeTasks, &request);
            }
        });
        say("answers of DescribeTasks for a hundred of them", PAGES, described);
    }
    let ticked = timed(|| (0..PAGES).for_each(|_| fleet.tick()));
    say("ticks that find nothing due", PAGES, ticked);
    let clusters = timed(|| {
        for _ in 0..PAGES {
            fleet.read(Operation::DescribeClusters, &ecs::DescribeClustersRequest::default());
        }
    });
    say("answers of DescribeClusters", PAGES, clusters);
}

/// One instance in ten is gone at once.
fn lose(fleet: &mut Fleet) {
    let lost: Vec<_> = fleet.instances().into_iter().step_by(10).collect();
    let mut replaced = 0;
    let took = timed(|| {
        for instance in &lost {
            let request = ecs::DeregisterContainerInstanceRequest {
                container_instance: Some(instance.id.to_string()),
                force: Some(true),
                ..ecs::DeregisterContainerInstanceRequest::default()
            };
            fleet.must(&Command::DeregisterContainerInstance(Box::new(request)));
        }
        replaced = fleet.settle().len();
    });
    println!("  {:>12} tasks of {} lost instances replaced in {took:.2?}", replaced, lost.len());
}

/// RunTask in the ways that it can be asked to place.
fn run_tasks(fleet: &mut Fleet) {
    let strategy = |kind: &str, field: Option<&str>| ecs::PlacementStrategy {
        r#type: Some(kind.into()),
        field: field.map(str::to_owned),
    };
    let ways = [
        ("at random", 1, vec![]),
        ("at random", 10, vec![]),
        (
            "spread by zone and instance",
            1,
            vec![
                strategy("spread", Some("attribute:ecs.availability-zone")),
                strategy("spread", Some("instanceId")),
            ],
        ),
        ("packed by memory", 10, vec![strategy("binpack", Some("memory"))]),
    ];
    for (way, count, strategy) in ways {
        let request = ecs::RunTaskRequest {
            task_definition: Some("web".into()),
            count: Some(count),
            placement_strategy: Some(strategy),
            ..ecs::RunTaskRequest::default()
        };
        let command = Command::RunTask(Box::new(request));
        let took = timed(|| {
            for number in 0..RUNS {
                fleet.must(&command);
                if number % BATCH == BATCH - 1 {
                    fleet.settle();
                }
            }
            fleet.settle();
        });
        let tasks = RUNS * usize::try_from(count).expect("a small number");
        say(&format!("placed by RunTask of {count}, {way}"), tasks, took);
    }
}

pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = process::busy();
    let result = work();
    let took = process::busy().saturating_sub(start);
    drop(result);
    took
}

pub(crate) fn say(what: &str, count: usize, took: Duration) {
    let each = took / u32::try_from(count.max(1)).expect("fewer than 2^32");
    println!("  {:>12} a second ({each:.2?} each, {took:.2?} in all): {what}", rate(count, took));
}

fn rate(count: usize, took: Duration) -> u128 {
    count as u128 * 1_000_000_000 / took.as_nanos().max(1)
}
