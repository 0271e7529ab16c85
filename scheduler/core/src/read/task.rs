//! DescribeTasks and ListTasks.
//!
//! The usual question, which tasks of a service or of an instance should be running, is answered from the index that
//! `State::apply` keeps; every other one scans the cluster's tasks, a bounded number of them for each page.

use std::ops::Bound;
use std::sync::Arc;

use ecsr_api::ecs::{self, Operation, enums};
use serde::Serialize;

use super::page::{Asked, PAGE_MAX, Page, start};
use super::{checked, named, show_tags};
use crate::ids::{InstanceId, InstanceKey, Name, ServiceKey, TaskId};
use crate::refusal::{Refusal, invalid};
use crate::resolve;
use crate::state::{Desired, State, Task};
use crate::view::arn::{self, TaskArns};
use crate::view::{self, Tasks, TasksAnswer};

/// Tasks in one DescribeTasks.
const DESCRIBED_MAX: usize = 100;

/// In the order of the request; STOPPED tasks while they are remembered.
pub(super) fn describe<'s>(
    state: &'s State,
    request: &ecs::DescribeTasksRequest,
) -> Result<TasksAnswer<'s>, Refusal> {
    let cluster = &resolve::cluster(state, request.cluster.as_deref())?.name;
    let asked = named("Tasks", request.tasks.as_ref(), DESCRIBED_MAX)?;
    let show = show_tags(request.include.as_ref(), enums::TASK_FIELD)?;
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        let key = resolve::task_key(state, cluster, text)?;
        match state.tasks.get(&key) {
            Some(found) => tasks.push(&**found),
            None => failures.push(view::missing(arn::task(state, &key))),
        }
    }
    Ok(TasksAnswer { failures, tasks: Tasks::new(state, tasks, show) })
}

/// Tasks in the order of their ids, which means nothing to callers.
pub(super) fn list<'s>(state: &'s State, request: &ecs::ListTasksRequest) -> Result<Listed<'s>, Refusal> {
    let cluster = &resolve::cluster(state, request.cluster.as_deref())?.name;
    let filter = Filter::read(state, cluster, request)?;
    let filters = ecs::ListTasksRequest { max_results: None, next_token: None, ..request.clone() };
    let asked = Asked {
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
        default: PAGE_MAX,
    };
    let page = Page::<TaskId>::open(Operation::ListTasks, &filters, &asked)?;
    let (tasks, next_token) = page.fill(
        filter.candidates(state, cluster, page.after().copied()),
        |task| task.key.id,
        |task| filter.passes(task).then_some(&task.key),
    );
    Ok(Listed { next_token, task_arns: TaskArns::new(state, tasks) })
}

/// The answer to ListTasks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<'s> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    task_arns: TaskArns<'s>,
}

/// What a listed task must be: everything that is given.
struct Filter<'a> {
    desired: Option<Desired>,
    service: Option<ServiceKey>,
    instance: Option<InstanceId>,
    family: Option<&'a str>,
    started_by: Option<&'a str>,
    launch_type: Option<&'a str>,
}

impl<'a> Filter<'a> {
    fn read(state: &State, cluster: &Name, request: &'a ecs::ListTasksRequest) -> Result<Self, Refusal> {
        let given = |text: &'a Option<String>| text.as_deref().filter(|text| !text.is_empty());
        if given(&request.daemon_name).is_some() {
            return Err(Refusal::Unsupported("Daemons are not supported.".to_owned()));
        }
        let instance =
            given(&request.container_instance).map(|text| resolve::instance_key(state, cluster, text));
        let filter = Self {
            desired: desired(request.desired_status.as_ref())?,
            service: given(&request.service_name)
                .map(|text| existing_service(state, cluster, text))
                .transpose()?,
            instance: instance.transpose()?.map(|InstanceKey { id, .. }| id),
            family: given(&request.family),
            started_by: given(&request.started_by),
            launch_type: checked("launchType", request.launch_type.as_ref(), enums::LAUNCH_TYPE)?,
        };
        filter.check_combination()?;
        Ok(filter)
    }

