//! `ecsr service describe`: a page for people, or ECS's answer. The page adds the tasks, which ECS keeps
//! apart.

use serde_json::{Value, json};

use super::task_definition;
use crate::ecs::Operation;
use crate::error::Failure;
use crate::output::table::{self, Column, column};
use crate::output::text::{Page, age, iso, list, pairs, short, tags, text};
use crate::output::{Format, print, show};
use crate::refs::{Located, locate};
use crate::session::{SERVICES, Session, TASKS};
use crate::verb::{lb, task};
use crate::wait::in_brief;

/// Flags of `service describe`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ARNs of services, at most ten
    #[arg(required = true)]
    services: Vec<String>,
}

const DEPLOYMENTS: [Column; 9] = [
    column("ID", |row| text(row, "id")),
    column("STATUS", |row| text(row, "status")),
    column("ROLLOUT", |row| text(row, "rolloutState")),
    column("DESIRED", |row| text(row, "desiredCount")),
    column("RUNNING", |row| text(row, "runningCount")),
    column("PENDING", |row| text(row, "pendingCount")),
    column("FAILED", |row| text(row, "failedTasks")),
    column("TASK-DEFINITION", |row| short(row, "taskDefinition")),
    column("AGE", |row| age(row, "createdAt")),
];

/// Events on the page: enough to see a deployment's story; `service events` shows all.
const EVENTS_SHOWN: usize = 10;

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let located: Vec<_> = args.services.iter().map(|given| locate(session.cluster(), given)).collect();
    let mut answers = Vec::with_capacity(located.len());
    for same in located.chunk_by(|a, b| a.cluster == b.cluster) {
        let names: Vec<_> = same.iter().map(|service| json!(service.name)).collect();
        answers.push(session.describe(SERVICES, &same[0].cluster, &names).await?);
    }
    let services: Vec<Value> = answers.iter().flat_map(|answer| list(answer, "services").to_vec()).collect();
    match session.format() {
        Format::Table => {
            let mut pages = Vec::with_capacity(services.len());
            for service in &services {
                let tasks = tasks(session, service).await?;
                pages.push(page(service, &tasks, &target_groups(session, service).await));
            }
            Ok(print(&pages.join("\n"))?)
        }
        format @ (Format::Json | Format::Yaml) => {
            show(format, &json!({"services": services, "failures": []}), |_| String::new())
        }
    }
}

