//! Listeners, their actions and certificates.

use ErrorCode::{InvalidLoadBalancerAction as Action, ValidationError as Invalid};

use super::*;

#[test]
fn a_listener_forwards_in_both_forms() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web", "application"), world.group("web", "HTTP"));
    let listener = world.listener(&balancer, "HTTP", 8080, &group);
    assert!(listener.starts_with(&balancer.replace(":loadbalancer/", ":listener/")), "{listener}");
    let answer = world.ask(&format!("DescribeListeners LoadBalancerArn={balancer}"));
    assert_eq!((value(&answer, "Port"), value(&answer, "Protocol")), ("8080", "HTTP"));
    let config = format!(
        "<ForwardConfig><TargetGroupStickinessConfig><Enabled>false</Enabled></TargetGroupStickinessConfig>\
         <TargetGroups><member><TargetGroupArn>{group}</TargetGroupArn><Weight>1</Weight></member></TargetGroups>\
         </ForwardConfig><TargetGroupArn>{group}</TargetGroupArn><Type>forward</Type>"
    );
    assert!(answer.contains(&config), "{answer}");
    let answer = world.ask(&format!("DescribeTargetGroups LoadBalancerArn={balancer}"));
    assert_eq!(value(&answer, "LoadBalancerArns"), format!("<member>{balancer}</member>"));
    let rules = world.ask(&format!("DescribeRules ListenerArn={listener}"));
    assert_eq!((value(&rules, "Priority"), value(&rules, "IsDefault")), ("default", "true"));
    assert_eq!(world.listener(&balancer, "HTTP", 8080, &group), listener, "the same again is the same");
    let other = world.group("other", "HTTP");
    let request =
        format!("CreateListener LoadBalancerArn={balancer}&Protocol=HTTP&Port=8080&{}", forward(&other));
    let message = format!("A listener already exists on this port for this load balancer '{balancer}'");
    assert_eq!(world.refused(&request), (ErrorCode::DuplicateListener, message));
}

#[test]
fn what_no_listener_can_be_is_refused() {
    let mut world = World::new();
    let (alb, nlb) = (world.balancer("alb", "application"), world.balancer("nlb", "network"));
    let (http, tcp) = (world.group("http", "HTTP"), world.group("tcp", "TCP"));
    let grpc =
        world.ask("CreateTargetGroup Name=grpc&Protocol=HTTP&ProtocolVersion=GRPC&Port=80&TargetType=ip");
    let grpc = arn_in(&grpc, "TargetGroupArn");
    let mut check = |parameters: &str, code: ErrorCode, message: &str| {
        let refused = world.refused(&format!("CreateListener {parameters}"));
        assert_eq!(refused.0, code, "{parameters}: {}", refused.1);
        assert!(refused.1.contains(message), "{parameters}: {}", refused.1);
    };
    let at =
        |balancer: &str, protocol: &str| format!("LoadBalancerArn={balancer}&Protocol={protocol}&Port=80");
    let web = at(&alb, "HTTP");
    check(
        &format!("LoadBalancerArn={alb}&Protocol=HTTP&{}", forward(&http)),
        Invalid,
        "A listener port must be specified",
    );
    check(&format!("{}&{}", at(&alb, "TCP"), forward(&tcp)), ErrorCode::UnsupportedProtocol, "'TCP'");
    check(&format!("{}&{}", at(&nlb, "HTTP"), forward(&http)), ErrorCode::UnsupportedProtocol, "'HTTP'");
    check(&format!("{web}&{}", forward(&tcp)), ErrorCode::IncompatibleProtocols, "'TCP'");
    check(
        &format!("{web}&{}", forward(&grpc)),
        ErrorCode::InvalidConfigurationRequest,
        "protocol-version 'GRPC'",
    );
    check(
        &format!("{web}&{}", forward(&http.replace("http/", "http/f"))),
        ErrorCode::TargetGroupNotFound,
        "not found",
    );
    let missing = at(&alb.replace("alb/", "alb/f"), "HTTP");
    check(
        &format!("{missing}&{}", forward(&http)),
        ErrorCode::LoadBalancerNotFound,
        "One or more load balancers",
    );
    check(&format!("{}&{}", at(&alb, "HTTPS"), forward(&http)), Invalid, "A certificate must be specified");
    check(
        &format!("{web}&{}&Certificates.member.1.CertificateArn=x", forward(&http)),
        Invalid,
        "HTTP listeners",
    );
    let certified = format!("{}&{}&Certificates.member.1.CertificateArn=", at(&alb, "HTTPS"), forward(&http));
    check(&format!("{certified}x"), ErrorCode::CertificateNotFound, "Certificate 'x' not found");
    check(&format!("{certified}{SELF_SIGNED}&SslPolicy=x"), ErrorCode::SSLPolicyNotFound, "'x'");
    check(
        &format!("{certified}{SELF_SIGNED}&MutualAuthentication.Mode=verify"),
        ErrorCode::OperationNotPermitted,
        "Mutual",
    );
}

