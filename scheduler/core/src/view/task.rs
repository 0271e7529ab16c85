//! A task and its containers.
//!
//! The shown status is computed from what is desired and what is known, which the state keeps apart. What has not
//! happened yet is absent: a task that was just placed has no connectivity, no health and no times but `createdAt`.
//! Numbers of CPU units and MiB are strings on a task, as ECS has them.

use ecsr_api::ecs;

use super::{ShowTags, arn};
use crate::ids::InstanceKey;
use crate::state::{Container, Desired, Health, Instance, InstanceStatus, Known, State, Task};
use crate::task_definition;

/// ECS's `Task`.
pub fn task(state: &State, task: &Task, show_tags: ShowTags) -> ecs::Task {
    let cluster = &task.key.cluster;
    let host_key = InstanceKey { cluster: cluster.clone(), id: task.instance };
    let host = state.instances.get(&host_key);
    let document = state.definitions.get(&task.definition).map(|definition| &*definition.document);
    let started_by = task.deployment().map(|deployment| deployment.to_string());
    let ecs::Task { cpu, memory, overrides, .. } = sized(task, document);
    let containers =
        task.containers.iter().map(|container| self::container(state, task, container, document));
    ecs::Task {
        attachments: Some(Vec::new()),
        attributes: Some(host.map(|host| attributes(host)).unwrap_or_default()),
        availability_zone: task.availability_zone.as_deref().map(str::to_owned),
        cluster_arn: Some(arn::cluster(state, cluster)),
        container_instance_arn: Some(arn::instance(state, &host_key)),
        containers: Some(containers.collect()),
        cpu,
        memory,
        overrides,
        desired_status: Some(desired_status(task.desired).to_owned()),
        last_status: Some(task.known.as_str().to_owned()),
        enable_execute_command: Some(task.enable_execute_command),
        group: Some(task.group.to_string()),
        health_status: has_health(task).then(|| task_health(task).as_str().to_owned()),
        launch_type: Some(task.launch_type.as_str().to_owned()),
        started_by: started_by.or_else(|| task.started_by.as_deref().map(str::to_owned)),
        tags: Some(show_tags.list(&task.tags)),
        task_arn: Some(arn::task(state, &task.key)),
        task_definition_arn: Some(arn::definition(state, &task.definition)),
        version: Some(task.version),
        ..happened(task, host.map(AsRef::as_ref))
    }
}

/// The members that stay absent until something has happened.
fn happened(task: &Task, host: Option<&Instance>) -> ecs::Task {
    let times = &task.times;
    // A task is placed only on an instance whose agent is connected at that moment.
    let connectivity = task.acknowledged.then(|| connectivity(host));
    ecs::Task {
        connectivity: connectivity.map(str::to_owned),
        connectivity_at: connectivity.map(|_| times.created),
        created_at: Some(times.created),
        pull_started_at: times.pull_started,
        pull_stopped_at: times.pull_stopped,
        started_at: times.started,
        stopping_at: times.stopping,
        execution_stopped_at: times.execution_stopped,
        stopped_at: times.stopped,
        stop_code: task.stop.as_ref().map(|stop| stop.code.as_str().to_owned()),
        stopped_reason: task.stop.as_ref().map(|stop| stop.reason.clone()),
        ..ecs::Task::default()
    }
}

/// Only essential containers that have a health check count: HEALTHY if all are, UNHEALTHY if one is.
pub fn task_health(task: &Task) -> Health {
    let checked =
        || task.containers.iter().filter(|container| container.essential && container.health_checked);
    if checked().any(|container| container.health == Health::Unhealthy) {
        Health::Unhealthy
    } else if checked().next().is_some() && checked().all(|container| container.health == Health::Healthy) {
        Health::Healthy
    } else {
        Health::Unknown
    }
}

/// Health is spoken of from the moment that something runs.
fn has_health(task: &Task) -> bool {
    task.known != Known::Pending
        || task.containers.iter().any(|container| container.health != Health::Unknown)
}

