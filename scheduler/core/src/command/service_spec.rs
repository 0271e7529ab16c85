//! What CreateService and UpdateService configure: read, checked, completed with ECS's defaults.

use ecsr_api::ecs;

use super::load_balancers;
use super::supported::{launch_type, network, unsupported};
use crate::names;
use crate::refusal::{Refusal, invalid};
use crate::state::{Bounds, CircuitBreaker, LaunchType, PropagateTags, Scheduling, ServiceSpec};
use crate::task_definition::{echo_strategies, strategies, task_constraints};

/// The members that both calls have; what is absent keeps its default or its old value.
pub(super) struct Settings<'a> {
    pub deployment_configuration: Option<&'a ecs::DeploymentConfiguration>,
    pub deployment_controller: Option<&'a ecs::DeploymentController>,
    pub network_configuration: Option<&'a ecs::NetworkConfiguration>,
    pub load_balancers: Option<&'a [ecs::LoadBalancer]>,
    pub placement_constraints: Option<&'a Vec<ecs::PlacementConstraint>>,
    pub placement_strategy: Option<&'a Vec<ecs::PlacementStrategy>>,
    pub health_check_grace_period: Option<i32>,
    pub propagate_tags: Option<&'a str>,
    pub availability_zone_rebalancing: Option<&'a str>,
    pub enable_ecs_managed_tags: Option<bool>,
    pub enable_execute_command: Option<bool>,
    /// Members that are given but not acted on.
    pub not_supported: Option<&'static str>,
}

macro_rules! settings {
    ($request:ident) => {
        Settings {
            deployment_configuration: $request.deployment_configuration.as_ref(),
            deployment_controller: $request.deployment_controller.as_ref(),
            network_configuration: $request.network_configuration.as_ref(),
            load_balancers: $request.load_balancers.as_deref(),
            placement_constraints: $request.placement_constraints.as_ref(),
            placement_strategy: $request.placement_strategy.as_ref(),
            health_check_grace_period: $request.health_check_grace_period_seconds,
            propagate_tags: $request.propagate_tags.as_deref(),
            availability_zone_rebalancing: $request.availability_zone_rebalancing.as_deref(),
            enable_ecs_managed_tags: $request.enable_ecs_managed_tags,
            enable_execute_command: $request.enable_execute_command,
            not_supported: first_given(&[
                ("capacityProviderStrategy", given($request.capacity_provider_strategy.as_deref())),
                ("gatewayConnectors", given($request.gateway_connectors.as_deref())),
                ("monitoring", $request.monitoring.is_some()),
                ("serviceRegistries", given($request.service_registries.as_deref())),
                ("volumeConfigurations", given($request.volume_configurations.as_deref())),
                ("vpcLatticeConfigurations", given($request.vpc_lattice_configurations.as_deref())),
                (
                    "serviceConnectConfiguration",
                    $request
                        .service_connect_configuration
                        .as_ref()
                        .is_some_and(|connect| connect.enabled == Some(true)),
                ),
                (
                    "platformVersion",
                    $request.platform_version.as_deref().is_some_and(|version| !version.is_empty()),
                ),
            ]),
        }
    };
}

impl<'a> Settings<'a> {
    pub fn of_create(request: &'a ecs::CreateServiceRequest) -> Self {
        settings!(request)
    }

    pub fn of_update(request: &'a ecs::UpdateServiceRequest) -> Self {
        settings!(request)
    }
}

