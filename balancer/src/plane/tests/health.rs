//! What health checks find, and what follows from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response};

use super::world::{World, bound, named, nobody, target, target_http2, text};
use crate::model::{GroupProtocol, HealthProtocol, HealthReason, HealthState, ProtocolVersion};

/// A target that says its name, and answers health checks with a status that can be changed.
async fn checked(name: &'static str, status: u16) -> (SocketAddr, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let told = status.clone();
    let answer = move |request: Request<Incoming>| {
        let status = told.load(Ordering::SeqCst);
        async move {
            let mut response = text(name);
            if request.uri().path() == "/health" {
                assert_eq!(request.headers()["user-agent"], "ELB-HealthChecker/2.0");
                *response.status_mut() = status.try_into().unwrap();
            }
            response
        }
    };
    (target(answer).await, status)
}

#[tokio::test]
async fn only_healthy_targets_are_asked_and_all_when_none_is() {
    let mut world = World::http();
    world.group("main").health_check.protocol = HealthProtocol::Http;
    let (good, good_status) = checked("good", 200).await;
    let (bad, bad_status) = checked("bad", 500).await;
    world.register("main", good);
    world.register("main", bad);
    world.follow();
    world.until("main", good, HealthState::Healthy).await;
    world.until("main", bad, HealthState::Unhealthy).await;
    let health = world.health("main", bad);
    assert_eq!(health.reason, Some(HealthReason::ResponseCodeMismatch));
    assert_eq!(health.description.unwrap(), "Health checks failed with these codes: [500]");
    for _ in 0..6 {
        assert_eq!(world.get("/").await.body, "good");
    }
    good_status.store(503, Ordering::SeqCst);
    world.until("main", good, HealthState::Unhealthy).await;
    let mut seen = vec![world.get("/").await.body, world.get("/").await.body];
    seen.sort();
    assert_eq!(seen, ["bad", "good"]);
    bad_status.store(200, Ordering::SeqCst);
    world.until("main", bad, HealthState::Healthy).await;
    for _ in 0..6 {
        assert_eq!(world.get("/").await.body, "bad");
    }
}

#[tokio::test]
async fn each_failure_has_its_reason() {
    let mut world = World::http();
    world.set("main", crate::model::TIMEOUT_MILLISECONDS, "50");
    world.group("main").health_check.protocol = HealthProtocol::Http;
    let refusing = nobody().await;
    let (_listener, silent) = bound().await;
    for address in [refusing, silent] {
        world.register("main", address);
    }
    world.follow();
    for (address, reason, text) in [
        (refusing, HealthReason::FailedHealthChecks, "Health checks failed"),
        (silent, HealthReason::Timeout, "Request timed out"),
    ] {
        world.until("main", address, HealthState::Unhealthy).await;
        let health = world.health("main", address);
        assert_eq!((health.reason, health.description.as_deref()), (Some(reason), Some(text)));
    }
}

#[tokio::test]
async fn what_is_known_without_asking() {
    let mut world = World::http();
    world.add_group("unused", GroupProtocol::Http);
    let address = named("a").await;
    world.register("unused", address);
    let before = world.health("main", address);
    assert_eq!((before.state, before.reason), (HealthState::Unused, Some(HealthReason::NotRegistered)));
    world.follow();
    let unused = world.health("unused", address);
    assert_eq!((unused.state, unused.reason), (HealthState::Unused, Some(HealthReason::NotInUse)));
    world.listener().default_action = super::world::forward(&[("unused", 1)], None);
    world.follow();
    world.until("unused", address, HealthState::Healthy).await;
    world.register("main", address);
    assert_eq!(world.health("main", address).reason, Some(HealthReason::NotInUse));
}

#[tokio::test]
async fn grpc_targets_are_asked_by_a_call() {
    let called = |request: Request<Incoming>| async move {
        assert_eq!(request.uri().path(), "/health");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", 12.into());
        let body = Full::new(Bytes::new()).with_trailers(async move { Some(Ok(trailers)) });
        Response::new(body)
    };
    let address = target_http2(called).await;
    let mut world = World::http();
    let group = world.group("main");
    group.protocol_version = ProtocolVersion::Grpc;
    group.health_check.protocol = HealthProtocol::Http;
    group.health_check.matcher.ranges = vec![(12, 12)];
    world.register("main", address);
    world.follow();
    world.until("main", address, HealthState::Healthy).await;
    world.group("main").health_check.matcher.ranges = vec![(0, 0)];
    world.follow();
    world.until("main", address, HealthState::Unhealthy).await;
    let description = world.health("main", address).description.unwrap();
    assert_eq!(description, "Health checks failed with these codes: [12]");
}
