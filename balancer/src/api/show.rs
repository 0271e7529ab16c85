//! Load balancers, target groups and listeners as ELBv2 shows them.

use std::collections::BTreeMap;

use ecsr_api::elbv2::{
    AvailabilityZone, Certificate, Listener as Shown, LoadBalancer as ShownBalancer, LoadBalancerAddress,
    LoadBalancerState, Matcher, MutualAuthenticationAttributes, TargetGroup as ShownGroup,
};

use super::actions;
use super::draft::Site;
use crate::model::{
    Action, Arn, GroupProtocol, HealthProtocol, Listener, LoadBalancer, ProtocolVersion, State, TargetGroup,
};

/// A load balancer. It is active as soon as it is made.
pub(super) fn load_balancer(balancer: &LoadBalancer, site: &Site) -> ShownBalancer {
    ShownBalancer {
        availability_zones: Some(zones(balancer, site)),
        created_time: Some(balancer.created_at),
        dns_name: Some(balancer.dns_name.clone()),
        ip_address_type: Some(balancer.ip_address_type.clone()),
        load_balancer_arn: Some(balancer.arn.to_string()),
        load_balancer_name: Some(balancer.name.clone()),
        scheme: Some(balancer.scheme.clone()),
        security_groups: Some(balancer.security_groups.clone()),
        state: Some(LoadBalancerState { code: Some("active".to_owned()), reason: None }),
        r#type: Some(balancer.kind.name().to_owned()),
        ..ShownBalancer::default()
    }
}

/// A zone for each subnet; the first has the address that was asked for.
pub(super) fn zones(balancer: &LoadBalancer, site: &Site) -> Vec<AvailabilityZone> {
    let own = balancer.own_address.map(|address| LoadBalancerAddress {
        private_i_pv4_address: Some(address.to_string()),
        ..LoadBalancerAddress::default()
    });
    let mut own = own.into_iter();
    let zone = |(subnet, letter): (&String, char)| AvailabilityZone {
        load_balancer_addresses: Some(own.by_ref().collect()),
        subnet_id: Some(subnet.clone()),
        zone_name: Some(format!("{}{letter}", site.region)),
        ..AvailabilityZone::default()
    };
    balancer.subnets.iter().zip('a'..='z').map(zone).collect()
}

/// The load balancer that each group serves.
pub(super) fn balancers_of_groups(state: &State) -> BTreeMap<&Arn, &Arn> {
    let pairs = state.listeners.values().flat_map(|listener| {
        let groups = listener.actions().flat_map(Action::groups);
        groups.map(|group| (group, &listener.load_balancer))
    });
    pairs.collect()
}

/// A target group, and the load balancer that it serves.
pub(super) fn target_group(group: &TargetGroup, balancer: Option<&Arn>) -> ShownGroup {
    let check = &group.health_check;
    let seconds = |duration: std::time::Duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let is_http = matches!(group.protocol, GroupProtocol::Http | GroupProtocol::Https);
    let is_checked_by_http = check.protocol != HealthProtocol::Tcp;
    ShownGroup {
        health_check_enabled: Some(check.enabled),
        health_check_interval_seconds: Some(seconds(check.interval)),
        health_check_path: is_checked_by_http.then(|| check.path.clone()),
        health_check_port: Some(
            check.port.map_or_else(|| "traffic-port".to_owned(), |port| port.to_string()),
        ),
        health_check_protocol: Some(check.protocol.name().to_owned()),
        health_check_timeout_seconds: Some(seconds(check.timeout)),
        healthy_threshold_count: Some(count(check.healthy_threshold)),
        ip_address_type: Some(group.ip_address_type.clone()),
        load_balancer_arns: Some(balancer.into_iter().map(ToString::to_string).collect()),
        matcher: is_checked_by_http.then(|| matcher(group)),
        port: Some(group.port.into()),
        protocol: Some(group.protocol.name().to_owned()),
        protocol_version: is_http.then(|| group.protocol_version.name().to_owned()),
        target_control_port: None,
        target_group_arn: Some(group.arn.to_string()),
        target_group_name: Some(group.name.clone()),
        target_type: Some(group.target_type.name().to_owned()),
        unhealthy_threshold_count: Some(count(check.unhealthy_threshold)),
        vpc_id: group.vpc_id.clone(),
    }
}

fn matcher(group: &TargetGroup) -> Matcher {
    let text = Some(group.health_check.matcher.text.clone());
    match group.protocol_version {
        ProtocolVersion::Grpc => Matcher { grpc_code: text, http_code: None },
        ProtocolVersion::Http1 | ProtocolVersion::Http2 => Matcher { grpc_code: None, http_code: text },
    }
}

/// A listener. Of its certificates only the default one is shown; `DescribeListenerCertificates` has them all.
pub(super) fn listener(listener: &Listener) -> Shown {
    let default = listener.certificates.first();
    let certificate = default
        .map(|default| Certificate { certificate_arn: Some(default.arn.to_string()), is_default: None });
    let is_https = listener.protocol == crate::model::Protocol::Https;
    Shown {
        alpn_policy: listener.alpn_policy.clone().map(|policy| vec![policy]),
        certificates: certificate.map(|certificate| vec![certificate]),
        default_actions: Some(vec![actions::show(&listener.default_action, listener.default_order)]),
        listener_arn: Some(listener.arn.to_string()),
        load_balancer_arn: Some(listener.load_balancer.to_string()),
        mutual_authentication: is_https.then(|| MutualAuthenticationAttributes {
            mode: Some("off".to_owned()),
            ..MutualAuthenticationAttributes::default()
        }),
        port: Some(listener.address.port().into()),
        protocol: Some(listener.protocol.name().to_owned()),
        ssl_policy: listener.ssl_policy.clone(),
    }
}
