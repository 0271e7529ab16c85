//! `ecsr service create`: a service, by default named as its task definition's family.

use ecsr_api::ecs::CreateServiceRequest;
use serde_json::{Map, Value, json};

use super::settings::Settings;
use super::{WaitArgs, expose, settle};
use crate::ecs::Operation;
use crate::error::{Failure, Kind, usage};
use crate::input;
use crate::output::{Format, note, print};
use crate::refs::family_of;
use crate::session::Session;
use crate::wait::Baseline;

pub(super) const EXAMPLES: &str = "\
Examples:
  ecsr service create --task-definition web --count 14 --wait
  ecsr service create -t web --count 4 --expose 80:8080 --wait
  ecsr service create -t api --expose 80:8080 --path '/api/*' --health-check-path /api/health
  ecsr service create -t db --expose tcp://5432:5432
  ecsr service create -t web:3 --name web-canary --count 1 --min-healthy 0
  ecsr service create -t agent --scheduling-strategy DAEMON
  ecsr service create --cli-input-json service.yaml --count 3";

/// Flags of `service create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Family (its newest revision), family:revision, or ARN
    #[arg(long, short = 't', value_name = "NAME", required_unless_present = "cli_input_json")]
    task_definition: Option<String>,
    /// How many tasks to run
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u32>,
    /// Name of the service; default: the family
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where tasks run
    #[arg(long, value_name = "TYPE", value_parser = ["EC2", "EXTERNAL", "FARGATE"], ignore_case = true)]
    launch_type: Option<String>,
    /// REPLICA keeps a number of tasks, DAEMON one on each instance
    #[arg(long, value_name = "STRATEGY", value_parser = ["REPLICA", "DAEMON"], ignore_case = true)]
    scheduling_strategy: Option<String>,
    /// A tag, repeatable
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = input::key_value)]
    tags: Vec<(String, String)>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    expose: expose::ExposeArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let members = args.settings.members::<CreateServiceRequest>()?;
    let mut request = request(&args, members, session.cluster())?;
    let cluster = request["cluster"].as_str().unwrap_or(session.cluster()).to_owned();
    let exposure = expose::make(session, &args.expose, &mut request).await?;
    let answer = match session.call(Operation::CreateService, Value::Object(request)).await {
        Ok(answer) => answer,
        Err(failure) => {
            match exposure {
                // It may have been created after all, and needs what leads to it then.
                Some(_) if failure.kind() == Kind::Unreachable => {
                    note("what was made of the load balancer stays; the same command again uses it");
                }
                Some(exposure) => exposure.undo().await,
                None => {}
            }
            return Err(failure.into());
        }
    };
    let urls = exposure.map(|exposure| exposure.urls).unwrap_or_default();
    let settled = settle(session, &cluster, answer, &args.wait, Baseline::default()).await;
    // Also of a service that did not become stable: it is there, and may yet.
    for url in urls {
        match session.format() {
            Format::Table if settled.is_ok() => print(&url)?,
            Format::Table | Format::Json | Format::Yaml => note(&url),
        }
    }
    settled
}

/// The request of the file's `members` with the flags laid over; the session's `cluster` unless the file
/// names one.
fn request(
    args: &Args,
    mut members: Map<String, Value>,
    cluster: &str,
) -> Result<Map<String, Value>, Failure> {
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    set("taskDefinition", args.task_definition.as_ref().map(|name| json!(name)));
    set("desiredCount", args.count.map(|count| json!(count)));
    set("serviceName", args.name.as_ref().map(|name| json!(name)));
    set("launchType", args.launch_type.as_ref().map(|kind| json!(kind.to_uppercase())));
    set(
        "schedulingStrategy",
        args.scheduling_strategy.as_ref().map(|strategy| json!(strategy.to_uppercase())),
    );
    set("tags", (!args.tags.is_empty()).then(|| input::tags(&args.tags)));
    members.entry("cluster").or_insert_with(|| json!(cluster));
    if !members.contains_key("serviceName") {
        let definition = members.get("taskDefinition").and_then(Value::as_str);
        let name =
            definition.map(family_of).ok_or_else(|| usage("the service has no name").hint("give --name"))?;
        members.insert("serviceName".to_owned(), json!(name));
    }
    let daemon = members.get("schedulingStrategy").is_some_and(|strategy| strategy == "DAEMON");
    if !daemon && !members.contains_key("desiredCount") {
        members.insert("desiredCount".to_owned(), json!(1));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn check(line: &str, file: Value, expected: Value) {
        let words = std::iter::once("create").chain(line.split_whitespace());
        let args = Command::try_parse_from(words).expect(line).args;
        let Value::Object(members) = file else { panic!("not an object") };
        let found = request(&args, members, "here").map(Value::Object).map_err(|failure| failure.to_string());
        assert_eq!(found, Ok(expected), "{line}");
    }

    #[test]
    fn requests() {
        check(
            "--task-definition web --count 14",
            json!({}),
            json!({"cluster": "here", "serviceName": "web", "taskDefinition": "web", "desiredCount": 14}),
        );
        check(
            "-t arn:aws:ecs:r:a:task-definition/web:3 --launch-type external --tag team=a",
            json!({}),
            json!({
                "cluster": "here", "serviceName": "web", "desiredCount": 1, "launchType": "EXTERNAL",
                "taskDefinition": "arn:aws:ecs:r:a:task-definition/web:3",
                "tags": [{"key": "team", "value": "a"}],
            }),
        );
        check(
            "-t agent --scheduling-strategy daemon",
            json!({}),
            json!({
                "cluster": "here", "serviceName": "agent", "taskDefinition": "agent",
                "schedulingStrategy": "DAEMON",
            }),
        );
        check(
            "--cli-input-json unread --count 2",
            json!({"cluster": "there", "serviceName": "api", "taskDefinition": "web:1", "desiredCount": 9}),
            json!({"cluster": "there", "serviceName": "api", "taskDefinition": "web:1", "desiredCount": 2}),
        );
    }

    #[test]
    fn usage_is_checked() {
        for line in [
            "--count 2",
            "-t web --count -1",
            "-t web --count many",
            "-t web --tag novalue",
            "-t web --timeout 5m",
            "-t web --expose 80",
            "-t web --host shop.example",
            "-t web --lb shop",
        ] {
            let words = std::iter::once("create").chain(line.split_whitespace());
            assert!(Command::try_parse_from(words).is_err(), "{line}");
        }
    }
}
