//! How many of each there may be, and `DescribeAccountLimits`, which says so.
//!
//! They are AWS's quotas, so that what works here works there. All of it is kept in memory and looked through, which these
//! bounds keep cheap.

use ecsr_api::elbv2::{DescribeAccountLimitsInput, DescribeAccountLimitsOutput, Error, ErrorCode, Limit};

use super::page::{self, Page};
use crate::model::{Action, Arn, Listener, State};

const LOAD_BALANCERS_MAX: usize = 50;
const TARGET_GROUPS_MAX: usize = 3000;
const LISTENERS_MAX: usize = 50;
const RULES_MAX: usize = 100;
const CERTIFICATES_MAX: usize = 25;
const GROUPS_PER_BALANCER_MAX: usize = 100;
/// Targets of a group.
pub(super) const TARGETS_MAX: usize = 1000;
/// Target groups of one action.
pub(super) const GROUPS_PER_ACTION_MAX: usize = 5;
/// Values, and wildcards in them, of all conditions of a rule.
pub(super) const CONDITION_VALUES_MAX: usize = 5;
pub(super) const WILDCARDS_MAX: usize = 5;

const LIMITS: [(&str, usize); 18] = [
    ("application-load-balancers", LOAD_BALANCERS_MAX),
    ("certificates-per-application-load-balancer", CERTIFICATES_MAX),
    ("certificates-per-network-load-balancer", CERTIFICATES_MAX),
    ("condition-values-per-alb-rule", CONDITION_VALUES_MAX),
    ("condition-wildcards-per-alb-rule", WILDCARDS_MAX),
    ("listeners-per-application-load-balancer", LISTENERS_MAX),
    ("listeners-per-network-load-balancer", LISTENERS_MAX),
    ("network-load-balancers", LOAD_BALANCERS_MAX),
    ("rules-per-application-load-balancer", RULES_MAX),
    ("target-groups", TARGET_GROUPS_MAX),
    ("target-groups-per-action-on-application-load-balancer", GROUPS_PER_ACTION_MAX),
    ("target-groups-per-action-on-network-load-balancer", GROUPS_PER_ACTION_MAX),
    ("target-groups-per-application-load-balancer", GROUPS_PER_BALANCER_MAX),
    ("target-groups-per-network-load-balancer", GROUPS_PER_BALANCER_MAX),
    ("targets-per-application-load-balancer", GROUPS_PER_BALANCER_MAX * TARGETS_MAX),
    ("targets-per-network-load-balancer", GROUPS_PER_BALANCER_MAX * TARGETS_MAX),
    ("targets-per-availability-zone-per-network-load-balancer", TARGETS_MAX),
    ("targets-per-target-group", TARGETS_MAX),
];

pub(super) fn describe(request: DescribeAccountLimitsInput) -> Result<DescribeAccountLimitsOutput, Error> {
    let limit =
        |(name, max): (&str, usize)| Limit { name: Some(name.to_owned()), max: Some(max.to_string()) };
    let items = LIMITS.into_iter().map(|(name, max)| (name.to_owned(), limit((name, max))));
    let page = Page { marker: request.marker, size: request.page_size };
    let (limits, next_marker) = page::cut(page, items.collect())?;
    Ok(DescribeAccountLimitsOutput { limits: Some(limits), next_marker })
}

/// Whether one more may be made.
pub(super) fn check_load_balancers(state: &State) -> Result<(), Error> {
    check(
        state.load_balancers.len() + 1,
        LOAD_BALANCERS_MAX,
        ErrorCode::TooManyLoadBalancers,
        "load balancers",
    )
}

/// Whether one more may be made.
pub(super) fn check_target_groups(state: &State) -> Result<(), Error> {
    check(state.target_groups.len() + 1, TARGET_GROUPS_MAX, ErrorCode::TooManyTargetGroups, "target groups")
}

/// Whether a load balancer may have one more.
pub(super) fn check_listeners(state: &State, balancer: &Arn) -> Result<(), Error> {
    let listeners = state.listeners.values().filter(|listener| listener.load_balancer == *balancer).count();
    check(listeners + 1, LISTENERS_MAX, ErrorCode::TooManyListeners, "listeners per load balancer")
}

/// Whether what a listener has is not too much.
pub(super) fn check_listener(state: &State, changed: &Listener) -> Result<(), Error> {
    let certificates = changed.certificates.len();
    check(certificates, CERTIFICATES_MAX, ErrorCode::TooManyCertificates, "certificates per load balancer")?;
    let of_balancer = state
        .listeners
        .values()
        .filter(|listener| listener.load_balancer == changed.load_balancer && listener.arn != changed.arn);
    let listeners: Vec<&Listener> = of_balancer.map(|listener| &**listener).chain([changed]).collect();
    let rules = listeners.iter().map(|listener| listener.rules.len()).sum();
    check(rules, RULES_MAX, ErrorCode::TooManyRules, "rules per load balancer")?;
    let groups = listeners.iter().flat_map(|listener| listener.actions()).flat_map(Action::groups);
    let groups = groups.collect::<std::collections::BTreeSet<_>>().len();
    let code = ErrorCode::TooManyUniqueTargetGroupsPerLoadBalancer;
    check(groups, GROUPS_PER_BALANCER_MAX, code, "target groups per load balancer")
}

/// Whether a group may have so many targets.
pub(super) fn check_targets(count: usize) -> Result<(), Error> {
    check(count, TARGETS_MAX, ErrorCode::TooManyTargets, "targets per target group")
}

fn check(count: usize, max: usize, code: ErrorCode, what: &str) -> Result<(), Error> {
    if count <= max {
        return Ok(());
    }
    Err(Error::new(code, format!("The maximum number of {what}, '{max}', has been reached")))
}
