//! Attributes of load balancers, listeners and target groups.
//!
//! Only those that were set are kept; the others are shown with their defaults. What each can be is in [`keys`].

mod keys;

use ecsr_api::elbv2::{
    DescribeListenerAttributesInput, DescribeListenerAttributesOutput, DescribeLoadBalancerAttributesInput,
    DescribeLoadBalancerAttributesOutput, DescribeTargetGroupAttributesInput,
    DescribeTargetGroupAttributesOutput, Error, ListenerAttribute, LoadBalancerAttribute,
    ModifyListenerAttributesInput, ModifyListenerAttributesOutput, ModifyLoadBalancerAttributesInput,
    ModifyLoadBalancerAttributesOutput, ModifyTargetGroupAttributesInput, ModifyTargetGroupAttributesOutput,
    TargetGroupAttribute,
};

use self::keys::Key;
use super::check::{self, invalid, unfit};
use super::draft::{self, Draft};
use super::target_groups;
use crate::model::{Attributes, GroupProtocol, State, TargetGroup};

pub(super) const DELETION_PROTECTION: &str = keys::DELETION_PROTECTION;

type Pair = (Option<String>, Option<String>);

pub(super) fn describe_load_balancer(
    state: &State,
    request: DescribeLoadBalancerAttributesInput,
) -> Result<DescribeLoadBalancerAttributesOutput, Error> {
    let arn = check::required(request.load_balancer_arn, "loadBalancerArn")?;
    let balancer = draft::balancer(state, &arn)?;
    let keys = keys::of_load_balancer(balancer);
    let shown = shown(&keys, &balancer.attributes);
    let shown = shown.map(|(key, value)| LoadBalancerAttribute { key, value });
    Ok(DescribeLoadBalancerAttributesOutput { attributes: Some(shown.collect()) })
}

pub(super) fn modify_load_balancer(
    draft: &mut Draft<'_>,
    request: ModifyLoadBalancerAttributesInput,
) -> Result<ModifyLoadBalancerAttributesOutput, Error> {
    let arn = check::required(request.load_balancer_arn, "loadBalancerArn")?;
    let asked = check::items(request.attributes, "attributes")?;
    let asked = asked.into_iter().map(|attribute| (attribute.key, attribute.value));
    let balancer = draft.balancer_mut(&arn)?;
    let keys = keys::of_load_balancer(balancer);
    let kind = balancer.kind.name();
    set(&keys, &mut balancer.attributes, asked, "Load balancer", || {
        format!("load balancers with type '{kind}'")
    })?;
    let shown = shown(&keys, &balancer.attributes).map(|(key, value)| LoadBalancerAttribute { key, value });
    Ok(ModifyLoadBalancerAttributesOutput { attributes: Some(shown.collect()) })
}

pub(super) fn describe_listener(
    state: &State,
    request: DescribeListenerAttributesInput,
) -> Result<DescribeListenerAttributesOutput, Error> {
    let arn = check::required(request.listener_arn, "listenerArn")?;
    let listener = draft::listener(state, &arn)?;
    let keys = keys::of_listener(listener);
    let shown = shown(&keys, &listener.attributes);
    let shown = shown.map(|(key, value)| ListenerAttribute { key, value });
    Ok(DescribeListenerAttributesOutput { attributes: Some(shown.collect()) })
}

pub(super) fn modify_listener(
    draft: &mut Draft<'_>,
    request: ModifyListenerAttributesInput,
) -> Result<ModifyListenerAttributesOutput, Error> {
    let arn = check::required(request.listener_arn, "listenerArn")?;
    let asked = check::items(request.attributes, "attributes")?;
    let asked = asked.into_iter().map(|attribute| (attribute.key, attribute.value));
    let listener = draft.listener_mut(&arn)?;
    let keys = keys::of_listener(listener);
    let protocol = listener.protocol.name();
    set(&keys, &mut listener.attributes, asked, "Listener", || {
        format!("listeners with protocol '{protocol}'")
    })?;
    let shown = shown(&keys, &listener.attributes).map(|(key, value)| ListenerAttribute { key, value });
    Ok(ModifyListenerAttributesOutput { attributes: Some(shown.collect()) })
}

