//! Actions of listeners and rules: what is asked for, and whether it can be done there.

use std::collections::BTreeSet;

use ecsr_api::elbv2::enums::{ACTION_TYPE_ENUM, REDIRECT_ACTION_STATUS_CODE_ENUM};
use ecsr_api::elbv2::{
    Action as ShownAction, Error, ErrorCode, FixedResponseActionConfig, ForwardActionConfig,
    RedirectActionConfig, TargetGroupStickinessConfig, TargetGroupTuple,
};

use super::check::{self, invalid, unsupported};
use super::draft;
use super::limits::GROUPS_PER_ACTION_MAX;
use crate::model::{
    Action, Arn, GroupProtocol, Kind, Listener, LoadBalancer, Protocol, ProtocolVersion, Redirect, State,
    TargetGroup, WeightedGroup,
};

const ORDER_MAX: u32 = 50_000;
const WEIGHT_MAX: u32 = 999;
const STICK_SECONDS_MAX: u32 = 604_800;
/// Host, path and query of a redirect, as ELBv2 has it.
const PART_CHARS_MAX: usize = 128;
const BODY_CHARS_MAX: usize = 1024;
const CONTENT_TYPES: [&str; 5] =
    ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

/// An action, and the `Order` that it was given.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    pub action: Action,
    pub order: Option<u32>,
}

/// The one action of a request. ELBv2 knows others that may come before it; those are not here.
pub(super) fn read(actions: Vec<ShownAction>) -> Result<Asked, Error> {
    let mut actions = actions.into_iter();
    let first = actions.next().ok_or_else(|| invalid("An action must be specified"))?;
    let kinds = std::iter::once(&first).chain(actions.as_slice());
    for action in kinds {
        let kind = check::required(action.r#type.as_deref(), "actions.member.type")?;
        check::one_of(kind, "actions.member.type", ACTION_TYPE_ENUM)?;
        if !matches!(kind, "forward" | "redirect" | "fixed-response") {
            return Err(unsupported(&format!("Actions of the type '{kind}' are")));
        }
    }
    if actions.next().is_some() {
        let message = "Only one 'forward', 'redirect' or 'fixed-response' action can be specified";
        return Err(Error::new(ErrorCode::InvalidLoadBalancerAction, message));
    }
    let order = first.order.map(|order| check::within(order, "actions.member.order", 1, ORDER_MAX));
    let action = match first.r#type.as_deref() {
        Some("redirect") => redirect(first.redirect_config)?,
        Some("fixed-response") => fixed_response(first.fixed_response_config)?,
        Some(_) | None => forward(first.target_group_arn, first.forward_config)?,
    };
    Ok(Asked { action, order: order.transpose()? })
}

/// Whether a listener can do what it is asked to do.
pub(super) fn check(state: &State, balancer: &LoadBalancer, listener: &Listener) -> Result<(), Error> {
    listener.actions().try_for_each(|action| match action {
        Action::Forward { .. } => check_groups(state, listener, action),
        Action::Redirect(_) | Action::FixedResponse { .. } if balancer.kind == Kind::Network => {
            let message = "Network load balancers support only actions of the type 'forward'";
            Err(Error::new(ErrorCode::InvalidLoadBalancerAction, message))
        }
        Action::Redirect(redirect) => check_redirect(listener, redirect),
        Action::FixedResponse { .. } => Ok(()),
    })
}

