//! DescribeContainerInstances and ListContainerInstances.

use std::ops::Bound;

use ecsr_api::ecs::{self, Operation, enums};

use super::page::{Asked, PAGE_MAX, Page, start};
use super::{checked, named, show_tags};
use crate::ids::{InstanceId, InstanceKey};
use crate::placement;
use crate::query::{self, Expression};
use crate::refusal::Refusal;
use crate::resolve;
use crate::state::{Instance, InstanceStatus, State};
use crate::view::{self, arn};

/// Container instances in one DescribeContainerInstances.
const DESCRIBED_MAX: usize = 100;

/// In the order of the request; INACTIVE ones while they are remembered.
pub(super) fn describe(
    state: &State,
    request: &ecs::DescribeContainerInstancesRequest,
) -> Result<ecs::DescribeContainerInstancesResponse, Refusal> {
    let cluster = &resolve::cluster(state, request.cluster.as_deref())?.name;
    let asked = named("Container instances", request.container_instances.as_ref(), DESCRIBED_MAX)?;
    let show = show_tags(request.include.as_ref(), enums::CONTAINER_INSTANCE_FIELD)?;
    let with_health = request.include.iter().flatten().any(|field| field == "CONTAINER_INSTANCE_HEALTH");
    let (mut instances, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        let key = resolve::instance_key(state, cluster, text)?;
        match state.instances.get(&key) {
            Some(found) => instances.push(ecs::ContainerInstance {
                health_status: with_health.then(|| view::instance_health(found)),
                ..view::instance(state, found, show)
            }),
            None => failures.push(view::missing(arn::instance(state, &key))),
        }
    }
    Ok(ecs::DescribeContainerInstancesResponse {
        container_instances: Some(instances),
        failures: Some(failures),
    })
}

/// Instances in the order of their ids; all but INACTIVE ones unless a status is asked for.
pub(super) fn list(
    state: &State,
    request: &ecs::ListContainerInstancesRequest,
) -> Result<ecs::ListContainerInstancesResponse, Refusal> {
    let cluster = &resolve::cluster(state, request.cluster.as_deref())?.name;
    let status = checked("status", request.status.as_ref(), enums::CONTAINER_INSTANCE_STATUS)?;
    let expression = request.filter.as_deref().filter(|filter| !filter.trim().is_empty());
    let expression = expression.map(query::parse).transpose()?;
    let filters =
        ecs::ListContainerInstancesRequest { max_results: None, next_token: None, ..request.clone() };
    let asked = Asked {
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
        default: PAGE_MAX,
    };
    let page = Page::<InstanceId>::open(Operation::ListContainerInstances, &filters, &asked)?;
    let key = |id| InstanceKey { cluster: cluster.clone(), id };
    let from = start(page.after().copied().map(key), key(InstanceId::FIRST));
    let instances = state.instances.range((from, Bound::Included(key(InstanceId::LAST))));
    let (arns, next_token) = page.fill(
        instances.map(|(_, instance)| instance),
        |instance| instance.key.id,
        |instance| {
            passes(state, instance, status, expression.as_ref()).then(|| arn::instance(state, &instance.key))
        },
    );
    Ok(ecs::ListContainerInstancesResponse { container_instance_arns: Some(arns), next_token })
}

fn passes(state: &State, instance: &Instance, status: Option<&str>, expression: Option<&Expression>) -> bool {
    let in_status = match (status, instance.status) {
        (Some(wanted), is) => wanted == is.as_str(),
        (None, InstanceStatus::Active | InstanceStatus::Draining) => true,
        (None, InstanceStatus::Inactive) => false,
    };
    in_status && expression.is_none_or(|expression| placement::matches(state, instance, expression))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{ask, last_parts};
    use super::*;
    use crate::view::testing::{World, task_id};

    fn id(byte: u8) -> InstanceId {
        task_id(byte).to_string().parse().unwrap()
    }

    fn world() -> World {
        let mut world = World::empty();
        world.add_instance(id(1), InstanceStatus::Active);
        world.add_instance(id(2), InstanceStatus::Draining);
        world.add_instance(id(3), InstanceStatus::Inactive);
        world.instance.id = id(1);
        world.add_definition("web", 1, crate::state::DefinitionStatus::Active);
        world.add_task(0x01, |_| {});
        world
    }

    #[test]
    fn listing_filters_by_status_and_by_query() {
        let world = world();
        let check = |filters: Value, expected: &[u8]| {
            let mut request = filters;
            request["cluster"] = json!("prod");
            let answer = ask(&world.state, Operation::ListContainerInstances, &request).unwrap();
            let expected: Vec<_> = expected.iter().map(|byte| id(*byte).to_string()).collect();
            assert_eq!(last_parts(&answer, "containerInstanceArns"), expected, "{request}");
        };
        check(json!({}), &[1, 2]);
        check(json!({"status": "DRAINING"}), &[2]);
        check(json!({"status": "REGISTERING"}), &[]);
        check(json!({"filter": "attribute:ecs.cpu-architecture == x86_64"}), &[1, 2]);
        check(json!({"filter": "attribute:ecs.cpu-architecture == arm64"}), &[]);
        check(json!({"filter": "task:group == family:web"}), &[1]);
        check(json!({"filter": "not(task:group == family:web)", "status": "ACTIVE"}), &[]);
    }

    #[test]
    fn listing_refuses_what_it_cannot_mean() {
        let world = world();
        let refusal =
            |request: Value| ask(&world.state, Operation::ListContainerInstances, &request).unwrap_err();
        assert_eq!(refusal(json!({})), "Cluster not found.");
        assert!(!refusal(json!({"cluster": "prod", "filter": "attribute:"})).is_empty());
        let inactive = refusal(json!({"cluster": "prod", "status": "GONE"}));
        assert!(inactive.starts_with("Invalid value 'GONE' for status."), "{inactive}");
    }

    #[test]
    fn pages_follow_one_another() {
        let world = world();
        let page = |token: &Value| {
            let request = json!({"cluster": "prod", "maxResults": 1, "nextToken": token});
            ask(&world.state, Operation::ListContainerInstances, &request).unwrap()
        };
        let first = page(&Value::Null);
        let second = page(&first["nextToken"]);
        assert_eq!(last_parts(&second, "containerInstanceArns"), [id(2).to_string()]);
        assert!(second.get("nextToken").is_none());
    }

    #[test]
    fn describing_shows_the_inactive_and_names_what_is_missing() {
        let world = world();
        let [inactive, gone] = [id(3), id(9)].map(|id| id.to_string());
        let request = json!({"cluster": "prod", "containerInstances": [inactive, gone], "include": ["TAGS"]});
        let answer = ask(&world.state, Operation::DescribeContainerInstances, &request).unwrap();
        assert_eq!(answer["containerInstances"][0]["status"], "INACTIVE");
        assert_eq!(answer["containerInstances"][0]["agentConnected"], false);
        assert_eq!(answer["containerInstances"][0]["tags"], json!([{"key": "team", "value": "a"}]));
        let arn = format!("arn:aws:ecs:us-east-1:123456789012:container-instance/prod/{gone}");
        assert_eq!(answer["failures"], json!([{"arn": arn, "reason": "MISSING"}]));
        let empty = json!({"cluster": "prod", "containerInstances": []});
        let refused = ask(&world.state, Operation::DescribeContainerInstances, &empty);
        assert_eq!(refused, Err("Container instances cannot be empty.".to_owned()));
    }
}
