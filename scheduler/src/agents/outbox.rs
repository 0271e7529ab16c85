//! What one conversation has still to tell its instance. Pure: tasks in, tasks out.
//!
//! A task is due when the state wants something of the instance that this conversation has not said yet: to start it,
//! while the agent has not acknowledged it; to stop it, while it is not known to be STOPPED. Both are said once a
//! conversation, and again only after the agent refused the message that said it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ecsr_core::State;
use ecsr_core::ids::{InstanceKey, TaskId, TaskKey};
use ecsr_core::state::{Desired, Task};

/// Most messages whose acknowledgement is waited for. An agent acknowledges none that holds a task it cannot take, so
/// the oldest is given up beyond this; its tasks are sent again by the next conversation.
const UNACKNOWLEDGED_MAX: usize = 64;

/// What is said of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Start,
    Stop,
}

/// What a conversation has said, and what of it was heard.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    said: BTreeSet<(TaskId, Word)>,
    /// By message id, oldest last said at the back of `order`.
    unacknowledged: BTreeMap<String, Vec<(TaskKey, Word)>>,
    order: VecDeque<String>,
    /// Said in messages that the agent refused; to be said again after a while.
    refused: Vec<(TaskId, Word)>,
}

impl Outbox {
    /// Those of the instance's live tasks that are to be told of now: stops first, since they make room.
    pub(super) fn due(&self, live: &[Arc<Task>]) -> Vec<Arc<Task>> {
        let wanted = live.iter().filter_map(|task| Some((word(task)?, task)));
        let mut due: Vec<_> =
            wanted.filter(|(word, task)| !self.said.contains(&(task.key.id, *word))).collect();
        due.sort_by_key(|(word, task)| (std::cmp::Reverse(*word), task.times.created, task.key.id));
        due.into_iter().map(|(_, task)| task.clone()).collect()
    }

    /// Whether the agent has heard of a task, in this conversation or an earlier one.
    pub(super) fn has_told_to_start(&self, task: &Task) -> bool {
        task.acknowledged || self.said.contains(&(task.key.id, Word::Start))
    }

    /// Notes that a message told of these tasks.
    pub(super) fn sent(&mut self, message_id: String, tasks: &[Arc<Task>]) {
        let told: Vec<_> = tasks.iter().filter_map(|task| Some((task.key.clone(), word(task)?))).collect();
        self.said.extend(told.iter().map(|(key, word)| (key.id, *word)));
        if self.order.len() == UNACKNOWLEDGED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.unacknowledged.remove(&oldest);
        }
        self.order.push_back(message_id.clone());
        self.unacknowledged.insert(message_id, told);
    }

    /// The tasks that the agent has stored now that it acknowledged a message.
    pub(super) fn acknowledged(&mut self, message_id: &str) -> Vec<TaskKey> {
        let told = self.take(message_id);
        let starts = told.into_iter().filter(|(_, word)| *word == Word::Start);
        starts.map(|(key, _)| key).collect()
    }

    /// Notes that the agent refused a message, and gives the tasks in it.
    pub(super) fn refused(&mut self, message_id: &str) -> Vec<TaskKey> {
        let told = self.take(message_id);
        self.refused.extend(told.iter().map(|(key, word)| (key.id, *word)));
        told.into_iter().map(|(key, _)| key).collect()
    }

    /// Lets what was refused be said again.
    pub(super) fn forgive(&mut self) {
        for word in self.refused.drain(..) {
            self.said.remove(&word);
        }
    }

    /// Forgets what was said of a task that is over.
    pub(super) fn forget(&mut self, task: TaskId) {
        self.said.remove(&(task, Word::Start));
        self.said.remove(&(task, Word::Stop));
    }

    /// Forgets what was said of tasks that are over, so that a long conversation does not grow.
    pub(super) fn prune(&mut self, state: &State, instance: &InstanceKey) {
        let live = state.tenants.get(&instance.id);
        self.said.retain(|(id, _)| live.is_some_and(|live| live.has(*id)));
    }

    #[cfg(test)]
    pub(super) fn has_said_nothing(&self) -> bool {
        self.said.is_empty()
    }

    fn take(&mut self, message_id: &str) -> Vec<(TaskKey, Word)> {
        self.order.retain(|waiting| waiting != message_id);
        self.unacknowledged.remove(message_id).unwrap_or_default()
    }
}

