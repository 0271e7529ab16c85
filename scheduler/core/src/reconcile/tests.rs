//! What a user sees the service scheduler do.

use std::time::Duration;

use ecsr_api::ecs;

use crate::command::Command;
use crate::ids::{InstanceKey, ServiceKey};
use crate::state::{Desired, Event, Health, Known, Rollout, ServiceStatus, State};
use crate::testing::World;

fn world(instances: usize) -> World {
    let mut world = World::new();
    for index in 0..instances {
        world.instance(["a", "b", "c"][index % 3], 4096, 8192);
    }
    world.define("web", |_| {});
    world
}

fn drain(world: &mut World, instance: &InstanceKey) {
    world.must(Command::UpdateContainerInstancesState(Box::new(ecs::UpdateContainerInstancesStateRequest {
        container_instances: Some(vec![instance.id.to_string()]),
        status: Some("DRAINING".into()),
        ..ecs::UpdateContainerInstancesStateRequest::default()
    })));
}

fn deployment(minimum: i32, maximum: i32) -> ecs::DeploymentConfiguration {
    ecs::DeploymentConfiguration {
        minimum_healthy_percent: Some(minimum),
        maximum_percent: Some(maximum),
        ..ecs::DeploymentConfiguration::default()
    }
}

/// A circuit breaker that returns to what worked.
fn rolling_back() -> ecs::DeploymentConfiguration {
    let breaker =
        ecs::DeploymentCircuitBreaker { enable: Some(true), rollback: Some(true), ..Default::default() };
    ecs::DeploymentConfiguration {
        deployment_circuit_breaker: Some(breaker),
        ..ecs::DeploymentConfiguration::default()
    }
}

fn healthy_and_active(state: &State, service: &ServiceKey) -> (usize, usize) {
    let active = state.live_tasks_of(service).filter(|task| task.desired == Desired::Running);
    let all: Vec<_> = active.collect();
    (all.iter().filter(|task| task.known == Known::Running).count(), all.len())
}

#[test]
fn a_service_gets_its_fourteen_tasks() {
    let mut world = world(1);
    let service = world.serve("web", 14, |_| {});
    assert_eq!(world.tasks(&service).len(), 14);
    assert!(world.said(&service).starts_with("(service web) has started 14 tasks: (task "));
    world.obey(&service, |_| {});
    assert_eq!(world.running(&service), 14);
    assert_eq!(world.said(&service), "(service web) has reached a steady state.");
    assert_eq!(world.service(&service).primary().rollout, Rollout::Completed);
}

#[test]
fn tasks_spread_over_zones_then_instances() {
    let mut world = world(6);
    let service = world.serve("web", 14, |_| {});
    assert_eq!(world.spread(&service), [2, 2, 2, 2, 3, 3]);
}

#[test]
fn a_task_that_dies_is_replaced_at_once() {
    let mut world = world(1);
    let service = world.serve("web", 3, |_| {});
    world.obey(&service, |_| {});
    let victim = world.tasks(&service)[0].key.clone();
    world.report(&victim, "STOPPED");
    assert_eq!(world.tasks(&service).len(), 3);
    world.obey(&service, |_| {});
    assert_eq!(world.running(&service), 3);
    assert_eq!(world.has_said(&service, "has reached a steady state."), 2);
}

#[test]
fn scaling_in_keeps_the_balance() {
    let mut world = world(3);
    let service = world.serve("web", 9, |_| {});
    world.obey(&service, |_| {});
    world.update(&service, |request| request.desired_count = Some(4));
    world.obey(&service, |_| {});
    assert_eq!(world.spread(&service), [1, 1, 2]);
    assert_eq!(world.has_said(&service, "has stopped 5 running tasks"), 1);
    assert_eq!(world.service(&service).deployments.len(), 1);
}

