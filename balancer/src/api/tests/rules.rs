//! Rules of listeners and their conditions.

use super::*;

/// A listener to make rules on, and its group.
fn prepared() -> (World, String, String) {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web", "application"), world.group("web", "HTTP"));
    let listener = world.listener(&balancer, "HTTP", 80, &group);
    (world, listener, group)
}

fn create(listener: &str, group: &str, priority: u32, condition: &str) -> String {
    let parts = condition.split('&').map(|part| format!("&Conditions.member.1.{part}"));
    let condition = parts.collect::<Vec<_>>().concat();
    format!(
        "CreateRule ListenerArn={listener}&Priority={priority}&Actions.member.1.Type=forward\
         &Actions.member.1.TargetGroupArn={group}{condition}"
    )
}

#[test]
fn rules_are_shown_by_priority_with_the_default_one_last() {
    let (mut world, listener, group) = prepared();
    let path = "Field=path-pattern&Values.member.1=/b/*";
    let answer = world.ask(&create(&listener, &group, 200, path));
    let rule = arn_in(&answer, "RuleArn");
    assert!(rule.starts_with(&listener.replace(":listener/", ":listener-rule/")), "{rule}");
    let expected = "<Field>path-pattern</Field><PathPatternConfig><Values><member>/b/*</member></Values>\
                    </PathPatternConfig><Values><member>/b/*</member></Values>";
    assert!(answer.contains(expected), "{answer}");
    world.ask(&create(&listener, &group, 1000, "Field=host-header&HostHeaderConfig.Values.member.1=*.a.com"));
    world.ask(&create(&listener, &group, 5, "Field=source-ip&SourceIpConfig.Values.member.1=10.0.0.0/8"));
    let described = world.ask(&format!("DescribeRules ListenerArn={listener}"));
    assert_eq!(values(&described, "Priority"), ["5", "200", "1000", "default"]);
    let first = world.ask(&format!("DescribeRules ListenerArn={listener}&PageSize=2"));
    let marker = value(&first, "NextMarker");
    let rest = world.ask(&format!("DescribeRules ListenerArn={listener}&PageSize=2&Marker={marker}"));
    assert_eq!(values(&rest, "Priority"), ["1000", "default"]);
    let one = world.ask(&format!("DescribeRules RuleArns.member.1={rule}"));
    assert_eq!(values(&one, "Priority"), ["200"]);
    let refused = world.refused(&create(&listener, &group, 5, path));
    assert_eq!(refused, (ErrorCode::PriorityInUse, "Priority '5' is currently in use".to_owned()));
}

#[test]
fn every_field_has_its_form() {
    let (mut world, listener, group) = prepared();
    let good = [
        "Field=host-header&Values.member.1=a.com&Values.member.2=b.com",
        "Field=http-header&HttpHeaderConfig.HttpHeaderName=X-A&HttpHeaderConfig.Values.member.1=*b*",
        "Field=http-request-method&HttpRequestMethodConfig.Values.member.1=GET",
        "Field=query-string&QueryStringConfig.Values.member.1.Key=k&QueryStringConfig.Values.member.1.Value=v",
        "Field=query-string&QueryStringConfig.Values.member.1.Value=v",
        "Field=source-ip&SourceIpConfig.Values.member.1=::/0",
    ];
    for (condition, priority) in good.iter().zip(1..) {
        world.ask(&create(&listener, &group, priority, condition));
    }
    let long = "a".repeat(129);
    let long = format!("Field=path-pattern&Values.member.1=/{long}");
    let bad = [
        ("Field=", "A condition field must be specified"),
        ("Field=x", "Condition field 'x' must be one of '[path-pattern,host-header,"),
        ("Field=path-pattern", "A condition value must be specified"),
        (
            "Field=source-ip&Values.member.1=10.0.0.0/8",
            "The 'Values' field is not compatible with 'source-ip'",
        ),
        (&*long, "The 'path-pattern' value is too long; the limit is '128'"),
        ("Field=path-pattern&RegexValues.member.1=.*", "not supported by this endpoint"),
        (
            "Field=http-header&HttpHeaderConfig.HttpHeaderName=Host&HttpHeaderConfig.Values.member.1=a",
            "'Host'",
        ),
        ("Field=http-request-method&HttpRequestMethodConfig.Values.member.1=get", "'get'"),
        ("Field=source-ip&SourceIpConfig.Values.member.1=10.0.0.1", "'10.0.0.1'"),
        ("Field=path-pattern&Values.member.1=/*/*/*/*/*/*", "'5' condition wildcards"),
    ];
    for (condition, message) in bad {
        let refused = world.refused(&create(&listener, &group, 900, condition));
        assert!(refused.1.contains(message), "{condition}: {}", refused.1);
    }
    let many: Vec<String> = (1..=6).map(|number| format!("&Values.member.{number}=/{number}")).collect();
    let many = many.concat();
    let refused = world.refused(&create(&listener, &group, 900, &format!("Field=path-pattern{many}")));
    assert!(refused.1.contains("'5' condition values"), "{}", refused.1);
    let twice = create(&listener, &group, 900, "Field=path-pattern&Values.member.1=/a");
    let twice =
        format!("{twice}&Conditions.member.2.Field=path-pattern&Conditions.member.2.Values.member.1=/b");
    assert!(world.refused(&twice).1.contains("only one condition"));
}

