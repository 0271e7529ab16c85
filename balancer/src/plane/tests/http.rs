//! What clients of an application load balancer see.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use super::world::{PATIENCE, World, ask, bound, connect, forward, named, nobody, reply, send, target, text};
use crate::model::{Action, Condition, GroupProtocol, Redirect, Rule};

#[tokio::test]
async fn targets_take_turns_whatever_connection_requests_come_by() {
    let mut world = World::http();
    for name in ["a", "b", "c"] {
        world.register("main", named(name).await);
    }
    world.follow();
    let mut client = connect(world.address()).await;
    let mut seen = Vec::new();
    for _ in 0..9 {
        client.ready().await.unwrap();
        let request = Request::get("/").header("host", "x").body(Full::default()).unwrap();
        seen.push(reply(client.send_request(request).await.unwrap()).await.body);
    }
    for name in ["a", "b", "c"] {
        assert_eq!(seen.iter().filter(|seen| *seen == name).count(), 3, "{seen:?}");
    }
}

#[tokio::test]
async fn a_target_is_told_who_asks_and_how() {
    let echo = |request: Request<Incoming>| async move {
        let (parts, body) = request.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let header =
            |name: &str| parts.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let names =
            ["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "connection", "x-hop"];
        let told = names.map(header).join(" ");
        text(format!("{} {} {told} {body}", parts.method, parts.uri))
    };
    let mut world = World::http();
    world.register("main", target(echo).await);
    world.follow();
    let port = world.address().port();
    let request = Request::post("/a%20b?c=d").header("host", "example.com").header("connection", "x-hop");
    let request = request.header("x-hop", "1").header("x-forwarded-for", "192.0.2.1");
    let answer = send(world.address(), request.body(Full::new(Bytes::from("body"))).unwrap()).await;
    let told = format!("example.com:{port} 192.0.2.1, 127.0.0.1 http {port} - -");
    assert_eq!(answer.body, format!("POST /a%20b?c=d {told} body"));

    world
        .balancer()
        .attributes
        .insert("routing.http.preserve_host_header.enabled".to_owned(), "true".to_owned());
    world
        .balancer()
        .attributes
        .insert("routing.http.xff_header_processing.mode".to_owned(), "remove".to_owned());
    world.follow();
    let answer = world.get("/").await;
    assert_eq!(answer.body, format!("GET / example.com - http {port} - - "));
}

#[tokio::test]
async fn rules_decide_by_priority_and_the_default_is_last() {
    let mut world = World::http();
    world.add_group("api", GroupProtocol::Http);
    world.register("main", named("main").await);
    world.register("api", named("api").await);
    let rule = |priority: u32, path: &str, action| {
        let conditions = vec![Condition::PathPattern(vec![path.to_owned()])];
        let arn = priority.to_string().into();
        Arc::new(Rule { arn, priority, conditions, action, order: None, tags: [].into() })
    };
    let fixed = Action::FixedResponse { status: 418, content_type: None, body: Some("short".to_owned()) };
    let redirect = Redirect { status: 301, protocol: None, host: None, port: None, path: None, query: None };
    let redirect = Action::Redirect(Redirect { path: Some("/new/#{path}".to_owned()), ..redirect });
    world.listener().rules = vec![
        rule(1, "/api/tea", fixed),
        rule(2, "/api/*", forward(&[("api", 1)], None)),
        rule(3, "/old", redirect),
        rule(4, "/none", forward(&[("api", 0)], None)),
    ];
    world.follow();
    assert_eq!(world.get("/").await.body, "main");
    assert_eq!(world.get("/api/x").await.body, "api");
    let tea = world.get("/api/tea").await;
    assert_eq!(
        (tea.status, tea.body.as_str(), &tea.headers["server"]),
        (418, "short", &"awselb/2.0".parse().unwrap())
    );
    let moved = world.get("/old?q").await;
    let location = format!("http://example.com:{}/new/old?q", world.address().port());
    assert_eq!((moved.status, moved.headers["location"].to_str().unwrap()), (301, location.as_str()));
    assert_eq!(world.get("/none").await.status, 503);
}

#[tokio::test]
async fn a_group_without_targets_is_no_service() {
    let world = World::http();
    world.follow();
    let answer = world.get("/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("<title>503 Service Unavailable</title>"), "{}", answer.body);
    assert_eq!(answer.headers["server"], "awselb/2.0");
}

#[tokio::test]
async fn what_a_target_refuses_another_gets_whatever_its_method() {
    let mut world = World::http();
    world.register("main", nobody().await);
    world.register("main", nobody().await);
    world.register("main", named("a").await);
    world.follow();
    for _ in 0..10 {
        assert_eq!(ask(world.address(), Request::post("/").header("host", "x")).await.body, "a");
    }
}

#[tokio::test]
async fn nobody_to_take_a_request_is_a_bad_gateway() {
    let mut world = World::http();
    world.register("main", nobody().await);
    world.follow();
    assert_eq!(world.get("/").await.status, 502);
}

/// A target that takes every request, counts it, and hangs up in place of an answer.
async fn rude() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let (listener, address) = bound().await;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.unwrap_or(0) > 0 {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, count)
}

#[tokio::test]
async fn only_what_may_be_sent_twice_is_sent_to_another_target() {
    let mut world = World::http();
    let (address, count) = rude().await;
    world.register("main", address);
    world.register("main", named("polite").await);
    world.follow();
    for _ in 0..4 {
        assert_eq!(world.get("/").await.body, "polite");
    }
    assert!(count.swap(0, Ordering::SeqCst) >= 1, "the one that hangs up was asked as well");
    let body = || Full::new(Bytes::from("once"));
    for method in ["PUT", "POST"] {
        let mut failed = 0;
        for _ in 0..4 {
            let request =
                Request::builder().method(method).uri("/").header("host", "x").body(body()).unwrap();
            failed += usize::from(send(world.address(), request).await.status == 502);
        }
        let asked = count.swap(0, Ordering::SeqCst);
        assert!(asked >= 1);
        assert_eq!(failed, if method == "POST" { asked } else { 0 }, "{method}");
    }
}

#[tokio::test]
async fn connections_that_a_target_closed_fail_no_request() {
    let (listener, address) = bound().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            // Said to stay open, and closed.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    });
    let mut world = World::http();
    world.register("main", address);
    world.follow();
    for _ in 0..50 {
        let answer = ask(world.address(), Request::post("/").header("host", "x")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }
}

#[tokio::test]
async fn a_client_stays_with_its_target_and_with_its_group() {
    let mut world = World::http();
    world.add_group("other", GroupProtocol::Http);
    for (group, name) in [("main", "a"), ("main", "b"), ("other", "c"), ("other", "d")] {
        world.register(group, named(name).await);
    }
    for group in ["main", "other"] {
        world.set(group, "stickiness.enabled", "true");
    }
    world.listener().default_action = forward(&[("main", 1), ("other", 1)], Some(60));
    world.follow();
    let first = world.get("/").await;
    let cookies: Vec<_> =
        first.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    let names: Vec<_> = cookies.iter().map(|cookie| cookie.split('=').next().unwrap()).collect();
    assert_eq!(names, ["AWSALB", "AWSALBCORS", "AWSALBTG", "AWSALBTGCORS"]);
    let line = cookies.iter().map(|cookie| cookie.split(';').next().unwrap()).collect::<Vec<_>>().join("; ");
    for _ in 0..10 {
        let request = Request::get("/").header("host", "x").header("cookie", &line);
        assert_eq!(ask(world.address(), request).await.body, first.body);
    }
}

#[tokio::test]
async fn requests_that_no_target_should_see_are_answered_at_once() {
    let mut world = World::http();
    world.register("main", named("a").await);
    world.follow();
    let get = || Request::get("/").header("host", "x");
    let status = async |request| ask(world.address(), request).await.status;
    assert_eq!(status(Request::builder().method("TRACE").uri("/").header("host", "x")).await, 405);
    assert_eq!(status(get().header("x-forwarded-for", "1.1.1.1,".repeat(30))).await, 463);
    assert_eq!(status(get().header("x-long", "x".repeat(17 * 1024))).await, 400);
    assert_eq!(status(Request::get(format!("/{}", "x".repeat(17 * 1024))).header("host", "x")).await, 414);
    assert_eq!(status(get()).await, 200);
    let request = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let mut client = TcpStream::connect(world.address()).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    client.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 501");
}

#[tokio::test]
async fn a_web_socket_is_passed_through() {
    let (listener, address) = bound().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut socket) = accept_async(stream).await else { continue };
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() {
                    socket.send(message).await.unwrap();
                }
            }
        }
    });
    let mut world = World::http();
    world.register("main", address);
    world.follow();
    let stream = TcpStream::connect(world.address()).await.unwrap();
    let (mut socket, _) = client_async("ws://example.com/chat", stream).await.unwrap();
    for word in ["one", "two"] {
        socket.send(Message::text(word)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(word));
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = timeout(PATIENCE, socket.next()).await.unwrap() {}
}

