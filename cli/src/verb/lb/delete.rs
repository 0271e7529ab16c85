//! `ecsr lb delete`: ends a load balancer and its listeners. Target groups belong to services and stay, unless they are
//! asked for.

use serde_json::json;

use super::find;
use crate::elb::Elb;
use crate::error::Failure;
use crate::output::show;
use crate::output::text::text;
use crate::session::Session;

pub(super) const EXAMPLES: &str = "\
Examples:
  ecsr lb delete web
  ecsr lb delete web --with-target-groups";

/// Flags of `lb delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ARN of the load balancer
    name: String,
    /// Also delete the target groups that it leads to
    #[arg(long)]
    with_target_groups: bool,
}

/// Runs the verb.
pub(super) async fn run(session: &Session, elb: &Elb, args: Args) -> anyhow::Result<()> {
    let balancer = find(elb, &args.name).await?;
    let arn = text(&balancer, "LoadBalancerArn");
    // Asked before it is gone, when nothing tells any more what it led to.
    let groups = if args.with_target_groups {
        elb.target_groups_of(&arn).await.map_err(Failure::from)?
    } else {
        Vec::new()
    };
    elb.delete_load_balancer(&arn).await.map_err(Failure::from)?;
    for group in &groups {
        elb.delete_target_group(&text(group, "TargetGroupArn")).await.map_err(Failure::from)?;
    }
    let name = text(&balancer, "LoadBalancerName");
    let gone = json!({"LoadBalancers": [balancer], "TargetGroups": groups});
    show(session.format(), &gone, |_| match groups.len() {
        0 => format!("load balancer {name} is gone"),
        count => format!("load balancer {name} is gone, and {count} target groups with it"),
    })
}
