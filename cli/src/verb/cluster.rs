//! `ecsr cluster`: create, list, describe and delete clusters.

use serde_json::{Value, json};

use crate::ecs::Operation;
use crate::input;
use crate::output::show;
use crate::output::table::{self, Column, column};
use crate::output::text::{Page, list, pairs, tags, text};
use crate::session::{CLUSTERS, Session};

/// Create, list, describe and delete clusters
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Create a cluster; an existing one of that name is answered unchanged
    #[command(visible_alias = "new", after_help = "Example:\n  ecsr cluster create prod --tag team=web")]
    Create(CreateArgs),
    /// List the clusters
    #[command(visible_alias = "ls")]
    List,
    /// Show clusters; without a name, the one that verbs work on
    Describe(NameArgs),
    /// Delete a cluster that has no services, tasks and instances
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
}

/// Flags of `cluster create`.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Name of the cluster
    name: String,
    /// A tag, repeatable
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = input::key_value)]
    tags: Vec<(String, String)>,
}

/// Flags of `cluster describe`.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArgs {
    /// Names or ARNs of clusters
    names: Vec<String>,
}

/// Flags of `cluster delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Name or ARN of the cluster
    name: String,
}

const COLUMNS: [Column; 6] = [
    column("NAME", |row| text(row, "clusterName")),
    column("STATUS", |row| text(row, "status")),
    column("INSTANCES", |row| text(row, "registeredContainerInstancesCount")),
    column("SERVICES", |row| text(row, "activeServicesCount")),
    column("RUNNING", |row| text(row, "runningTasksCount")),
    column("PENDING", |row| text(row, "pendingTasksCount")),
];

/// Runs the verb.
pub(crate) async fn run(session: &Session, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Create(args) => create(session, args).await,
        Verb::List => list_all(session).await,
        Verb::Describe(args) => describe(session, args).await,
        Verb::Delete(args) => delete(session, args).await,
    }
}

async fn create(session: &Session, args: CreateArgs) -> anyhow::Result<()> {
    let mut request = json!({"clusterName": args.name});
    if !args.tags.is_empty() {
        request["tags"] = input::tags(&args.tags);
    }
    let answer = session.call(Operation::CreateCluster, request).await?;
    show(session.format(), &answer, stated)
}

async fn list_all(session: &Session) -> anyhow::Result<()> {
    let arns = session.list(Operation::ListClusters, json!({}), "clusterArns").await?;
    let clusters = session.describe_known(CLUSTERS, session.cluster(), &arns).await?;
    show(session.format(), &json!({ "clusters": clusters }), |answer| {
        table::render(&COLUMNS, list(answer, "clusters"))
    })
}

async fn describe(session: &Session, args: NameArgs) -> anyhow::Result<()> {
    let names = if args.names.is_empty() { vec![session.cluster().to_owned()] } else { args.names };
    let names: Vec<Value> = names.into_iter().map(Value::String).collect();
    let answer = session.describe(CLUSTERS, session.cluster(), &names).await?;
    show(session.format(), &answer, |answer| {
        list(answer, "clusters").iter().map(page).collect::<Vec<_>>().join("\n")
    })
}

fn page(cluster: &Value) -> String {
    Page::default()
        .line("Name", text(cluster, "clusterName"))
        .line("ARN", text(cluster, "clusterArn"))
        .line("Status", text(cluster, "status"))
        .line("Instances", text(cluster, "registeredContainerInstancesCount"))
        .line("Services", text(cluster, "activeServicesCount"))
        .line(
            "Tasks",
            format!(
                "{} running, {} pending",
                text(cluster, "runningTasksCount"),
                text(cluster, "pendingTasksCount")
            ),
        )
        .line("Settings", pairs(list(cluster, "settings"), "name", "value"))
        .line("Tags", tags(cluster))
        .render()
}

async fn delete(session: &Session, args: DeleteArgs) -> anyhow::Result<()> {
    let answer = session.call(Operation::DeleteCluster, json!({"cluster": args.name})).await?;
    show(session.format(), &answer, stated)
}

fn stated(answer: &Value) -> String {
    format!("cluster {} is {}", text(answer, "cluster.clusterName"), text(answer, "cluster.status"))
}
