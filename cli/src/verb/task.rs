//! `ecsr task`: one file per verb below this one; the table of tasks that several of them show is here.

mod describe;
mod list;
mod logs;
mod run;
mod stop;

use serde_json::Value;

use crate::output::table::{self, Column, column};
use crate::output::text::{age, list as items, short, text};
use crate::session::Session;

/// Run, list, describe and stop tasks, and read their logs
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Run tasks once, outside any service
    #[command(after_help = run::EXAMPLES)]
    Run(Box<run::Args>),
    /// List the tasks of the cluster
    #[command(visible_alias = "ls", after_help = list::EXAMPLES)]
    List(list::Args),
    /// Show tasks: containers, ports, times, and why they stopped
    Describe(describe::Args),
    /// Stop tasks; a service replaces those of its own
    Stop(stop::Args),
    /// Print what a task's containers wrote, read from this machine's Docker engine
    #[command(after_help = logs::EXAMPLES)]
    Logs(logs::Args),
}

/// Runs the verb.
pub(crate) async fn run(session: &Session, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Run(args) => run::run(session, *args).await,
        Verb::List(args) => list::run(session, args).await,
        Verb::Describe(args) => describe::run(session, args).await,
        Verb::Stop(args) => stop::run(session, args).await,
        Verb::Logs(args) => logs::run(session, args).await,
    }
}

const COLUMNS: [Column; 8] = [
    column("TASK", |row| short(row, "taskArn")),
    column("TASK-DEFINITION", |row| short(row, "taskDefinitionArn")),
    column("STATUS", |row| text(row, "lastStatus")),
    column("HEALTH", |row| text(row, "healthStatus")),
    column("GROUP", |row| text(row, "group")),
    column("PORTS", |row| {
        items(row, "containers")
            .iter()
            .map(ports)
            .filter(|ports| !ports.is_empty())
            .collect::<Vec<_>>()
            .join(",")
    }),
    column("INSTANCE", |row| short(row, "containerInstanceArn").chars().take(INSTANCE_DIGITS).collect()),
    column("AGE", |row| age(row, "createdAt")),
];

/// Digits of an instance id in the table of tasks: enough to name it to `ecsr instance`.
const INSTANCE_DIGITS: usize = 12;

/// The table of `tasks`; empty when there are none.
pub(crate) fn table(tasks: &[Value]) -> String {
    if tasks.is_empty() { String::new() } else { full_table(tasks) }
}

/// The table of `tasks`, with its header even when there are none.
fn full_table(tasks: &[Value]) -> String {
    table::render(&COLUMNS, tasks)
}

/// The ports of a container: `HOST->CONTAINER/PROTOCOL`.
fn ports(container: &Value) -> String {
    let binding = |item: &Value| {
        let host = first_of(item, "hostPort", "hostPortRange");
        let inside = first_of(item, "containerPort", "containerPortRange");
        format!("{host}->{inside}/{}", text(item, "protocol"))
    };
    items(container, "networkBindings").iter().map(binding).collect::<Vec<_>>().join(",")
}

fn first_of(item: &Value, member: &str, otherwise: &str) -> String {
    match text(item, member) {
        none if none.is_empty() => text(item, otherwise),
        given => given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_of_a_container() {
        fn check(binding: &Value, expected: &str) {
            assert_eq!(ports(&json!({ "networkBindings": [binding] })), expected);
        }
        check(
            &json!({"bindIP": "0.0.0.0", "hostPort": 32768, "containerPort": 80, "protocol": "tcp"}),
            "32768->80/tcp",
        );
        check(
            &json!({"hostPortRange": "8000-8001", "containerPortRange": "80-81", "protocol": "tcp"}),
            "8000-8001->80-81/tcp",
        );
        assert_eq!(ports(&json!({})), "");
    }
}
