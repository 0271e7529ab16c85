//! Target groups, their health checks and attributes.

use super::*;

#[test]
fn groups_have_the_defaults_of_their_protocol() {
    let mut world = World::new();
    let answer = world.ask("CreateTargetGroup Name=web&Protocol=HTTP&Port=80&VpcId=vpc-1");
    let arn = value(&answer, "TargetGroupArn");
    assert!(arn.starts_with("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/"), "{arn}");
    let shown = [
        "HealthCheckProtocol",
        "HealthCheckPath",
        "HealthCheckPort",
        "HealthCheckIntervalSeconds",
        "HealthCheckTimeoutSeconds",
        "HealthyThresholdCount",
        "UnhealthyThresholdCount",
        "HttpCode",
        "ProtocolVersion",
        "TargetType",
        "VpcId",
    ];
    let found = shown.map(|element| value(&answer, element));
    assert_eq!(
        found,
        ["HTTP", "/", "traffic-port", "30", "5", "5", "2", "200", "HTTP1", "instance", "vpc-1"]
    );
    let answer = world.ask("CreateTargetGroup Name=tcp&Protocol=TCP&Port=80");
    assert_eq!(
        (value(&answer, "HealthCheckProtocol"), value(&answer, "HealthCheckTimeoutSeconds")),
        ("TCP", "10")
    );
    assert!(!answer.contains("Matcher") && !answer.contains("HealthCheckPath"), "{answer}");
    let answer = world.ask("CreateTargetGroup Name=udp&Protocol=UDP&Port=53&HealthCheckProtocol=HTTP");
    assert_eq!((value(&answer, "HttpCode"), value(&answer, "HealthCheckTimeoutSeconds")), ("200-399", "6"));
    let answer = world.ask("CreateTargetGroup Name=grpc&Protocol=HTTP&ProtocolVersion=GRPC&Port=80");
    assert_eq!(
        (value(&answer, "GrpcCode"), value(&answer, "HealthCheckPath")),
        ("12", "/AWS.ALB/healthcheck")
    );
}

#[test]
fn creating_again_finds_what_is_there_unless_it_differs() {
    let mut world = World::new();
    let arn = world.group("web", "HTTP");
    assert_eq!(world.group("web", "HTTP"), arn);
    let refused = world.refused("CreateTargetGroup Name=web&Protocol=HTTP&Port=81&TargetType=ip");
    let message = "A target group with the same name 'web' exists, but with different settings".to_owned();
    assert_eq!(refused, (ErrorCode::DuplicateTargetGroupName, message));
}

#[test]
fn what_no_group_can_be_is_refused() {
    let mut world = World::new();
    let mut check = |parameters: &str, message: &str| {
        let refused = world.refused(&format!("CreateTargetGroup Name=web&{parameters}"));
        assert!(refused.1.contains(message), "{parameters}: {refused:?}");
    };
    check("Port=80", "A protocol must be specified");
    check("Protocol=HTTP", "A port must be specified");
    check(
        "Protocol=x&Port=80",
        "at 'protocol' failed to satisfy constraint: Member must satisfy enum value set: [HTTP, ",
    );
    check("Protocol=GENEVE&Port=6081", "not supported by this endpoint");
    check("Protocol=HTTP&Port=65536", "at 'port'");
    check("Protocol=HTTP&Port=80&TargetType=lambda", "not supported by this endpoint");
    check("Protocol=TCP&Port=80&ProtocolVersion=HTTP2", "Protocol version");
    let http = |check: &str| format!("Protocol=HTTP&Port=80&{check}");
    check(&http("HealthCheckProtocol=TCP"), "Health check protocol 'TCP' is not supported");
    check(&http("HealthCheckPath=no"), "must begin with a '/'");
    check(&http("HealthCheckPort=0"), "Health check port '0'");
    check(&http("HealthCheckIntervalSeconds=0"), "at 'healthCheckIntervalSeconds'");
    check(&http("HealthCheckIntervalSeconds=301"), "at 'healthCheckIntervalSeconds'");
    let times = "HealthCheckIntervalSeconds=10&HealthCheckTimeoutSeconds=11";
    check(&http(times), "Health check timeout '11' must be smaller than or equal to the interval '10'");
    check(&http("HealthyThresholdCount=1"), "at 'healthyThresholdCount'");
    for codes in ["199", "500", "200-", "2xx", "299-200", "200,", "+200"] {
        check(&http(&format!("Matcher.HttpCode={}", codes.replace('+', "%2B"))), "HttpCode must be like");
    }
    check(&http("Matcher.GrpcCode=0"), "must be 'HttpCode'");
    check(&http("HealthCheckEnabled=false"), "must be true");
    check("Protocol=TCP&Port=80&HealthCheckPath=/x", "cannot be specified");
}