#[test]
fn a_new_revision_rolls_within_the_bounds() {
    let check = |desired: i32, minimum: i32, maximum: i32| {
        let mut world = world(2);
        let service = world.serve("web", desired, |request| {
            request.deployment_configuration = Some(deployment(minimum, maximum));
        });
        world.obey(&service, |_| {});
        world.define("web", |_| {});
        world.update(&service, |request| request.task_definition = Some("web".into()));
        let bounds = world.service(&service).spec.bounds;
        let desired = u32::try_from(desired).unwrap();
        let (lower, upper) = (bounds.lower(desired) as usize, bounds.upper(desired) as usize);
        world.obey(&service, |state| {
            let (healthy, active) = healthy_and_active(state, &service);
            assert!(healthy >= lower, "{healthy} healthy of at least {lower}");
            assert!(active <= upper, "{active} active of at most {upper}");
        });
        assert_eq!(world.running(&service), desired as usize);
        assert!(world.tasks(&service).iter().all(|task| task.definition.revision == 2));
        assert_eq!(world.service(&service).deployments.len(), 1);
        assert_eq!(world.service(&service).primary().rollout, Rollout::Completed);
    };
    check(14, 100, 200);
    check(4, 50, 100);
    check(4, 50, 150);
    check(3, 0, 100);
    check(1, 100, 200);
    check(10, 90, 110);
}

#[test]
fn bounds_that_allow_no_step_are_complained_of() {
    let mut world = world(1);
    let service =
        world.serve("web", 2, |request| request.deployment_configuration = Some(deployment(100, 100)));
    world.obey(&service, |_| {});
    world.update(&service, |request| request.force_new_deployment = Some(true));
    assert!(world.said(&service).contains("because of the service deployment configuration"));
    assert_eq!(world.running(&service), 2);
    world.pass(Duration::from_mins(1));
    assert_eq!(world.has_said(&service, "because of the service deployment configuration"), 1);
}

#[test]
fn a_draining_instance_gives_its_tasks_away() {
    let mut world = world(1);
    let service = world.serve("web", 4, |_| {});
    world.obey(&service, |_| {});
    let old = world.tasks(&service)[0].instance;
    world.instance("b", 4096, 8192);
    let leaving = InstanceKey { cluster: "default".into(), id: old };
    drain(&mut world, &leaving);
    world.obey(&service, |state| assert!(healthy_and_active(state, &service).0 >= 4));
    assert!(world.tasks(&service).iter().all(|task| task.instance != old));
    assert_eq!(world.running(&service), 4);
}

#[test]
fn what_does_not_fit_is_told_once_and_placed_when_there_is_room() {
    let mut world = world(1);
    world.define("big", |container| container.memory = Some(5000));
    let service = world.serve("big", 2, |_| {});
    assert_eq!(world.tasks(&service).len(), 1);
    assert!(world.said(&service).contains("has insufficient memory available."), "{}", world.said(&service));
    world.obey(&service, |_| {});
    assert_eq!(world.has_said(&service, "was unable to place a task"), 1);
    world.instance("b", 4096, 8192);
    world.obey(&service, |_| {});
    assert_eq!(world.running(&service), 2);
}

#[test]
fn an_empty_cluster_is_named_as_the_reason() {
    let mut world = world(0);
    let service = world.serve("web", 1, |_| {});
    assert_eq!(
        world.said(&service),
        "(service web) was unable to place a task because no container instance met all of its requirements. \
         Reason: No Container Instances were found in your cluster. For more information, see the Troubleshooting \
         section of the Amazon ECS Developer Guide."
    );
}

#[test]
fn crash_loops_are_backed_off_and_a_new_revision_starts_at_once() {
    let mut world = world(1);
    let service = world.serve("web", 1, |_| {});
    for _ in 0..5 {
        while world.tasks(&service).is_empty() {
            world.pass(Duration::from_hours(1));
        }
        let task = world.tasks(&service)[0].key.clone();
        world.report(&task, "STOPPED");
    }
    let waited = world.service(&service).primary().retry_at.expect("the next start waits").since(world.now);
    assert_eq!(waited, Duration::from_secs(8));
    assert!(world.tasks(&service).is_empty());
    assert!(world.has_said(&service, "is unable to consistently start tasks successfully") > 0);
    world.define("web", |_| {});
    world.update(&service, |request| request.task_definition = Some("web".into()));
    assert_eq!(world.tasks(&service).len(), 1);
}

