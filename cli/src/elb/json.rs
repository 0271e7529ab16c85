//! What ELBv2 answers, as the JSON that the AWS CLI prints: members by their names on the wire, what is absent left out.
//! The verbs read it as they read ECS's answers, and print it as it is.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, FixedResponseActionConfig, ForwardActionConfig, HostHeaderConditionConfig,
    HttpHeaderConditionConfig, HttpRequestMethodConditionConfig, Listener, LoadBalancer, LoadBalancerState,
    Matcher, PathPatternConditionConfig, ProtocolEnum, QueryStringConditionConfig, RedirectActionConfig,
    Rule, RuleCondition, SourceIpConditionConfig, Tag, TargetDescription, TargetGroup, TargetGroupTuple,
    TargetHealth, TargetHealthDescription,
};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Map, Value, json};

pub(super) fn load_balancer(found: &LoadBalancer) -> Value {
    let zones = found.availability_zones().iter().map(|zone| {
        object([
            ("ZoneName", zone.zone_name().map(Value::from)),
            ("SubnetId", zone.subnet_id().map(Value::from)),
        ])
    });
    object([
        ("LoadBalancerArn", found.load_balancer_arn().map(Value::from)),
        ("DNSName", found.dns_name().map(Value::from)),
        ("CreatedTime", found.created_time().and_then(moment)),
        ("LoadBalancerName", found.load_balancer_name().map(Value::from)),
        ("Scheme", found.scheme().map(|scheme| json!(scheme.as_str()))),
        ("VpcId", found.vpc_id().map(Value::from)),
        ("State", found.state().map(state)),
        ("Type", found.r#type().map(|kind| json!(kind.as_str()))),
        ("AvailabilityZones", some(zones.collect())),
        ("SecurityGroups", strings(found.security_groups())),
    ])
}

fn state(state: &LoadBalancerState) -> Value {
    object([
        ("Code", state.code().map(|code| json!(code.as_str()))),
        ("Reason", state.reason().map(Value::from)),
    ])
}

pub(super) fn listener(found: &Listener) -> Value {
    let certificates = found
        .certificates()
        .iter()
        .map(|certificate| object([("CertificateArn", certificate.certificate_arn().map(Value::from))]));
    object([
        ("ListenerArn", found.listener_arn().map(Value::from)),
        ("LoadBalancerArn", found.load_balancer_arn().map(Value::from)),
        ("Port", found.port().map(Value::from)),
        ("Protocol", protocol(found.protocol())),
        ("Certificates", some(certificates.collect())),
        ("SslPolicy", found.ssl_policy().map(Value::from)),
        ("DefaultActions", some(found.default_actions().iter().map(action).collect())),
    ])
}

pub(super) fn rule(found: &Rule) -> Value {
    object([
        ("RuleArn", found.rule_arn().map(Value::from)),
        ("Priority", found.priority().map(Value::from)),
        ("Conditions", Some(found.conditions().iter().map(condition).collect())),
        ("Actions", some(found.actions().iter().map(action).collect())),
        ("IsDefault", found.is_default().map(Value::from)),
    ])
}

fn condition(found: &RuleCondition) -> Value {
    let pairs = found.query_string_config().map(QueryStringConditionConfig::values).unwrap_or_default();
    let pairs = pairs
        .iter()
        .map(|pair| object([("Key", pair.key().map(Value::from)), ("Value", pair.value().map(Value::from))]));
    object([
        ("Field", found.field().map(Value::from)),
        ("Values", strings(values(found))),
        (
            "HttpHeaderName",
            found.http_header_config().and_then(|config| config.http_header_name()).map(Value::from),
        ),
        ("QueryStrings", some(pairs.collect())),
    ])
}

/// The values of a condition, wherever its kind has them.
fn values(found: &RuleCondition) -> &[String] {
    let configured = [
        found.host_header_config().map(HostHeaderConditionConfig::values),
        found.path_pattern_config().map(PathPatternConditionConfig::values),
        found.http_header_config().map(HttpHeaderConditionConfig::values),
        found.http_request_method_config().map(HttpRequestMethodConditionConfig::values),
        found.source_ip_config().map(SourceIpConditionConfig::values),
    ];
    configured.into_iter().flatten().find(|values| !values.is_empty()).unwrap_or_else(|| found.values())
}

fn action(found: &Action) -> Value {
    object([
        ("Type", found.r#type().map(|kind| json!(kind.as_str()))),
        ("TargetGroupArn", found.target_group_arn().map(Value::from)),
        ("Order", found.order().map(Value::from)),
        ("RedirectConfig", found.redirect_config().map(redirect)),
        ("FixedResponseConfig", found.fixed_response_config().map(fixed_response)),
        ("ForwardConfig", found.forward_config().map(forward)),
    ])
}

fn redirect(found: &RedirectActionConfig) -> Value {
    object([
        ("Protocol", found.protocol().map(Value::from)),
        ("Port", found.port().map(Value::from)),
        ("Host", found.host().map(Value::from)),
        ("Path", found.path().map(Value::from)),
        ("Query", found.query().map(Value::from)),
        ("StatusCode", found.status_code().map(|code| json!(code.as_str()))),
    ])
}

fn fixed_response(found: &FixedResponseActionConfig) -> Value {
    object([
        ("StatusCode", found.status_code().map(Value::from)),
        ("ContentType", found.content_type().map(Value::from)),
        ("MessageBody", found.message_body().map(Value::from)),
    ])
}

fn forward(found: &ForwardActionConfig) -> Value {
    let weighted = |group: &TargetGroupTuple| {
        object([
            ("TargetGroupArn", group.target_group_arn().map(Value::from)),
            ("Weight", group.weight().map(Value::from)),
        ])
    };
    object([("TargetGroups", some(found.target_groups().iter().map(weighted).collect()))])
}

pub(super) fn target_group(found: &TargetGroup) -> Value {
    object([
        ("TargetGroupArn", found.target_group_arn().map(Value::from)),
        ("TargetGroupName", found.target_group_name().map(Value::from)),
        ("Protocol", protocol(found.protocol())),
        ("ProtocolVersion", found.protocol_version().map(Value::from)),
        ("Port", found.port().map(Value::from)),
        ("TargetType", found.target_type().map(|kind| json!(kind.as_str()))),
        ("VpcId", found.vpc_id().map(Value::from)),
        ("HealthCheckProtocol", protocol(found.health_check_protocol())),
        ("HealthCheckPort", found.health_check_port().map(Value::from)),
        ("HealthCheckPath", found.health_check_path().map(Value::from)),
        ("HealthCheckEnabled", found.health_check_enabled().map(Value::from)),
        ("HealthCheckIntervalSeconds", found.health_check_interval_seconds().map(Value::from)),
        ("HealthCheckTimeoutSeconds", found.health_check_timeout_seconds().map(Value::from)),
        ("HealthyThresholdCount", found.healthy_threshold_count().map(Value::from)),
        ("UnhealthyThresholdCount", found.unhealthy_threshold_count().map(Value::from)),
        ("Matcher", found.matcher().map(matcher)),
        ("LoadBalancerArns", strings(found.load_balancer_arns())),
    ])
}

fn matcher(found: &Matcher) -> Value {
    object([
        ("HttpCode", found.http_code().map(Value::from)),
        ("GrpcCode", found.grpc_code().map(Value::from)),
    ])
}

pub(super) fn target_health(found: &TargetHealthDescription) -> Value {
    object([
        ("Target", found.target().map(target)),
        ("HealthCheckPort", found.health_check_port().map(Value::from)),
        ("TargetHealth", found.target_health().map(health)),
    ])
}

fn target(found: &TargetDescription) -> Value {
    object([
        ("Id", found.id().map(Value::from)),
        ("Port", found.port().map(Value::from)),
        ("AvailabilityZone", found.availability_zone().map(Value::from)),
    ])
}

fn health(found: &TargetHealth) -> Value {
    object([
        ("State", found.state().map(|state| json!(state.as_str()))),
        ("Reason", found.reason().map(|reason| json!(reason.as_str()))),
        ("Description", found.description().map(Value::from)),
    ])
}

/// Tags as one object, by key.
pub(super) fn tags(found: &[Tag]) -> Value {
    let pair = |tag: &Tag| Some((tag.key()?.to_owned(), Value::from(tag.value().unwrap_or_default())));
    Value::Object(found.iter().filter_map(pair).collect())
}

fn protocol(found: Option<&ProtocolEnum>) -> Option<Value> {
    found.map(|protocol| json!(protocol.as_str()))
}

fn moment(moment: &DateTime) -> Option<Value> {
    moment.fmt(Format::DateTime).ok().map(Value::String)
}

fn strings(items: &[String]) -> Option<Value> {
    (!items.is_empty()).then(|| json!(items))
}

fn some(items: Vec<Value>) -> Option<Value> {
    (!items.is_empty()).then_some(Value::Array(items))
}

fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::ActionTypeEnum;

    use super::*;

    #[test]
    fn members_are_called_as_on_the_wire_and_the_absent_is_left_out() {
        let group =
            TargetGroup::builder().target_group_name("web").port(8080).protocol(ProtocolEnum::Http).build();
        assert_eq!(target_group(&group), json!({"TargetGroupName": "web", "Protocol": "HTTP", "Port": 8080}));
        let balancer = LoadBalancer::builder().created_time(DateTime::from_secs(0)).build();
        assert_eq!(load_balancer(&balancer), json!({"CreatedTime": "1970-01-01T00:00:00Z"}));
    }

    #[test]
    fn the_values_of_a_condition_are_found_in_either_place() {
        let config = PathPatternConditionConfig::builder().values("/api/*").build();
        let modern = RuleCondition::builder().field("path-pattern").path_pattern_config(config).build();
        let plain = RuleCondition::builder().field("path-pattern").values("/api/*").build();
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn("arn:a").build();
        for condition in [modern, plain] {
            let shown = rule(&Rule::builder().conditions(condition).actions(forward.clone()).build());
            assert_eq!(
                shown,
                json!({
                    "Conditions": [{"Field": "path-pattern", "Values": ["/api/*"]}],
                    "Actions": [{"Type": "forward", "TargetGroupArn": "arn:a"}],
                })
            );
        }
    }
}
