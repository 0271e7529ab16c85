//! CreateService, UpdateService, DeleteService.
//!
//! These only say what should be; the service scheduler in `reconcile` does the rest, in the same breath.

use std::sync::Arc;

use ecsr_api::ecs;

use super::service_spec::{self, Settings};
use super::supported::usable_definition;
use super::{Decision, Reply};
use crate::context::Context;
use crate::ids::{DeploymentId, Name, ServiceKey};
use crate::names;
use crate::refusal::{Refusal, client, invalid};
use crate::resolve;
use crate::state::{
    Definition, Deployment, Desired, Event, Scheduling, Service, ServiceSpec, ServiceStatus, State,
};

/// Most tasks of one service: ECS's own quota.
const DESIRED_COUNT_MAX: i32 = 5000;

pub(super) fn create(
    state: &State,
    request: &ecs::CreateServiceRequest,
    context: &mut Context,
) -> Result<Decision, Refusal> {
    let cluster = resolve::cluster(state, request.cluster.as_deref())?.name.clone();
    let name = request.service_name.as_deref().unwrap_or_default();
    names::service_name(name)?;
    let token = request.client_token.as_deref().filter(|token| !token.is_empty());
    token.map_or(Ok(()), |token| names::client_token(token, names::SERVICE_CLIENT_TOKEN_MAX))?;
    let definition = usable_definition(state, request.task_definition.as_deref())?;
    let settings = Settings::of_create(request);
    let spec = service_spec::create(&settings, request, &definition.document)?;
    let desired_count = desired_count(&spec, request.desired_count)?;
    let key = ServiceKey { cluster, name: Name::from(name) };
    let tags = names::tags(request.tags.as_deref())?;

    let deployment = Deployment::new(
        DeploymentId::fresh(context),
        definition.id.clone(),
        spec.network_configuration.clone(),
        context.now,
    );
    let service = Service {
        key: key.clone(),
        status: ServiceStatus::Active,
        desired_count,
        definition: definition.id.clone(),
        spec,
        deployments: vec![deployment],
        last_completed: None,
        tags,
        created_at: context.now,
        created_by: context.caller.clone(),
        client_token: token.map(Into::into),
        inactive_at: None,
        steady_since: None,
    };
    match state.services.get(&key) {
        Some(existing) if existing.status != ServiceStatus::Inactive => again(existing, &service),
        Some(_) | None => Ok(saved(service)),
    }
}

/// The same call again answers with the service that it made; any other call for the name is refused.
fn again(existing: &Service, wanted: &Service) -> Result<Decision, Refusal> {
    if existing.status == ServiceStatus::Draining {
        return Err(invalid("Unable to Start a service that is still Draining."));
    }
    let same_count =
        wanted.spec.scheduling == Scheduling::Daemon || existing.desired_count == wanted.desired_count;
    let same = existing.definition == wanted.definition
        && existing.spec == wanted.spec
        && existing.tags == wanted.tags
        && existing.client_token == wanted.client_token
        && same_count;
    if same {
        return Ok((Vec::new(), Reply::Service(existing.key.clone())).into());
    }
    Err(invalid("Creation of service was not idempotent."))
}

pub(super) fn update(
    state: &State,
    request: &ecs::UpdateServiceRequest,
    context: &mut Context,
) -> Result<Decision, Refusal> {
    let service = existing(state, request.cluster.as_deref(), request.service.as_deref())?;
    if service.status != ServiceStatus::Active {
        return Err(Refusal::ServiceNotActive);
    }
    let mut changed = Service::clone(service);
    let definition = match request.task_definition.as_deref() {
        Some(text) => usable_definition(state, Some(text)).map_err(inactive_as_client)?,
        None => state.definition(&service.definition),
    };
    changed.definition = definition.id.clone();
    let settings = Settings::of_update(request);
    changed.spec = service_spec::update(&settings, &service.spec, &definition.document)?;
    if let Some(count) = request.desired_count {
        changed.desired_count = desired_count(&service.spec, Some(count))?;
    }
    if starts_deployment(service, &changed, request) {
        deploy(&mut changed, definition, context);
    }
    Ok(saved(changed))
}

