//! Load balancers, their attributes and tags, and what is the same for all operations.

use ErrorCode::{AllocationIdNotFound, InvalidConfigurationRequest, OperationNotPermitted, ValidationError};

use super::*;

#[test]
fn a_load_balancer_is_active_at_once_and_says_back_what_it_was_given() {
    let mut world = World::new();
    let answer = world.ask(
        "CreateLoadBalancer Name=web&Subnets.member.1=subnet-a&Subnets.member.2=subnet-b&SecurityGroups.member.1=sg-1\
         &Scheme=internal&Tags.member.1.Key=team&Tags.member.1.Value=a",
    );
    let arn = arn_in(&answer, "LoadBalancerArn");
    assert!(
        arn.starts_with("arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/web/"),
        "{arn}"
    );
    assert_eq!(value(&answer, "Code"), "active");
    assert_eq!(value(&answer, "DNSName"), "lb.test");
    assert_eq!(value(&answer, "CreatedTime"), "2027-01-15T08:00:00Z");
    assert_eq!((value(&answer, "Scheme"), value(&answer, "Type")), ("internal", "application"));
    assert_eq!(values(&answer, "ZoneName"), ["eu-west-1a", "eu-west-1b"]);
    assert_eq!(values(&answer, "SubnetId"), ["subnet-a", "subnet-b"]);
    let described = world.ask(&format!("DescribeLoadBalancers LoadBalancerArns.member.1={arn}"));
    assert_eq!(value(&described, "SecurityGroups"), "<member>sg-1</member>");
    let tags = world.ask(&format!("DescribeTags ResourceArns.member.1={arn}"));
    assert_eq!((value(&tags, "Key"), value(&tags, "Value")), ("team", "a"));
}

#[test]
fn creating_again_finds_what_is_there_unless_it_differs() {
    let mut world = World::new();
    let arn = world.balancer("web", "network");
    assert_eq!(world.balancer("web", "network"), arn);
    let message = "A load balancer with the same name 'web' exists, but with different settings".to_owned();
    let refused = world.refused("CreateLoadBalancer Name=web&Type=application");
    assert_eq!(refused, (ErrorCode::DuplicateLoadBalancerName, message));
}

#[test]
fn what_no_load_balancer_can_be_is_refused() {
    let mut world = World::new();
    let mut check = |request: &str, code: ErrorCode, message: &str| {
        let refused = world.refused(request);
        assert_eq!(refused.0, code, "{request}: {}", refused.1);
        assert!(refused.1.contains(message), "{request}: {}", refused.1);
    };
    check("CreateLoadBalancer ", ValidationError, "Value null at 'name'");
    check("CreateLoadBalancer Name=internal-a", ValidationError, "cannot begin with 'internal-'");
    check("CreateLoadBalancer Name=a_b", ValidationError, "alphanumeric");
    check(
        "CreateLoadBalancer Name=a&Scheme=x",
        ValidationError,
        "enum value set: [internet-facing, internal]",
    );
    check("CreateLoadBalancer Name=a&Type=gateway", OperationNotPermitted, "Gateway");
    check(
        "CreateLoadBalancer Name=a&Subnets.member.1=s&Subnets.member.2=s",
        InvalidConfigurationRequest,
        "same",
    );
    let allocation = "CreateLoadBalancer Name=a&SubnetMappings.member.1.AllocationId=eipalloc-1";
    check(allocation, AllocationIdNotFound, "eipalloc-1");
    let address = "CreateLoadBalancer Name=a&SubnetMappings.member.1.PrivateIPv4Address=";
    check(&format!("{address}nowhere"), ValidationError, "nowhere");
    check(&format!("{address}224.0.0.1"), ValidationError, "224.0.0.1");
    let tags = "CreateLoadBalancer Name=a&Tags.member.1.Key=k&Tags.member.2.Key=k";
    check(tags, ErrorCode::DuplicateTagKeys, "'k'");
    check("CreateLoadBalancer Name=a&Tags.member.1.Key=aws:x", ValidationError, "aws:");
    check(
        "CreateTrustStore Name=a",
        OperationNotPermitted,
        "CreateTrustStore is not supported by this endpoint",
    );
    check("Fly ", ErrorCode::InvalidAction, "Fly");
    check("DescribeTags ResourceArns.member.1=x", ValidationError, "'x' is not a valid resource ARN");
    check(
        "DescribeLoadBalancers Names.member.1=x",
        ErrorCode::LoadBalancerNotFound,
        "Load balancers '[x]' not found",
    );
}

