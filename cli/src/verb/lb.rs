//! `ecsr lb`: load balancers, one file per verb below this one. What makes a load balancer lead to a service is made by
//! `ecsr service create --expose`; for everything else there are AWS's own tools, which speak to the same API.

mod create;
mod delete;
pub(crate) mod describe;
mod list;

use serde_json::Value;

use crate::elb::Elb;
use crate::error::{Failure, not_found};
use crate::output::text::text;
use crate::session::Session;

/// Create, list, describe and delete load balancers
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Create a load balancer; one of that name with the same settings is answered unchanged
    #[command(visible_alias = "new", after_help = create::EXAMPLES)]
    Create(create::Args),
    /// List the load balancers
    #[command(visible_alias = "ls")]
    List,
    /// Show load balancers: listeners, rules, and target groups with the health of their targets
    #[command(after_help = describe::EXAMPLES)]
    Describe(describe::Args),
    /// Delete a load balancer with its listeners
    #[command(visible_alias = "rm", after_help = delete::EXAMPLES)]
    Delete(delete::Args),
}

/// Runs the verb.
pub(crate) async fn run(session: &Session, verb: Verb) -> anyhow::Result<()> {
    let elb = session.elb().await?;
    match verb {
        Verb::Create(args) => create::run(session, &elb, args).await,
        Verb::List => list::run(session, &elb).await,
        Verb::Describe(args) => describe::run(session, &elb, args).await,
        Verb::Delete(args) => delete::run(session, &elb, args).await,
    }
}

/// The load balancer of that name or ARN.
async fn find(elb: &Elb, name: &str) -> Result<Value, Failure> {
    elb.load_balancer(name).await?.ok_or_else(|| {
        not_found(format!("no load balancer {name}")).hint("`ecsr lb list` shows the load balancers")
    })
}

/// One line that says what a load balancer is.
fn summary(balancer: &Value) -> String {
    let [name, state, dns] =
        ["LoadBalancerName", "State.Code", "DNSName"].map(|member| text(balancer, member));
    format!("load balancer {name} is {state}: {dns}")
}
