//! `ecsr service scale`: another desired count, the same deployment.

use serde_json::json;

use super::{WaitArgs, baseline, settle};
use crate::ecs::Operation;
use crate::refs::locate;
use crate::session::Session;

pub(super) const EXAMPLES: &str = "\
Example:
  ecsr service scale web 20 --wait";

/// Flags of `service scale`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ARN of the service
    service: String,
    /// How many tasks to run
    count: u32,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let located = locate(session.cluster(), &args.service);
    let before = baseline(session, &located, &args.wait).await?;
    let request = json!({"cluster": located.cluster, "service": located.name, "desiredCount": args.count});
    let answer = session.call(Operation::UpdateService, request).await?;
    settle(session, &located.cluster, answer, &args.wait, before).await
}
