//! `ecsr task describe`: a page for people, or ECS's answer.

use serde_json::{Value, json};

use super::ports;
use crate::output::show;
use crate::output::table::{self, Column, column};
use crate::output::text::{Page, iso, list, pairs, short, tags, text};
use crate::refs;
use crate::session::{Session, TASKS};
use crate::wait::why_stopped;

/// Flags of `task describe`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ids, their first digits, or ARNs
    #[arg(required = true)]
    tasks: Vec<String>,
}

const CONTAINERS: [Column; 7] = [
    column("NAME", |row| text(row, "name")),
    column("STATUS", |row| text(row, "lastStatus")),
    column("HEALTH", |row| text(row, "healthStatus")),
    column("EXIT", |row| text(row, "exitCode")),
    column("PORTS", ports),
    column("IMAGE", |row| text(row, "image")),
    column("REASON", |row| text(row, "reason")),
];

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let mut tasks = Vec::with_capacity(args.tasks.len());
    for given in &args.tasks {
        let found = refs::task(session, given).await?;
        tasks.push(session.describe_one(TASKS, &found.cluster, &found.name).await?);
    }
    show(session.format(), &json!({"tasks": tasks, "failures": []}), |answer| {
        list(answer, "tasks").iter().map(page).collect::<Vec<_>>().join("\n")
    })
}

fn page(task: &Value) -> String {
    let stopped = if text(task, "lastStatus") == "STOPPED" { why_stopped(task) } else { String::new() };
    Page::default()
        .line("Task", short(task, "taskArn"))
        .line("ARN", text(task, "taskArn"))
        .line("Cluster", short(task, "clusterArn"))
        .line("Task definition", short(task, "taskDefinitionArn"))
        .line("Status", text(task, "lastStatus"))
        .line("Desired status", text(task, "desiredStatus"))
        .line("Health", text(task, "healthStatus"))
        .line("Group", text(task, "group"))
        .line("Started by", text(task, "startedBy"))
        .line("Launch type", text(task, "launchType"))
        .line("Instance", short(task, "containerInstanceArn"))
        .line("Zone", text(task, "availabilityZone"))
        .line("CPU", text(task, "cpu"))
        .line("Memory", text(task, "memory"))
        .line("Created", iso(task, "createdAt"))
        .line("Started", iso(task, "startedAt"))
        .line("Stopping", iso(task, "stoppingAt"))
        .line("Stopped", iso(task, "stoppedAt"))
        .line("Stop code", text(task, "stopCode"))
        .line("Stopped because", stopped)
        .line("Attributes", pairs(list(task, "attributes"), "name", "value"))
        .line("Tags", tags(task))
        .section("Containers", &table::render(&CONTAINERS, list(task, "containers")))
        .render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_task_says_why_and_a_running_one_does_not() {
        let mut task = json!({"taskArn": "arn:aws:ecs:r:a:task/c/0ab", "lastStatus": "RUNNING",
            "containers": [{"name": "web", "lastStatus": "RUNNING"}]});
        assert!(!page(&task).contains("Stopped because"));
        task["lastStatus"] = json!("STOPPED");
        task["stoppedReason"] = json!("by hand");
        assert!(page(&task).contains("by hand"), "{}", page(&task));
    }
}
