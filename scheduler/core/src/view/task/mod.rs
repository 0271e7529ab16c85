//! A task and its containers.
//!
//! The shown status is computed from what is desired and what is known, which the state keeps apart. What has not
//! happened yet is absent: a task that was just placed has no connectivity, no health and no times but `createdAt`.
//! Numbers of CPU units and MiB are strings on a task, as ECS has them.

mod revision;
#[cfg(test)]
mod tests;
mod wire;

use ecsr_api::ecs;
use serde::{Serialize, Serializer};

use self::revision::{Revision, Revisions};
pub use self::wire::Task as ShownTask;
use self::wire::{Attributes, ShownTags, StartedBy};
use super::ShowTags;
use super::arn::{Resource, Written};
use crate::ids::InstanceKey;
use crate::state::{Container, Desired, Health, Instance, InstanceStatus, Known, State, Task};

/// Tasks as ECS shows them, written as a list.
#[derive(Debug)]
pub struct Tasks<'a> {
    state: &'a State,
    listed: Vec<&'a Task>,
    show_tags: ShowTags,
    revisions: Revisions<'a>,
    prefix: String,
}

/// The answer to what asks about tasks.
#[derive(Debug, Serialize)]
pub struct TasksAnswer<'a> {
    pub failures: Vec<ecs::Failure>,
    pub tasks: Tasks<'a>,
}

impl<'a> Tasks<'a> {
    pub fn new(state: &'a State, listed: Vec<&'a Task>, show_tags: ShowTags) -> Self {
        let revisions = Revisions::of(state, &listed);
        Self { state, listed, show_tags, revisions, prefix: state.home.prefix() }
    }

    /// ECS's `Task` of each.
    pub fn iter(&self) -> impl Iterator<Item = ShownTask<'_>> {
        self.listed.iter().zip(self.revisions.iter()).map(|(task, revision)| self.show(task, revision))
    }

    fn show<'s>(&'s self, task: &'s Task, revision: &'s Revision<'_>) -> ShownTask<'s> {
        let host_key = InstanceKey { cluster: task.key.cluster.clone(), id: task.instance };
        let host = self.state.offers.get(&host_key);
        let arn = |resource| Written { prefix: &self.prefix, resource };
        let containers = task.containers.iter();
        // A task is placed only on an instance whose agent is connected at that moment.
        let connectivity = task.acknowledged.then(|| connectivity(host.map(|host| &*host.instance)));
        let deployment = task.deployment().map(StartedBy::Deployment);
        let times = &task.times;
        ShownTask {
            attachments: [],
            attributes: Attributes { architecture: host.and_then(|host| host.architecture.as_deref()) },
            availability_zone: task.availability_zone.as_deref(),
            cluster_arn: arn(Resource::Cluster(&task.key.cluster)),
            connectivity,
            connectivity_at: connectivity.map(|_| times.created),
            container_instance_arn: arn(Resource::Instance(host_key)),
            containers: containers.map(|container| self.container(task, container, revision)).collect(),
            cpu: &revision.cpu,
            created_at: times.created,
            desired_status: desired_status(task.desired),
            enable_execute_command: task.enable_execute_command,
            execution_stopped_at: times.execution_stopped,
            group: &task.group,
            health_status: has_health(task).then(|| task_health(task).as_str()),
            last_status: last_status(task),
            launch_type: task.launch_type.as_str(),
            memory: &revision.memory,
            overrides: &revision.overrides,
            pull_started_at: times.pull_started,
            pull_stopped_at: times.pull_stopped,
            started_at: times.started,
            started_by: deployment.or_else(|| task.started_by.as_deref().map(StartedBy::Caller)),
            stop_code: task.stop.as_ref().map(|stop| stop.code.as_str()),
            stopped_at: times.stopped,
            stopped_reason: task.stop.as_ref().map(|stop| stop.reason.as_str()),
            stopping_at: times.stopping,
            tags: ShownTags(match self.show_tags {
                ShowTags::Yes => Some(&task.tags),
                ShowTags::No => None,
            }),
            task_arn: arn(Resource::Task(&task.key)),
            task_definition_arn: arn(Resource::Definition(&task.definition)),
            version: task.version,
        }
    }

    fn container<'s>(
        &'s self,
        task: &'s Task,
        container: &'s Container,
        revision: &'s Revision<'_>,
    ) -> wire::Container<'s> {
        let defined = revision.container(&container.name);
        let arn = |resource| Written { prefix: &self.prefix, resource };
        let bound = container.known != Known::Pending || !container.network_bindings.is_empty();
        wire::Container {
            container_arn: arn(Resource::Container(&task.key, container.id)),
            cpu: defined.map_or("0", |defined| &defined.cpu),
            exit_code: container.exit_code,
            health_status: has_health(task).then(|| container.health.as_str()),
            image: defined.and_then(|defined| defined.image),
            image_digest: container.image_digest.as_ref(),
            last_status: container.known.as_str(),
            memory: defined.and_then(|defined| defined.memory.as_deref()),
            memory_reservation: defined.and_then(|defined| defined.memory_reservation.as_deref()),
            name: &container.name,
            network_bindings: bound.then_some(&container.network_bindings),
            network_interfaces: [],
            reason: container.reason.as_deref(),
            runtime_id: container.runtime_id.as_ref(),
            task_arn: arn(Resource::Task(&task.key)),
        }
    }
}

impl Serialize for Tasks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Only essential containers that have a health check count: HEALTHY if all are, UNHEALTHY if one is.
pub fn task_health(task: &Task) -> Health {
    let checked =
        || task.containers.iter().filter(|container| container.essential && container.health_checked);
    if checked().any(|container| container.health == Health::Unhealthy) {
        Health::Unhealthy
    } else if checked().next().is_some() && checked().all(|container| container.health == Health::Healthy) {
        Health::Healthy
    } else {
        Health::Unknown
    }
}

/// Health is spoken of from the moment that something runs.
fn has_health(task: &Task) -> bool {
    task.known != Known::Pending
        || task.containers.iter().any(|container| container.health != Health::Unknown)
}

/// A task that is to stop and that target groups still hold is DEACTIVATING.
fn last_status(task: &Task) -> &'static str {
    if task.is_held_back() { "DEACTIVATING" } else { task.known.as_str() }
}

fn desired_status(desired: Desired) -> &'static str {
    match desired {
        Desired::Running => "RUNNING",
        Desired::Stopped => "STOPPED",
    }
}

fn connectivity(host: Option<&Instance>) -> &'static str {
    let connected = host.is_some_and(|host| match host.status {
        InstanceStatus::Active | InstanceStatus::Draining => host.is_connected(),
        InstanceStatus::Inactive => false,
    });
    if connected { "CONNECTED" } else { "DISCONNECTED" }
}
