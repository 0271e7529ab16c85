//! The keys that there are, what each is by default, and what it can be.

use crate::model::{
    GroupProtocol, INTERVAL_MILLISECONDS, Kind, Listener, LoadBalancer, Protocol, TIMEOUT_MILLISECONDS,
    TargetGroup, TargetType,
};

pub(super) const DELETION_PROTECTION: &str = "deletion_protection.enabled";
pub(super) const SLOW_START: &str = "slow_start.duration_seconds";
pub(super) const ALGORITHM: &str = "load_balancing.algorithm.type";
pub(super) const STICKINESS: &str = "stickiness.enabled";
pub(super) const STICKINESS_TYPE: &str = "stickiness.type";
pub(super) const APP_COOKIE_NAME: &str = "stickiness.app_cookie.cookie_name";
pub(super) const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
const CONNECTION_TERMINATION: &str = "deregistration_delay.connection_termination.enabled";
const PRESERVE_CLIENT_IP: &str = "preserve_client_ip.enabled";
const IPV6_DENY: &str = "ipv6.deny_all_igw_traffic";

/// An attribute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub name: &'static str,
    pub default: &'static str,
    values: Values,
}

/// What an attribute can be.
#[derive(Debug, Clone, Copy)]
enum Values {
    Words(&'static [&'static str]),
    Number(u32, u32),
    /// Or nothing, which unsets it.
    NumberOrUnset(u32, u32),
    NumberOr(&'static str, u32, u32),
    /// Of so many characters at most.
    Text(usize),
}

use Values::{Number, NumberOr, NumberOrUnset, Text, Words};

const BOOL: Values = Words(&["true", "false"]);
/// S3's longest object key, which a prefix is part of; the other texts have shorter ones.
const TEXT: Values = Text(1024);
const COOKIE_SECONDS: Values = Number(1, 604_800);
const MILLISECONDS: Values = NumberOrUnset(50, 300_000);

const fn key(name: &'static str, default: &'static str, values: Values) -> Key {
    Key { name, default, values }
}

impl Key {
    pub(super) fn takes(&self, value: &str) -> bool {
        let within = |min: u32, max: u32| {
            let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            is_number && value.parse().is_ok_and(|number: u32| (min..=max).contains(&number))
        };
        match self.values {
            Words(words) => words.contains(&value),
            Number(min, max) => within(min, max),
            NumberOrUnset(min, max) => value.is_empty() || within(min, max),
            NumberOr(word, min, max) => value == word || within(min, max),
            Text(max) => value.len() <= max && !value.chars().any(char::is_control),
        }
    }

    pub(super) fn is_unset_by(&self, value: &str) -> bool {
        matches!(self.values, NumberOrUnset(..)) && value.is_empty()
    }
}

const LOAD_BALANCER: &[Key] = &[
    key(DELETION_PROTECTION, "false", BOOL),
    key("access_logs.s3.enabled", "false", BOOL),
    key("access_logs.s3.bucket", "", TEXT),
    key("access_logs.s3.prefix", "", TEXT),
    key("zonal_shift.config.enabled", "false", BOOL),
];

const APPLICATION: &[Key] = &[
    key(CROSS_ZONE, "true", Words(&["true"])),
    key("idle_timeout.timeout_seconds", "60", Number(1, 4000)),
    key("client_keep_alive.seconds", "3600", Number(60, 604_800)),
    key("connection_logs.s3.enabled", "false", BOOL),
    key("connection_logs.s3.bucket", "", TEXT),
    key("connection_logs.s3.prefix", "", TEXT),
    key("health_check_logs.s3.enabled", "false", BOOL),
    key("health_check_logs.s3.bucket", "", TEXT),
    key("health_check_logs.s3.prefix", "", TEXT),
    key("routing.http.desync_mitigation_mode", "defensive", Words(&["monitor", "defensive", "strictest"])),
    key("routing.http.drop_invalid_header_fields.enabled", "false", BOOL),
    key("routing.http.preserve_host_header.enabled", "false", BOOL),
    key("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", BOOL),
    key("routing.http.xff_client_port.enabled", "false", BOOL),
    key("routing.http.xff_header_processing.mode", "append", Words(&["append", "preserve", "remove"])),
    key("routing.http2.enabled", "true", BOOL),
    key("waf.fail_open.enabled", "false", BOOL),
];

const NETWORK: &[Key] = &[
    key(CROSS_ZONE, "false", BOOL),
    key(
        "dns_record.client_routing_policy",
        "any_availability_zone",
        Words(&["availability_zone_affinity", "partial_availability_zone_affinity", "any_availability_zone"]),
    ),
    key("secondary_ips.auto_assigned.per_subnet", "0", Number(0, 7)),
];

const NETWORK_LISTENER: &[Key] = &[key("tcp.idle_timeout.seconds", "350", Number(60, 6000))];

const RESPONSE_HEADERS: &[Key] = &[
    key("routing.http.response.server.enabled", "true", BOOL),
    key("routing.http.response.strict_transport_security.header_value", "", TEXT),
    key("routing.http.response.access_control_allow_origin.header_value", "", TEXT),
    key("routing.http.response.access_control_allow_methods.header_value", "", TEXT),
    key("routing.http.response.access_control_allow_headers.header_value", "", TEXT),
    key("routing.http.response.access_control_allow_credentials.header_value", "", TEXT),
    key("routing.http.response.access_control_expose_headers.header_value", "", TEXT),
    key("routing.http.response.access_control_max_age.header_value", "", TEXT),
    key("routing.http.response.content_security_policy.header_value", "", TEXT),
    key("routing.http.response.x_content_type_options.header_value", "", TEXT),
    key("routing.http.response.x_frame_options.header_value", "", TEXT),
];

