//! What tasks show of their definition and overrides. Tasks of one definition that were started alike show the same, so
//! an answer works it out once for all of them.

use std::sync::Arc;

use ecsr_api::ecs;

use crate::state::{Definition, State, Task};
use crate::task_definition;

/// What is shown of a definition as it is run with some overrides.
#[derive(Debug)]
pub(super) struct Revision<'a> {
    definition: Option<&'a Arc<Definition>>,
    given: &'a Arc<ecs::TaskOverride>,
    pub cpu: String,
    pub memory: String,
    pub overrides: ecs::TaskOverride,
    containers: Vec<Defined<'a>>,
}

/// A container of the definition. Numbers of CPU units and MiB are strings on a task, as ECS has them.
#[derive(Debug)]
pub(super) struct Defined<'a> {
    name: &'a str,
    pub image: Option<&'a str>,
    pub cpu: String,
    pub memory: Option<String>,
    pub memory_reservation: Option<String>,
}

impl<'a> Revision<'a> {
    /// Without the definition, which is kept for as long as a task uses it, only what the task itself holds can be said.
    fn of(task: &'a Task, definition: Option<&'a Arc<Definition>>) -> Self {
        let given = &task.overrides;
        let Some(document) = definition.map(|definition| &*definition.document) else {
            return Self {
                definition,
                given,
                cpu: task.demand.cpu.to_string(),
                memory: task.demand.memory.to_string(),
                overrides: ecs::TaskOverride::clone(given),
                containers: Vec::new(),
            };
        };
        let size = task_definition::shown_size(document, Some(given));
        let containers = document.container_definitions.iter().flatten();
        Self {
            definition,
            given,
            cpu: size.cpu,
            memory: size.memory,
            overrides: task_definition::echo_overrides(document, Some(given)),
            containers: containers.map(|defined| Defined::of(defined, given)).collect(),
        }
    }

    fn is_of(&self, task: &Task, definition: Option<&Arc<Definition>>) -> bool {
        let same_definition = match (self.definition, definition) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, _) | (_, None) => false,
        };
        same_definition && Arc::ptr_eq(self.given, &task.overrides)
    }

    pub fn container(&self, name: &str) -> Option<&Defined<'a>> {
        self.containers.iter().find(|defined| defined.name == name)
    }
}

impl<'a> Defined<'a> {
    fn of(defined: &'a ecs::ContainerDefinition, overrides: &ecs::TaskOverride) -> Self {
        let effective = task_definition::apply(defined, Some(overrides));
        Self {
            name: defined.name.as_deref().unwrap_or_default(),
            image: defined.image.as_deref(),
            cpu: effective.cpu.unwrap_or(0).to_string(),
            memory: effective.memory.map(|memory| memory.to_string()),
            memory_reservation: effective.memory_reservation.map(|reservation| reservation.to_string()),
        }
    }
}

/// The revisions of some tasks, and which of them is whose.
#[derive(Debug, Default)]
pub(super) struct Revisions<'a> {
    distinct: Vec<Revision<'a>>,
    of_each: Vec<usize>,
}

impl<'a> Revisions<'a> {
    pub fn of(state: &'a State, tasks: &[&'a Task]) -> Self {
        let mut revisions = Self::default();
        for task in tasks {
            let definition = state.definitions.get(&task.definition);
            let known = revisions.distinct.iter().position(|known| known.is_of(task, definition));
            revisions.of_each.push(known.unwrap_or(revisions.distinct.len()));
            if known.is_none() {
                revisions.distinct.push(Revision::of(task, definition));
            }
        }
        revisions
    }

    /// In the order of the tasks.
    pub fn iter(&self) -> impl Iterator<Item = &Revision<'a>> {
        self.of_each.iter().map(|index| &self.distinct[*index])
    }
}
