//! Environment variables: plain, from secrets and from files.
//!
//! Invariant: within one container every secret has a name that nothing else sets, so that what a process sees does
//! not depend on the order in which an agent merges its sources.

use std::collections::BTreeSet;

use ecsr_api::ecs;

use super::container::is_blank;
use super::{bad_setting, check_enum};
use crate::refusal::{Refusal, client};

/// Most environment files of one container.
const ENVIRONMENT_FILES_MAX: usize = 10;

/// Checks the sources of one container's environment.
pub(super) fn check(
    container: &ecs::ContainerDefinition,
    execution_role: Option<&str>,
) -> Result<(), Refusal> {
    let variables = container.environment.as_deref().unwrap_or_default();
    if variables.iter().any(|variable| is_blank(variable.name.as_deref())) {
        return Err(client("Container.environment name should not be null or empty."));
    }
    check_secrets(container, variables, execution_role)?;
    check_files(container)
}

fn check_secrets(
    container: &ecs::ContainerDefinition,
    variables: &[ecs::KeyValuePair],
    execution_role: Option<&str>,
) -> Result<(), Refusal> {
    let secrets = container.secrets.as_deref().unwrap_or_default();
    if !secrets.is_empty() && is_blank(execution_role) {
        return Err(client(
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
        ));
    }
    let mut names: BTreeSet<&str> =
        variables.iter().filter_map(|variable| variable.name.as_deref()).collect();
    for secret in secrets {
        let name = secret.name.as_deref().unwrap_or_default();
        if name.trim().is_empty() || is_blank(secret.value_from.as_deref()) {
            return Err(bad_setting("secrets", container));
        }
        if !names.insert(name) {
            return Err(client(format!(
                "The secret name must be unique and not shared with any new or existing environment variables set \
                 on the container, such as '{name}'."
            )));
        }
    }
    Ok(())
}

fn check_files(container: &ecs::ContainerDefinition) -> Result<(), Refusal> {
    let files = container.environment_files.as_deref().unwrap_or_default();
    if files.len() > ENVIRONMENT_FILES_MAX {
        return Err(client(format!(
            "A container can have at most {ENVIRONMENT_FILES_MAX} environment files."
        )));
    }
    for file in files {
        let kind = file.r#type.as_deref().unwrap_or_default();
        check_enum("environmentFiles.type", Some(kind), ecs::enums::ENVIRONMENT_FILE_TYPE)?;
        if !file.value.as_deref().is_some_and(is_environment_object) {
            return Err(bad_setting("environmentFiles", container));
        }
    }
    Ok(())
}

/// The ARN of an S3 object whose key has the extension `env`, in any partition.
fn is_environment_object(arn: &str) -> bool {
    let mut parts = arn.splitn(6, ':');
    let of_s3 = parts.next() == Some("arn") && parts.nth(1) == Some("s3");
    of_s3 && arn.rsplit_once('.').is_some_and(|(_, extension)| extension == "env")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{
        check_container_accepted, check_container_refusal, register_json, with_container,
    };

    #[test]
    fn variables_and_files() {
        check_container_refusal(
            json!({"environment": [{"value": "x"}]}),
            "Container.environment name should not be null or empty.",
        );
        check_container_accepted(json!({"environment": [{"name": "A", "value": ""}, {"name": "B"}]}));
        let file = |kind: &str, value: &str| json!({"environmentFiles": [{"type": kind, "value": value}]});
        check_container_accepted(file("s3", "arn:aws:s3:::bucket/dir/app.env"));
        let bad = "Invalid 'environmentFiles' setting for container 'app'.";
        check_container_refusal(file("s3", "arn:aws:s3:::bucket/app.txt"), bad);
        check_container_refusal(file("s3", "/etc/app.env"), bad);
        check_container_refusal(
            file("git", "x"),
            "Invalid value 'git' for environmentFiles.type. Valid values are: s3.",
        );
    }

    #[test]
    fn secrets() {
        let check = |role: Option<&str>, secrets: Value, expected: Result<(), &str>| {
            let mut request =
                with_container(json!({"secrets": secrets, "environment": [{"name": "A", "value": "1"}]}));
            request["executionRoleArn"] = json!(role);
            let result = register_json(request).map(|_| ()).map_err(|refusal| refusal.to_string());
            assert_eq!(result, expected.map_err(str::to_owned));
        };
        let secret = |name: &str| json!({"name": name, "valueFrom": "arn:aws:ssm:us-east-1:1:parameter/p"});
        let role = Some("arn:aws:iam::1:role/r");
        check(role, json!([secret("B"), secret("C")]), Ok(()));
        check(
            None,
            json!([secret("B")]),
            Err(
                "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
            ),
        );
        let shared = "The secret name must be unique and not shared with any new or existing environment variables \
                      set on the container, such as 'A'.";
        check(role, json!([secret("A")]), Err(shared));
        check(role, json!([{"name": "B"}]), Err("Invalid 'secrets' setting for container 'app'."));
    }
}
