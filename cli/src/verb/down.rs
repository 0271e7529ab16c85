//! `ecsr down`: ends the agent and the scheduler that `ecsr up` started. Tasks keep running, and the next
//! `up` finds them; `--purge` is the way to have none of it any more.

use std::path::Path;

use bollard::Docker;
use serde_json::json;

use crate::context::Context;
use crate::docker::agent::{self, Purge};
use crate::docker::{self, image};
use crate::ecs::Operation;
use crate::error::{Failure, Kind};
use crate::globals::Globals;
use crate::lock;
use crate::output::{Format, note, print};
use crate::session::Session;

pub(crate) const EXAMPLES: &str = "\
Examples:
  ecsr down             # `ecsr up` goes on where it ended
  ecsr down --purge     # tasks, cluster, keys and image are gone";

/// End the local scheduler and agent; tasks keep running
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Also remove the containers of the cluster's tasks, the data directory and the agent's image
    #[arg(long)]
    purge: bool,
}

/// Runs the verb.
pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<()> {
    let data_dir = globals.data_dir()?;
    let context = Context::load(&data_dir)?;
    let running = lock::find(&data_dir)?;
    let engine = engine(args.purge).await?;
    // While the scheduler can still say which tasks are its own.
    let tasks = if args.purge { known_tasks(context.as_ref()).await } else { None };

    let mut did = Vec::new();
    if let Some(engine) = &engine {
        did.extend(
            agent::remove_all(engine, &data_dir)
                .await?
                .iter()
                .map(|name| format!("ended the agent ({name})")),
        );
    }
    if let Some(running) = &running {
        lock::stop(&data_dir, running).await?;
        did.push(format!("ended the scheduler (process {})", running.pid));
    }
    Context::remove(&data_dir).map_err(|error| no_access(&data_dir, &error))?;
    if args.purge {
        did.extend(purge(engine.as_ref(), &data_dir, context.as_ref(), tasks.as_deref()).await?);
    } else if !did.is_empty() {
        did.push("tasks keep running; `ecsr up` goes on with them".to_owned());
    }
    let nothing = || format!("nothing runs on {}", data_dir.display());
    Ok(print(&if did.is_empty() { nothing() } else { did.join("\n") })?)
}

/// The engine. Without one there can be no agent to end; a purge, though, must not believe that lightly.
async fn engine(purge: bool) -> Result<Option<Docker>, Failure> {
    match docker::connect().await {
        Ok(engine) => Ok(Some(engine)),
        Err(failure) if purge => Err(failure),
        Err(failure) => {
            note(&format!("no agent was ended: {failure}"));
            Ok(None)
        }
    }
}

/// The ARNs of the tasks that the scheduler knows, in any cluster; `None` when it cannot be asked.
async fn known_tasks(context: Option<&Context>) -> Option<Vec<String>> {
    let session = Session::local(context?, Format::Table).await.ok()?;
    let clusters = session.list(Operation::ListClusters, json!({}), "clusterArns").await.ok()?;
    let mut tasks = Vec::new();
    for cluster in clusters {
        for status in ["RUNNING", "STOPPED"] {
            let request = json!({"cluster": cluster, "desiredStatus": status});
            let arns = session.list(Operation::ListTasks, request, "taskArns").await.ok()?;
            tasks.extend(arns.iter().filter_map(|arn| arn.as_str().map(str::to_owned)));
        }
    }
    Some(tasks)
}

async fn purge(
    engine: Option<&Docker>,
    data_dir: &Path,
    context: Option<&Context>,
    tasks: Option<&[String]>,
) -> Result<Vec<String>, Failure> {
    let mut did = Vec::new();
    if let Some(engine) = engine {
        let mut removed = match tasks {
            Some(tasks) => agent::purge_tasks(engine, Purge::Tasks(tasks)).await?,
            None => 0,
        };
        // Also those that the scheduler has forgotten, unless they may be another ecsr's.
        if let Some(context) = context
            && !agent::shares_cluster(engine, data_dir, &context.cluster).await?
        {
            removed += agent::purge_tasks(engine, Purge::Cluster(&context.cluster)).await?;
        }
        did.push(format!("removed {removed} containers of tasks"));
        image::remove(engine).await?;
    }
    if data_dir.exists() {
        lock::remove_data(data_dir).map_err(|error| no_access(data_dir, &error))?;
        did.push(format!("removed {}", data_dir.display()));
    }
    Ok(did)
}

fn no_access(data_dir: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Failed, format!("cannot remove what is in {}: {error}", data_dir.display()))
        .hint("the agent's part of it belongs to root: run `ecsr down --purge` as root")
}
