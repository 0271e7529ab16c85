//! The rules for what callers may write: names, tags, attributes, tokens, groups and counts.
//!
//! One function per thing that ECS names, each with ECS's bounds and words, so that every operation refuses the same
//! mistake in the same way. Source: the service model, the ECS quotas page and the developer guide.
//!
//! Invariant: what passes here is safe to stand in an ARN, in a journal key and in a Docker label.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ecsr_api::ecs;

use crate::refusal::{Refusal, client, invalid};

/// Longest name of a cluster, service, family or container, in characters.
pub const NAME_LENGTH_MAX: usize = 255;
/// Longest task group, in characters.
pub const GROUP_LENGTH_MAX: usize = 255;
/// Longest reason given to StopTask, in characters.
pub const STOP_REASON_LENGTH_MAX: usize = 255;
/// Tags that users may put on one resource; `aws:` tags are ECS's own and not counted.
pub const TAGS_MAX: usize = 50;
/// Longest tag key, in characters.
pub const TAG_KEY_LENGTH_MAX: usize = 128;
/// Longest tag value, in characters.
pub const TAG_VALUE_LENGTH_MAX: usize = 256;
/// Longest attribute name or value, in characters.
pub const ATTRIBUTE_LENGTH_MAX: usize = 128;
/// Custom attributes on one resource, and in one call.
pub const ATTRIBUTES_MAX: usize = 10;
/// Longest `startedBy` of RunTask, in characters.
pub const RUN_TASK_STARTED_BY_MAX: usize = 128;
/// Longest `startedBy` of StartTask, in characters.
pub const START_TASK_STARTED_BY_MAX: usize = 36;
/// Longest `clientToken` of CreateService and CreateTaskSet, in characters.
pub const SERVICE_CLIENT_TOKEN_MAX: usize = 36;
/// Longest `clientToken` of RunTask and StartTask, in characters.
pub const TASK_CLIENT_TOKEN_MAX: usize = 64;
/// Copies that one RunTask may start, and instances that one StartTask may name.
pub const RUN_TASK_COUNT: RangeInclusive<i32> = 1..=10;

/// Checks the name of a cluster.
pub fn cluster_name(name: &str) -> Result<(), Refusal> {
    match Fault::of(name) {
        None => Ok(()),
        Some(Fault::Blank) => Err(invalid("Cluster name can not be blank.")),
        Some(Fault::TooLong) => Err(invalid("Cluster name is too long.")),
        Some(Fault::Characters) => Err(invalid("Cluster name contains invalid characters.")),
    }
}

/// Checks the name of a service.
pub fn service_name(name: &str) -> Result<(), Refusal> {
    match Fault::of(name) {
        None => Ok(()),
        Some(Fault::Blank) => Err(invalid("Service name can not be blank.")),
        Some(Fault::TooLong) => Err(invalid("Service name is too long.")),
        Some(Fault::Characters) => Err(invalid("Service name contains invalid characters.")),
    }
}

/// Checks a task definition family; a `ClientException` when bad.
pub fn family(name: &str) -> Result<(), Refusal> {
    match Fault::of(name) {
        None => Ok(()),
        Some(Fault::Blank) => Err(client("Family can not be blank.")),
        Some(Fault::TooLong) => Err(client("Family is too long.")),
        Some(Fault::Characters) => Err(client("Family contains invalid characters.")),
    }
}

/// Checks the name of a container in a task definition; a `ClientException` when bad.
pub fn container_name(name: &str) -> Result<(), Refusal> {
    match Fault::of(name) {
        None => Ok(()),
        Some(Fault::Blank) => Err(client("Container.name should not be null or empty.")),
        Some(Fault::TooLong) => Err(client("Container.name is too long.")),
        Some(Fault::Characters) => Err(client("Container.name contains invalid characters.")),
    }
}

/// Checks the name of a volume in a task definition; a `ClientException` when bad.
pub fn volume_name(name: &str) -> Result<(), Refusal> {
    match Fault::of(name) {
        None => Ok(()),
        Some(Fault::Blank) => Err(client("Volume.name should not be null or empty.")),
        Some(Fault::TooLong) => Err(client("Volume.name is too long.")),
        Some(Fault::Characters) => Err(client("Volume.name contains invalid characters.")),
    }
}

