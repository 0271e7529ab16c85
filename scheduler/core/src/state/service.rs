//! Services and their deployments.

use std::time::Duration;

use ecsr_api::{Timestamp, ecs};
use serde::{Deserialize, Serialize};

use super::{LaunchType, Tags};
use crate::ids::{DefinitionId, DeploymentId, ServiceKey};

/// How long a task has to run before it is trusted to go on: one that ends sooner failed to start.
pub const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// A task that ends by itself within this time of its start slows the next starts down.
const CRASHED_WITHIN: Duration = Duration::from_secs(10);

/// The first delay of a crash loop; it doubles with every round of as many crashes as tasks are desired.
const CRASH_DELAY_FIRST: Duration = Duration::from_secs(1);

/// The longest delay of a crash loop, as documented by ECS.
const CRASH_DELAY_MAX: Duration = Duration::from_mins(15);

/// A service: a number of tasks of one task definition, kept running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub key: ServiceKey,
    pub status: ServiceStatus,
    pub desired_count: u32,
    pub definition: DefinitionId,
    pub spec: ServiceSpec,
    /// Newest first; the first is PRIMARY, the others are being replaced. One stays while the service exists.
    pub deployments: Vec<Deployment>,
    /// What a rollback returns to: the definition of the newest deployment that completed.
    pub last_completed: Option<DefinitionId>,
    pub tags: Tags,
    pub created_at: Timestamp,
    pub created_by: String,
    /// Idempotency token of the CreateService that made it.
    pub client_token: Option<String>,
    /// When it became INACTIVE, from which its memory is kept for a while.
    pub inactive_at: Option<Timestamp>,
    /// The last time that "has reached a steady state" was said, until something unsettles the service.
    pub steady_since: Option<Timestamp>,
}

impl Service {
    /// The deployment that new tasks belong to.
    pub fn primary(&self) -> &Deployment {
        self.deployments.first().expect("a service always has a primary deployment")
    }

    pub fn primary_mut(&mut self) -> &mut Deployment {
        self.deployments.first_mut().expect("a service always has a primary deployment")
    }
}

/// ACTIVE, DRAINING from deletion until its last task has stopped, then INACTIVE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceStatus {
    Active,
    Draining,
    Inactive,
}

impl ServiceStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// Everything that CreateService and UpdateService configure besides count and definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    pub scheduling: Scheduling,
    pub launch_type: LaunchType,
    pub bounds: Bounds,
    pub circuit_breaker: CircuitBreaker,
    /// Seconds during which failing health checks of a new task are ignored.
    pub health_check_grace_period: Option<i32>,
    /// As ECS echoes them, normalised.
    pub placement_constraints: Vec<ecs::PlacementConstraint>,
    pub placement_strategy: Vec<ecs::PlacementStrategy>,
    pub load_balancers: Vec<ecs::LoadBalancer>,
    pub service_registries: Vec<ecs::ServiceRegistry>,
    pub network_configuration: Option<ecs::NetworkConfiguration>,
    pub availability_zone_rebalancing: Option<String>,
    pub role: Option<String>,
    pub propagate_tags: PropagateTags,
    pub enable_ecs_managed_tags: bool,
    pub enable_execute_command: bool,
}

/// REPLICA keeps a number of tasks, DAEMON one on every eligible instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheduling {
    Replica,
    Daemon,
}

impl Scheduling {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replica => "REPLICA",
            Self::Daemon => "DAEMON",
        }
    }
}

/// Where a new task's tags come from, besides those of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropagateTags {
    None,
    TaskDefinition,
    Service,
}

impl PropagateTags {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::TaskDefinition => "TASK_DEFINITION",
            Self::Service => "SERVICE",
        }
    }
}

/// How far a service may stray from its desired count while it changes, in percent of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub minimum_healthy_percent: u32,
    pub maximum_percent: u32,
}

impl Bounds {
    /// Fewest healthy tasks that the scheduler may bring a service down to: rounded up.
    pub fn lower(self, desired: u32) -> u32 {
        let scaled = (u64::from(desired) * u64::from(self.minimum_healthy_percent)).div_ceil(100);
        u32::try_from(scaled).unwrap_or(u32::MAX)
    }

