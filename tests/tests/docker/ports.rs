//! Host ports: a page is fetched from where the API says that it is.

use ecsr_tests::engine::PAGE;
use ecsr_tests::spec::{laid_over, shell, task, web};
use ecsr_tests::world::free_port;
use ecsr_tests::{Setup, World, http, wait};
use serde_json::{Value, json};

/// The one TCP binding that the task's first container has.
fn host_port(task: &Value) -> u64 {
    let bindings = task["containers"][0]["networkBindings"].as_array().cloned().unwrap_or_default();
    assert_eq!(bindings.len(), 1, "{task:#}");
    assert_eq!(bindings[0]["bindIP"], "0.0.0.0");
    assert_eq!(bindings[0]["protocol"], "tcp");
    assert_eq!(bindings[0]["containerPort"], 8080);
    bindings[0]["hostPort"].as_u64().unwrap_or_default()
}

async fn fetch(port: u64) -> String {
    let page = wait::until("a page", async || http::get(&format!("127.0.0.1:{port}"), "/").await).await;
    assert_eq!(page.status, 200);
    page.text().trim().to_owned()
}

#[tokio::test]
async fn tasks_on_dynamic_ports_serve_beside_each_other() {
    let world = World::start().await;
    let definition = task("dynamic", &[web()]);
    let tasks = [world.run(definition.clone()).await, world.run(definition).await];
    let mut ports = Vec::new();
    for arn in &tasks {
        let port = host_port(&world.await_task(arn, "RUNNING").await);
        assert_eq!(fetch(port).await, PAGE);
        ports.push(port);
    }
    assert_ne!(ports[0], ports[1]);
}

#[tokio::test]
async fn a_fixed_port_is_where_it_should_be_and_is_there_once() {
    let world = World::start().await;
    let port = free_port();
    let fixed = laid_over(web(), json!({"portMappings": [{"containerPort": 8080, "hostPort": port}]}));
    let definition = task("fixed", &[fixed]);
    let arn = world.run(definition.clone()).await;
    assert_eq!(host_port(&world.await_task(&arn, "RUNNING").await), u64::from(port));
    assert_eq!(fetch(u64::from(port)).await, PAGE);

    let second = world.api.call("RunTask", json!({"taskDefinition": "fixed"})).await;
    assert_eq!(second["tasks"], json!([]));
    assert_eq!(second["failures"][0]["reason"], "RESOURCE:PORTS");

    world.stop(&arn).await;
    world.await_task(&arn, "STOPPED").await;
    let next = world.run(definition).await;
    world.await_task(&next, "RUNNING").await;
}

#[tokio::test]
async fn a_fixed_port_that_somebody_else_has_is_a_reason() {
    let world = World::start().await;
    let listener = std::net::TcpListener::bind(("0.0.0.0", 0)).expect("the machine has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    let fixed = laid_over(web(), json!({"portMappings": [{"containerPort": 8080, "hostPort": port}]}));
    let arn = world.run(task("taken", &[fixed])).await;
    let stopped = world.await_task(&arn, "STOPPED").await;
    assert_eq!(stopped["stopCode"], "TaskFailedToStart", "{stopped:#}");
    let reason = stopped["containers"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("CannotStartContainerError: "), "{reason:?}");
    assert!(reason.contains(&port.to_string()), "{reason:?}");
}

#[tokio::test]
async fn dynamic_ports_come_from_the_range_of_the_instance() {
    let first = free_port().min(65000);
    let range = format!("{first}-{}", first + 100);
    let world =
        World::start_with(Setup { agent: vec![("ECS_DYNAMIC_HOST_PORT_RANGE", range)], ..Setup::default() })
            .await;
    let arn = world.run(task("ranged", &[web()])).await;
    let port = host_port(&world.await_task(&arn, "RUNNING").await);
    assert!((u64::from(first)..=u64::from(first) + 100).contains(&port), "{port}");
    assert_eq!(fetch(port).await, PAGE);
}

#[tokio::test]
async fn udp_and_tcp_of_one_number_are_two_bindings() {
    let world = World::start().await;
    let both = json!({"portMappings": [
        {"containerPort": 8080, "protocol": "tcp"}, {"containerPort": 8080, "protocol": "udp"},
    ]});
    let arn = world.run(task("both", &[laid_over(web(), both)])).await;
    let seen = world.await_task(&arn, "RUNNING").await;
    let mut protocols: Vec<&str> = seen["containers"][0]["networkBindings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|binding| binding["protocol"].as_str())
        .collect();
    protocols.sort_unstable();
    assert_eq!(protocols, ["tcp", "udp"]);
}

#[tokio::test]
async fn the_host_network_needs_no_binding() {
    let world = World::start().await;
    let port = free_port();
    let script = format!("trap 'exit 0' TERM; httpd -f -p {port} -h /www & wait $!");
    let mapping = json!({"portMappings": [{"containerPort": port, "hostPort": port}]});
    let mut definition = task("host-network", &[shell("web", &script, mapping)]);
    definition["networkMode"] = json!("host");
    let arn = world.run(definition).await;
    world.await_task(&arn, "RUNNING").await;
    assert_eq!(fetch(u64::from(port)).await, PAGE);
    assert_eq!(world.inspect(&arn, "web").await["HostConfig"]["NetworkMode"], "host");
}
