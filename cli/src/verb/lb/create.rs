//! `ecsr lb create`: a load balancer that has no listeners yet.

use serde_json::json;

use super::summary;
use crate::elb::{Elb, NewLoadBalancer};
use crate::input;
use crate::output::show;
use crate::session::Session;

pub(super) const EXAMPLES: &str = "\
Examples:
  ecsr lb create web
  ecsr lb create db --type network --tag team=storage
  ecsr lb create web --subnet subnet-1 --subnet subnet-2 --profile prod    (Amazon's need subnets)";

/// Flags of `lb create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the load balancer, at most 32 letters, digits and hyphens
    name: String,
    /// application speaks HTTP, network passes on connections
    #[arg(long = "type", value_name = "TYPE", default_value = "application", value_parser = ["application", "network"])]
    kind: String,
    /// Whether it is reached from the internet: internet-facing or internal
    #[arg(long, value_name = "SCHEME", value_parser = ["internet-facing", "internal"])]
    scheme: Option<String>,
    /// A subnet, repeatable
    #[arg(long = "subnet", value_name = "ID")]
    subnets: Vec<String>,
    /// A security group, repeatable
    #[arg(long = "security-group", value_name = "ID")]
    security_groups: Vec<String>,
    /// A tag, repeatable
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = input::key_value)]
    tags: Vec<(String, String)>,
}

/// Runs the verb.
pub(super) async fn run(session: &Session, elb: &Elb, args: Args) -> anyhow::Result<()> {
    let Args { name, kind, scheme, subnets, security_groups, tags } = args;
    let new = NewLoadBalancer { name, kind, scheme, subnets, security_groups, tags };
    let made = elb.create_load_balancer(&new).await.map_err(crate::error::Failure::from)?;
    show(session.format(), &json!({"LoadBalancers": [made]}), |answer| summary(&answer["LoadBalancers"][0]))
}