fn given<T>(list: Option<&[T]>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

fn first_given(members: &[(&'static str, bool)]) -> Option<&'static str> {
    members.iter().find(|(_, given)| *given).map(|(member, _)| *member)
}

/// The settings of a new service.
pub(super) fn create(
    settings: &Settings<'_>,
    request: &ecs::CreateServiceRequest,
    definition: &ecs::TaskDefinition,
) -> Result<ServiceSpec, Refusal> {
    let scheduling = scheduling(request.scheduling_strategy.as_deref())?;
    let launch_type = launch_type(request.launch_type.as_deref(), definition)?;
    let role = request.role.clone().filter(|role| !role.is_empty());
    if role.is_some() && !given(request.load_balancers.as_deref()) {
        return Err(invalid("A role can only be given with a load balancer."));
    }
    let (minimum_healthy_percent, maximum_percent) = match scheduling {
        Scheduling::Replica => (100, 200),
        Scheduling::Daemon => (0, 100),
    };
    let defaults = ServiceSpec {
        scheduling,
        launch_type: launch_type.unwrap_or(LaunchType::Ec2),
        bounds: Bounds { minimum_healthy_percent, maximum_percent },
        circuit_breaker: CircuitBreaker::default(),
        health_check_grace_period: None,
        placement_constraints: Vec::new(),
        placement_strategy: Vec::new(),
        load_balancers: Vec::new(),
        service_registries: Vec::new(),
        network_configuration: None,
        availability_zone_rebalancing: Some("DISABLED".into()),
        role,
        propagate_tags: PropagateTags::None,
        enable_ecs_managed_tags: false,
        enable_execute_command: false,
    };
    update(settings, &defaults, definition)
}

/// The settings of a service with those members replaced that were given.
pub(super) fn update(
    settings: &Settings<'_>,
    old: &ServiceSpec,
    definition: &ecs::TaskDefinition,
) -> Result<ServiceSpec, Refusal> {
    refuse_unsupported(settings)?;
    let mut spec = old.clone();
    if let Some(configuration) = settings.deployment_configuration {
        spec.bounds = bounds(configuration, old)?;
        spec.circuit_breaker = circuit_breaker(configuration, old.circuit_breaker)?;
    }
    if let Some(given) = settings.network_configuration {
        spec.network_configuration = Some(given.clone());
    }
    network(spec.network_configuration.as_ref(), definition)?;
    // Those that stay have to fit a new definition too.
    let balancers = settings.load_balancers.unwrap_or(&old.load_balancers);
    spec.load_balancers = load_balancers::checked(balancers, definition)?;
    launch_type(Some(spec.launch_type.as_str()), definition)?;
    place(settings, &mut spec, definition)?;
    if let Some(seconds) = settings.health_check_grace_period {
        names::in_range("healthCheckGracePeriodSeconds", seconds, 0..=i32::MAX)?;
        spec.health_check_grace_period = Some(seconds);
    }
    if let Some(given) = settings.propagate_tags {
        spec.propagate_tags = propagate_tags(given)?;
    }
    if let Some(given) = settings.availability_zone_rebalancing {
        names::one_of("availabilityZoneRebalancing", given, ecs::enums::AVAILABILITY_ZONE_REBALANCING)?;
        if given == "ENABLED" {
            return Err(unsupported("availabilityZoneRebalancing"));
        }
        spec.availability_zone_rebalancing = Some(given.into());
    }
    spec.enable_ecs_managed_tags = settings.enable_ecs_managed_tags.unwrap_or(old.enable_ecs_managed_tags);
    spec.enable_execute_command = settings.enable_execute_command.unwrap_or(old.enable_execute_command);
    Ok(spec)
}

fn refuse_unsupported(settings: &Settings<'_>) -> Result<(), Refusal> {
    if let Some(member) = settings.not_supported {
        return Err(unsupported(member));
    }
    let controller = settings.deployment_controller.and_then(|controller| controller.r#type.as_deref());
    if let Some(kind) = controller.filter(|kind| *kind != "ECS") {
        names::one_of("deploymentController.type", kind, ecs::enums::DEPLOYMENT_CONTROLLER_TYPE)?;
        return Err(unsupported(&format!("deploymentController {kind}")));
    }
    if settings.enable_execute_command == Some(true) {
        return Err(unsupported("enableExecuteCommand"));
    }
    let Some(deployment) = settings.deployment_configuration else { return Ok(()) };
    if let Some(strategy) = deployment.strategy.as_deref().filter(|strategy| *strategy != "ROLLING") {
        names::one_of("strategy", strategy, ecs::enums::DEPLOYMENT_STRATEGY)?;
        return Err(unsupported(&format!("deployment strategy {strategy}")));
    }
    if deployment.alarms.as_ref().is_some_and(|alarms| alarms.enable == Some(true)) {
        return Err(unsupported("deploymentConfiguration.alarms"));
    }
    if deployment.bake_time_in_minutes.is_some_and(|minutes| minutes != 0) {
        return Err(unsupported("deploymentConfiguration.bakeTimeInMinutes"));
    }
    if given(deployment.lifecycle_hooks.as_deref()) {
        return Err(unsupported("deploymentConfiguration.lifecycleHooks"));
    }
    Ok(())
}

/// Placement by the rules of the service and of its task definition together.
fn place(
    settings: &Settings<'_>,
    spec: &mut ServiceSpec,
    definition: &ecs::TaskDefinition,
) -> Result<(), Refusal> {
    if let Some(given) = settings.placement_constraints {
        spec.placement_constraints.clone_from(given);
    }
    task_constraints(definition, &spec.placement_constraints)?;
    let Some(given) = settings.placement_strategy else { return Ok(()) };
    let strategy = strategies(given)?;
    if spec.scheduling == Scheduling::Daemon && !strategy.is_empty() {
        return Err(invalid("Placement strategies are not supported with DAEMON scheduling strategy."));
    }
    spec.placement_strategy = echo_strategies(&strategy);
    Ok(())
}

fn bounds(given: &ecs::DeploymentConfiguration, old: &ServiceSpec) -> Result<Bounds, Refusal> {
    let percent = |what, given: Option<i32>, old, most| match given {
        None => Ok(old),
        Some(percent) => names::in_range(what, percent, 0..=most),
    };
    let (lowest, highest) = (old.bounds.minimum_healthy_percent, old.bounds.maximum_percent);
    let minimum_healthy_percent =
        percent("minimumHealthyPercent", given.minimum_healthy_percent, lowest, 100)?;
    let maximum_percent = percent("maximumPercent", given.maximum_percent, highest, 200_000)?;
    match old.scheduling {
        Scheduling::Daemon if maximum_percent > 100 => {
            Err(invalid("The daemon scheduling strategy supports a maximumPercent of 100 only."))
        }
        Scheduling::Replica if maximum_percent < 100 => Err(invalid(
            "The deployment maximumPercent must be at least 100 for the REPLICA scheduling strategy.",
        )),
        Scheduling::Daemon | Scheduling::Replica if maximum_percent < minimum_healthy_percent => {
            Err(invalid("The deployment maximumPercent must be greater than the minimumHealthyPercent."))
        }
        Scheduling::Daemon | Scheduling::Replica => Ok(Bounds { minimum_healthy_percent, maximum_percent }),
    }
}

fn circuit_breaker(
    given: &ecs::DeploymentConfiguration,
    old: CircuitBreaker,
) -> Result<CircuitBreaker, Refusal> {
    let Some(breaker) = &given.deployment_circuit_breaker else { return Ok(old) };
    if breaker.threshold_configuration.is_some() || breaker.reset_on_healthy_task == Some(false) {
        return Err(unsupported("deploymentCircuitBreaker.thresholdConfiguration"));
    }
    let (enable, rollback) = (breaker.enable == Some(true), breaker.rollback == Some(true));
    Ok(CircuitBreaker { enable, rollback })
}

fn scheduling(given: Option<&str>) -> Result<Scheduling, Refusal> {
    match given {
        None | Some("" | "REPLICA") => Ok(Scheduling::Replica),
        Some("DAEMON") => Ok(Scheduling::Daemon),
        Some(other) => Err(invalid(format!("Invalid value '{other}' for schedulingStrategy."))),
    }
}

fn propagate_tags(given: &str) -> Result<PropagateTags, Refusal> {
    match given {
        "" | "NONE" => Ok(PropagateTags::None),
        "TASK_DEFINITION" => Ok(PropagateTags::TaskDefinition),
        "SERVICE" => Ok(PropagateTags::Service),
        other => Err(invalid(format!("Invalid value '{other}' for propagateTags."))),
    }
}
