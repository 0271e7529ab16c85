//! Target groups.

use std::sync::Arc;

use ecsr_api::elbv2::enums::{PROTOCOL_ENUM, TARGET_GROUP_IP_ADDRESS_TYPE_ENUM, TARGET_TYPE_ENUM};
use ecsr_api::elbv2::{
    CreateTargetGroupInput, CreateTargetGroupOutput, DeleteTargetGroupInput, DeleteTargetGroupOutput,
    DescribeTargetGroupsInput, DescribeTargetGroupsOutput, Error, ErrorCode, ModifyTargetGroupInput,
    ModifyTargetGroupOutput,
};

use super::check::{self, invalid, unfit, unsupported};
use super::draft::{self, Draft};
use super::health_check::{self, Asked, Of};
use super::page::{self, Page};
use super::{limits, show, tags};
use crate::model::{
    Arn, Attributes, GroupProtocol, ProtocolVersion, State, TIMEOUT_MILLISECONDS, TargetGroup, TargetType,
};

pub(super) fn create(
    draft: &mut Draft<'_>,
    request: CreateTargetGroupInput,
) -> Result<CreateTargetGroupOutput, Error> {
    let asked = read(request)?;
    let mut known = draft.state.target_groups.values();
    let created = match known.find(|known| known.name == asked.name) {
        Some(known) if is_same(known, &asked) => known.clone(),
        Some(_) => return Err(duplicate(&asked.name)),
        None => {
            limits::check_target_groups(&draft.state)?;
            let arn = draft.group_arn(&asked.name);
            let created = Arc::new(TargetGroup { arn: arn.clone(), ..asked });
            draft.state.target_groups.insert(arn, created.clone());
            created
        }
    };
    let balancers = show::balancers_of_groups(&draft.state);
    let shown = show::target_group(&created, balancers.get(&created.arn).copied());
    Ok(CreateTargetGroupOutput { target_groups: Some(vec![shown]) })
}

pub(super) fn describe(
    state: &State,
    request: DescribeTargetGroupsInput,
) -> Result<DescribeTargetGroupsOutput, Error> {
    let balancers = show::balancers_of_groups(state);
    let found: Vec<&Arc<TargetGroup>> = match (
        request.load_balancer_arn,
        request.target_group_arns,
        request.names,
    ) {
        (None, None, None) => state.target_groups.values().collect(),
        (Some(balancer), None, None) => {
            let balancer = &draft::balancer(state, &balancer)?.arn;
            let serves = |group: &&Arc<TargetGroup>| balancers.get(&group.arn) == Some(&balancer);
            state.target_groups.values().filter(serves).collect()
        }
        (None, Some(arns), None) => {
            arns.iter().map(|arn| draft::group(state, arn)).collect::<Result<_, _>>()?
        }
        (None, None, Some(names)) => names.iter().map(|name| named(state, name)).collect::<Result<_, _>>()?,
        _ => {
            return Err(invalid(
                "You can specify only one of a load balancer ARN, target group ARNs and target group names",
            ));
        }
    };
    let items = found
        .into_iter()
        .map(|group| (group.arn.to_string(), show::target_group(group, balancers.get(&group.arn).copied())));
    let page = Page { marker: request.marker, size: request.page_size };
    let (target_groups, next_marker) = page::cut(page, items.collect())?;
    Ok(DescribeTargetGroupsOutput { target_groups: Some(target_groups), next_marker })
}

/// Only the health check can be changed.
pub(super) fn modify(
    draft: &mut Draft<'_>,
    request: ModifyTargetGroupInput,
) -> Result<ModifyTargetGroupOutput, Error> {
    let arn = check::required(request.target_group_arn.clone(), "targetGroupArn")?;
    let group = draft.group_mut(&arn)?;
    let of = Of { protocol: group.protocol, version: group.protocol_version };
    group.health_check = health_check::decide(Asked::from(request), of, Some(&group.health_check))?;
    check_milliseconds(group)?;
    let group = draft::group(&draft.state, &arn)?;
    let balancers = show::balancers_of_groups(&draft.state);
    let shown = show::target_group(group, balancers.get(&group.arn).copied());
    Ok(ModifyTargetGroupOutput { target_groups: Some(vec![shown]) })
}

