//! Tags: of load balancers, target groups, listeners and rules alike.

use std::sync::Arc;

use ecsr_api::elbv2::{
    AddTagsInput, AddTagsOutput, DescribeTagsInput, DescribeTagsOutput, Error, ErrorCode, RemoveTagsInput,
    RemoveTagsOutput, Tag, TagDescription,
};

use super::check::{self, invalid};
use super::draft::{self, Draft};
use super::rules;
use crate::model::{State, Tags};

/// Tags of one resource, and the sizes of each, as ELBv2 has them.
const TAGS_MAX: usize = 50;
const KEY_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 256;
/// Resources of one request, as ELBv2 has it.
const RESOURCES_MAX: usize = 20;

/// The tags that a request gives.
pub(super) fn read(tags: Option<Vec<Tag>>) -> Result<Tags, Error> {
    let mut read = Tags::new();
    for tag in tags.unwrap_or_default() {
        let key = check::required(tag.key, "tags.member.key")?;
        let value = tag.value.unwrap_or_default();
        check_key(&key)?;
        if !is_text(&value) || value.chars().count() > VALUE_CHARS_MAX {
            return Err(invalid(format!("The value of the tag '{key}' is not valid")));
        }
        if read.insert(key.clone(), value).is_some() {
            let message = format!("Tag keys must be unique: '{key}' was specified multiple times");
            return Err(Error::new(ErrorCode::DuplicateTagKeys, message));
        }
    }
    check_count(&read)?;
    Ok(read)
}

pub(super) fn add(draft: &mut Draft<'_>, request: AddTagsInput) -> Result<AddTagsOutput, Error> {
    let arns = resources(request.resource_arns)?;
    let tags = read(Some(check::items(request.tags, "tags")?))?;
    for arn in arns {
        let kept = of_mut(draft, &arn)?;
        kept.extend(tags.clone());
        check_count(kept)?;
    }
    Ok(AddTagsOutput {})
}

pub(super) fn remove(draft: &mut Draft<'_>, request: RemoveTagsInput) -> Result<RemoveTagsOutput, Error> {
    let arns = resources(request.resource_arns)?;
    let keys = check::items(request.tag_keys, "tagKeys")?;
    for arn in arns {
        let kept = of_mut(draft, &arn)?;
        kept.retain(|key, _| !keys.contains(key));
    }
    Ok(RemoveTagsOutput {})
}

pub(super) fn describe(state: &State, request: DescribeTagsInput) -> Result<DescribeTagsOutput, Error> {
    let describe = |arn: String| {
        let tags = of(state, &arn)?.iter();
        let tags = tags.map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) });
        Ok(TagDescription { tags: Some(tags.collect()), resource_arn: Some(arn) })
    };
    let described = resources(request.resource_arns)?.into_iter().map(describe);
    Ok(DescribeTagsOutput { tag_descriptions: Some(described.collect::<Result<_, Error>>()?) })
}

fn resources(arns: Option<Vec<String>>) -> Result<Vec<String>, Error> {
    let arns = check::items(arns, "resourceArns")?;
    if arns.len() > RESOURCES_MAX {
        return Err(invalid(format!("Up to '{RESOURCES_MAX}' resources can be specified at a time")));
    }
    Ok(arns)
}

/// What the ARN names, by the word before its first slash.
fn kind_of(arn: &str) -> &str {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    resource.split('/').next().unwrap_or_default()
}

fn of<'a>(state: &'a State, arn: &str) -> Result<&'a Tags, Error> {
    Ok(match kind_of(arn) {
        "loadbalancer" => &draft::balancer(state, arn)?.tags,
        "targetgroup" => &draft::group(state, arn)?.tags,
        "listener" => &draft::listener(state, arn)?.tags,
        "listener-rule" => {
            let found = rules::find(state, arn)?;
            found.rule.map_or(&found.listener.default_rule_tags, |rule| &rule.tags)
        }
        _ => return Err(no_resource(arn)),
    })
}

fn of_mut<'a>(draft: &'a mut Draft<'_>, arn: &str) -> Result<&'a mut Tags, Error> {
    Ok(match kind_of(arn) {
        "loadbalancer" => &mut draft.balancer_mut(arn)?.tags,
        "targetgroup" => &mut draft.group_mut(arn)?.tags,
        "listener" => &mut draft.listener_mut(arn)?.tags,
        "listener-rule" => {
            let listener = rules::find(&draft.state, arn)?.listener.arn.clone();
            let listener = draft.listener_mut(&listener)?;
            match listener.rules.iter_mut().find(|rule| &*rule.arn == arn) {
                Some(rule) => &mut Arc::make_mut(rule).tags,
                None => &mut listener.default_rule_tags,
            }
        }
        _ => return Err(no_resource(arn)),
    })
}

fn no_resource(arn: &str) -> Error {
    invalid(format!("'{arn}' is not a valid resource ARN"))
}

fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.chars().count() > KEY_CHARS_MAX || !is_text(key) {
        return Err(invalid(format!("The tag key '{key}' is not valid")));
    }
    if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
        return Err(invalid(format!("The tag key '{key}' cannot begin with 'aws:'")));
    }
    Ok(())
}

/// Letters, digits, spaces and `_.:/=+-@`, of any language.
fn is_text(text: &str) -> bool {
    text.chars()
        .all(|letter| letter.is_alphanumeric() || letter.is_whitespace() || "_.:/=+-@".contains(letter))
}

fn check_count(tags: &Tags) -> Result<(), Error> {
    if tags.len() > TAGS_MAX {
        return Err(Error::new(
            ErrorCode::TooManyTags,
            format!("A resource can have up to '{TAGS_MAX}' tags"),
        ));
    }
    Ok(())
}
