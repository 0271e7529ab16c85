//! What a container definition says is what the container is: each member of it, seen in the engine's own
//! description, and where it matters from inside the container.

use ecsr_tests::spec::{container, idle, laid_over, shell, task};
use ecsr_tests::{Setup, World, wait};
use serde_json::{Value, json};

const MIB: i64 = 1024 * 1024;

/// A container definition's members, and what the engine then says: JSON pointer and value.
struct Case {
    name: &'static str,
    members: Value,
    expected: Vec<(&'static str, Value)>,
}

fn case(name: &'static str, members: Value, expected: &[(&'static str, Value)]) -> Case {
    Case { name, members, expected: expected.to_vec() }
}

fn process_cases() -> Vec<Case> {
    vec![
        case(
            "command",
            json!({"command": ["sleep", "3600"]}),
            &[("/Config/Cmd", json!(["sleep", "3600"])), ("/Config/Entrypoint", Value::Null)],
        ),
        case(
            "entry-point",
            json!({"entryPoint": ["sleep"], "command": ["3601"]}),
            &[
                ("/Config/Entrypoint", json!(["sleep"])),
                ("/Path", json!("sleep")),
                ("/Args", json!(["3601"])),
            ],
        ),
        case(
            "user-and-directory",
            json!({"user": "65534:65534", "workingDirectory": "/www"}),
            &[("/Config/User", json!("65534:65534")), ("/Config/WorkingDir", json!("/www"))],
        ),
        case(
            "terminal",
            json!({"interactive": true, "pseudoTerminal": true, "hostname": "alpha"}),
            &[
                ("/Config/OpenStdin", json!(true)),
                ("/Config/Tty", json!(true)),
                ("/Config/Hostname", json!("alpha")),
            ],
        ),
        case(
            "labels",
            json!({"dockerLabels": {"tier": "web", "empty": ""}}),
            &[
                ("/Config/Labels/tier", json!("web")),
                ("/Config/Labels/empty", json!("")),
                ("/Config/Labels/com.amazonaws.ecs.container-name", json!("labels")),
            ],
        ),
    ]
}

fn limit_cases() -> Vec<Case> {
    vec![
        case(
            "cpu-and-memory",
            json!({"cpu": 64, "memory": 32, "memoryReservation": 16}),
            &[
                ("/HostConfig/CpuShares", json!(64)),
                ("/HostConfig/Memory", json!(32 * MIB)),
                ("/HostConfig/MemoryReservation", json!(16 * MIB)),
            ],
        ),
        case("no-cpu", json!({}), &[("/HostConfig/CpuShares", json!(2))]),
        case(
            "ulimits",
            json!({"ulimits": [{"name": "nofile", "softLimit": 512, "hardLimit": 1024}]}),
            &[("/HostConfig/Ulimits", json!([{"Name": "nofile", "Soft": 512, "Hard": 1024}]))],
        ),
        case(
            "linux",
            json!({"linuxParameters": {
                "capabilities": {"add": ["NET_ADMIN"], "drop": ["MKNOD"]},
                "initProcessEnabled": true,
                "sharedMemorySize": 8,
            }}),
            &[
                ("/HostConfig/CapAdd", json!(["NET_ADMIN"])),
                ("/HostConfig/CapDrop", json!(["MKNOD"])),
                ("/HostConfig/Init", json!(true)),
                ("/HostConfig/ShmSize", json!(8 * MIB)),
            ],
        ),
        case(
            "sysctl",
            json!({"systemControls": [{"namespace": "net.core.somaxconn", "value": "99"}]}),
            &[("/HostConfig/Sysctls", json!({"net.core.somaxconn": "99"}))],
        ),
    ]
}

fn surrounding_cases() -> Vec<Case> {
    vec![
        case(
            "dns",
            json!({"dnsServers": ["192.0.2.53"], "dnsSearchDomains": ["internal"]}),
            &[("/HostConfig/Dns", json!(["192.0.2.53"])), ("/HostConfig/DnsSearch", json!(["internal"]))],
        ),
        case(
            "hosts",
            json!({"extraHosts": [{"hostname": "db", "ipAddress": "192.0.2.7"}]}),
            &[("/HostConfig/ExtraHosts", json!(["db:192.0.2.7"]))],
        ),
        case(
            "log-driver",
            json!({"logConfiguration": {"logDriver": "json-file", "options": {"max-size": "1m"}}}),
            &[("/HostConfig/LogConfig", json!({"Type": "json-file", "Config": {"max-size": "1m"}}))],
        ),
        case(
            "read-only",
            json!({"readonlyRootFilesystem": true}),
            &[("/HostConfig/ReadonlyRootfs", json!(true))],
        ),
        case(
            "health",
            json!({"healthCheck": {
                "command": ["CMD-SHELL", "true"], "interval": 7, "timeout": 3, "retries": 2, "startPeriod": 1,
            }}),
            &[(
                "/Config/Healthcheck",
                json!({
                    "Test": ["CMD-SHELL", "true"], "Interval": 7_000_000_000_i64, "Timeout": 3_000_000_000_i64,
                    "Retries": 2, "StartPeriod": 1_000_000_000,
                }),
            )],
        ),
    ]
}

