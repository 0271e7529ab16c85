//! A cluster in a test: commands are decided and reconciled as the driver does it, agents are played by the test.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ecsr_api::arn::Home;
use ecsr_api::{Timestamp, ecs};

use crate::check::check;
use crate::command::{Command, Reply, decide};
use crate::context::Context;
use crate::ids::{InstanceKey, Name, ServiceKey, TaskKey};
use crate::reconcile;
use crate::refusal::Refusal;
use crate::state::{Desired, Event, Health, Instance, Known, SETTLED_AFTER, Service, State, Task};

/// One cluster named `default`, its time, and every event that was ever recorded.
#[derive(Debug)]
pub(crate) struct World {
    pub state: State,
    pub now: Timestamp,
    pub events: Vec<Event>,
    /// Up to when all that was due by time has been done.
    ticked: Timestamp,
    seed: u64,
}

impl World {
    pub fn new() -> Self {
        let home = Home { region: "us-east-1".into(), account: "123456789012".into() };
        let mut world = Self {
            state: State::new(home),
            now: Timestamp::from_seconds(1_000_000),
            events: Vec::new(),
            ticked: Timestamp::default(),
            seed: 0,
        };
        world.must(Command::CreateCluster(Box::default()));
        world
    }

    /// Decides a command and lets the service scheduler follow it up.
    pub fn ask(&mut self, command: &Command) -> Result<Reply, Refusal> {
        self.seed += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        let mut context = Context::new(self.now, "arn:aws:iam::123456789012:root".into(), seed);
        let decision = decide(&self.state, command, &mut context)?;
        let mut touched = BTreeSet::new();
        for event in decision.events {
            self.take(event.clone());
            touched.extend(reconcile::touched(&self.state, &event));
        }
        if *command == Command::Tick {
            touched.extend(reconcile::due(&self.state, self.ticked, self.now));
        }
        for event in reconcile::run(&self.state, &touched, &mut context) {
            self.take(event);
        }
        if *command == Command::Tick {
            self.ticked = self.now;
            let missed = reconcile::run(&self.state, &reconcile::everything(&self.state), &mut context);
            assert_eq!(missed, [], "something was due that was not said to be");
        }
        assert_eq!(check(&self.state), Vec::<String>::new());
        Ok(decision.reply)
    }

    #[expect(clippy::needless_pass_by_value, reason = "the commands of tests are made on the spot")]
    pub fn must(&mut self, command: Command) -> Reply {
        self.ask(&command).expect("the command is in order")
    }

    fn take(&mut self, event: Event) {
        self.state.apply(&event);
        self.events.push(event);
    }

    /// Lets time pass up to the next moment that matters to the cluster, but no further than `most`.
    pub fn pass(&mut self, most: Duration) {
        let end = self.now.plus(most);
        self.now = reconcile::next_wake(&self.state, self.now).map_or(end, |wake| wake.min(end));
        self.must(Command::Tick);
    }

    /// A connected instance with CPU units and MiB, in a zone.
    pub fn instance(&mut self, zone: &str, cpu: i32, memory: i32) -> InstanceKey {
        let resource = |name: &str, amount| ecs::Resource {
            name: Some(name.into()),
            r#type: Some("INTEGER".into()),
            integer_value: Some(amount),
            ..ecs::Resource::default()
        };
        let zone = ecs::Attribute {
            name: Some("ecs.availability-zone".into()),
            value: Some(zone.into()),
            ..ecs::Attribute::default()
        };
        let health_checks = ecs::Attribute {
            name: Some("ecs.capability.container-health-check".into()),
            ..ecs::Attribute::default()
        };
        let request = ecs::RegisterContainerInstanceRequest {
            total_resources: Some(vec![resource("CPU", cpu), resource("MEMORY", memory)]),
            attributes: Some(vec![zone, health_checks]),
            ..ecs::RegisterContainerInstanceRequest::default()
        };
        let Reply::Instance(key) = self.must(Command::RegisterContainerInstance(Box::new(request))) else {
            panic!("a registration answers with the instance");
        };
        self.must(Command::AgentConnected {
            instance: key.clone(),
            version_info: ecs::VersionInfo::default(),
        });
        key
    }

    /// A definition of one container with 128 CPU units and 64 MiB; `change` makes it another one.
    pub fn define(&mut self, family: &str, change: impl FnOnce(&mut ecs::ContainerDefinition)) {
        let mut container = ecs::ContainerDefinition {
            name: Some("web".into()),
            image: Some("busybox".into()),
            cpu: Some(128),
            memory: Some(64),
            ..ecs::ContainerDefinition::default()
        };
        change(&mut container);
        let request = ecs::RegisterTaskDefinitionRequest {
            family: Some(family.into()),
            container_definitions: Some(vec![container]),
            ..ecs::RegisterTaskDefinitionRequest::default()
        };
        self.must(Command::RegisterTaskDefinition(Box::new(request)));
    }

    /// A service named like its family; `change` makes it another one.
    pub fn serve(
        &mut self,
        family: &str,
        count: i32,
        change: impl FnOnce(&mut ecs::CreateServiceRequest),
    ) -> ServiceKey {
        let mut request = ecs::CreateServiceRequest {
            service_name: Some(family.into()),
            task_definition: Some(family.into()),
            desired_count: Some(count),
            ..ecs::CreateServiceRequest::default()
        };
        change(&mut request);
        match self.must(Command::CreateService(Box::new(request))) {
            Reply::Service(key) => key,
            other => panic!("CreateService answers with the service, not {other:?}"),
        }
    }

