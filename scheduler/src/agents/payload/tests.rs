//! What an agent is told of tasks, case by case: a container definition in, members of ACS out.

use serde_json::{Value, json};

use super::*;
use crate::testing::World;

/// The task as sent, of a definition with these members, run with these.
fn sent_with(container: &Value, definition: &Value, run: &Value) -> Value {
    let mut full = json!({"name": "web", "image": "busybox", "memory": 64});
    merge(&mut full, container);
    let mut document = json!({"family": "site", "containerDefinitions": [full]});
    merge(&mut document, definition);
    let mut world = World::with_definition(document);
    let mut call = json!({"taskDefinition": "site"});
    merge(&mut call, run);
    let key = world.run(call);
    serde_json::to_value(task(&world.state, &world.state.tasks[&key], &Templates::default())).unwrap()
}

fn sent(container: &Value) -> Value {
    sent_with(container, &json!({}), &json!({}))["containers"][0].clone()
}

fn merge(base: &mut Value, more: &Value) {
    let more = more.as_object().expect("an object").clone();
    base.as_object_mut().expect("an object").extend(more);
}

/// The Docker configuration, whose two texts are read.
fn docker(container: &Value) -> (Value, Value) {
    let sent = sent(container);
    let read = |name: &str| serde_json::from_str(sent["dockerConfig"][name].as_str().unwrap()).unwrap();
    (read("config"), read("hostConfig"))
}

#[test]
fn what_tasks_of_a_revision_share_is_what_each_would_be_sent() {
    let mut world = World::with_definition(json!({"family": "site", "containerDefinitions": [
        {"name": "web", "image": "busybox", "memory": 64}, {"name": "log", "image": "busybox", "memory": 16},
    ]}));
    let overrides = json!({"containerOverrides": [{"name": "web", "command": ["other"]}]});
    let keys = [json!({}), json!({}), json!({ "overrides": overrides })].map(|more| {
        let mut call = json!({"taskDefinition": "site"});
        merge(&mut call, &more);
        world.run(call)
    });
    let shared = Templates::default();
    for key in keys {
        let placed = &world.state.tasks[&key];
        let alone = task(&world.state, placed, &Templates::default());
        assert_eq!(task(&world.state, placed, &shared), alone);
    }
}

#[test]
fn a_task_names_itself_and_its_surroundings() {
    let task = sent_with(&json!({}), &json!({"cpu": "512", "memory": "1024"}), &json!({"group": "batch"}));
    assert!(task["arn"].as_str().unwrap().starts_with("arn:aws:ecs:us-east-1:123456789012:task/default/"));
    assert_eq!(task["taskClusterArn"], "arn:aws:ecs:us-east-1:123456789012:cluster/default");
    let check = |member: &str, expected: Value| assert_eq!(task[member], expected, "{member}");
    check("family", json!("site"));
    check("version", json!("1"));
    check("desiredStatus", json!("RUNNING"));
    check("taskDefinitionAccountId", json!("123456789012"));
    check("networkMode", json!("bridge"));
    check("group", json!("batch"));
    check("overrides", json!("{}"));
    check("cpu", json!(0.5));
    check("memory", json!(1024));
    check("volumes", json!([]));
}

#[test]
fn a_plain_container_says_no_more_than_it_must() {
    let container = sent(&json!({}));
    assert!(container["containerArn"].as_str().unwrap().contains(":container/default/"));
    let check = |member: &str, expected: Value| assert_eq!(container[member], expected, "{member}");
    check("name", json!("web"));
    check("image", json!("busybox"));
    check("cpu", json!(0));
    check("memory", json!(64));
    check("essential", json!(true));
    check("overrides", json!("{}"));
    check("environment", json!({"AWS_EXECUTION_ENV": "AWS_ECS_EC2"}));
    check(
        "dockerConfig",
        json!({"version": "1.18", "config": "{}", "hostConfig": "{\"NetworkMode\":\"bridge\"}"}),
    );
    for absent in
        ["command", "entryPoint", "healthCheckType", "secrets", "registryAuthentication", "managedAgents"]
    {
        check(absent, Value::Null);
    }
}

