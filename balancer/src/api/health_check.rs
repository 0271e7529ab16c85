//! Health checks of target groups: what is asked for, what it is by default, and what goes together.
//!
//! Shorter intervals than AWS has are allowed, from one second; attributes of a group allow shorter ones still.

use std::time::Duration;

use ecsr_api::elbv2::enums::PROTOCOL_ENUM;
use ecsr_api::elbv2::{self, CreateTargetGroupInput, Error, ErrorCode, ModifyTargetGroupInput};

use super::check::{self, invalid, unfit};
use crate::model::{GroupProtocol, HealthCheck, HealthProtocol, Matcher, ProtocolVersion};

const INTERVAL_SECONDS_MAX: u32 = 300;
const TIMEOUT_SECONDS_MAX: u32 = 120;
const THRESHOLD_MIN: u32 = 2;
const THRESHOLD_MAX: u32 = 10;
const PATH_CHARS_MAX: usize = 1024;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_HEALTHY_THRESHOLD: u32 = 5;
const DEFAULT_UNHEALTHY_THRESHOLD: u32 = 2;
const DEFAULT_PATH: &str = "/";
const DEFAULT_GRPC_PATH: &str = "/AWS.ALB/healthcheck";

/// What a request says of the check; what it does not say stays as it is.
#[derive(Debug, Default)]
pub(super) struct Asked {
    enabled: Option<bool>,
    protocol: Option<String>,
    port: Option<String>,
    path: Option<String>,
    interval_seconds: Option<i32>,
    timeout_seconds: Option<i32>,
    healthy_threshold: Option<i32>,
    unhealthy_threshold: Option<i32>,
    matcher: Option<elbv2::Matcher>,
}

impl From<&CreateTargetGroupInput> for Asked {
    fn from(request: &CreateTargetGroupInput) -> Self {
        Self {
            enabled: request.health_check_enabled,
            protocol: request.health_check_protocol.clone(),
            port: request.health_check_port.clone(),
            path: request.health_check_path.clone(),
            interval_seconds: request.health_check_interval_seconds,
            timeout_seconds: request.health_check_timeout_seconds,
            healthy_threshold: request.healthy_threshold_count,
            unhealthy_threshold: request.unhealthy_threshold_count,
            matcher: request.matcher.clone(),
        }
    }
}

impl From<ModifyTargetGroupInput> for Asked {
    fn from(request: ModifyTargetGroupInput) -> Self {
        Self {
            enabled: request.health_check_enabled,
            protocol: request.health_check_protocol,
            port: request.health_check_port,
            path: request.health_check_path,
            interval_seconds: request.health_check_interval_seconds,
            timeout_seconds: request.health_check_timeout_seconds,
            healthy_threshold: request.healthy_threshold_count,
            unhealthy_threshold: request.unhealthy_threshold_count,
            matcher: request.matcher,
        }
    }
}

/// Whose check it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of {
    pub protocol: GroupProtocol,
    pub version: ProtocolVersion,
}

impl Of {
    fn is_http(self) -> bool {
        matches!(self.protocol, GroupProtocol::Http | GroupProtocol::Https)
    }

    fn is_grpc(self) -> bool {
        self.is_http() && self.version == ProtocolVersion::Grpc
    }
}

/// The check that a request leads to, from the one that there was.
pub(super) fn decide(asked: Asked, of: Of, known: Option<&HealthCheck>) -> Result<HealthCheck, Error> {
    if asked.enabled == Some(false) {
        return Err(unfit(
            "Health check enabled must be true for target groups with target type 'instance' or 'ip'",
        ));
    }
    let protocol = protocol(asked.protocol.as_deref(), of, known)?;
    // What goes with one protocol says nothing of another.
    let same =
        known.filter(|known| (known.protocol == HealthProtocol::Tcp) == (protocol == HealthProtocol::Tcp));
    let threshold = |asked: Option<i32>, member: &str, known: Option<u32>, default: u32| match asked {
        Some(count) => check::within(count, member, THRESHOLD_MIN, THRESHOLD_MAX),
        None => Ok(known.unwrap_or(default)),
    };
    let healthy = known.map(|known| known.healthy_threshold);
    let unhealthy = known.map(|known| known.unhealthy_threshold);
    let (interval, timeout) = times(&asked, of, protocol, known)?;
    Ok(HealthCheck {
        enabled: true,
        protocol,
        port: port(asked.port.as_deref(), known)?,
        path: path(asked.path, of, protocol, same)?,
        interval,
        timeout,
        healthy_threshold: threshold(
            asked.healthy_threshold,
            "healthyThresholdCount",
            healthy,
            DEFAULT_HEALTHY_THRESHOLD,
        )?,
        unhealthy_threshold: threshold(
            asked.unhealthy_threshold,
            "unhealthyThresholdCount",
            unhealthy,
            DEFAULT_UNHEALTHY_THRESHOLD,
        )?,
        matcher: matcher(asked.matcher, of, protocol, same)?,
    })
}

