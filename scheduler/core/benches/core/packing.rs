//! How many tasks find room before the first is refused, beside best-fit.
//!
//! Sizes follow the shape that public traces of cluster schedulers share: most tasks are small, a few are as large as a
//! host, and memory per CPU varies. Hosts are of several kinds. Best-fit here is written anew on plain numbers: of the
//! hosts that have room, the one with the least memory left, then the least CPU.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_api::arn::Home;
use ecsr_api::{Timestamp, ecs};
use ecsr_core::ids::{DefinitionId, InstanceId, InstanceKey, Name};
use ecsr_core::launch::{KnownNames, Launch};
use ecsr_core::placement::{self, Ask};
use ecsr_core::state::InstanceStatus;
use ecsr_core::state::{
    Definition, DefinitionStatus, Event, Instance, LaunchType, Origin, Presence, Resources, Tags,
};
use ecsr_core::task_definition::{Demand, SpreadField, Strategy};
use ecsr_core::{Context, State};

const INSTANCES: usize = 500;
const SEEDS: u8 = 5;

/// CPU units and MiB of a host, and how many of a hundred hosts are such.
const HOSTS: [(u32, u32, u32); 4] =
    [(2048, 8192, 40), (4096, 16_384, 30), (8192, 16_384, 20), (16_384, 131_072, 10)];

/// CPU units of a task, and how many of a hundred tasks are such.
const CPUS: [(u32, u32); 7] = [(128, 34), (256, 27), (512, 17), (1024, 11), (2048, 6), (4096, 3), (8192, 2)];

/// MiB for each 128 CPU units, and how many of a hundred tasks are such.
const MEMORIES: [(u32, u32); 4] = [(128, 20), (256, 30), (512, 30), (1024, 20)];

/// Prints how each strategy packs, as a share of what best-fit packs.
pub(crate) fn measure() {
    println!("packing {INSTANCES} instances, tasks before the first refusal, mean of {SEEDS} seeds");
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut context = Context::new(Timestamp::default(), String::new(), [seed; 32]);
        let hosts: Vec<(u32, u32)> = (0..INSTANCES).map(|_| host(&mut context)).collect();
        let trace: Vec<Demand> = (0..INSTANCES * 200).map(|_| task(&mut context)).collect();
        *totals.entry("best-fit").or_default() += best_fit(&hosts, &trace);
        for (name, strategy) in strategies() {
            *totals.entry(name).or_default() += packed(&hosts, &trace, &strategy, &mut context);
        }
    }
    let best_fit = totals["best-fit"];
    for (name, total) in totals {
        let percent = total * 1000 / best_fit;
        println!(
            "  {:>12} tasks ({}.{}% of best-fit): {name}",
            total / usize::from(SEEDS),
            percent / 10,
            percent % 10
        );
    }
}

fn strategies() -> [(&'static str, Vec<Strategy>); 5] {
    [
        ("binpack by memory, then CPU", vec![Strategy::BinpackMemory, Strategy::BinpackCpu]),
        ("binpack by memory", vec![Strategy::BinpackMemory]),
        ("binpack by CPU", vec![Strategy::BinpackCpu]),
        ("random", vec![Strategy::Random]),
        ("spread by instance", vec![Strategy::Spread(SpreadField::InstanceId)]),
    ]
}

fn best_fit(hosts: &[(u32, u32)], trace: &[Demand]) -> usize {
    let mut left = hosts.to_vec();
    for (placed, demand) in trace.iter().enumerate() {
        let fits = |(cpu, memory): &(u32, u32)| demand.cpu <= *cpu && demand.memory <= *memory;
        let best = left.iter_mut().filter(|host| fits(host)).min_by_key(|(cpu, memory)| (*memory, *cpu));
        let Some((cpu, memory)) = best else { return placed };
        *cpu -= demand.cpu;
        *memory -= demand.memory;
    }
    trace.len()
}

fn packed(hosts: &[(u32, u32)], trace: &[Demand], strategy: &[Strategy], context: &mut Context) -> usize {
    let mut state = State::new(Home { region: "us-east-1".into(), account: "123456789012".into() });
    for (cpu, memory) in hosts {
        state.apply(&Event::InstanceSaved(Arc::new(instance(*cpu, *memory, context))));
    }
    let definition = Definition {
        id: DefinitionId { family: "web".into(), revision: 1 },
        status: DefinitionStatus::Active,
        document: Arc::default(),
        deregistered_at: None,
        delete_requested_at: None,
        tags: Tags::new(),
    };
    let (cluster, group) = (Name::from("default"), Name::from("family:web"));
    for (placed, demand) in trace.iter().enumerate() {
        let ask = Ask { cluster: &cluster, demand, constraints: &[], strategy, group: &group };
        let placement = placement::place(&state, &ask, 1, context);
        let Some(instance) = placement.chosen.first() else { return placed };
        let launch = Launch {
            definition: &definition,
            origin: Origin::Standalone,
            group: group.clone(),
            started_by: None,
            overrides: Arc::default(),
            demand: Arc::new(demand.clone()),
            launch_type: LaunchType::Ec2,
            enable_execute_command: false,
            tags: Arc::default(),
            endpoints: Box::default(),
            known_names: KnownNames::default(),
        };
        state.apply(&Event::TaskPlaced(Arc::new(launch.on(instance, context))));
    }
    trace.len()
}

fn host(context: &mut Context) -> (u32, u32) {
    let (cpu, memory, _) = HOSTS[drawn(&HOSTS.map(|(_, _, share)| share), context)];
    (cpu, memory)
}

fn task(context: &mut Context) -> Demand {
    let (cpu, _) = CPUS[drawn(&CPUS.map(|(_, share)| share), context)];
    let (memory, _) = MEMORIES[drawn(&MEMORIES.map(|(_, share)| share), context)];
    Demand { cpu, memory: cpu / 128 * memory, ..Demand::default() }
}

/// A place in a list, as often as its share of a hundred.
fn drawn(shares: &[u32], context: &mut Context) -> usize {
    let mut at = u32::from_be_bytes(context.bytes()) % 100;
    for (place, share) in shares.iter().enumerate() {
        if at < *share {
            return place;
        }
        at -= share;
    }
    shares.len() - 1
}

fn instance(cpu: u32, memory: u32, context: &mut Context) -> Instance {
    Instance {
        key: InstanceKey { cluster: "default".into(), id: InstanceId::fresh(context) },
        status: InstanceStatus::Active,
        presence: Presence::Connected,
        whereabouts: None,
        ec2_instance_id: None,
        resources: Resources { cpu, memory, ..Resources::default() },
        attributes: BTreeMap::new(),
        version_info: ecs::VersionInfo::default(),
        tags: Tags::new(),
        registered_at: Timestamp::default(),
        inactive_at: None,
        agent_key: None,
        version: 1,
    }
}
