//! What users see when hosts go and come back.

use std::time::Duration;

use ecsr_api::ecs;

use super::hosts::TASKS_ENDED_AFTER;
use crate::command::Command;
use crate::host_lost_after;
use crate::ids::{InstanceKey, ServiceKey, TaskKey};
use crate::state::{Desired, Known, Presence, ServiceStatus, StopCode};
use crate::testing::World;

const SECOND: Duration = Duration::from_secs(1);

/// Instances in a cluster, and a running service on them.
fn world(instances: usize, count: i32) -> (World, Vec<InstanceKey>, ServiceKey) {
    let mut world = World::new();
    let hosts = (0..instances).map(|_| world.instance("a", 4096, 8192)).collect();
    world.define("web", |_| {});
    let service = world.serve("web", count, |_| {});
    world.obey(&service, |_| {});
    (world, hosts, service)
}

fn disconnect(world: &mut World, instance: &InstanceKey) {
    world.must(Command::AgentDisconnected { instance: instance.clone() });
}

fn connect(world: &mut World, instance: &InstanceKey) {
    let version_info = ecs::VersionInfo::default();
    world.must(Command::AgentConnected { instance: instance.clone(), version_info });
}

/// The hosts are off: channels break, and nothing answers.
fn power_off(world: &mut World, instances: &[InstanceKey]) {
    for instance in instances {
        disconnect(world, instance);
    }
    world.must(Command::HostsProbed { answered: Vec::new(), unanswered: instances.to_vec() });
}

/// Lets time pass as the shell does, woken whenever the cluster wants to be.
fn wait(world: &mut World, long: Duration) {
    let end = world.now.plus(long);
    while world.now < end {
        let left = end.since(world.now);
        world.pass(left);
    }
}

fn on(world: &World, service: &ServiceKey, instance: &InstanceKey, desired: Desired) -> Vec<TaskKey> {
    let tasks = world.tasks(service).into_iter();
    let here = tasks.filter(|task| task.instance == instance.id && task.desired == desired);
    here.map(|task| task.key.clone()).collect()
}

fn presence(world: &World, instance: &InstanceKey) -> Presence {
    world.host(instance).presence
}

#[test]
fn the_tasks_of_a_host_that_is_off_are_replaced() {
    let (mut world, hosts, service) = world(3, 6);
    let old = on(&world, &service, &hosts[0], Desired::Running);
    assert_eq!(old.len(), 2);
    power_off(&mut world, &hosts[..1]);
    wait(&mut world, host_lost_after::DEFAULT.saturating_sub(SECOND));
    assert_eq!(on(&world, &service, &hosts[0], Desired::Running), old, "it may come back");
    let out = world.state.tasks.get(&old[0]).unwrap();
    assert!(!world.state.serves(out), "but gets no requests");

    wait(&mut world, SECOND);
    assert!(presence(&world, &hosts[0]).is_lost());
    world.obey_on(&service, &hosts[1..]);
    assert_eq!(world.running(&service), 6);
    assert!(on(&world, &service, &hosts[0], Desired::Running).is_empty());
    let stopped = world.state.tasks.get(&old[0]).unwrap();
    let stop = stopped.stop.clone().unwrap();
    assert_eq!((stop.code, stopped.known), (StopCode::TerminationNotice, Known::Running));
    assert!(stop.reason.ends_with(" terminated."), "{}", stop.reason);
    assert_eq!(world.has_said(&service, "has lost 2 tasks"), 1);
    assert!(world.service(&service).steady_since.is_some(), "tasks of the lost host do not keep it unsteady");
    assert_eq!(world.service(&service).primary().failed_tasks, 0, "it is not the deployment's fault");
}

#[test]
fn a_silent_agent_on_a_living_host_changes_nothing() {
    let (mut world, hosts, service) = world(2, 4);
    let events = world.events.len();
    disconnect(&mut world, &hosts[0]);
    world.must(Command::HostsProbed { answered: hosts[..1].to_vec(), unanswered: Vec::new() });
    wait(&mut world, Duration::from_hours(1));
    assert_eq!(on(&world, &service, &hosts[0], Desired::Running).len(), 2);
    assert!(world.tasks(&service).iter().all(|task| world.state.serves(task)));
    assert_eq!(world.events.len(), events + 1, "only that it disconnected");
}

#[test]
fn a_host_that_answers_again_in_time_keeps_its_tasks() {
    let (mut world, hosts, service) = world(2, 4);
    power_off(&mut world, &hosts[..1]);
    wait(&mut world, 2 * SECOND);
    world.must(Command::HostsProbed { answered: hosts[..1].to_vec(), unanswered: Vec::new() });
    wait(&mut world, Duration::from_hours(1));
    assert!(world.tasks(&service).iter().all(|task| world.state.serves(task)));
    assert_eq!(on(&world, &service, &hosts[0], Desired::Running).len(), 2);
}

#[test]
fn a_lost_host_gets_tasks_again_once_its_agent_is_back_and_not_before() {
    let (mut world, hosts, service) = world(2, 4);
    power_off(&mut world, &hosts[..1]);
    wait(&mut world, host_lost_after::DEFAULT);
    world.must(Command::HostsProbed { answered: hosts[..1].to_vec(), unanswered: Vec::new() });
    assert!(presence(&world, &hosts[0]).is_lost());
    let held = world.state.usage_of(&hosts[0]).cpu;
    assert_eq!(held, 2 * 128, "what it may still run holds its share");

    connect(&mut world, &hosts[0]);
    assert_eq!(presence(&world, &hosts[0]), Presence::Connected);
    for task in on(&world, &service, &hosts[0], Desired::Stopped) {
        world.report(&task, "STOPPED");
    }
    assert_eq!(world.state.usage_of(&hosts[0]).cpu, 0);
    world.update(&service, |request| request.desired_count = Some(8));
    assert_eq!(on(&world, &service, &hosts[0], Desired::Running).len(), 4);
}

