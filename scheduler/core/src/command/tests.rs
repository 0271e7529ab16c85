//! What callers and agents are answered, where the answer depends on what was before.

use std::time::Duration;

use ecsr_api::ecs;

use super::tick::TOKENS_KEPT;
use super::{Command, Reply, STOPPED_TASKS_KEPT};
use crate::ids::{InstanceKey, TaskKey};
use crate::refusal::Refusal;
use crate::state::{Desired, InstanceStatus, Known, StopCode};
use crate::testing::World;

fn world() -> (World, InstanceKey) {
    let mut world = World::new();
    let instance = world.instance("a", 4096, 8192);
    world.define("web", |_| {});
    (world, instance)
}

fn run(change: impl FnOnce(&mut ecs::RunTaskRequest)) -> Command {
    let mut request =
        ecs::RunTaskRequest { task_definition: Some("web".into()), ..ecs::RunTaskRequest::default() };
    change(&mut request);
    Command::RunTask(Box::new(request))
}

fn tasks(reply: Reply) -> Vec<TaskKey> {
    match reply {
        Reply::Tasks { tasks, .. } => tasks,
        other => panic!("tasks, not {other:?}"),
    }
}

#[test]
fn the_same_token_gives_the_same_tasks() {
    let (mut world, _) = world();
    let call =
        |count| run(|request| (request.client_token, request.count) = (Some("once".into()), Some(count)));
    let first = tasks(world.must(call(2)));
    assert_eq!(tasks(world.must(call(2))), first);
    assert_eq!(world.state.tasks.len(), 2);
    assert!(
        matches!(world.ask(&call(3)), Err(Refusal::Conflict { resource_ids, .. }) if resource_ids.len() == 2)
    );
}

#[test]
fn an_instance_is_bound_to_the_agents_key_that_registered_it_last() {
    let (mut world, instance) = world();
    let arn = world.state.home.container_instance_arn(&instance.cluster, &instance.id.to_string());
    let resources = ["CPU", "MEMORY"].map(|name| ecs::Resource {
        name: Some(name.into()),
        integer_value: Some(1024),
        ..ecs::Resource::default()
    });
    let request = || {
        Box::new(ecs::RegisterContainerInstanceRequest {
            container_instance_arn: Some(arn.clone()),
            total_resources: Some(resources.to_vec()),
            ..ecs::RegisterContainerInstanceRequest::default()
        })
    };
    let by =
        |key: &str| Command::RegisterAgentsInstance { request: request(), agent_key: key.to_owned().into() };
    let mut check = |command: Command, key: Option<&str>| {
        assert_eq!(world.must(command), Reply::Instance(instance.clone()));
        assert_eq!(world.state.instances[&instance].agent_key.as_deref(), key);
    };
    check(Command::RegisterContainerInstance(request()), None);
    check(by("AKIA1"), Some("AKIA1"));
    check(by("AKIA2"), Some("AKIA2"));
    check(Command::RegisterContainerInstance(request()), None);
}

#[test]
fn a_token_is_forgotten_with_the_last_of_its_tasks_but_lasts_no_longer_than_a_day() {
    let (mut world, _) = world();
    let call =
        |token: &str| run(|request| (request.client_token, request.count) = (Some(token.into()), Some(2)));
    let short = tasks(world.must(call("short")));
    world.must(call("long"));
    let kept_after = |world: &mut World, time: Duration| {
        world.now = world.now.plus(time);
        world.must(Command::Tick);
        world.state.tokens.keys().map(|(_, token)| token.to_string()).collect::<Vec<_>>()
    };
    world.report(&short[0], "STOPPED");
    assert_eq!(kept_after(&mut world, STOPPED_TASKS_KEPT), ["long", "short"]);
    assert!(!world.state.tasks.contains_key(&short[0]), "a task is forgotten an hour after its end");
    world.report(&short[1], "STOPPED");
    assert_eq!(kept_after(&mut world, STOPPED_TASKS_KEPT), ["long"]);
    assert_eq!(kept_after(&mut world, TOKENS_KEPT / 2), ["long"]);
    assert_eq!(kept_after(&mut world, TOKENS_KEPT / 2), [""; 0]);
}

#[test]
fn a_refused_call_changes_nothing() {
    let (mut world, _) = world();
    let check = |world: &mut World, command: Command, words: &str| {
        let before = world.events.len();
        let refusal = world.ask(&command).expect_err("the call is refused");
        assert_eq!(refusal.to_string(), words);
        assert_eq!(world.events.len(), before);
    };
    check(&mut world, run(|request| request.cluster = Some("nowhere".into())), "Cluster not found.");
    check(
        &mut world,
        run(|request| request.task_definition = Some("nothing".into())),
        "TaskDefinition not found.",
    );
    check(&mut world, run(|request| request.count = Some(11)), "Count should be between 1 and 10.");
    check(&mut world, run(|request| request.count = Some(-1)), "Count should be between 1 and 10.");
    check(
        &mut world,
        run(|request| request.launch_type = Some("FARGATE".into())),
        "Task definition does not support launch_type FARGATE.",
    );
    let overrides = |name: &str| ecs::TaskOverride {
        container_overrides: Some(vec![ecs::ContainerOverride {
            name: Some(name.into()),
            ..Default::default()
        }]),
        ..ecs::TaskOverride::default()
    };
    check(
        &mut world,
        run(|request| request.overrides = Some(overrides("db"))),
        "Override for container named db is not a container in the TaskDefinition.",
    );
}

