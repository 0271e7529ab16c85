//! Health checks: a target is probed for as long as a listener uses its group.

mod machine;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

pub(super) use self::machine::{Machine, Standing, Thresholds, Verdict};
use super::group::Group;
use super::live::Live;
use super::tls::ToTargets;
use crate::model::{GroupProtocol, HealthCheck, Kind, ProtocolVersion, TargetGroup};

/// All that a change of the group can change about its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    check: HealthCheck,
    interval: Duration,
    timeout: Duration,
    version: ProtocolVersion,
    kind: Kind,
    proxy_protocol: bool,
}

/// A running check, which ends when this is dropped.
pub(super) struct Checking {
    plan: Plan,
    task: AbortHandle,
}

impl Plan {
    pub(super) fn of(group: &TargetGroup, kind: Kind, proxy_protocol: bool) -> Self {
        Self {
            check: group.health_check.clone(),
            interval: group.health_interval(),
            timeout: group.health_timeout(),
            version: match group.protocol {
                GroupProtocol::Http | GroupProtocol::Https => group.protocol_version,
                _ => ProtocolVersion::Http1,
            },
            kind,
            proxy_protocol: proxy_protocol && kind == Kind::Network,
        }
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds {
            // An application load balancer believes a new target's first success.
            first: if self.kind == Kind::Application { 1 } else { self.check.healthy_threshold },
            healthy: self.check.healthy_threshold,
            unhealthy: self.check.unhealthy_threshold,
        }
    }
}

impl Checking {
    /// Probes the target from now on, the first time at once.
    pub(super) fn start(plan: Plan, group: Arc<Group>, live: Arc<Live>, tls: ToTargets, on: &Handle) -> Self {
        let check = check(plan.clone(), group, live, tls);
        Self { plan, task: on.spawn(check).abort_handle() }
    }

    pub(super) fn is_by(&self, plan: &Plan) -> bool {
        self.plan == *plan
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn check(plan: Plan, group: Arc<Group>, live: Arc<Live>, tls: ToTargets) {
    let mut ticks = interval(plan.interval);
    // However long an answer takes, the next question is asked at its time.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let verdict = probe::probe(&plan, live.address, &tls).await;
        learn(&plan, &group, &live, verdict);
    }
}

fn learn(plan: &Plan, group: &Group, live: &Live, verdict: Verdict) {
    if verdict == Verdict::Good {
        live.passed_check();
    }
    let standing = {
        let mut machine = live.machine();
        if !machine.step(verdict, plan.thresholds()) {
            return;
        }
        machine.standing()
    };
    let view = group.view();
    match standing {
        Standing::Healthy => {
            // There must be somebody to carry what it does not take yet.
            let now = super::clock::now();
            let slow_start = view.settings.slow_start;
            let carries = |other: &Arc<Live>| {
                other.standing() == Standing::Healthy && other.share(now, slow_start) == 100
            };
            if !slow_start.is_zero() && view.members.iter().any(carries) {
                live.start_ramp();
            }
        }
        Standing::New | Standing::Unhealthy => live.end_ramp(),
    }
    live.set_standing(standing);
    group.refresh();
    if standing == Standing::Unhealthy && view.settings.terminate_unhealthy {
        live.cut();
    }
    tracing::debug!(target = %live.key, group = %group.arn, ?standing, "a target's health changed");
}