#[test]
fn what_no_action_can_be_is_refused() {
    let mut world = World::new();
    let (alb, nlb) = (world.balancer("alb", "application"), world.balancer("nlb", "network"));
    let (http, tcp) = (world.group("http", "HTTP"), world.group("tcp", "TCP"));
    let at =
        |balancer: &str, protocol: &str| format!("LoadBalancerArn={balancer}&Protocol={protocol}&Port=80");
    let web = at(&alb, "HTTP");
    let mut check = |parameters: &str, code: ErrorCode, message: &str| {
        let refused = world.refused(&format!("CreateListener {parameters}"));
        assert_eq!(refused.0, code, "{parameters}: {}", refused.1);
        assert!(refused.1.contains(message), "{parameters}: {}", refused.1);
    };
    let action = |parameters: &str| {
        let parameters =
            parameters.split('&').map(|parameter| format!("&DefaultActions.member.1.{parameter}"));
        format!("{web}{}", parameters.collect::<String>())
    };
    check(&web, Invalid, "Value null at 'defaultActions'");
    check(&action("Type=fly"), Invalid, "enum value set");
    check(&action("Type=authenticate-oidc"), ErrorCode::OperationNotPermitted, "authenticate-oidc");
    check(&action("Type=forward"), Invalid, "A target group must be specified");
    let loops = "Type=redirect&RedirectConfig.StatusCode=HTTP_301&RedirectConfig.Query=a";
    check(&action(loops), Action, "creates a loop");
    check(
        &action("Type=redirect&RedirectConfig.StatusCode=HTTP_301&RedirectConfig.Port=x"),
        Invalid,
        "port 'x'",
    );
    check(&action("Type=fixed-response&FixedResponseConfig.StatusCode=302"), Invalid, "^(2|4|5)");
    let fixed = "Type=fixed-response&FixedResponseConfig.StatusCode=200&FixedResponseConfig";
    check(&action(&format!("{fixed}.ContentType=image/png")), Invalid, "image/png");
    check(&action(&format!("{fixed}.MessageBody={}", "a".repeat(1025))), Invalid, "1024");
    let fixed =
        action("Type=fixed-response&FixedResponseConfig.StatusCode=200").replace(&web, &at(&nlb, "TCP"));
    check(&fixed, Action, "'forward'");
    check(&format!("{}&DefaultActions.member.2.Type=forward", action("Type=forward")), Action, "Only one");
    let weighted = format!(
        "Type=forward&ForwardConfig.TargetGroups.member.1.TargetGroupArn={http}\
         &ForwardConfig.TargetGroups.member.1.Weight=1000"
    );
    check(&action(&weighted), Invalid, "at 'weight'");
    let sticky =
        format!("Type=forward&TargetGroupArn={http}&ForwardConfig.TargetGroupStickinessConfig.Enabled=true");
    check(&action(&sticky), Invalid, "duration must be specified");
    let both = format!(
        "Type=forward&TargetGroupArn={tcp}&ForwardConfig.TargetGroups.member.1.TargetGroupArn={http}"
    );
    check(&action(&both), Invalid, "it must be the same target group");
}

#[test]
fn a_group_serves_one_load_balancer() {
    let mut world = World::new();
    let (first, second) = (world.balancer("first", "application"), world.balancer("second", "application"));
    let group = world.group("web", "HTTP");
    world.listener(&first, "HTTP", 80, &group);
    world.listener(&first, "HTTP", 81, &group);
    let create = |port: u16, group: &str| {
        format!("CreateListener LoadBalancerArn={second}&Protocol=HTTP&Port={port}&{}", forward(group))
    };
    let refused = world.refused(&create(82, &group));
    let message =
        format!("The following target groups cannot be associated with more than one load balancer: {group}");
    assert_eq!(refused, (ErrorCode::TargetGroupAssociationLimit, message));
    let other = world.group("other", "HTTP");
    let refused = world.refused(&create(80, &other));
    assert_eq!(refused.0, ErrorCode::InvalidConfigurationRequest, "both are bound at one address");
    assert!(refused.1.starts_with("cannot listen on 127.0.0.1:80"), "{}", refused.1);
}

