//! `ecsr task stop`: asks for the end of tasks; the agent gives their containers the grace of their
//! definition.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ecs::Operation;
use crate::output::show;
use crate::output::text::{list, short, text};
use crate::refs;
use crate::session::Session;
use crate::wait;

/// Flags of `task stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ids, their first digits, or ARNs
    #[arg(required = true)]
    tasks: Vec<String>,
    /// Why; shown with the stopped task
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Wait until they have stopped
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
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let mut stopping = Vec::with_capacity(args.tasks.len());
    for given in &args.tasks {
        let found = refs::task(session, given).await?;
        let mut request = json!({"cluster": found.cluster, "task": found.name});
        if let Some(reason) = &args.reason {
            request["reason"] = json!(reason);
        }
        let answer = session.call(Operation::StopTask, request).await?;
        stopping.push(answer["task"].clone());
    }
    if args.wait {
        for task in &mut stopping {
            let arn = [task["taskArn"].clone()];
            let cluster = text(task, "clusterArn");
            let mut found = wait::tasks_stopped(session, &cluster, &arn, args.timeout).await?;
            *task = found.pop().unwrap_or_default();
        }
    }
    show(session.format(), &json!({ "tasks": stopping }), |answer| {
        list(answer, "tasks").iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

fn line(task: &Value) -> String {
    match text(task, "lastStatus").as_str() {
        "STOPPED" => format!("task {} has stopped", short(task, "taskArn")),
        status => format!("task {} is {status}, to be stopped", short(task, "taskArn")),
    }
}