/// Checks the `group` of RunTask and StartTask. `service:` groups belong to the service scheduler.
pub fn group(group: &str) -> Result<(), Refusal> {
    if group.chars().count() > GROUP_LENGTH_MAX {
        return Err(invalid(format!("Group must be at most {GROUP_LENGTH_MAX} characters long.")));
    }
    if group.starts_with("service:") {
        return Err(invalid("Group name can not start with 'service:'."));
    }
    if group.chars().any(char::is_control) {
        return Err(invalid("Group contains invalid characters."));
    }
    Ok(())
}

/// Checks a `startedBy` against the operation's length ([`RUN_TASK_STARTED_BY_MAX`], [`START_TASK_STARTED_BY_MAX`]).
pub fn started_by(started_by: &str, length_max: usize) -> Result<(), Refusal> {
    if started_by.chars().count() > length_max {
        return Err(invalid(format!("startedBy must be at most {length_max} characters long.")));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/');
    if started_by.chars().all(allowed) {
        Ok(())
    } else {
        Err(invalid("startedBy contains invalid characters."))
    }
}

/// Checks a `clientToken` against the operation's length ([`SERVICE_CLIENT_TOKEN_MAX`], [`TASK_CLIENT_TOKEN_MAX`]).
pub fn client_token(token: &str, length_max: usize) -> Result<(), Refusal> {
    if token.chars().count() > length_max {
        return Err(invalid(format!("clientToken must be at most {length_max} characters long.")));
    }
    let printable = token.bytes().all(|byte| (33..=126).contains(&byte));
    if printable { Ok(()) } else { Err(invalid("clientToken contains invalid characters.")) }
}

/// Checks the `reason` of StopTask.
pub fn stop_reason(reason: &str) -> Result<(), Refusal> {
    if reason.chars().count() > STOP_REASON_LENGTH_MAX {
        return Err(invalid(format!("Reason must be at most {STOP_REASON_LENGTH_MAX} characters long.")));
    }
    Ok(())
}

/// The `count` of RunTask, 1 when not given.
pub fn run_task_count(count: Option<i32>) -> Result<u32, Refusal> {
    in_range("Count", count.unwrap_or(*RUN_TASK_COUNT.start()), RUN_TASK_COUNT)
}

/// A number that the caller calls `what`, within its documented bounds.
pub fn in_range(what: &str, number: i32, range: RangeInclusive<i32>) -> Result<u32, Refusal> {
    let refused = || invalid(format!("{what} should be between {} and {}.", range.start(), range.end()));
    if !range.contains(&number) {
        return Err(refused());
    }
    u32::try_from(number).map_err(|_| refused())
}

/// Checks that a value is one that the service model allows for `member`.
pub fn one_of(member: &str, value: &str, allowed: &[&str]) -> Result<(), Refusal> {
    if allowed.contains(&value) { Ok(()) } else { Err(not_one_of(member, value, allowed)) }
}

/// The refusal of a value that is none of those that the service model allows for `member`.
pub fn not_one_of(member: &str, value: &str, allowed: &[&str]) -> Refusal {
    invalid(format!("Invalid value '{value}' for {member}. Valid values are: {}.", allowed.join(", ")))
}

/// The tags of a call by key. A missing value is the empty one.
pub fn tags(tags: Option<&[ecs::Tag]>) -> Result<BTreeMap<String, String>, Refusal> {
    let tags = tags.unwrap_or_default();
    if tags.len() > TAGS_MAX {
        return Err(invalid(format!("The number of tags exceeds the limit of {TAGS_MAX}.")));
    }
    let mut by_key = BTreeMap::new();
    for tag in tags {
        let key = tag.key.as_deref().unwrap_or_default();
        let value = tag.value.as_deref().unwrap_or_default();
        tag_key(key)?;
        tag_value(value)?;
        if by_key.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(invalid(format!("Duplicate tag keys found: {key}.")));
        }
    }
    Ok(by_key)
}

/// Whether a tag key is one of those that only AWS itself sets, in any case.
pub fn is_aws_tag_key(key: &str) -> bool {
    key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
}

