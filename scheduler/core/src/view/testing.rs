//! A small cluster to look at, built event by event as the journal would.
//!
//! Cluster `prod` has one instance and the service `web`, which is being updated: its old deployment has one RUNNING
//! task, its new one a PENDING task.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_api::arn::Home;
use ecsr_api::{Timestamp, ecs};

use crate::context::Context;
use crate::ids::{
    ContainerId, DefinitionId, DeploymentId, InstanceId, InstanceKey, ServiceKey, TaskId, TaskKey,
};
use crate::state::{
    Bounds, CircuitBreaker, Cluster, ClusterStatus, Container, Definition, DefinitionStatus, Deployment,
    Desired, Event, Health, Instance, InstanceStatus, Known, LaunchType, Origin, Presence, PropagateTags,
    Resources, Scheduling, Service, ServiceEvent, ServiceSpec, ServiceStatus, State, Tags, Task, Times,
};
use crate::task_definition;

/// The name of the cluster.
pub(crate) const CLUSTER: &str = "prod";
/// When everything happened.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// The cluster and the ids of what is in it.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) instance: InstanceKey,
    service: ServiceKey,
    deployments: [DeploymentId; 2],
}

impl World {
    /// The cluster and nothing in it.
    pub(crate) fn empty() -> Self {
        let mut context = Context::for_test(1);
        let home = Home { region: "us-east-1".to_owned(), account: "123456789012".to_owned() };
        let mut world = Self {
            state: State::new(home),
            instance: InstanceKey { cluster: CLUSTER.into(), id: InstanceId::fresh(&mut context) },
            service: ServiceKey { cluster: CLUSTER.into(), name: "web".into() },
            deployments: [DeploymentId::fresh(&mut context), DeploymentId::fresh(&mut context)],
        };
        world.add_cluster(CLUSTER, ClusterStatus::Active);
        world
    }

    /// The cluster as the module describes it.
    pub(crate) fn with_service() -> Self {
        let mut world = Self::empty();
        world.add_definition("web", 1, DefinitionStatus::Active);
        world.add_instance(world.instance.id, InstanceStatus::Active);
        world.add_service("web", ServiceStatus::Active);
        let [new, old] = world.deployments;
        world.add_task(0xa1, |task| {
            task.origin = Origin::Service { name: "web".into(), deployment: old };
            task.known = Known::Running;
            task.acknowledged = true;
            task.times.started = Some(NOW);
            task.containers[0].known = Known::Running;
            let binding = ecs::NetworkBinding {
                host_port: Some(32768),
                container_port: Some(80),
                protocol: Some("tcp".to_owned()),
                bind_ip: Some("0.0.0.0".to_owned()),
                ..ecs::NetworkBinding::default()
            };
            task.containers[0].network_bindings = [binding.into()].into();
        });
        world.add_task(0xa2, |task| {
            task.origin = Origin::Service { name: "web".into(), deployment: new };
        });
        for (id, message) in [("1", "(service web) first"), ("2", "(service web) second")] {
            let event = ServiceEvent { id: id.to_owned(), created_at: NOW, message: message.to_owned() };
            world.state.apply(&Event::ServiceLogged { service: world.service.clone(), event });
        }
        world
    }

    pub(crate) fn add_cluster(&mut self, name: &str, status: ClusterStatus) {
        self.state.apply(&Event::ClusterSaved(Arc::new(Cluster {
            name: name.into(),
            status,
            settings: Vec::new(),
            configuration: None,
            service_connect_defaults: None,
            capacity_providers: Vec::new(),
            default_capacity_provider_strategy: Vec::new(),
            tags: tags(),
        })));
    }

    pub(crate) fn add_definition(&mut self, family: &str, revision: u32, status: DefinitionStatus) {
        self.state.apply(&Event::DefinitionSaved(Arc::new(Definition {
            id: DefinitionId { family: family.into(), revision },
            status,
            document: Arc::new(document(family)),
            deregistered_at: None,
            delete_requested_at: None,
            tags: tags(),
        })));
    }

    pub(crate) fn add_instance(&mut self, id: InstanceId, status: InstanceStatus) {
        let attributes = [("ecs.cpu-architecture", Some("x86_64")), ("ecs.capability.task-eni", None)];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        self.state.apply(&Event::InstanceSaved(Arc::new(Instance {
            key: InstanceKey { cluster: CLUSTER.into(), id },
            status,
            presence: Presence::Connected,
            whereabouts: None,
            ec2_instance_id: Some("i-0123456789abcdef0".to_owned()),
            resources: Resources {
                cpu: 2048,
                memory: 4096,
                reserved_ports_tcp: vec![22],
                ..Resources::default()
            },
            attributes: BTreeMap::from(attributes),
            version_info: ecs::VersionInfo::default(),
            tags: tags(),
            registered_at: NOW,
            inactive_at: None,
            agent_key: None,
            version: 1,
        })));
    }

