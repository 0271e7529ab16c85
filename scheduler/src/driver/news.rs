//! Who has something to hear of what happened.
//!
//! An agent's session needs to look only at the tasks of its instance that changed; which those are is noted down as
//! the events of a batch are applied. What is noted is a hint to look at the state, never the thing itself: a session
//! that lost a hint looks at everything.

use std::collections::{BTreeMap, BTreeSet};

use ecsr_core::State;
use ecsr_core::ids::{InstanceKey, TaskId, TaskKey};
use ecsr_core::state::{Event, Known};

/// Most tasks that are named one by one; beyond it a look at everything costs no more.
const TASKS_NAMED_MAX: usize = 256;

/// What of an instance is worth a look. The instance itself always is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Only these of its tasks.
    Tasks(BTreeSet<TaskId>),
    /// All of them.
    Everything,
}

/// The news of a batch by instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stirred {
    instances: BTreeMap<InstanceKey, News>,
}

impl Default for News {
    fn default() -> Self {
        Self::Tasks(BTreeSet::new())
    }
}

impl News {
    /// Adds later news of the same instance.
    pub fn add(&mut self, later: Self) {
        match (&mut *self, later) {
            (Self::Everything, _) => {}
            (_, Self::Everything) => *self = Self::Everything,
            (Self::Tasks(tasks), Self::Tasks(more)) => {
                tasks.extend(more);
                if tasks.len() > TASKS_NAMED_MAX {
                    *self = Self::Everything;
                }
            }
        }
    }
}

impl Stirred {
    /// Notes what an event, already applied to the state, means to agents.
    pub(super) fn take_note(&mut self, state: &State, event: &Event) {
        match event {
            Event::InstanceSaved(instance) => self.note(instance.key.clone(), None),
            Event::InstancePresence { instance: key, .. } | Event::InstanceForgotten(key) => {
                self.note(key.clone(), None);
            }
            Event::TaskPlaced(task) => {
                let instance = InstanceKey { cluster: task.key.cluster.clone(), id: task.instance };
                self.note(instance, Some(task.key.id));
            }
            // A task that its target groups have let go of can be stopped.
            Event::TaskStopRequested { task, .. } | Event::TaskTargetsReported { task, .. } => {
                self.note_task(state, task);
            }
            // What an agent itself reported is no news to it, but what is over can be forgotten.
            Event::TaskReported { task, report } if report.known == Known::Stopped => {
                self.note_task(state, task);
            }
            Event::TaskReported { .. }
            | Event::ClusterSaved(_)
            | Event::DefinitionSaved(_)
            | Event::DefinitionForgotten(_)
            | Event::FamilySaved { .. }
            | Event::ServiceSaved(_)
            | Event::ServiceForgotten(_)
            | Event::ServiceLogged { .. }
            | Event::TaskAcknowledged(_)
            | Event::TaskHealthReported { .. }
            | Event::TaskForgotten(_)
            | Event::TaskTagged { .. }
            | Event::TokenUsed(_)
            | Event::TokenForgotten { .. } => {}
        }
    }

    /// The instances and their news.
    pub fn into_instances(self) -> impl Iterator<Item = (InstanceKey, News)> {
        self.instances.into_iter()
    }

    fn note_task(&mut self, state: &State, key: &TaskKey) {
        if let Some(task) = state.tasks.get(key) {
            let instance = InstanceKey { cluster: key.cluster.clone(), id: task.instance };
            self.note(instance, Some(key.id));
        }
    }

    fn note(&mut self, instance: InstanceKey, task: Option<TaskId>) {
        self.instances.entry(instance).or_default().add(News::Tasks(task.into_iter().collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn agents_hear_of_their_own_tasks_only() {
        let world = World::with_tasks(2);
        let mut stirred = Stirred::default();
        for task in world.state.tasks.values() {
            stirred.take_note(&world.state, &Event::TaskPlaced(task.clone()));
            stirred.take_note(&world.state, &Event::TaskAcknowledged(task.key.clone()));
        }
        let news: Vec<_> = stirred.into_instances().collect();
        let tasks = world.tasks.iter().map(|key| key.id).collect();
        assert_eq!(news, [(world.instance, News::Tasks(tasks))]);
    }

    #[test]
    fn many_tasks_are_everything() {
        let id = |number: usize| format!("{number:032x}").parse().unwrap();
        let mut news = News::default();
        for number in 0..TASKS_NAMED_MAX {
            news.add(News::Tasks([id(number)].into()));
        }
        assert!(matches!(&news, News::Tasks(tasks) if tasks.len() == TASKS_NAMED_MAX));
        news.add(News::Tasks([id(TASKS_NAMED_MAX)].into()));
        assert_eq!(news, News::Everything);
        news.add(News::default());
        assert_eq!(news, News::Everything);
    }
}
