//! Who is on an instance: its tasks that are not STOPPED, and the host ports that they hold.
//!
//! Short sorted lists, not trees. Tasks are spread over all instances of a cluster, so a batch changes most instances
//! once and each change copies what readers still hold. A list of small numbers is copied in one go; of a tree the path
//! to a leaf is copied, with a count to be raised in each of the nodes beside it, all of them far from any cache in a
//! cluster of a million tasks. What a copy costs is bounded by what a host can run: hundreds of tasks, a few KiB.

use super::{Protocol, Task};
use crate::ids::TaskId;

/// Room for so many more when a list has to grow: little is wasted where there are thousands of lists.
const GROWTH: usize = 8;

/// The tasks on one instance. Derived from them, kept by `State::apply`, proven by `check`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tenants {
    /// In the order of their ids.
    tasks: Vec<TaskId>,
    /// In their own order; how many tasks hold each. Only a mistake elsewhere makes that more than one.
    ports: Vec<(Protocol, u16, u32)>,
}

impl Tenants {
    /// The tasks that are not STOPPED, in the order of their ids.
    pub fn tasks(&self) -> &[TaskId] {
        &self.tasks
    }

    /// Whether a task is here.
    pub fn has(&self, task: TaskId) -> bool {
        self.tasks.binary_search(&task).is_ok()
    }

    /// The host ports that are held; a dynamic one from the report that names it.
    pub fn ports(&self) -> impl Iterator<Item = (Protocol, u16)> {
        self.ports.iter().map(|(protocol, port, _)| (*protocol, *port))
    }

    /// Whether a task holds a host port.
    pub fn holds(&self, protocol: Protocol, port: u16) -> bool {
        self.find(protocol, port).is_ok()
    }

    pub(super) fn add(&mut self, task: &Task) {
        if let Err(place) = self.tasks.binary_search(&task.key.id) {
            insert(&mut self.tasks, place, task.key.id);
        }
        self.add_ports(task);
    }

    pub(super) fn remove(&mut self, task: &Task) {
        if let Ok(place) = self.tasks.binary_search(&task.key.id) {
            self.tasks.remove(place);
        }
        self.remove_ports(task);
    }

    /// A task that stays holds other ports than before.
    pub(super) fn change_ports(&mut self, old: &Task, new: &Task) {
        self.remove_ports(old);
        self.add_ports(new);
    }

    fn add_ports(&mut self, task: &Task) {
        for (protocol, port) in task.host_ports() {
            match self.find(protocol, port) {
                Ok(place) => self.ports[place].2 += 1,
                Err(place) => insert(&mut self.ports, place, (protocol, port, 1)),
            }
        }
    }

    fn remove_ports(&mut self, task: &Task) {
        for (protocol, port) in task.host_ports() {
            if let Ok(place) = self.find(protocol, port) {
                self.ports[place].2 -= 1;
                if self.ports[place].2 == 0 {
                    self.ports.remove(place);
                }
            }
        }
    }

    fn find(&self, protocol: Protocol, port: u16) -> Result<usize, usize> {
        self.ports.binary_search_by_key(&(protocol, port), |(protocol, port, _)| (*protocol, *port))
    }
}

fn insert<T>(list: &mut Vec<T>, place: usize, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(GROWTH + list.len() / GROWTH);
    }
    list.insert(place, item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{World, task_id};

    #[test]
    fn whoever_is_on_an_instance_is_found_and_leaves_nothing_behind() {
        let mut world = World::with_service();
        world.add_task(0xff, |_| {});
        world.add_task(0x01, |_| {});
        let tenants =
            |world: &World| world.state.tenants.get(&world.instance.id).cloned().unwrap_or_default();
        let here = tenants(&world);
        assert_eq!(here.tasks(), [0x01, 0xa1, 0xa2, 0xff].map(task_id));
        assert!(here.has(task_id(0xa2)) && !here.has(task_id(0x02)));
        assert_eq!(here.ports().collect::<Vec<_>>(), [(Protocol::Tcp, 32768)]);
        assert!(here.holds(Protocol::Tcp, 32768) && !here.holds(Protocol::Udp, 32768));
        let mut left = Tenants::clone(&here);
        for task in world.state.tasks.values() {
            left.remove(task);
        }
        assert_eq!(left, Tenants::default());
    }
}
