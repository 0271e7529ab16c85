//! `ecsr service list`: the services of a cluster, one line each.

use serde_json::json;

use super::task_definition;
use crate::ecs::Operation;
use crate::output::show;
use crate::output::table::{self, Column, column};
use crate::output::text::{age, list, text};
use crate::session::{SERVICES, Session};

/// Flags of `service list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only services of this strategy
    #[arg(long, value_name = "STRATEGY", value_parser = ["REPLICA", "DAEMON"], ignore_case = true)]
    scheduling_strategy: Option<String>,
    /// Only services of this launch type
    #[arg(long, value_name = "TYPE", value_parser = ["EC2", "EXTERNAL", "FARGATE"], ignore_case = true)]
    launch_type: Option<String>,
}

const COLUMNS: [Column; 7] = [
    column("NAME", |row| text(row, "serviceName")),
    column("STATUS", |row| text(row, "status")),
    column("DESIRED", |row| text(row, "desiredCount")),
    column("RUNNING", |row| text(row, "runningCount")),
    column("PENDING", |row| text(row, "pendingCount")),
    column("TASK-DEFINITION", task_definition),
    column("AGE", |row| age(row, "createdAt")),
];

/// Services per page: the most that ECS gives, for its default is ten.
const PAGE: u32 = 100;

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let mut request = json!({"cluster": session.cluster(), "maxResults": PAGE});
    if let Some(strategy) = args.scheduling_strategy {
        request["schedulingStrategy"] = json!(strategy.to_uppercase());
    }
    if let Some(kind) = args.launch_type {
        request["launchType"] = json!(kind.to_uppercase());
    }
    let arns = session.list(Operation::ListServices, request, "serviceArns").await?;
    let mut services = session.describe_known(SERVICES, session.cluster(), &arns).await?;
    services.sort_by_key(|service| text(service, "serviceName"));
    show(session.format(), &json!({ "services": services }), |answer| {
        table::render(&COLUMNS, list(answer, "services"))
    })
}
