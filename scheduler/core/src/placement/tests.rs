//! Where tasks go, and what is said of where they cannot go.

use ecsr_api::ecs;

use super::{Ask, Shortfall, place};
use crate::context::Context;
use crate::ids::Name;
use crate::state::{Definition, State};
use crate::task_definition::{Constraint, Strategy, demand, strategies};
use crate::testing::World;

fn placed(
    world: &World,
    family: &str,
    constraints: &[Constraint],
    strategy: &[Strategy],
    count: u32,
) -> super::Placement {
    let cluster = Name::from("default");
    let group = Name::from("family:web");
    let definition: &Definition = latest(&world.state, family);
    let demand = demand(&definition.document, None);
    let ask = Ask { cluster: &cluster, demand: &demand, constraints, strategy, group: &group };
    place(&world.state, &ask, count, &mut Context::for_test(3))
}

fn latest<'a>(state: &'a State, family: &str) -> &'a Definition {
    state.latest_definition(&Name::from(family)).expect("the family is registered")
}

fn strategy(kind: &str, field: &str) -> Vec<Strategy> {
    strategies(&[ecs::PlacementStrategy { r#type: Some(kind.into()), field: Some(field.into()) }])
        .expect("a valid strategy")
}

#[test]
fn no_instance_is_promised_more_than_it_has() {
    let check = |change: fn(&mut ecs::ContainerDefinition), fits: usize, lacks: Shortfall| {
        let mut world = World::new();
        world.instance("a", 1024, 1024);
        world.define("web", change);
        let placement = placed(&world, "web", &[], &[], 10);
        assert_eq!(placement.chosen.len(), fits);
        assert_eq!(placement.shortfalls.first().map(|(_, lack)| lack.clone()), Some(lacks));
    };
    check(|container| container.cpu = Some(300), 3, Shortfall::Cpu);
    check(|container| container.memory = Some(500), 2, Shortfall::Memory);
    check(|container| container.cpu = Some(1025), 0, Shortfall::Cpu);
    check(|container| container.port_mappings = Some(vec![port(80)]), 1, Shortfall::Port(80));
    check(|container| container.privileged = Some(true), 0, missing("privileged-container"));
}

fn port(host: i32) -> ecs::PortMapping {
    ecs::PortMapping { container_port: Some(80), host_port: Some(host), ..ecs::PortMapping::default() }
}

fn missing(capability: &str) -> Shortfall {
    Shortfall::Attribute(format!("com.amazonaws.ecs.capability.{capability}"))
}

#[test]
fn binpack_fills_the_fullest_first() {
    let mut world = World::new();
    let small = world.instance("a", 512, 1024);
    world.instance("b", 4096, 8192);
    world.define("web", |_| {});
    let placement = placed(&world, "web", &[], &strategy("binpack", "cpu"), 4);
    assert!(placement.chosen.iter().all(|instance| instance.key == small));
}

#[test]
fn distinct_instances_take_one_each() {
    let mut world = World::new();
    world.instance("a", 4096, 4096);
    world.instance("b", 4096, 4096);
    world.define("web", |_| {});
    let placement = placed(&world, "web", &[Constraint::DistinctInstance], &[], 3);
    assert_eq!(placement.chosen.len(), 2);
    assert!(placement.shortfalls.iter().all(|(_, lack)| *lack == Shortfall::DistinctInstance));
}

#[test]
fn an_expression_narrows_the_choice() {
    let mut world = World::new();
    world.instance("a", 4096, 4096);
    let wanted = world.instance("b", 4096, 4096);
    world.define("web", |_| {});
    let expression = crate::query::parse("attribute:ecs.availability-zone == b").expect("a valid expression");
    let placement = placed(&world, "web", &[Constraint::MemberOf(expression)], &[], 2);
    assert!(placement.chosen.len() == 2 && placement.chosen.iter().all(|instance| instance.key == wanted));
}

#[test]
fn an_agent_that_is_away_gets_nothing() {
    let mut world = World::new();
    let away = world.instance("a", 4096, 4096);
    world.must(crate::command::Command::AgentDisconnected { instance: away.clone() });
    world.define("web", |_| {});
    let placement = placed(&world, "web", &[], &[], 1);
    assert_eq!(placement.shortfalls, [(away.clone(), Shortfall::Agent)]);
    assert!(!world.host(&away).is_connected());
}