/// A new definition, network or load balancer, or the wish for it. A new count keeps the deployment.
fn starts_deployment(old: &Service, new: &Service, request: &ecs::UpdateServiceRequest) -> bool {
    request.force_new_deployment == Some(true)
        || new.definition != old.definition
        || new.spec.network_configuration != old.spec.network_configuration
        || new.spec.load_balancers != old.spec.load_balancers
}

fn deploy(service: &mut Service, definition: &Definition, context: &mut Context) {
    let network = service.spec.network_configuration.clone();
    let deployment =
        Deployment::new(DeploymentId::fresh(context), definition.id.clone(), network, context.now);
    service.deployments.insert(0, deployment);
    service.steady_since = None;
}

/// Without `force`, only a service that was scaled to nothing goes. What runs is stopped, then the service is INACTIVE.
pub(super) fn delete(
    state: &State,
    request: &ecs::DeleteServiceRequest,
    context: &Context,
) -> Result<Decision, Refusal> {
    let service = existing(state, request.cluster.as_deref(), request.service.as_deref())?;
    match service.status {
        ServiceStatus::Inactive => return Err(Refusal::ServiceNotFound),
        ServiceStatus::Draining => return Ok((Vec::new(), Reply::Service(service.key.clone())).into()),
        ServiceStatus::Active => {}
    }
    let forced = request.force == Some(true) || service.spec.scheduling == Scheduling::Daemon;
    if !forced {
        may_delete(state, service)?;
    }
    let nothing_runs = state.live_tasks_of(&service.key).next().is_none();
    let mut changed = Service::clone(service);
    changed.desired_count = 0;
    changed.status = if nothing_runs { ServiceStatus::Inactive } else { ServiceStatus::Draining };
    changed.inactive_at = nothing_runs.then_some(context.now);
    changed.steady_since = None;
    Ok(saved(changed))
}

fn may_delete(state: &State, service: &Service) -> Result<(), Refusal> {
    if service.desired_count > 0 {
        return Err(invalid("The service cannot be stopped while it is scaled above 0."));
    }
    let running = state.live_tasks_of(&service.key).any(|task| task.desired == Desired::Running);
    if service.deployments.len() > 1 || running {
        return Err(invalid("The service cannot be stopped while deployments are active."));
    }
    Ok(())
}

fn existing<'a>(
    state: &'a State,
    cluster: Option<&str>,
    service: Option<&str>,
) -> Result<&'a Arc<Service>, Refusal> {
    let cluster = resolve::cluster(state, cluster)?;
    let text = service.filter(|text| !text.is_empty()).ok_or_else(|| invalid("Service can not be blank."))?;
    let key = resolve::service_key(state, &cluster.name, text)?;
    state.services.get(&key).ok_or(Refusal::ServiceNotFound)
}

fn desired_count(spec: &ServiceSpec, given: Option<i32>) -> Result<u32, Refusal> {
    match (spec.scheduling, given) {
        (Scheduling::Daemon, None) => Ok(0),
        (Scheduling::Daemon, Some(_)) => Err(invalid(
            "The daemon scheduling strategy does not support a desired count for services. Remove the desired count \
             value and try again",
        )),
        (Scheduling::Replica, None) => Err(invalid("desiredCount can not be null.")),
        (Scheduling::Replica, Some(count)) => names::in_range("desiredCount", count, 0..=DESIRED_COUNT_MAX),
    }
}

/// UpdateService words an INACTIVE definition as the client's mistake.
fn inactive_as_client(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::InvalidParameter(message) if message == "TaskDefinition is inactive" => client(message),
        other => other,
    }
}

fn saved(service: Service) -> Decision {
    let reply = Reply::Service(service.key.clone());
    (vec![Event::ServiceSaved(Arc::new(service))], reply).into()
}
