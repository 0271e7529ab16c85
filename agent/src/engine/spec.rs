//! What the engine has to know of a task: its containers and the order among them, nothing of how one is made.
//!
//! Images, ports and mounts are the runtime's business (`crate::container`). A `TaskSpec` that passed
//! [`TaskSpec::check`] has no dependency on an unknown container and no cycle: on that the engine's proof of
//! progress rests.

use std::collections::BTreeSet;
use std::time::Duration;

/// A task as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec {
    /// The task's ARN, its only identity.
    pub arn: String,
    /// Task definition family.
    pub family: String,
    /// Task definition revision, as text as the agent protocol has it.
    pub version: String,
    /// What is done about the end of an essential container while the scheduler is away.
    pub local_restart: Option<LocalRestart>,
    /// The containers, in the order of the task definition.
    pub containers: Vec<ContainerSpec>,
}

/// How essential containers are restarted while nobody is there who would replace the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalRestart {
    /// The pause before the first restart; it doubles with each.
    pub delay_min: Duration,
    /// The longest pause. A run that lasted as long starts the row anew.
    pub delay_max: Duration,
}

/// A container as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Its name, unique in the task.
    pub name: String,
    /// The image it needs before it can be created.
    pub image: String,
    /// Whether the task ends with it.
    pub essential: bool,
    /// What must hold of other containers before this one goes on.
    pub depends_on: Vec<Dependency>,
    /// How long dependents wait for this one's COMPLETE, SUCCESS or HEALTHY, counted from its start.
    pub start_timeout: Option<Duration>,
    /// Grace between SIGTERM and SIGKILL; `None` for the agent's own default.
    pub stop_timeout: Option<Duration>,
    /// Whether it is restarted in place when it exits.
    pub restart: Option<RestartPolicy>,
    /// Whether its health is checked, so that HEALTHY can ever hold.
    pub health_checked: bool,
}

/// One entry of `dependsOn`, or what `links` and `volumesFrom` imply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The container that is depended on.
    pub container: String,
    /// What must hold of it.
    pub condition: Condition,
}

/// The conditions of `dependsOn`, and CREATE, which only `volumesFrom` implies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The container exists.
    Create,
    /// It has been started.
    Start,
    /// It ran and ended.
    Complete,
    /// It ran and ended with code 0.
    Success,
    /// Its health check passed.
    Healthy,
}

/// When an exited container is started again in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Exit codes after which it is left stopped.
    pub ignored_exit_codes: Vec<i64>,
    /// The least time a run must have lasted for another attempt.
    pub attempt_period: Duration,
}

/// Why a task can never run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing to run.
    #[error("the task has no container")]
    NoContainer,
    /// Two containers share a name.
    #[error("two containers are named {0}")]
    DuplicateContainer(String),
    /// A dependency points nowhere, or containers wait for each other.
    #[error("Task dependencies cannot be resolved, taskArn: {0}")]
    Unresolvable(String),
}

impl TaskSpec {
    /// Checks that the task has containers of different names and that their order can be satisfied.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.containers.is_empty() {
            return Err(SpecError::NoContainer);
        }
        let mut names = BTreeSet::new();
        for container in &self.containers {
            if !names.insert(container.name.as_str()) {
                return Err(SpecError::DuplicateContainer(container.name.clone()));
            }
        }
        if self.has_order() { Ok(()) } else { Err(SpecError::Unresolvable(self.arn.clone())) }
    }

    /// The container's place in the task.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.containers.iter().position(|container| container.name == name)
    }

    /// Whether every container can be placed after all those that it depends on.
    fn has_order(&self) -> bool {
        let mut placed = BTreeSet::new();
        loop {
            let before = placed.len();
            for container in &self.containers {
                if container
                    .depends_on
                    .iter()
                    .all(|dependency| placed.contains(dependency.container.as_str()))
                {
                    placed.insert(container.name.as_str());
                }
            }
            if placed.len() == self.containers.len() {
                return true;
            }
            if placed.len() == before {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container's name and what it depends on.
    type Plan = (&'static str, &'static [&'static str]);

    fn spec(containers: &[Plan]) -> TaskSpec {
        let container = |&(name, depends_on): &Plan| ContainerSpec {
            name: name.to_owned(),
            image: "image".to_owned(),
            essential: true,
            depends_on: depends_on
                .iter()
                .map(|&other| Dependency { container: other.to_owned(), condition: Condition::Start })
                .collect(),
            start_timeout: None,
            stop_timeout: None,
            restart: None,
            health_checked: false,
        };
        TaskSpec {
            arn: "t".to_owned(),
            family: "f".to_owned(),
            version: "1".to_owned(),
            local_restart: None,
            containers: containers.iter().map(container).collect(),
        }
    }

    #[test]
    fn a_task_is_accepted_only_if_its_order_can_be_satisfied() {
        let unresolvable = Err(SpecError::Unresolvable("t".to_owned()));
        let cases: [(&[Plan], Result<(), SpecError>); 6] = [
            (&[("a", &[])], Ok(())),
            (&[("a", &["b"]), ("b", &["c"]), ("c", &[])], Ok(())),
            (&[], Err(SpecError::NoContainer)),
            (&[("a", &[]), ("a", &[])], Err(SpecError::DuplicateContainer("a".to_owned()))),
            (&[("a", &["nobody"])], unresolvable.clone()),
            (&[("a", &["b"]), ("b", &["a"])], unresolvable),
        ];
        for (containers, expected) in cases {
            assert_eq!(spec(containers).check(), expected, "{containers:?}");
        }
    }
}