#[test]
fn without_instances_nothing_can_run() {
    let mut world = World::new();
    world.define("web", |_| {});
    let refusal = world.ask(&run(|_| {})).expect_err("there is no instance");
    assert_eq!(
        refusal,
        Refusal::InvalidParameter("No Container Instances were found in your cluster.".into())
    );
}

#[test]
fn a_report_that_says_nothing_new_records_nothing() {
    let (mut world, _) = world();
    let task = tasks(world.must(run(|_| {}))).remove(0);
    world.report(&task, "RUNNING");
    let before = world.events.len();
    world.report(&task, "RUNNING");
    world.report(&task, "PENDING");
    assert_eq!(world.events.len(), before);
    world.report(&task, "STOPPED");
    let end = world.events.len();
    world.report(&task, "RUNNING");
    assert_eq!(world.events.len(), end);
    assert_eq!(world.state.tasks[&task].known, Known::Stopped);
}

#[test]
fn the_end_of_a_task_is_explained() {
    let check = |before: &[&str], requested: bool, code: StopCode, reason: &str| {
        let (mut world, _) = world();
        let task = tasks(world.must(run(|_| {}))).remove(0);
        for status in before {
            world.report(&task, status);
        }
        if requested {
            let stop = ecs::StopTaskRequest { task: Some(task.id.to_string()), ..Default::default() };
            world.must(Command::StopTask(Box::new(stop)));
            assert_eq!(world.state.tasks[&task].desired, Desired::Stopped);
        }
        world.report(&task, "STOPPED");
        let stop = world.state.tasks[&task].stop.clone().expect("every end has a reason");
        assert_eq!((stop.code, stop.reason.as_str()), (code, reason));
    };
    check(&["RUNNING"], false, StopCode::EssentialContainerExited, "Essential container in task exited");
    check(&[], false, StopCode::TaskFailedToStart, "Task failed to start");
    check(&["RUNNING"], true, StopCode::UserInitiated, "Task stopped by user");
}

#[test]
fn a_deregistered_instance_orphans_what_it_runs_only_by_force() {
    let (mut world, instance) = world();
    let task = tasks(world.must(run(|_| {}))).remove(0);
    let deregister = |force| {
        let container_instance = Some(instance.id.to_string());
        let request = ecs::DeregisterContainerInstanceRequest { container_instance, force, cluster: None };
        Command::DeregisterContainerInstance(Box::new(request))
    };
    assert_eq!(
        world.ask(&deregister(None)),
        Err(Refusal::InvalidParameter("Found running tasks on the instance.".into()))
    );
    world.must(deregister(Some(true)));
    assert_eq!(world.host(&instance).status, InstanceStatus::Inactive);
    let stop = world.state.tasks[&task].stop.clone().expect("the task was let go of");
    assert_eq!(stop.reason, "Container instance deregistration forced by user");
    let again = world.ask(&Command::AgentConnected { instance, version_info: ecs::VersionInfo::default() });
    assert!(again.is_err());
}

#[test]
fn a_cluster_is_deleted_only_when_empty() {
    let (mut world, instance) = world();
    let delete =
        || Command::DeleteCluster(Box::new(ecs::DeleteClusterRequest { cluster: Some("default".into()) }));
    assert_eq!(world.ask(&delete()), Err(Refusal::ClusterContainsContainerInstances));
    let container_instance = Some(instance.id.to_string());
    let request = ecs::DeregisterContainerInstanceRequest { container_instance, ..Default::default() };
    world.must(Command::DeregisterContainerInstance(Box::new(request)));
    world.serve("web", 1, |_| {});
    assert_eq!(world.ask(&delete()), Err(Refusal::ClusterContainsServices));
}

#[test]
fn creating_a_service_again_must_mean_the_same() {
    let (mut world, _) = world();
    world.serve("web", 2, |_| {});
    let before = world.events.len();
    world.serve("web", 2, |_| {});
    assert_eq!(world.events.len(), before);
    let other = ecs::CreateServiceRequest {
        service_name: Some("web".into()),
        task_definition: Some("web".into()),
        desired_count: Some(3),
        ..ecs::CreateServiceRequest::default()
    };
    let refusal = world.ask(&Command::CreateService(Box::new(other))).expect_err("another count");
    assert_eq!(refusal.to_string(), "Creation of service was not idempotent.");
}

#[test]
fn revisions_are_never_used_twice() {
    let (mut world, _) = world();
    let call = |text: &str| {
        let task_definition = Some(text.to_owned());
        Command::DeregisterTaskDefinition(Box::new(ecs::DeregisterTaskDefinitionRequest { task_definition }))
    };
    world.must(call("web:1"));
    assert_eq!(world.ask(&call("web")), Err(Refusal::InvalidParameter("Revision is missing.".into())));
    let delete = ecs::DeleteTaskDefinitionsRequest { task_definitions: Some(vec!["web:1".into()]) };
    world.must(Command::DeleteTaskDefinitions(Box::new(delete)));
    world.define("web", |_| {});
    assert!(world.ask(&run(|_| {})).is_ok());
    assert_eq!(world.state.tasks.values().next().map(|task| task.definition.revision), Some(2));
}
