//! `place` against the plain words of what it means, on clusters that nobody would think of.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_api::arn::Home;
use ecsr_api::{Timestamp, ecs};
use proptest::collection::vec;
use proptest::prelude::*;

use super::pool::Pool;
use super::{Ask, Placement, choose, fill, place, plain, shortfalls};
use crate::context::Context;
use crate::ids::{DefinitionId, InstanceId, InstanceKey, Name};
use crate::launch::{KnownNames, Launch};
use crate::query;
use crate::state::{
    Definition, DefinitionStatus, Event, Instance, InstanceStatus, LaunchType, Origin, Presence, Resources,
    State, Tags,
};
use crate::task_definition::{Constraint, Demand, SpreadField, Strategy as Rule};

/// One instance: zone, rack, CPU, memory, a reserved port, and whether it is active, draining or away.
type Machine = (u8, u8, u32, u32, bool, u8);

/// One task that is there already: on which instance, of which group, how large, and with which port.
type Load = (usize, u8, u32, u32, u8);

fn machine() -> impl Strategy<Value = Machine> {
    (0..4u8, 0..3u8, 0..12u32, 0..12u32, any::<bool>(), 0..12u8)
}

fn load() -> impl Strategy<Value = Load> {
    (0..20usize, 0..3u8, 0..3u32, 0..3u32, 0..8u8)
}

fn demand() -> impl Strategy<Value = Demand> {
    let attributes = prop_oneof![9 => Just(Vec::new()), 1 => Just(vec![Arc::from("rack")])];
    let ports = || vec(80..83u16, 0..2);
    (0..4u32, 0..4u32, ports(), ports(), 0..2u32, attributes).prop_map(
        |(cpu, memory, ports_tcp, ports_udp, gpus, attributes)| Demand {
            cpu,
            memory,
            ports_tcp,
            ports_udp,
            gpus,
            attributes,
        },
    )
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let spread = |name: &str| Rule::Spread(SpreadField::Attribute(name.into()));
    let rule = prop_oneof![
        3 => Just(spread("ecs.availability-zone")),
        1 => Just(spread("rack")),
        2 => Just(Rule::Spread(SpreadField::InstanceId)),
        1 => Just(Rule::BinpackCpu),
        1 => Just(Rule::BinpackMemory),
    ];
    vec(rule, 0..4)
}

fn constraints() -> impl Strategy<Value = Vec<Constraint>> {
    let expression = |text| Constraint::MemberOf(query::parse(text).expect("a valid expression"));
    prop_oneof![
        6 => Just(Vec::new()),
        2 => Just(vec![Constraint::DistinctInstance]),
        1 => Just(vec![expression("attribute:rack == r1")]),
        1 => Just(vec![expression("task:group != g1"), Constraint::DistinctInstance]),
    ]
}

fn instance(machine: Machine, context: &mut Context) -> Instance {
    let (zone, rack, cpu, memory, reserved, status) = machine;
    // Some have no zone, some no rack.
    let zone = (zone > 0).then(|| ("ecs.availability-zone".to_owned(), Some(format!("z{zone}"))));
    let rack = (rack > 0).then(|| ("rack".to_owned(), Some(format!("r{rack}"))));
    Instance {
        key: InstanceKey { cluster: "default".into(), id: InstanceId::fresh(context) },
        status: match status {
            0 => InstanceStatus::Draining,
            1 => InstanceStatus::Inactive,
            _ => InstanceStatus::Active,
        },
        presence: match status {
            0 | 3.. => Presence::Connected,
            1 => Presence::Silent { since: Timestamp::default() },
            _ => Presence::Lost { since: Timestamp::default() },
        },
        whereabouts: None,
        ec2_instance_id: None,
        resources: Resources {
            cpu,
            memory,
            reserved_ports_tcp: if reserved { vec![80] } else { Vec::new() },
            reserved_ports_udp: Vec::new(),
            gpus: vec!["gpu-0".into(), "gpu-1".into()],
        },
        attributes: zone.into_iter().chain(rack).collect(),
        version_info: ecs::VersionInfo::default(),
        tags: Tags::new(),
        registered_at: Timestamp::default(),
        inactive_at: None,
        agent_key: None,
        version: 1,
    }
}

fn state(machines: &[Machine], loads: &[Load], context: &mut Context) -> State {
    let mut state = State::new(Home { region: "us-east-1".into(), account: "123456789012".into() });
    let instances: Vec<Instance> = machines.iter().map(|one| instance(*one, context)).collect();
    for instance in &instances {
        state.apply(&Event::InstanceSaved(Arc::new(instance.clone())));
    }
    for (place, group, cpu, memory, port) in loads {
        let demand = Demand {
            cpu: *cpu,
            memory: *memory,
            ports_tcp: if *port == 0 { vec![81] } else { Vec::new() },
            ..Demand::default()
        };
        if let Some(instance) = instances.get(*place) {
            start(&mut state, instance, format!("g{group}").into(), demand, context);
        }
    }
    state
}

/// Starts a task on an instance.
fn start(state: &mut State, instance: &Instance, group: Name, demand: Demand, context: &mut Context) {
    let definition = Definition {
        id: DefinitionId { family: "web".into(), revision: 1 },
        status: DefinitionStatus::Active,
        document: Arc::default(),
        deregistered_at: None,
        delete_requested_at: None,
        tags: Tags::new(),
    };
    let launch = Launch {
        definition: &definition,
        origin: Origin::Standalone,
        group,
        started_by: None,
        overrides: Arc::default(),
        demand: Arc::new(demand),
        launch_type: LaunchType::Ec2,
        enable_execute_command: false,
        tags: Arc::default(),
        endpoints: Box::default(),
        known_names: KnownNames::default(),
    };
    state.apply(&Event::TaskPlaced(Arc::new(launch.on(instance, context))));
}

