//! After the storm: within a bounded time everything must be as it should, with nothing left over anywhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ecsr_api::ecs::Operation;
use ecsr_core::State;
use ecsr_core::ids::ServiceKey;
use ecsr_core::state::{Desired, InstanceStatus, Known, Scheduling, Service, ServiceStatus};
use serde_json::json;

use crate::client::Client;
use crate::container::Temper;
use crate::model::Wanted;
use crate::world::{Copies, World};

/// How long the cluster may take. Longer than the longest delay of a crash loop and a stubborn container's stops.
const CONVERGES_WITHIN: Duration = Duration::from_mins(30);
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Asks for what every cluster can give, and waits for it.
pub(crate) async fn converge(world: &Arc<World>) {
    let mut operator = Client::new(world, 99);
    let deadline = world.elapsed() + CONVERGES_WITHIN;
    if !wait(world, deadline, |state| everybody_is_here(world, state)).await {
        return;
    }
    settle(world, &mut operator).await;
    wait(world, deadline, |state| all_is_well(world, state)).await;
}

/// Looks until nothing is amiss. False, and the law is told, if it takes too long.
async fn wait(world: &Arc<World>, deadline: Duration, amiss: impl Fn(&State) -> Vec<String>) -> bool {
    loop {
        if !world.is_lawful() {
            return false;
        }
        let state = world.control.durable();
        let found = state.map_or_else(|| vec!["there is no state".to_owned()], |state| amiss(&state));
        let Some(first) = found.into_iter().next() else { return true };
        if world.elapsed() > deadline {
            world.trace.broken(format!("not within {} s of calm: {first}", CONVERGES_WITHIN.as_secs()));
            return false;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Every host's agent is connected. Hosts that had lost their memory are new instances by then.
fn everybody_is_here(world: &World, state: &State) -> Vec<String> {
    let connected = state.instances.values().filter(|one| one.is_connected()).count();
    let hosts = world.machines.len();
    (connected < hosts).then(|| format!("{connected} of {hosts} agents are connected")).into_iter().collect()
}

/// The operator's part: what is beyond hope is given up, and every service is given something that can run.
async fn settle(world: &Arc<World>, operator: &mut Client) {
    let Some(state) = world.control.durable() else { return };
    for instance in state.instances.values().filter(|one| one.status != InstanceStatus::Inactive) {
        let id = instance.key.id.to_string();
        if !instance.is_connected() {
            let body = json!({ "containerInstance": id, "force": true });
            operator.ask(Operation::DeregisterContainerInstance, &body, Copies::Never).await;
        } else if instance.status == InstanceStatus::Draining {
            let body = json!({ "containerInstances": [id], "status": "ACTIVE" });
            operator.ask(Operation::UpdateContainerInstancesState, &body, Copies::Never).await;
        }
    }
    let standalone = state.tasks.values().filter(|task| Client::is_standalone(&task.origin));
    for task in standalone.filter(|task| task.desired == Desired::Running) {
        let body = json!({ "task": task.key.id.to_string() });
        operator.ask(Operation::StopTask, &body, Copies::Never).await;
    }
    let body = json!({
        "family": "calm",
        "containerDefinitions": [
            { "name": "main", "image": Temper::Steady.image(), "cpu": 32, "memory": 32, "essential": true },
        ],
    });
    operator.ask(Operation::RegisterTaskDefinition, &body, Copies::Never).await;
    let Some(state) = world.control.durable() else { return };
    let Some(calm) = state.latest_definition(&"calm".into()).map(|found| found.id.clone()) else { return };
    for service in state.services.values().filter(|one| one.status == ServiceStatus::Active) {
        let mut body = json!({
            "service": &*service.key.name, "taskDefinition": calm.to_string(), "forceNewDeployment": true,
        });
        let mut desired = Wanted::of(service).desired;
        if service.spec.scheduling == Scheduling::Replica {
            desired = desired.min(2);
            body["desiredCount"] = json!(desired);
            body["deploymentConfiguration"] = json!({ "minimumHealthyPercent": 0, "maximumPercent": 200 });
        }
        let wanted = Wanted { desired, definition: calm.clone() };
        operator.change_service(&service.key, wanted, &body).await;
    }
}

/// Everything that is not as it should be.
fn all_is_well(world: &World, state: &State) -> Vec<String> {
    let mut amiss = everybody_is_here(world, state);
    for task in state.tasks.values().filter(|task| task.is_live()) {
        let (id, known) = (task.key.id, task.known);
        if task.desired == Desired::Stopped {
            amiss.push(format!("task {id} on {} shall stop and is {known:?}", task.instance));
        } else if known == Known::Pending {
            amiss.push(format!("task {id} is still PENDING"));
        }
    }
    amiss.extend(state.services.values().filter_map(|service| unsteady(state, service)));
    amiss.extend(ghosts(world, state));
    amiss.extend(world.law.model.check(state));
    amiss.extend(ecsr_core::check::check(state));
    amiss
}

fn unsteady(state: &State, service: &Service) -> Option<String> {
    let ServiceKey { name, .. } = &service.key;
    let running = state.live_tasks_of(&service.key).count();
    let wanted = match (service.status, service.spec.scheduling) {
        (ServiceStatus::Inactive | ServiceStatus::Draining, _) => 0,
        (ServiceStatus::Active, Scheduling::Replica) => service.desired_count as usize,
        (ServiceStatus::Active, Scheduling::Daemon) => {
            state.instances.values().filter(|one| one.is_connected()).count()
        }
    };
    if running != wanted {
        return Some(format!("service {name} has {running} tasks of {wanted}"));
    }
    (service.deployments.len() > 1).then(|| format!("service {name} is still being rolled out"))
}

/// What runs on the hosts must be what the state says, no more and no less.
fn ghosts(world: &World, state: &State) -> Vec<String> {
    let mut running = BTreeSet::new();
    for machine in &world.machines {
        let inner = machine.lock();
        running.extend(
            inner.containers.values().filter(|one| one.is_running()).map(|one| one.task_arn().to_owned()),
        );
    }
    let live = state.tasks.values().filter(|task| task.is_live());
    let live: BTreeSet<String> =
        live.map(|task| state.home.task_arn(&task.key.cluster, &task.key.id.to_string())).collect();
    let ghosts = running.difference(&live).map(|arn| format!("{arn} runs and is not in the state"));
    ghosts.chain(live.difference(&running).map(|arn| format!("{arn} does not run anywhere"))).collect()
}