    /// `startedBy` goes with no other filter but the desired status, which always has a value.
    fn check_combination(&self) -> Result<(), Refusal> {
        let others = self.service.is_some()
            || self.instance.is_some()
            || self.family.is_some()
            || self.launch_type.is_some();
        if self.started_by.is_some() && others {
            return Err(invalid("startedBy cannot be combined with other filters."));
        }
        Ok(())
    }

    /// Tasks behind `after` that may pass, few of them where an index can tell. The indexes hold what has not stopped,
    /// which every task that is desired to run has not.
    fn candidates<'s>(
        &self,
        state: &'s State,
        cluster: &'s Name,
        after: Option<TaskId>,
    ) -> Box<dyn Iterator<Item = &'s Arc<Task>> + 's> {
        match (self.desired, &self.service, self.instance) {
            (None, _, _) => Box::new(std::iter::empty()),
            (Some(Desired::Running), Some(service), _) => {
                let from = start(after, TaskId::FIRST);
                let ids = state.service_tasks.get(service).into_iter();
                let ids = ids.flat_map(move |ids| ids.range((from, Bound::Unbounded)));
                Box::new(state.tasks.named(cluster, ids))
            }
            (Some(Desired::Running), None, Some(instance)) => {
                let ids = state.tenants.get(&instance).map(|tenants| tenants.tasks()).unwrap_or_default();
                let from = after.map_or(0, |after| ids.partition_point(|id| *id <= after));
                Box::new(state.tasks.named(cluster, &ids[from..]))
            }
            (Some(Desired::Running), None, None) | (Some(Desired::Stopped), _, _) => {
                Box::new(state.tasks.of_cluster(cluster, after))
            }
        }
    }

    fn passes(&self, task: &Task) -> bool {
        self.desired == Some(task.desired)
            && self.service.as_ref().is_none_or(|wanted| task.service().as_ref() == Some(wanted))
            && self.instance.is_none_or(|wanted| task.instance == wanted)
            && self.family.is_none_or(|wanted| &*task.definition.family == wanted)
            && self.started_by.is_none_or(|wanted| is_started_by(task, wanted))
            && self.launch_type.is_none_or(|wanted| task.launch_type.as_str() == wanted)
    }
}

/// The desired status to look for, RUNNING by default. `None` is PENDING: legal to ask for, but no task ever has it.
fn desired(text: Option<&String>) -> Result<Option<Desired>, Refusal> {
    let status = checked("desiredStatus", text, enums::DESIRED_STATUS)?;
    Ok(match status {
        None | Some("RUNNING") => Some(Desired::Running),
        Some("STOPPED") => Some(Desired::Stopped),
        Some(_) => None,
    })
}

fn existing_service(state: &State, cluster: &Name, text: &str) -> Result<ServiceKey, Refusal> {
    let key = resolve::service_key(state, cluster, text)?;
    if state.services.contains_key(&key) { Ok(key) } else { Err(Refusal::ServiceNotFound) }
}

