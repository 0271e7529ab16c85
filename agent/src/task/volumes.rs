//! Volumes: what a container binds, which of them must be made first, and which go with the task.

use ecsr_api::acs::{Container, Task, Volume};

use super::{Refusal, names};
use crate::runtime::VolumeRequest;

/// What must be so with a volume before a container that mounts it can be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needed {
    /// It is made, or is there already.
    Make(VolumeRequest),
    /// Somebody else made it.
    Exist(String),
}

/// The container's mounts as Docker's binds: `source:target[:ro]`.
pub(crate) fn binds(task: &Task, container: &Container) -> Result<Vec<String>, Refusal> {
    container
        .mount_points
        .iter()
        .flatten()
        .map(|mount| {
            let target = mount.container_path.as_deref().unwrap_or_default();
            let source = source(task, find(task, mount.source_volume.as_deref())?);
            let mode = if mount.read_only == Some(true) { ":ro" } else { "" };
            Ok(format!("{source}:{target}{mode}"))
        })
        .collect()
}

/// The Docker volumes that the container mounts and that are not made by mounting them.
pub(crate) fn needed(task: &Task, container: &Container) -> Result<Vec<Needed>, Refusal> {
    let mut all = Vec::new();
    for mount in container.mount_points.iter().flatten() {
        let volume = find(task, mount.source_volume.as_deref())?;
        let Some(settings) = &volume.docker_volume_configuration else { continue };
        let name = source(task, volume);
        if is_shared(volume) && settings.autoprovision != Some(true) {
            all.push(Needed::Exist(name));
            continue;
        }
        all.push(Needed::Make(VolumeRequest {
            name,
            driver: settings.driver.clone().unwrap_or_default(),
            options: settings.driver_opts.clone().unwrap_or_default(),
            labels: settings.labels.clone().unwrap_or_default(),
        }));
    }
    Ok(all)
}

/// The names of the volumes that are removed with the task.
pub(crate) fn task_scoped(task: &Task) -> Vec<String> {
    task.volumes
        .iter()
        .flatten()
        .filter(|volume| host_path(volume).is_none() && !is_shared(volume))
        .map(|volume| source(task, volume))
        .collect()
}

fn find<'a>(task: &'a Task, name: Option<&str>) -> Result<&'a Volume, Refusal> {
    let name = name.unwrap_or_default();
    task.volumes
        .iter()
        .flatten()
        .find(|volume| volume.name.as_deref() == Some(name))
        .ok_or_else(|| Refusal::Invalid(format!("mountPoints names the unknown volume {name:?}")))
}

fn host_path(volume: &Volume) -> Option<&str> {
    if volume.docker_volume_configuration.is_some() {
        return None;
    }
    volume.host.as_ref()?.source_path.as_deref().filter(|path| !path.is_empty())
}

fn is_shared(volume: &Volume) -> bool {
    volume
        .docker_volume_configuration
        .as_ref()
        .is_some_and(|settings| settings.scope.as_deref() == Some("shared"))
}

/// The host path or the Docker volume behind a volume of the task.
fn source(task: &Task, volume: &Volume) -> String {
    let name = volume.name.as_deref().unwrap_or_default();
    match host_path(volume) {
        Some(path) => path.to_owned(),
        None if is_shared(volume) => name.to_owned(),
        None => names::volume(task, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = r#"{"arn":"t","family":"f","version":"1","volumes":[
        {"name":"etc","type":"host","host":{"sourcePath":"/etc"}},
        {"name":"scratch","type":"host","host":{}},
        {"name":"own","type":"docker","dockerVolumeConfiguration":{"scope":"task","driver":"local","labels":{"k":"v"}}},
        {"name":"made","type":"docker","dockerVolumeConfiguration":{"scope":"shared","autoprovision":true}},
        {"name":"there","type":"docker","dockerVolumeConfiguration":{"scope":"shared"}}]}"#;

    #[test]
    fn each_kind_of_volume_is_mounted_made_and_removed_in_its_way() {
        let task: Task = serde_json::from_str(TASK).unwrap();
        let container: Container = serde_json::from_str(
            r#"{"name":"a","mountPoints":[{"sourceVolume":"etc","containerPath":"/e","readOnly":true},
                {"sourceVolume":"scratch","containerPath":"/s"},{"sourceVolume":"own","containerPath":"/o"},
                {"sourceVolume":"made","containerPath":"/m"},{"sourceVolume":"there","containerPath":"/t"}]}"#,
        )
        .unwrap();
        let (scratch, own) = (names::volume(&task, "scratch"), names::volume(&task, "own"));
        let binds = binds(&task, &container).unwrap();
        let expected = [
            "/etc:/e:ro".to_owned(),
            format!("{scratch}:/s"),
            format!("{own}:/o"),
            "made:/m".to_owned(),
            "there:/t".to_owned(),
        ];
        assert_eq!(binds, expected);
        let needed = needed(&task, &container).unwrap();
        assert!(
            matches!(&needed[0], Needed::Make(request) if request.name == own && request.driver == "local")
        );
        assert!(matches!(&needed[1], Needed::Make(request) if request.name == "made"));
        assert_eq!(needed[2], Needed::Exist("there".to_owned()));
        assert_eq!(task_scoped(&task), [scratch, own]);
    }

    #[test]
    fn an_unknown_volume_is_refused() {
        let task: Task = serde_json::from_str(TASK).unwrap();
        let container = r#"{"name":"a","mountPoints":[{"sourceVolume":"nope","containerPath":"/n"}]}"#;
        assert!(binds(&task, &serde_json::from_str(container).unwrap()).is_err());
    }
}
