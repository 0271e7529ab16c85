//! Services behind a target group, of which these tests play the agents and the group.

use std::collections::BTreeMap;
use std::time::Duration;

use ecsr_api::ecs;

use super::{Observed, Steps, TargetType, steps};
use crate::command::{Command, STOPPED_TASKS_KEPT};
use crate::ids::{InstanceKey, Name, ServiceKey, TaskKey};
use crate::state::{Desired, Known, Standing, Target, Task, Whereabouts};
use crate::testing::World;

const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/0123456789abcdef";

/// A service of some tasks behind one group on one host.
struct Behind {
    world: World,
    host: InstanceKey,
    service: ServiceKey,
    held: BTreeMap<Target, Observed>,
    next_port: i32,
}

impl Behind {
    fn new(count: i32) -> Self {
        let mut world = World::new();
        let host = world.instance("a", 8192, 8192);
        let address = "10.0.0.7".parse().unwrap();
        let whereabouts = Whereabouts { address, answers: true };
        world.must(Command::HostLearned { instance: host.clone(), whereabouts });
        for _ in 0..2 {
            world.define("web", |container| {
                let mapping = ecs::PortMapping { container_port: Some(80), ..ecs::PortMapping::default() };
                container.port_mappings = Some(vec![mapping]);
            });
        }
        let service = world.serve("web", count, |request| {
            request.task_definition = Some("web:1".into());
            request.load_balancers = Some(vec![ecs::LoadBalancer {
                target_group_arn: Some(GROUP.into()),
                container_name: Some("web".into()),
                container_port: Some(80),
                ..ecs::LoadBalancer::default()
            }]);
        });
        Self { world, host, service, held: BTreeMap::new(), next_port: 32768 }
    }

    /// The agent does what it is told.
    fn obey(&mut self) {
        for task in self.world.tasks(&self.service) {
            match (task.wanted_of_agent(), task.known) {
                (Desired::Stopped, _) => self.world.report(&task.key, "STOPPED"),
                (Desired::Running, Known::Pending) => self.run(&task.key),
                (Desired::Running, _) => {}
            }
        }
    }

    fn run(&mut self, task: &TaskKey) {
        let binding = ecs::NetworkBinding {
            bind_ip: Some("0.0.0.0".into()),
            container_port: Some(80),
            host_port: Some(self.next_port),
            protocol: Some("tcp".into()),
            ..ecs::NetworkBinding::default()
        };
        self.next_port += 1;
        let container = ecs::ContainerStateChange {
            container_name: Some("web".into()),
            status: Some("RUNNING".into()),
            network_bindings: Some(vec![binding]),
            ..ecs::ContainerStateChange::default()
        };
        self.world.must(Command::SubmitTaskStateChange(Box::new(ecs::SubmitTaskStateChangeRequest {
            task: Some(task.id.to_string()),
            status: Some("RUNNING".into()),
            containers: Some(vec![container]),
            ..ecs::SubmitTaskStateChangeRequest::default()
        })));
    }

    /// One round: what is news is recorded, and the group does what it is asked to.
    fn round(&mut self) -> Steps {
        let group = Name::from(GROUP);
        let found = steps(&self.world.state, &group, TargetType::Ip, Some(&self.held));
        if !found.reports.is_empty() {
            self.world.must(Command::TargetsObserved { group: group.clone(), reports: found.reports });
        }
        let found = steps(&self.world.state, &group, TargetType::Ip, Some(&self.held));
        for target in &found.deregister {
            self.held.insert(target.clone(), Observed::Draining);
        }
        for target in &found.register {
            self.held.insert(target.clone(), Observed::Initial);
        }
        found
    }

    /// Rounds until nothing is left to say or to do.
    fn rounds(&mut self) {
        for _ in 0..10 {
            let found = self.round();
            if found.reports.is_empty() && found.register.is_empty() && found.deregister.is_empty() {
                return;
            }
        }
        panic!("the group is never as it should be");
    }