    /// Most tasks RUNNING or PENDING that the scheduler may bring a service up to: rounded down.
    pub fn upper(self, desired: u32) -> u32 {
        let scaled = u64::from(desired) * u64::from(self.maximum_percent) / 100;
        u32::try_from(scaled).unwrap_or(u32::MAX)
    }
}

/// Whether a deployment that cannot start its tasks is given up, and whether the last good one comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CircuitBreaker {
    pub enable: bool,
    pub rollback: bool,
}

impl CircuitBreaker {
    /// Consecutive failures after which a deployment is FAILED: half of the desired count, at least 3, at most 200.
    pub fn threshold(desired: u32) -> u32 {
        desired.div_ceil(2).clamp(3, 200)
    }
}

/// One roll-out of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: DeploymentId,
    pub definition: DefinitionId,
    pub network_configuration: Option<ecs::NetworkConfiguration>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Consecutive tasks that never ran; zero again once one does.
    pub failed_tasks: u32,
    /// Consecutive tasks that ended by themselves within moments of their start, or before it.
    pub crashes: u32,
    /// No new task before this moment, after a crash loop.
    pub retry_at: Option<Timestamp>,
    pub rollout: Rollout,
    pub rollout_reason: String,
}

impl Deployment {
    /// A roll-out that has just begun.
    pub fn new(
        id: DeploymentId,
        definition: DefinitionId,
        network_configuration: Option<ecs::NetworkConfiguration>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            definition,
            network_configuration,
            created_at: now,
            updated_at: now,
            failed_tasks: 0,
            crashes: 0,
            retry_at: None,
            rollout: Rollout::InProgress,
            rollout_reason: format!("ECS deployment {id} in progress."),
        }
    }
}

impl Deployment {
    /// Takes note of a task that ended by itself, `ran` after its start; `None` if it never started.
    pub fn count_end(&mut self, ran: Option<Duration>, desired: u32, now: Timestamp) {
        if ran.is_none_or(|ran| ran < SETTLED_AFTER) {
            self.failed_tasks = self.failed_tasks.saturating_add(1);
        }
        let crashed = ran.is_none_or(|ran| ran < CRASHED_WITHIN);
        self.crashes = if crashed { self.crashes.saturating_add(1) } else { 0 };
        self.retry_at = crash_delay(self.crashes, desired).map(|delay| now.plus(delay));
        self.updated_at = now;
    }
}

/// Nothing in the first round, then a delay that doubles from round to round.
fn crash_delay(crashes: u32, desired: u32) -> Option<Duration> {
    let rounds = crashes.div_ceil(desired.max(1));
    let doublings = rounds.checked_sub(2)?;
    let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
    Some(CRASH_DELAY_FIRST.saturating_mul(factor).min(CRASH_DELAY_MAX))
}

/// ECS's `rolloutState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rollout {
    InProgress,
    Completed,
    Failed,
}

impl Rollout {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

/// A line in a service's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEvent {
    pub id: String,
    pub created_at: Timestamp,
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_round_towards_safety() {
        let check = |desired, min, max, expected: (u32, u32)| {
            let bounds = Bounds { minimum_healthy_percent: min, maximum_percent: max };
            assert_eq!((bounds.lower(desired), bounds.upper(desired)), expected);
        };
        check(14, 100, 200, (14, 28));
        check(3, 50, 150, (2, 4));
        check(1, 50, 150, (1, 1));
        check(0, 100, 200, (0, 0));
        check(5, 0, 100, (0, 5));
    }

    #[test]
    fn a_circuit_breaker_waits_for_at_least_three() {
        assert_eq!([0, 1, 6, 7, 14, 1000].map(CircuitBreaker::threshold), [3, 3, 3, 4, 7, 200]);
    }

    #[test]
    fn crash_loops_are_slowed_down() {
        let check = |crashes, desired, seconds: Option<u64>| {
            assert_eq!(
                crash_delay(crashes, desired),
                seconds.map(Duration::from_secs),
                "{crashes} of {desired}"
            );
        };
        check(0, 1, None);
        check(1, 1, None);
        check(2, 1, Some(1));
        check(3, 1, Some(2));
        check(14, 14, None);
        check(15, 14, Some(1));
        check(29, 14, Some(2));
        check(12, 1, Some(900));
        check(u32::MAX, 0, Some(900));
    }
}
