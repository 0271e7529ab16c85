//! `ecsr service update`: only what is given changes.

use ecsr_api::ecs::UpdateServiceRequest;
use serde_json::{Value, json};

use super::settings::Settings;
use super::{WaitArgs, baseline, settle};
use crate::ecs::Operation;
use crate::refs::locate;
use crate::session::Session;

pub(super) const EXAMPLES: &str = "\
Examples:
  ecsr service update web --task-definition web --wait     # the newest revision
  ecsr service update web --force-new-deployment
  ecsr service update web --min-healthy 50 --max-percent 150 --circuit-breaker=rollback";

/// Flags of `service update`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ARN of the service
    service: String,
    /// Family (its newest revision), family:revision, or ARN
    #[arg(long, short = 't', value_name = "NAME")]
    task_definition: Option<String>,
    /// How many tasks to run
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u32>,
    /// Replace all tasks although nothing else changes
    #[arg(long)]
    force_new_deployment: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let located = locate(session.cluster(), &args.service);
    let mut request = args.settings.members::<UpdateServiceRequest>()?;
    request.insert("cluster".to_owned(), json!(located.cluster));
    request.insert("service".to_owned(), json!(located.name));
    if let Some(definition) = &args.task_definition {
        request.insert("taskDefinition".to_owned(), json!(definition));
    }
    if let Some(count) = args.count {
        request.insert("desiredCount".to_owned(), json!(count));
    }
    if args.force_new_deployment {
        request.insert("forceNewDeployment".to_owned(), json!(true));
    }
    let before = baseline(session, &located, &args.wait).await?;
    let answer = session.call(Operation::UpdateService, Value::Object(request)).await?;
    settle(session, &located.cluster, answer, &args.wait, before).await
}
