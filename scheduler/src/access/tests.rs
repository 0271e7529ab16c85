//! Each class of operations, with each kind of key.

use std::sync::Arc;

use ecsr_core::ids::InstanceKey;
use ecsr_core::state::{Event, Presence};
use serde_json::{Value, json};

use super::*;
use crate::testing::World;

const HERE: &str = "arn:aws:ecs:us-east-1:123456789012";
const OWN: &str = "AKIAOWN";
const OTHER: &str = "AKIAOTHER";

fn caller(clusters: &[&str], actions: Actions) -> Caller {
    let clusters = clusters.iter().map(|name| (*name).to_owned()).collect();
    Caller { access_key_id: OWN.to_owned(), scope: Scope { clusters, actions } }
}

/// The resource that is refused, or nothing.
fn resource(decided: Result<(), Denied>) -> Option<String> {
    decided.err().map(|denied| denied.resource)
}

fn placed(caller: &Caller, operation: Operation, body: &Value) -> Option<String> {
    let members = ecs::read_request(body.to_string().as_bytes()).unwrap();
    let home = crate::testing::home();
    resource(Request { caller, home: &home, operation, members: &members }.in_place())
}

fn bound(world: &World, caller: &Caller, operation: Operation, body: &Value) -> Option<String> {
    let members = ecs::read_request(body.to_string().as_bytes()).unwrap();
    let request = Request { caller, home: &world.state.home, operation, members: &members };
    resource(request.bound(&world.state, |key| key == OTHER))
}

/// A world whose instance is bound to that key.
fn world_of(agent_key: Option<&str>, presence: Presence) -> World {
    let mut world = World::with_tasks(1);
    let known = world.state.instances[&world.instance].clone();
    let instance = Instance { agent_key: agent_key.map(Box::from), presence, ..Instance::clone(&known) };
    world.state.apply(&Event::InstanceSaved(Arc::new(instance)));
    world
}

fn arn_of(world: &World, key: &InstanceKey) -> String {
    arn(&world.state.home, key)
}

#[test]
fn a_refusal_is_worded_as_by_iam() {
    let denied =
        caller(&["prod"], Actions::All).on_cluster(&crate::testing::home(), "ListTasks", Some("dev"));
    let error = ApiError::from(denied.unwrap_err());
    assert_eq!((error.status(), error.code), (400, ErrorCode::AccessDeniedException));
    assert_eq!(
        error.message.as_deref(),
        Some(
            "User: arn:aws:iam::123456789012:user/AKIAOWN is not authorized to perform: ecs:ListTasks on resource: \
             arn:aws:ecs:us-east-1:123456789012:cluster/dev because no identity-based policy allows the ecs:ListTasks \
             action"
        )
    );
}

#[test]
fn a_key_for_clusters_acts_on_them_alone() {
    let key = caller(&["prod", "test"], Actions::All);
    let check = |operation: Operation, body: Value, refused: Option<&str>| {
        let expected = refused.map(|resource| format!("{HERE}:{resource}"));
        assert_eq!(placed(&key, operation, &body), expected, "{operation:?} {body}");
    };
    for operation in [Operation::RunTask, Operation::ListServices, Operation::SubmitTaskStateChange] {
        check(operation, json!({"cluster": "prod"}), None);
        check(operation, json!({"cluster": format!("{HERE}:cluster/test")}), None);
        check(operation, json!({"cluster": "dev"}), Some("cluster/dev"));
        for default in [json!({}), json!({"cluster": null}), json!({"cluster": ""})] {
            check(operation, default, Some("cluster/default"));
        }
    }
    check(Operation::CreateCluster, json!({"clusterName": "test"}), None);
    check(Operation::CreateCluster, json!({"clusterName": "dev", "cluster": "prod"}), Some("cluster/dev"));
    check(Operation::DescribeClusters, json!({"clusters": ["prod", "test"]}), None);
    check(Operation::DescribeClusters, json!({"clusters": ["prod", "dev"]}), Some("cluster/dev"));
    check(Operation::DescribeClusters, json!({}), Some("cluster/default"));
    for (of, refused) in [("prod", false), ("dev", true)] {
        for resource in ["cluster/", "service/", "task/", "container-instance/"] {
            let tail = if resource == "cluster/" { String::new() } else { format!("/{}", "a".repeat(32)) };
            let resource = format!("{resource}{of}{tail}");
            let body = json!({"resourceArn": format!("{HERE}:{resource}"), "cluster": "prod"});
            check(Operation::TagResource, body, refused.then_some(resource.as_str()));
        }
    }
}

