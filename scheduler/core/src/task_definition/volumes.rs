//! Volumes of a task, and the mounts that name them.
//!
//! Invariant: every mount names a volume of the task, and every volume has at most one kind.

use std::collections::BTreeSet;

use ecsr_api::ecs;

use super::container::is_blank;
use super::{bad_setting, check_enum, containers};
use crate::names;
use crate::refusal::{Refusal, client};

/// Checks the volumes, then what the containers mount.
pub(super) fn check_all(definition: &ecs::TaskDefinition) -> Result<(), Refusal> {
    let volumes = definition.volumes.as_deref().unwrap_or_default();
    let mut known = BTreeSet::new();
    for volume in volumes {
        let name = volume.name.as_deref().unwrap_or_default();
        names::volume_name(name)?;
        if !known.insert(name) {
            return Err(client("Volume.name must be unique."));
        }
        check_volume(volume)?;
    }
    if volumes.iter().filter(|volume| volume.configured_at_launch == Some(true)).count() > 1 {
        return Err(client("Only one volume of a task definition can be configured at launch."));
    }
    containers(definition).iter().try_for_each(|container| check_mounts(container, &known))
}

fn check_volume(volume: &ecs::Volume) -> Result<(), Refusal> {
    let has_source = volume.host.as_ref().is_some_and(|host| host.source_path.is_some());
    let kinds = [
        has_source,
        volume.docker_volume_configuration.is_some(),
        volume.efs_volume_configuration.is_some(),
        volume.s3files_volume_configuration.is_some(),
        volume.fsx_windows_file_server_volume_configuration.is_some(),
        volume.configured_at_launch == Some(true),
    ];
    if kinds.iter().filter(|given| **given).count() > 1 {
        return Err(bad_volume(volume, "Only one volume configuration can be specified."));
    }
    let source = volume.host.as_ref().and_then(|host| host.source_path.as_deref());
    if source.is_some_and(|path| !path.is_empty() && !is_absolute(path)) {
        return Err(bad_volume(volume, "host.sourcePath must be an absolute path."));
    }
    if let Some(docker) = &volume.docker_volume_configuration {
        check_docker(docker, volume)?;
    }
    check_file_systems(volume)
}

fn check_docker(docker: &ecs::DockerVolumeConfiguration, volume: &ecs::Volume) -> Result<(), Refusal> {
    check_enum("dockerVolumeConfiguration.scope", docker.scope.as_deref(), ecs::enums::SCOPE)?;
    if docker.autoprovision == Some(true) && docker.scope.as_deref() != Some("shared") {
        return Err(bad_volume(volume, "autoprovision can only be used with the scope 'shared'."));
    }
    Ok(())
}

fn check_file_systems(volume: &ecs::Volume) -> Result<(), Refusal> {
    if let Some(efs) = &volume.efs_volume_configuration {
        check_efs(efs, volume)?;
    }
    let s3 = volume.s3files_volume_configuration.as_ref();
    if s3.is_some_and(|s3| is_blank(s3.file_system_arn.as_deref())) {
        return Err(bad_volume(volume, "fileSystemArn must be specified."));
    }
    let fsx = volume.fsx_windows_file_server_volume_configuration.as_ref();
    if fsx.is_some_and(|fsx| is_blank(fsx.file_system_id.as_deref()) || fsx.authorization_config.is_none()) {
        return Err(bad_volume(volume, "fileSystemId and authorizationConfig must be specified."));
    }
    Ok(())
}

fn check_efs(efs: &ecs::EFSVolumeConfiguration, volume: &ecs::Volume) -> Result<(), Refusal> {
    if is_blank(efs.file_system_id.as_deref()) {
        return Err(bad_volume(volume, "fileSystemId must be specified."));
    }
    check_enum("transitEncryption", efs.transit_encryption.as_deref(), ecs::enums::EFS_TRANSIT_ENCRYPTION)?;
    if efs.transit_encryption_port.is_some_and(|port| !(1..=65535).contains(&port)) {
        return Err(bad_volume(volume, "transitEncryptionPort must be between 1 and 65535."));
    }
    let authorization = efs.authorization_config.as_ref();
    let iam = authorization.and_then(|config| config.iam.as_deref());
    check_enum("authorizationConfig.iam", iam, ecs::enums::EFS_AUTHORIZATION_CONFIG_IAM)?;
    let access_point = authorization.is_some_and(|config| config.access_point_id.is_some());
    let encrypted = efs.transit_encryption.as_deref() == Some("ENABLED");
    if (access_point || iam == Some("ENABLED")) && !encrypted {
        return Err(bad_volume(volume, "transitEncryption must be ENABLED to use an access point or IAM."));
    }
    if access_point && !matches!(efs.root_directory.as_deref(), None | Some("/" | "")) {
        return Err(bad_volume(volume, "rootDirectory must be omitted or '/' with an access point."));
    }
    Ok(())
}

