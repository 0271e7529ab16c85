//! What becomes of requests and connections when their target leaves.

use std::net::SocketAddr;

use hyper::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::world::{PATIENCE, World, ask, bound, key, named, target, text};
use crate::model::HealthState;

/// A target that tells when it is asked, and answers when it is told to.
async fn slow() -> (SocketAddr, mpsc::Receiver<()>, watch::Sender<bool>) {
    let (asked, asks) = mpsc::channel(10);
    let (go, went) = watch::channel(false);
    let answer = move |_| {
        let (asked, mut went) = (asked.clone(), went.clone());
        async move {
            asked.send(()).await.unwrap();
            // An error is the end of the test.
            let _ = went.wait_for(|went| *went).await;
            text("slow")
        }
    };
    (target(answer).await, asks, go)
}

#[tokio::test]
async fn a_draining_target_ends_what_it_has_and_gets_nothing_new() {
    let mut world = World::http();
    let (address, mut asks, go) = slow().await;
    world.register("main", address);
    world.follow();
    let listener = world.address();
    let asked = tokio::spawn(async move { ask(listener, Request::post("/").header("host", "x")).await });
    asks.recv().await.unwrap();
    world.register("main", named("new").await);
    world.deregister("main", address);
    world.follow();
    assert_eq!(world.health("main", address).state, HealthState::Draining);
    for _ in 0..5 {
        assert_eq!(world.get("/").await.body, "new");
    }
    assert!(world.drained.try_recv().is_err(), "something is in flight");
    go.send_replace(true);
    assert_eq!(asked.await.unwrap().body, "slow");
    let drained = timeout(PATIENCE, world.drained.recv()).await.unwrap().unwrap();
    assert_eq!((&*drained.group, drained.target), ("main", key(address)));
}

#[tokio::test]
async fn what_is_in_flight_when_the_delay_is_over_is_a_bad_gateway() {
    let mut world = World::http();
    let (address, mut asks, _go) = slow().await;
    world.register("main", address);
    world.follow();
    let listener = world.address();
    let asked = tokio::spawn(async move { ask(listener, Request::post("/").header("host", "x")).await });
    asks.recv().await.unwrap();
    world.set("main", "deregistration_delay.timeout_seconds", "0");
    world.deregister("main", address);
    world.follow();
    assert_eq!(asked.await.unwrap().status, 502);
    assert_eq!(timeout(PATIENCE, world.drained.recv()).await.unwrap().unwrap().target, key(address));
}

#[tokio::test]
async fn a_target_registered_again_serves_again() {
    let mut world = World::http();
    let (address, mut asks, go) = slow().await;
    world.register("main", address);
    world.follow();
    let listener = world.address();
    let ask = move || tokio::spawn(ask(listener, Request::post("/").header("host", "x")));
    let first = ask();
    asks.recv().await.unwrap();
    world.deregister("main", address);
    world.follow();
    assert_eq!(ask().await.unwrap().status, 503);
    world.register("main", address);
    world.follow();
    let second = ask();
    asks.recv().await.unwrap();
    go.send_replace(true);
    assert_eq!(first.await.unwrap().body, "slow");
    assert_eq!(second.await.unwrap().body, "slow");
    assert!(world.drained.try_recv().is_err(), "it stayed");
}

#[tokio::test]
async fn an_idle_target_has_drained_at_once_also_of_a_group_that_nobody_uses() {
    let mut world = World::http();
    world.add_group("unused", crate::model::GroupProtocol::Http);
    let address = named("a").await;
    for group in ["main", "unused"] {
        world.register(group, address);
    }
    world.follow();
    assert_eq!(world.get("/").await.body, "a");
    for group in ["main", "unused"] {
        world.deregister(group, address);
        world.follow();
        let drained = timeout(PATIENCE, world.drained.recv()).await.unwrap().unwrap();
        assert_eq!((&*drained.group, drained.target), (group, key(address)));
    }
}

#[tokio::test]
async fn a_connection_outlives_its_targets_draining_unless_that_is_to_end_it() {
    for cut in [false, true] {
        let mut world = World::tcp();
        let (listener, address) = bound().await;
        world.register("main", address);
        world.set("main", "deregistration_delay.timeout_seconds", "0");
        world.set("main", "deregistration_delay.connection_termination.enabled", &cut.to_string());
        // No health checks: the test is the target, and takes one connection.
        world.group("main").health_check.enabled = false;
        world.follow();
        let mut client = TcpStream::connect(world.address()).await.unwrap();
        let (mut served, _) = listener.accept().await.unwrap();
        world.deregister("main", address);
        world.follow();
        assert_eq!(timeout(PATIENCE, world.drained.recv()).await.unwrap().unwrap().target, key(address));
        if cut {
            assert!(timeout(PATIENCE, client.read_u8()).await.unwrap().is_err());
        } else {
            client.write_all(b"x").await.unwrap();
            assert_eq!(served.read_u8().await.unwrap(), b'x');
        }
    }
}