    fn all_become(&mut self, observed: &Observed) {
        self.held
            .values_mut()
            .filter(|held| **held != Observed::Draining)
            .for_each(|held| *held = observed.clone());
        self.rounds();
    }

    /// What drains has drained.
    fn drained(&mut self) {
        self.held.retain(|_, held| *held != Observed::Draining);
        self.rounds();
    }

    fn tasks(&self) -> Vec<std::sync::Arc<Task>> {
        self.world.tasks(&self.service)
    }

    fn ports(&self) -> Vec<u16> {
        self.held.keys().map(|target| target.port).collect()
    }

    fn scale(&mut self, count: i32) {
        self.world.update(&self.service.clone(), |request| request.desired_count = Some(count));
    }
}

#[test]
fn a_task_is_registered_once_it_runs_and_counts_once_it_is_healthy() {
    let mut behind = Behind::new(2);
    behind.rounds();
    assert!(behind.held.is_empty(), "nothing runs yet");
    behind.obey();
    behind.rounds();
    assert_eq!(behind.ports(), [32768, 32769]);
    assert!(behind.held.keys().all(|target| &*target.id == "10.0.0.7"));
    let service = behind.service.clone();
    assert_eq!(behind.world.has_said(&service, "registered 2 targets in (target-group arn:"), 1);
    assert_eq!(behind.world.has_said(&service, "has reached a steady state"), 0);
    behind.all_become(&Observed::Healthy);
    assert_eq!(behind.world.has_said(&service, "has reached a steady state"), 1);
    assert!(!behind.round().moving);
}

#[test]
fn a_task_is_stopped_only_when_its_target_has_drained() {
    let mut behind = Behind::new(2);
    behind.obey();
    behind.rounds();
    behind.all_become(&Observed::Healthy);
    behind.scale(1);
    let leaving = behind.tasks().into_iter().find(|task| task.desired == Desired::Stopped).unwrap();
    assert!(leaving.is_held_back());
    behind.obey();
    behind.rounds();
    assert_eq!(behind.tasks().len(), 2, "it serves what is under way");
    let service = behind.service.clone();
    assert_eq!(behind.world.has_said(&service, "has begun draining connections on 1 tasks."), 1);
    assert_eq!(behind.world.has_said(&service, "deregistered 1 targets in"), 1);
    behind.drained();
    behind.obey();
    assert_eq!((behind.tasks().len(), behind.held.len()), (1, 1));
}

#[test]
fn a_roll_out_waits_for_targets_to_be_healthy_and_to_drain() {
    let mut behind = Behind::new(2);
    behind.obey();
    behind.rounds();
    behind.all_become(&Observed::Healthy);
    let service = behind.service.clone();
    behind.world.update(&service, |request| request.task_definition = Some("web:2".into()));
    behind.obey();
    behind.rounds();
    assert_eq!(behind.held.len(), 4);
    let meant_to_run =
        |behind: &Behind| behind.tasks().iter().filter(|task| task.desired == Desired::Running).count();
    assert_eq!(meant_to_run(&behind), 4, "the new ones are not healthy yet");
    behind.all_become(&Observed::Healthy);
    assert_eq!((meant_to_run(&behind), behind.tasks().len()), (2, 4), "the old ones drain");
    behind.rounds();
    behind.drained();
    behind.obey();
    assert_eq!((behind.tasks().len(), behind.ports()), (2, vec![32770, 32771]));
    assert_eq!(behind.world.has_said(&service, "deployment completed"), 2);
}