#[test]
fn rules_change_and_go_but_the_default_one_stays() {
    let (mut world, listener, group) = prepared();
    let path = |value: &str| format!("Field=path-pattern&Values.member.1={value}");
    let [first, second] = [1, 2].map(|priority| {
        let answer = world.ask(&create(&listener, &group, priority, &path(&format!("/{priority}"))));
        arn_in(&answer, "RuleArn")
    });
    let default = world.ask(&format!("DescribeRules ListenerArn={listener}"));
    let default = values(&default, "RuleArn").pop().unwrap().to_owned();
    let fixed = "Actions.member.1.Type=fixed-response&Actions.member.1.FixedResponseConfig.StatusCode=418";
    let answer = world.ask(&format!("ModifyRule RuleArn={first}&{fixed}"));
    assert_eq!((value(&answer, "StatusCode"), value(&answer, "Values")), ("418", "<member>/1</member>"));
    let refused = world.refused(&format!("ModifyRule RuleArn={first}"));
    assert_eq!(refused.1, "Either conditions or actions must be specified");

    let set = |pairs: &[(&str, u32)]| {
        let pairs = pairs.iter().zip(1..).map(|((arn, priority), number)| {
            let member = format!("RulePriorities.member.{number}");
            format!("{member}.RuleArn={arn}&{member}.Priority={priority}")
        });
        format!("SetRulePriorities {}", pairs.collect::<Vec<_>>().join("&"))
    };
    let refused = world.refused(&set(&[(&first, 2)]));
    assert_eq!(refused, (ErrorCode::PriorityInUse, "Priority '2' is currently in use".to_owned()));
    let refused = world.refused(&set(&[(&first, 7), (&second, 7)]));
    assert_eq!(refused.1, "Priority '7' was provided multiple times");
    world.ask(&set(&[(&first, 2), (&second, 1)]));
    let rules = world.ask(&format!("DescribeRules ListenerArn={listener}"));
    assert_eq!(values(&rules, "RuleArn"), [&second, &first, &default]);

    for request in [
        format!("DeleteRule RuleArn={default}"),
        format!("ModifyRule RuleArn={default}&{fixed}"),
        set(&[(&default, 3)]),
    ] {
        assert_eq!(world.refused(&request).0, ErrorCode::OperationNotPermitted, "{request}");
    }
    world.ask(&format!("DeleteRule RuleArn={first}"));
    let refused = world.refused(&format!("DeleteRule RuleArn={first}"));
    assert_eq!(refused, (ErrorCode::RuleNotFound, "One or more rules not found".to_owned()));
}
