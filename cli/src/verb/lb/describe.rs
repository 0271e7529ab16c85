//! `ecsr lb describe`: a page for people, or ELBv2's answers put into one another: listeners and target groups into their
//! load balancer, rules into their listener, targets into their group.

use serde_json::{Value, json};

use super::find;
use crate::elb::Elb;
use crate::error::Failure;
use crate::output::show;
use crate::output::table::{self, Column, column};
use crate::output::text::{Page, list, text};
use crate::session::Session;

pub(super) const EXAMPLES: &str = "\
Examples:
  ecsr lb describe web
  ecsr lb describe web -o json | jq '.LoadBalancers[].TargetGroups[].TargetHealthDescriptions'";

/// Flags of `lb describe`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ARNs of load balancers
    #[arg(required = true)]
    names: Vec<String>,
}

const RULES: [Column; 5] = [
    column("PORT", |row| text(row, "Port")),
    column("PROTOCOL", |row| text(row, "Protocol")),
    column("PRIORITY", |row| text(row, "Priority")),
    column("IF", |row| text(row, "If")),
    column("THEN", |row| text(row, "Then")),
];

const TARGETS: [Column; 4] = [
    column("TARGET", |row| text(row, "Target.Id")),
    column("PORT", |row| text(row, "Target.Port")),
    column("HEALTH", |row| text(row, "TargetHealth.State")),
    column("REASON", |row| text(row, "TargetHealth.Description")),
];

/// Runs the verb.
pub(super) async fn run(session: &Session, elb: &Elb, args: Args) -> anyhow::Result<()> {
    let mut balancers = Vec::with_capacity(args.names.len());
    for name in &args.names {
        balancers.push(whole(elb, find(elb, name).await?).await?);
    }
    show(session.format(), &json!({ "LoadBalancers": balancers }), |answer| {
        list(answer, "LoadBalancers").iter().map(page).collect::<Vec<_>>().join("\n")
    })
}

/// A load balancer with all that belongs to it.
async fn whole(elb: &Elb, mut balancer: Value) -> Result<Value, Failure> {
    let arn = text(&balancer, "LoadBalancerArn");
    let mut listeners = elb.listeners(&arn).await?;
    listeners.sort_by_key(|listener| listener["Port"].as_i64());
    for listener in &mut listeners {
        listener["Rules"] = Value::Array(elb.rules(&text(listener, "ListenerArn")).await?);
    }
    let mut groups = elb.target_groups_of(&arn).await?;
    for group in &mut groups {
        let health = elb.target_health(&text(group, "TargetGroupArn")).await?;
        group["TargetHealthDescriptions"] = Value::Array(health);
    }
    balancer["Listeners"] = Value::Array(listeners);
    balancer["TargetGroups"] = Value::Array(groups);
    Ok(balancer)
}

fn page(balancer: &Value) -> String {
    let groups = list(balancer, "TargetGroups");
    let rules: Vec<Value> = list(balancer, "Listeners").iter().flat_map(rows).collect();
    let page = Page::default()
        .line("Name", text(balancer, "LoadBalancerName"))
        .line("ARN", text(balancer, "LoadBalancerArn"))
        .line("DNS name", text(balancer, "DNSName"))
        .line("Type", text(balancer, "Type"))
        .line("Scheme", text(balancer, "Scheme"))
        .line("State", text(balancer, "State.Code"))
        .line("Created", text(balancer, "CreatedTime"))
        .section(
            "Listeners and rules",
            &if rules.is_empty() { "none".to_owned() } else { table::render(&RULES, &rules) },
        );
    groups.iter().fold(page, |page, group| page.section(&title(group), &targets(group))).render()
}

/// A line for each rule of a listener, the default last.
fn rows(listener: &Value) -> Vec<Value> {
    let row = |rule: &Value| {
        let conditions: Vec<String> = list(rule, "Conditions").iter().map(condition).collect();
        let actions: Vec<String> = list(rule, "Actions").iter().map(action).collect();
        json!({
            "Port": listener["Port"],
            "Protocol": listener["Protocol"],
            "Priority": rule["Priority"],
            "If": conditions.join(" and "),
            "Then": actions.join(", "),
        })
    };
    let (last, first): (Vec<&Value>, Vec<&Value>) =
        list(listener, "Rules").iter().partition(|rule| rule["IsDefault"] == true);
    first.into_iter().chain(last).map(row).collect()
}

