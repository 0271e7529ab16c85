//! A task as the scheduler sends it, turned into what the engine and the runtime need.
//!
//! Everything here is a pure function of the payload's task, so that a task rebuilt from a container's label
//! behaves in every respect like the one that was received. Nothing of a payload is dropped silently: what
//! cannot be honoured is a [`Refusal`] that names the field.

pub(crate) mod body;
pub(crate) mod labels;
pub(crate) mod names;
mod overlay;
pub(crate) mod ports;
mod support;
pub(crate) mod volumes;

use std::time::Duration;

use ecsr_api::acs;

use crate::engine::{Condition, ContainerSpec, Dependency, LocalRestart, RestartPolicy, TaskSpec};

/// `restartAttemptPeriod` where the task definition names none.
const RESTART_ATTEMPT_PERIOD: Duration = Duration::from_mins(5);

/// Why a task of a payload cannot be run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The task lacks something or holds something that makes no sense. The spelling is Amazon's.
    #[error("UnrecogniedTaskError: Error loading task - {0}")]
    Invalid(String),
    /// The task asks for something that this agent cannot do yet.
    #[error("UnsupportedFeatureError: this agent does not support {0}")]
    Unsupported(String),
}

/// A task that can be run here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    /// The task as it was sent, credentials taken out.
    pub(crate) acs: acs::Task,
    /// What the engine knows of it.
    pub(crate) spec: TaskSpec,
    /// The credentials of its task role, if it has one; they live in memory only.
    pub(crate) credentials_id: Option<String>,
}

impl Task {
    /// Judges and translates a task of a payload.
    pub(crate) fn load(mut acs: acs::Task) -> Result<Self, Refusal> {
        support::check(&acs)?;
        let spec = spec(&acs)?;
        spec.check().map_err(|error| Refusal::Invalid(error.to_string()))?;
        let credentials_id = acs.role_credentials.take().and_then(|credentials| credentials.credentials_id);
        acs.execution_role_credentials = None;
        Ok(Task { acs, spec, credentials_id })
    }

    /// The container of this name, as it was sent.
    pub(crate) fn container(&self, name: &str) -> Option<&acs::Container> {
        self.acs.containers.iter().flatten().find(|container| container.name.as_deref() == Some(name))
    }
}

fn spec(task: &acs::Task) -> Result<TaskSpec, Refusal> {
    let needed = |value: &Option<String>, what: &str| {
        value
            .clone()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Refusal::Invalid(format!("{what} is missing")))
    };
    Ok(TaskSpec {
        arn: needed(&task.arn, "arn")?,
        family: needed(&task.family, "family")?,
        version: needed(&task.version, "version")?,
        local_restart: task.local_restart.as_ref().and_then(local_restart),
        containers: task.containers.iter().flatten().map(container_spec).collect::<Result<_, _>>()?,
    })
}

fn container_spec(container: &acs::Container) -> Result<ContainerSpec, Refusal> {
    let name = container.name.clone().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refusal::Invalid("a container has no name".to_owned()))?;
    let image = container.image.clone().filter(|image| !image.is_empty());
    let image = image.ok_or_else(|| Refusal::Invalid(format!("container {name} has no image")))?;
    Ok(ContainerSpec {
        essential: container.essential.unwrap_or(false),
        depends_on: dependencies(container)?,
        start_timeout: seconds(container.start_timeout),
        stop_timeout: seconds(container.stop_timeout),
        restart: restart_policy(container),
        health_checked: is_health_checked(container)?,
        name,
        image,
    })
}