fn desired_status(desired: Desired) -> &'static str {
    match desired {
        Desired::Running => "RUNNING",
        Desired::Stopped => "STOPPED",
    }
}

fn connectivity(host: Option<&Instance>) -> &'static str {
    let connected = host.is_some_and(|host| match host.status {
        InstanceStatus::Active | InstanceStatus::Draining => host.is_connected(),
        InstanceStatus::Inactive => false,
    });
    if connected { "CONNECTED" } else { "DISCONNECTED" }
}

/// Of all that an instance has, ECS repeats on its tasks only what decides which images run there.
fn attributes(host: &Instance) -> Vec<ecs::Attribute> {
    const ARCHITECTURE: &str = "ecs.cpu-architecture";
    let attribute = |value: &str| ecs::Attribute {
        name: Some(ARCHITECTURE.to_owned()),
        value: Some(value.to_owned()),
        ..ecs::Attribute::default()
    };
    host.attribute(ARCHITECTURE).map(attribute).into_iter().collect()
}

/// The sizes and overrides that ECS shows, which come from the definition and the overrides together. Without the
/// definition, which is kept for as long as a task uses it, only what the task itself holds could be said.
fn sized(task: &Task, document: Option<&ecs::TaskDefinition>) -> ecs::Task {
    let Some(document) = document else {
        return ecs::Task {
            cpu: Some(task.demand.cpu.to_string()),
            memory: Some(task.demand.memory.to_string()),
            overrides: Some(ecs::TaskOverride::clone(&task.overrides)),
            ..ecs::Task::default()
        };
    };
    let size = task_definition::shown_size(document, Some(&task.overrides));
    ecs::Task {
        cpu: Some(size.cpu),
        memory: Some(size.memory),
        overrides: Some(task_definition::echo_overrides(document, Some(&task.overrides))),
        ..ecs::Task::default()
    }
}

fn container(
    state: &State,
    task: &Task,
    container: &Container,
    document: Option<&ecs::TaskDefinition>,
) -> ecs::Container {
    let mut definitions =
        document.into_iter().flat_map(|document| document.container_definitions.iter().flatten());
    let defined = definitions.find(|defined| defined.name.as_deref() == Some(&*container.name));
    let effective = defined.map(|defined| task_definition::apply(defined, Some(&task.overrides)));
    let effective = effective.as_deref();
    let number = |member: fn(&ecs::ContainerDefinition) -> Option<i32>| effective.and_then(member);
    let ran = container.known != Known::Pending;
    let bound = ran || !container.network_bindings.is_empty();
    ecs::Container {
        container_arn: Some(arn::container(state, &task.key, container.id)),
        task_arn: Some(arn::task(state, &task.key)),
        name: Some(container.name.to_string()),
        image: effective.and_then(|one| one.image.clone()),
        image_digest: container.image_digest.as_ref().map(ToString::to_string),
        runtime_id: container.runtime_id.as_ref().map(ToString::to_string),
        last_status: Some(container.known.as_str().to_owned()),
        exit_code: container.exit_code,
        reason: container.reason.as_deref().map(str::to_owned),
        network_bindings: bound.then(|| container.network_bindings.iter().cloned().map(Into::into).collect()),
        network_interfaces: Some(Vec::new()),
        health_status: has_health(task).then(|| container.health.as_str().to_owned()),
        cpu: Some(number(|one| one.cpu).unwrap_or(0).to_string()),
        memory: number(|one| one.memory).map(|memory| memory.to_string()),
        memory_reservation: number(|one| one.memory_reservation).map(|reservation| reservation.to_string()),
        ..ecs::Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Stop, StopCode};
    use crate::view::testing::{self, NOW, World};

    fn members(world: &World, key: &crate::ids::TaskKey) -> serde_json::Value {
        serde_json::to_value(task(&world.state, world.task(key), ShowTags::No)).unwrap()
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
        assert_eq!(
            shown["attributes"],
            serde_json::json!([{"name": "ecs.cpu-architecture", "value": "x86_64"}])
        );
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
}
