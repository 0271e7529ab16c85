//! `ecsr instance`: the container instances of a cluster, and taking them out of service and back.

use serde_json::{Value, json};

use crate::ecs::Operation;
use crate::error::{Failure, Kind, not_found};
use crate::output::show;
use crate::output::table::{self, Column, column};
use crate::output::text::{Page, age, iso, last_part, list, number, pairs, short, tags, text};
use crate::refs;
use crate::session::{INSTANCES, Session};

/// List, describe, drain and activate container instances
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// List the instances of the cluster
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show an instance
    Describe(NameArgs),
    /// Take instances out of service: nothing new is placed, services move their tasks away
    #[command(after_help = "Example:\n  ecsr instance drain 3f0c9a    # six digits of the id are enough")]
    Drain(NamesArgs),
    /// Put drained instances back into service
    Activate(NamesArgs),
    /// Remove an instance from the cluster
    Deregister(DeregisterArgs),
}

/// Flags of `instance list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only instances in this state
    #[arg(
        long,
        value_name = "STATUS",
        value_parser = ["ACTIVE", "DRAINING", "DEREGISTERING", "REGISTERING", "REGISTRATION_FAILED"],
        ignore_case = true
    )]
    status: Option<String>,
    /// Only instances that match a cluster query expression
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
}

/// One instance.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArgs {
    /// Id, its first digits, or ARN
    instance: String,
}

/// Several instances.
#[derive(Debug, clap::Args)]
pub(crate) struct NamesArgs {
    /// Ids, their first digits, or ARNs
    #[arg(required = true)]
    instances: Vec<String>,
}

/// Flags of `instance deregister`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeregisterArgs {
    /// Id, its first digits, or ARN
    instance: String,
    /// Even while tasks run on it; they are left running and forgotten
    #[arg(long)]
    force: bool,
}

const COLUMNS: [Column; 9] = [
    column("INSTANCE", |row| short(row, "containerInstanceArn")),
    column("STATUS", |row| text(row, "status")),
    column("CONNECTED", |row| text(row, "agentConnected")),
    column("RUNNING", |row| text(row, "runningTasksCount")),
    column("PENDING", |row| text(row, "pendingTasksCount")),
    column("CPU-FREE", |row| free(row, "CPU")),
    column("MEMORY-FREE", |row| free(row, "MEMORY")),
    column("AGENT", |row| text(row, "versionInfo.agentVersion")),
    column("AGE", |row| age(row, "registeredAt")),
];

/// Runs the verb.
pub(crate) async fn run(session: &Session, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List(args) => list_all(session, args).await,
        Verb::Describe(args) => describe(session, args).await,
        Verb::Drain(args) => set_state(session, args, "DRAINING").await,
        Verb::Activate(args) => set_state(session, args, "ACTIVE").await,
        Verb::Deregister(args) => deregister(session, args).await,
    }
}

/// `remaining/registered` of a countable resource.
fn free(instance: &Value, resource: &str) -> String {
    let of = |member: &str| {
        let found = list(instance, member).iter().find(|item| text(item, "name") == resource);
        found.map(|item| number(item, "integerValue"))
    };
    match (of("remainingResources"), of("registeredResources")) {
        (Some(remaining), Some(registered)) => format!("{remaining}/{registered}"),
        _ => String::new(),
    }
}

async fn list_all(session: &Session, args: ListArgs) -> anyhow::Result<()> {
    let mut request = json!({"cluster": session.cluster()});
    if let Some(status) = args.status {
        request["status"] = json!(status.to_uppercase());
    }
    if let Some(filter) = args.filter {
        request["filter"] = json!(filter);
    }
    let arns = session.list(Operation::ListContainerInstances, request, "containerInstanceArns").await?;
    let instances = session.describe_known(INSTANCES, session.cluster(), &arns).await?;
    show(session.format(), &json!({ "containerInstances": instances }), |answer| {
        table::render(&COLUMNS, list(answer, "containerInstances"))
    })
}

async fn describe(session: &Session, args: NameArgs) -> anyhow::Result<()> {
    let found = refs::instance(session, &args.instance).await?;
    let answer = session.describe(INSTANCES, &found.cluster, &[json!(found.name)]).await?;
    show(session.format(), &answer, |answer| {
        list(answer, "containerInstances").iter().map(page).collect::<Vec<_>>().join("\n")
    })
}