#[test]
fn the_address_of_listeners_can_be_chosen() {
    let mut world = World::new();
    let request = "CreateLoadBalancer Name=web&SubnetMappings.member.1.SubnetId=subnet-a\
                   &SubnetMappings.member.1.PrivateIPv4Address=127.0.0.5";
    let answer = world.ask(request);
    assert_eq!(value(&answer, "PrivateIPv4Address"), "127.0.0.5");
    let (balancer, group) = (arn_in(&answer, "LoadBalancerArn"), world.group("web", "HTTP"));
    let listener = world.listener(&balancer, "HTTP", 8080, &group);
    assert_eq!(world.state.listeners[&arn(&listener)].address, "127.0.0.5:8080".parse().unwrap());
}

#[test]
fn pages_hold_everything_once() {
    let mut world = World::new();
    let names: Vec<String> = (0..5).map(|number| format!("lb{number}")).collect();
    for name in &names {
        world.balancer(name, "application");
    }
    let first = world.ask("DescribeLoadBalancers PageSize=3");
    let rest = world.ask(&format!("DescribeLoadBalancers PageSize=3&Marker={}", value(&first, "NextMarker")));
    assert!(!rest.contains("NextMarker"), "{rest}");
    let shown = [values(&first, "LoadBalancerName"), values(&rest, "LoadBalancerName")].concat();
    assert_eq!(shown, names);
    assert_eq!(values(&world.ask("DescribeLoadBalancers Names="), "LoadBalancerName"), names);
    assert_eq!(world.refused("DescribeLoadBalancers PageSize=401").0, ValidationError);
}

#[test]
fn attributes_have_defaults_and_keep_what_they_are_set_to() {
    let mut world = World::new();
    let arn = world.balancer("web", "application");
    let described = world.ask(&format!("DescribeLoadBalancerAttributes LoadBalancerArn={arn}"));
    let shown = attributes(&described);
    assert_eq!((shown["idle_timeout.timeout_seconds"], shown["routing.http2.enabled"]), ("60", "true"));
    let modify = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().zip(1..).map(|((key, value), number)| {
            format!("&Attributes.member.{number}.Key={key}&Attributes.member.{number}.Value={value}")
        });
        format!("ModifyLoadBalancerAttributes LoadBalancerArn={arn}{}", pairs.collect::<String>())
    };
    let answer = world.ask(&modify(&[("idle_timeout.timeout_seconds", "5")]));
    assert_eq!(attributes(&answer)["idle_timeout.timeout_seconds"], "5");
    let refused =
        world.refused(&modify(&[("waf.fail_open.enabled", "true"), ("idle_timeout.timeout_seconds", "0")]));
    assert_eq!(refused.0, ValidationError);
    let refused = world.refused(&modify(&[("nothing", "1")]));
    assert_eq!(refused.1, "Load balancer attribute key 'nothing' is not recognized");
    let refused = world.refused(&modify(&[("dns_record.client_routing_policy", "any_availability_zone")]));
    assert_eq!(refused.0, InvalidConfigurationRequest);
}

