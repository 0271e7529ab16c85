//! Names that users give: a name, an ARN, or the first digits of an id. An ARN says its cluster itself, so
//! that a pasted ARN works without `--cluster`; a short id is looked up among what the cluster has.

use serde_json::{Value, json};

use crate::ecs::Operation;
use crate::error::{Failure, not_found, usage};
use crate::output::text::last_part;
use crate::session::Session;

/// Hexadecimal digits of a whole task or container instance id.
const ID_DIGITS: usize = 32;
/// Digits that a shortened id has at least: fewer are more likely a mistake than an id.
const PREFIX_DIGITS_MIN: usize = 6;

/// A thing inside a cluster, as ECS takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) cluster: String,
    pub(crate) name: String,
}

/// Where `given` (a name, an id or an ARN) is: the cluster of its ARN, else `cluster`.
pub(crate) fn locate(cluster: &str, given: &str) -> Located {
    let cluster = cluster_of(given).unwrap_or(cluster);
    Located { cluster: cluster.to_owned(), name: given.to_owned() }
}

/// The cluster that a long ARN names: `arn:aws:ecs:R:A:service/CLUSTER/NAME`.
fn cluster_of(arn: &str) -> Option<&str> {
    let resource = arn.starts_with("arn:").then(|| arn.splitn(6, ':').nth(5)).flatten()?;
    match resource.split('/').collect::<Vec<_>>()[..] {
        [_, cluster, _] => Some(cluster),
        _ => None,
    }
}

/// The family that a task definition's name, `family:revision` or ARN names.
pub(crate) fn family_of(task_definition: &str) -> &str {
    let name = last_part(task_definition);
    name.split_once(':').map_or(name, |(family, _)| family)
}

/// The task that `given` means; at least six digits of its id are enough.
pub(crate) async fn task(session: &Session, given: &str) -> Result<Located, Failure> {
    if !is_short_id(given) {
        return Ok(locate(session.cluster(), given));
    }
    let mut arns = Vec::new();
    for status in ["RUNNING", "STOPPED"] {
        let input = json!({"cluster": session.cluster(), "desiredStatus": status});
        arns.extend(session.list(Operation::ListTasks, input, "taskArns").await?);
    }
    expand("task", given, &arns).map(|arn| locate(session.cluster(), arn))
}

/// The container instance that `given` means; at least six digits of its id are enough.
pub(crate) async fn instance(session: &Session, given: &str) -> Result<Located, Failure> {
    if !is_short_id(given) {
        return Ok(locate(session.cluster(), given));
    }
    let input = json!({"cluster": session.cluster()});
    let arns = session.list(Operation::ListContainerInstances, input, "containerInstanceArns").await?;
    expand("container instance", given, &arns).map(|arn| locate(session.cluster(), arn))
}

fn is_short_id(given: &str) -> bool {
    (PREFIX_DIGITS_MIN..ID_DIGITS).contains(&given.len())
        && given.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The one ARN among `arns` whose id starts with `digits`.
fn expand<'a>(noun: &str, digits: &str, arns: &'a [Value]) -> Result<&'a str, Failure> {
    let mut found: Vec<_> =
        arns.iter().filter_map(Value::as_str).filter(|arn| last_part(arn).starts_with(digits)).collect();
    found.dedup();
    match found[..] {
        [one] => Ok(one),
        [] => Err(not_found(format!("no {noun} with an id that starts with {digits}"))),
        _ => Err(usage(format!("{} {noun}s have an id that starts with {digits}", found.len()))
            .hint("give more of its digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn an_arn_names_its_cluster() {
        fn check(given: &str, expected: &str) {
            assert_eq!(locate("here", given).cluster, expected, "{given}");
        }
        check("web", "here");
        check("arn:aws:ecs:us-east-1:123456789012:service/prod/web", "prod");
        check("arn:aws:ecs:us-east-1:123456789012:service/web", "here");
        check("a/b/c", "here");
    }

    #[test]
    fn families() {
        fn check(given: &str, expected: &str) {
            assert_eq!(family_of(given), expected);
        }
        check("web", "web");
        check("web:3", "web");
        check("arn:aws:ecs:us-east-1:123456789012:task-definition/web:3", "web");
    }

    #[test]
    fn short_ids_are_expanded_when_they_mean_one_thing() {
        let arns =
            [json!("arn:aws:ecs:r:a:task/c/0123456789aa"), json!("arn:aws:ecs:r:a:task/c/0123456fffff")];
        assert_eq!(expand("task", "01234567", &arns).unwrap(), "arn:aws:ecs:r:a:task/c/0123456789aa");
        assert_eq!(expand("task", "0123456", &arns).unwrap_err().kind(), Kind::Usage);
        assert_eq!(expand("task", "ffffff", &arns).unwrap_err().kind(), Kind::NotFound);
        assert!(is_short_id("0a1b2c"));
        assert!(!is_short_id("0a1b2"));
        assert!(!is_short_id("webapp"));
        assert!(!is_short_id(&"a".repeat(32)));
    }
}