#[test]
fn the_tasks_of_a_host_that_never_returns_end() {
    let (mut world, hosts, service) = world(2, 4);
    let old = on(&world, &service, &hosts[0], Desired::Running);
    power_off(&mut world, &hosts[..1]);
    wait(&mut world, (host_lost_after::DEFAULT + TASKS_ENDED_AFTER).saturating_sub(SECOND));
    assert_eq!(world.state.tasks.get(&old[0]).unwrap().known, Known::Running);
    wait(&mut world, SECOND);
    assert_eq!(world.state.tasks.get(&old[0]).unwrap().known, Known::Stopped);
    assert_eq!(world.state.usage_of(&hosts[0]).cpu, 0);

    world.must(Command::DeleteService(Box::new(ecs::DeleteServiceRequest {
        service: Some("web".into()),
        force: Some(true),
        ..ecs::DeleteServiceRequest::default()
    })));
    world.obey(&service, |_| {});
    assert_eq!(world.service(&service).status, ServiceStatus::Inactive);
}

#[test]
fn a_scheduler_that_lost_its_own_network_gives_nobody_up() {
    for (instances, vanished, held) in [
        (1, 1, true),
        (2, 2, true),
        (2, 1, false),
        (3, 2, false),
        (5, 3, true),
        (20, 11, false),
        (20, 12, true),
    ] {
        let (mut world, hosts, service) = world(instances, 20);
        power_off(&mut world, &hosts[..vanished]);
        wait(&mut world, Duration::from_mins(2));
        let lost = hosts.iter().filter(|key| presence(&world, key).is_lost()).count();
        assert_eq!(lost, if held { 0 } else { vanished }, "{vanished} of {instances}");
        let said = world.has_said(&service, "most of the cluster vanished at once");
        assert_eq!(said, usize::from(held), "said once: {vanished} of {instances}");
    }
}

#[test]
fn who_stays_away_after_a_held_back_outage_is_given_up() {
    let (mut world, hosts, _) = world(5, 10);
    power_off(&mut world, &hosts);
    wait(&mut world, Duration::from_mins(10));
    assert_eq!(hosts.iter().filter(|key| presence(&world, key).is_lost()).count(), 0);
    for back in &hosts[..4] {
        connect(&mut world, back);
    }
    wait(&mut world, Duration::from_secs(10));
    assert!(presence(&world, &hosts[4]).is_lost());
}

#[test]
fn a_new_scheduler_counts_from_its_start() {
    let (mut world, hosts, service) = world(3, 6);
    power_off(&mut world, &hosts[..1]);
    wait(&mut world, host_lost_after::DEFAULT.saturating_sub(SECOND));
    for host in &hosts {
        disconnect(&mut world, host);
    }
    wait(&mut world, Duration::from_hours(24));
    assert_eq!(on(&world, &service, &hosts[0], Desired::Running).len(), 2, "nobody was asked yet");
    for host in &hosts[1..] {
        connect(&mut world, host);
    }
    world.must(Command::HostsProbed { answered: Vec::new(), unanswered: hosts[..1].to_vec() });
    wait(&mut world, host_lost_after::DEFAULT.saturating_sub(SECOND));
    assert!(!presence(&world, &hosts[0]).is_lost());
    wait(&mut world, SECOND);
    assert!(presence(&world, &hosts[0]).is_lost());
}

#[test]
fn a_cluster_says_how_long_to_wait() {
    let (mut world, hosts, service) = world(2, 4);
    let tag = |value: &str| {
        let tag = ecs::Tag { key: Some(host_lost_after::TAG.into()), value: Some(value.into()) };
        Command::TagResource(Box::new(ecs::TagResourceRequest {
            resource_arn: Some("arn:aws:ecs:us-east-1:123456789012:cluster/default".into()),
            tags: Some(vec![tag]),
        }))
    };
    let refusal = world.ask(&tag("soon")).unwrap_err().to_string();
    assert!(refusal.contains("between 1 and 86400"), "{refusal}");
    world.must(tag("never"));
    power_off(&mut world, &hosts[..1]);
    wait(&mut world, Duration::from_hours(24));
    assert!(!presence(&world, &hosts[0]).is_lost());
    world.must(tag("60"));
    disconnect(&mut world, &hosts[0]);
    power_off(&mut world, &hosts[..1]);
    wait(&mut world, Duration::from_secs(59));
    assert_eq!(on(&world, &service, &hosts[0], Desired::Running).len(), 2);
    wait(&mut world, SECOND);
    assert!(on(&world, &service, &hosts[0], Desired::Running).is_empty());
}

#[test]
fn a_daemon_has_no_task_on_a_lost_host_and_one_again_when_it_is_back() {
    let (mut world, hosts, _) = world(3, 0);
    let daemon = world.serve("web-daemon", 0, |request| {
        request.task_definition = Some("web".into());
        request.scheduling_strategy = Some("DAEMON".into());
        request.desired_count = None;
    });
    world.obey(&daemon, |_| {});
    power_off(&mut world, &hosts[..1]);
    wait(&mut world, host_lost_after::DEFAULT);
    assert_eq!(world.service(&daemon).desired_count, 2);
    assert_eq!(world.running(&daemon), 2);
    connect(&mut world, &hosts[0]);
    world.obey(&daemon, |_| {});
    assert_eq!((world.service(&daemon).desired_count, world.running(&daemon)), (3, 3));
}
