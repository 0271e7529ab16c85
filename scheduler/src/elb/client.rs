//! ELBv2 as the scheduler uses it: the seam, and the official SDK behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::Builder;
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::types::{
    TargetDescription, TargetHealth, TargetHealthDescription, TargetHealthReasonEnum, TargetHealthStateEnum,
};
use ecsr_core::command::GroupFacts;
use ecsr_core::state::Target;
use ecsr_core::targets::Observed;
use tokio::sync::OnceCell;

use super::LazySdk;
use super::calls::Calls;

/// How long one call may take, retries included: a load balancer that is slower counts as away.
const CALL_MAX: Duration = Duration::from_secs(10);

/// Most targets in one call: AWS's own bound on what a group holds is ten times that.
const TARGETS_PER_CALL: usize = 100;

/// ELBv2's errors that ask for patience.
const THROTTLED: [&str; 3] = ["Throttling", "ThrottlingException", "RequestLimitExceeded"];

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// There are too many calls.
    #[error("operations are being throttled on elb. Will try again later.")]
    Throttled,
    /// ELBv2 says no.
    #[error("{0}")]
    Refused(String),
    /// It was not reached.
    #[error("{0}")]
    Unreachable(String),
}

/// What target groups hold, and may be told.
pub(crate) trait LoadBalancing: Send + Sync + 'static {
    /// What is known of a group; `None` if it does not exist.
    fn facts(&self, group: &str) -> impl Future<Output = Result<Option<GroupFacts>, Trouble>> + Send;

    /// What a group holds; `None` if it does not exist.
    fn held(
        &self,
        group: &str,
    ) -> impl Future<Output = Result<Option<BTreeMap<Target, Observed>>, Trouble>> + Send;

    fn register(
        &self,
        group: &str,
        targets: &BTreeSet<Target>,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    fn deregister(
        &self,
        group: &str,
        targets: &BTreeSet<Target>,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// ELBv2 by the official SDK. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Elb {
    sdk: Option<LazySdk>,
    client: Arc<OnceCell<Client>>,
    calls: Arc<Calls>,
}

impl Elb {
    pub(crate) fn new(sdk: Option<LazySdk>) -> Self {
        Self { sdk, client: Arc::default(), calls: Arc::default() }
    }

    async fn client(&self) -> Result<&Client, Trouble> {
        let none = || Trouble::Unreachable("no load balancer is configured".into());
        let sdk = self.sdk.as_ref().ok_or_else(none)?;
        let client = self.client.get_or_init(|| async {
            let timeouts = TimeoutConfig::builder().operation_timeout(CALL_MAX).build();
            let config = Builder::from(&sdk.load().await).timeout_config(timeouts).build();
            Client::from_conf(config)
        });
        Ok(client.await)
    }
}

impl LoadBalancing for Elb {
    async fn facts(&self, group: &str) -> Result<Option<GroupFacts>, Trouble> {
        let client = self.client().await?;
        let _call = self.calls.turn().await;
        let answer = client.describe_target_groups().target_group_arns(group).send().await;
        let Some(answer) = unless_missing(answer)? else { return Ok(None) };
        Ok(answer.target_groups.and_then(|groups| groups.into_iter().next()).map(|group| GroupFacts {
            target_type: group.target_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
            has_load_balancer: group.load_balancer_arns.is_some_and(|arns| !arns.is_empty()),
        }))
    }

    async fn held(&self, group: &str) -> Result<Option<BTreeMap<Target, Observed>>, Trouble> {
        let client = self.client().await?;
        let _call = self.calls.turn().await;
        let answer = client.describe_target_health().target_group_arn(group).send().await;
        let Some(answer) = unless_missing(answer)? else { return Ok(None) };
        let described = answer.target_health_descriptions.unwrap_or_default();
        Ok(Some(described.into_iter().filter_map(observed).collect()))
    }

    async fn register(&self, group: &str, targets: &BTreeSet<Target>) -> Result<(), Trouble> {
        for targets in calls_for(targets) {
            let client = self.client().await?;
            let _call = self.calls.turn().await;
            let call = client.register_targets().target_group_arn(group).set_targets(Some(targets));
            call.send().await.map_err(|error| trouble(&error))?;
        }
        Ok(())
    }

    async fn deregister(&self, group: &str, targets: &BTreeSet<Target>) -> Result<(), Trouble> {
        for targets in calls_for(targets) {
            let client = self.client().await?;
            let _call = self.calls.turn().await;
            let call = client.deregister_targets().target_group_arn(group).set_targets(Some(targets));
            call.send().await.map_err(|error| trouble(&error))?;
        }
        Ok(())
    }
}

/// The targets of each call.
fn calls_for(targets: &BTreeSet<Target>) -> Vec<Vec<TargetDescription>> {
    let described: Vec<TargetDescription> = targets
        .iter()
        .map(|target| {
            let (id, port) = (target.id.to_string(), i32::from(target.port));
            TargetDescription::builder().id(id).port(port).build()
        })
        .collect();
    described.chunks(TARGETS_PER_CALL).map(<[TargetDescription]>::to_vec).collect()
}

/// A target that is registered, and what is said of it.
fn observed(described: TargetHealthDescription) -> Option<(Target, Observed)> {
    let TargetHealthDescription { target, target_health, .. } = described;
    let (target, health) = (target?, target_health?);
    let port = u16::try_from(target.port?).ok()?;
    let id = target.id?;
    Some((Target { id: id.into(), port }, standing(&health)?))
}

fn standing(health: &TargetHealth) -> Option<Observed> {
    let why = || {
        let reason = health.reason.as_ref().map(TargetHealthReasonEnum::as_str);
        health.description.as_deref().or(reason).unwrap_or("Health checks failed").to_owned()
    };
    match (health.state.as_ref()?, health.reason.as_ref()) {
        (TargetHealthStateEnum::Unused, Some(TargetHealthReasonEnum::NotRegistered)) => None,
        (TargetHealthStateEnum::Healthy, _)
        | (TargetHealthStateEnum::Unavailable, Some(TargetHealthReasonEnum::HealthCheckDisabled)) => {
            Some(Observed::Healthy)
        }
        // Nobody asks it, for no load balancer uses the group or not in its zone.
        // Nor does the balancer's own trouble say anything of the target.
        (TargetHealthStateEnum::Unused, Some(TargetHealthReasonEnum::NotInUse) | None)
        | (TargetHealthStateEnum::Initial | TargetHealthStateEnum::Unavailable, _) => Some(Observed::Initial),
        (TargetHealthStateEnum::Draining, _) => Some(Observed::Draining),
        _ => Some(Observed::Unhealthy(why())),
    }
}

fn unless_missing<T, E: ProvideErrorMetadata + std::error::Error + 'static>(
    answer: Result<T, SdkError<E>>,
) -> Result<Option<T>, Trouble> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some("TargetGroupNotFound") => Ok(None),
        Err(error) => Err(trouble(&error)),
    }
}

fn trouble<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> Trouble {
    let text = || match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => in_full(error),
    };
    match error {
        SdkError::ServiceError(_) if error.code().is_some_and(|code| THROTTLED.contains(&code)) => {
            Trouble::Throttled
        }
        SdkError::ServiceError(_) => Trouble::Refused(text()),
        _ => Trouble::Unreachable(format!("the load balancer cannot be reached: {}", text())),
    }
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