#[test]
fn the_circuit_breaker_returns_to_what_worked() {
    let mut world = world(1);
    let service = world.serve("web", 2, |request| request.deployment_configuration = Some(rolling_back()));
    world.obey(&service, |_| {});
    world.define("web", |_| {});
    world.update(&service, |request| request.task_definition = Some("web".into()));
    for _ in 0..20 {
        let new = world.tasks(&service).into_iter().find(|task| task.definition.revision == 2);
        match new {
            Some(task) => world.report(&task.key, "STOPPED"),
            None => world.pass(Duration::from_mins(1)),
        }
        assert_eq!(world.running(&service), 2);
    }
    world.obey(&service, |_| {});
    assert_eq!(world.service(&service).definition.revision, 1);
    assert_eq!(world.service(&service).deployments.len(), 1);
    assert!(world.has_said(&service, "deployment failed: tasks failed to start.") == 1);
}

#[test]
fn an_unhealthy_task_leaves_when_its_replacement_is_healthy() {
    let mut world = world(1);
    world.define("checked", |container| {
        container.health_check = Some(ecs::HealthCheck {
            command: Some(vec!["CMD".into(), "true".into()]),
            ..ecs::HealthCheck::default()
        });
    });
    let service = world.serve("checked", 1, |_| {});
    world.obey(&service, |_| {});
    let first = world.tasks(&service)[0].key.clone();
    assert_eq!(world.service(&service).primary().rollout, Rollout::InProgress);
    world.health(&first, Health::Healthy);
    assert_eq!(world.service(&service).primary().rollout, Rollout::Completed);
    world.health(&first, Health::Unhealthy);
    world.obey(&service, |_| {});
    let second = world.tasks(&service).into_iter().find(|task| task.key != first).expect("a replacement");
    assert_eq!(world.running(&service), 2);
    world.health(&second.key, Health::Healthy);
    world.obey(&service, |_| {});
    assert_eq!(world.tasks(&service).len(), 1);
    let stop = world.state.tasks.get(&first).and_then(|task| task.stop.clone()).expect("a reason");
    assert_eq!(stop.reason, "Task failed container health checks");
}

#[test]
fn a_daemon_is_on_every_instance_once() {
    let mut world = world(3);
    let service = world.serve("web", 0, |request| {
        request.desired_count = None;
        request.scheduling_strategy = Some("DAEMON".into());
    });
    world.obey(&service, |_| {});
    assert_eq!(world.spread(&service), [1, 1, 1]);
    let added = world.instance("a", 4096, 8192);
    world.obey(&service, |_| {});
    assert_eq!(world.spread(&service), [1, 1, 1, 1]);
    world.update(&service, |request| request.force_new_deployment = Some(true));
    world.obey(&service, |_| {});
    assert_eq!(world.spread(&service), [1, 1, 1, 1]);
    assert_eq!(world.service(&service).primary().rollout, Rollout::Completed);
    drain(&mut world, &added);
    world.obey(&service, |_| {});
    assert_eq!(world.spread(&service), [0, 1, 1, 1]);
    assert_eq!(world.service(&service).desired_count, 3);
}

#[test]
fn a_deleted_service_is_inactive_with_its_last_task() {
    let mut world = world(1);
    let service = world.serve("web", 2, |_| {});
    world.obey(&service, |_| {});
    let request = |force| {
        let service = Some("web".into());
        Command::DeleteService(Box::new(ecs::DeleteServiceRequest { service, force, ..Default::default() }))
    };
    assert!(world.ask(&request(None)).is_err());
    world.must(request(Some(true)));
    assert_eq!(world.service(&service).status, ServiceStatus::Draining);
    world.obey(&service, |_| {});
    assert_eq!(world.service(&service).status, ServiceStatus::Inactive);
    world.pass(Duration::from_secs(3601));
    world.pass(Duration::from_secs(3601));
    assert!(!world.state.services.contains_key(&service));
}

#[test]
fn a_daemon_outlives_the_absence_of_its_agent() {
    let mut world = world(2);
    let service = world.serve("web", 0, |request| {
        request.desired_count = None;
        request.scheduling_strategy = Some("DAEMON".into());
    });
    world.obey(&service, |_| {});
    let away = world.state.instances.keys().next().cloned().expect("there are two");
    world.must(Command::AgentDisconnected { instance: away });
    assert_eq!(world.running(&service), 2);
    assert_eq!(world.service(&service).desired_count, 2);
}

