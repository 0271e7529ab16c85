//! What clients of a network load balancer see.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::world::{PATIENCE, World, bound, nobody};
use crate::model::{GroupProtocol, HealthState, Kind, Protocol};

#[tokio::test]
async fn bytes_go_both_ways_with_who_sends_them_in_front_when_wanted() {
    let mut world = World::tcp();
    let (listener, address) = bound().await;
    world.register("main", nobody().await);
    world.register("main", address);
    world.set("main", "proxy_protocol_v2.enabled", "true");
    world.group("main").health_check.enabled = false;
    world.follow();
    for _ in 0..5 {
        let mut client = TcpStream::connect(world.address()).await.unwrap();
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut served, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let mut question = Vec::new();
        served.read_to_end(&mut question).await.unwrap();
        let (header, question) = question.split_at(28);
        assert_eq!(question, b"question");
        assert_eq!(header[24..26], client.local_addr().unwrap().port().to_be_bytes());
        assert_eq!(header[26..28], world.address().port().to_be_bytes());
        served.write_all(b"answer").await.unwrap();
        drop(served);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    }
}

#[tokio::test]
async fn connections_of_a_target_that_turns_unhealthy_are_reset() {
    let mut world = World::tcp();
    let (listener, address) = bound().await;
    world.register("main", address);
    world.follow();
    world.until("main", address, HealthState::Healthy).await;
    let mut client = TcpStream::connect(world.address()).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let mut served = loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Health checks say nothing.
        if stream.read_u8().await.is_ok() {
            break stream;
        }
    };
    drop(listener);
    world.until("main", address, HealthState::Unhealthy).await;
    for stream in [&mut client, &mut served] {
        let read = timeout(PATIENCE, stream.read_u8()).await.unwrap();
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_connection_to_nobody_is_reset() {
    let mut world = World::tcp();
    world.register("main", nobody().await);
    world.follow();
    let mut client = TcpStream::connect(world.address()).await.unwrap();
    assert!(timeout(PATIENCE, client.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn datagrams_of_a_flow_go_to_one_target_and_back() {
    let mut world = World::new(Kind::Network, Protocol::Udp, GroupProtocol::Udp);
    world.group("main").health_check.enabled = false;
    for name in ["a", "b"] {
        let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        world.register("main", target.local_addr().unwrap());
        tokio::spawn(async move {
            let mut datagram = [0; 100];
            while let Ok((count, client)) = target.recv_from(&mut datagram).await {
                let answer = [name.as_bytes(), &datagram[..count]].concat();
                target.send_to(&answer, client).await.unwrap();
            }
        });
    }
    world.follow();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(world.address()).await.unwrap();
        let mut names = Vec::new();
        for number in [b"1", b"2", b"3"] {
            client.send(number).await.unwrap();
            let mut answer = [0; 100];
            let count = timeout(PATIENCE, client.recv(&mut answer)).await.unwrap().unwrap();
            assert_eq!(&answer[1..count], number);
            names.push(answer[0]);
        }
        assert!(names.iter().all(|name| *name == names[0]));
        seen.insert(names[0]);
    }
    assert_eq!(seen.len(), 2, "flows are spread");
}

#[tokio::test]
async fn a_taken_port_is_known_at_once_and_opened_when_it_is_free() {
    let mut world = World::tcp();
    let (taken, address) = bound().await;
    world.listener().address = address;
    let listener = world.state.listeners["listener"].clone();
    assert_eq!(world.plane.open(&listener).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    world.follow();
    assert!(world.plane.plan().local("listener").is_none());
    drop(taken);
    let opened = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, opened).await.unwrap();

    world.state.listeners.clear();
    world.follow();
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
}

#[tokio::test]
async fn what_was_opened_ahead_serves_once_the_state_has_it_and_is_let_go_of_otherwise() {
    let mut world = World::tcp();
    let address = nobody().await;
    world.listener().address = address;
    let listener = world.state.listeners["listener"].clone();
    world.plane.open(&listener).await.unwrap();
    world.follow();
    assert_eq!(world.address(), address);
    world.state.listeners.clear();
    world.follow();
    world.plane.open(&listener).await.unwrap_or(());
    world.follow();
    let free = async {
        while std::net::TcpListener::bind(address).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, free).await.unwrap();
}
