//! The names that things of a task have on this host.
//!
//! They are derived from the task alone, so that a create call repeated after a crash meets the container that
//! the first one made (a name conflict) instead of making a second.

use ecsr_api::acs;
use sha2::{Digest, Sha256};

use crate::engine::TaskSpec;

/// Bytes of the hash in a name: 20 hex digits, as Amazon's agent has.
const HASH_BYTES: usize = 10;

/// The container's name: `ecs-<family>-<version>-<container>-<hash>`.
pub(crate) fn container(spec: &TaskSpec, container: &str) -> String {
    name(&spec.family, &spec.version, container, &[spec.arn.as_str(), container])
}

/// The name of a volume that lives and dies with the task: `ecs-<family>-<version>-<volume>-<hash>`.
pub(crate) fn volume(task: &acs::Task, volume: &str) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    name(&text(&task.family), &text(&task.version), volume, &[&text(&task.arn), "volume", volume])
}

/// The cluster that the ARN of a task or an instance names; the old short form names none.
pub(crate) fn cluster_in(arn: &str) -> Option<&str> {
    let mut parts = arn.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some(cluster), Some(_)) => Some(cluster),
        (Some(_) | None, _) => None,
    }
}

fn name(family: &str, version: &str, part: &str, identity: &[&str]) -> String {
    let part: String = part.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let hash = Sha256::digest(identity.join("\0"));
    format!("ecs-{family}-{version}-{part}-{}", hex::encode(&hash[..HASH_BYTES]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_its_cluster_in_the_long_form() {
        let cases = [
            ("arn:aws:ecs:r:1:task/blue/abc", Some("blue")),
            ("arn:aws:ecs:r:1:task/abc", None),
            ("t", None),
        ];
        for (arn, expected) in cases {
            assert_eq!(cluster_in(arn), expected, "{arn}");
        }
    }

    #[test]
    fn names_are_stable_and_differ_by_task_and_container() {
        let spec = |arn: &str| TaskSpec {
            local_restart: None,
            arn: arn.to_owned(),
            family: "web".to_owned(),
            version: "3".to_owned(),
            containers: Vec::new(),
        };
        let first = container(&spec("t1"), "a_b");
        assert!(first.starts_with("ecs-web-3-ab-") && first.len() == "ecs-web-3-ab-".len() + 20, "{first}");
        assert_eq!(first, container(&spec("t1"), "a_b"));
        assert_ne!(first, container(&spec("t2"), "a_b"));
        assert_ne!(
            container(&spec("t1"), "ab"),
            first,
            "what differs only in dropped characters differs in hash"
        );
    }
}