fn check_mounts(container: &ecs::ContainerDefinition, known: &BTreeSet<&str>) -> Result<(), Refusal> {
    for mount in container.mount_points.as_deref().unwrap_or_default() {
        let source = mount.source_volume.as_deref().unwrap_or_default();
        if !known.contains(source) {
            return Err(client(format!("Unknown volume '{source}'.")));
        }
        if is_blank(mount.container_path.as_deref()) {
            return Err(bad_setting("mountPoints.containerPath", container));
        }
    }
    Ok(())
}

/// Absolute on Linux or on Windows.
fn is_absolute(path: &str) -> bool {
    path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':')
}

fn bad_volume(volume: &ecs::Volume, why: &str) -> Refusal {
    client(format!("Invalid setting for volume '{}'. {why}", volume.name.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{check_accepted, check_refusal, minimal};

    fn volumes(volume: Value) -> Value {
        json!({ "volumes": Value::Array(vec![volume]) })
    }

    #[test]
    fn volumes_have_one_kind_and_a_name() {
        check_accepted(volumes(json!({"name": "v"})));
        check_accepted(volumes(json!({"name": "v", "host": {}})));
        check_accepted(volumes(json!({"name": "v", "host": {"sourcePath": "/srv"}})));
        check_refusal(volumes(json!({"host": {}})), "Volume.name should not be null or empty.");
        check_refusal(json!({"volumes": [{"name": "v"}, {"name": "v"}]}), "Volume.name must be unique.");
        check_refusal(
            volumes(json!({"name": "v", "host": {"sourcePath": "srv"}})),
            "Invalid setting for volume 'v'. host.sourcePath must be an absolute path.",
        );
        check_refusal(
            volumes(json!({"name": "v", "host": {"sourcePath": "/srv"}, "dockerVolumeConfiguration": {}})),
            "Invalid setting for volume 'v'. Only one volume configuration can be specified.",
        );
        check_refusal(
            json!({"volumes": [{"name": "v", "configuredAtLaunch": true}, {"name": "w", "configuredAtLaunch": true}]}),
            "Only one volume of a task definition can be configured at launch.",
        );
    }

    #[test]
    fn docker_and_efs_volumes() {
        let docker = |config: Value| volumes(json!({"name": "v", "dockerVolumeConfiguration": config}));
        check_accepted(docker(json!({"scope": "shared", "autoprovision": true, "driver": "local"})));
        check_refusal(
            docker(json!({"scope": "task", "autoprovision": true})),
            "Invalid setting for volume 'v'. autoprovision can only be used with the scope 'shared'.",
        );
        check_refusal(
            docker(json!({"scope": "world"})),
            "Invalid value 'world' for dockerVolumeConfiguration.scope. Valid values are: task, shared.",
        );
        let efs = |config: Value| volumes(json!({"name": "v", "efsVolumeConfiguration": config}));
        check_accepted(efs(json!({"fileSystemId": "fs-1", "rootDirectory": "/data"})));
        check_refusal(efs(json!({})), "Invalid setting for volume 'v'. fileSystemId must be specified.");
        check_refusal(
            efs(json!({"fileSystemId": "fs-1", "authorizationConfig": {"iam": "ENABLED"}})),
            "Invalid setting for volume 'v'. transitEncryption must be ENABLED to use an access point or IAM.",
        );
        check_refusal(
            efs(json!({"fileSystemId": "fs-1", "transitEncryption": "ENABLED", "rootDirectory": "/data",
                "authorizationConfig": {"accessPointId": "fsap-1"}})),
            "Invalid setting for volume 'v'. rootDirectory must be omitted or '/' with an access point.",
        );
    }

    #[test]
    fn mounts_name_a_volume_and_a_path() {
        let mounted = |mount: Value| {
            let mut task = minimal();
            task["volumes"] = json!([{"name": "data"}]);
            task["containerDefinitions"][0]["mountPoints"] = json!([mount]);
            task
        };
        check_accepted(mounted(json!({"sourceVolume": "data", "containerPath": "/data", "readOnly": true})));
        check_refusal(mounted(json!({"sourceVolume": "v", "containerPath": "/data"})), "Unknown volume 'v'.");
        check_refusal(
            mounted(json!({"sourceVolume": "data"})),
            "Invalid 'mountPoints.containerPath' setting for container 'app'.",
        );
    }
}
