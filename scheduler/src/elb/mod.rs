//! Keeping target groups in step with the tasks of services, through the ELBv2 API: AWS's or that of ecsr's own balancer.
//!
//! Which targets a group should have is the core's to say ([`ecsr_core::targets`]). Here it is asked what it has, told
//! what to add and to remove, and asked again: often while something is on its way, seldom when all is as it should be,
//! at once when a task of the group changes.
//!
//! Invariant: what is registered was written down durably before, so nothing that was registered is ever forgotten.

mod calls;
mod client;
#[cfg(test)]
mod fake;
mod group;
mod pace;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use aws_config::SdkConfig;
use ecsr_api::{ApiError, ecs};
use ecsr_core::command::{Command, LOAD_BALANCERS_MAX, check_group};
use ecsr_core::{State, resolve};

pub(crate) use self::client::Elb;
use self::client::LoadBalancing;
pub(crate) use self::watch::watch;

/// How the AWS configuration for ELBv2 is had. Asked when the first service needs it, since it costs memory.
#[derive(Clone)]
pub struct LazySdk(Arc<dyn Fn() -> Loading + Send + Sync>);

type Loading = Pin<Box<dyn Future<Output = SdkConfig> + Send>>;

impl LazySdk {
    pub fn new<F: Future<Output = SdkConfig> + Send + 'static>(
        load: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move || Box::pin(load())))
    }

    fn load(&self) -> Loading {
        (self.0)()
    }
}

impl fmt::Debug for LazySdk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LazySdk")
    }
}

/// What ECS says when it cannot ask about a target group.
const NOT_VALIDATED: &str = "Unable to assume role and validate the specified targetGroupArn. Please verify that the \
                             ECS service role being passed has the proper permissions.";

/// Whether the target groups that a call names can take the tasks of its service. What else the call says is the core's
/// to check.
pub(crate) async fn admit(
    balancing: &impl LoadBalancing,
    state: &State,
    command: &Command,
) -> Result<(), ApiError> {
    let Some((balancers, definition)) = named(state, command) else { return Ok(()) };
    if balancers.len() > LOAD_BALANCERS_MAX {
        return Ok(());
    }
    let network_mode = definition.network_mode.as_deref().unwrap_or("bridge");
    let groups = balancers.iter().filter_map(|balancer| balancer.target_group_arn.as_deref());
    for group in groups.filter(|group| !group.is_empty()).collect::<BTreeSet<_>>() {
        let facts = balancing.facts(group).await.map_err(|trouble| {
            tracing::warn!(target_group = group, %trouble, "a target group cannot be validated");
            ApiError::new(ecs::ErrorCode::InvalidParameterException, NOT_VALIDATED)
        })?;
        check_group(group, facts.as_ref(), network_mode)?;
    }
    Ok(())
}

/// The load balancers that a call names, and the task definition that they are for.
fn named<'a>(
    state: &'a State,
    command: &'a Command,
) -> Option<(&'a [ecs::LoadBalancer], &'a ecs::TaskDefinition)> {
    let (balancers, definition) = match command {
        Command::CreateService(request) => {
            let definition = resolve::definition(state, request.task_definition.as_deref()?).ok()??;
            (request.load_balancers.as_deref()?, definition)
        }
        Command::UpdateService(request) => {
            let definition = if let Some(text) = request.task_definition.as_deref() {
                resolve::definition(state, text).ok()??
            } else {
                let cluster = resolve::cluster(state, request.cluster.as_deref()).ok()?;
                let key = resolve::service_key(state, &cluster.name, request.service.as_deref()?).ok()?;
                state.definition(&state.services.get(&key)?.definition)
            };
            (request.load_balancers.as_deref()?, definition)
        }
        _ => return None,
    };
    Some((balancers, &definition.document))
}
