//! Targets: who serves for a group, from their registration until they have drained.
//!
//! A target is its id and its port. Addresses may be any that a host can have, on the loopback network too: there is no
//! VPC whose they would have to be. Instances are those that the balancer was started with.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ecsr_api::elbv2::enums::DESCRIBE_TARGET_HEALTH_INPUT_INCLUDE_ENUM;
use ecsr_api::elbv2::{
    AdministrativeOverride, AnomalyDetection, DeregisterTargetsInput, DeregisterTargetsOutput,
    DescribeTargetHealthInput, DescribeTargetHealthOutput, Error, ErrorCode, RegisterTargetsInput,
    RegisterTargetsOutput, TargetDescription, TargetHealth as ShownHealth, TargetHealthDescription,
};

use super::check::{self, invalid};
use super::draft::{self, Draft, Site};
use super::limits;
use crate::model::{
    HealthReason, HealthState, State, Target, TargetGroup, TargetHealth, TargetKey, TargetType,
};
use crate::plane::Drained;

/// What is known of the health of targets.
pub(crate) type Health<'a> = dyn Fn(&TargetGroup, &TargetKey) -> TargetHealth + 'a;

/// Registers all of them or none. One that drains serves again.
pub(super) fn register(
    draft: &mut Draft<'_>,
    request: RegisterTargetsInput,
) -> Result<RegisterTargetsOutput, Error> {
    let arn = check::required(request.target_group_arn, "targetGroupArn")?;
    let asked = check::items(request.targets, "targets")?;
    let (site, now) = (draft.site, draft.now);
    let group = draft.group_mut(&arn)?;
    for (key, address, availability_zone) in addresses(site, group, asked)? {
        let known = group.targets.get(&key).filter(|known| known.draining_since.is_none());
        let registered_at = known.map_or(now, |known| known.registered_at);
        let target = Target { address, availability_zone, registered_at, draining_since: None };
        group.targets.insert(key, target);
    }
    limits::check_targets(group.targets.len())?;
    Ok(RegisterTargetsOutput {})
}

/// Lets them drain. Those that are not registered are no error.
pub(super) fn deregister(
    draft: &mut Draft<'_>,
    request: DeregisterTargetsInput,
) -> Result<DeregisterTargetsOutput, Error> {
    let arn = check::required(request.target_group_arn, "targetGroupArn")?;
    let asked = check::items(request.targets, "targets")?;
    let now = draft.now;
    let group = draft.group_mut(&arn)?;
    for target in asked {
        let key = key(group, target)?;
        if let Some(target) = group.targets.get_mut(&key) {
            target.draining_since.get_or_insert(now);
        }
    }
    Ok(DeregisterTargetsOutput {})
}

/// Removes targets that have drained, unless they were registered again meanwhile, be it for a while only.
pub(crate) fn remove_drained(draft: &mut Draft<'_>, drained: &[Drained]) {
    for Drained { group, target, since } in drained {
        let drains = |group: &Arc<TargetGroup>| {
            group.targets.get(target).is_some_and(|found| found.draining_since == Some(*since))
        };
        if let Some(group) = draft.state.target_groups.get_mut(group).filter(|group| drains(group)) {
            Arc::make_mut(group).targets.remove(target);
        }
    }
}

pub(super) fn describe_health(
    state: &State,
    health: &Health<'_>,
    request: DescribeTargetHealthInput,
) -> Result<DescribeTargetHealthOutput, Error> {
    let arn = check::required(request.target_group_arn, "targetGroupArn")?;
    let include = request.include.unwrap_or_default();
    for word in &include {
        check::one_of(word, "include", DESCRIBE_TARGET_HEALTH_INPUT_INCLUDE_ENUM)?;
    }
    let group = draft::group(state, &arn)?;
    let keys: BTreeSet<TargetKey> = match request.targets.filter(|targets| !targets.is_empty()) {
        Some(targets) => targets.into_iter().map(|target| key(group, target)).collect::<Result<_, _>>()?,
        None => group.targets.keys().cloned().collect(),
    };
    let show = |key: TargetKey| {
        let known = group.targets.contains_key(&key).then(|| health(group, &key));
        describe(group, &key, known.unwrap_or_else(not_registered), &include)
    };
    Ok(DescribeTargetHealthOutput { target_health_descriptions: Some(keys.into_iter().map(show).collect()) })
}