/// Checks that a resource with these tags is within [`TAGS_MAX`], as after a merge by TagResource.
pub fn tag_count(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let of_users = tags.keys().filter(|key| !is_aws_tag_key(key)).count();
    if of_users > TAGS_MAX {
        return Err(invalid(format!("The number of tags exceeds the limit of {TAGS_MAX}.")));
    }
    Ok(())
}

/// Checks one tag key that a user gives, also to UntagResource.
pub fn tag_key(key: &str) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(invalid("Tag key can not be blank."));
    }
    if key.chars().count() > TAG_KEY_LENGTH_MAX {
        return Err(invalid(format!("Tag key must be at most {TAG_KEY_LENGTH_MAX} characters long.")));
    }
    if !key.chars().all(tag_character) {
        return Err(invalid(format!("Tag key '{key}' contains invalid characters.")));
    }
    if is_aws_tag_key(key) {
        return Err(invalid("Tag keys that start with 'aws:' are reserved for AWS use."));
    }
    Ok(())
}

fn tag_value(value: &str) -> Result<(), Refusal> {
    if value.chars().count() > TAG_VALUE_LENGTH_MAX {
        return Err(invalid(format!("Tag value must be at most {TAG_VALUE_LENGTH_MAX} characters long.")));
    }
    if value.chars().all(tag_character) {
        Ok(())
    } else {
        Err(invalid("Tag value contains invalid characters."))
    }
}

/// The model's `[\p{L}\p{Z}\p{N}_.:/=+\-@]`: white space that is no control character is what `\p{Z}` means.
fn tag_character(c: char) -> bool {
    let separator = c.is_whitespace() && !c.is_control();
    c.is_alphabetic() || c.is_numeric() || separator || "_.:/=+-@".contains(c)
}

/// Checks the name of an attribute, whoever sets it.
pub fn attribute_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(invalid("Attribute.name should not be null or empty."));
    }
    if name.chars().count() > ATTRIBUTE_LENGTH_MAX {
        return Err(invalid(format!(
            "Attribute.name must be at most {ATTRIBUTE_LENGTH_MAX} characters long."
        )));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '\\' | '.');
    if name.chars().all(allowed) {
        Ok(())
    } else {
        Err(invalid("Attribute.name contains invalid characters."))
    }
}

/// Checks the name of an attribute that a user puts: ECS keeps two name spaces for itself.
pub fn custom_attribute_name(name: &str) -> Result<(), Refusal> {
    attribute_name(name)?;
    if name.starts_with("ecs.") || name.starts_with("com.amazonaws.") {
        return Err(invalid("Attribute names that start with 'ecs.' or 'com.amazonaws.' are reserved."));
    }
    Ok(())
}

