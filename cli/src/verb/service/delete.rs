//! `ecsr service delete`: ends a service; its tasks are stopped in order, not killed. What `--expose` made for it goes as
//! well, as soon as nothing uses it any more.

use std::time::Duration;

use serde_json::json;

use super::expose::Leftovers;
use super::summary;
use crate::ecs::Operation;
use crate::output::Format;
use crate::output::text::text;
use crate::output::{note, print, show};
use crate::refs::{Located, locate};
use crate::session::Session;
use crate::wait;

pub(super) const NOTES: &str = "\
What `service create --expose` made for the service (target groups, rules and listeners, not the load balancer) is
deleted as well, once the last task has drained and stopped: that is waited for, with or without --wait.";

/// Flags of `service delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ARN of the service
    service: String,
    /// Even while it is scaled above 0
    #[arg(long, short = 'f')]
    force: bool,
    /// Wait until its last task has stopped
    #[arg(long)]
    wait: bool,
    /// How long to wait: 90s, 10m, 1h
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10m",
        value_parser = crate::verb::duration
    )]
    timeout: Duration,
}

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let located = locate(session.cluster(), &args.service);
    let leftovers = Leftovers::of(session, &located).await?;
    let request = json!({"cluster": located.cluster, "service": located.name, "force": args.force});
    let answer = session.call(Operation::DeleteService, request).await?;
    if !args.wait && leftovers.is_none() {
        return show(session.format(), &answer, |answer| summary(&answer["service"]));
    }
    let service = Located { name: text(&answer, "service.serviceName"), ..located };
    if !args.wait {
        note("waiting for its tasks to drain and stop");
    }
    wait::service_gone(session, &service, args.timeout).await?;
    if let Some(leftovers) = leftovers {
        leftovers.remove().await?;
    }
    match session.format() {
        Format::Table => Ok(print(&format!("service {} is gone", service.name))?),
        Format::Json | Format::Yaml => show(session.format(), &answer, |_| String::new()),
    }
}