fn protocol(asked: Option<&str>, of: Of, known: Option<&HealthCheck>) -> Result<HealthProtocol, Error> {
    let Some(name) = asked else {
        let default = if of.is_http() { HealthProtocol::Http } else { HealthProtocol::Tcp };
        return Ok(known.map_or(default, |known| known.protocol));
    };
    check::one_of(name, "healthCheckProtocol", PROTOCOL_ENUM)?;
    let refused = || {
        let group = of.protocol.name();
        unfit(format!(
            "Health check protocol '{name}' is not supported for target groups with the protocol '{group}'"
        ))
    };
    match HealthProtocol::from_name(name) {
        None => Err(refused()),
        Some(HealthProtocol::Tcp) if of.is_http() => Err(refused()),
        Some(protocol) => Ok(protocol),
    }
}

fn port(asked: Option<&str>, known: Option<&HealthCheck>) -> Result<Option<u16>, Error> {
    match asked {
        None => Ok(known.and_then(|known| known.port)),
        Some("traffic-port") => Ok(None),
        Some(text) => match text.parse() {
            Ok(port) if port > 0 => Ok(Some(port)),
            Ok(_) | Err(_) => Err(invalid(format!(
                "Health check port '{text}' must be 'traffic-port' or a number from 1 to 65535"
            ))),
        },
    }
}

fn path(
    asked: Option<String>,
    of: Of,
    protocol: HealthProtocol,
    known: Option<&HealthCheck>,
) -> Result<String, Error> {
    let default = if of.is_grpc() { DEFAULT_GRPC_PATH } else { DEFAULT_PATH };
    let Some(path) = asked.filter(|path| !path.is_empty()) else {
        return Ok(known.map_or_else(|| default.to_owned(), |known| known.path.clone()));
    };
    if protocol == HealthProtocol::Tcp {
        return Err(unfit("Health check path cannot be specified for health check protocol 'TCP'"));
    }
    if path.len() > PATH_CHARS_MAX {
        return Err(invalid(format!(
            "Health check path cannot be longer than '{PATH_CHARS_MAX}' characters"
        )));
    }
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(format!(
            "Health check path '{path}' must begin with a '/' character, and can contain only printable ASCII \
             characters, without spaces"
        )));
    }
    Ok(path)
}

fn times(
    asked: &Asked,
    of: Of,
    protocol: HealthProtocol,
    known: Option<&HealthCheck>,
) -> Result<(Duration, Duration), Error> {
    let seconds = |asked: Option<i32>, member: &str, max: u32| {
        let seconds = asked.map(|seconds| check::within(seconds, member, 1, max)).transpose()?;
        Ok::<_, Error>(seconds.map(|seconds| Duration::from_secs(seconds.into())))
    };
    let interval = seconds(asked.interval_seconds, "healthCheckIntervalSeconds", INTERVAL_SECONDS_MAX)?;
    let interval = interval.or(known.map(|known| known.interval)).unwrap_or(DEFAULT_INTERVAL);
    let timeout = seconds(asked.timeout_seconds, "healthCheckTimeoutSeconds", TIMEOUT_SECONDS_MAX)?;
    let default = match (of.is_http(), protocol) {
        (true, _) => Duration::from_secs(5),
        (false, HealthProtocol::Http) => Duration::from_secs(6),
        (false, HealthProtocol::Https | HealthProtocol::Tcp) => Duration::from_secs(10),
    };
    let timeout = timeout.or(known.map(|known| known.timeout)).unwrap_or_else(|| default.min(interval));
    if timeout > interval {
        return Err(invalid(format!(
            "Health check timeout '{}' must be smaller than or equal to the interval '{}'",
            timeout.as_secs(),
            interval.as_secs()
        )));
    }
    Ok((interval, timeout))
}

fn matcher(
    asked: Option<elbv2::Matcher>,
    of: Of,
    protocol: HealthProtocol,
    known: Option<&HealthCheck>,
) -> Result<Matcher, Error> {
    let asked = asked.unwrap_or_default();
    let (asked, other, name) = if of.is_grpc() {
        (asked.grpc_code, asked.http_code, "GrpcCode")
    } else {
        (asked.http_code, asked.grpc_code, "HttpCode")
    };
    let (least, most, default) = match (of.is_grpc(), of.is_http()) {
        (true, _) => (0, 99, "12"),
        (false, true) => (200, 499, "200"),
        (false, false) => (200, 599, "200-399"),
    };
    if other.is_some() {
        return Err(unfit(format!("The health check matcher must be '{name}' for this target group")));
    }
    if protocol == HealthProtocol::Tcp {
        return match asked {
            Some(_) => Err(unfit("Health check matcher cannot be specified for health check protocol 'TCP'")),
            None => Ok(Matcher { text: String::new(), ranges: Vec::new() }),
        };
    }
    let text = match (asked, known) {
        (None, Some(known)) => return Ok(known.matcher.clone()),
        (None, None) => default.to_owned(),
        (Some(text), _) => text,
    };
    let ranges: Option<Vec<_>> = text.split(',').map(|part| range(part, least, most)).collect();
    match ranges {
        Some(ranges) => Ok(Matcher { text, ranges }),
        None => Err(Error::new(
            ErrorCode::InvalidParameterValue,
            format!("{name} must be like 200 | 200-399 | 200,201 ... with values from {least} to {most}"),
        )),
    }
}

fn range(part: &str, least: u16, most: u16) -> Option<(u16, u16)> {
    let code = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok())?.filter(|code| (least..=most).contains(code))
    };
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (code(first)?, code(last)?);
    (first <= last).then_some((first, last))
}
