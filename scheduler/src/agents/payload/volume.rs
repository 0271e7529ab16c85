//! The volumes of a task, for the agent.

use ecsr_api::{acs, ecs};

/// A volume under the type that its configuration says. An agent refuses a type that it does not know, so one that it
/// cannot provide is never taken for an empty directory.
pub(super) fn volume(volume: &ecs::Volume) -> acs::Volume {
    let kind = kind(volume);
    acs::Volume {
        name: volume.name.clone(),
        r#type: Some(kind.to_owned()),
        host: (kind == "host").then(|| host(volume)),
        docker_volume_configuration: volume.docker_volume_configuration.as_ref().map(docker),
        efs_volume_configuration: volume.efs_volume_configuration.as_ref().map(efs),
        ebs_volume_configuration: None,
        log_driver_volume_configuration: None,
    }
}

fn kind(volume: &ecs::Volume) -> &'static str {
    if volume.docker_volume_configuration.is_some() {
        "docker"
    } else if volume.efs_volume_configuration.is_some() {
        "efs"
    } else if volume.fsx_windows_file_server_volume_configuration.is_some() {
        "fsxWindowsFileServer"
    } else if volume.s3files_volume_configuration.is_some() {
        "s3files"
    } else if volume.configured_at_launch == Some(true) {
        "ebs"
    } else {
        "host"
    }
}

fn host(volume: &ecs::Volume) -> acs::HostVolumeProperties {
    let source_path = volume.host.as_ref().and_then(|host| host.source_path.clone());
    acs::HostVolumeProperties { source_path: source_path.filter(|path| !path.is_empty()) }
}

fn docker(configuration: &ecs::DockerVolumeConfiguration) -> acs::DockerVolumeConfiguration {
    acs::DockerVolumeConfiguration {
        // ECS's defaults: the volume lives as long as the task and is the engine's own.
        scope: Some(configuration.scope.clone().unwrap_or_else(|| "task".to_owned())),
        autoprovision: Some(configuration.autoprovision.unwrap_or_default()),
        driver: Some(configuration.driver.clone().unwrap_or_else(|| "local".to_owned())),
        driver_opts: configuration.driver_opts.clone(),
        labels: configuration.labels.clone(),
    }
}

fn efs(configuration: &ecs::EFSVolumeConfiguration) -> acs::EFSVolumeConfiguration {
    let authorization = |found: &ecs::EFSAuthorizationConfig| acs::EFSAuthorizationConfig {
        access_point_id: found.access_point_id.clone(),
        iam: found.iam.clone(),
    };
    acs::EFSVolumeConfiguration {
        file_system_id: configuration.file_system_id.clone(),
        root_directory: configuration.root_directory.clone(),
        transit_encryption: configuration.transit_encryption.clone(),
        transit_encryption_port: configuration.transit_encryption_port,
        authorization_config: configuration.authorization_config.as_ref().map(authorization),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn each_volume_has_the_type_of_its_configuration() {
        let check = |given: Value, expected: Value| {
            let given: ecs::Volume = serde_json::from_value(given).unwrap();
            assert_eq!(serde_json::to_value(volume(&given)).unwrap(), expected);
        };
        check(json!({"name": "v"}), json!({"name": "v", "type": "host", "host": {}}));
        check(
            json!({"name": "v", "host": {"sourcePath": ""}}),
            json!({"name": "v", "type": "host", "host": {}}),
        );
        check(
            json!({"name": "v", "host": {"sourcePath": "/srv"}}),
            json!({"name": "v", "type": "host", "host": {"sourcePath": "/srv"}}),
        );
        check(
            json!({"name": "v", "dockerVolumeConfiguration": {"labels": {"a": "b"}}}),
            json!({"name": "v", "type": "docker", "dockerVolumeConfiguration":
                {"scope": "task", "autoprovision": false, "driver": "local", "labels": {"a": "b"}}}),
        );
        check(
            json!({"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}),
            json!({"name": "v", "type": "efs", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}),
        );
        check(json!({"name": "v", "configuredAtLaunch": true}), json!({"name": "v", "type": "ebs"}));
    }
}
