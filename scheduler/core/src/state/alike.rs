//! Tasks as a snapshot writes them: what many have in common once, and a short row for each.
//!
//! A task by itself is more than a thousand bytes of JSON, most of which it shares with every other of its service. A
//! row has what is its own, in a fixed order and without names: a fifth of that, and a start reads a million of them.
//!
//! A new member of a row goes to its end and is `#[serde(default)]`; so does one of [`Alike`], wherever it stands.
//!
//! Invariant: a row and what it is like give the very task that they were made of.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ecsr_api::{Timestamp, ecs};
use serde::{Deserialize, Serialize};

use super::compact::ShortBinding;
use super::{
    Container, Desired, Endpoint, Health, HexText, Known, LaunchType, Origin, Registration, Stop, Tags, Task,
    Times,
};
use crate::ids::{ContainerId, DefinitionId, InstanceId, Name, TaskId, TaskKey};
use crate::task_definition::Demand;

/// What many tasks have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alike {
    cluster: Name,
    definition: DefinitionId,
    origin: Origin,
    group: Name,
    started_by: Option<Name>,
    demand: Arc<Demand>,
    overrides: Arc<ecs::TaskOverride>,
    launch_type: LaunchType,
    availability_zone: Option<Name>,
    enable_execute_command: bool,
    tags: Arc<Tags>,
    containers: Vec<AlikeContainer>,
    #[serde(default)]
    endpoints: Vec<AlikeEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AlikeContainer {
    name: Name,
    essential: bool,
    health_checked: bool,
    image_digest: Option<HexText>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AlikeEndpoint {
    group: Name,
    container: Name,
    port: u16,
}

impl Alike {
    pub fn of(task: &Task) -> Self {
        let containers = task.containers.iter().map(|container| AlikeContainer {
            name: container.name.clone(),
            essential: container.essential,
            health_checked: container.health_checked,
            image_digest: container.image_digest.clone(),
        });
        Self {
            cluster: task.key.cluster.clone(),
            definition: task.definition.clone(),
            origin: task.origin.clone(),
            group: task.group.clone(),
            started_by: task.started_by.clone(),
            demand: task.demand.clone(),
            overrides: task.overrides.clone(),
            launch_type: task.launch_type,
            availability_zone: task.availability_zone.clone(),
            enable_execute_command: task.enable_execute_command,
            tags: task.tags.clone(),
            containers: containers.collect(),
            endpoints: task.endpoints.iter().map(AlikeEndpoint::of).collect(),
        }
    }

    /// Whether a task has all of it.
    pub fn fits(&self, task: &Task) -> bool {
        self.cluster == task.key.cluster
            && self.definition == task.definition
            && self.origin == task.origin
            && self.group == task.group
            && self.started_by == task.started_by
            && same(&self.demand, &task.demand)
            && same(&self.overrides, &task.overrides)
            && self.launch_type == task.launch_type
            && self.availability_zone == task.availability_zone
            && self.enable_execute_command == task.enable_execute_command
            && same(&self.tags, &task.tags)
            && self.containers.len() == task.containers.len()
            && self.containers.iter().zip(&task.containers).all(|(own, container)| own.fits(container))
            && self.endpoints.len() == task.endpoints.len()
            && self.endpoints.iter().zip(&task.endpoints).all(|(own, one)| own.fits(one))
    }

    /// A number that is the same for tasks that are alike, and mostly another for others.
    pub fn hint(task: &Task) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&task.definition.family, task.definition.revision).hash(&mut hasher);
        (task.deployment(), &task.availability_zone, &task.started_by).hash(&mut hasher);
        for container in &task.containers {
            container.image_digest.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Has an equal task share these parts.
    pub(super) fn lend(&self, task: &mut Task) {
        task.key.cluster = self.cluster.clone();
        task.definition = self.definition.clone();
        task.origin = self.origin.clone();
        task.group = self.group.clone();
        task.started_by.clone_from(&self.started_by);
        task.demand = self.demand.clone();
        task.overrides = self.overrides.clone();
        task.availability_zone.clone_from(&self.availability_zone);
        task.tags = self.tags.clone();
        for (container, own) in task.containers.iter_mut().zip(&self.containers) {
            container.name = own.name.clone();
        }
        for (endpoint, own) in task.endpoints.iter_mut().zip(&self.endpoints) {
            (endpoint.group, endpoint.container) = (own.group.clone(), own.container.clone());
        }
    }
}

impl AlikeContainer {
    fn fits(&self, container: &Container) -> bool {
        self.name == container.name
            && self.essential == container.essential
            && self.health_checked == container.health_checked
            && self.image_digest == container.image_digest
    }
}

impl AlikeEndpoint {
    fn of(endpoint: &Endpoint) -> Self {
        Self { group: endpoint.group.clone(), container: endpoint.container.clone(), port: endpoint.port }
    }

    fn fits(&self, endpoint: &Endpoint) -> bool {
        self.group == endpoint.group && self.container == endpoint.container && self.port == endpoint.port
    }

    fn endpoint(&self, registration: Option<Registration>) -> Endpoint {
        Endpoint {
            group: self.group.clone(),
            container: self.container.clone(),
            port: self.port,
            registration,
        }
    }
}

fn same<T: PartialEq>(one: &Arc<T>, other: &Arc<T>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// What is a task's own, to be read: first the number of what it is like.
#[derive(Debug, Deserialize)]
pub struct Row(
    usize,
    TaskId,
    InstanceId,
    Desired,
    Known,
    bool,
    Vec<RowContainer>,
    RowTimes,
    Option<Box<Stop>>,
    i64,
    /// Of the endpoints, in their order; nothing for a task that has none.
    #[serde(default)]
    Vec<Option<Registration>>,
);

#[derive(Debug, Deserialize)]
struct RowContainer(
    ContainerId,
    Known,
    Option<HexText>,
    Option<i32>,
    Option<Box<str>>,
    Vec<ShortBinding>,
    Health,
);

/// In milliseconds, in the order of [`Times`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct RowTimes(i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

/// What is a task's own, to be written.
#[derive(Debug, Serialize)]
pub struct RowOf<'a>(
    usize,
    TaskId,
    InstanceId,
    Desired,
    Known,
    bool,
    Vec<RowContainerOf<'a>>,
    RowTimes,
    &'a Option<Box<Stop>>,
    i64,
    #[serde(skip_serializing_if = "Vec::is_empty")] Vec<&'a Option<Registration>>,
);

#[derive(Debug, Serialize)]
struct RowContainerOf<'a>(
    ContainerId,
    Known,
    &'a Option<HexText>,
    Option<i32>,
    &'a Option<Box<str>>,
    Vec<ShortBinding>,
    Health,
);