/// An action as ELBv2 shows it: a forward to one group in its short form as well.
pub(super) fn show(action: &Action, order: Option<u32>) -> ShownAction {
    let order = order.and_then(|order| i32::try_from(order).ok());
    let of_type = |kind: &str| ShownAction { r#type: Some(kind.to_owned()), order, ..ShownAction::default() };
    match action {
        Action::Forward { groups, stick_seconds } => {
            let number = |number: u32| i32::try_from(number).ok();
            let tuple = |weighted: &WeightedGroup| TargetGroupTuple {
                target_group_arn: Some(weighted.group.to_string()),
                weight: number(weighted.weight),
            };
            let only = if let [only] = groups.as_slice() { Some(only.group.to_string()) } else { None };
            let config = ForwardActionConfig {
                target_groups: Some(groups.iter().map(tuple).collect()),
                target_group_stickiness_config: Some(TargetGroupStickinessConfig {
                    enabled: Some(stick_seconds.is_some()),
                    duration_seconds: stick_seconds.and_then(number),
                }),
            };
            ShownAction { target_group_arn: only, forward_config: Some(config), ..of_type("forward") }
        }
        Action::Redirect(redirect) => {
            let part = |part: &Option<String>, default: &str| {
                Some(part.clone().unwrap_or_else(|| default.to_owned()))
            };
            let config = RedirectActionConfig {
                host: part(&redirect.host, "#{host}"),
                path: part(&redirect.path, "/#{path}"),
                port: part(&redirect.port, "#{port}"),
                protocol: part(&redirect.protocol, "#{protocol}"),
                query: part(&redirect.query, "#{query}"),
                status_code: Some(format!("HTTP_{}", redirect.status)),
            };
            ShownAction { redirect_config: Some(config), ..of_type("redirect") }
        }
        Action::FixedResponse { status, content_type, body } => {
            let config = FixedResponseActionConfig {
                content_type: content_type.clone(),
                message_body: body.clone(),
                status_code: Some(status.to_string()),
            };
            ShownAction { fixed_response_config: Some(config), ..of_type("fixed-response") }
        }
    }
}

fn forward(arn: Option<String>, config: Option<ForwardActionConfig>) -> Result<Action, Error> {
    let config = config.unwrap_or_default();
    let tuples = config.target_groups.unwrap_or_default();
    let groups = match (arn, tuples.is_empty()) {
        (None, true) => {
            return Err(invalid("A target group must be specified for actions of the type 'forward'"));
        }
        (Some(arn), true) => vec![WeightedGroup { group: arn.into(), weight: 1 }],
        (arn, false) => {
            let groups = tuples.into_iter().map(weighted).collect::<Result<Vec<_>, _>>()?;
            let agree = arn.is_none_or(|arn| groups.len() == 1 && *groups[0].group == *arn);
            if !agree {
                let message = "If you specify both ForwardConfig and TargetGroupArn, you can specify only one target \
                               group using ForwardConfig and it must be the same target group specified in \
                               TargetGroupArn";
                return Err(invalid(message));
            }
            groups
        }
    };
    if groups.len() > GROUPS_PER_ACTION_MAX {
        let message = format!("An action can have up to '{GROUPS_PER_ACTION_MAX}' target groups");
        return Err(Error::new(ErrorCode::TooManyTargetGroups, message));
    }
    let distinct: BTreeSet<&Arn> = groups.iter().map(|weighted| &weighted.group).collect();
    if distinct.len() < groups.len() {
        return Err(invalid("A target group can be specified only once in an action"));
    }
    Ok(Action::Forward { groups, stick_seconds: stick_seconds(config.target_group_stickiness_config)? })
}

fn weighted(tuple: TargetGroupTuple) -> Result<WeightedGroup, Error> {
    let group = check::required(
        tuple.target_group_arn,
        "actions.member.forwardConfig.targetGroups.member.targetGroupArn",
    )?;
    let weight = tuple.weight.map_or(Ok(1), |weight| check::within(weight, "weight", 0, WEIGHT_MAX))?;
    Ok(WeightedGroup { group: group.into(), weight })
}

fn stick_seconds(config: Option<TargetGroupStickinessConfig>) -> Result<Option<u32>, Error> {
    let config = config.unwrap_or_default();
    let seconds = config
        .duration_seconds
        .map(|seconds| check::within(seconds, "durationSeconds", 1, STICK_SECONDS_MAX));
    match (config.enabled.unwrap_or_default(), seconds.transpose()?) {
        (false, _) => Ok(None),
        (true, Some(seconds)) => Ok(Some(seconds)),
        (true, None) => Err(invalid(
            "Target group stickiness duration must be specified when target group stickiness is enabled",
        )),
    }
}

fn redirect(config: Option<RedirectActionConfig>) -> Result<Action, Error> {
    let config = config.ok_or_else(|| invalid("A redirect configuration must be specified"))?;
    let code = check::required(config.status_code, "redirectConfig.statusCode")?;
    check::one_of(&code, "redirectConfig.statusCode", REDIRECT_ACTION_STATUS_CODE_ENUM)?;
    let bad = |part: &str, value: &str| invalid(format!("The redirect {part} '{value}' is not valid"));
    let part = |name: &str, value: Option<String>, is_good: &dyn Fn(&str) -> bool| match value {
        Some(value) if value.chars().count() > PART_CHARS_MAX || !is_good(&value) => Err(bad(name, &value)),
        value => Ok(value),
    };
    let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_port = |text: &str| text == "#{port}" || text.parse::<u16>().is_ok_and(|port| port > 0);
    Ok(Action::Redirect(Redirect {
        status: if code == "HTTP_301" { 301 } else { 302 },
        protocol: part("protocol", config.protocol, &|text| {
            ["HTTP", "HTTPS", "#{protocol}"].contains(&text)
        })?,
        host: part("host", config.host, &|text| !text.is_empty() && is_text(text))?,
        port: part("port", config.port, &is_port)?,
        path: part("path", config.path, &|text| text.starts_with('/') && is_text(text))?,
        query: part("query", config.query, &is_text)?,
    }))
}

fn fixed_response(config: Option<FixedResponseActionConfig>) -> Result<Action, Error> {
    let config = config.ok_or_else(|| invalid("A fixed response configuration must be specified"))?;
    let code = check::required(config.status_code, "fixedResponseConfig.statusCode")?;
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let status = code.parse().ok().filter(|_| is_code && matches!(code.as_bytes()[0], b'2' | b'4' | b'5'));
    let status = status.ok_or_else(|| {
        invalid(format!(
            "1 validation error detected: Value '{code}' at 'fixedResponseConfig.statusCode' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: ^(2|4|5)\\d\\d$"
        ))
    })?;
    if let Some(kind) = config.content_type.as_deref().filter(|kind| !CONTENT_TYPES.contains(kind)) {
        return Err(invalid(format!(
            "The content type '{kind}' must be one of '[{}]'",
            CONTENT_TYPES.join(", ")
        )));
    }
    if config.message_body.as_ref().is_some_and(|body| body.chars().count() > BODY_CHARS_MAX) {
        return Err(invalid(format!("The message body cannot be longer than '{BODY_CHARS_MAX}' characters")));
    }
    Ok(Action::FixedResponse { status, content_type: config.content_type, body: config.message_body })
}

fn check_redirect(listener: &Listener, redirect: &Redirect) -> Result<(), Error> {
    let refused = |message: &str| Err(Error::new(ErrorCode::InvalidLoadBalancerAction, message));
    let stays = |part: &Option<String>, same: &str| part.as_deref().is_none_or(|part| part == same);
    let is_loop = stays(&redirect.protocol, "#{protocol}")
        && stays(&redirect.host, "#{host}")
        && stays(&redirect.port, "#{port}")
        && stays(&redirect.path, "/#{path}");
    if is_loop {
        return refused("The redirect configuration is not valid because it creates a loop");
    }
    if listener.protocol == Protocol::Https && redirect.protocol.as_deref() == Some("HTTP") {
        return refused("You cannot redirect HTTPS to HTTP");
    }
    Ok(())
}

fn check_groups(state: &State, listener: &Listener, action: &Action) -> Result<(), Error> {
    for arn in action.groups() {
        let group = draft::group(state, arn)?;
        check_protocols(listener.protocol, group)?;
        let serves_another = |other: &&std::sync::Arc<Listener>| {
            let uses = other.actions().flat_map(Action::groups).any(|used| used == arn);
            other.load_balancer != listener.load_balancer && uses
        };
        if state.listeners.values().find(serves_another).is_some() {
            let message = format!(
                "The following target groups cannot be associated with more than one load balancer: {arn}"
            );
            return Err(Error::new(ErrorCode::TargetGroupAssociationLimit, message));
        }
    }
    Ok(())
}

fn check_protocols(listener: Protocol, group: &TargetGroup) -> Result<(), Error> {
    use GroupProtocol as Group;
    let fits = match listener {
        Protocol::Http | Protocol::Https => matches!(group.protocol, Group::Http | Group::Https),
        Protocol::Tcp => matches!(group.protocol, Group::Tcp | Group::TcpUdp),
        Protocol::Tls => matches!(group.protocol, Group::Tls | Group::Tcp),
        Protocol::Udp => matches!(group.protocol, Group::Udp | Group::TcpUdp),
        Protocol::TcpUdp => group.protocol == Group::TcpUdp,
    };
    let name = listener.name();
    if !fits {
        let message = format!(
            "Listener protocol '{name}' is not supported with a target group with the protocol '{}'",
            group.protocol.name()
        );
        return Err(Error::new(ErrorCode::IncompatibleProtocols, message));
    }
    if listener == Protocol::Http && group.protocol_version != ProtocolVersion::Http1 {
        let version = group.protocol_version.name();
        return Err(check::unfit(format!(
            "Listener protocol '{name}' is not supported with a target group with the protocol-version '{version}'"
        )));
    }
    Ok(())
}
