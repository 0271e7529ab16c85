//! Hostile forms: whatever is sent, nothing breaks, what is refused changes nothing, and what is kept can be read again.

use std::sync::LazyLock;

use ecsr_api::elbv2::Operation;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Names that lead somewhere, and some that do not.
const NAMES: [&str; 40] = [
    "Name",
    "Type",
    "Port",
    "Protocol",
    "TargetType",
    "Priority",
    "PageSize",
    "Marker",
    "LoadBalancerArn",
    "TargetGroupArn",
    "ListenerArn",
    "RuleArn",
    "Subnets.member.1",
    "SubnetMappings.member.1.PrivateIPv4Address",
    "ResourceArns.member.1",
    "Tags.member.1.Key",
    "Tags.member.2.Key",
    "TagKeys.member.1",
    "Targets.member.1.Id",
    "Targets.member.1.Port",
    "Targets",
    "Attributes.member.1.Key",
    "Attributes.member.1.Value",
    "Conditions.member.1.Field",
    "Conditions.member.1.Values.member.1",
    "Conditions.member.1.SourceIpConfig.Values.member.1",
    "Actions.member.1.Type",
    "Actions.member.1.TargetGroupArn",
    "Actions.member.1.Order",
    "DefaultActions.member.1.Type",
    "DefaultActions.member.1.TargetGroupArn",
    "DefaultActions.member.1.ForwardConfig.TargetGroups.member.1.TargetGroupArn",
    "DefaultActions.member.1.ForwardConfig.TargetGroups.member.1.Weight",
    "DefaultActions.member.1.FixedResponseConfig.StatusCode",
    "Certificates.member.1.CertificateArn",
    "HealthCheckPath",
    "HealthCheckIntervalSeconds",
    "Matcher.HttpCode",
    "RulePriorities.member.1.RuleArn",
    "RulePriorities.member.1.Priority",
];

/// A state to be hostile to.
static PREPARED: LazyLock<(State, Vec<String>)> = LazyLock::new(|| {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web", "application"), world.group("web", "HTTP"));
    let listener = world.listener(&balancer, "HTTP", 80, &group);
    let rule = world.ask(&format!(
        "CreateRule ListenerArn={listener}&Priority=5&Conditions.member.1.Field=path-pattern\
         &Conditions.member.1.Values.member.1=/a&Actions.member.1.Type=forward&Actions.member.1.TargetGroupArn={group}"
    ));
    let rule = arn_in(&rule, "RuleArn");
    let words =
        ["", "0", "1", "80", "-1", "65536", "99999999999", "web", "new", "HTTP", "TCP", "application", "ip"];
    let more =
        ["forward", "fixed-response", "200", "path-pattern", "source-ip", "/a*", "10.0.0.0/8", "10.0.0.1"];
    let last = ["stickiness.enabled", "true", "arn:", ":", "/", "%00", "%F0%9F%8E%89", SELF_SIGNED];
    let words = words.into_iter().chain(more).chain(last).map(str::to_owned);
    (world.state, words.chain([balancer, group, listener, rule]).collect())
});

proptest! {
    #[test]
    fn nothing_breaks(
        operation in select(Operation::ALL),
        parameters in prop::collection::btree_map(select(&NAMES[..]), any::<prop::sample::Index>(), 0..8),
        free in "[ -~]{0,20}",
    ) {
        let (state, words) = &*PREPARED;
        let mut world = World::new();
        world.state = state.clone();
        let parameters = parameters.into_iter().map(|(name, at)| format!("{name}={}", at.get(words)));
        let form = parameters.chain([free]).collect::<Vec<_>>().join("&");
        if world.try_ask(&format!("{} {form}", operation.name())).is_err() {
            prop_assert_eq!(&world.state, state);
        }
        for listener in world.state.listeners.values() {
            let row = serde_json::to_vec(listener).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<crate::model::Listener>(&row).unwrap(), &**listener);
        }
        for group in world.state.target_groups.values() {
            let row = serde_json::to_vec(group).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<crate::model::TargetGroup>(&row).unwrap(), &**group);
        }
    }
}
