//! What is shown of a task, and what is not.

use super::*;
use crate::state::{Stop, StopCode};
use crate::view::testing::{self, NOW, World};

fn members(world: &World, key: &crate::ids::TaskKey) -> serde_json::Value {
    let tasks = Tasks::new(&world.state, vec![world.task(key)], ShowTags::No);
    serde_json::to_value(tasks.iter().next()).unwrap()
}

#[test]
fn what_has_not_happened_is_absent() {
    let mut world = World::with_service();
    let key = world.add_task(1, |_| {});
    let shown = members(&world, &key);
    for absent in [
        "connectivity",
        "connectivityAt",
        "executionStoppedAt",
        "healthStatus",
        "pullStartedAt",
        "startedAt",
        "startedBy",
        "stopCode",
        "stoppedAt",
        "stoppedReason",
        "stoppingAt",
    ] {
        assert!(shown.get(absent).is_none(), "{absent}");
    }
    for absent in ["exitCode", "healthStatus", "imageDigest", "networkBindings", "reason", "runtimeId"] {
        assert!(shown["containers"][0].get(absent).is_none(), "{absent}");
    }
    assert_eq!(shown["createdAt"], serde_json::json!(1_700_000_000));
    assert_eq!(shown["attachments"], serde_json::json!([]));
    assert_eq!(shown["tags"], serde_json::json!([]));
    assert_eq!(shown["attributes"], serde_json::json!([{"name": "ecs.cpu-architecture", "value": "x86_64"}]));
}

#[test]
fn sizes_are_strings_and_every_container_has_its_override() {
    let mut world = World::with_service();
    let given = ecs::ContainerOverride {
        name: Some("app".to_owned()),
        cpu: Some(100),
        ..ecs::ContainerOverride::default()
    };
    let key = world.add_task(1, |task| {
        task.overrides = std::sync::Arc::new(ecs::TaskOverride {
            container_overrides: Some(vec![given]),
            ..ecs::TaskOverride::default()
        });
    });
    let shown = members(&world, &key);
    assert_eq!(shown["memory"], serde_json::json!("512"));
    assert_eq!(shown["containers"][0]["cpu"], serde_json::json!("100"));
    assert_eq!(shown["containers"][0]["memory"], serde_json::json!("512"));
    assert_eq!(shown["cpu"], serde_json::json!("100"));
    assert_eq!(
        shown["overrides"],
        serde_json::json!({
            "containerOverrides": [{"name": "app", "cpu": 100}],
            "inferenceAcceleratorOverrides": []
        })
    );
}

#[test]
fn a_running_task_of_a_service_says_so() {
    let world = World::with_service();
    let key = crate::ids::TaskKey { cluster: testing::CLUSTER.into(), id: testing::task_id(0xa1) };
    let shown = members(&world, &key);
    assert_eq!(shown["lastStatus"], serde_json::json!("RUNNING"));
    assert_eq!(shown["connectivity"], serde_json::json!("CONNECTED"));
    assert_eq!(shown["healthStatus"], serde_json::json!("UNKNOWN"));
    assert!(shown["startedBy"].as_str().unwrap().starts_with("ecs-svc/"));
    assert_eq!(
        shown["containers"][0]["networkBindings"],
        serde_json::json!([{"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp"}])
    );
}

#[test]
fn a_task_that_is_being_stopped_still_shows_what_is_known() {
    let mut world = World::with_service();
    let key = world.add_task(1, |task| {
        task.known = Known::Running;
        task.desired = Desired::Stopped;
        task.times.stopping = Some(NOW);
        task.stop = Some(Box::new(Stop { code: StopCode::UserInitiated, reason: "enough".to_owned() }));
    });
    let shown = members(&world, &key);
    assert_eq!([&shown["lastStatus"], &shown["desiredStatus"]], ["RUNNING", "STOPPED"]);
    assert_eq!([&shown["stopCode"], &shown["stoppedReason"]], ["UserInitiated", "enough"]);
    assert!(shown.get("stoppedAt").is_none());
}

#[test]
fn health_is_that_of_essential_containers_with_a_check() {
    let mut world = World::with_service();
    let mut next = 0;
    let mut check = |containers: &[(bool, bool, Health)], expected: Health| {
        next += 1;
        let key = world.add_task(next, |task| {
            task.containers = containers
                .iter()
                .map(|(essential, health_checked, health)| Container {
                    essential: *essential,
                    health_checked: *health_checked,
                    health: *health,
                    ..testing::container("app")
                })
                .collect();
        });
        assert_eq!(task_health(world.task(&key)), expected, "{containers:?}");
    };
    check(&[(true, false, Health::Unknown)], Health::Unknown);
    check(&[(true, true, Health::Healthy)], Health::Healthy);
    check(&[(true, true, Health::Healthy), (true, false, Health::Unknown)], Health::Healthy);
    check(&[(true, true, Health::Healthy), (true, true, Health::Unknown)], Health::Unknown);
    check(&[(true, true, Health::Healthy), (true, true, Health::Unhealthy)], Health::Unhealthy);
    check(&[(true, true, Health::Healthy), (false, true, Health::Unhealthy)], Health::Healthy);
    check(&[(false, true, Health::Healthy)], Health::Unknown);
}