#[tokio::test]
async fn an_answer_is_passed_on_as_it_comes() {
    let (go, went) = tokio::sync::watch::channel(false);
    let slow = move |_| {
        let mut went = went.clone();
        async move {
            let (mut sender, body) =
                http_body_util::channel::Channel::<Bytes, std::convert::Infallible>::new(1);
            tokio::spawn(async move {
                sender.send_data(Bytes::from("first ")).await.unwrap();
                went.wait_for(|went| *went).await.unwrap();
                sender.send_data(Bytes::from("second")).await.unwrap();
            });
            Response::new(body)
        }
    };
    let mut world = World::http();
    world.register("main", target(slow).await);
    world.follow();
    let mut client = connect(world.address()).await;
    let request = Request::get("/").header("host", "x").body(Full::default()).unwrap();
    let mut answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let first = timeout(PATIENCE, answer.body_mut().frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "first ");
    go.send_replace(true);
    assert_eq!(reply(answer).await.body, "second");
}

#[tokio::test]
async fn a_target_that_says_nothing_is_a_timeout() {
    let mut world = World::http();
    world.register("main", target(|_| std::future::pending::<Response<Full<Bytes>>>()).await);
    world.balancer().attributes.insert("idle_timeout.timeout_seconds".to_owned(), "1".to_owned());
    world.follow();
    assert_eq!(world.get("/").await.status, 504);
}

#[tokio::test]
async fn stopping_lets_a_request_end() {
    let (started, mut starts) = tokio::sync::mpsc::channel(1);
    let (go, went) = tokio::sync::watch::channel(false);
    let slow = move |_| {
        let (started, mut went) = (started.clone(), went.clone());
        async move {
            started.send(()).await.unwrap();
            went.wait_for(|went| *went).await.unwrap();
            text("done")
        }
    };
    let mut world = World::http();
    world.register("main", target(slow).await);
    world.follow();
    let address = world.address();
    let asked = tokio::spawn(async move { ask(address, Request::get("/").header("host", "x")).await });
    starts.recv().await.unwrap();
    let stopping = tokio::spawn(async move { world.plane.stop().await });
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go.send_replace(true);
    assert_eq!(asked.await.unwrap().body, "done");
    timeout(PATIENCE, stopping).await.unwrap().unwrap();
}
