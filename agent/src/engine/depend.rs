//! Whether a container may go on: the conditions of `dependsOn` against what is known of the others.
//!
//! Three answers, so that nothing waits for what cannot come: the caller ends a container whose dependency is
//! impossible instead of leaving it PENDING for ever.

use super::container::{Container, Phase};
use super::observe::Health;
use super::spec::{Condition, Dependency};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Every condition holds.
    Ready,
    /// Some may still come to hold.
    Wait,
    /// One can never hold any more; why, for the container's reason.
    Impossible(String),
}

/// Judges all dependencies of a container of this task.
pub(super) fn readiness(dependencies: &[Dependency], containers: &[Container]) -> Readiness {
    let mut all = Readiness::Ready;
    for dependency in dependencies {
        let target = containers.iter().find(|container| container.spec.name == dependency.container);
        let target = target.expect("an accepted task names only its own containers");
        match judge(dependency.condition, target) {
            Readiness::Ready => {}
            Readiness::Wait => all = Readiness::Wait,
            impossible @ Readiness::Impossible(_) => return impossible,
        }
    }
    all
}

fn judge(condition: Condition, target: &Container) -> Readiness {
    let name = &target.spec.name;
    let stopped = target.is_stopped();
    let never =
        |what: &str| Readiness::Impossible(format!("CannotStartContainerError: dependency {name} {what}"));
    match condition {
        Condition::Create if target.id().is_some() => Readiness::Ready,
        Condition::Start if target.has_started() => Readiness::Ready,
        Condition::Create | Condition::Start if stopped => never("could not be started"),
        Condition::Complete if stopped && target.exit_code.is_some() && target.has_started() => {
            Readiness::Ready
        }
        Condition::Success if stopped && target.exit_code == Some(0) => Readiness::Ready,
        Condition::Success if stopped && target.has_started() => match target.exit_code {
            Some(code) => never(&format!("exited with code {code}, not with 0")),
            None => never("ended with no exit code"),
        },
        Condition::Healthy
            if target.health == Health::Healthy && matches!(target.phase, Phase::Running { .. }) =>
        {
            Readiness::Ready
        }
        Condition::Healthy if !target.spec.health_checked => never("has no health check"),
        Condition::Complete | Condition::Success if stopped => never("did not run"),
        Condition::Healthy if stopped => never("ended before it was healthy"),
        Condition::Complete | Condition::Success | Condition::Healthy if target.start_expired => {
            never("did not get ready within its startTimeout")
        }
        Condition::Create
        | Condition::Start
        | Condition::Complete
        | Condition::Success
        | Condition::Healthy => Readiness::Wait,
    }
}