/// A placement by a look at all instances, whatever the strategy.
fn thorough(state: &State, ask: &Ask<'_>, count: u32, context: &mut Context) -> Placement {
    let mut chosen = Vec::new();
    let mut pool = Pool::gather(state, ask, &BTreeMap::new(), context);
    fill(&mut chosen, count, || pool.take(context));
    Placement { shortfalls: shortfalls(state, ask, &chosen, count), chosen }
}

/// The tasks of a group in an instance's zone, if that matters, and on the instance itself.
fn ranks(state: &State, instance: &Instance, by_zone: bool, group: &str) -> (usize, usize) {
    let zone = |one: &Instance| one.availability_zone().unwrap_or_default().to_owned();
    let of_group = || state.tasks.values().filter(|task| &*task.group == group);
    let is_alike =
        |one: &&Arc<Instance>| one.status != InstanceStatus::Inactive && zone(one) == zone(instance);
    let alike = |id| state.instances.values().filter(is_alike).any(|one| one.key.id == id);
    let in_zone = of_group().filter(|task| by_zone && alike(task.instance)).count();
    (in_zone, of_group().filter(|task| task.instance == instance.key.id).count())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_placement_is_what_its_plain_words_say(
        machines in vec(machine(), 0..20),
        loads in vec(load(), 0..40),
        demand in demand(),
        strategy in rules(),
        constraints in constraints(),
        count in 0..24u32,
        seed in any::<u8>(),
    ) {
        let mut context = Context::for_test(seed);
        let state = state(&machines, &loads, &mut context);
        let (cluster, group) = (Name::from("default"), Name::from("g1"));
        let ask = Ask {
            cluster: &cluster,
            demand: &demand,
            constraints: &constraints,
            strategy: &strategy,
            group: &group,
        };
        let by = |place: fn(&State, &Ask<'_>, u32, &mut Context) -> Placement| {
            place(&state, &ask, count, &mut Context::for_test(seed))
        };
        prop_assert_eq!(by(thorough), by(plain::place));
    }

    /// Among the best, chance decides; but it is one of the best that is chosen, for each task in its turn.
    #[test]
    fn a_few_tasks_are_spread_as_well_as_can_be(
        machines in vec(machine(), 0..20),
        loads in vec(load(), 0..40),
        demand in demand(),
        by_zone in any::<bool>(),
        constraints in constraints(),
        count in 0..12u32,
        seed in any::<u8>(),
    ) {
        let mut context = Context::for_test(seed);
        let mut state = state(&machines, &loads, &mut context);
        let (cluster, group) = (Name::from("default"), Name::from("g1"));
        let zone = Rule::Spread(SpreadField::Attribute("ecs.availability-zone".into()));
        let strategy = [zone, Rule::Spread(SpreadField::InstanceId)];
        let ask = Ask {
            cluster: &cluster,
            demand: &demand,
            constraints: &constraints,
            strategy: if by_zone { &strategy } else { &strategy[1..] },
            group: &group,
        };
        let chosen = choose(&state, &ask, count, &mut context);
        for instance in &chosen {
            let best = plain::place(&state, &ask, 1, &mut context).chosen;
            let ranks = |instance| ranks(&state, instance, by_zone, &group);
            prop_assert_eq!(best.first().map(|best| ranks(best)), Some(ranks(instance)));
            start(&mut state, instance, group.clone(), demand.clone(), &mut context);
        }
        let full = plain::place(&state, &ask, 1, &mut context).chosen.is_empty();
        prop_assert!(full || chosen.len() == count as usize);
    }

    /// Chance decides where, but not whether: as many tasks find room, and no instance is given more than it has.
    #[test]
    fn a_random_placement_finds_all_the_room_there_is(
        machines in vec(machine(), 0..20),
        loads in vec(load(), 0..40),
        demand in demand(),
        constraints in constraints(),
        count in 0..24u32,
        seed in any::<u8>(),
    ) {
        let mut context = Context::for_test(seed);
        let state = state(&machines, &loads, &mut context);
        let (cluster, group) = (Name::from("default"), Name::from("g1"));
        let ask = Ask {
            cluster: &cluster,
            demand: &demand,
            constraints: &constraints,
            strategy: &[Rule::Random],
            group: &group,
        };
        let placed = place(&state, &ask, count, &mut Context::for_test(seed));
        let expected = plain::place(&state, &ask, count, &mut Context::for_test(seed));
        prop_assert_eq!(placed.chosen.len(), expected.chosen.len());
        prop_assert_eq!(placed.shortfalls.len(), expected.shortfalls.len());
        for instance in &placed.chosen {
            let taken = placed.chosen.iter().filter(|other| other.key == instance.key).count();
            let usage = state.usage_of(&instance.key);
            let taken = u32::try_from(taken).expect("a small number");
            // What is there already may be more than the instance has, after it came back with less.
            let (cpu, memory) = (instance.resources.cpu, instance.resources.memory);
            prop_assert!(taken * demand.cpu <= cpu.saturating_sub(usage.cpu));
            prop_assert!(taken * demand.memory <= memory.saturating_sub(usage.memory));
        }
    }
}
