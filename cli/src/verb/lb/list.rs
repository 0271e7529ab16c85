//! `ecsr lb list`: the load balancers, one line each.

use serde_json::{Value, json};

use crate::elb::Elb;
use crate::error::Failure;
use crate::output::table::{self, Column, column};
use crate::output::text::{list, text};
use crate::output::{Format, show};
use crate::session::Session;

const COLUMNS: [Column; 5] = [
    column("NAME", |row| text(row, "LoadBalancerName")),
    column("TYPE", |row| text(row, "Type")),
    column("STATE", |row| text(row, "State.Code")),
    column("LISTENERS", listeners),
    column("DNS-NAME", |row| text(row, "DNSName")),
];

/// Runs the verb.
pub(super) async fn run(session: &Session, elb: &Elb) -> anyhow::Result<()> {
    let mut balancers = elb.load_balancers().await.map_err(Failure::from)?;
    balancers.sort_by_key(|balancer| text(balancer, "LoadBalancerName"));
    if session.format() == Format::Table {
        for balancer in &mut balancers {
            let found = elb.listeners(&text(balancer, "LoadBalancerArn")).await.map_err(Failure::from)?;
            balancer["Listeners"] = Value::Array(found);
        }
    }
    show(session.format(), &json!({ "LoadBalancers": balancers }), |answer| {
        table::render(&COLUMNS, list(answer, "LoadBalancers"))
    })
}

/// `HTTP:80, HTTPS:443`
fn listeners(balancer: &Value) -> String {
    let shown = list(balancer, "Listeners").iter();
    let shown = shown.map(|listener| format!("{}:{}", text(listener, "Protocol"), text(listener, "Port")));
    shown.collect::<Vec<_>>().join(", ")
}
