//! `ecsr service events`: the scheduler's own account of a service, oldest first as a log is read.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::ecs::Operation;
use crate::output::text::{iso, list, text};
use crate::output::{Format, print, show};
use crate::refs::locate;
use crate::session::{SERVICES, Session};

/// Flags of `service events`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ARN of the service
    service: String,
    /// Go on with new events until the service is gone
    #[arg(long, short = 'f')]
    follow: bool,
}

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let located = locate(session.cluster(), &args.service);
    let mut service = session.describe_one(SERVICES, &located.cluster, &located.name).await?;
    if !args.follow && session.format() != Format::Table {
        return show(session.format(), &json!({"events": service["events"]}), |_| String::new());
    }
    let mut seen = BTreeSet::new();
    loop {
        for event in list(&service, "events").iter().rev() {
            if seen.insert(text(event, "id")) {
                print(&line(session.format(), event)?)?;
            }
        }
        if !args.follow || text(&service, "status") == "INACTIVE" {
            return Ok(());
        }
        tokio::time::sleep(session.pace().longest).await;
        let request = json!({"cluster": located.cluster, "services": [located.name]});
        match session.try_call(Operation::DescribeServices, request).await {
            Ok(answer) if !answer["services"][0].is_null() => service = answer["services"][0].clone(),
            Ok(_) => return Ok(()),
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(crate::error::Failure::from(error).into()),
        }
    }
}

/// One event on one line, so that `-o json` of a followed service is a stream of objects.
fn line(format: Format, event: &Value) -> anyhow::Result<String> {
    Ok(match format {
        Format::Table => format!("{}   {}", iso(event, "createdAt"), text(event, "message")),
        Format::Json => crate::output::time::with_iso_times(event).to_string(),
        Format::Yaml => {
            format!("---\n{}", serde_yaml_ng::to_string(&crate::output::time::with_iso_times(event))?)
        }
    })
}
