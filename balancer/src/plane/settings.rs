//! Attributes as values: what the API keeps as text, read once for each change rather than for each request.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{Attributes, Kind, Listener, LoadBalancer, TargetGroup};

/// Which of a group's targets is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    RoundRobin,
    LeastOutstanding,
    WeightedRandom,
}

/// What keeps a client with its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stickiness {
    /// A cookie of ours, for so long.
    Balancer(Duration),
    /// A cookie of ours once the target has set this one of its own.
    Application { cookie: String, lasting: Duration },
    /// The address that it comes from.
    SourceIp,
}

/// What the attributes of a target group say.
#[derive(Debug, Clone)]
pub(super) struct GroupSettings {
    pub(super) algorithm: Algorithm,
    pub(super) stickiness: Option<Stickiness>,
    pub(super) slow_start: Duration,
    pub(super) deregistration_delay: Duration,
    /// Cuts what is in flight when that delay is over.
    pub(super) terminate_deregistered: bool,
    /// Cuts the connections of a target that turns unhealthy.
    pub(super) terminate_unhealthy: bool,
    pub(super) proxy_protocol: bool,
    /// Fewer healthy ones than this, and all targets are used.
    pub(super) healthy_min: usize,
    /// The same in percent of the registered.
    pub(super) healthy_percent_min: usize,
}

/// What becomes of `X-Forwarded-For`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForwardedFor {
    Append,
    Preserve,
    Remove,
}

/// What the attributes of a load balancer and of one of its listeners say.
#[derive(Debug, Clone)]
pub(super) struct ListenerSettings {
    pub(super) idle_timeout: Duration,
    pub(super) client_keep_alive: Duration,
    pub(super) drop_invalid_headers: bool,
    pub(super) preserve_host: bool,
    pub(super) tls_headers: bool,
    pub(super) forwarded_client_port: bool,
    pub(super) forwarded_for: ForwardedFor,
    pub(super) http2: bool,
    pub(super) server_header: bool,
    /// Response headers that the listener sets: `(name, value)`.
    pub(super) response_headers: Vec<(String, String)>,
}

const UNHEALTHY_ROUTING: &str = "target_group_health.unhealthy_state_routing.minimum_healthy_targets";
const RESPONSE_HEADER: &str = "routing.http.response.";

impl GroupSettings {
    pub(super) fn of(group: &TargetGroup, kind: Kind) -> Self {
        let attributes = &group.attributes;
        Self {
            algorithm: match text(attributes, "load_balancing.algorithm.type") {
                Some("least_outstanding_requests") => Algorithm::LeastOutstanding,
                Some("weighted_random") => Algorithm::WeightedRandom,
                _ => Algorithm::RoundRobin,
            },
            stickiness: stickiness(attributes, kind),
            slow_start: seconds(attributes, "slow_start.duration_seconds", 0),
            deregistration_delay: seconds(attributes, "deregistration_delay.timeout_seconds", 300),
            terminate_deregistered: kind == Kind::Application
                || value(attributes, "deregistration_delay.connection_termination.enabled", false),
            terminate_unhealthy: kind == Kind::Network
                && value(attributes, "target_health_state.unhealthy.connection_termination.enabled", true),
            proxy_protocol: value(attributes, "proxy_protocol_v2.enabled", false),
            // `off` is no number.
            healthy_min: value(attributes, &format!("{UNHEALTHY_ROUTING}.count"), 1),
            healthy_percent_min: value(attributes, &format!("{UNHEALTHY_ROUTING}.percentage"), 0),
        }
    }
}

fn stickiness(attributes: &Attributes, kind: Kind) -> Option<Stickiness> {
    if !value(attributes, "stickiness.enabled", false) {
        return None;
    }
    let fallback = if kind == Kind::Network { "source_ip" } else { "lb_cookie" };
    Some(match text(attributes, "stickiness.type").unwrap_or(fallback) {
        "source_ip" => Stickiness::SourceIp,
        "app_cookie" => Stickiness::Application {
            cookie: text(attributes, "stickiness.app_cookie.cookie_name").unwrap_or_default().to_owned(),
            lasting: seconds(attributes, "stickiness.app_cookie.duration_seconds", 86_400),
        },
        _ => Stickiness::Balancer(seconds(attributes, "stickiness.lb_cookie.duration_seconds", 86_400)),
    })
}

impl ListenerSettings {
    pub(super) fn of(balancer: &LoadBalancer, listener: &Listener) -> Self {
        let attributes = &balancer.attributes;
        let idle_timeout = match balancer.kind {
            Kind::Application => seconds(attributes, "idle_timeout.timeout_seconds", 60),
            Kind::Network => seconds(&listener.attributes, "tcp.idle_timeout.seconds", 350),
        };
        let http = |key: &str, fallback| value(attributes, &format!("routing.{key}.enabled"), fallback);
        Self {
            idle_timeout,
            client_keep_alive: seconds(attributes, "client_keep_alive.seconds", 3600),
            drop_invalid_headers: http("http.drop_invalid_header_fields", false),
            preserve_host: http("http.preserve_host_header", false),
            tls_headers: http("http.x_amzn_tls_version_and_cipher_suite", false),
            forwarded_client_port: http("http.xff_client_port", false),
            forwarded_for: match text(attributes, "routing.http.xff_header_processing.mode") {
                Some("preserve") => ForwardedFor::Preserve,
                Some("remove") => ForwardedFor::Remove,
                _ => ForwardedFor::Append,
            },
            http2: http("http2", true),
            server_header: value(&listener.attributes, "routing.http.response.server.enabled", true),
            response_headers: response_headers(&listener.attributes),
        }
    }
}

/// `routing.http.response.x_frame_options.header_value` sets `x-frame-options`.
fn response_headers(attributes: &Attributes) -> Vec<(String, String)> {
    attributes
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(key, value)| {
            let name = key.strip_prefix(RESPONSE_HEADER)?.strip_suffix(".header_value")?;
            Some((name.replace('_', "-"), value.clone()))
        })
        .collect()
}

fn text<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a str> {
    attributes.get(key).map(String::as_str)
}

fn value<T: FromStr + Display>(attributes: &Attributes, key: &str, fallback: T) -> T {
    text(attributes, key).and_then(|text| text.parse().ok()).unwrap_or(fallback)
}

fn seconds(attributes: &Attributes, key: &str, fallback: u64) -> Duration {
    Duration::from_secs(value(attributes, key, fallback))
}