#[test]
fn what_acs_has_a_member_for_travels_in_it() {
    let check = |given: Value, member: &str, expected: Value| {
        assert_eq!(sent(&given)[member], expected, "{given}");
    };
    check(json!({"command": ["a", "b"]}), "command", json!(["a", "b"]));
    check(json!({"entryPoint": ["sh", "-c"]}), "entryPoint", json!(["sh", "-c"]));
    check(
        json!({"portMappings": [{"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "udp"}]}),
        "portMappings",
        json!([{"containerPort": 80, "hostPort": 0, "protocol": "tcp"},
               {"containerPort": 53, "hostPort": 5353, "protocol": "udp"}]),
    );
    check(json!({"stopTimeout": 7}), "stopTimeout", json!(7));
    check(json!({"startTimeout": 9}), "startTimeout", json!(9));
    check(json!({"privileged": true}), "privileged", json!(true));
    check(
        json!({"linuxParameters": {"initProcessEnabled": true, "devices": [{"hostPath": "/dev/fuse"}]}}),
        "linuxParameters",
        json!({"initProcessEnabled": true, "devices": [{"hostPath": "/dev/fuse", "containerPath": "/dev/fuse"}]}),
    );
    check(
        json!({"restartPolicy": {"enabled": true, "ignoredExitCodes": [0], "restartAttemptPeriod": 60}}),
        "restartPolicy",
        json!({"enabled": true, "ignoredExitCodes": [0], "restartAttemptPeriod": 60}),
    );
    check(
        json!({"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/web:1"}),
        "registryAuthentication",
        json!({"type": "ecr", "ecrAuthData":
            {"registryId": "123456789012", "region": "us-east-1", "useExecutionRole": false}}),
    );
}

#[test]
fn secrets_say_where_they_are_kept() {
    let asm = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:b";
    let secrets = json!([{"name": "A", "valueFrom": "plain"}, {"name": "B", "valueFrom": asm}]);
    let role = json!({"executionRoleArn": "arn:aws:iam::123456789012:role/ecs"});
    let task = sent_with(&json!({"secrets": secrets}), &role, &json!({}));
    let expected = json!([
        {"name": "A", "valueFrom": "plain", "region": "us-east-1", "provider": "ssm",
         "type": "ENVIRONMENT_VARIABLE", "target": "CONTAINER"},
        {"name": "B", "valueFrom": asm, "region": "eu-west-1", "provider": "asm",
         "type": "ENVIRONMENT_VARIABLE", "target": "CONTAINER"},
    ]);
    assert_eq!(task["containers"][0]["secrets"], expected);
}

#[test]
fn the_rest_of_a_container_is_dockers_config() {
    let check = |given: Value, expected: Value| assert_eq!(docker(&given).0, expected, "{given}");
    check(json!({"user": "1000:100"}), json!({"User": "1000:100"}));
    check(json!({"workingDirectory": "/srv"}), json!({"WorkingDir": "/srv"}));
    check(json!({"hostname": "h"}), json!({"Hostname": "h"}));
    check(json!({"dockerLabels": {"a": "b"}}), json!({"Labels": {"a": "b"}}));
    check(json!({"pseudoTerminal": true, "interactive": true}), json!({"Tty": true, "OpenStdin": true}));
    check(
        json!({"healthCheck": {"command": ["CMD-SHELL", "true"], "startPeriod": 3}}),
        json!({"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 30_000_000_000_i64,
            "Timeout": 5_000_000_000_i64, "StartPeriod": 3_000_000_000_i64, "Retries": 3}}),
    );
}

#[test]
fn the_rest_of_a_containers_host_is_dockers_host_config() {
    let check = |given: Value, expected: Value| {
        let mut host = docker(&given).1;
        host.as_object_mut().unwrap().remove("NetworkMode");
        assert_eq!(host, expected, "{given}");
    };
    check(json!({"memoryReservation": 32}), json!({"MemoryReservation": 33_554_432}));
    check(json!({"readonlyRootFilesystem": true}), json!({"ReadonlyRootfs": true}));
    check(json!({"privileged": true}), json!({"Privileged": true}));
    check(
        json!({"dnsServers": ["1.1.1.1"], "dnsSearchDomains": ["lan"]}),
        json!({"Dns": ["1.1.1.1"], "DnsSearch": ["lan"]}),
    );
    check(
        json!({"extraHosts": [{"hostname": "db", "ipAddress": "10.0.0.1"}]}),
        json!({"ExtraHosts": ["db:10.0.0.1"]}),
    );
    check(
        json!({"ulimits": [{"name": "nofile", "softLimit": 10, "hardLimit": 20}]}),
        json!({"Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}]}),
    );
    check(
        json!({"systemControls": [{"namespace": "net.core.somaxconn", "value": "99"}]}),
        json!({"Sysctls": {"net.core.somaxconn": "99"}}),
    );
    check(
        json!({"logConfiguration": {"logDriver": "json-file", "options": {"max-size": "1m"}}}),
        json!({"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}}),
    );
    check(
        json!({"linuxParameters": {"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}}),
        json!({"CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"]}),
    );
    check(
        json!({"linuxParameters": {"sharedMemorySize": 16, "initProcessEnabled": true}}),
        json!({"ShmSize": 16_777_216, "Init": true}),
    );
    check(
        json!({"linuxParameters": {"tmpfs": [{"containerPath": "/t", "size": 8, "mountOptions": ["noexec"]}]}}),
        json!({"Tmpfs": {"/t": "noexec,size=8m"}}),
    );
    check(
        json!({"linuxParameters": {"devices": [{"hostPath": "/dev/fuse", "permissions": ["read", "mknod"]}]}}),
        json!({"Devices": [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rm"}]}),
    );
    check(
        json!({"linuxParameters": {"maxSwap": 64, "swappiness": 10}}),
        json!({"MemorySwap": 134_217_728, "MemorySwappiness": 10}),
    );
}

#[test]
fn the_docker_api_version_is_the_lowest_that_does() {
    let check = |given: Value, expected: &str| {
        assert_eq!(sent(&given)["dockerConfig"]["version"], expected, "{given}");
    };
    check(json!({}), "1.18");
    check(json!({"memoryReservation": 32}), "1.21");
    check(json!({"linuxParameters": {"sharedMemorySize": 16}}), "1.22");
    check(json!({"healthCheck": {"command": ["CMD", "true"]}, "memoryReservation": 32}), "1.24");
    check(json!({"linuxParameters": {"initProcessEnabled": false}}), "1.25");
}

#[test]
fn a_health_check_is_announced_unless_it_is_switched_off() {
    let check = |command: Value, expected: Value| {
        let sent = sent(&json!({"healthCheck": {"command": command}}));
        assert_eq!(sent["healthCheckType"], expected);
    };
    check(json!(["CMD", "true"]), json!("docker"));
    check(json!(["NONE"]), Value::Null);
}

#[test]
fn overrides_are_merged_before_they_are_sent() {
    let given =
        json!({"command": ["a"], "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
    let change = json!({"name": "web", "command": ["b"], "memory": 128, "cpu": 7,
        "environment": [{"name": "B", "value": "3"}, {"name": "AWS_EXECUTION_ENV", "value": "mine"}]});
    let run = json!({"overrides": {"containerOverrides": [change]}});
    let container = sent_with(&given, &json!({}), &run)["containers"][0].clone();
    assert_eq!(container["command"], json!(["b"]));
    assert_eq!(container["environment"], json!({"A": "1", "B": "3", "AWS_EXECUTION_ENV": "mine"}));
    assert_eq!((&container["memory"], &container["cpu"]), (&json!(128), &json!(7)));
    assert_eq!(container["overrides"], "{}");
}

#[test]
fn the_network_mode_of_the_task_is_the_containers() {
    let task = sent_with(&json!({}), &json!({"networkMode": "host"}), &json!({}));
    assert_eq!(task["networkMode"], "host");
    let host: Value =
        serde_json::from_str(task["containers"][0]["dockerConfig"]["hostConfig"].as_str().unwrap()).unwrap();
    assert_eq!(host, json!({"NetworkMode": "host"}));
}