    pub fn update(&mut self, service: &ServiceKey, change: impl FnOnce(&mut ecs::UpdateServiceRequest)) {
        let mut request = ecs::UpdateServiceRequest {
            service: Some(service.name.to_string()),
            ..ecs::UpdateServiceRequest::default()
        };
        change(&mut request);
        self.must(Command::UpdateService(Box::new(request)));
    }

    /// The agent's report of a task's state, all of its containers included.
    pub fn report(&mut self, task: &TaskKey, status: &str) {
        let known = self.state.tasks.get(task).expect("the task exists").containers.clone();
        let containers = known.iter().map(|container| ecs::ContainerStateChange {
            container_name: Some(container.name.to_string()),
            status: Some(status.into()),
            exit_code: (status == "STOPPED" && container.known == Known::Running).then_some(1),
            ..ecs::ContainerStateChange::default()
        });
        let request = ecs::SubmitTaskStateChangeRequest {
            task: Some(task.id.to_string()),
            status: Some(status.into()),
            containers: Some(containers.collect()),
            ..ecs::SubmitTaskStateChangeRequest::default()
        };
        self.must(Command::SubmitTaskStateChange(Box::new(request)));
    }

    /// Plays agents that obey at once, until nothing is left to do. `each` sees the service after every report.
    pub fn obey(&mut self, service: &ServiceKey, each: impl FnMut(&State)) {
        self.obey_where(service, |_| true, each);
    }

    /// As [`Self::obey`], where only the agents of these instances are there.
    pub fn obey_on(&mut self, service: &ServiceKey, instances: &[InstanceKey]) {
        let ids: BTreeSet<_> = instances.iter().map(|instance| instance.id).collect();
        self.obey_where(service, |task| ids.contains(&task.instance), |_| {});
    }

    fn obey_where(
        &mut self,
        service: &ServiceKey,
        is_there: impl Fn(&Task) -> bool,
        mut each: impl FnMut(&State),
    ) {
        for _ in 0..10_000 {
            let tasks = self.tasks(service).into_iter().filter(|task| is_there(task));
            let todo = tasks.into_iter().find_map(|task| match (task.desired, task.known) {
                (Desired::Stopped, Known::Pending | Known::Running) => Some((task.key.clone(), "STOPPED")),
                (Desired::Running, Known::Pending) => Some((task.key.clone(), "RUNNING")),
                _ => None,
            });
            match todo {
                Some((task, status)) => self.report(&task, status),
                // Only time is left to tell whether the new tasks can be trusted.
                None if self.settles(service) => self.pass(SETTLED_AFTER),
                None => return,
            }
            each(&self.state);
        }
        panic!("the service never comes to rest");
    }

    /// Whether a roll-out waits for tasks that run to have run long enough.
    fn settles(&self, service: &ServiceKey) -> bool {
        let young = |task: &Arc<Task>| task.times.started.is_some_and(|at| at.plus(SETTLED_AFTER) > self.now);
        self.service(service).deployments.len() > 1 && self.tasks(service).iter().any(young)
    }

    pub fn health(&mut self, task: &TaskKey, health: Health) {
        let found = self.state.tasks.get(task).expect("the task exists");
        let instance = InstanceKey { cluster: task.cluster.clone(), id: found.instance };
        let containers = vec![(Name::from("web"), health)];
        self.must(Command::HealthPublished { instance, tasks: vec![(task.clone(), containers)] });
    }

    pub fn service(&self, key: &ServiceKey) -> &Arc<Service> {
        self.state.services.get(key).expect("the service exists")
    }

    pub fn host(&self, key: &InstanceKey) -> &Arc<Instance> {
        self.state.instances.get(key).expect("the instance exists")
    }

    /// Tasks of a service that are not STOPPED.
    pub fn tasks(&self, service: &ServiceKey) -> Vec<Arc<Task>> {
        self.state.live_tasks_of(service).cloned().collect()
    }

    /// How many tasks of the service are on each instance, the least first.
    pub fn spread(&self, service: &ServiceKey) -> Vec<usize> {
        let tasks = self.tasks(service);
        let on = |key: &InstanceKey| tasks.iter().filter(|task| task.instance == key.id).count();
        let mut counts: Vec<usize> = self.state.instances.keys().map(on).collect();
        counts.sort_unstable();
        counts
    }

    pub fn running(&self, service: &ServiceKey) -> usize {
        let running = |task: &&Arc<Task>| task.desired == Desired::Running && task.known == Known::Running;
        self.state.live_tasks_of(service).filter(running).count()
    }

    /// The newest line of a service's log.
    pub fn said(&self, service: &ServiceKey) -> String {
        let log = self.state.service_events.get(service);
        log.and_then(|log| log.back()).map(|event| event.message.clone()).unwrap_or_default()
    }

    pub fn has_said(&self, service: &ServiceKey, text: &str) -> usize {
        let log = self.state.service_events.get(service).into_iter().flatten();
        log.filter(|event| event.message.contains(text)).count()
    }
}
