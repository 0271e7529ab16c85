//! A service with its deployments and its log.
//!
//! What runs is counted from the service's tasks in one pass, by deployment, so that the counts of the deployments
//! always add up to those of the service. Waiters of the SDKs depend on two things here: a deployment that has ended
//! is not listed, and an INACTIVE service is still shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_api::ecs;

use super::{ShowTags, arn, count, tags};
use crate::ids::DeploymentId;
use crate::state::{Deployment, Desired, Known, Service, ServiceEvent, ServiceSpec, ServiceStatus, State};

/// ECS's `Service`. Without [`ShowTags::Yes`] the member `tags` is absent, other than elsewhere.
pub fn service(state: &State, service: &Service, show_tags: ShowTags) -> ecs::Service {
    let counts = Counts::of(state, service);
    let total = counts.values().copied().fold(Counts::default(), Counts::plus);
    ecs::Service {
        service_arn: Some(arn::service(state, &service.key)),
        service_name: Some(service.key.name.to_string()),
        cluster_arn: Some(arn::cluster(state, &service.key.cluster)),
        status: Some(service.status.as_str().to_owned()),
        desired_count: Some(count(service.desired_count)),
        running_count: Some(count(total.running)),
        pending_count: Some(count(total.pending)),
        task_definition: Some(arn::definition(state, &service.definition)),
        deployments: Some(deployments(state, service, &counts)),
        events: Some(events(state, service)),
        created_at: Some(service.created_at),
        created_by: Some(service.created_by.clone()),
        tags: match show_tags {
            ShowTags::Yes => Some(tags(&service.tags)),
            ShowTags::No => None,
        },
        ..configured(&service.spec)
    }
}