#[test]
fn what_belongs_to_no_cluster_is_read_and_added_to() {
    let key = caller(&["prod"], Actions::All);
    let definition = json!({"resourceArn": format!("{HERE}:task-definition/web:1")});
    for operation in [Operation::RegisterTaskDefinition, Operation::DescribeTaskDefinition] {
        assert_eq!(placed(&key, operation, &json!({})), None);
    }
    assert_eq!(placed(&key, Operation::ListTagsForResource, &definition), None);
    for operation in
        [Operation::ListClusters, Operation::DeregisterTaskDefinition, Operation::DeleteTaskDefinitions]
    {
        assert_eq!(placed(&key, operation, &json!({})).as_deref(), Some("*"), "{operation:?}");
    }
    assert!(placed(&key, Operation::UntagResource, &definition).is_some());
    assert_eq!(placed(&key, Operation::CreateDaemon, &json!({})), None, "not served, whoever asks");
}

#[test]
fn what_cannot_be_understood_is_not_allowed() {
    let key = caller(&["prod"], Actions::All);
    let ask = |text: &str| {
        let body = json!({"cluster": text, "resourceArn": text});
        [Operation::ListTasks, Operation::TagResource].map(|operation| placed(&key, operation, &body))
    };
    for text in ["prod/../dev", "arn:aws:ecs:eu-west-1:1:cluster/prod", "prod ", "arn:aws:s3:::prod"] {
        assert_eq!(ask(text), [Some(text.to_owned()), Some(text.to_owned())]);
    }
    let long = ask(&"ä".repeat(5000));
    assert!(long.iter().flatten().all(|shown| shown.len() == SHOWN_BYTES_MAX), "{long:?}");
}

#[test]
fn an_agents_key_does_what_agents_do() {
    let agent = caller(&[], Actions::Agent);
    for operation in Operation::ALL {
        let is_agents = [
            Operation::CreateCluster,
            Operation::DeregisterContainerInstance,
            Operation::DiscoverPollEndpoint,
            Operation::ListTagsForResource,
            Operation::RegisterContainerInstance,
            Operation::SubmitAttachmentStateChanges,
            Operation::SubmitContainerStateChange,
            Operation::SubmitTaskStateChange,
            Operation::TagResource,
            Operation::UpdateContainerInstancesState,
        ]
        .contains(operation);
        assert_eq!(placed(&agent, *operation, &json!({})).is_none(), is_agents, "{operation:?}");
    }
    let agent = caller(&["prod"], Actions::Agent);
    let register =
        |cluster: &str| placed(&agent, Operation::RegisterContainerInstance, &json!({"cluster": cluster}));
    assert_eq!((register("prod"), register("dev")), (None, Some(format!("{HERE}:cluster/dev"))));
}

#[test]
fn every_operation_that_is_served_has_a_rule() {
    let world = World::with_tasks(0);
    for operation in Operation::ALL {
        let is_served = ecsr_core::command::parse(*operation, b"{}").is_some()
            || ecsr_core::read::answer(&world.state, *operation, b"{}").is_some()
            || [Operation::DiscoverPollEndpoint, Operation::SubmitAttachmentStateChanges].contains(operation);
        assert_eq!(rule(*operation).place != Place::Unserved, is_served, "{operation:?}");
    }
}

#[test]
fn an_agent_speaks_for_what_it_registered_alone() {
    let silent = Presence::Silent { since: ecsr_api::Timestamp::default() };
    let check = |owner: Option<&str>, key: &Caller, may: bool| {
        let world = world_of(owner, silent);
        let arn = arn_of(&world, &world.instance);
        let task = world.tasks[0].id.to_string();
        for (operation, body) in [
            (Operation::SubmitTaskStateChange, json!({"task": task, "status": "STOPPED"})),
            (Operation::SubmitContainerStateChange, json!({"task": task})),
            (Operation::DeregisterContainerInstance, json!({"containerInstance": arn})),
            (
                Operation::UpdateContainerInstancesState,
                json!({"containerInstances": [arn], "status": "DRAINING"}),
            ),
            (Operation::TagResource, json!({"resourceArn": arn})),
        ] {
            assert_eq!(bound(&world, key, operation, &body), (!may).then(|| arn.clone()), "{operation:?}");
        }
        let instance = &world.state.instances[&world.instance];
        assert_eq!(key.speaks_for(&world.state.home, POLL, instance).is_ok(), may);
    };
    let agent = caller(&["default"], Actions::Agent);
    check(Some(OWN), &agent, true);
    check(Some(OTHER), &agent, false);
    check(None, &agent, false);
    check(Some(OTHER), &caller(&[], Actions::All), true);
    check(None, &caller(&["default"], Actions::All), true);
}