impl Row {
    /// The number of what the task is like.
    pub fn alike(&self) -> usize {
        self.0
    }

    /// The task; `None` if it cannot be like that.
    pub fn task(self, alike: &Alike) -> Option<Task> {
        let Self(_, id, instance, desired, known, acknowledged, own, times, stop, version, registrations) =
            self;
        let all_there = own.len() == alike.containers.len() && registrations.len() == alike.endpoints.len();
        let containers = alike.containers.iter().zip(own).map(|(alike, own)| own.container(alike));
        let endpoints = alike.endpoints.iter().zip(registrations).map(|(alike, own)| alike.endpoint(own));
        all_there.then(|| Task {
            key: TaskKey { cluster: alike.cluster.clone(), id },
            definition: alike.definition.clone(),
            instance,
            origin: alike.origin.clone(),
            group: alike.group.clone(),
            started_by: alike.started_by.clone(),
            demand: alike.demand.clone(),
            overrides: alike.overrides.clone(),
            launch_type: alike.launch_type,
            availability_zone: alike.availability_zone.clone(),
            enable_execute_command: alike.enable_execute_command,
            desired,
            known,
            acknowledged,
            containers: containers.collect(),
            endpoints: endpoints.collect(),
            tags: alike.tags.clone(),
            times: times.times(),
            stop,
            version,
        })
    }
}