/// The members that echo what CreateService and UpdateService were given.
fn configured(spec: &ServiceSpec) -> ecs::Service {
    let grace_period = spec.health_check_grace_period.unwrap_or(0);
    ecs::Service {
        launch_type: Some(spec.launch_type.as_str().to_owned()),
        scheduling_strategy: Some(spec.scheduling.as_str().to_owned()),
        deployment_controller: Some(ecs::DeploymentController { r#type: Some("ECS".to_owned()) }),
        deployment_configuration: Some(deployment_configuration(spec)),
        load_balancers: Some(spec.load_balancers.clone()),
        service_registries: Some(spec.service_registries.clone()),
        placement_constraints: Some(spec.placement_constraints.clone()),
        placement_strategy: Some(spec.placement_strategy.clone()),
        // Clients crash on an empty object where there is none.
        network_configuration: spec.network_configuration.clone(),
        health_check_grace_period_seconds: (!spec.load_balancers.is_empty()).then_some(grace_period),
        availability_zone_rebalancing: spec.availability_zone_rebalancing.clone(),
        role_arn: spec.role.clone(),
        propagate_tags: Some(spec.propagate_tags.as_str().to_owned()),
        enable_ecs_managed_tags: Some(spec.enable_ecs_managed_tags),
        enable_execute_command: Some(spec.enable_execute_command),
        ..ecs::Service::default()
    }
}

fn deployment_configuration(spec: &ServiceSpec) -> ecs::DeploymentConfiguration {
    ecs::DeploymentConfiguration {
        deployment_circuit_breaker: Some(ecs::DeploymentCircuitBreaker {
            enable: Some(spec.circuit_breaker.enable),
            rollback: Some(spec.circuit_breaker.rollback),
            ..ecs::DeploymentCircuitBreaker::default()
        }),
        maximum_percent: Some(count(spec.bounds.maximum_percent)),
        minimum_healthy_percent: Some(count(spec.bounds.minimum_healthy_percent)),
        strategy: Some("ROLLING".to_owned()),
        bake_time_in_minutes: Some(0),
        ..ecs::DeploymentConfiguration::default()
    }
}

/// Tasks of one deployment that are desired to run, by what is known of them.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    running: u32,
    pending: u32,
}

impl Counts {
    fn of(state: &State, service: &Service) -> BTreeMap<DeploymentId, Self> {
        let mut by_deployment = BTreeMap::<DeploymentId, Self>::new();
        for task in state.live_tasks_of(&service.key) {
            let Some(deployment) = task.deployment() else { continue };
            let counts = by_deployment.entry(deployment).or_default();
            match (task.desired, task.known) {
                (Desired::Running, Known::Running) => counts.running += 1,
                (Desired::Running, Known::Pending) => counts.pending += 1,
                (Desired::Running, Known::Stopped) | (Desired::Stopped, _) => {}
            }
        }
        by_deployment
    }

    fn plus(self, other: Self) -> Self {
        Self { running: self.running + other.running, pending: self.pending + other.pending }
    }
}

/// The first is PRIMARY and wants what the service wants; the others want no more than they still have.
fn deployments(
    state: &State,
    service: &Service,
    counts: &BTreeMap<DeploymentId, Counts>,
) -> Vec<ecs::Deployment> {
    match service.status {
        ServiceStatus::Active | ServiceStatus::Draining => {}
        ServiceStatus::Inactive => return Vec::new(),
    }
    let counts_of = |deployment: &Deployment| counts.get(&deployment.id).copied().unwrap_or_default();
    let shown = service.deployments.iter().enumerate().map(|(place, shown)| {
        let counts = counts_of(shown);
        let (status, desired) = match place {
            0 => ("PRIMARY", service.desired_count),
            _ => ("ACTIVE", counts.running + counts.pending),
        };
        ecs::Deployment {
            status: Some(status.to_owned()),
            desired_count: Some(count(desired)),
            running_count: Some(count(counts.running)),
            pending_count: Some(count(counts.pending)),
            ..deployment(state, service, shown)
        }
    });
    shown.collect()
}

/// What a deployment says of itself. The state of a roll-out is unknown to services behind a classic load balancer.
fn deployment(state: &State, service: &Service, deployment: &Deployment) -> ecs::Deployment {
    let classic = service.spec.load_balancers.iter().any(|balancer| balancer.load_balancer_name.is_some());
    ecs::Deployment {
        id: Some(deployment.id.to_string()),
        task_definition: Some(arn::definition(state, &deployment.definition)),
        failed_tasks: Some(count(deployment.failed_tasks)),
        created_at: Some(deployment.created_at),
        updated_at: Some(deployment.updated_at),
        launch_type: Some(service.spec.launch_type.as_str().to_owned()),
        network_configuration: deployment.network_configuration.clone(),
        rollout_state: (!classic).then(|| deployment.rollout.as_str().to_owned()),
        rollout_state_reason: (!classic).then(|| deployment.rollout_reason.clone()),
        ..ecs::Deployment::default()
    }
}

/// The log, newest first; `State::apply` keeps no more of it than ECS shows.
fn events(state: &State, service: &Service) -> Vec<ecs::ServiceEvent> {
    let event = |event: &Arc<ServiceEvent>| ecs::ServiceEvent {
        id: Some(event.id.clone()),
        created_at: Some(event.created_at),
        message: Some(event.message.clone()),
    };
    state.service_events.get(&service.key).into_iter().flat_map(|log| log.iter().rev()).map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::World;

    fn shown(world: &World) -> ecs::Service {
        service(&world.state, world.service(), ShowTags::No)
    }

    #[test]
    fn a_service_counts_what_should_run() {
        let shown = shown(&World::with_service());
        assert_eq!(
            (shown.desired_count, shown.running_count, shown.pending_count),
            (Some(2), Some(1), Some(1))
        );
        let deployments = shown.deployments.unwrap();
        let brief = |deployment: &ecs::Deployment| {
            let status = deployment.status.clone().unwrap();
            (status, deployment.desired_count, deployment.running_count, deployment.pending_count)
        };
        assert_eq!(
            deployments.iter().map(brief).collect::<Vec<_>>(),
            [
                ("PRIMARY".to_owned(), Some(2), Some(0), Some(1)),
                ("ACTIVE".to_owned(), Some(1), Some(1), Some(0)),
            ]
        );
    }

    #[test]
    fn what_is_not_set_is_empty_or_absent_as_clients_expect() {
        let written = serde_json::to_value(shown(&World::with_service())).unwrap();
        for list in ["loadBalancers", "serviceRegistries", "placementConstraints", "placementStrategy"] {
            assert_eq!(written[list], serde_json::json!([]), "{list}");
        }
        for absent in ["networkConfiguration", "tags", "roleArn", "healthCheckGracePeriodSeconds", "taskSets"]
        {
            assert!(written.get(absent).is_none(), "{absent}");
        }
        assert_eq!(written["deploymentController"], serde_json::json!({"type": "ECS"}));
        assert_eq!(written["enableECSManagedTags"], serde_json::json!(false));
    }

    #[test]
    fn an_inactive_service_has_no_deployments_and_its_log_is_newest_first() {
        let mut world = World::with_service();
        let messages: Vec<_> =
            shown(&world).events.unwrap().into_iter().map(|event| event.message.unwrap()).collect();
        assert_eq!(messages, ["(service web) second", "(service web) first"]);
        world.change_service(|service| service.status = ServiceStatus::Inactive);
        assert_eq!(shown(&world).deployments, Some(vec![]));
    }
}
