//! Starting tasks of a service: where they go, and what is said when they cannot go anywhere.

use std::sync::Arc;

use ecsr_api::ecs;

use super::census::Census;
use super::service::{Repeated, TASKS_PER_EVENT, complain};
use super::{Plan, journal_words};
use crate::context::Context;
use crate::ids::{InstanceKey, Name, TaskKey};
use crate::launch::{KnownNames, Launch, needs};
use crate::placement::{self, Ask, Shortfall};
use crate::state::{Definition, Endpoint, Event, Instance, Origin, PropagateTags, Service, State, Tags};
use crate::task_definition::{Constraint, Demand, SpreadField, Strategy, strategies, task_constraints};

/// What the tasks of a service's primary deployment need.
pub(super) struct Needs {
    definition: Arc<Definition>,
    demand: Arc<Demand>,
    constraints: Vec<Constraint>,
    strategy: Vec<Strategy>,
    group: Name,
}

impl Needs {
    pub fn of(plan: &Plan<'_>, service: &Service) -> Self {
        let definition = plan.state.definition(&service.primary().definition).clone();
        // Both were checked when they were given.
        let constraints = task_constraints(&definition.document, &service.spec.placement_constraints);
        let strategy = strategies(&service.spec.placement_strategy).unwrap_or_default();
        Self {
            demand: needs(&definition, None, service.spec.launch_type),
            constraints: constraints.unwrap_or_default(),
            strategy: if strategy.is_empty() { default_strategy() } else { strategy },
            definition,
            group: format!("service:{}", service.key.name).into(),
        }
    }

    pub fn ask<'a>(&'a self, service: &'a Service) -> Ask<'a> {
        Ask {
            cluster: &service.key.cluster,
            demand: &self.demand,
            constraints: &self.constraints,
            strategy: &self.strategy,
            group: &self.group,
        }
    }

    fn launch<'a>(&'a self, state: &State, service: &Service) -> Launch<'a> {
        let deployment = service.primary().id;
        let launch = Launch {
            definition: &self.definition,
            origin: Origin::Service { name: service.key.name.clone(), deployment },
            group: self.group.clone(),
            // Shown as its deployment.
            started_by: None,
            overrides: Arc::default(),
            demand: self.demand.clone(),
            launch_type: service.spec.launch_type,
            enable_execute_command: service.spec.enable_execute_command,
            tags: Arc::new(task_tags(service, &self.definition)),
            endpoints: endpoints(service),
            known_names: KnownNames::default(),
        };
        state.with_shared_parts(launch, &service.key.cluster)
    }
}

/// What ECS does without a strategy: the zone with the fewest tasks of the service, then the instance with the fewest.
fn default_strategy() -> Vec<Strategy> {
    let zone = SpreadField::Attribute("ecs.availability-zone".into());
    vec![Strategy::Spread(zone), Strategy::Spread(SpreadField::InstanceId)]
}

/// Places and starts up to `count` tasks.
pub(super) fn start(plan: &mut Plan<'_>, service: &Service, count: u32, context: &mut Context) {
    if count == 0 {
        return;
    }
    let needs = Needs::of(plan, service);
    let chosen = placement::choose(plan.state, &needs.ask(service), count, context);
    start_on(plan, service, &needs, &chosen, context);
    // While the service's own tasks are leaving, what they hold is about to be free: no trouble yet.
    if chosen.len() < count as usize && Census::take(plan.state, service, context.now).stopping == 0 {
        let closest = |state: &State| placement::closest(state, &needs.ask(service));
        complain_of_placement(plan, service, closest, context);
    }
}

/// Starts one task on each of the instances, and says so in one line.
pub(super) fn start_on(
    plan: &mut Plan<'_>,
    service: &Service,
    needs: &Needs,
    instances: &[Arc<Instance>],
    context: &mut Context,
) {
    let launch = needs.launch(plan.state, service);
    let mut started: Vec<TaskKey> = Vec::with_capacity(instances.len());
    for instance in instances {
        let task = launch.on(instance, context);
        started.push(task.key.clone());
        plan.record(Event::TaskPlaced(Arc::new(task)));
    }
    for tasks in started.chunks(TASKS_PER_EVENT) {
        plan.log(&service.key, journal_words::started(service, tasks), context);
    }
}

/// Says that there is no room, and which instance came closest.
pub(super) fn complain_of_placement(
    plan: &mut Plan<'_>,
    service: &Service,
    closest: impl FnOnce(&State) -> Option<(InstanceKey, Shortfall)>,
    context: &mut Context,
) {
    let rest = |state: &State| format!(" {}", journal_words::placement_reason(closest(state).as_ref()));
    complain(plan, service, &journal_words::unable_to_place(service), rest, Repeated::AfterStart, context);
}

/// The endpoints that the service's target groups want of a task.
fn endpoints(service: &Service) -> Box<[Endpoint]> {
    let endpoint = |balancer: &ecs::LoadBalancer| {
        Some(Endpoint {
            group: balancer.target_group_arn.as_deref()?.into(),
            container: balancer.container_name.as_deref()?.into(),
            port: u16::try_from(balancer.container_port?).ok()?,
            registration: None,
        })
    };
    service.spec.load_balancers.iter().filter_map(endpoint).collect()
}

/// Propagated tags and, when asked for, ECS's own.
fn task_tags(service: &Service, definition: &Definition) -> Tags {
    let mut tags = match service.spec.propagate_tags {
        PropagateTags::None => Tags::new(),
        PropagateTags::TaskDefinition => definition.tags.clone(),
        PropagateTags::Service => service.tags.clone(),
    };
    if service.spec.enable_ecs_managed_tags {
        tags.insert("aws:ecs:clusterName".into(), service.key.cluster.to_string());
        tags.insert("aws:ecs:serviceName".into(), service.key.name.to_string());
    }
    tags
}
