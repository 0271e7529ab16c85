//! `ecsr task list`: the tasks of a cluster, one line each.

use serde_json::json;

use super::full_table;
use crate::ecs::Operation;
use crate::output::show;
use crate::output::text::list;
use crate::refs;
use crate::session::{Session, TASKS};

pub(super) const EXAMPLES: &str = "\
Examples:
  ecsr task list --service web
  ecsr task list --all --family batch
  ecsr task list -o json | jq -r '.tasks[].containers[].networkBindings[].hostPort'";

/// Flags of `task list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only tasks of this service
    #[arg(long, short = 's', value_name = "NAME")]
    service: Option<String>,
    /// Only tasks of this task definition family
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// Only tasks on this instance
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// Only tasks started by this; ECS takes it only without other filters
    #[arg(long, value_name = "TEXT")]
    started_by: Option<String>,
    /// Tasks that have stopped, instead of those that run
    #[arg(long, conflicts_with = "all")]
    stopped: bool,
    /// Tasks that run and tasks that have stopped
    #[arg(long, short = 'a')]
    all: bool,
}

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let mut request = json!({"cluster": session.cluster()});
    for (name, value) in
        [("serviceName", args.service), ("family", args.family), ("startedBy", args.started_by)]
    {
        if let Some(value) = value {
            request[name] = json!(value);
        }
    }
    if let Some(given) = &args.instance {
        request["containerInstance"] = json!(refs::instance(session, given).await?.name);
    }
    let statuses: &[&str] = match (args.all, args.stopped) {
        (true, _) => &["RUNNING", "STOPPED"],
        (false, true) => &["STOPPED"],
        (false, false) => &["RUNNING"],
    };
    let mut arns = Vec::new();
    for status in statuses {
        request["desiredStatus"] = json!(status);
        arns.extend(session.list(Operation::ListTasks, request.clone(), "taskArns").await?);
    }
    let tasks = session.describe_known(TASKS, session.cluster(), &arns).await?;
    show(session.format(), &json!({ "tasks": tasks }), |answer| full_table(list(answer, "tasks")))
}
