//! Users: they issue every mutating call there is, try again when they hear nothing, and remember what they were told.
//!
//! Each has services and definitions of its own, so that what one was told is not changed by the other; instances and
//! standalone tasks are everybody's.

use std::sync::Arc;
use std::time::Duration;

use ecsr_api::ecs::Operation;
use ecsr_core::State;
use ecsr_core::command::{self, Reply};
use ecsr_core::ids::{DefinitionId, ServiceKey};
use ecsr_core::state::{Desired, InstanceStatus, Origin, Scheduling, Service, ServiceStatus};
use serde_json::{Value, json};

use crate::container::Temper;
use crate::control::{Done, Failure, home};
use crate::model::Wanted;
use crate::world::{Copies, Party, World};

/// Attempts at a call before it is given up, its outcome unknown.
const ATTEMPTS_MAX: u32 = 4;
const THINKING_MAX: Duration = Duration::from_secs(20);
const SERVICES: u64 = 3;
const DESIRED_MAX: u64 = 6;

/// One user.
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    number: usize,
    calls: u64,
}

/// What came of a call.
pub(crate) enum Outcome {
    Done(Done),
    /// Nothing changed, as far as the first answer says.
    Refused,
    Unknown,
}

impl Client {
    pub(crate) fn new(world: &Arc<World>, number: usize) -> Self {
        Self { world: world.clone(), number, calls: 0 }
    }

    /// Works until the storm is over.
    pub(crate) async fn work(mut self) {
        self.register(Temper::Steady).await;
        while self.world.is_stormy() {
            let pause = self.world.chance.between(Duration::ZERO, THINKING_MAX);
            tokio::time::sleep(pause).await;
            self.act().await;
        }
    }

    async fn act(&mut self) {
        let Some(state) = self.world.control.durable() else { return };
        match self.world.chance.below(24) {
            0 | 1 => {
                let temper = *self.world.chance.pick(&Temper::ALL);
                self.register(temper).await;
            }
            2 => self.deregister_definition(&state).await,
            3..=6 => self.create_service(&state).await,
            7..=11 => self.update_service(&state).await,
            12 => self.delete_service(&state).await,
            13..=15 => self.run_task(&state).await,
            16 => self.start_task(&state).await,
            17 => self.stop_task(&state).await,
            18 => self.drain(&state).await,
            19 => self.tag(&state).await,
            20 => self.cluster().await,
            21 => self.delete_definitions(&state).await,
            22 => self.configure_cluster().await,
            _ => self.deregister_instance(&state).await,
        }
    }

    /// One call, until it is answered or given up.
    pub(crate) async fn ask(&mut self, operation: Operation, body: &Value, copies: Copies) -> Outcome {
        self.calls += 1;
        let party = Party::Client(self.number);
        let bytes = serde_json::to_vec(body).expect("a request is JSON");
        let command = command::parse(operation, &bytes).expect("it is a writing operation");
        let command = command.expect("the request is well formed");
        let mut is_certain = true;
        for attempt in 1..=ATTEMPTS_MAX {
            self.world.trace.note(party, format_args!("{operation:?} {body} (attempt {attempt})"));
            match self.world.call(party, command.clone(), copies).await {
                Some(Ok(done)) => {
                    self.world.trace.note(party, format_args!("{operation:?} is done"));
                    return Outcome::Done(done);
                }
                Some(Err(Failure::Refused(refusal))) => {
                    self.world.trace.note(party, format_args!("{operation:?} is refused: {refusal}"));
                    return if is_certain { Outcome::Refused } else { Outcome::Unknown };
                }
                Some(Err(Failure::NotDurable)) | None => is_certain = false,
            }
            let pause = self.world.chance.between(Duration::from_millis(100), Duration::from_secs(5));
            tokio::time::sleep(pause).await;
        }
        Outcome::Unknown
    }

    fn family(&self) -> String {
        format!("family-{}", self.number)
    }