#[test]
fn a_check_is_modified_and_the_rest_stays() {
    let mut world = World::new();
    let arn = world.group("web", "HTTP");
    let modify = |parameters: &str| format!("ModifyTargetGroup TargetGroupArn={arn}&{parameters}");
    let answer =
        world.ask(&modify("HealthCheckPath=/up&Matcher.HttpCode=200,204-206&HealthCheckIntervalSeconds=5"));
    assert_eq!((value(&answer, "HealthCheckPath"), value(&answer, "HttpCode")), ("/up", "200,204-206"));
    let answer = world.ask(&modify("HealthCheckPort=9000&UnhealthyThresholdCount=3"));
    let shown =
        ["HealthCheckPath", "HealthCheckPort", "UnhealthyThresholdCount", "HealthCheckIntervalSeconds"];
    assert_eq!(shown.map(|element| value(&answer, element)), ["/up", "9000", "3", "5"]);
    assert_eq!(world.refused(&modify("HealthCheckTimeoutSeconds=6")).0, ErrorCode::ValidationError);
    let ranges = world.state.target_groups[&super::arn(&arn)].health_check.matcher.ranges.clone();
    assert_eq!(ranges, [(200, 200), (204, 206)]);
}

#[test]
fn checks_can_be_more_frequent_than_once_a_second() {
    let mut world = World::new();
    let arn = world.group("web", "HTTP");
    let set = |key: &str, value: &str| {
        format!(
            "ModifyTargetGroupAttributes TargetGroupArn={arn}&Attributes.member.1.Key=ecsr.health_check.{key}\
             &Attributes.member.1.Value={value}"
        )
    };
    let times = |world: &World| {
        let group = &world.state.target_groups[&super::arn(&arn)];
        (group.health_interval().as_millis(), group.health_timeout().as_millis())
    };
    assert_eq!(times(&world), (30_000, 5_000));
    world.ask(&set("interval_milliseconds", "200"));
    assert_eq!(times(&world), (200, 200));
    assert_eq!(world.refused(&set("timeout_milliseconds", "201")).0, ErrorCode::ValidationError);
    assert_eq!(world.refused(&set("timeout_milliseconds", "49")).0, ErrorCode::ValidationError);
    world.ask(&set("timeout_milliseconds", "100"));
    assert_eq!(times(&world), (200, 100));
    assert_eq!(world.refused(&set("interval_milliseconds", "50")).0, ErrorCode::ValidationError);
    world.ask(&set("timeout_milliseconds", ""));
    let answer = world.ask(&set("interval_milliseconds", ""));
    assert_eq!(attributes(&answer)["ecsr.health_check.interval_milliseconds"], "");
    assert_eq!(times(&world), (30_000, 5_000));
}

#[test]
fn attributes_that_contradict_each_other_are_refused() {
    let mut world = World::new();
    let (http, tls) = (world.group("http", "HTTP"), world.group("tls", "TLS"));
    let set = |arn: &str, pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().zip(1..).map(|((key, value), number)| {
            format!("&Attributes.member.{number}.Key={key}&Attributes.member.{number}.Value={value}")
        });
        format!("ModifyTargetGroupAttributes TargetGroupArn={arn}{}", pairs.collect::<String>())
    };
    let least = ("load_balancing.algorithm.type", "least_outstanding_requests");
    let sticks = ("stickiness.enabled", "true");
    for pairs in [
        [least, ("slow_start.duration_seconds", "30")],
        [sticks, ("load_balancing.cross_zone.enabled", "false")],
        [sticks, ("stickiness.type", "app_cookie")],
    ] {
        assert_eq!(world.refused(&set(&http, &pairs)).0, ErrorCode::InvalidConfigurationRequest, "{pairs:?}");
    }
    world.ask(&set(&http, &[least, sticks]));
    assert_eq!(
        world.refused(&set(&http, &[("slow_start.duration_seconds", "29")])).0,
        ErrorCode::ValidationError
    );
    assert_eq!(world.refused(&set(&http, &[("stickiness.type", "source_ip")])).0, ErrorCode::ValidationError);
    assert_eq!(world.refused(&set(&tls, &[sticks])).0, ErrorCode::InvalidConfigurationRequest);
    let shown = world.ask(&format!("DescribeTargetGroupAttributes TargetGroupArn={tls}"));
    let shown = attributes(&shown);
    assert_eq!((shown["preserve_client_ip.enabled"], shown["stickiness.type"]), ("false", "source_ip"));
}
