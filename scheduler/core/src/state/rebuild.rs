//! A state built from what a journal holds, which is all of it at once.
//!
//! Nobody looks at the state before the last event is in. So tasks are changed where they lie, and what is derived of
//! them is derived once, at the end, rather than after each of the events that made them what they are: that is most of
//! what [`State::apply`] costs.
//!
//! Invariant: the state is the one that the same events give when they are applied one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_api::arn::Home;

use super::apply::{request_stop, take_health, take_report};
use super::endpoint::take_targets;
use super::{Alike, Event, State, Task};
use crate::ids::TaskKey;

/// A state that is being built.
#[derive(Debug)]
pub struct Rebuild {
    /// Everything but the tasks and what is derived of them.
    state: State,
    tasks: BTreeMap<TaskKey, Arc<Task>>,
}

impl Rebuild {
    pub fn new(home: Home) -> Self {
        Self { state: State::new(home), tasks: BTreeMap::new() }
    }

    /// Takes one fact in.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::TaskPlaced(task) => {
                let task = self.shared(task);
                self.tasks.insert(task.key.clone(), task);
            }
            Event::TaskAcknowledged(key) => self.change(&key, |task| task.acknowledged = true),
            Event::TaskStopRequested { task, at, stop } => {
                self.change(&task, |task| request_stop(task, at, &stop));
            }
            Event::TaskReported { task, report } => self.change(&task, |task| take_report(task, &report)),
            Event::TaskHealthReported { task, health } => {
                self.change(&task, |task| take_health(task, &health));
            }
            Event::TaskTargetsReported { task, targets } => {
                self.change(&task, |task| take_targets(task, &targets));
            }
            Event::TaskForgotten(key) => drop(self.tasks.remove(&key)),
            Event::TaskTagged { task, tags } => self.change(&task, |task| task.tags = Arc::new(tags)),
            Event::ClusterSaved(_)
            | Event::DefinitionSaved(_)
            | Event::DefinitionForgotten(_)
            | Event::FamilySaved { .. }
            | Event::InstanceSaved(_)
            | Event::InstancePresence { .. }
            | Event::InstanceForgotten(_)
            | Event::ServiceSaved(_)
            | Event::ServiceForgotten(_)
            | Event::ServiceLogged { .. }
            | Event::TokenUsed(_)
            | Event::TokenForgotten { .. } => self.state.apply(&event),
        }
    }

    /// Takes tasks in, each with the number of what it is like.
    pub fn place(&mut self, tasks: Vec<(usize, Arc<Task>)>) {
        let mut known: BTreeMap<usize, Alike> = BTreeMap::new();
        for (number, mut task) in tasks {
            if let Some(alike) = known.get(&number) {
                alike.lend(Arc::make_mut(&mut task));
            } else {
                task = self.shared(task);
                known.insert(number, Alike::of(&task));
            }
            self.tasks.insert(task.key.clone(), task);
        }
    }

    /// The state, once every event was applied.
    pub fn finish(self) -> State {
        let Self { mut state, tasks } = self;
        state.put_all_tasks(tasks);
        state
    }

    fn shared(&mut self, task: Arc<Task>) -> Arc<Task> {
        // From the first on, those of its group share its name, though they are counted at the end only.
        self.state.peers.entry(task.peers()).or_default();
        self.state.shared(task)
    }

    fn change(&mut self, key: &TaskKey, change: impl FnOnce(&mut Task)) {
        if let Some(task) = self.tasks.get_mut(key) {
            change(Arc::make_mut(task));
        }
    }
}

#[cfg(test)]
mod tests {
    use ecsr_api::Timestamp;

    use super::*;
    use crate::check::check;
    use crate::state::{Desired, Known, Report, Stop, StopCode};
    use crate::view::testing::World;

    fn rebuilt(events: impl IntoIterator<Item = Event>, world: &World) -> State {
        let mut rebuild = Rebuild::new((*world.state.home).clone());
        events.into_iter().for_each(|event| rebuild.apply(event));
        rebuild.finish()
    }

    #[track_caller]
    fn assert_same(rebuilt: &State, applied: &State) {
        assert_eq!(rebuilt.events().collect::<Vec<_>>(), applied.events().collect::<Vec<_>>());
        assert_eq!(check(rebuilt), Vec::<String>::new());
    }

    #[test]
    fn a_state_is_rebuilt_from_its_events_and_from_its_rows() {
        let mut world = World::with_service();
        world.add_task(0x01, |_| {});
        world.add_task(0x02, |task| {
            task.desired = Desired::Stopped;
            task.known = Known::Stopped;
            task.times.stopped = Some(Timestamp::from_seconds(5));
            task.stop = Some(Box::new(Stop { code: StopCode::UserInitiated, reason: "enough".to_owned() }));
        });
        assert_same(&rebuilt(world.state.events(), &world), &world.state);

        let mut rebuild = Rebuild::new((*world.state.home).clone());
        let mut rows = Vec::new();
        for event in world.state.events() {
            match event {
                Event::TaskPlaced(task) => {
                    let like =
                        rows.iter().find(|(_, known): &&(usize, Arc<Task>)| Alike::of(known).fits(&task));
                    let number = like.map_or(rows.len(), |(number, _)| *number);
                    rows.push((number, Arc::new(Task::clone(&task))));
                }
                other => rebuild.apply(other),
            }
        }
        rebuild.place(rows);
        assert_same(&rebuild.finish(), &world.state);
    }

    #[test]
    fn what_happened_to_tasks_is_rebuilt() {
        let mut world = World::with_service();
        let keys: Vec<_> = world.state.tasks.keys().cloned().collect();
        let at = Timestamp::from_seconds(9);
        let stop = Stop { code: StopCode::UserInitiated, reason: "enough".to_owned() };
        let forgotten = world.add_task(0x03, |_| {});
        let mut happened: Vec<Event> = world.state.events().collect();
        let later = [
            Event::TaskAcknowledged(keys[0].clone()),
            Event::TaskStopRequested { task: keys[0].clone(), at, stop: stop.clone() },
            Event::TaskReported { task: keys[0].clone(), report: Report::ended(at, None) },
            Event::TaskTagged { task: keys[1].clone(), tags: [("a".to_owned(), "b".to_owned())].into() },
            Event::TaskForgotten(forgotten.clone()),
            Event::TaskAcknowledged(forgotten),
        ];
        happened.extend(later.clone());
        for event in &later {
            world.state.apply(event);
        }
        assert_same(&rebuilt(happened, &world), &world.state);
    }
}