/// What is gone already is no error.
pub(super) fn delete(
    draft: &mut Draft<'_>,
    request: DeleteTargetGroupInput,
) -> Result<DeleteTargetGroupOutput, Error> {
    let arn = check::required(request.target_group_arn, "targetGroupArn")?;
    draft::check_kind(&arn, "targetgroup", "target group")?;
    if show::balancers_of_groups(&draft.state).contains_key(&Arn::from(&*arn)) {
        let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
        return Err(Error::new(ErrorCode::ResourceInUse, message));
    }
    draft.state.target_groups.remove(&*arn);
    Ok(DeleteTargetGroupOutput {})
}

/// A timeout in milliseconds that was asked for must fit in the interval, whatever that one was asked for in.
pub(super) fn check_milliseconds(group: &TargetGroup) -> Result<(), Error> {
    let asked = group.attributes.get(TIMEOUT_MILLISECONDS).and_then(|text| text.parse::<u128>().ok());
    let interval = group.health_interval().as_millis();
    match asked {
        Some(timeout) if timeout > interval => Err(invalid(format!(
            "Health check timeout of '{timeout}' milliseconds must be smaller than or equal to the interval of \
             '{interval}'"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// What a request asks for, but for its ARN.
fn read(request: CreateTargetGroupInput) -> Result<TargetGroup, Error> {
    let name = check::required(request.name.clone(), "name")?;
    check::name("Target group", &name)?;
    let asked = Asked::from(&request);
    let target_type = request.target_type.unwrap_or_else(|| TargetType::Instance.name().to_owned());
    check::one_of(&target_type, "targetType", TARGET_TYPE_ENUM)?;
    let target_type = TargetType::from_name(&target_type)
        .ok_or_else(|| unsupported(&format!("Target groups of type '{target_type}' are")))?;
    let protocol = request.protocol.ok_or_else(|| invalid("A protocol must be specified"))?;
    check::one_of(&protocol, "protocol", PROTOCOL_ENUM)?;
    let protocol = GroupProtocol::from_name(&protocol)
        .ok_or_else(|| unsupported(&format!("Target groups with the protocol '{protocol}' are")))?;
    let port = check::port(request.port.ok_or_else(|| invalid("A port must be specified"))?)?;
    let protocol_version = version(request.protocol_version, protocol)?;
    let ip_address_type = request.ip_address_type.unwrap_or_else(|| "ipv4".to_owned());
    check::one_of(&ip_address_type, "ipAddressType", TARGET_GROUP_IP_ADDRESS_TYPE_ENUM)?;
    let of = Of { protocol, version: protocol_version };
    Ok(TargetGroup {
        arn: Arn::default(),
        name,
        protocol,
        protocol_version,
        port,
        target_type,
        vpc_id: request.vpc_id,
        ip_address_type,
        health_check: health_check::decide(asked, of, None)?,
        attributes: Attributes::new(),
        targets: std::collections::BTreeMap::new(),
        tags: tags::read(request.tags)?,
    })
}

fn version(asked: Option<String>, protocol: GroupProtocol) -> Result<ProtocolVersion, Error> {
    let Some(name) = asked else { return Ok(ProtocolVersion::default()) };
    if !matches!(protocol, GroupProtocol::Http | GroupProtocol::Https) {
        let protocol = protocol.name();
        return Err(unfit(format!(
            "Protocol version cannot be specified for target groups with the protocol '{protocol}'"
        )));
    }
    let known = ProtocolVersion::from_name(&name);
    known.ok_or_else(|| invalid(format!("Protocol version '{name}' must be one of '[HTTP1, HTTP2, GRPC]'")))
}

fn is_same(known: &TargetGroup, asked: &TargetGroup) -> bool {
    known.protocol == asked.protocol
        && known.protocol_version == asked.protocol_version
        && known.port == asked.port
        && known.target_type == asked.target_type
        && known.vpc_id == asked.vpc_id
        && known.ip_address_type == asked.ip_address_type
        && known.health_check == asked.health_check
}

fn duplicate(name: &str) -> Error {
    let message = format!("A target group with the same name '{name}' exists, but with different settings");
    Error::new(ErrorCode::DuplicateTargetGroupName, message)
}

fn named<'a>(state: &'a State, name: &str) -> Result<&'a Arc<TargetGroup>, Error> {
    let found = state.target_groups.values().find(|found| found.name == name);
    found.ok_or_else(|| Error::new(ErrorCode::TargetGroupNotFound, "One or more target groups not found"))
}