fn is_started_by(task: &Task, wanted: &str) -> bool {
    match task.deployment() {
        Some(deployment) => deployment.to_string() == wanted,
        None => task.started_by.as_deref() == Some(wanted),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{ask, last_parts};
    use super::*;
    use crate::state::{Health, Known, Stop, StopCode};
    use crate::view::testing::{NOW, World, task_id};

    /// Two tasks of the service `web` from [`World::with_service`], and three of RunTask.
    fn world() -> World {
        let mut world = World::with_service();
        world.add_task(0x01, |task| task.started_by = Some("ci".into()));
        world.add_task(0x02, |task| {
            task.known = Known::Stopped;
            task.desired = Desired::Stopped;
        });
        world.add_task(0x03, |task| {
            task.desired = Desired::Stopped;
            task.started_by = Some("ci".into());
        });
        world
    }

    fn ids(bytes: &[u8]) -> Vec<String> {
        bytes.iter().map(|byte| task_id(*byte).to_string()).collect()
    }

    #[test]
    fn filters_all_apply() {
        let world = world();
        let check = |filters: Value, expected: &[u8]| {
            let mut request = filters;
            request["cluster"] = json!("prod");
            let answer = ask(&world.state, Operation::ListTasks, &request).unwrap();
            assert_eq!(last_parts(&answer, "taskArns"), ids(expected), "{request}");
        };
        let instance = world.instance.id.to_string();
        let deployment = world.service().primary().id.to_string();
        check(json!({}), &[0x01, 0xa1, 0xa2]);
        check(json!({"desiredStatus": "STOPPED"}), &[0x02, 0x03]);
        check(json!({"desiredStatus": "PENDING"}), &[]);
        check(json!({"serviceName": "web"}), &[0xa1, 0xa2]);
        check(json!({"serviceName": "web", "desiredStatus": "STOPPED"}), &[]);
        check(json!({"containerInstance": instance, "family": "web"}), &[0x01, 0xa1, 0xa2]);
        check(json!({"containerInstance": instance, "desiredStatus": "STOPPED"}), &[0x02, 0x03]);
        check(json!({"containerInstance": task_id(9).to_string()}), &[]);
        check(json!({"family": "we"}), &[]);
        check(json!({"startedBy": "ci"}), &[0x01]);
        check(json!({"startedBy": "ci", "desiredStatus": "STOPPED"}), &[0x03]);
        check(json!({"startedBy": deployment}), &[0xa2]);
        check(json!({"launchType": "EC2", "serviceName": "web"}), &[0xa1, 0xa2]);
        check(json!({"launchType": "EXTERNAL"}), &[]);
    }

    #[test]
    fn pages_follow_one_another_from_the_index_too() {
        let world = world();
        let page = |token: &Value| {
            let request =
                json!({"cluster": "prod", "serviceName": "web", "maxResults": 1, "nextToken": token});
            ask(&world.state, Operation::ListTasks, &request).unwrap()
        };
        let first = page(&Value::Null);
        let second = page(&first["nextToken"]);
        assert_eq!(last_parts(&first, "taskArns"), ids(&[0xa1]));
        assert_eq!(last_parts(&second, "taskArns"), ids(&[0xa2]));
        assert!(second.get("nextToken").is_none());
        let other = json!({"cluster": "prod", "nextToken": first["nextToken"]});
        assert_eq!(ask(&world.state, Operation::ListTasks, &other), Err("Invalid token.".to_owned()));
    }

    #[test]
    fn listing_refuses_what_it_cannot_mean() {
        let world = world();
        let check = |filters: Value, refused: &str| {
            let mut request = filters;
            request["cluster"] = json!("prod");
            assert_eq!(
                ask(&world.state, Operation::ListTasks, &request),
                Err(refused.to_owned()),
                "{request}"
            );
        };
        check(json!({"serviceName": "gone"}), "Service not found.");
        check(
            json!({"startedBy": "ci", "family": "web"}),
            "startedBy cannot be combined with other filters.",
        );
        check(json!({"containerInstance": "x"}), "Container instance Identifier is invalid.");
        check(json!({"maxResults": 0}), "maxResults should be between 1 and 100.");
        check(json!({"daemonName": "d"}), "Daemons are not supported.");
    }

    #[test]
    fn describing_takes_every_form_and_names_what_is_missing() {
        let world = world();
        let arn = |resource: String| format!("arn:aws:ecs:us-east-1:123456789012:{resource}");
        let [one, gone] = [task_id(0x01), task_id(0x77)].map(|id| id.to_string());
        let tasks = [one.clone(), arn(format!("task/prod/{one}")), arn(format!("task/{one}")), gone.clone()];
        let request = json!({"cluster": "prod", "tasks": tasks});
        let answer = ask(&world.state, Operation::DescribeTasks, &request).unwrap();
        let arns: Vec<_> = answer["tasks"].as_array().unwrap().iter().map(|task| &task["taskArn"]).collect();
        assert_eq!(arns, vec![&json!(arn(format!("task/prod/{one}"))); 3]);
        assert_eq!(
            answer["failures"],
            json!([{"arn": arn(format!("task/prod/{gone}")), "reason": "MISSING"}])
        );
    }

    #[test]
    fn an_answer_is_these_bytes() {
        let mut world = world();
        let overrides = ecs::TaskOverride {
            container_overrides: Some(vec![ecs::ContainerOverride {
                name: Some("app".into()),
                cpu: Some(100),
                command: Some(vec!["say".into(), "\"hello\"".into()]),
                ..ecs::ContainerOverride::default()
            }]),
            task_role_arn: Some("arn:aws:iam::123456789012:role/r".into()),
            ..ecs::TaskOverride::default()
        };
        let at = |seconds: u64| Some(NOW.plus(std::time::Duration::from_millis(1_500 * seconds)));
        world.add_task(0x04, |task| {
            task.overrides = overrides.into();
            task.availability_zone = Some("us-east-1a".into());
            task.started_by = Some("ci".into());
            task.desired = Desired::Stopped;
            task.known = Known::Stopped;
            task.acknowledged = true;
            task.times.pull_started = at(1);
            task.times.pull_stopped = at(2);
            task.times.started = at(3);
            task.times.stopping = at(4);
            task.times.execution_stopped = at(5);
            task.times.stopped = at(6);
            let reason = "Essential container \"app\" exited".to_owned();
            task.stop = Some(Box::new(Stop { code: StopCode::EssentialContainerExited, reason }));
            let container = &mut task.containers[0];
            container.known = Known::Stopped;
            container.exit_code = Some(137);
            container.reason = Some("OutOfMemoryError: \u{fc}ber".into());
            container.runtime_id = Some("0123456789abcdef".repeat(4).as_str().into());
            container.image_digest = Some(format!("sha256:{}", "fedcba9876543210".repeat(4)).as_str().into());
            container.health = Health::Unhealthy;
            container.health_checked = true;
        });
        let tasks = ids(&[0xa1, 0x04, 0x77]);
        let request = json!({"cluster": "prod", "tasks": tasks, "include": ["TAGS"]}).to_string();
        let answer = super::super::answer(&world.state, Operation::DescribeTasks, request.as_bytes());
        let answer = String::from_utf8(answer.unwrap().unwrap()).unwrap();
        assert_eq!(answer, include_str!("testdata/tasks.json").trim_end());
        let read: ecs::DescribeTasksResponse = serde_json::from_str(&answer).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), answer, "what the model knows, in its order");
    }

    #[test]
    fn describing_refuses_what_it_cannot_mean() {
        let world = world();
        let check = |tasks: Value, refused: &str| {
            let request = json!({"cluster": "prod", "tasks": tasks});
            assert_eq!(ask(&world.state, Operation::DescribeTasks, &request), Err(refused.to_owned()));
        };
        let id = task_id(0x01);
        check(json!([]), "Tasks cannot be empty.");
        check(json!(vec![id.to_string(); 101]), "Tasks can have at most 100 items.");
        check(json!(["web"]), "Task Identifier is invalid.");
        check(json!([""]), "Task Identifier is invalid.");
        check(
            json!([format!("arn:aws:ecs:us-east-1:123456789012:task/dev/{id}")]),
            "Invalid identifier: Identifier is for cluster dev. Your cluster is prod",
        );
        check(
            json!([format!("arn:aws:ecs:eu-west-1:123456789012:task/prod/{id}")]),
            "Invalid identifier: Identifier is for account 123456789012 in eu-west-1. \
             Your cluster is in account 123456789012 in us-east-1",
        );
    }
}
