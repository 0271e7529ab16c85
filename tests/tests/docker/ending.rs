//! How tasks end, and what the API then says of it: exit codes, stop codes and reasons in ECS's words.

use ecsr_tests::World;
use ecsr_tests::spec::{container, idle, shell, task};
use serde_json::{Value, json};

/// A one-container task and what is said when it has stopped.
struct Case {
    family: &'static str,
    container: Value,
    stop_code: &'static str,
    exit_code: Value,
    /// How the container's reason begins; empty when there is to be none.
    reason: &'static str,
}

fn cases() -> Vec<Case> {
    let exited = "EssentialContainerExited";
    let failed = "TaskFailedToStart";
    vec![
        Case {
            family: "done",
            container: shell("main", "exit 0", json!({})),
            stop_code: exited,
            exit_code: json!(0),
            reason: "",
        },
        Case {
            family: "seven",
            container: shell("main", "exit 7", json!({})),
            stop_code: exited,
            exit_code: json!(7),
            reason: "",
        },
        Case {
            family: "out-of-memory",
            container: container("main", json!({"command": ["tail", "/dev/zero"], "memory": 8})),
            stop_code: exited,
            exit_code: json!(137),
            reason: "OutOfMemoryError: Container killed due to memory usage",
        },
        Case {
            family: "no-image",
            container: container("main", json!({"image": "ecsr-test/absent:latest"})),
            stop_code: failed,
            exit_code: Value::Null,
            reason: "CannotPullContainerError: ",
        },
        Case {
            family: "no-command",
            container: container("main", json!({"command": ["/no/such/program"]})),
            stop_code: failed,
            exit_code: json!(127),
            reason: "CannotStartContainerError: ",
        },
        Case {
            family: "no-user",
            container: shell("main", "true", json!({"user": "nobody-knows-me"})),
            stop_code: failed,
            exit_code: json!(126),
            reason: "CannotStartContainerError: ",
        },
    ]
}

#[tokio::test]
async fn every_ending_has_its_code_and_reason() {
    let world = World::start().await;
    for case in cases() {
        let arn = world.run(task(case.family, &[case.container])).await;
        let stopped = world.await_task(&arn, "STOPPED").await;
        let container = &stopped["containers"][0];
        let family = case.family;
        assert_eq!(stopped["stopCode"], case.stop_code, "{family}: {stopped:#}");
        if case.stop_code == "EssentialContainerExited" {
            assert_eq!(stopped["stoppedReason"], "Essential container in task exited", "{family}");
        }
        let started = !stopped["startedAt"].is_null();
        assert_eq!(started, case.stop_code == "EssentialContainerExited", "{family}: {stopped:#}");
        let reason = container["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with(case.reason), "{family}: {reason:?}");
        assert_eq!(reason.is_empty(), case.reason.is_empty(), "{family}: {reason:?}");
        if case.stop_code == "EssentialContainerExited" || !container["exitCode"].is_null() {
            assert_eq!(container["exitCode"], case.exit_code, "{family}: {stopped:#}");
        }
        assert_eq!(
            (&stopped["desiredStatus"], &container["lastStatus"]),
            (&json!("STOPPED"), &json!("STOPPED"))
        );
        for moment in ["createdAt", "stoppedAt", "executionStoppedAt"] {
            let given = stopped[moment].is_number();
            assert!(given || moment == "executionStoppedAt", "{family}: {moment} in {stopped:#}");
        }
    }
}

#[tokio::test]
async fn a_stopped_task_may_say_goodbye_within_its_grace() {
    let world = World::start().await;
    let polite = "trap 'echo bye; exit 5' TERM; while :; do sleep 3600 & wait $!; done";
    let deaf = "trap '' TERM; echo deaf; while :; do sleep 1; done";
    for (family, script, exit_code, said) in [("polite", polite, 5, "bye\n"), ("deaf", deaf, 137, "deaf\n")] {
        let arn = world.run(task(family, &[shell("main", script, json!({"stopTimeout": 2}))])).await;
        world.await_task(&arn, "RUNNING").await;
        let answer = world.api.call("StopTask", json!({"task": arn, "reason": "enough"})).await;
        assert_eq!(answer["task"]["desiredStatus"], "STOPPED");
        let stopped = world.await_task(&arn, "STOPPED").await;
        assert_eq!(stopped["stopCode"], "UserInitiated");
        assert_eq!(stopped["stoppedReason"], "enough");
        assert_eq!(stopped["containers"][0]["exitCode"], exit_code, "{family}: {stopped:#}");
        assert_eq!(world.logs(&arn, "main").await, said, "{family}");
        assert_eq!(world.inspect(&arn, "main").await["State"]["Running"], false);
    }
}

#[tokio::test]
async fn one_slow_stop_holds_nobody_up() {
    let world = World::start().await;
    let deaf = "trap '' TERM; while :; do sleep 1; done";
    let slow = world.run(task("slow", &[shell("main", deaf, json!({"stopTimeout": 60}))])).await;
    world.await_task(&slow, "RUNNING").await;
    world.stop(&slow).await;
    let next = world.run(task("next", &[shell("main", "exit 0", json!({}))])).await;
    world.await_task(&next, "STOPPED").await;
    assert_eq!(world.api.task(&slow).await["lastStatus"], "RUNNING", "it has its grace");
}

#[tokio::test]
async fn only_an_essential_container_takes_its_task_with_it() {
    let world = World::start().await;
    let side = shell("side", "exit 3", json!({"essential": false}));
    let arn = world.run(task("side-first", &[idle("main", json!({})), side])).await;
    let seen = ecsr_tests::wait::until("the side container to be reported STOPPED", async || {
        let seen = world.api.task(&arn).await;
        let side = seen["containers"].as_array().into_iter().flatten().find(|one| one["name"] == "side");
        if side.is_some_and(|side| side["lastStatus"] == "STOPPED") { Ok(seen) } else { Err(seen) }
    })
    .await;
    assert_eq!(seen["desiredStatus"], "RUNNING", "{seen:#}");
    world.await_task(&arn, "RUNNING").await;
    world.stop(&arn).await;

    let arn =
        world.run(task("main-first", &[shell("main", "sleep 1", json!({})), idle("side", json!({}))])).await;
    let stopped = world.await_task(&arn, "STOPPED").await;
    assert_eq!(stopped["stopCode"], "EssentialContainerExited");
    assert_eq!(world.inspect(&arn, "side").await["State"]["Running"], false);
}

#[tokio::test]
async fn a_restart_policy_restarts_in_place() {
    let world = World::start().await;
    let script =
        "n=$(cat /tmp/n || echo 0); echo $((n + 1)) >/tmp/n; [ $n -lt 1 ] && exit 9; exec sleep 3600";
    let policy = json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": 60}});
    let policy_ignoring = json!({"restartPolicy": {
        "enabled": true, "ignoredExitCodes": [4], "restartAttemptPeriod": 60,
    }});
    let ignoring = world.run(task("ignored", &[shell("main", "exit 4", policy_ignoring)])).await;
    let stopped = world.await_task(&ignoring, "STOPPED").await;
    assert_eq!(stopped["containers"][0]["exitCode"], 4, "{stopped:#}");
    // A container that ended before the period was over is not restarted either.
    let early = world.run(task("early", &[shell("main", script, policy)])).await;
    let stopped = world.await_task(&early, "STOPPED").await;
    assert_eq!(stopped["containers"][0]["exitCode"], 9, "{stopped:#}");
}
