//! `ecsr service`: one file per verb below this one. What several of them share is here: the columns and
//! pages that show a service, and the flags of a wait.

mod create;
mod delete;
mod describe;
mod events;
mod expose;
mod list;
mod scale;
mod settings;
mod update;

use std::time::Duration;

use serde_json::{Value, json};

use crate::error::Failure;
use crate::output::show;
use crate::output::text::{last_part, list, short, text};
use crate::refs::Located;
use crate::session::Session;
use crate::wait::decide::{Goal, View};
use crate::wait::{self, Baseline};

/// Create, list, describe, update, scale and delete services
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Create a service: that many tasks, kept running
    #[command(visible_alias = "new", after_help = create::EXAMPLES)]
    Create(Box<create::Args>),
    /// List the services of the cluster
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show services: deployments, tasks and events
    Describe(describe::Args),
    /// Change a service; a new task definition is rolled out within the service's bounds
    #[command(after_help = update::EXAMPLES)]
    Update(Box<update::Args>),
    /// Change how many tasks a service runs
    #[command(after_help = scale::EXAMPLES)]
    Scale(scale::Args),
    /// Delete a service
    #[command(visible_alias = "rm", after_help = delete::NOTES)]
    Delete(delete::Args),
    /// Show what happened to a service, oldest first
    Events(events::Args),
}

/// Flags of verbs that can wait.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WaitArgs {
    /// Wait until the service is stable, and fail with the reason when it cannot become so
    #[arg(long)]
    wait: bool,
    /// How long to wait: 90s, 10m, 1h
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10m",
        value_parser = crate::verb::duration,
        requires = "wait"
    )]
    timeout: Duration,
}

/// Runs the verb.
pub(crate) async fn run(session: &Session, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Create(args) => create::run(session, *args).await,
        Verb::List(args) => list::run(session, args).await,
        Verb::Describe(args) => describe::run(session, args).await,
        Verb::Update(args) => update::run(session, *args).await,
        Verb::Scale(args) => scale::run(session, args).await,
        Verb::Delete(args) => delete::run(session, args).await,
        Verb::Events(args) => events::run(session, args).await,
    }
}

/// Waits, if asked to, for the service that a create or update answered, then shows it.
async fn settle(
    session: &Session,
    cluster: &str,
    answer: Value,
    wait: &WaitArgs,
    baseline: Baseline,
) -> anyhow::Result<()> {
    let service = &answer["service"];
    if !wait.wait {
        return show(session.format(), &answer, |answer| summary(&answer["service"]));
    }
    let located = Located { cluster: cluster.to_owned(), name: text(service, "serviceName") };
    let deployment = View::read(service).primary().map(|primary| primary.id.clone());
    let goal = Goal { deployment, timeout: wait.timeout };
    let described = wait::service_stable(session, &located, &goal, baseline).await?;
    show(session.format(), &json!({"service": described["services"][0]}), |answer| {
        summary(&answer["service"])
    })
}

/// What was there before a change, when the change is to be waited for.
async fn baseline(session: &Session, service: &Located, wait: &WaitArgs) -> Result<Baseline, Failure> {
    if wait.wait { Baseline::of(session, service).await } else { Ok(Baseline::default()) }
}

/// One line that says what a service is.
fn summary(service: &Value) -> String {
    let View { status, desired, running, pending, deployments, .. } = View::read(service);
    let settled = status == "ACTIVE" && running == desired && deployments.len() <= 1;
    let state = match status.as_str() {
        "ACTIVE" if settled => "stable".to_owned(),
        "ACTIVE" => "settling".to_owned(),
        other => other.to_owned(),
    };
    let name = text(service, "serviceName");
    let definition = last_part(&text(service, "taskDefinition")).to_owned();
    format!("service {name} ({definition}) is {state}: {running} of {desired} running, {pending} pending")
}

/// The task definition of a service, `family:revision`; of its primary deployment where that differs.
fn task_definition(service: &Value) -> String {
    let primary = list(service, "deployments").iter().find(|item| text(item, "status") == "PRIMARY");
    primary.map_or_else(|| short(service, "taskDefinition"), |item| short(item, "taskDefinition"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_in_one_line() {
        fn check(service: &Value, expected: &str) {
            assert_eq!(summary(service), expected);
        }
        let mut service = json!({
            "serviceName": "web", "status": "ACTIVE", "taskDefinition": "arn:aws:ecs:r:a:task-definition/web:1",
            "desiredCount": 14, "runningCount": 14, "pendingCount": 0, "deployments": [{"id": "ecs-svc/1"}],
        });
        check(&service, "service web (web:1) is stable: 14 of 14 running, 0 pending");
        service["runningCount"] = json!(3);
        check(&service, "service web (web:1) is settling: 3 of 14 running, 0 pending");
        service["status"] = json!("DRAINING");
        check(&service, "service web (web:1) is DRAINING: 3 of 14 running, 0 pending");
    }
}