/// A positive number of seconds; zero means "not set", as in Amazon's agent.
fn seconds(value: Option<i64>) -> Option<Duration> {
    value
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

fn restart_policy(container: &acs::Container) -> Option<RestartPolicy> {
    let policy = container.restart_policy.as_ref().filter(|policy| policy.enabled == Some(true))?;
    Some(RestartPolicy {
        ignored_exit_codes: policy.ignored_exit_codes.iter().flatten().copied().map(i64::from).collect(),
        attempt_period: seconds(policy.restart_attempt_period).unwrap_or(RESTART_ATTEMPT_PERIOD),
    })
}

/// A rule without its bounds is no rule.
fn local_restart(rule: &acs::LocalRestart) -> Option<LocalRestart> {
    let (delay_min, delay_max) = (seconds(rule.delay_min)?, seconds(rule.delay_max)?);
    Some(LocalRestart { delay_min, delay_max: delay_max.max(delay_min) })
}

/// What `dependsOn` says, and what `links` and `volumesFrom` imply.
fn dependencies(container: &acs::Container) -> Result<Vec<Dependency>, Refusal> {
    let mut all = Vec::new();
    for dependency in container.depends_on.iter().flatten() {
        let condition = match dependency.condition.as_deref().unwrap_or_default() {
            "START" => Condition::Start,
            "COMPLETE" => Condition::Complete,
            "SUCCESS" => Condition::Success,
            "HEALTHY" => Condition::Healthy,
            other => return Err(Refusal::Invalid(format!("dependsOn has the unknown condition {other:?}"))),
        };
        all.push(Dependency { container: dependency.container_name.clone().unwrap_or_default(), condition });
    }
    for link in container.links.iter().flatten() {
        let other = link.split(':').next().unwrap_or(link).to_owned();
        all.push(Dependency { container: other, condition: Condition::Start });
    }
    for from in container.volumes_from.iter().flatten() {
        let other = from.source_container.clone().unwrap_or_default();
        all.push(Dependency { container: other, condition: Condition::Create });
    }
    Ok(all)
}

fn is_health_checked(container: &acs::Container) -> Result<bool, Refusal> {
    let config =
        overlay::parse(container.docker_config.as_ref().and_then(|docker| docker.config.as_deref()))?;
    let has_check = config.get("Healthcheck").is_some_and(|check| !check.is_null());
    if container.health_check_type.as_deref() == Some("docker") && !has_check {
        let name = container.name.as_deref().unwrap_or_default();
        return Err(Refusal::Invalid(format!(
            "container {name} has healthCheckType docker and no Healthcheck"
        )));
    }
    Ok(has_check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(json: &str) -> Result<Task, Refusal> {
        Task::load(serde_json::from_str(json).unwrap())
    }

    fn with_container(extra: &str) -> Result<Task, Refusal> {
        load(&format!(
            r#"{{"arn":"t","family":"f","version":"1","containers":[
                {{"name":"a","image":"i","essential":true}},{{"name":"b","image":"i",{extra}}}]}}"#
        ))
    }

    #[test]
    fn order_comes_from_depends_on_links_and_volumes_from() {
        let task = with_container(
            r#""dependsOn":[{"containerName":"a","condition":"HEALTHY"}],"links":["a:db"],
               "volumesFrom":[{"sourceContainer":"a"}]"#,
        )
        .unwrap();
        let conditions: Vec<Condition> =
            task.spec.containers[1].depends_on.iter().map(|d| d.condition).collect();
        assert_eq!(conditions, [Condition::Healthy, Condition::Start, Condition::Create]);
        assert!(task.spec.containers[1].depends_on.iter().all(|dependency| dependency.container == "a"));
    }

    #[test]
    fn a_task_that_cannot_be_honoured_is_refused_by_the_name_of_the_field() {
        let cases = [
            (r#""dependsOn":[{"containerName":"a","condition":"SOON"}]"#, "SOON"),
            (
                r#""dependsOn":[{"containerName":"z","condition":"START"}]"#,
                "Task dependencies cannot be resolved",
            ),
            (r#""healthCheckType":"docker""#, "no Healthcheck"),
            (r#""dockerConfig":{"config":"{"}"#, "dockerConfig"),
            (r#""secrets":[{"name":"PASSWORD"}]"#, "secrets"),
            (r#""environmentFiles":[{"value":"arn"}]"#, "environmentFiles"),
            (r#""firelensConfiguration":{"type":"fluentd"}"#, "firelensConfiguration"),
            (r#""managedAgents":[{"name":"ExecuteCommandAgent"}]"#, "managedAgents"),
            (r#""registryAuthentication":{"type":"ecr"}"#, "registryAuthentication"),
            (r#""overrides":"{\"cpu\":1}""#, "overrides"),
        ];
        for (extra, expected) in cases {
            let refusal = with_container(extra).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{refusal}");
        }
        let refusal =
            load(r#"{"arn":"t","family":"f","version":"1","networkMode":"awsvpc","containers":[]}"#);
        assert!(refusal.unwrap_err().to_string().contains("awsvpc"));
    }

    #[test]
    fn credentials_are_taken_out_of_what_is_kept() {
        let task = load(
            r#"{"arn":"t","family":"f","version":"1","containers":[{"name":"a","image":"i"}],
                "roleCredentials":{"credentialsId":"id","secretAccessKey":"secret"},
                "executionRoleCredentials":{"secretAccessKey":"secret"}}"#,
        )
        .unwrap();
        assert_eq!(task.credentials_id.as_deref(), Some("id"));
        assert!(!serde_json::to_string(&task.acs).unwrap().contains("secret"));
    }
}