#[tokio::test]
async fn members_of_a_container_definition_reach_the_engine() {
    let world = World::start().await;
    let cases: Vec<Case> =
        [process_cases(), limit_cases(), surrounding_cases()].into_iter().flatten().collect();
    let mut tasks = Vec::new();
    for case in &cases {
        let members =
            laid_over(json!({"command": ["sleep", "3600"], "stopTimeout": 1}), case.members.clone());
        tasks.push(world.run(task(case.name, &[container(case.name, members)])).await);
    }
    for (case, task) in cases.iter().zip(&tasks) {
        world.await_task(task, "RUNNING").await;
        let seen = world.inspect(task, case.name).await;
        for (pointer, expected) in &case.expected {
            let found = seen.pointer(pointer).cloned().unwrap_or_default();
            assert_eq!(&found, expected, "{}: {pointer}", case.name);
        }
        // Docker knows nothing of tasks: a restart is never left to it.
        let restart = seen["HostConfig"]["RestartPolicy"]["Name"].as_str().unwrap_or_default();
        assert!(["", "no"].contains(&restart), "{}: {restart}", case.name);
    }
}

/// Some machines let nobody run a privileged container; that it is asked for can be seen on all.
#[tokio::test]
async fn privileged_is_asked_of_the_engine() {
    let world = World::start().await;
    let arn = world.run(task("privileged", &[idle("main", json!({"privileged": true}))])).await;
    wait::until("the container to be made", async || {
        let seen = world.inspect(&arn, "main").await;
        if seen["HostConfig"]["Privileged"] == true { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test]
async fn a_container_sees_its_environment_user_and_directory() {
    let world = World::start().await;
    let script = "echo greeting=$GREETING empty=[$EMPTY] region=$AWS_REGION/$AWS_DEFAULT_REGION \
                  env=$AWS_EXECUTION_ENV; echo user=$(id -u):$(id -g) in=$(pwd)";
    let members = json!({
        "environment": [{"name": "GREETING", "value": "good day = hello"}, {"name": "EMPTY", "value": ""}],
        "user": "65534:65534",
        "workingDirectory": "/www",
    });
    let arn = world.run(task("inside", &[shell("main", script, members)])).await;
    world.await_task(&arn, "STOPPED").await;
    assert_eq!(
        world.logs(&arn, "main").await,
        "greeting=good day = hello empty=[] region=us-east-1/us-east-1 env=AWS_ECS_EC2\n\
         user=65534:65534 in=/www\n"
    );
}

#[tokio::test]
async fn overrides_of_a_run_change_that_run_alone() {
    let world = World::start().await;
    let members = json!({"environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
    let definition = task("overridden", &[shell("main", "echo original $A $B", members)]);
    let definition = world.register(definition).await;
    let request = json!({"taskDefinition": definition, "overrides": {"containerOverrides": [{
        "name": "main",
        "command": ["sh", "-c", "echo changed $A $B $C"],
        "environment": [{"name": "B", "value": "two"}, {"name": "C", "value": "3"}],
        "memory": 24,
    }]}});
    let overridden = world.api.call("RunTask", request).await["tasks"][0].take();
    let plain = world.api.call("RunTask", json!({"taskDefinition": definition})).await["tasks"][0].take();
    for (run, said, memory) in [(overridden, "changed 1 two 3\n", 24), (plain, "original 1 2\n", 16)] {
        let arn = run["taskArn"].as_str().unwrap_or_default();
        world.await_task(arn, "STOPPED").await;
        assert_eq!(world.logs(arn, "main").await, said);
        assert_eq!(world.inspect(arn, "main").await["HostConfig"]["Memory"], json!(memory * MIB));
    }
}

#[tokio::test]
async fn task_level_limits_bound_every_container() {
    let world = World::start().await;
    let mut definition =
        task("bounded", &[idle("one", json!({"memory": null})), idle("two", json!({"memory": 12}))]);
    definition["cpu"] = json!("256");
    definition["memory"] = json!("64");
    let arn = world.run(definition).await;
    let seen = world.await_task(&arn, "RUNNING").await;
    assert_eq!((&seen["cpu"], &seen["memory"]), (&json!("256"), &json!("64")));
    assert_eq!(world.inspect(&arn, "one").await["HostConfig"]["Memory"], json!(64 * MIB));
    assert_eq!(world.inspect(&arn, "two").await["HostConfig"]["Memory"], json!(12 * MIB));
}

#[tokio::test]
async fn process_limits_of_the_instance_hold_for_its_containers() {
    let world = World::start_with(Setup {
        agent: vec![("ECS_TASK_PIDS_LIMIT", "64".to_owned())],
        ..Setup::default()
    })
    .await;
    let arn = world.run(task("limited", &[idle("main", json!({}))])).await;
    world.await_task(&arn, "RUNNING").await;
    assert_eq!(world.inspect(&arn, "main").await["HostConfig"]["PidsLimit"], json!(64));
}
