//! Load balancers.
//!
//! Subnets are said back and nothing else, since there is one network: none is needed, and each stands for a zone. What a
//! load balancer may ask for is the address that its listeners bind, by the first subnet mapping's `PrivateIPv4Address`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ecsr_api::elbv2::enums::{IP_ADDRESS_TYPE, LOAD_BALANCER_SCHEME_ENUM, LOAD_BALANCER_TYPE_ENUM};
use ecsr_api::elbv2::{
    CreateLoadBalancerInput, CreateLoadBalancerOutput, DeleteLoadBalancerInput, DeleteLoadBalancerOutput,
    DescribeCapacityReservationInput, DescribeCapacityReservationOutput, DescribeLoadBalancersInput,
    DescribeLoadBalancersOutput, Error, ErrorCode, SetIpAddressTypeInput, SetIpAddressTypeOutput,
    SetSecurityGroupsInput, SetSecurityGroupsOutput, SetSubnetsInput, SetSubnetsOutput, SubnetMapping,
};

use super::attributes::DELETION_PROTECTION;
use super::check::{self, invalid, unfit, unsupported};
use super::draft::{self, Draft, Site};
use super::page::{self, Page};
use super::{limits, show, tags};
use crate::model::{Arn, Attributes, Kind, LoadBalancer, State};

/// Zones have letters.
const SUBNETS_MAX: usize = 26;

pub(super) fn create(
    draft: &mut Draft<'_>,
    request: CreateLoadBalancerInput,
) -> Result<CreateLoadBalancerOutput, Error> {
    let asked = read(draft.site, draft.now, request)?;
    let mut known = draft.state.load_balancers.values();
    let created = match known.find(|known| known.name == asked.name) {
        Some(known) if is_same(known, &asked) => known.clone(),
        Some(_) => return Err(duplicate(&asked.name)),
        None => {
            limits::check_load_balancers(&draft.state)?;
            let arn = draft.balancer_arn(asked.kind, &asked.name);
            let created = Arc::new(LoadBalancer { arn: arn.clone(), ..asked });
            draft.state.load_balancers.insert(arn, created.clone());
            created
        }
    };
    Ok(CreateLoadBalancerOutput { load_balancers: Some(vec![show::load_balancer(&created, draft.site)]) })
}

pub(super) fn describe(
    state: &State,
    site: &Site,
    request: DescribeLoadBalancersInput,
) -> Result<DescribeLoadBalancersOutput, Error> {
    let found = match (check::filter(request.load_balancer_arns), check::filter(request.names)) {
        (Some(_), Some(_)) => {
            return Err(invalid("You cannot specify both load balancer names and load balancer ARNs"));
        }
        (Some(arns), None) => {
            arns.iter().map(|arn| draft::balancer(state, arn).cloned()).collect::<Result<_, _>>()?
        }
        (None, Some(names)) => names.iter().map(|name| named(state, name)).collect::<Result<_, _>>()?,
        (None, None) => state.load_balancers.values().cloned().collect::<Vec<_>>(),
    };
    let items = found.iter().map(|found| (found.arn.to_string(), show::load_balancer(found, site)));
    let page = Page { marker: request.marker, size: request.page_size };
    let (load_balancers, next_marker) = page::cut(page, items.collect())?;
    Ok(DescribeLoadBalancersOutput { load_balancers: Some(load_balancers), next_marker })
}

/// Takes its listeners with it. What is gone already is no error.
pub(super) fn delete(
    draft: &mut Draft<'_>,
    request: DeleteLoadBalancerInput,
) -> Result<DeleteLoadBalancerOutput, Error> {
    let arn = check::required(request.load_balancer_arn, "loadBalancerArn")?;
    draft::check_kind(&arn, "loadbalancer", "load balancer")?;
    if let Some(balancer) = draft.state.load_balancers.get(&*arn) {
        if balancer.attributes.get(DELETION_PROTECTION).is_some_and(|value| value == "true") {
            let message =
                format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled");
            return Err(Error::new(ErrorCode::OperationNotPermitted, message));
        }
        draft.state.load_balancers.remove(&*arn);
        draft.state.listeners.retain(|_, listener| *listener.load_balancer != *arn);
    }
    Ok(DeleteLoadBalancerOutput {})
}

pub(super) fn set_subnets(
    draft: &mut Draft<'_>,
    request: SetSubnetsInput,
) -> Result<SetSubnetsOutput, Error> {
    let arn = check::required(request.load_balancer_arn, "loadBalancerArn")?;
    let (subnets, own_address) = subnets(request.subnets, request.subnet_mappings)?;
    let site = draft.site;
    let balancer = draft.balancer_mut(&arn)?;
    if own_address.is_some() && own_address != balancer.own_address {
        return Err(unfit("The address of a load balancer cannot be changed"));
    }
    if let Some(kind) = request.ip_address_type {
        check::one_of(&kind, "ipAddressType", IP_ADDRESS_TYPE)?;
        balancer.ip_address_type = kind;
    }
    balancer.subnets = subnets;
    Ok(SetSubnetsOutput {
        availability_zones: Some(show::zones(balancer, site)),
        ip_address_type: Some(balancer.ip_address_type.clone()),
        enable_prefix_for_ipv6_source_nat: None,
    })
}

pub(super) fn set_security_groups(
    draft: &mut Draft<'_>,
    request: SetSecurityGroupsInput,
) -> Result<SetSecurityGroupsOutput, Error> {
    let arn = check::required(request.load_balancer_arn, "loadBalancerArn")?;
    let groups = check::required(request.security_groups, "securityGroups")?;
    draft.balancer_mut(&arn)?.security_groups.clone_from(&groups);
    Ok(SetSecurityGroupsOutput {
        security_group_ids: Some(groups),
        enforce_security_group_inbound_rules_on_private_link_traffic: None,
    })
}