#[test]
fn what_died_is_taken_back_unless_another_has_its_port() {
    let mut behind = Behind::new(1);
    behind.obey();
    behind.rounds();
    let dead = behind.tasks()[0].key.clone();
    behind.world.report(&dead, "STOPPED");
    behind.next_port = 32768;
    behind.obey();
    behind.rounds();
    behind.all_become(&Observed::Healthy);
    assert_eq!(behind.ports(), [32768], "the same port, of the task that runs");
    assert!(!behind.world.state.tasks.get(&dead).unwrap().is_registered());

    let dead = behind.tasks()[0].key.clone();
    behind.world.report(&dead, "STOPPED");
    behind.rounds();
    assert_eq!(behind.held.values().collect::<Vec<_>>(), [&Observed::Draining]);
    behind.world.pass(STOPPED_TASKS_KEPT * 2);
    behind.world.pass(STOPPED_TASKS_KEPT * 2);
    assert!(behind.world.state.tasks.contains_key(&dead), "what is registered is not forgotten");
    behind.drained();
    behind.world.pass(Duration::from_mins(1));
    behind.world.pass(Duration::from_mins(1));
    assert!(!behind.world.state.tasks.contains_key(&dead));
}

#[test]
fn targets_of_others_are_left_alone() {
    let mut behind = Behind::new(1);
    let others = Target { id: "10.9.9.9".into(), port: 80 };
    behind.held.insert(others.clone(), Observed::Unhealthy("not ours".into()));
    behind.obey();
    behind.rounds();
    behind.scale(0);
    behind.rounds();
    behind.drained();
    behind.obey();
    assert_eq!(behind.held.into_keys().collect::<Vec<_>>(), [others]);
}

#[test]
fn an_unhealthy_task_is_replaced_when_its_replacement_is_healthy() {
    let mut behind = Behind::new(1);
    behind.obey();
    behind.rounds();
    behind.all_become(&Observed::Healthy);
    let failing = behind.tasks()[0].key.clone();
    behind.all_become(&Observed::Unhealthy("Health checks failed with these codes: [502]".into()));
    let service = behind.service.clone();
    let said = format!(
        "(task {}) (port 32768) is unhealthy in (target-group {GROUP}) due to (reason Health checks failed with these \
         codes: [502]).",
        failing.id
    );
    assert_eq!(behind.world.has_said(&service, &said), 1);
    behind.obey();
    behind.rounds();
    let new = Target { id: "10.0.0.7".into(), port: 32769 };
    behind.held.insert(new, Observed::Healthy);
    behind.rounds();
    behind.drained();
    behind.obey();
    let stopped = behind.world.state.tasks.get(&failing).unwrap();
    let reason = stopped.stop.as_ref().map(|stop| stop.reason.clone());
    assert_eq!(reason, Some(format!("Task failed ELB health checks in (target-group {GROUP})")));
    assert_eq!(behind.ports(), [32769]);
}

#[test]
fn a_host_that_does_not_answer_is_out_of_its_groups_and_comes_back() {
    let mut behind = Behind::new(1);
    behind.obey();
    behind.rounds();
    let host = behind.host.clone();
    behind.world.must(Command::AgentDisconnected { instance: host.clone() });
    behind.rounds();
    assert_eq!(behind.held.values().collect::<Vec<_>>(), [&Observed::Initial], "its agent alone is away");
    let unanswered = vec![host.clone()];
    behind.world.must(Command::HostsProbed { answered: vec![], unanswered });
    behind.rounds();
    assert_eq!(behind.held.values().collect::<Vec<_>>(), [&Observed::Draining]);
    behind.world.must(Command::HostsProbed { answered: vec![host], unanswered: vec![] });
    behind.rounds();
    assert_eq!(behind.held.values().collect::<Vec<_>>(), [&Observed::Initial]);
}

#[test]
fn nothing_is_held_by_a_group_that_is_gone() {
    let mut behind = Behind::new(1);
    behind.obey();
    behind.rounds();
    let group = Name::from(GROUP);
    let found = steps(&behind.world.state, &group, TargetType::Ip, None);
    behind.world.must(Command::TargetsObserved { group, reports: found.reports });
    let task = &behind.tasks()[0];
    assert!(!task.is_registered() && !task.is_healthy());
    assert_eq!(task.endpoints[0].standing(), None::<Standing>);
}
