//! ListTagsForResource.

use ecsr_api::ecs;

use crate::refusal::{Refusal, invalid};
use crate::resolve::{self, Taggable};
use crate::state::State;
use crate::view;

/// The tags of anything that carries some, by its long ARN.
pub(super) fn list(
    state: &State,
    request: &ecs::ListTagsForResourceRequest,
) -> Result<ecs::ListTagsForResourceResponse, Refusal> {
    let arn = request.resource_arn.as_deref().filter(|arn| !arn.is_empty());
    let named = resolve::taggable(state, arn.ok_or_else(|| invalid("Resource ARN can not be blank."))?)?;
    let tags = match &named {
        Taggable::Cluster(name) => state.clusters.get(name).map(|found| &found.tags),
        Taggable::Definition(id) => state.definitions.get(id).map(|found| &found.tags),
        Taggable::Instance(key) => state.instances.get(key).map(|found| &found.tags),
        Taggable::Service(key) => state.services.get(key).map(|found| &found.tags),
        Taggable::Task(key) => state.tasks.get(key).map(|found| &*found.tags),
    };
    Ok(ecs::ListTagsForResourceResponse { tags: Some(tags.map(view::tags).unwrap_or_default()) })
}

#[cfg(test)]
mod tests {
    use ecsr_api::ecs::Operation;
    use serde_json::json;

    use super::super::testing::ask;
    use crate::view::arn;
    use crate::view::testing::{self, World};

    #[test]
    fn everything_has_tags() {
        let world = World::with_service();
        let task = world.state.tasks.keys().next().unwrap();
        let definition = world.service().definition.clone();
        for arn in [
            arn::cluster(&world.state, testing::CLUSTER),
            arn::definition(&world.state, &definition),
            arn::instance(&world.state, &world.instance),
            arn::service(&world.state, &world.service().key),
            arn::task(&world.state, task),
        ] {
            let answer = ask(&world.state, Operation::ListTagsForResource, &json!({"resourceArn": arn}));
            assert_eq!(answer, Ok(json!({"tags": [{"key": "team", "value": "a"}]})), "{arn}");
        }
    }

    #[test]
    fn only_long_arns_of_what_exists_are_taken() {
        let world = World::with_service();
        let check = |resource: &str, refused: &str| {
            let arn = format!("arn:aws:ecs:us-east-1:123456789012:{resource}");
            let answer = ask(&world.state, Operation::ListTagsForResource, &json!({"resourceArn": arn}));
            assert_eq!(answer, Err(refused.replace("{arn}", &arn)), "{resource}");
        };
        check("service/web", "Long arn format must be used for tagging operations");
        check("capacity-provider/spot", "Invalid resource ARN: {arn}");
        check("nonsense", "Invalid resource ARN: {arn}");
        check("cluster/gone", "The specified cluster is inactive. Specify an active cluster and try again.");
        check(
            "task-definition/web:9",
            "The specified task definition does not exist. Specify a valid account, family, revision and try again.",
        );
    }
}