    fn definitions<'a>(&self, state: &'a State) -> Vec<&'a DefinitionId> {
        let family = self.family();
        let own = state.definitions.values().filter(|one| *one.id.family == *family);
        own.filter(|one| one.status == ecsr_core::state::DefinitionStatus::Active)
            .map(|one| &one.id)
            .collect()
    }

    async fn register(&mut self, temper: Temper) {
        let chance = &self.world.chance;
        let container = |name: &str, temper: Temper, essential: bool| {
            json!({
                "name": name, "image": temper.image(), "essential": essential,
                "cpu": 64 << chance.below(4), "memory": 64 << chance.below(4),
            })
        };
        let mut main = container("main", temper, true);
        match chance.below(4) {
            0 => main["portMappings"] = json!([{ "containerPort": 80, "hostPort": 8000 + chance.below(3) }]),
            1 => main["portMappings"] = json!([{ "containerPort": 80 }]),
            _ => {}
        }
        let mut containers = vec![main];
        if chance.one_in(3) {
            let temper = *chance.pick(&[Temper::Steady, Temper::Job, Temper::Mortal]);
            let mut side = container("side", temper, chance.one_in(2));
            if chance.one_in(2) {
                side["dependsOn"] = json!([{ "containerName": "main", "condition": "START" }]);
            }
            containers.push(side);
        }
        let body = json!({ "family": self.family(), "containerDefinitions": containers });
        if let Outcome::Done(done) = self.ask(Operation::RegisterTaskDefinition, &body, Copies::Never).await
            && let Reply::Definition(id) = done.reply
        {
            self.world.law.model.definition_acknowledged(&id, true);
        }
    }

    async fn deregister_definition(&mut self, state: &State) {
        let own = self.definitions(state);
        if own.len() < 2 {
            return;
        }
        let id = (*self.world.chance.pick(&own)).clone();
        self.world.law.model.definition_sent(&id, false);
        let body = json!({ "taskDefinition": id.to_string() });
        if let Outcome::Done(_) = self.ask(Operation::DeregisterTaskDefinition, &body, Copies::Never).await {
            self.world.law.model.definition_acknowledged(&id, false);
        }
    }

    async fn delete_definitions(&mut self, state: &State) {
        let family = self.family();
        let inactive = state.definitions.values().filter(|one| *one.id.family == *family);
        let inactive = inactive.filter(|one| one.status == ecsr_core::state::DefinitionStatus::Inactive);
        let Some(id) = inactive.map(|one| one.id.to_string()).next() else { return };
        self.ask(Operation::DeleteTaskDefinitions, &json!({ "taskDefinitions": [id] }), Copies::Never).await;
    }

    fn service_key(name: &str) -> ServiceKey {
        ServiceKey { cluster: "default".into(), name: name.into() }
    }

    fn bounds(&self) -> Value {
        let (least, most) =
            *self.world.chance.pick(&[(100, 200), (50, 200), (0, 100), (100, 150), (50, 100)]);
        json!({ "minimumHealthyPercent": least, "maximumPercent": most })
    }

    async fn create_service(&mut self, state: &State) {
        let name = format!("service-{}-{}", self.number, self.world.chance.below(SERVICES));
        let key = Self::service_key(&name);
        if state.services.get(&key).is_some_and(|found| found.status != ServiceStatus::Inactive) {
            return;
        }
        let own = self.definitions(state);
        if own.is_empty() {
            return;
        }
        let definition = (*self.world.chance.pick(&own)).clone();
        let is_daemon = self.world.chance.one_in(8);
        let desired = self.world.chance.below(DESIRED_MAX);
        let mut body = json!({
            "serviceName": name, "taskDefinition": definition.to_string(),
            "clientToken": format!("token-{}-{}", self.number, self.calls),
        });
        if is_daemon {
            body["schedulingStrategy"] = json!("DAEMON");
        } else {
            body["desiredCount"] = json!(desired);
            body["deploymentConfiguration"] = self.bounds();
            let strategy = *self.world.chance.pick(&["spread", "binpack", "random"]);
            body["placementStrategy"] = match strategy {
                "spread" => json!([{ "type": "spread", "field": "instanceId" }]),
                "binpack" => json!([{ "type": "binpack", "field": "memory" }]),
                other => json!([{ "type": other }]),
            };
        }
        let desired = if is_daemon { 0 } else { u32::try_from(desired).expect("it is small") };
        let wanted = Some(Wanted { desired, definition });
        let model = &self.world.clone().law.model;
        model.tags_forgotten(&key);
        model.service_sent(&key, wanted.clone());
        if let Outcome::Done(_) = self.ask(Operation::CreateService, &body, Copies::Never).await {
            model.service_acknowledged(&key, wanted);
        }
    }

    fn own_service<'a>(&self, state: &'a State) -> Option<&'a Arc<Service>> {
        let prefix = format!("service-{}-", self.number);
        let own: Vec<_> = state
            .services
            .values()
            .filter(|one| one.key.name.starts_with(&prefix) && one.status == ServiceStatus::Active)
            .collect();
        (!own.is_empty()).then(|| *self.world.chance.pick(&own))
    }

    async fn update_service(&mut self, state: &State) {
        let Some(service) = self.own_service(state) else { return };
        let key = service.key.clone();
        let mut wanted = Wanted::of(service);
        let mut body = json!({ "service": &*key.name });
        if service.spec.scheduling == Scheduling::Replica && self.world.chance.one_in(2) {
            let desired = self.world.chance.below(DESIRED_MAX);
            body["desiredCount"] = json!(desired);
            wanted.desired = u32::try_from(desired).expect("it is small");
        }
        let own = self.definitions(state);
        if !own.is_empty() && self.world.chance.one_in(2) {
            wanted.definition = (*self.world.chance.pick(&own)).clone();
            body["taskDefinition"] = json!(wanted.definition.to_string());
        }
        if self.world.chance.one_in(4) {
            body["forceNewDeployment"] = json!(true);
        }
        if service.spec.scheduling == Scheduling::Replica && self.world.chance.one_in(4) {
            body["deploymentConfiguration"] = self.bounds();
        }
        self.change_service(&key, wanted, &body).await;
    }

    pub(crate) async fn change_service(&mut self, key: &ServiceKey, wanted: Wanted, body: &Value) {
        let model = &self.world.clone().law.model;
        model.service_sent(key, Some(wanted.clone()));
        if let Outcome::Done(_) = self.ask(Operation::UpdateService, body, Copies::Never).await {
            model.service_acknowledged(key, Some(wanted));
        }
    }

    async fn delete_service(&mut self, state: &State) {
        let Some(service) = self.own_service(state) else { return };
        let key = service.key.clone();
        let model = &self.world.clone().law.model;
        model.service_sent(&key, None);
        model.tags_forgotten(&key);
        let body = json!({ "service": &*key.name, "force": true });
        if let Outcome::Done(_) = self.ask(Operation::DeleteService, &body, Copies::Never).await {
            model.service_acknowledged(&key, None);
        }
    }

    async fn run_task(&mut self, state: &State) {
        let own = self.definitions(state);
        if own.is_empty() {
            return;
        }
        let definition = self.world.chance.pick(&own).to_string();
        let (count, mark) = (1 + self.world.chance.index(3), format!("run-{}-{}", self.number, self.calls));
        self.world.law.model.run_sent(&mark, count);
        let body = json!({
            "taskDefinition": definition, "count": count, "startedBy": mark, "clientToken": mark,
        });
        let first = self.ask(Operation::RunTask, &body, Copies::MayCome).await;
        let Outcome::Done(Done { reply: Reply::Tasks { tasks, .. }, .. }) = first else { return };
        self.world.law.model.tasks_acknowledged(&tasks);
        if tasks.is_empty() || !self.world.chance.one_in(3) {
            return;
        }
        let again = self.ask(Operation::RunTask, &body, Copies::Never).await;
        if let Outcome::Done(Done { reply: Reply::Tasks { tasks: told, .. }, .. }) = again
            && told != tasks
        {
            self.world.trace.broken(format!("{mark} was answered with {tasks:?} and then with {told:?}"));
        }
    }

    async fn start_task(&mut self, state: &State) {
        let own = self.definitions(state);
        let instances: Vec<_> = state.instances.values().filter(|one| one.is_connected()).collect();
        if own.is_empty() || instances.is_empty() {
            return;
        }
        let instance = self.world.chance.pick(&instances).key.id.to_string();
        let definition = self.world.chance.pick(&own).to_string();
        let body = json!({ "taskDefinition": definition, "containerInstances": [instance] });
        if let Outcome::Done(Done { reply: Reply::Tasks { tasks, .. }, .. }) =
            self.ask(Operation::StartTask, &body, Copies::Never).await
        {
            self.world.law.model.tasks_acknowledged(&tasks);
        }
    }

    async fn stop_task(&mut self, state: &State) {
        let running: Vec<_> = state.tasks.values().filter(|task| task.desired == Desired::Running).collect();
        if running.is_empty() {
            return;
        }
        let task = self.world.chance.pick(&running).key.clone();
        let body = json!({ "task": task.id.to_string() });
        if let Outcome::Done(done) = self.ask(Operation::StopTask, &body, Copies::MayCome).await
            && done.state.tasks.get(&task).is_some_and(|task| task.desired == Desired::Running)
        {
            self.world.trace.broken(format!("task {} was said to stop, and shall run", task.id));
        }
    }

    async fn drain(&mut self, state: &State) {
        let instances: Vec<_> =
            state.instances.values().filter(|one| one.status != InstanceStatus::Inactive).collect();
        if instances.is_empty() {
            return;
        }
        let instance = self.world.chance.pick(&instances);
        let status = if instance.status == InstanceStatus::Active { "DRAINING" } else { "ACTIVE" };
        let body = json!({ "containerInstances": [instance.key.id.to_string()], "status": status });
        self.ask(Operation::UpdateContainerInstancesState, &body, Copies::Never).await;
    }

    async fn deregister_instance(&mut self, state: &State) {
        let instances: Vec<_> =
            state.instances.values().filter(|one| one.status != InstanceStatus::Inactive).collect();
        if instances.len() < 2 || !self.world.chance.one_in(3) {
            return;
        }
        let instance = self.world.chance.pick(&instances).key.id.to_string();
        let body = json!({ "containerInstance": instance, "force": self.world.chance.one_in(2) });
        self.ask(Operation::DeregisterContainerInstance, &body, Copies::Never).await;
    }

    async fn tag(&mut self, state: &State) {
        let Some(service) = self.own_service(state) else { return };
        let key = service.key.clone();
        let arn = home().service_arn(&key.cluster, &key.name);
        let model = &self.world.clone().law.model;
        if self.world.chance.one_in(3) {
            let body = json!({ "resourceArn": arn, "tagKeys": ["mark"] });
            model.tag_sent(&key, "");
            model.tags_forgotten(&key);
            if let Outcome::Done(_) = self.ask(Operation::UntagResource, &body, Copies::Never).await {
                model.tag_acknowledged(&key, None);
            }
            return;
        }
        let value = format!("{}", self.calls);
        let body = json!({ "resourceArn": arn, "tags": [{ "key": "mark", "value": value }] });
        model.tags_forgotten(&key);
        if let Outcome::Done(_) = self.ask(Operation::TagResource, &body, Copies::Never).await {
            model.tag_acknowledged(&key, Some(value));
        }
    }

    async fn cluster(&mut self) {
        let name = format!("cluster-{}", self.number);
        let model = &self.world.clone().law.model;
        let exists = self.world.chance.one_in(2);
        model.cluster_sent(&name, exists);
        let outcome = if exists {
            self.ask(Operation::CreateCluster, &json!({ "clusterName": name }), Copies::Never).await
        } else {
            self.ask(Operation::DeleteCluster, &json!({ "cluster": name }), Copies::Never).await
        };
        if let Outcome::Done(_) = outcome {
            model.cluster_acknowledged(&name, exists);
        }
    }

    async fn configure_cluster(&mut self) {
        let name = format!("cluster-{}", self.number);
        let setting = json!({ "name": "containerInsights", "value": "disabled" });
        let (operation, body) = if self.world.chance.one_in(2) {
            (Operation::UpdateCluster, json!({ "cluster": name, "settings": [setting] }))
        } else {
            (Operation::UpdateClusterSettings, json!({ "cluster": name, "settings": [setting] }))
        };
        self.ask(operation, &body, Copies::Never).await;
    }

    /// Whether the task was started by a user, not by a service.
    pub(crate) fn is_standalone(origin: &Origin) -> bool {
        match origin {
            Origin::Standalone => true,
            Origin::Service { .. } => false,
        }
    }
}
