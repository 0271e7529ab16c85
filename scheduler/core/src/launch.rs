//! Making a task: the one place where a task definition becomes something that runs on an instance.

use std::sync::Arc;

use ecsr_api::ecs;
use imbl::OrdSet;

use crate::context::Context;
use crate::ids::{ContainerId, Name, TaskId, TaskKey};
use crate::state::{
    Container, Definition, Desired, Endpoint, Health, Instance, Known, LaunchType, Origin, Tags, Task, Times,
};
use crate::task_definition::{Demand, demand};

/// The capability of an agent that runs on a host outside of EC2.
const EXTERNAL_CAPABILITY: &str = "ecs.capability.external";

/// What the tasks of one call or one deployment have in common.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    pub definition: &'a Definition,
    pub origin: Origin,
    pub group: Name,
    pub started_by: Option<Name>,
    pub overrides: Arc<ecs::TaskOverride>,
    pub demand: Arc<Demand>,
    pub launch_type: LaunchType,
    pub enable_execute_command: bool,
    pub tags: Arc<Tags>,
    /// None of them registered yet.
    pub endpoints: Box<[Endpoint]>,
    pub known_names: KnownNames,
}

/// Names that the state holds already, so that tasks need no copies of their own. One that is missing here costs memory
/// and changes nothing.
#[derive(Debug, Clone, Default)]
pub struct KnownNames {
    /// Of the definition's containers.
    pub containers: Arc<[Name]>,
    pub zones: OrdSet<Name>,
}

impl KnownNames {
    fn container(&self, text: &str) -> Name {
        let known = self.containers.iter().find(|name| &***name == text);
        known.cloned().unwrap_or_else(|| Name::from(text))
    }

    fn zone(&self, text: &str) -> Name {
        self.zones.get(text).cloned().unwrap_or_else(|| Name::from(text))
    }
}

impl Launch<'_> {
    /// A new task on an instance: PENDING, desired RUNNING.
    pub fn on(&self, instance: &Instance, context: &mut Context) -> Task {
        let containers = self.definition.document.container_definitions.iter().flatten();
        Task {
            key: TaskKey { cluster: instance.key.cluster.clone(), id: TaskId::fresh(context) },
            definition: self.definition.id.clone(),
            instance: instance.key.id,
            origin: self.origin.clone(),
            group: self.group.clone(),
            started_by: self.started_by.clone(),
            demand: self.demand.clone(),
            overrides: self.overrides.clone(),
            launch_type: self.launch_type,
            availability_zone: instance.availability_zone().map(|zone| self.known_names.zone(zone)),
            enable_execute_command: self.enable_execute_command,
            desired: Desired::Running,
            known: Known::Pending,
            acknowledged: false,
            containers: containers.map(|definition| self.container(definition, context)).collect(),
            endpoints: self.endpoints.clone(),
            tags: self.tags.clone(),
            times: Times {
                created: context.now,
                pull_started: None,
                pull_stopped: None,
                started: None,
                stopping: None,
                execution_stopped: None,
                stopped: None,
            },
            stop: None,
            version: 1,
        }
    }

    fn container(&self, definition: &ecs::ContainerDefinition, context: &mut Context) -> Container {
        Container {
            name: self.known_names.container(definition.name.as_deref().unwrap_or_default()),
            id: ContainerId::fresh(context),
            essential: definition.essential.unwrap_or(true),
            known: Known::Pending,
            runtime_id: None,
            image_digest: None,
            exit_code: None,
            reason: None,
            network_bindings: Box::default(),
            health: Health::Unknown,
            health_checked: is_health_checked(definition),
        }
    }
}

/// What a task needs of an instance: what its definition demands, and for EXTERNAL a host that is one.
pub fn needs(
    definition: &Definition,
    overrides: Option<&ecs::TaskOverride>,
    launch_type: LaunchType,
) -> Arc<Demand> {
    let mut needs = demand(&definition.document, overrides);
    match launch_type {
        LaunchType::Ec2 => {}
        LaunchType::External => needs.attributes.push(EXTERNAL_CAPABILITY.into()),
    }
    Arc::new(needs)
}

/// `["NONE"]` switches off the check that an image brings along.
fn is_health_checked(definition: &ecs::ContainerDefinition) -> bool {
    let command = definition.health_check.as_ref().and_then(|check| check.command.as_ref());
    command.is_some_and(|command| command.first().is_some_and(|first| first != "NONE"))
}
