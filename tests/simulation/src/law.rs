//! What must hold whatever happens: looked at whenever something becomes durable and whenever a container changes.
//!
//! The law sees both sides at once, which nobody within the cluster can: what the scheduler's journal has promised, and
//! what the engines really run. It remembers every start, so that it knows a second one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecsr_core::State;
use ecsr_core::ids::TaskKey;
use ecsr_core::state::{Desired, Known, Scheduling, Service, ServiceStatus, Stop, StopCode, Task};
use ecsr_core::{check, resolve};

use crate::client::Client;
use crate::container::{Container, Temper};
use crate::model::Model;
use crate::world::World;

/// The grace of a container whose definition names none: the agents' default.
const GRACE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Law {
    pub(crate) model: Model,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Where each container of each task was first started, and how often.
    starts: BTreeMap<(String, String), Started>,
    /// Tasks of which a container has ended, so that their agent may stop the rest.
    ended: BTreeSet<String>,
    /// Tasks that an agent has called STOPPED, by the agent's host.
    told_stopped: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, Copy)]
struct Started {
    host: usize,
    times: u32,
}

impl Law {
    /// A container's process begins.
    pub(crate) fn started(&self, world: &World, host: usize, container: &Container) {
        let task_arn = container.task_arn().to_owned();
        let key = (task_arn.clone(), container_name(container));
        let mut book = self.book();
        let started = book.starts.entry(key).or_insert(Started { host, times: 0 });
        started.times += 1;
        let Started { host: first, times } = *started;
        drop(book);
        if first != host {
            world.trace.broken(format!("{task_arn} was started on host {first} and then on host {host}"));
        }
        if self.book().told_stopped.contains_key(&task_arn) {
            world.trace.broken(format!("{task_arn} was started again after it was told to be STOPPED"));
        }
        let task = durable(world).and_then(|state| find(&state, &task_arn));
        // A service's containers are restarted by the agent while the scheduler is away: that is the same task.
        let was_running =
            task.is_some_and(|task| task.known != Known::Pending && Client::is_standalone(&task.origin));
        if times > 1 && was_running {
            world.trace.broken(format!("{task_arn} was started again after it was known to run"));
        }
    }

    /// An agent tells that a task is over. That is for good.
    pub(crate) fn told_stopped(&self, host: usize, task_arn: &str) {
        self.book().told_stopped.insert(task_arn.to_owned(), host);
    }

    /// A host loses what its agent has written down. Words of it that did not reach the journal are lost with that:
    /// nobody is left who knows that they were said.
    pub(crate) fn disk_lost(&self, world: &World, host: usize) {
        let state = durable(world);
        let is_known = |task_arn: &str| {
            let task = state.as_ref().and_then(|state| find(state, task_arn));
            task.is_none_or(|task| !task.is_live())
        };
        self.book().told_stopped.retain(|task_arn, of| *of != host || is_known(task_arn));
    }

    /// A container's process has ended, or could not begin: its task may be over.
    pub(crate) fn ended(&self, container: &Container) {
        self.book().ended.insert(container.task_arn().to_owned());
    }

    /// Somebody removes a container by force. What is made in its place is not a second of it: nothing tells an agent
    /// that was away that there was a first.
    pub(crate) fn removed_by_force(&self, container: &Container) {
        self.ended(container);
        self.book().starts.remove(&(container.task_arn().to_owned(), container_name(container)));
    }