const TLS_HEADERS: &[Key] = &[
    key(
        "routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name",
        "X-Amzn-Mtls-Clientcert-Serial-Number",
        TEXT,
    ),
    key(
        "routing.http.request.x_amzn_mtls_clientcert_issuer.header_name",
        "X-Amzn-Mtls-Clientcert-Issuer",
        TEXT,
    ),
    key(
        "routing.http.request.x_amzn_mtls_clientcert_subject.header_name",
        "X-Amzn-Mtls-Clientcert-Subject",
        TEXT,
    ),
    key(
        "routing.http.request.x_amzn_mtls_clientcert_validity.header_name",
        "X-Amzn-Mtls-Clientcert-Validity",
        TEXT,
    ),
    key("routing.http.request.x_amzn_mtls_clientcert_leaf.header_name", "X-Amzn-Mtls-Clientcert-Leaf", TEXT),
    key("routing.http.request.x_amzn_mtls_clientcert.header_name", "X-Amzn-Mtls-Clientcert", TEXT),
    key("routing.http.request.x_amzn_tls_version.header_name", "X-Amzn-Tls-Version", TEXT),
    key("routing.http.request.x_amzn_tls_cipher_suite.header_name", "X-Amzn-Tls-Cipher-Suite", TEXT),
];

const TARGET_GROUP: &[Key] = &[
    key("deregistration_delay.timeout_seconds", "300", Number(0, 3600)),
    key(STICKINESS, "false", BOOL),
    key(
        CROSS_ZONE,
        "use_load_balancer_configuration",
        Words(&["true", "false", "use_load_balancer_configuration"]),
    ),
    key("target_group_health.dns_failover.minimum_healthy_targets.count", "1", NumberOr("off", 1, 1000)),
    key(
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        "off",
        NumberOr("off", 1, 100),
    ),
    key("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", Number(1, 1000)),
    key(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        "off",
        NumberOr("off", 1, 100),
    ),
    key(INTERVAL_MILLISECONDS, "", MILLISECONDS),
    key(TIMEOUT_MILLISECONDS, "", MILLISECONDS),
];

const APPLICATION_GROUP: &[Key] = &[
    key(STICKINESS_TYPE, "lb_cookie", Words(&["lb_cookie", "app_cookie"])),
    key(ALGORITHM, "round_robin", Words(&["round_robin", "least_outstanding_requests", "weighted_random"])),
    key("load_balancing.algorithm.anomaly_mitigation", "off", Words(&["on", "off"])),
    key(SLOW_START, "0", NumberOr("0", 30, 900)),
    key(APP_COOKIE_NAME, "", Text(256)),
    key("stickiness.app_cookie.duration_seconds", "86400", COOKIE_SECONDS),
    key("stickiness.lb_cookie.duration_seconds", "86400", COOKIE_SECONDS),
];

const NETWORK_GROUP: &[Key] = &[
    key(STICKINESS_TYPE, "source_ip", Words(&["source_ip", "source_ip_dest_ip", "source_ip_dest_ip_proto"])),
    key(CONNECTION_TERMINATION, "false", BOOL),
    key(PRESERVE_CLIENT_IP, "true", BOOL),
    key("proxy_protocol_v2.enabled", "false", BOOL),
    key("target_health_state.unhealthy.connection_termination.enabled", "true", BOOL),
    key("target_health_state.unhealthy.draining_interval_seconds", "0", Number(0, 360_000)),
];

pub(super) fn of_load_balancer(balancer: &LoadBalancer) -> Vec<Key> {
    let own = match balancer.kind {
        Kind::Application => APPLICATION,
        Kind::Network => NETWORK,
    };
    let denies = if balancer.scheme == "internal" { "true" } else { "false" };
    [LOAD_BALANCER, own, &[key(IPV6_DENY, denies, BOOL)]].concat()
}

pub(super) fn of_listener(listener: &Listener) -> Vec<Key> {
    match listener.protocol {
        Protocol::Http => RESPONSE_HEADERS.to_vec(),
        Protocol::Https => [TLS_HEADERS, RESPONSE_HEADERS].concat(),
        Protocol::Tcp | Protocol::Tls | Protocol::TcpUdp => NETWORK_LISTENER.to_vec(),
        // Flows of datagrams have no idle timeout to set.
        Protocol::Udp => Vec::new(),
    }
}

pub(super) fn of_target_group(group: &TargetGroup) -> Vec<Key> {
    let is_datagrams = match group.protocol {
        GroupProtocol::Http | GroupProtocol::Https => return [TARGET_GROUP, APPLICATION_GROUP].concat(),
        GroupProtocol::Tcp | GroupProtocol::Tls => false,
        GroupProtocol::Udp | GroupProtocol::TcpUdp => true,
    };
    let mut keys = [TARGET_GROUP, NETWORK_GROUP].concat();
    for key in &mut keys {
        match key.name {
            CONNECTION_TERMINATION if is_datagrams => key.default = "true",
            PRESERVE_CLIENT_IP if is_datagrams => key.values = Words(&["true"]),
            PRESERVE_CLIENT_IP if group.target_type == TargetType::Ip => key.default = "false",
            _ => {}
        }
    }
    keys
}

/// Whether anything at all has such an attribute.
pub(super) fn is_known(name: &str) -> bool {
    let all = [
        LOAD_BALANCER,
        APPLICATION,
        NETWORK,
        NETWORK_LISTENER,
        RESPONSE_HEADERS,
        TLS_HEADERS,
        TARGET_GROUP,
        APPLICATION_GROUP,
        NETWORK_GROUP,
    ];
    name == IPV6_DENY || all.into_iter().flatten().any(|key| key.name == name)
}