pub(super) fn describe_target_group(
    state: &State,
    request: DescribeTargetGroupAttributesInput,
) -> Result<DescribeTargetGroupAttributesOutput, Error> {
    let arn = check::required(request.target_group_arn, "targetGroupArn")?;
    let group = draft::group(state, &arn)?;
    let keys = keys::of_target_group(group);
    let shown = shown(&keys, &group.attributes);
    let shown = shown.map(|(key, value)| TargetGroupAttribute { key, value });
    Ok(DescribeTargetGroupAttributesOutput { attributes: Some(shown.collect()) })
}

pub(super) fn modify_target_group(
    draft: &mut Draft<'_>,
    request: ModifyTargetGroupAttributesInput,
) -> Result<ModifyTargetGroupAttributesOutput, Error> {
    let arn = check::required(request.target_group_arn, "targetGroupArn")?;
    let asked = check::items(request.attributes, "attributes")?;
    let asked = asked.into_iter().map(|attribute| (attribute.key, attribute.value));
    let group = draft.group_mut(&arn)?;
    let keys = keys::of_target_group(group);
    let protocol = group.protocol.name();
    set(&keys, &mut group.attributes, asked, "Target group", || {
        format!("target groups with protocol '{protocol}'")
    })?;
    check_target_group(group, &keys)?;
    let shown = shown(&keys, &group.attributes).map(|(key, value)| TargetGroupAttribute { key, value });
    Ok(ModifyTargetGroupAttributesOutput { attributes: Some(shown.collect()) })
}

/// All attributes, with what they are set to or are by default.
fn shown(keys: &[Key], set: &Attributes) -> impl Iterator<Item = (Option<String>, Option<String>)> {
    let shown = |key: &Key| (Some(key.name.to_owned()), Some(value(key, set).to_owned()));
    keys.iter().map(shown)
}

fn value<'a>(key: &'a Key, set: &'a Attributes) -> &'a str {
    set.get(key.name).map_or(key.default, String::as_str)
}

/// Sets what is asked for. What is not mentioned stays.
fn set(
    keys: &[Key],
    attributes: &mut Attributes,
    asked: impl Iterator<Item = Pair>,
    what: &str,
    whose: impl Fn() -> String,
) -> Result<(), Error> {
    for (name, value) in asked {
        let name = check::required(name, "attributes.member.key")?;
        let value = value.unwrap_or_default();
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            return Err(if keys::is_known(&name) {
                unfit(format!("{what} attribute key '{name}' is not supported on {}", whose()))
            } else {
                invalid(format!("{what} attribute key '{name}' is not recognized"))
            });
        };
        if !key.takes(&value) {
            return Err(invalid(format!(
                "{what} attribute value '{value}' is not valid for the key '{name}'"
            )));
        }
        if key.is_unset_by(&value) {
            attributes.remove(&name);
        } else {
            attributes.insert(name, value);
        }
    }
    Ok(())
}

/// What does not go together.
fn check_target_group(group: &TargetGroup, keys: &[Key]) -> Result<(), Error> {
    let is = |name: &str, wanted: &str| {
        let key = keys.iter().find(|key| key.name == name);
        key.is_some_and(|key| value(key, &group.attributes) == wanted)
    };
    let ramps = group.attributes.get(keys::SLOW_START).is_some_and(|seconds| seconds != "0");
    if ramps && !is(keys::ALGORITHM, "round_robin") {
        return Err(unfit(
            "Slow start mode is supported only with the 'round_robin' load balancing algorithm",
        ));
    }
    let sticks = is(keys::STICKINESS, "true");
    if sticks && is(keys::CROSS_ZONE, "false") {
        return Err(unfit(
            "Stickiness cannot be enabled when cross-zone load balancing is off for the target group",
        ));
    }
    if sticks && group.protocol == GroupProtocol::Tls {
        return Err(unfit("Stickiness is not supported on target groups with protocol 'TLS'"));
    }
    if sticks && is(keys::STICKINESS_TYPE, "app_cookie") && is(keys::APP_COOKIE_NAME, "") {
        return Err(unfit(
            "You must specify an application cookie name for stickiness of the type 'app_cookie'",
        ));
    }
    target_groups::check_milliseconds(group)
}