type Asked = (TargetKey, IpAddr, Option<String>);

/// Where the targets of a request are reached.
fn addresses(site: &Site, group: &TargetGroup, asked: Vec<TargetDescription>) -> Result<Vec<Asked>, Error> {
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for target in asked {
        let zone = target.availability_zone.clone();
        let key = key(group, target)?;
        match group.target_type {
            TargetType::Ip => {
                let address = address(&key.id, group)?;
                found.push((TargetKey { id: address.to_string().into(), port: key.port }, address, zone));
            }
            TargetType::Instance => match site.instances.get(&*key.id) {
                Some(address) => found.push((key, *address, zone)),
                None => unknown.push(format!("'{}'", key.id)),
            },
        }
    }
    if unknown.is_empty() {
        return Ok(found);
    }
    let message = format!(
        "The following targets are not in a running state and cannot be registered: {}",
        unknown.join(", ")
    );
    Err(Error::new(ErrorCode::InvalidTarget, message))
}

/// An address that a host can have, of the group's kind.
fn address(text: &str, group: &TargetGroup) -> Result<IpAddr, Error> {
    let (kind, is_ipv6) = if group.ip_address_type == "ipv6" { ("IPv6", true) } else { ("IPv4", false) };
    let is_hosts = |address: &IpAddr| {
        let is_broadcast = *address == IpAddr::from([255; 4]);
        address.is_ipv6() == is_ipv6 && !address.is_unspecified() && !address.is_multicast() && !is_broadcast
    };
    let address = text.parse().ok().filter(is_hosts);
    address.ok_or_else(|| invalid(format!("The IP address '{text}' is not a valid {kind} address")))
}

/// The target that a request names; without a port it is that of the group.
fn key(group: &TargetGroup, target: TargetDescription) -> Result<TargetKey, Error> {
    let id = check::required(target.id.filter(|id| !id.is_empty()), "targets.member.id")?;
    // An address has several forms; it is known by one.
    let id = match (group.target_type, id.parse::<IpAddr>()) {
        (TargetType::Ip, Ok(address)) => address.to_string(),
        (TargetType::Ip | TargetType::Instance, _) => id,
    };
    Ok(TargetKey { id: id.into(), port: target.port.map_or(Ok(group.port), check::port)? })
}

fn not_registered() -> TargetHealth {
    TargetHealth {
        state: HealthState::Unused,
        reason: Some(HealthReason::NotRegistered),
        description: Some("Target is not registered to the target group".to_owned()),
    }
}

fn describe(
    group: &TargetGroup,
    key: &TargetKey,
    health: TargetHealth,
    include: &[String],
) -> TargetHealthDescription {
    let target = group.targets.get(key);
    let asks = |what: &str| include.iter().any(|word| word == what || word == "All");
    TargetHealthDescription {
        administrative_override: asks("AdministrativeOverride").then(|| AdministrativeOverride {
            state: Some("no_override".to_owned()),
            reason: Some("AdministrativeOverride.NoOverride".to_owned()),
            description: Some("No override is currently active on target".to_owned()),
        }),
        anomaly_detection: asks("AnomalyDetection").then(|| AnomalyDetection {
            result: Some("normal".to_owned()),
            mitigation_in_effect: Some("no".to_owned()),
        }),
        health_check_port: target.map(|_| group.health_check.port.unwrap_or(key.port).to_string()),
        target: Some(TargetDescription {
            id: Some(key.id.to_string()),
            port: Some(key.port.into()),
            availability_zone: target.and_then(|target| target.availability_zone.clone()),
            quic_server_id: None,
        }),
        target_health: Some(ShownHealth {
            state: Some(health.state.name().to_owned()),
            reason: health.reason.map(|reason| reason.name().to_owned()),
            description: health.description,
        }),
    }
}