fn page(instance: &Value) -> String {
    let ports = |resource: &str| {
        let found = list(instance, "remainingResources").iter().find(|item| text(item, "name") == resource);
        let ports = found.map_or(&[][..], |item| list(item, "stringSetValue"));
        ports.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    // What an agent can do is a long list that only placement reads; `-o json` shows it.
    let (capabilities, attributes): (Vec<_>, Vec<_>) = list(instance, "attributes")
        .iter()
        .cloned()
        .partition(|item| text(item, "name").contains("capability."));
    Page::default()
        .line("Instance", short(instance, "containerInstanceArn"))
        .line("ARN", text(instance, "containerInstanceArn"))
        .line("EC2 instance", text(instance, "ec2InstanceId"))
        .line("Status", text(instance, "status"))
        .line("Status reason", text(instance, "statusReason"))
        .line("Agent connected", text(instance, "agentConnected"))
        .line("Agent version", text(instance, "versionInfo.agentVersion"))
        .line("Docker version", text(instance, "versionInfo.dockerVersion"))
        .line(
            "Tasks",
            format!(
                "{} running, {} pending",
                text(instance, "runningTasksCount"),
                text(instance, "pendingTasksCount")
            ),
        )
        .line("CPU free", free(instance, "CPU"))
        .line("Memory free", free(instance, "MEMORY"))
        .line("TCP ports in use", ports("PORTS"))
        .line("UDP ports in use", ports("PORTS_UDP"))
        .line("Registered", iso(instance, "registeredAt"))
        .line("Tags", tags(instance))
        .line("Capabilities", capabilities.len().to_string())
        .section("Attributes", &pairs(&attributes, "name", "value").replace(", ", "\n"))
        .render()
}

/// ECS takes at most ten instances in one call.
const STATE_CHUNK: usize = 10;

async fn set_state(session: &Session, args: NamesArgs, status: &str) -> anyhow::Result<()> {
    let mut located = Vec::with_capacity(args.instances.len());
    for given in &args.instances {
        located.push(refs::instance(session, given).await?);
    }
    let mut changed = Vec::new();
    for chunk in located.chunk_by(|a, b| a.cluster == b.cluster).flat_map(|same| same.chunks(STATE_CHUNK)) {
        let names: Vec<_> = chunk.iter().map(|instance| &instance.name).collect();
        let request = json!({"cluster": chunk[0].cluster, "containerInstances": names, "status": status});
        let answer = session.call(Operation::UpdateContainerInstancesState, request).await?;
        if let [failure, ..] = list(&answer, "failures") {
            return Err(refused(failure).into());
        }
        changed.extend_from_slice(list(&answer, "containerInstances"));
    }
    show(session.format(), &json!({ "containerInstances": changed }), |answer| {
        let state = |row: &Value| {
            format!("instance {} is {}", short(row, "containerInstanceArn"), text(row, "status"))
        };
        list(answer, "containerInstances").iter().map(state).collect::<Vec<_>>().join("\n")
    })
}

fn refused(failure: &Value) -> Failure {
    let arn = text(failure, "arn");
    match text(failure, "reason").as_str() {
        "MISSING" => not_found(format!("no container instance {}", last_part(&arn))),
        reason => Failure::new(Kind::Failed, format!("container instance {}: {reason}", last_part(&arn))),
    }
}

async fn deregister(session: &Session, args: DeregisterArgs) -> anyhow::Result<()> {
    let found = refs::instance(session, &args.instance).await?;
    let request = json!({"cluster": found.cluster, "containerInstance": found.name, "force": args.force});
    let answer = session.call(Operation::DeregisterContainerInstance, request).await?;
    show(session.format(), &answer, |answer| {
        let instance = &answer["containerInstance"];
        format!("instance {} is {}", short(instance, "containerInstanceArn"), text(instance, "status"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_resources_are_shown_against_the_whole() {
        let resource = |value: i64| json!([{"name": "CPU", "type": "INTEGER", "integerValue": value}]);
        let instance = json!({"remainingResources": resource(512), "registeredResources": resource(2048)});
        assert_eq!(free(&instance, "CPU"), "512/2048");
        assert_eq!(free(&instance, "MEMORY"), "");
    }
}