/// `path-pattern /api/* or /v1/*`
fn condition(condition: &Value) -> String {
    let name = match text(condition, "HttpHeaderName") {
        header if header.is_empty() => text(condition, "Field"),
        header => format!("header {header}"),
    };
    let values = list(condition, "Values").iter().filter_map(Value::as_str).map(str::to_owned);
    let pairs = list(condition, "QueryStrings").iter().map(|pair| match text(pair, "Key") {
        key if key.is_empty() => text(pair, "Value"),
        key => format!("{key}={}", text(pair, "Value")),
    });
    format!("{name} {}", values.chain(pairs).collect::<Vec<_>>().join(" or "))
}

/// `forward to web`, `fixed-response 404`, `redirect HTTP_301`
fn action(action: &Value) -> String {
    let groups = list(action, "ForwardConfig.TargetGroups");
    let kind = text(action, "Type");
    match kind.as_str() {
        "forward" if groups.len() > 1 => {
            let weighted = groups.iter().map(|group| {
                format!("{} ({})", group_name(&text(group, "TargetGroupArn")), text(group, "Weight"))
            });
            format!("forward to {}", weighted.collect::<Vec<_>>().join(", "))
        }
        "forward" => {
            let named = text(action, "TargetGroupArn");
            let configured = groups.first().map(|group| text(group, "TargetGroupArn")).unwrap_or_default();
            format!("forward to {}", group_name(if named.is_empty() { &configured } else { &named }))
        }
        "fixed-response" => format!("{kind} {}", text(action, "FixedResponseConfig.StatusCode")),
        "redirect" => format!("{kind} {}", text(action, "RedirectConfig.StatusCode")),
        _ => kind,
    }
}

/// The name in `arn:aws:elasticloadbalancing:R:A:targetgroup/NAME/ID`.
pub(crate) fn group_name(arn: &str) -> &str {
    arn.split('/').nth(1).unwrap_or(arn)
}

fn title(group: &Value) -> String {
    let [name, protocol, kind, path] =
        ["TargetGroupName", "Protocol", "TargetType", "HealthCheckPath"].map(|member| text(group, member));
    let checked = if path.is_empty() { text(group, "HealthCheckProtocol") } else { format!("GET {path}") };
    format!("Target group {name} ({protocol}, {kind} targets, checked by {checked})")
}

/// The table of a group's targets.
pub(crate) fn targets(group: &Value) -> String {
    match list(group, "TargetHealthDescriptions") {
        [] => "no targets".to_owned(),
        targets => table::render(&TARGETS, targets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_where_requests_go() {
        let group = "arn:aws:elasticloadbalancing:r:a:targetgroup/web/0123";
        let page = page(&json!({
            "LoadBalancerName": "shop", "DNSName": "localhost", "State": {"Code": "active"},
            "Listeners": [{"Port": 80, "Protocol": "HTTP", "Rules": [
                {"Priority": "default", "IsDefault": true, "Conditions": [],
                 "Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]},
                {"Priority": "1", "IsDefault": false,
                 "Conditions": [{"Field": "path-pattern", "Values": ["/a/*", "/b"]},
                                {"Field": "host-header", "Values": ["shop.example"]}],
                 "Actions": [{"Type": "forward", "TargetGroupArn": group}]},
            ]}],
            "TargetGroups": [{"TargetGroupName": "web", "Protocol": "HTTP", "TargetType": "ip",
                "HealthCheckPath": "/", "TargetHealthDescriptions": [
                {"Target": {"Id": "10.0.0.1", "Port": 32768}, "TargetHealth": {"State": "healthy"}}]}],
        }));
        let expected = "\
Name:       shop
DNS name:   localhost
State:      active

Listeners and rules:
  PORT   PROTOCOL   PRIORITY   IF                                                      THEN
  80     HTTP       1          path-pattern /a/* or /b and host-header shop.example   forward to web
  80     HTTP       default    -                                                       fixed-response 404

Target group web (HTTP, ip targets, checked by GET /):
  TARGET     PORT    HEALTH    REASON
  10.0.0.1   32768   healthy   -
";
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&page), squeezed(expected), "{page}");
    }

    #[test]
    fn what_forwards_to_several_says_how_much_to_each() {
        let group = |name: &str, weight: u32| json!({"TargetGroupArn": format!("a:targetgroup/{name}/0"), "Weight": weight});
        let split = json!({"Type": "forward", "ForwardConfig": {"TargetGroups": [group("blue", 9), group("green", 1)]}});
        assert_eq!(action(&split), "forward to blue (9), green (1)");
        let one = json!({"Type": "forward", "ForwardConfig": {"TargetGroups": [group("blue", 1)]}});
        assert_eq!(action(&one), "forward to blue");
        assert_eq!(targets(&json!({})), "no targets");
    }
}
