//! `ecsr down`: ends the agent, the scheduler and the load balancer that `ecsr up` started. Tasks keep running, and the
//! next `up` finds them; `--purge` is the way to have none of it any more.

use std::collections::BTreeSet;
use std::path::Path;

use bollard::Docker;
use serde_json::json;

use crate::context::Context;
use crate::docker::{self, agent, balancer, container, image};
use crate::ecs::Operation;
use crate::error::{Failure, Kind};
use crate::globals::Globals;
use crate::lock;
use crate::output::{Format, note, print};
use crate::session::Session;
use crate::verb::up::remembered;

pub(crate) const EXAMPLES: &str = "\
Examples:
  ecsr down             # `ecsr up` goes on where it ended
  ecsr down --purge     # tasks, cluster, keys and image are gone";

/// End the local scheduler, agent and load balancer; tasks keep running
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
    // While the scheduler can still say whose containers are its own.
    let instances = instances(&data_dir, context.as_ref()).await?;

    let mut did = Vec::new();
    let (balancers, agents): (Vec<String>, Vec<String>) = match &engine {
        Some(engine) => container::names(engine, &data_dir).await?,
        None => Vec::new(),
    }
    .into_iter()
    .partition(|name| name.starts_with(balancer::NAME));
    did.extend(end(engine.as_ref(), "agent", &agents).await?);
    if let Some(running) = &running {
        lock::stop(&data_dir, running).await?;
        did.push(format!("ended the scheduler (process {})", running.pid));
    }
    // Last, so that the scheduler never misses it.
    did.extend(end(engine.as_ref(), "load balancer", &balancers).await?);
    Context::remove(&data_dir).map_err(|error| no_access(&data_dir, &error))?;
    if args.purge {
        did.extend(purge(engine.as_ref(), &data_dir, &instances).await?);
    } else if !did.is_empty() {
        did.push("tasks keep running; `ecsr up` goes on with them".to_owned());
    }
    let nothing = || format!("nothing runs on {}", data_dir.display());
    Ok(print(&if did.is_empty() { nothing() } else { did.join("\n") })?)
}

/// Ends the containers of these names; answers what to tell.
async fn end(engine: Option<&Docker>, what: &str, names: &[String]) -> Result<Vec<String>, Failure> {
    let mut did = Vec::with_capacity(names.len());
    for (engine, name) in engine.into_iter().flat_map(|engine| names.iter().map(move |name| (engine, name))) {
        container::remove(engine, name).await?;
        did.push(format!("ended the {what} ({name})"));
    }
    Ok(did)
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

/// The container instances of this ecsr: those remembered, and those that its scheduler knows if it answers.
/// They are remembered for the next time, when it may not.
async fn instances(data_dir: &Path, context: Option<&Context>) -> Result<BTreeSet<String>, Failure> {
    let unusable = |error: std::io::Error| {
        Failure::new(Kind::Failed, format!("cannot use {}: {error}", data_dir.display()))
    };
    if let Some(context) = context
        && let Ok(known) = known_instances(context).await
    {
        remembered::add(data_dir, known).map_err(unusable)?;
    }
    remembered::load(data_dir).map_err(unusable)
}

async fn known_instances(context: &Context) -> Result<Vec<String>, Failure> {
    let session = Session::local(context, Format::Table).await?;
    let mut known = Vec::new();
    for cluster in session.list(Operation::ListClusters, json!({}), "clusterArns").await? {
        let request = json!({ "cluster": cluster });
        let arns = session.list(Operation::ListContainerInstances, request, "containerInstanceArns").await?;
        known.extend(arns.iter().filter_map(|arn| arn.as_str().map(str::to_owned)));
    }
    Ok(known)
}

async fn purge(
    engine: Option<&Docker>,
    data_dir: &Path,
    instances: &BTreeSet<String>,
) -> Result<Vec<String>, Failure> {
    let mut did = Vec::new();
    if let Some(engine) = engine {
        let removed = agent::purge_tasks(engine, instances).await?;
        did.push(format!("removed {removed} containers of tasks"));
        image::remove(engine, image::NAME).await?;
    }
    if data_dir.exists() {
        lock::remove_data(data_dir).map_err(|error| no_access(data_dir, &error))?;
        did.push(format!("removed {}", data_dir.display()));
    }
    Ok(did)
}

fn no_access(data_dir: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Failed, format!("cannot remove what is in {}: {error}", data_dir.display()))
        .hint("what the containers keep there belongs to root: run `ecsr down --purge` as root")
}