/// Checks the value of an attribute.
pub fn attribute_value(value: &str) -> Result<(), Refusal> {
    if value.is_empty() {
        return Err(invalid("Attribute.value should not be empty."));
    }
    if value.chars().count() > ATTRIBUTE_LENGTH_MAX {
        return Err(invalid(format!(
            "Attribute.value must be at most {ATTRIBUTE_LENGTH_MAX} characters long."
        )));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@/\\: ".contains(c);
    if value.trim() != value || !value.chars().all(allowed) {
        return Err(invalid("Attribute.value contains invalid characters."));
    }
    Ok(())
}

/// What is wrong with a name made of letters, digits, hyphens and underscores.
enum Fault {
    Blank,
    TooLong,
    Characters,
}

impl Fault {
    fn of(name: &str) -> Option<Self> {
        if name.trim().is_empty() {
            Some(Self::Blank)
        } else if name.chars().count() > NAME_LENGTH_MAX {
            Some(Self::TooLong)
        } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            Some(Self::Characters)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(result: Result<(), Refusal>, expected: Option<&str>) {
        assert_eq!(result.err().map(|refusal| refusal.to_string()).as_deref(), expected);
    }

    #[test]
    fn names() {
        check(cluster_name("default"), None);
        check(cluster_name("my_cluster-2"), None);
        check(cluster_name(&"a".repeat(255)), None);
        check(cluster_name(&"a".repeat(256)), Some("Cluster name is too long."));
        check(cluster_name("a b"), Some("Cluster name contains invalid characters."));
        check(cluster_name("é"), Some("Cluster name contains invalid characters."));
        check(service_name(""), Some("Service name can not be blank."));
        check(family(" "), Some("Family can not be blank."));
        check(family("web:1"), Some("Family contains invalid characters."));
        check(container_name(""), Some("Container.name should not be null or empty."));
        check(container_name("a/b"), Some("Container.name contains invalid characters."));
        check(volume_name("data.1"), Some("Volume.name contains invalid characters."));
    }

    #[test]
    fn what_callers_say_of_a_run() {
        check(group("family:web"), None);
        check(group("service:web"), Some("Group name can not start with 'service:'."));
        check(group(&"g".repeat(256)), Some("Group must be at most 255 characters long."));
        check(started_by("events-rule/nightly_1", RUN_TASK_STARTED_BY_MAX), None);
        check(started_by("me you", RUN_TASK_STARTED_BY_MAX), Some("startedBy contains invalid characters."));
        check(
            started_by(&"x".repeat(37), START_TASK_STARTED_BY_MAX),
            Some("startedBy must be at most 36 characters long."),
        );
        check(client_token("a!~", TASK_CLIENT_TOKEN_MAX), None);
        check(client_token("a b", TASK_CLIENT_TOKEN_MAX), Some("clientToken contains invalid characters."));
        check(stop_reason(&"r".repeat(256)), Some("Reason must be at most 255 characters long."));
    }

    #[test]
    fn counts() {
        let check = |count, expected: Result<u32, &str>| {
            assert_eq!(run_task_count(count), expected.map_err(invalid), "{count:?}");
        };
        check(None, Ok(1));
        check(Some(10), Ok(10));
        check(Some(0), Err("Count should be between 1 and 10."));
        check(Some(-3), Err("Count should be between 1 and 10."));
        check(Some(11), Err("Count should be between 1 and 10."));
    }

    #[test]
    fn tags_are_checked_one_by_one_and_together() {
        let tag = |key: &str, value: Option<&str>| ecs::Tag {
            key: Some(key.into()),
            value: value.map(str::to_owned),
        };
        let check = |list: &[ecs::Tag], expected: Result<usize, &str>| {
            assert_eq!(tags(Some(list)).map(|tags| tags.len()), expected.map_err(invalid));
        };
        check(&[tag("team", Some("größe 2 + @home")), tag("Team", None)], Ok(2));
        check(&[tag("a", None), tag("a", Some("b"))], Err("Duplicate tag keys found: a."));
        check(&[tag("", None)], Err("Tag key can not be blank."));
        check(&[tag("AWS:x", None)], Err("Tag keys that start with 'aws:' are reserved for AWS use."));
        check(&[tag("a\tb", None)], Err("Tag key 'a\tb' contains invalid characters."));
        check(&[tag("a", Some("x;y"))], Err("Tag value contains invalid characters."));
        check(&[tag(&"k".repeat(129), None)], Err("Tag key must be at most 128 characters long."));
        let many: Vec<_> = (0..=TAGS_MAX).map(|at| tag(&format!("k{at}"), None)).collect();
        check(&many, Err("The number of tags exceeds the limit of 50."));
        check(&many[1..], Ok(TAGS_MAX));
    }

    #[test]
    fn attributes() {
        check(attribute_name("ecs.instance-type"), None);
        check(attribute_name("a b"), Some("Attribute.name contains invalid characters."));
        check(
            custom_attribute_name("ecs.mine"),
            Some("Attribute names that start with 'ecs.' or 'com.amazonaws.' are reserved."),
        );
        check(attribute_value("rack 12/b:3@x"), None);
        check(attribute_value(" x"), Some("Attribute.value contains invalid characters."));
        check(
            attribute_value(&"v".repeat(129)),
            Some("Attribute.value must be at most 128 characters long."),
        );
    }

    #[test]
    fn members_of_enums() {
        check(one_of("launchType", "EC2", &["EC2", "EXTERNAL"]), None);
        check(
            one_of("launchType", "ec2", &["EC2", "EXTERNAL"]),
            Some("Invalid value 'ec2' for launchType. Valid values are: EC2, EXTERNAL."),
        );
    }
}
