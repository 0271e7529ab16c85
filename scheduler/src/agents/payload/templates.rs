//! What the tasks of one revision have in common, made once: their containers, but for the ARNs.
//!
//! A service of a thousand tasks sends the same containers a thousand times. Making them out of the definition costs
//! more than all the rest of a message, copying them does not.
//!
//! Only tasks that were run without overrides share them. A revision never changes; should one of its name be another
//! document all the same, the template is made anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ecsr_api::{acs, ecs};
use ecsr_core::ids::DefinitionId;
use ecsr_core::state::Task;

use super::{Surroundings, build, container};

/// Most revisions that are remembered; beyond it all are forgotten. Those in use are made again at once.
const TEMPLATES_MAX: usize = 1024;

/// The templates of one scheduler. Cloning is cheap and shares them.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    kept: Arc<Mutex<BTreeMap<DefinitionId, Template>>>,
}

#[derive(Debug, Clone)]
struct Template {
    document: Arc<ecs::TaskDefinition>,
    containers: Arc<Vec<acs::Container>>,
}

impl Templates {
    /// The containers of a task, as an agent is told of them.
    pub(super) fn containers(&self, around: &Surroundings<'_>) -> Vec<acs::Container> {
        if !is_plain(around.task) {
            return build(around);
        }
        let template = self.of(around);
        let definitions = around.definition.container_definitions.iter().flatten();
        let arns = definitions.map(|definition| container::arn(around, definition));
        let with_arn = |(shared, container_arn): (&acs::Container, Option<String>)| acs::Container {
            container_arn,
            ..shared.clone()
        };
        template.iter().zip(arns).map(with_arn).collect()
    }

    fn of(&self, around: &Surroundings<'_>) -> Arc<Vec<acs::Container>> {
        let id = &around.task.definition;
        let document = &around.state.definition(id).document;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = kept.get(id).filter(|template| Arc::ptr_eq(&template.document, document)) {
            return template.containers.clone();
        }
        if kept.len() == TEMPLATES_MAX {
            kept.clear();
        }
        let mut containers = build(around);
        for container in &mut containers {
            container.container_arn = None;
        }
        let template = Template { document: document.clone(), containers: Arc::new(containers) };
        kept.insert(id.clone(), template.clone());
        template.containers
    }
}

/// Whether its containers depend on nothing but its definition.
fn is_plain(task: &Task) -> bool {
    !task.enable_execute_command && *task.overrides == ecs::TaskOverride::default()
}