impl RowContainer {
    fn container(self, alike: &AlikeContainer) -> Container {
        let Self(id, known, runtime_id, exit_code, reason, bindings, health) = self;
        Container {
            name: alike.name.clone(),
            id,
            essential: alike.essential,
            known,
            runtime_id,
            image_digest: alike.image_digest.clone(),
            exit_code,
            reason,
            network_bindings: bindings.into_iter().map(|ShortBinding(binding)| binding).collect(),
            health,
            health_checked: alike.health_checked,
        }
    }
}

impl RowTimes {
    fn of(times: &Times) -> Self {
        let Times { created, pull_started, pull_stopped, started, stopping, execution_stopped, stopped } =
            *times;
        let millis = |moment: Option<Timestamp>| moment.map(Timestamp::millis);
        Self(
            created.millis(),
            millis(pull_started),
            millis(pull_stopped),
            millis(started),
            millis(stopping),
            millis(execution_stopped),
            millis(stopped),
        )
    }

    fn times(self) -> Times {
        let moment = |millis: Option<i64>| millis.map(Timestamp::from_millis);
        Times {
            created: Timestamp::from_millis(self.0),
            pull_started: moment(self.1),
            pull_stopped: moment(self.2),
            started: moment(self.3),
            stopping: moment(self.4),
            execution_stopped: moment(self.5),
            stopped: moment(self.6),
        }
    }
}

impl<'a> RowOf<'a> {
    /// The row of a task that is like what has that number.
    pub fn new(alike: usize, task: &'a Task) -> Self {
        let containers = task.containers.iter().map(|container| {
            let bindings = container.network_bindings.iter().cloned().map(ShortBinding);
            RowContainerOf(
                container.id,
                container.known,
                &container.runtime_id,
                container.exit_code,
                &container.reason,
                bindings.collect(),
                container.health,
            )
        });
        Self(
            alike,
            task.key.id,
            task.instance,
            task.desired,
            task.known,
            task.acknowledged,
            containers.collect(),
            RowTimes::of(&task.times),
            &task.stop,
            task.version,
            task.endpoints.iter().map(|endpoint| &endpoint.registration).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::World;

    #[test]
    fn rows_give_the_tasks_that_they_were_made_of() {
        let mut world = World::with_service();
        world.add_task(0x01, |task| {
            task.origin = Origin::Standalone;
            task.started_by = Some("somebody".into());
            task.containers[0].reason = Some("it would not start".into());
            task.containers[0].exit_code = Some(3);
            task.times.stopping = Some(Timestamp::from_millis(1_700_000_000_123));
            task.stop = Some(Box::new(Stop {
                code: super::super::StopCode::TaskFailedToStart,
                reason: "it would not start".to_owned(),
            }));
        });
        for task in world.state.tasks.values() {
            let alike = serde_json::to_string(&Alike::of(task)).unwrap();
            let alike: Alike = serde_json::from_str(&alike).unwrap();
            assert!(alike.fits(task) && alike == Alike::of(task));
            let row = serde_json::to_string(&RowOf::new(7, task)).unwrap();
            let row: Row = serde_json::from_str(&row).unwrap();
            assert_eq!(row.alike(), 7);
            assert_eq!(row.task(&alike).unwrap(), Task::clone(task));
        }
        let [one, other] = [0xa1, 0x01].map(|number| {
            let id = crate::view::testing::task_id(number);
            world.state.tasks.values().find(|task| task.key.id == id).unwrap()
        });
        assert!(!Alike::of(one).fits(other) && Alike::hint(one) != Alike::hint(other));
    }
}