async fn tasks(session: &Session, service: &Value) -> Result<Vec<Value>, Failure> {
    let located = Located { cluster: text(service, "clusterArn"), name: text(service, "serviceName") };
    let request = json!({"cluster": located.cluster, "serviceName": located.name});
    let arns = match session.try_call(Operation::ListTasks, request).await {
        Ok(answer) => list(&answer, "taskArns").to_vec(),
        // A service that is INACTIVE can be described, but is not one that tasks are listed by.
        Err(error) if error.kind() == crate::error::Kind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    session.describe_known(TASKS, &located.cluster, &arns).await
}

/// The service's target groups, each as a title and a table of its targets. A balancer that does not answer is no reason
/// to show nothing of the service.
async fn target_groups(session: &Session, service: &Value) -> Vec<(String, String)> {
    let entries = list(service, "loadBalancers");
    let entries = entries.iter().filter(|entry| entry["targetGroupArn"].is_string());
    let mut sections = Vec::new();
    for entry in entries {
        let arn = text(entry, "targetGroupArn");
        let name = lb::describe::group_name(&arn);
        let title = format!(
            "Target group {name} ({}:{})",
            text(entry, "containerName"),
            text(entry, "containerPort")
        );
        let body = match health(session, &arn).await {
            Ok(targets) => lb::describe::targets(&json!({ "TargetHealthDescriptions": targets })),
            Err(failure) => format!("unknown: {failure}"),
        };
        sections.push((title, body));
    }
    sections
}

async fn health(session: &Session, target_group: &str) -> Result<Vec<Value>, Failure> {
    Ok(session.elb().await?.target_health(target_group).await?)
}

fn page(service: &Value, tasks: &[Value], target_groups: &[(String, String)]) -> String {
    let counts = format!(
        "{} desired, {} running, {} pending",
        text(service, "desiredCount"),
        text(service, "runningCount"),
        text(service, "pendingCount")
    );
    let head = Page::default()
        .line("Name", text(service, "serviceName"))
        .line("ARN", text(service, "serviceArn"))
        .line("Cluster", short(service, "clusterArn"))
        .line("Status", text(service, "status"))
        .line("Tasks", counts)
        .line("Task definition", task_definition(service))
        .line("Launch type", text(service, "launchType"))
        .line("Strategy", text(service, "schedulingStrategy"))
        .line("Deployment bounds", bounds(service))
        .line("Circuit breaker", breaker(service))
        .line("Placement strategy", pairs(list(service, "placementStrategy"), "type", "field"))
        .line("Placement constraints", pairs(list(service, "placementConstraints"), "type", "expression"))
        .line("Load balancers", pairs(list(service, "loadBalancers"), "targetGroupArn", "containerPort"))
        .line("Created", iso(service, "createdAt"))
        .line("Created by", text(service, "createdBy"))
        .line("Tags", tags(service))
        .section("Deployments", &table::render(&DEPLOYMENTS, list(service, "deployments")))
        .section("Running tasks", &task::table(tasks));
    let page = target_groups.iter().fold(head, |page, (title, body)| page.section(title, body));
    page.section("Events", &events(service)).render()
}

fn bounds(service: &Value) -> String {
    let percent = |member: &str| text(service, &format!("deploymentConfiguration.{member}"));
    match (percent("minimumHealthyPercent"), percent("maximumPercent")) {
        (low, high) if low.is_empty() && high.is_empty() => String::new(),
        (low, high) => format!("at least {low}% healthy, at most {high}% running"),
    }
}

fn breaker(service: &Value) -> String {
    let breaker = &service["deploymentConfiguration"]["deploymentCircuitBreaker"];
    match (breaker["enable"].as_bool(), breaker["rollback"].as_bool()) {
        (Some(true), Some(true)) => "on, with rollback".to_owned(),
        (Some(true), _) => "on".to_owned(),
        _ => String::new(),
    }
}

fn events(service: &Value) -> String {
    let newest = list(service, "events").iter().take(EVENTS_SHOWN);
    newest
        .map(|event| format!("{:>6} ago   {}", age(event, "createdAt"), in_brief(&text(event, "message"))))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_in_words() {
        let service = json!({"deploymentConfiguration": {
            "minimumHealthyPercent": 100, "maximumPercent": 200,
            "deploymentCircuitBreaker": {"enable": true, "rollback": false},
        }});
        assert_eq!(bounds(&service), "at least 100% healthy, at most 200% running");
        assert_eq!(breaker(&service), "on");
        assert_eq!(bounds(&json!({})), "");
        assert_eq!(breaker(&json!({})), "");
    }

    #[test]
    fn the_page_has_what_the_service_has() {
        let service = json!({"serviceName": "web", "status": "ACTIVE", "desiredCount": 2, "runningCount": 2,
            "pendingCount": 0, "events": [{"message": "(service web) has reached a steady state."}]});
        let groups = [("Target group web (web:8080)".to_owned(), "no targets".to_owned())];
        let page = page(&service, &[], &groups);
        assert!(
            page.contains("Tasks:   2 desired, 2 running, 0 pending")
                || page.contains("2 desired, 2 running"),
            "{page}"
        );
        assert!(page.contains("Target group web (web:8080):\n  no targets\n"), "{page}");
        assert!(page.contains("has reached a steady state."), "{page}");
        assert!(!page.contains("Placement strategy"), "{page}");
    }
}
