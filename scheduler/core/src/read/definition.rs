//! DescribeTaskDefinition, ListTaskDefinitions and ListTaskDefinitionFamilies.

use std::fmt;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

use ecsr_api::ecs::{self, Operation, enums};

use super::page::{Asked, PAGE_MAX, Page, start};
use super::{checked, show_tags};
use crate::ids::{DefinitionId, Name};
use crate::refusal::{Refusal, client};
use crate::resolve;
use crate::state::{Definition, State};
use crate::view::{self, ShowTags, arn};

/// A revision in whatever status, or the latest ACTIVE one of a family.
pub(super) fn describe(
    state: &State,
    request: &ecs::DescribeTaskDefinitionRequest,
) -> Result<ecs::DescribeTaskDefinitionResponse, Refusal> {
    let show = show_tags(request.include.as_ref(), enums::TASK_DEFINITION_FIELD)?;
    let found = resolve::definition(state, request.task_definition.as_deref().unwrap_or_default())?;
    let found = found.ok_or_else(|| client("Unable to describe task definition."))?;
    let tags = match show {
        ShowTags::Yes => view::tags(&found.tags),
        ShowTags::No => Vec::new(),
    };
    Ok(ecs::DescribeTaskDefinitionResponse {
        task_definition: Some(view::definition(found)),
        tags: Some(tags),
    })
}

/// By family, then by the number of the revision; `sort: DESC` turns both around.
pub(super) fn list(
    state: &State,
    request: &ecs::ListTaskDefinitionsRequest,
) -> Result<ecs::ListTaskDefinitionsResponse, Refusal> {
    let status =
        checked("status", request.status.as_ref(), enums::TASK_DEFINITION_STATUS)?.unwrap_or("ACTIVE");
    let sort = checked("sort", request.sort.as_ref(), enums::SORT_ORDER)?;
    let filters = ecs::ListTaskDefinitionsRequest { max_results: None, next_token: None, ..request.clone() };
    let asked = Asked {
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
        default: PAGE_MAX,
    };
    let page = Page::<Revision>::open(Operation::ListTaskDefinitions, &filters, &asked)?;
    let after = page.after().map(|Revision(id)| id.clone());
    let family = request.family_prefix.as_deref().filter(|family| !family.is_empty());
    let entries =
        if sort == Some("DESC") { descending(state, family, after) } else { ascending(state, family, after) };
    let (arns, next_token) = page.fill(
        entries,
        |definition| Revision(definition.id.clone()),
        |definition| (definition.status.as_str() == status).then(|| arn::definition(state, &definition.id)),
    );
    Ok(ecs::ListTaskDefinitionsResponse { task_definition_arns: Some(arns), next_token })
}

type Definitions<'a> = Box<dyn Iterator<Item = &'a Arc<Definition>> + 'a>;

/// The first and the last revision that there could be of a family, or of any.
fn bounds(family: Option<&str>) -> (DefinitionId, Bound<DefinitionId>) {
    let first = DefinitionId { family: family.unwrap_or_default().into(), revision: 0 };
    let last = family.map(|family| DefinitionId { family: family.into(), revision: u32::MAX });
    (first, last.map_or(Bound::Unbounded, Bound::Included))
}

fn ascending<'a>(state: &'a State, family: Option<&str>, after: Option<DefinitionId>) -> Definitions<'a> {
    let (first, last) = bounds(family);
    Box::new(state.definitions.range((start(after, first), last)).map(|(_, definition)| definition))
}

fn descending<'a>(state: &'a State, family: Option<&str>, after: Option<DefinitionId>) -> Definitions<'a> {
    let (first, last) = bounds(family);
    let end = after.map_or(last, Bound::Excluded);
    Box::new(state.definitions.range((Bound::Included(first), end)).rev().map(|(_, definition)| definition))
}

/// Families by name. One whose revisions were all deleted is not listed.
pub(super) fn list_families(
    state: &State,
    request: &ecs::ListTaskDefinitionFamiliesRequest,
) -> Result<ecs::ListTaskDefinitionFamiliesResponse, Refusal> {
    let status =
        checked("status", request.status.as_ref(), enums::TASK_DEFINITION_FAMILY_STATUS)?.unwrap_or("ALL");
    let filters =
        ecs::ListTaskDefinitionFamiliesRequest { max_results: None, next_token: None, ..request.clone() };
    let asked = Asked {
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
        default: PAGE_MAX,
    };
    let page = Page::<String>::open(Operation::ListTaskDefinitionFamilies, &filters, &asked)?;
    let prefix = request.family_prefix.as_deref().unwrap_or_default();
    let from = start(page.after().map(|after| Name::from(after.as_str())), Name::from(prefix));
    let families = state.families.range((from, Bound::Unbounded)).map(|(family, _)| family);
    let (families, next_token) =
        page.fill(families.take_while(|family| family.starts_with(prefix)), ToString::to_string, |family| {
            has_status(state, family, status).then(|| family.to_string())
        });
    Ok(ecs::ListTaskDefinitionFamiliesResponse { families: Some(families), next_token })
}