#[test]
fn who_manages_a_cluster_manages_its_instances_but_is_none_of_their_agents() {
    let world = world_of(Some(OTHER), Presence::Connected);
    let (arn, key) = (arn_of(&world, &world.instance), caller(&["default"], Actions::All));
    let ask = |operation: Operation, body: Value| bound(&world, &key, operation, &body);
    let drain = json!({"containerInstances": [arn], "status": "ACTIVE"});
    assert_eq!(ask(Operation::UpdateContainerInstancesState, drain), None);
    assert_eq!(ask(Operation::DeregisterContainerInstance, json!({"containerInstance": arn})), None);
    assert_eq!(ask(Operation::TagResource, json!({"resourceArn": arn})), None);
    let report = json!({"task": world.tasks[0].id.to_string()});
    assert_eq!(ask(Operation::SubmitTaskStateChange, report), Some(arn.clone()));
    assert_eq!(ask(Operation::RegisterContainerInstance, json!({"containerInstanceArn": arn})), Some(arn));
}

#[test]
fn an_agent_drains_its_instance_and_takes_nothing_back() {
    let world = world_of(Some(OWN), Presence::Connected);
    let agent = caller(&[], Actions::Agent);
    let arn = arn_of(&world, &world.instance);
    let set = |status: &str| {
        let body = json!({"containerInstances": [arn], "status": status});
        bound(&world, &agent, Operation::UpdateContainerInstancesState, &body)
    };
    assert_eq!(set("DRAINING"), None);
    assert_eq!(set("ACTIVE"), Some(format!("{HERE}:cluster/default")));
    let tag = |arn: &str| bound(&world, &agent, Operation::TagResource, &json!({"resourceArn": arn}));
    assert_eq!(tag(&arn), None);
    let cluster = format!("{HERE}:cluster/default");
    assert_eq!(tag(&cluster), Some(cluster));
}

#[test]
fn an_instance_changes_its_key_when_the_old_one_is_gone() {
    let silent = Presence::Silent { since: ecsr_api::Timestamp::default() };
    let agent = caller(&[], Actions::Agent);
    let check = |owner: Option<&str>, presence: Presence, may: bool| {
        let world = world_of(owner, presence);
        let arn = arn_of(&world, &world.instance);
        let body = json!({"containerInstanceArn": arn});
        let refused = bound(&world, &agent, Operation::RegisterContainerInstance, &body);
        assert_eq!(refused, (!may).then_some(arn), "{owner:?} {presence:?}");
    };
    check(Some(OWN), Presence::Connected, true);
    check(Some(OTHER), silent, false);
    check(Some("AKIADELETED"), silent, true);
    check(Some("AKIADELETED"), Presence::Connected, false);
    check(None, silent, true);
    check(None, Presence::Connected, false);
}

#[test]
fn what_was_deregistered_is_nobodys() {
    let mut world = world_of(Some(OTHER), Presence::Connected);
    let (agent, arn) = (caller(&[], Actions::Agent), arn_of(&world, &world.instance));
    let again = json!({ "containerInstanceArn": arn });
    let report = json!({"task": world.tasks[0].id.to_string()});
    let check = |world: &World, refused: Option<&str>| {
        for (operation, body) in
            [(Operation::RegisterContainerInstance, &again), (Operation::SubmitTaskStateChange, &report)]
        {
            assert_eq!(bound(world, &agent, operation, body).as_deref(), refused, "{operation:?}");
        }
    };
    check(&world, Some(&arn));
    let known = world.state.instances[&world.instance].clone();
    let instance = Instance { status: InstanceStatus::Inactive, ..Instance::clone(&known) };
    world.state.apply(&Event::InstanceSaved(Arc::new(instance)));
    check(&world, None);
}

#[test]
fn an_agent_reads_the_tags_of_the_tasks_on_its_instance() {
    let agent = caller(&[], Actions::Agent);
    let check = |owner: &str, operation: Operation, may: bool| {
        let world = world_of(Some(owner), Presence::Connected);
        let task = world.state.home.task_arn("default", &world.tasks[0].id.to_string());
        let refused = bound(&world, &agent, operation, &json!({ "resourceArn": task }));
        assert_eq!(refused.is_none(), may, "{owner} {operation:?}");
    };
    check(OWN, Operation::ListTagsForResource, true);
    check(OTHER, Operation::ListTagsForResource, false);
    check(OWN, Operation::TagResource, false);
}

#[test]
fn what_does_not_exist_is_refused_by_the_operation() {
    let world = world_of(Some(OTHER), Presence::Connected);
    let agent = caller(&[], Actions::Agent);
    let unknown = "f".repeat(32);
    for (operation, body) in [
        (Operation::SubmitTaskStateChange, json!({"task": unknown})),
        (Operation::DeregisterContainerInstance, json!({"containerInstance": unknown})),
        (Operation::RegisterContainerInstance, json!({"containerInstanceArn": unknown})),
    ] {
        assert_eq!(bound(&world, &agent, operation, &body), None, "{operation:?}");
    }
}
