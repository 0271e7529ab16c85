//! Registration, draining, and what is shown of both.

use std::time::Duration;

use super::*;
use crate::api::targets::remove_drained;
use crate::plane::Drained;

fn register(arn: &str, targets: &[(&str, u16)]) -> String {
    ask(arn, targets, "RegisterTargets")
}

fn ask(arn: &str, targets: &[(&str, u16)], operation: &str) -> String {
    let targets = targets.iter().zip(1..).map(|((id, port), number)| {
        let port = if *port == 0 { String::new() } else { format!("&Targets.member.{number}.Port={port}") };
        format!("&Targets.member.{number}.Id={id}{port}")
    });
    format!("{operation} TargetGroupArn={arn}{}", targets.collect::<String>())
}

fn shown(world: &mut World, request: &str) -> Vec<(String, String, String)> {
    let answer = world.ask(request);
    let triples =
        values(&answer, "Id").into_iter().zip(values(&answer, "Port")).zip(values(&answer, "State"));
    triples.map(|((id, port), state)| (id.to_owned(), port.to_owned(), state.to_owned())).collect()
}

#[test]
fn a_target_is_its_id_and_its_port() {
    let mut world = World::new();
    let group = world.group("web", "HTTP");
    world.ask(&register(&group, &[("127.0.0.1", 8001), ("127.0.0.1", 8002), ("10.0.0.1", 0)]));
    world.ask(&register(&group, &[("127.0.0.1", 8001)]));
    let triple = |id: &str, port: &str, state: &str| (id.to_owned(), port.to_owned(), state.to_owned());
    assert_eq!(
        shown(&mut world, &ask(&group, &[], "DescribeTargetHealth")),
        [
            triple("10.0.0.1", "80", "healthy"),
            triple("127.0.0.1", "8001", "healthy"),
            triple("127.0.0.1", "8002", "healthy")
        ]
    );
    let answer = world.ask(&ask(&group, &[("10.0.0.9", 80)], "DescribeTargetHealth"));
    assert_eq!((value(&answer, "State"), value(&answer, "Reason")), ("unused", "Target.NotRegistered"));
    assert!(!answer.contains("AnomalyDetection"), "{answer}");
    let answer = world.ask(&format!("DescribeTargetHealth TargetGroupArn={group}&Include.member.1=All"));
    assert_eq!(values(&answer, "Result"), ["normal"; 3]);
}

#[test]
fn registration_is_all_or_nothing() {
    let mut world = World::new();
    let addresses = world.group("addresses", "HTTP");
    for bad in ["nowhere", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "10.0.0.256"] {
        let refused = world.refused(&register(&addresses, &[("10.0.0.1", 80), (bad, 80)]));
        assert_eq!(refused.1, format!("The IP address '{bad}' is not a valid IPv4 address"));
    }
    assert_eq!(world.refused(&register(&addresses, &[])).0, ErrorCode::ValidationError);
    let many: Vec<(String, u16)> = (1..=1001).map(|port| ("10.0.0.1".to_owned(), port)).collect();
    let many: Vec<(&str, u16)> = many.iter().map(|(id, port)| (id.as_str(), *port)).collect();
    assert_eq!(world.refused(&register(&addresses, &many)).0, ErrorCode::TooManyTargets);
    world.ask(&register(&addresses, &many[..1000]));

    let answer = world.ask("CreateTargetGroup Name=instances&Protocol=HTTP&Port=80");
    let instances = arn_in(&answer, "TargetGroupArn");
    let refused = world.refused(&register(&instances, &[("i-1", 0), ("i-2", 0)]));
    let message = "The following targets are not in a running state and cannot be registered: 'i-2'";
    assert_eq!(refused, (ErrorCode::InvalidTarget, message.to_owned()));
    world.ask(&register(&instances, &[("i-1", 8080)]));
    let target = &world.state.target_groups[&arn(&instances)].targets[&key("i-1", 8080)];
    assert_eq!(target.address, "10.0.0.1".parse::<std::net::IpAddr>().unwrap());
    let missing = instances.replace("instances/", "instances/f");
    assert_eq!(world.refused(&register(&missing, &[("i-1", 0)])).0, ErrorCode::TargetGroupNotFound);
}

#[test]
fn a_target_drains_until_it_has_drained_or_is_registered_again() {
    let mut world = World::new();
    let group = world.group("web", "HTTP");
    let begun = world.now;
    let drain = |world: &mut World, id: &str| {
        let Draft { state, .. } = {
            let (state, now, ids) = (world.state.clone(), world.now, world.ids.clone());
            let mut draft = Draft { state, site: &world.site, now, ids };
            remove_drained(&mut draft, &[Drained { group: arn(&group), target: key(id, 80), since: begun }]);
            draft
        };
        world.state = state;
    };
    world.ask(&register(&group, &[("10.0.0.1", 0), ("10.0.0.2", 0)]));
    let draining = |world: &World, id: &str| {
        let targets = &world.state.target_groups[&arn(&group)].targets;
        targets.get(&key(id, 80)).map(|target| target.draining_since.is_some())
    };
    drain(&mut world, "10.0.0.1");
    assert_eq!(draining(&world, "10.0.0.1"), Some(false), "what does not drain is not removed");
    world.ask(&ask(&group, &[("10.0.0.1", 0), ("10.0.0.2", 80), ("10.0.0.3", 80)], "DeregisterTargets"));
    assert_eq!((draining(&world, "10.0.0.1"), draining(&world, "10.0.0.2")), (Some(true), Some(true)));
    world.ask(&register(&group, &[("10.0.0.2", 80)]));
    for id in ["10.0.0.1", "10.0.0.2"] {
        drain(&mut world, id);
    }
    assert_eq!((draining(&world, "10.0.0.1"), draining(&world, "10.0.0.2")), (None, Some(false)));
    world.now = world.now.plus(Duration::from_secs(1));
    world.ask(&ask(&group, &[("10.0.0.2", 80)], "DeregisterTargets"));
    drain(&mut world, "10.0.0.2");
    assert_eq!(draining(&world, "10.0.0.2"), Some(true), "it drains anew");
}