#[test]
fn a_listener_is_modified_as_a_whole_or_not_at_all() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web", "application"), world.group("web", "HTTP"));
    let listener = world.listener(&balancer, "HTTP", 80, &group);
    world.listener(&balancer, "HTTP", 81, &group);
    let modify = |parameters: &str| format!("ModifyListener ListenerArn={listener}&{parameters}");
    assert_eq!(world.refused(&modify("Port=81")).0, ErrorCode::DuplicateListener);
    assert_eq!(world.refused(&modify("Protocol=HTTPS&Port=443")).0, ErrorCode::ValidationError);
    let certificate = format!("Certificates.member.1.CertificateArn={SELF_SIGNED}");
    let answer = world.ask(&modify(&format!("Protocol=HTTPS&Port=443&{certificate}")));
    let shown =
        ["Protocol", "Port", "CertificateArn", "SslPolicy", "Mode"].map(|element| value(&answer, element));
    assert_eq!(shown, ["HTTPS", "443", SELF_SIGNED, "ELBSecurityPolicy-2016-08", "off"]);
    let redirect = "DefaultActions.member.1.Type=redirect&DefaultActions.member.1.RedirectConfig.StatusCode=HTTP_301\
                    &DefaultActions.member.1.RedirectConfig.Protocol=HTTP";
    assert_eq!(world.refused(&modify(redirect)).1, "You cannot redirect HTTPS to HTTP");
    let answer = world.ask(&modify("Protocol=HTTP&Port=80"));
    assert!(!answer.contains("SslPolicy") && !answer.contains("CertificateArn"), "{answer}");
    let redirect = redirect.replace("Protocol=HTTP", "Protocol=HTTPS");
    let answer = world.ask(&modify(&redirect));
    let shown = ["Host", "Path", "Query", "StatusCode"].map(|element| value(&answer, element));
    assert_eq!(shown, ["#{host}", "/#{path}", "#{query}", "HTTP_301"]);
    world.ask(&format!("DeleteListener ListenerArn={listener}"));
    assert_eq!(
        world.refused(&format!("DeleteListener ListenerArn={listener}")).1,
        "One or more listeners not found"
    );
}

#[test]
fn certificates_are_chosen_by_name_after_the_default_one() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web", "network"), world.group("web", "TCP"));
    let request = format!(
        "CreateListener LoadBalancerArn={balancer}&Protocol=TLS&Port=443&{}&AlpnPolicy.member.1=HTTP2Preferred\
         &Certificates.member.1.CertificateArn={SELF_SIGNED}",
        forward(&group)
    );
    let answer = world.ask(&request);
    assert_eq!(value(&answer, "AlpnPolicy"), "<member>HTTP2Preferred</member>");
    let listener = arn_in(&answer, "ListenerArn");
    let certificates = world.site.certificates.clone();
    let made = certificates.find(SELF_SIGNED).unwrap();
    let second = SELF_SIGNED.replace("self-signed", "second");
    let files = certificates.at(&second).unwrap();
    std::fs::copy(made.chain, files.chain).unwrap();
    std::fs::copy(made.key, files.key).unwrap();
    let certificate = |operation: &str, arn: &str| {
        format!("{operation} ListenerArn={listener}&Certificates.member.1.CertificateArn={arn}")
    };
    world.ask(&certificate("AddListenerCertificates", &second));
    world.ask(&certificate("AddListenerCertificates", &second));
    let described = world.ask(&format!("DescribeListenerCertificates ListenerArn={listener}"));
    assert_eq!(values(&described, "CertificateArn"), [SELF_SIGNED, &second]);
    assert_eq!(values(&described, "IsDefault"), ["true", "false"]);
    let refused = world.refused(&certificate("RemoveListenerCertificates", SELF_SIGNED));
    assert_eq!(refused.0, ErrorCode::OperationNotPermitted);
    world.ask(&certificate("RemoveListenerCertificates", &second));
    let shown = world.ask(&format!("DescribeListenerAttributes ListenerArn={listener}"));
    assert_eq!(attributes(&shown)["tcp.idle_timeout.seconds"], "350");
}