/// A family is ACTIVE with one ACTIVE revision, INACTIVE with none.
fn has_status(state: &State, family: &Name, status: &str) -> bool {
    let active = || state.latest_definition(family).is_some();
    match status {
        "ACTIVE" => active(),
        "INACTIVE" => has_revisions(state, family) && !active(),
        _ => has_revisions(state, family),
    }
}

fn has_revisions(state: &State, family: &Name) -> bool {
    ascending(state, Some(family), None).next().is_some()
}

/// A definition's id as the key of a page.
struct Revision(DefinitionId);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (family, revision) = text.split_once(':').ok_or(())?;
        let revision = revision.parse().map_err(|_| ())?;
        Ok(Self(DefinitionId { family: family.into(), revision }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{ask, last_parts, strings};
    use super::*;
    use crate::state::DefinitionStatus;
    use crate::view::testing::World;

    fn world() -> World {
        let mut world = World::empty();
        for (family, revision, status) in [
            ("api", 1, DefinitionStatus::Inactive),
            ("web", 1, DefinitionStatus::Active),
            ("web", 2, DefinitionStatus::Active),
            ("web", 3, DefinitionStatus::Inactive),
            ("web", 10, DefinitionStatus::Active),
            ("web-admin", 1, DefinitionStatus::DeleteInProgress),
        ] {
            world.add_definition(family, revision, status);
        }
        world
    }

    #[test]
    fn describing_takes_every_form() {
        let world = world();
        let describe = |text: &str| {
            let request = json!({"taskDefinition": text});
            ask(&world.state, Operation::DescribeTaskDefinition, &request)
                .map(|answer| answer["taskDefinition"]["status"].as_str().unwrap().to_owned())
        };
        let check = |text: &str, expected: Result<&str, &str>| {
            assert_eq!(describe(text), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        };
        let unable = Err("Unable to describe task definition.");
        check("web", Ok("ACTIVE"));
        check("web:3", Ok("INACTIVE"));
        check("web-admin:1", Ok("DELETE_IN_PROGRESS"));
        check("arn:aws:ecs:us-east-1:123456789012:task-definition/web:2", Ok("ACTIVE"));
        check("arn:aws:ecs:eu-west-1:123456789012:task-definition/web:2", unable);
        check("api", unable);
        check("web:4", unable);
        check("gone", unable);
        check("web:x", Err("Invalid revision number. Number: x"));
        check("", Err("TaskDefinition can not be blank."));
    }

    #[test]
    fn tags_come_beside_when_included() {
        let world = world();
        let tags = |request: Value| {
            let answer = ask(&world.state, Operation::DescribeTaskDefinition, &request).unwrap();
            answer["tags"].as_array().unwrap().len()
        };
        assert_eq!(tags(json!({"taskDefinition": "web"})), 0);
        assert_eq!(tags(json!({"taskDefinition": "web", "include": ["TAGS"]})), 1);
    }

    #[test]
    fn revisions_are_in_the_order_of_their_numbers() {
        let world = world();
        let check = |request: Value, expected: &[&str]| {
            let answer = ask(&world.state, Operation::ListTaskDefinitions, &request).unwrap();
            assert_eq!(last_parts(&answer, "taskDefinitionArns"), expected, "{request}");
        };
        check(json!({}), &["web:1", "web:2", "web:10"]);
        check(json!({"sort": "DESC"}), &["web:10", "web:2", "web:1"]);
        check(json!({"status": "INACTIVE"}), &["api:1", "web:3"]);
        check(json!({"status": "DELETE_IN_PROGRESS"}), &["web-admin:1"]);
        check(json!({"familyPrefix": "web", "maxResults": 100}), &["web:1", "web:2", "web:10"]);
        check(json!({"familyPrefix": "we"}), &[]);
    }

    #[test]
    fn pages_go_both_ways() {
        let world = world();
        for (sort, expected) in
            [("ASC", ["web:1", "web:2", "web:10"]), ("DESC", ["web:10", "web:2", "web:1"])]
        {
            let (mut all, mut token) = (Vec::new(), Value::Null);
            for _ in 0..3 {
                let request =
                    json!({"familyPrefix": "web", "sort": sort, "maxResults": 1, "nextToken": token});
                let answer = ask(&world.state, Operation::ListTaskDefinitions, &request).unwrap();
                all.extend(last_parts(&answer, "taskDefinitionArns"));
                token = answer["nextToken"].clone();
            }
            assert_eq!((all, token), (expected.map(str::to_owned).to_vec(), Value::Null));
        }
    }

    #[test]
    fn families_are_found_by_prefix_and_status() {
        let mut world = world();
        world.add_definition("gone", 1, DefinitionStatus::DeleteInProgress);
        let gone = DefinitionId { family: "gone".into(), revision: 1 };
        world.state.apply(&crate::state::Event::DefinitionForgotten(gone));
        let check = |request: Value, expected: &[&str]| {
            let answer = ask(&world.state, Operation::ListTaskDefinitionFamilies, &request).unwrap();
            assert_eq!(strings(&answer, "families"), expected, "{request}");
        };
        check(json!({}), &["api", "web", "web-admin"]);
        check(json!({"familyPrefix": "web"}), &["web", "web-admin"]);
        check(json!({"status": "ACTIVE"}), &["web"]);
        check(json!({"status": "INACTIVE"}), &["api", "web-admin"]);
    }
}