#[test]
fn deleting_takes_the_listeners_and_leaves_the_groups() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web", "application"), world.group("web", "HTTP"));
    world.listener(&balancer, "HTTP", 80, &group);
    let protect = |value: &str| {
        format!(
            "ModifyLoadBalancerAttributes LoadBalancerArn={balancer}\
             &Attributes.member.1.Key=deletion_protection.enabled&Attributes.member.1.Value={value}"
        )
    };
    world.ask(&protect("true"));
    let delete = format!("DeleteLoadBalancer LoadBalancerArn={balancer}");
    assert_eq!(world.refused(&delete).0, OperationNotPermitted);
    world.ask(&protect("false"));
    let refused = world.refused(&format!("DeleteTargetGroup TargetGroupArn={group}"));
    let message = format!("Target group '{group}' is currently in use by a listener or a rule");
    assert_eq!(refused, (ErrorCode::ResourceInUse, message));
    world.ask(&delete);
    assert!(world.state.listeners.is_empty());
    world.ask(&delete);
    let described = world.ask(&format!("DescribeTargetGroups TargetGroupArns.member.1={group}"));
    assert_eq!(value(&described, "LoadBalancerArns"), "");
    world.ask(&format!("DeleteTargetGroup TargetGroupArn={group}"));
    assert_eq!(world.state, State::default());
    let missing = world.refused(&format!("DescribeLoadBalancers LoadBalancerArns.member.1={balancer}"));
    assert_eq!(missing, (ErrorCode::LoadBalancerNotFound, "One or more load balancers not found".to_owned()));
}

#[test]
fn subnets_security_groups_and_address_types_are_said_back() {
    let mut world = World::new();
    let arn = world.balancer("web", "application");
    let answer = world.ask(&format!("SetSubnets LoadBalancerArn={arn}&Subnets.member.1=subnet-c"));
    assert_eq!((value(&answer, "SubnetId"), value(&answer, "ZoneName")), ("subnet-c", "eu-west-1a"));
    let answer = world.ask(&format!("SetSecurityGroups LoadBalancerArn={arn}&SecurityGroups.member.1=sg-2"));
    assert_eq!(value(&answer, "SecurityGroupIds"), "<member>sg-2</member>");
    world.ask(&format!("SetIpAddressType LoadBalancerArn={arn}&IpAddressType=dualstack"));
    let described = world.ask("DescribeLoadBalancers ");
    assert_eq!(value(&described, "IpAddressType"), "dualstack");
    assert_eq!(value(&described, "SecurityGroups"), "<member>sg-2</member>");
}

#[test]
fn tags_come_and_go() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web", "application"), world.group("web", "HTTP"));
    let listener = world.listener(&balancer, "HTTP", 80, &group);
    let default = value(&world.ask(&format!("DescribeRules ListenerArn={listener}")), "RuleArn").to_owned();
    for arn in [balancer, group, listener, default] {
        world.ask(&format!("AddTags ResourceArns.member.1={arn}&Tags.member.1.Key=a&Tags.member.1.Value=1"));
        world.ask(&format!("AddTags ResourceArns.member.1={arn}&Tags.member.1.Key=b"));
        world.ask(&format!("RemoveTags ResourceArns.member.1={arn}&TagKeys.member.1=b"));
        let tags = world.ask(&format!("DescribeTags ResourceArns.member.1={arn}"));
        assert_eq!((values(&tags, "Key"), values(&tags, "Value")), (vec!["a"], vec!["1"]), "{arn}");
        let many: Vec<String> =
            (1..=50).map(|number| format!("&Tags.member.{number}.Key=k{number}")).collect();
        let many = many.concat();
        let refused = world.refused(&format!("AddTags ResourceArns.member.1={arn}{many}"));
        assert_eq!(refused.0, ErrorCode::TooManyTags, "{arn}");
    }
}

#[test]
fn limits_and_policies_are_listed() {
    let mut world = World::new();
    let arn = world.balancer("web", "application");
    let reserved = world.ask(&format!("DescribeCapacityReservation LoadBalancerArn={arn}"));
    assert_eq!(value(&reserved, "CapacityReservationState"), "");
    let limits = world.ask("DescribeAccountLimits ");
    assert!(values(&limits, "Name").contains(&"target-groups"));
    let policies = world.ask("DescribeSSLPolicies Names.member.1=ELBSecurityPolicy-TLS13-1-3-2021-06");
    assert_eq!(value(&policies, "SslProtocols"), "<member>TLSv1.3</member>");
    assert_eq!(world.refused("DescribeSSLPolicies Names.member.1=x").0, ErrorCode::SSLPolicyNotFound);
}
