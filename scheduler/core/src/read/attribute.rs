//! ListAttributes: the attributes of a cluster's container instances, one entry for each.

use std::fmt;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

use ecsr_api::ecs::{self, Operation, enums};

use super::page::{Asked, PAGE_MAX, Page};
use crate::ids::{InstanceId, InstanceKey, Name};
use crate::names;
use crate::refusal::{Refusal, invalid};
use crate::resolve;
use crate::state::{Instance, InstanceStatus, State};
use crate::view::arn;

/// By instance, then by name.
pub(super) fn list(
    state: &State,
    request: &ecs::ListAttributesRequest,
) -> Result<ecs::ListAttributesResponse, Refusal> {
    let cluster = &resolve::cluster(state, request.cluster.as_deref())?.name;
    let filter = Filter::read(request)?;
    let filters = ecs::ListAttributesRequest { max_results: None, next_token: None, ..request.clone() };
    let asked = Asked {
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
        default: PAGE_MAX,
    };
    let page = Page::<Place>::open(Operation::ListAttributes, &filters, &asked)?;
    let (attributes, next_token) = page.fill(
        entries(state, cluster, page.after()),
        |entry| Place { instance: entry.instance.key.id, name: entry.name.to_owned() },
        |entry| filter.passes(entry).then(|| entry.shown(state)),
    );
    Ok(ecs::ListAttributesResponse { attributes: Some(attributes), next_token })
}

struct Filter<'a> {
    name: Option<&'a str>,
    value: Option<&'a str>,
}

impl<'a> Filter<'a> {
    fn read(request: &'a ecs::ListAttributesRequest) -> Result<Self, Refusal> {
        let target = request.target_type.as_deref().unwrap_or_default();
        names::one_of("targetType", target, enums::TARGET_TYPE)?;
        let given = |text: &'a Option<String>| text.as_deref().filter(|text| !text.is_empty());
        let filter = Self { name: given(&request.attribute_name), value: given(&request.attribute_value) };
        if filter.value.is_some() && filter.name.is_none() {
            return Err(invalid("attributeName must be specified when attributeValue is."));
        }
        Ok(filter)
    }

    fn passes(&self, entry: &Entry<'_>) -> bool {
        self.name.is_none_or(|wanted| entry.name == wanted)
            && self.value.is_none_or(|wanted| entry.value.as_deref() == Some(wanted))
    }
}

/// One attribute of one instance.
struct Entry<'a> {
    instance: &'a Arc<Instance>,
    name: &'a String,
    value: &'a Option<String>,
}

impl Entry<'_> {
    fn shown(&self, state: &State) -> ecs::Attribute {
        ecs::Attribute {
            name: Some(self.name.clone()),
            value: self.value.clone(),
            target_id: Some(arn::instance(state, &self.instance.key)),
            ..ecs::Attribute::default()
        }
    }
}

/// All entries behind a place: the rest of its instance, then the instances behind that.
fn entries<'a>(
    state: &'a State,
    cluster: &'a Name,
    after: Option<&Place>,
) -> impl Iterator<Item = Entry<'a>> + use<'a> {
    let key = |id| InstanceKey { cluster: cluster.clone(), id };
    let first = after.map_or(InstanceId::FIRST, |after| after.instance);
    let resumed = after.map(|after| (after.instance, after.name.clone()));
    let instances = state.instances.range(key(first)..=key(InstanceId::LAST)).map(|(_, instance)| instance);
    let present = instances.filter(|instance| match instance.status {
        InstanceStatus::Active | InstanceStatus::Draining => true,
        InstanceStatus::Inactive => false,
    });
    present.flat_map(move |instance| {
        let shown = resumed.as_ref().filter(|(id, _)| *id == instance.key.id).map(|(_, name)| name.clone());
        let from = shown.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = instance.attributes.range::<String, _>((from, Bound::Unbounded));
        rest.map(move |(name, value)| Entry { instance, name, value })
    })
}

/// Where in the list an attribute stands: `<instance id>/<name>`.
struct Place {
    instance: InstanceId,
    name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.instance, self.name)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (instance, name) = text.split_once('/').ok_or(())?;
        Ok(Self { instance: instance.parse().map_err(|_| ())?, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::ask;
    use super::*;
    use crate::view::testing::{World, task_id};

    fn world() -> World {
        let mut world = World::empty();
        for (byte, status) in
            [(1, InstanceStatus::Active), (2, InstanceStatus::Active), (3, InstanceStatus::Inactive)]
        {
            world.add_instance(task_id(byte).to_string().parse().unwrap(), status);
        }
        world
    }

    fn names(answer: &Value) -> Vec<&str> {
        answer["attributes"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn entries_say_whose_they_are() {
        let world = world();
        let check = |filters: Value, expected: &[&str]| {
            let mut request = filters;
            request["cluster"] = json!("prod");
            request["targetType"] = json!("container-instance");
            let answer = ask(&world.state, Operation::ListAttributes, &request).unwrap();
            assert_eq!(names(&answer), expected, "{request}");
            let of_instances =
                |entry: &Value| entry["targetId"].as_str().unwrap().contains(":container-instance/prod/");
            assert!(answer["attributes"].as_array().unwrap().iter().all(of_instances));
        };
        let [architecture, eni] = ["ecs.cpu-architecture", "ecs.capability.task-eni"];
        check(json!({}), &[eni, architecture, eni, architecture]);
        check(json!({"attributeName": architecture}), &[architecture, architecture]);
        check(
            json!({"attributeName": architecture, "attributeValue": "x86_64"}),
            &[architecture, architecture],
        );
        check(json!({"attributeName": architecture, "attributeValue": "arm64"}), &[]);
    }

    #[test]
    fn pages_may_end_inside_an_instance() {
        let world = world();
        let (mut all, mut token) = (Vec::new(), Value::Null);
        for _ in 0..2 {
            let request = json!({
                "cluster": "prod", "targetType": "container-instance", "maxResults": 3, "nextToken": token
            });
            let answer = ask(&world.state, Operation::ListAttributes, &request).unwrap();
            all.extend(answer["attributes"].as_array().unwrap().clone());
            token = answer["nextToken"].clone();
        }
        all.dedup();
        assert_eq!((all.len(), token), (4, Value::Null));
    }

    #[test]
    fn listing_refuses_what_it_cannot_mean() {
        let world = world();
        let check = |request: Value, refused: &str| {
            assert_eq!(ask(&world.state, Operation::ListAttributes, &request), Err(refused.to_owned()));
        };
        check(
            json!({"cluster": "prod"}),
            "Invalid value '' for targetType. Valid values are: container-instance.",
        );
        check(
            json!({"cluster": "prod", "targetType": "container-instance", "attributeValue": "x"}),
            "attributeName must be specified when attributeValue is.",
        );
    }
}