    pub(crate) fn add_service(&mut self, name: &str, status: ServiceStatus) {
        let definition = DefinitionId { family: "web".into(), revision: 1 };
        let deployment = |id| Deployment::new(id, definition.clone(), None, NOW);
        self.state.apply(&Event::ServiceSaved(Arc::new(Service {
            key: ServiceKey { cluster: CLUSTER.into(), name: name.into() },
            status,
            desired_count: 2,
            definition: definition.clone(),
            spec: spec(),
            deployments: self.deployments.map(deployment).into(),
            last_completed: None,
            tags: tags(),
            created_at: NOW,
            created_by: "arn:aws:iam::123456789012:root".to_owned(),
            client_token: None,
            inactive_at: None,
            steady_since: None,
        })));
    }

    /// A PENDING task of `web:1` that RunTask started, changed to the test's liking.
    pub(crate) fn add_task(&mut self, id: u8, change: impl FnOnce(&mut Task)) -> TaskKey {
        let document = document("web");
        let mut task = Task {
            key: TaskKey { cluster: CLUSTER.into(), id: task_id(id) },
            definition: DefinitionId { family: "web".into(), revision: 1 },
            instance: self.instance.id,
            origin: Origin::Standalone,
            group: "family:web".into(),
            started_by: None,
            demand: Arc::new(task_definition::demand(&document, None)),
            overrides: Arc::default(),
            launch_type: LaunchType::Ec2,
            availability_zone: None,
            enable_execute_command: false,
            desired: Desired::Running,
            known: Known::Pending,
            acknowledged: false,
            containers: [container("app")].into(),
            endpoints: Box::default(),
            tags: tags().into(),
            times: times(),
            stop: None,
            version: 1,
        };
        change(&mut task);
        let key = task.key.clone();
        self.state.apply(&Event::TaskPlaced(Arc::new(task)));
        key
    }

    pub(crate) fn change_service(&mut self, change: impl FnOnce(&mut Service)) {
        let mut service = self.service().clone();
        change(&mut service);
        self.state.apply(&Event::ServiceSaved(Arc::new(service)));
    }

    pub(crate) fn service(&self) -> &Service {
        &self.state.services[&self.service]
    }

    pub(crate) fn instance(&self) -> &Instance {
        &self.state.instances[&self.instance]
    }

    pub(crate) fn task(&self, key: &TaskKey) -> &Task {
        &self.state.tasks[key]
    }
}

/// The task id made of one byte, over and over.
pub(crate) fn task_id(byte: u8) -> TaskId {
    hex::encode([byte; 16]).parse().unwrap()
}

/// A container with that name that has not been reported on.
pub(crate) fn container(name: &str) -> Container {
    Container {
        name: name.into(),
        id: ContainerId::fresh(&mut Context::for_test(9)),
        essential: true,
        known: Known::Pending,
        runtime_id: None,
        image_digest: None,
        exit_code: None,
        reason: None,
        network_bindings: Box::default(),
        health: Health::Unknown,
        health_checked: false,
    }
}

fn tags() -> Tags {
    Tags::from([("team".to_owned(), "a".to_owned())])
}

fn times() -> Times {
    Times {
        created: NOW,
        pull_started: None,
        pull_stopped: None,
        started: None,
        stopping: None,
        execution_stopped: None,
        stopped: None,
    }
}

fn document(family: &str) -> ecs::TaskDefinition {
    ecs::TaskDefinition {
        family: Some(family.to_owned()),
        container_definitions: Some(vec![ecs::ContainerDefinition {
            name: Some("app".to_owned()),
            image: Some("nginx:1".to_owned()),
            cpu: Some(256),
            memory: Some(512),
            essential: Some(true),
            ..ecs::ContainerDefinition::default()
        }]),
        ..ecs::TaskDefinition::default()
    }
}

fn spec() -> ServiceSpec {
    ServiceSpec {
        scheduling: Scheduling::Replica,
        launch_type: LaunchType::Ec2,
        bounds: Bounds { minimum_healthy_percent: 100, maximum_percent: 200 },
        circuit_breaker: CircuitBreaker::default(),
        health_check_grace_period: None,
        placement_constraints: Vec::new(),
        placement_strategy: Vec::new(),
        load_balancers: Vec::new(),
        service_registries: Vec::new(),
        network_configuration: None,
        availability_zone_rebalancing: None,
        role: None,
        propagate_tags: PropagateTags::None,
        enable_ecs_managed_tags: false,
        enable_execute_command: false,
    }
}
