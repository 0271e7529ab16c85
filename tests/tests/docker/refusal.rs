//! What cannot be done is refused with a reason, in the call or on the task: nothing is dropped silently, and
//! nothing runs half-configured.

use ecsr_tests::spec::{idle, laid_over, task};
use ecsr_tests::{Setup, World};
use serde_json::{Value, json};

/// Task definitions that ask for what this version does not do, and a word that the refusal must name.
fn unsupported() -> Vec<(Value, &'static str)> {
    let plain = || task("unsupported", &[idle("main", json!({}))]);
    let with = |members: Value| laid_over(plain(), members);
    let inside = |members: Value| task("unsupported", &[idle("main", members)]);
    let secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s";
    vec![
        (inside(json!({"secrets": [{"name": "S", "valueFrom": secret}]})), "secrets"),
        (
            inside(json!({"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::bucket/file.env"}]})),
            "env",
        ),
        (
            with(
                json!({"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-01234567"}}]}),
            ),
            "efs",
        ),
        (inside(json!({"firelensConfiguration": {"type": "fluentbit"}})), "firelens"),
    ]
}

#[tokio::test]
async fn what_the_agent_cannot_do_is_not_placed_on_it_or_ends_with_a_reason() {
    let world = World::start().await;
    for (definition, word) in unsupported() {
        let outcome = match world.api.try_call("RegisterTaskDefinition", definition).await {
            Err(refused) => refused.to_string(),
            Ok(_) => run_refused(&world).await,
        };
        let named = outcome.to_lowercase().contains(word) || outcome.contains("ATTRIBUTE");
        assert!(named, "{word}: {outcome}");
        assert_eq!(world.containers().await, [], "{word}: nothing of it ran");
    }
}

/// Why a task of the newest `unsupported` does not run.
async fn run_refused(world: &World) -> String {
    match world.api.try_call("RunTask", json!({"taskDefinition": "unsupported"})).await {
        Err(refused) => refused.to_string(),
        Ok(answer) if answer["tasks"] == json!([]) => answer["failures"].to_string(),
        Ok(answer) => {
            let arn = answer["tasks"][0]["taskArn"].as_str().unwrap_or_default().to_owned();
            world.await_task(&arn, "STOPPED").await.to_string()
        }
    }
}

#[tokio::test]
async fn what_no_instance_has_is_a_failure_that_says_what_is_missing() {
    let drivers = r#"["json-file"]"#.to_owned();
    let setup = Setup { agent: vec![("ECS_AVAILABLE_LOGGING_DRIVERS", drivers)], ..Setup::default() };
    let world = World::start_with(setup).await;
    for (members, reason) in [
        (json!({"memory": 100_000_000}), "RESOURCE:MEMORY"),
        (json!({"cpu": 1_000_000}), "RESOURCE:CPU"),
        (json!({"logConfiguration": {"logDriver": "syslog"}}), "ATTRIBUTE"),
    ] {
        world.register(task("greedy", &[idle("main", members.clone())])).await;
        let answer = world.api.call("RunTask", json!({"taskDefinition": "greedy"})).await;
        assert_eq!(answer["tasks"], json!([]), "{members}");
        assert_eq!(answer["failures"][0]["reason"], reason, "{members}: {answer:#}");
        assert!(answer["failures"][0]["arn"].as_str().is_some_and(|arn| arn.contains("container-instance/")));
    }
    assert_eq!(world.containers().await, []);
}

#[tokio::test]
async fn a_wait_that_cannot_succeed_ends_with_the_reason() {
    let world = World::start().await;
    let absent = json!({"image": "ecsr-test/absent:latest"});
    world.register(task("absent", &[idle("main", absent)])).await;
    world.register(task("greedy", &[idle("main", json!({"memory": 100_000_000}))])).await;
    for (family, reason) in [("absent", "CannotPullContainerError"), ("greedy", "memory")] {
        let output =
            world.ecsr(&["service", "create", "--task-definition", family, "--count", "2", "--wait"]);
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{family}: {said}");
        assert!(said.contains(reason), "{family}: {said}");
        world.api.call("DeleteService", json!({"service": family, "force": true})).await;
    }
}
