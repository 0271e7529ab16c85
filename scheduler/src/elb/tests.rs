//! A real writer and a load balancer in memory: registrations that survive whatever goes wrong.

use ecsr_api::ecs;
use ecsr_core::command::Command;
use ecsr_core::ids::ServiceKey;
use ecsr_core::state::{Standing, Whereabouts};
use serde_json::json;
use tokio::sync::watch;

use super::client::Trouble;
use super::fake::FakeBalancer;
use super::*;
use crate::clock::Clock;
use crate::driver::{Driver, Surroundings, recover};
use crate::entropy::Entropy;
use crate::journal::{FakeJournal, Journal};
use crate::testing::{home, registration, request};

const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/0123456789abcdef";

/// A service of one task behind a group, and the watch over it.
struct Behind {
    driver: Driver,
    balancer: FakeBalancer,
    service: ServiceKey,
    _stop: watch::Sender<bool>,
}

impl Behind {
    async fn start() -> Self {
        let mut journal: Box<dyn Journal> = Box::new(FakeJournal::default());
        let recovered = recover(&mut *journal, home()).expect("a good journal");
        let entropy = Entropy::from_system().unwrap();
        let surroundings = Surroundings {
            clock: Clock::not_before(recovered.latest),
            entropy: entropy.clone(),
            caller: home().root_arn(),
            events_per_snapshot_min: 1000,
        };
        let (stop, stopped) = watch::channel(false);
        let (driver, _) = Driver::start(recovered, journal, surroundings, stopped.clone()).await.unwrap();
        let balancer = FakeBalancer::with_group(GROUP);
        tokio::spawn(watch(Arc::new(balancer.clone()), driver.clone(), entropy, stopped));
        let service = ServiceKey { cluster: "default".into(), name: "web".into() };
        let behind = Self { driver, balancer, service, _stop: stop };
        behind.furnish().await;
        behind
    }

    async fn furnish(&self) {
        self.must(Command::CreateCluster(request(json!({})))).await;
        self.must(Command::RegisterContainerInstance(registration())).await;
        let instance = self.driver.state().instances.keys().next().unwrap().clone();
        let version_info = ecs::VersionInfo::default();
        self.must(Command::AgentConnected { instance: instance.clone(), version_info }).await;
        let whereabouts = Whereabouts { address: "10.0.0.7".parse().unwrap(), answers: true };
        self.must(Command::HostLearned { instance, whereabouts }).await;
        let container =
            json!({"name": "web", "image": "web", "memory": 16, "portMappings": [{"containerPort": 80}]});
        let definition = json!({"family": "web", "containerDefinitions": [container]});
        self.must(Command::RegisterTaskDefinition(request(definition))).await;
        self.must(Command::CreateService(request(self.creation()))).await;
        self.report("RUNNING").await;
    }

    fn creation(&self) -> serde_json::Value {
        json!({
            "serviceName": &*self.service.name,
            "taskDefinition": "web",
            "desiredCount": 1,
            "loadBalancers": [{"targetGroupArn": GROUP, "containerName": "web", "containerPort": 80}],
        })
    }

    async fn must(&self, command: Command) {
        self.driver.execute(command).await.expect("the command is in order");
    }

    /// The agent's report of the only task that is not STOPPED.
    async fn report(&self, status: &str) {
        let state = self.driver.state();
        let task = state.live_tasks_of(&self.service).next().expect("a task").key.id.to_string();
        let bindings =
            json!([{"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp"}]);
        let container = json!({"containerName": "web", "status": status, "networkBindings": bindings});
        let report = json!({"task": task, "status": status, "containers": [container]});
        self.must(Command::SubmitTaskStateChange(request(report))).await;
    }

    /// Waits for a state of which that is true.
    async fn until(&self, is_true: impl Fn(&State) -> bool) {
        let mut published = self.driver.publications();
        published.wait_for(|state| is_true(state)).await.expect("the writer runs");
    }

    async fn until_standing(&self, standing: Option<Standing>) {
        let service = self.service.clone();
        self.until(move |state| {
            state.live_tasks_of(&service).any(|task| task.endpoints[0].standing() == standing)
        })
        .await;
    }

    async fn until_said(&self, text: &'static str) {
        let service = self.service.clone();
        self.until(move |state| {
            let log = state.service_events.get(&service);
            log.into_iter().flatten().any(|event| event.message.contains(text))
        })
        .await;
    }
}

#[tokio::test]
async fn a_task_comes_into_its_group_and_leaves_it_before_it_is_stopped() {
    let behind = Behind::start().await;
    behind.until_standing(Some(Standing::Healthy)).await;
    behind.until_said("registered 1 targets in").await;
    let service = request(json!({"service": "web", "desiredCount": 0}));
    behind.must(Command::UpdateService(service)).await;
    behind.until_standing(Some(Standing::Draining)).await;
    behind.balancer.drained(GROUP);
    behind.until_standing(None).await;
    assert!(behind.balancer.held(GROUP).is_empty());
    behind.report("STOPPED").await;
    behind.until(|state| state.endpoints.is_empty()).await;
}

#[tokio::test]
async fn a_load_balancer_in_trouble_delays_and_loses_nothing() {
    let behind = Behind::start().await;
    behind.until_standing(Some(Standing::Healthy)).await;
    behind.balancer.trouble(Some(Trouble::Throttled));
    let before = behind.balancer.calls();
    behind.report("STOPPED").await;
    behind.until_said("operations are being throttled on elb").await;
    assert!(behind.balancer.calls() > before);
    behind.balancer.trouble(None);
    behind.until_said("deregistered 1 targets in").await;
}

#[tokio::test]
async fn a_group_that_was_deleted_is_complained_of_and_holds_no_task_back() {
    let behind = Behind::start().await;
    behind.until_standing(Some(Standing::Healthy)).await;
    behind.balancer.delete(GROUP);
    let service = request(json!({"service": "web", "desiredCount": 0}));
    behind.must(Command::UpdateService(service)).await;
    behind.until_standing(None).await;
}

#[tokio::test]
async fn services_are_admitted_when_their_groups_exist() {
    let behind = Behind::start().await;
    let state = behind.driver.state();
    let ask = async |group: &str| {
        let mut creation = behind.creation();
        creation["loadBalancers"][0]["targetGroupArn"] = json!(group);
        let refused = admit(&behind.balancer, &state, &Command::CreateService(request(creation))).await;
        refused.map_err(|error| error.to_string())
    };
    assert_eq!(ask(GROUP).await, Ok(()));
    assert!(ask("arn:aws:elasticloadbalancing:r:1:targetgroup/none/1").await.is_err());
    behind.balancer.trouble(Some(Trouble::Unreachable("nobody there".into())));
    assert!(ask(GROUP).await.unwrap_err().contains("Unable to assume role and validate"));
}
