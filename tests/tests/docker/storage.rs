//! Volumes: what a task writes is where the definition says, for as long as it says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use ecsr_tests::World;
use ecsr_tests::spec::{idle, shell, task};
use serde_json::{Value, json};

/// A definition of `containers` with `volumes`.
fn with_volumes(family: &str, containers: &[Value], volumes: Value) -> Value {
    let mut definition = task(family, containers);
    definition["volumes"] = volumes;
    definition
}

fn mount(volume: &str, path: &str) -> Value {
    json!({"sourceVolume": volume, "containerPath": path})
}

#[tokio::test]
async fn a_host_directory_is_mounted_writable_or_read_only() {
    let world = World::start().await;
    let dir = world.dir().join("shared");
    fs::create_dir(&dir).expect("the world's directory is writable");
    fs::write(dir.join("in"), "from the host").expect("the directory was just made");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("the directory is ours");
    let read_only = json!({"sourceVolume": "dir", "containerPath": "/ro", "readOnly": true});
    let script = "cat /rw/in && echo out >/rw/out && if echo x >/ro/out2; then exit 9; fi";
    let members = json!({"mountPoints": [mount("dir", "/rw"), read_only]});
    let volumes = json!([{"name": "dir", "host": {"sourcePath": dir}}]);
    let arn = world.run(with_volumes("host-volume", &[shell("main", script, members)], volumes)).await;
    let stopped = world.await_task(&arn, "STOPPED").await;
    assert_eq!(stopped["containers"][0]["exitCode"], 0, "{stopped:#}");
    assert!(world.logs(&arn, "main").await.contains("from the host"));
    assert_eq!(fs::read_to_string(dir.join("out")).expect("the task wrote it"), "out\n");
}

#[tokio::test]
async fn containers_of_a_task_share_its_own_volume() {
    let world = World::start().await;
    let writer = json!({"essential": false, "mountPoints": [mount("scratch", "/w")]});
    let reader = json!({
        "mountPoints": [mount("scratch", "/r")],
        "dependsOn": [{"containerName": "writer", "condition": "SUCCESS"}],
    });
    let containers =
        [shell("writer", "echo handed over >/w/it", writer), shell("reader", "cat /r/it", reader)];
    for (family, volume) in [
        ("anonymous", json!({"name": "scratch", "host": {}})),
        (
            "docker-task",
            json!({"name": "scratch", "dockerVolumeConfiguration": {"scope": "task", "driver": "local"}}),
        ),
    ] {
        let arn = world.run(with_volumes(family, &containers, json!([volume]))).await;
        let stopped = world.await_task(&arn, "STOPPED").await;
        assert_eq!(world.logs(&arn, "reader").await, "handed over\n", "{family}: {stopped:#}");
    }
}

#[tokio::test]
async fn a_shared_volume_outlives_its_task() {
    let world = World::start().await;
    let name = format!("{}-kept", world.cluster);
    let settings =
        json!({"scope": "shared", "autoprovision": true, "driver": "local", "labels": {"kept-by": "test"}});
    let volumes = json!([{"name": name, "dockerVolumeConfiguration": settings}]);
    let members = json!({"mountPoints": [mount(&name, "/v")]});
    let mut said = String::new();
    for script in ["echo once >/v/it", "cat /v/it"] {
        let containers = [shell("main", script, members.clone())];
        let arn = world.run(with_volumes("shared-volume", &containers, volumes.clone())).await;
        let stopped = world.await_task(&arn, "STOPPED").await;
        assert_eq!(stopped["containers"][0]["exitCode"], 0, "{stopped:#}");
        said = world.logs(&arn, "main").await;
    }
    assert_eq!(said, "once\n");
    assert_eq!(world.engine.volumes(&name).await, [name.as_str()]);
    world.engine.remove_all(&world.cluster).await;
    world.engine.remove_volume(&name).await;
}

#[tokio::test]
async fn a_shared_volume_that_nobody_made_is_a_reason() {
    let world = World::start().await;
    let name = format!("{}-absent", world.cluster);
    let volumes =
        json!([{"name": name, "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": false}}]);
    let members = json!({"mountPoints": [mount(&name, "/v")]});
    let arn = world.run(with_volumes("absent-volume", &[shell("main", "true", members)], volumes)).await;
    let stopped = world.await_task(&arn, "STOPPED").await;
    let reason = stopped["containers"][0]["reason"].as_str().unwrap_or_default().to_owned()
        + stopped["stoppedReason"].as_str().unwrap_or_default();
    assert!(reason.contains(&name), "{stopped:#}");
    assert!(world.engine.volumes(&name).await.is_empty());
}

#[tokio::test]
async fn tmpfs_is_there_with_its_size_and_options() {
    let world = World::start().await;
    let members = json!({"linuxParameters": {"tmpfs": [
        {"containerPath": "/fast", "size": 4, "mountOptions": ["noexec"]},
    ]}});
    let arn = world.run(task("tmpfs", &[shell("main", "grep ' /fast ' /proc/mounts", members)])).await;
    world.await_task(&arn, "STOPPED").await;
    let line = world.logs(&arn, "main").await;
    assert!(line.starts_with("tmpfs /fast tmpfs"), "{line:?}");
    assert!(line.contains("noexec") && line.contains("size=4096k"), "{line:?}");
}

#[tokio::test]
async fn volumes_from_another_container_come_with_their_mounts() {
    let world = World::start().await;
    let holder = idle("holder", json!({"essential": false, "mountPoints": [mount("scratch", "/held")]}));
    let members = json!({"volumesFrom": [{"sourceContainer": "holder", "readOnly": true}]});
    let script = "if echo x >/held/x; then exit 9; fi; grep -q ' /held ' /proc/mounts";
    let containers = [holder, shell("main", script, members)];
    let arn = world.run(with_volumes("volumes-from", &containers, json!([{"name": "scratch"}]))).await;
    let stopped = world.await_task(&arn, "STOPPED").await;
    let main = stopped["containers"].as_array().into_iter().flatten().find(|one| one["name"] == "main");
    assert_eq!(main.map(|one| &one["exitCode"]), Some(&json!(0)), "{stopped:#}");
}