    /// A host's power goes, and all its processes with it.
    pub(crate) fn lost_power<'a>(&self, containers: impl Iterator<Item = &'a Container>) {
        self.book().ended.extend(containers.map(|container| container.task_arn().to_owned()));
    }

    /// An agent has a running container stopped. It may if the task shall stop, or if another container's end is
    /// the task's.
    pub(crate) fn stopping(&self, world: &World, host: usize, container: &Container, grace: Duration) {
        let task_arn = container.task_arn();
        if grace != GRACE {
            world.trace.broken(format!("{task_arn} is to be stopped with a grace of {grace:?}"));
        }
        let Some(state) = durable(world) else { return };
        let Some(task) = find(&state, task_arn) else { return };
        let ends_itself = self.book().ended.contains(task_arn) || cannot_start(&state, &task);
        if task.desired == Desired::Running && task.is_live() && !ends_itself {
            world.trace.broken(format!("host {host} stops {task_arn}, which shall run"));
        }
    }

    /// Two containers want one fixed port of a host.
    pub(crate) fn port_conflict(world: &World, host: usize, port: u16, holder: &str, other: &str) {
        let Some(state) = durable(world) else { return };
        // A host that lost its memory is another instance from then on, which knows nothing of the first one's tasks.
        let live = |arn: &str| find(&state, arn).filter(|task| task.is_live()).map(|task| task.instance);
        if live(holder).is_some() && live(holder) == live(other) {
            world.trace.broken(format!("port {port} of host {host} is promised to {holder} and {other}"));
        }
    }

    /// A batch has become durable.
    pub(crate) fn settled(&self, world: &World, before: &State, after: &State) {
        let mut wrong = Vec::new();
        monotone(before, after, &mut wrong);
        promises(after, &mut wrong);
        for service in after.services.values() {
            bounds(before, after, service, &mut wrong);
        }
        wrong.extend(self.model.check_limits(after));
        if let Some(first) = wrong.into_iter().next() {
            world.trace.broken(first);
        }
    }

    /// A scheduler has started on what the journal holds.
    pub(crate) fn recovered(&self, world: &World, state: &State) {
        let mut wrong = check::check(state);
        if let Some(durable) = durable(world) {
            monotone(&durable, state, &mut wrong);
        }
        wrong.extend(self.model.check(state));
        if let Some(first) = wrong.into_iter().next() {
            world.trace.broken(format!("after recovery: {first}"));
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn container_name(container: &Container) -> String {
    container.labels.get("com.amazonaws.ecs.container-name").cloned().unwrap_or_default()
}

fn durable(world: &World) -> Option<Arc<State>> {
    world.control.durable()
}

/// The task of an ARN.
pub(crate) fn find(state: &State, task_arn: &str) -> Option<Arc<Task>> {
    let cluster = "default".into();
    let key: TaskKey = resolve::task_key(state, &cluster, task_arn).ok()?;
    state.tasks.get(&key).cloned()
}

/// Whether an image of the task cannot run, which ends the task.
fn cannot_start(state: &State, task: &Task) -> bool {
    let definition = state.definition(&task.definition);
    let containers = definition.document.container_definitions.iter().flatten();
    containers.filter_map(|container| container.image.as_deref()).any(|image| match Temper::of(image) {
        Temper::Unstartable | Temper::Unpullable => true,
        Temper::Steady | Temper::Stubborn | Temper::Crashing | Temper::Job | Temper::Mortal => false,
    })
}

/// Nothing that was durable is undone: tasks only move forward, and only what is over is forgotten.
fn monotone(before: &State, after: &State, wrong: &mut Vec<String>) {
    for old in before.tasks.values() {
        let key = &old.key;
        let Some(new) = after.tasks.get(key) else {
            if old.is_live() {
                wrong.push(format!("task {} is gone while {:?}", key.id, old.known));
            }
            continue;
        };
        if Arc::ptr_eq(old, new) {
            continue;
        }
        if new.known < old.known {
            wrong.push(format!("task {} went back from {:?} to {:?}", key.id, old.known, new.known));
        }
        if old.desired == Desired::Stopped && new.desired == Desired::Running {
            wrong.push(format!("task {} is wanted again", key.id));
        }
        if new.instance != old.instance {
            wrong.push(format!("task {} changed its instance", key.id));
        }
    }
    let lost = |what: &str, name: String| format!("{what} {name} was durable and is gone");
    wrong.extend(
        before
            .clusters
            .keys()
            .filter(|key| !after.clusters.contains_key(*key))
            .map(|key| lost("cluster", key.to_string())),
    );
    let services = before.services.values().filter(|service| service.status == ServiceStatus::Active);
    let services = services.filter(|service| !after.services.contains_key(&service.key));
    wrong.extend(services.map(|service| lost("service", service.key.name.to_string())));
}

/// No instance is promised more than it has. The hosts of a run never shrink, so this holds at all times.
fn promises(state: &State, wrong: &mut Vec<String>) {
    for instance in state.instances.values() {
        let usage = state.usage_of(&instance.key);
        let has = &instance.resources;
        if usage.cpu > has.cpu || usage.memory > has.memory {
            wrong.push(format!(
                "instance {} has promised {} CPU units of {} and {} MiB of {}",
                instance.key.id, usage.cpu, has.cpu, usage.memory, has.memory
            ));
        }
        let fixed = state.live_tasks_on(&instance.key).flat_map(|task| task.demand.ports_tcp.iter());
        let mut seen = BTreeSet::new();
        for port in fixed {
            if !seen.insert(*port) || has.reserved_ports_tcp.contains(port) {
                wrong.push(format!("instance {} has promised port {port} twice", instance.key.id));
            }
        }
    }
}

/// RUNNING, with every essential container running.
fn serves(task: &Task) -> bool {
    let mut essential = task.containers.iter().filter(|container| container.essential);
    task.known == Known::Running && essential.all(|container| container.known != Known::Stopped)
}

/// What the service scheduler did to a service keeps it within its bounds.
fn bounds(before: &State, after: &State, service: &Service, wrong: &mut Vec<String>) {
    if service.status != ServiceStatus::Active || service.spec.scheduling != Scheduling::Replica {
        return;
    }
    let tasks: Vec<&Arc<Task>> = after.live_tasks_of(&service.key).collect();
    let wanted = || tasks.iter().filter(|task| task.desired == Desired::Running);
    let bounds = service.spec.bounds;
    let name = &service.key.name;
    let placed = wanted().any(|task| !before.tasks.contains_key(&task.key));
    let (active, upper) = (wanted().count(), bounds.upper(service.desired_count) as usize);
    if placed && active > upper {
        wrong.push(format!("service {name} was brought to {active} tasks, above its maximum of {upper}"));
    }
    let by_scheduler = |stop: &Stop| stop.code == StopCode::ServiceSchedulerInitiated;
    let sacrificed = tasks.iter().any(|task| {
        let was_wanted = before.tasks.get(&task.key).is_some_and(|old| old.desired == Desired::Running);
        was_wanted
            && task.desired == Desired::Stopped
            && serves(task)
            && task.stop.as_ref().is_some_and(|stop| by_scheduler(stop))
    });
    let healthy = wanted().filter(|task| task.known == Known::Running).count();
    let lower = bounds.lower(service.desired_count) as usize;
    if sacrificed && healthy < lower {
        wrong.push(format!(
            "service {name} was brought to {healthy} healthy tasks, below its minimum of {lower}"
        ));
    }
}
