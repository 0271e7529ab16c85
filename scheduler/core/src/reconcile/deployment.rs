//! The account of a service's deployments: which are over, which have failed, and whether all is steady.

use std::sync::Arc;

use super::census::Census;
use super::service::{Repeated, STEADY_STATE_REPEAT, complain};
use super::{Plan, journal_words, rest};
use crate::context::Context;
use crate::ids::DeploymentId;
use crate::state::{CircuitBreaker, Deployment, Event, Rollout, Service, Task};

/// Brings the service's record in line with its tasks; writes nothing when it is.
pub(super) fn account(plan: &mut Plan<'_>, service: &Arc<Service>, context: &mut Context) {
    let mut changed = Service::clone(service);
    retire_replaced(plan, &mut changed);
    forgive(plan, &mut changed, context);
    give_up(plan, &mut changed, context);
    settle(plan, &mut changed, context);
    if changed != **service {
        plan.record(Event::ServiceSaved(Arc::new(changed)));
    }
}

/// An older deployment is over once none of its tasks is meant to run.
fn retire_replaced(plan: &Plan<'_>, service: &mut Service) {
    let primary = service.primary().id;
    service.deployments.retain(|one| one.id == primary || plan.state.strengths.contains_key(&one.id));
}

/// A task that started after the last failure and has settled ends the row of failures.
fn forgive(plan: &Plan<'_>, service: &mut Service, context: &Context) {
    if service.primary().failed_tasks == 0 {
        return;
    }
    let census = Census::take(plan.state, service, context.now);
    let primary = service.primary_mut();
    let newer =
        census.keep.iter().filter(|task| task.times.started.is_some_and(|at| at >= primary.updated_at));
    let settled =
        |task: &Arc<Task>| task.is_healthy() && task.settled_at().is_some_and(|at| at <= context.now);
    if newer.into_iter().any(settled) {
        primary.failed_tasks = 0;
    }
}

/// A deployment whose tasks keep failing to start is complained of, and given up if its circuit breaker is on.
fn give_up(plan: &mut Plan<'_>, service: &mut Service, context: &mut Context) {
    let threshold = CircuitBreaker::threshold(service.desired_count);
    let primary = service.primary();
    if primary.failed_tasks < threshold || primary.rollout == Rollout::Failed {
        return;
    }
    if !service.spec.circuit_breaker.enable || primary.rollout == Rollout::Completed {
        complain(
            plan,
            service,
            &journal_words::inconsistent_starts(service),
            |_| String::new(),
            Repeated::AfterHours,
            context,
        );
        return;
    }
    let failed = primary.id;
    plan.log(&service.key, journal_words::failed(service, failed), context);
    let primary = service.primary_mut();
    primary.rollout = Rollout::Failed;
    primary.rollout_reason = "ECS deployment circuit breaker: tasks failed to start.".into();
    primary.updated_at = context.now;
    if service.spec.circuit_breaker.rollback {
        roll_back(plan, service, context);
    }
}

/// Starts a new deployment of the definition that last completed, if there ever was one.
fn roll_back(plan: &mut Plan<'_>, service: &mut Service, context: &mut Context) {
    let Some(definition) = service.last_completed.clone() else { return };
    // What fails now is what had worked: rolling back to it would go round in circles.
    if service.primary().definition == definition {
        return;
    }
    let id = DeploymentId::fresh(context);
    let reason = format!("ECS deployment circuit breaker: rolling back to deploymentId {id}.");
    service.primary_mut().rollout_reason.clone_from(&reason);
    let network_configuration = service.primary().network_configuration.clone();
    let mut back = Deployment::new(id, definition.clone(), network_configuration, context.now);
    back.rollout_reason = reason;
    service.definition = definition;
    service.deployments.insert(0, back);
    plan.log(&service.key, journal_words::rolling_back(service, id), context);
}

/// Says that a service has come to rest, and that its deployment is over with that.
fn settle(plan: &mut Plan<'_>, service: &mut Service, context: &mut Context) {
    if !rest::is_steady(plan.state, service, context.now) {
        service.steady_since = None;
        return;
    }
    if service.primary().rollout == Rollout::InProgress {
        let id = service.primary().id;
        let primary = service.primary_mut();
        primary.rollout = Rollout::Completed;
        primary.rollout_reason = format!("ECS deployment {id} completed.");
        primary.updated_at = context.now;
        service.last_completed = Some(service.primary().definition.clone());
        plan.log(&service.key, journal_words::completed(service, id), context);
    }
    if service.steady_since.is_none_or(|since| context.now.since(since) >= STEADY_STATE_REPEAT) {
        service.steady_since = Some(context.now);
        plan.log(&service.key, journal_words::steady(service), context);
    }
}