/// What the state wants said of a task that is not STOPPED.
fn word(task: &Task) -> Option<Word> {
    match task.wanted_of_agent() {
        Desired::Running => (!task.acknowledged).then_some(Word::Start),
        Desired::Stopped => Some(Word::Stop),
    }
}

#[cfg(test)]
mod tests {
    use ecsr_core::state::{Event, Stop, StopCode};

    use super::*;
    use crate::testing::World;

    fn ids(tasks: &[Arc<Task>]) -> Vec<TaskId> {
        tasks.iter().map(|task| task.key.id).collect()
    }

    fn due_now(outbox: &Outbox, world: &World) -> Vec<Arc<Task>> {
        let live: Vec<_> = world.state.live_tasks_on(&world.instance).cloned().collect();
        outbox.due(&live)
    }

    fn stop(world: &mut World, task: &TaskKey) {
        let stop = Stop { code: StopCode::UserInitiated, reason: "enough".into() };
        world.state.apply(&Event::TaskStopRequested { task: task.clone(), at: world.now, stop });
    }

    #[test]
    fn a_start_is_said_once_until_it_is_refused() {
        let world = World::with_tasks(2);
        let mut outbox = Outbox::default();
        let due = due_now(&outbox, &world);
        assert_eq!(due.len(), 2);
        outbox.sent("m1".into(), &due);
        assert!(due_now(&outbox, &world).is_empty());
        assert_eq!(outbox.refused("m1").len(), 2);
        assert!(due_now(&outbox, &world).is_empty(), "not before it is forgiven");
        outbox.forgive();
        assert_eq!(due_now(&outbox, &world).len(), 2);
    }

    #[test]
    fn what_was_acknowledged_is_not_said_by_the_next_conversation() {
        let mut world = World::with_tasks(1);
        let mut outbox = Outbox::default();
        let first = due_now(&outbox, &world);
        outbox.sent("m1".into(), &first);
        let acknowledged = outbox.acknowledged("m1");
        assert_eq!(acknowledged, world.tasks);
        assert!(outbox.acknowledged("m1").is_empty(), "an acknowledgement counts once");
        world.state.apply(&Event::TaskAcknowledged(acknowledged[0].clone()));
        assert!(due_now(&Outbox::default(), &world).is_empty());
    }

    #[test]
    fn a_stop_is_said_after_the_start_and_before_other_starts() {
        let mut world = World::with_tasks(2);
        let mut outbox = Outbox::default();
        let stopping = world.tasks[1].clone();
        let first: Vec<_> =
            due_now(&outbox, &world).into_iter().filter(|task| task.key == stopping).collect();
        outbox.sent("m1".into(), &first);
        stop(&mut world, &stopping);
        let due = due_now(&outbox, &world);
        assert_eq!(ids(&due), [stopping.id, world.tasks[0].id]);
        outbox.sent("m2".into(), &due);
        assert_eq!(outbox.acknowledged("m2"), [world.tasks[0].clone()], "a stop is not stored as a start");
    }

    #[test]
    fn a_long_conversation_forgets_what_is_over() {
        let world = World::with_tasks(1);
        let mut outbox = Outbox::default();
        let first = due_now(&outbox, &world);
        outbox.sent("m1".into(), &first);
        outbox.prune(&world.state, &world.instance);
        assert_eq!(outbox.said.len(), 1);
        outbox.prune(&State::clone(&World::with_tasks(0).state), &world.instance);
        assert!(outbox.said.is_empty());
    }

    #[test]
    fn messages_that_are_never_acknowledged_are_given_up() {
        let world = World::with_tasks(1);
        let mut outbox = Outbox::default();
        let due = due_now(&outbox, &world);
        for number in 0..=UNACKNOWLEDGED_MAX {
            outbox.sent(format!("m{number}"), &due);
        }
        assert_eq!(outbox.unacknowledged.len(), UNACKNOWLEDGED_MAX);
        assert!(outbox.acknowledged("m0").is_empty());
        assert_eq!(outbox.acknowledged("m1").len(), 1);
    }
}