pub(super) fn set_ip_address_type(
    draft: &mut Draft<'_>,
    request: SetIpAddressTypeInput,
) -> Result<SetIpAddressTypeOutput, Error> {
    let arn = check::required(request.load_balancer_arn, "loadBalancerArn")?;
    let kind = check::required(request.ip_address_type, "ipAddressType")?;
    check::one_of(&kind, "ipAddressType", IP_ADDRESS_TYPE)?;
    draft.balancer_mut(&arn)?.ip_address_type.clone_from(&kind);
    Ok(SetIpAddressTypeOutput { ip_address_type: Some(kind) })
}

/// Nothing is ever reserved, which is what there is to say.
pub(super) fn describe_capacity_reservation(
    state: &State,
    request: DescribeCapacityReservationInput,
) -> Result<DescribeCapacityReservationOutput, Error> {
    let arn = check::required(request.load_balancer_arn, "loadBalancerArn")?;
    draft::balancer(state, &arn)?;
    Ok(DescribeCapacityReservationOutput {
        capacity_reservation_state: Some(Vec::new()),
        ..DescribeCapacityReservationOutput::default()
    })
}

/// What a request asks for, but for its ARN.
fn read(
    site: &Site,
    now: ecsr_api::Timestamp,
    request: CreateLoadBalancerInput,
) -> Result<LoadBalancer, Error> {
    let name = check::required(request.name, "name")?;
    check::name("Load balancer", &name)?;
    if name.starts_with("internal-") {
        return Err(invalid(format!("Load balancer name '{name}' cannot begin with 'internal-'")));
    }
    let kind = request.r#type.unwrap_or_else(|| Kind::Application.name().to_owned());
    check::one_of(&kind, "type", LOAD_BALANCER_TYPE_ENUM)?;
    let kind = Kind::from_name(&kind).ok_or_else(|| unsupported("Gateway load balancers are"))?;
    let scheme = request.scheme.unwrap_or_else(|| "internet-facing".to_owned());
    check::one_of(&scheme, "scheme", LOAD_BALANCER_SCHEME_ENUM)?;
    let ip_address_type = request.ip_address_type.unwrap_or_else(|| "ipv4".to_owned());
    check::one_of(&ip_address_type, "ipAddressType", IP_ADDRESS_TYPE)?;
    let (subnets, own_address) = subnets(request.subnets, request.subnet_mappings)?;
    Ok(LoadBalancer {
        arn: Arn::default(),
        name,
        kind,
        scheme,
        dns_name: site.dns_name.clone(),
        address: own_address.unwrap_or(site.bind),
        own_address,
        subnets,
        security_groups: request.security_groups.unwrap_or_default(),
        ip_address_type,
        attributes: Attributes::new(),
        tags: tags::read(request.tags)?,
        created_at: now,
    })
}

/// The subnets that a request names, and the address that it asks for.
fn subnets(
    names: Option<Vec<String>>,
    mappings: Option<Vec<SubnetMapping>>,
) -> Result<(Vec<String>, Option<IpAddr>), Error> {
    let (names, mappings) = (names.unwrap_or_default(), mappings.unwrap_or_default());
    if !names.is_empty() && !mappings.is_empty() {
        return Err(invalid("You must specify either subnets or subnet mappings, not both"));
    }
    let address = address(&mappings)?;
    let mapped = mappings.into_iter().filter_map(|mapping| mapping.subnet_id);
    let subnets: Vec<String> = names.into_iter().chain(mapped).collect();
    if subnets.len() > SUBNETS_MAX {
        return Err(unfit(format!("A load balancer can have up to '{SUBNETS_MAX}' subnets")));
    }
    let distinct: BTreeSet<&String> = subnets.iter().collect();
    if distinct.len() < subnets.len() {
        return Err(unfit(
            "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
        ));
    }
    Ok((subnets, address))
}

fn address(mappings: &[SubnetMapping]) -> Result<Option<IpAddr>, Error> {
    if let Some(id) = mappings.iter().find_map(|mapping| mapping.allocation_id.as_ref()) {
        let message = format!("The allocation IDs '{id}' do not exist");
        return Err(Error::new(ErrorCode::AllocationIdNotFound, message));
    }
    let asked = |mapping: &SubnetMapping| mapping.private_i_pv4_address.clone();
    if mappings.iter().skip(1).any(|mapping| asked(mapping).is_some()) {
        return Err(unfit("Only the first subnet mapping can have an address on this endpoint"));
    }
    let Some(text) = mappings.first().and_then(asked) else { return Ok(None) };
    match text.parse::<IpAddr>() {
        Ok(address) if !address.is_multicast() => Ok(Some(address)),
        Ok(_) | Err(_) => Err(invalid(format!("The private IPv4 address '{text}' is not valid"))),
    }
}

fn is_same(known: &LoadBalancer, asked: &LoadBalancer) -> bool {
    let set = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
    known.kind == asked.kind
        && known.scheme == asked.scheme
        && known.ip_address_type == asked.ip_address_type
        && known.own_address == asked.own_address
        && set(&known.subnets) == set(&asked.subnets)
        && set(&known.security_groups) == set(&asked.security_groups)
}

fn duplicate(name: &str) -> Error {
    let message = format!("A load balancer with the same name '{name}' exists, but with different settings");
    Error::new(ErrorCode::DuplicateLoadBalancerName, message)
}

fn named(state: &State, name: &str) -> Result<Arc<LoadBalancer>, Error> {
    let found = state.load_balancers.values().find(|found| found.name == name).cloned();
    found.ok_or_else(|| {
        Error::new(ErrorCode::LoadBalancerNotFound, format!("Load balancers '[{name}]' not found"))
    })
}