#[test]
fn a_revision_that_runs_for_a_moment_only_replaces_nothing() {
    let mut world = world(1);
    let service = world.serve("web", 4, |_| {});
    world.obey(&service, |_| {});
    world.define("web", |_| {});
    world.update(&service, |request| request.task_definition = Some("web".into()));
    for _ in 0..40 {
        let new = world.tasks(&service).into_iter().find(|task| task.definition.revision == 2);
        match new {
            Some(task) => {
                world.report(&task.key, "RUNNING");
                world.report(&task.key, "STOPPED");
            }
            None => world.pass(Duration::from_mins(1)),
        }
        assert_eq!(world.running(&service), 4);
    }
    assert!(world.service(&service).primary().failed_tasks >= 40 - 20);
    assert_eq!(world.service(&service).primary().rollout, Rollout::InProgress);
}

#[test]
fn a_rollback_does_not_go_round_in_circles() {
    let mut world = world(1);
    let service = world.serve("web", 1, |request| request.deployment_configuration = Some(rolling_back()));
    world.obey(&service, |_| {});
    world.update(&service, |request| request.force_new_deployment = Some(true));
    let first = world.service(&service).primary().id;
    for _ in 0..20 {
        let new = world.tasks(&service).into_iter().find(|task| task.deployment() == Some(first));
        match new {
            Some(task) => world.report(&task.key, "STOPPED"),
            None => world.pass(Duration::from_mins(1)),
        }
    }
    assert_eq!(world.service(&service).primary().id, first);
    assert_eq!(world.service(&service).primary().rollout, Rollout::Failed);
}

#[test]
fn nothing_is_planned_when_nothing_is_to_do() {
    let mut world = world(2);
    let service = world.serve("web", 5, |_| {});
    world.obey(&service, |_| {});
    let before = world.events.len();
    world.must(Command::Tick);
    world.must(Command::Tick);
    assert_eq!(world.events.len(), before);
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let run = || {
        let mut world = world(3);
        let service = world.serve("web", 7, |_| {});
        world.obey(&service, |_| {});
        world.update(&service, |request| request.desired_count = Some(2));
        serde_json::to_string(&world.events).unwrap()
    };
    assert_eq!(run(), run());
}

#[test]
fn the_events_of_a_state_build_it_again() {
    let mut world = world(2);
    let service = world.serve("web", 5, |_| {});
    world.obey(&service, |_| {});
    // A family keeps its count when its newest revision is forgotten.
    let newest = world.state.definitions.keys().next_back().expect("a service has a definition").clone();
    let numbered = Event::FamilySaved { family: newest.family.clone(), last_revision: newest.revision + 3 };
    world.state.apply(&numbered);
    let written = serde_json::to_vec(&world.state.events().collect::<Vec<_>>()).unwrap();
    let read: Vec<Event> = serde_json::from_slice(&written).unwrap();
    let mut again = State::new((*world.state.home).clone());
    for event in &read {
        again.apply(event);
    }

    // Every field by name: one that is added must be thought of here, and in `State::events`.
    let State {
        home: _,
        clusters,
        families,
        definitions,
        instances,
        services,
        service_events,
        tasks,
        tokens,
        active_definitions,
        tenants,
        service_tasks,
        stopped_tasks,
        offers,
        usage,
        peers,
        open,
        away,
        strengths,
        ailing,
        agenda,
        endpoints,
        kept,
        // Which task a pattern was taken from is of no consequence.
        patterns: _,
        zones: _,
        tallies,
    } = &world.state;
    assert_eq!((&again.clusters, &again.families), (clusters, families));
    assert_eq!((&again.definitions, &again.instances), (definitions, instances));
    assert_eq!((&again.services, &again.service_events), (services, service_events));
    assert_eq!((&again.tasks, &again.tokens), (tasks, tokens));
    assert_eq!(&again.active_definitions, active_definitions);
    assert_eq!((&again.tenants, &again.service_tasks), (tenants, service_tasks));
    assert_eq!((&again.stopped_tasks, &again.offers, &again.peers), (stopped_tasks, offers, peers));
    assert_eq!(&again.open, open);
    assert_eq!((&again.usage, &again.away, &again.tallies), (usage, away, tallies));
    assert_eq!((&again.strengths, &again.ailing), (strengths, ailing));
    assert_eq!((&again.agenda, &again.endpoints, &again.kept), (agenda, endpoints, kept));
}
