//! `ecsr task run`: tasks outside any service, with overrides; with `--wait`, like a program that was called.

use std::time::Duration;

use ecsr_api::ecs::RunTaskRequest;
use serde_json::{Map, Value, json};

use super::full_table;
use crate::ecs::Operation;
use crate::error::{Failure, Kind, usage};
use crate::input;
use crate::output::show;
use crate::output::text::{last_part, list, text};
use crate::session::Session;
use crate::wait::{self, why_stopped};

pub(super) const EXAMPLES: &str = "\
Examples:
  ecsr task run -t batch --wait; echo $?
  ecsr task run -t batch --env MODE=full -- /bin/import --all
  ecsr task run -t web:3 --container web --env web.DEBUG=1 --count 2";

/// Flags of `task run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Family (its newest revision), family:revision, or ARN
    #[arg(long, short = 't', value_name = "NAME", required_unless_present = "cli_input_json")]
    task_definition: Option<String>,
    /// How many tasks to run, at most 10
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u32>,
    /// The container that COMMAND and --env are for; needed when the task has several
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// An environment variable, repeatable
    #[arg(long, short = 'e', value_name = "[CONTAINER.]NAME=VALUE", value_parser = input::key_value)]
    env: Vec<(String, String)>,
    /// The group that placement counts the tasks in; default: family:FAMILY
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// A remark on who runs it; `task list --started-by` finds it
    #[arg(long, value_name = "TEXT")]
    started_by: Option<String>,
    /// Where tasks run
    #[arg(long, value_name = "TYPE", value_parser = ["EC2", "EXTERNAL", "FARGATE"], ignore_case = true)]
    launch_type: Option<String>,
    /// A tag, repeatable
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = input::key_value)]
    tags: Vec<(String, String)>,
    /// A JSON or YAML file with members of the request; `-` is stdin; flags win over it
    #[arg(long, visible_alias = "input", value_name = "FILE")]
    cli_input_json: Option<String>,
    /// Wait until the tasks have stopped; one task's exit code becomes the command's
    #[arg(long)]
    wait: bool,
    /// How long to wait: 90s, 10m, 1h; default: for ever
    #[arg(long, value_name = "TIME", value_parser = crate::verb::duration, requires = "wait")]
    timeout: Option<Duration>,
    /// The command to run in the container instead of the image's or the task definition's
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let mut request = match &args.cli_input_json {
        Some(path) => input::read_object(path)?,
        None => Map::new(),
    };
    input::refuse_unknown::<RunTaskRequest>(&request)?;
    lay_over(&args, &mut request, session.cluster());
    if !args.command.is_empty() || !args.env.is_empty() {
        let containers = containers(session, &request).await?;
        let overrides = overrides(&args, &containers)?;
        merge_overrides(&mut request, overrides);
    }
    let cluster = request["cluster"].as_str().unwrap_or(session.cluster()).to_owned();
    let answer = session.call(Operation::RunTask, Value::Object(request)).await?;
    if let failures @ [_, ..] = list(&answer, "failures") {
        return Err(not_placed(failures, list(&answer, "tasks")).into());
    }
    if !args.wait {
        return show(session.format(), &answer, |answer| full_table(list(answer, "tasks")));
    }
    let arns: Vec<Value> = list(&answer, "tasks").iter().map(|task| task["taskArn"].clone()).collect();
    let timeout = args.timeout.unwrap_or(Duration::MAX);
    let ended = wait::tasks_stopped(session, &cluster, &arns, timeout).await?;
    show(session.format(), &json!({ "tasks": ended }), |answer| {
        let line = |task: &Value| {
            format!("task {} stopped: {}", last_part(&text(task, "taskArn")), why_stopped(task))
        };
        list(answer, "tasks").iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(outcome(&ended)?)
}

fn lay_over(args: &Args, request: &mut Map<String, Value>, cluster: &str) {
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            request.insert(name.to_owned(), value);
        }
    };
    set("taskDefinition", args.task_definition.as_ref().map(|name| json!(name)));
    set("count", args.count.map(|count| json!(count)));
    set("group", args.group.as_ref().map(|group| json!(group)));
    set("startedBy", args.started_by.as_ref().map(|who| json!(who)));
    set("launchType", args.launch_type.as_ref().map(|kind| json!(kind.to_uppercase())));
    set("tags", (!args.tags.is_empty()).then(|| input::tags(&args.tags)));
    request.entry("cluster").or_insert_with(|| json!(cluster));
}

/// The names of the containers that the request's task definition has.
async fn containers(session: &Session, request: &Map<String, Value>) -> Result<Vec<String>, Failure> {
    let name = request.get("taskDefinition").cloned().unwrap_or_default();
    let answer = session.call(Operation::DescribeTaskDefinition, json!({ "taskDefinition": name })).await?;
    let definitions = list(&answer, "taskDefinition.containerDefinitions");
    Ok(definitions.iter().map(|container| text(container, "name")).collect())
}

/// `containerOverrides` of the flags, one for each container that they touch.
fn overrides(args: &Args, containers: &[String]) -> Result<Vec<Value>, Failure> {
    let mut touched: Vec<(String, Map<String, Value>)> = Vec::new();
    let mut slot = |name: String| -> usize {
        touched.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            let members = Map::from_iter([("name".to_owned(), json!(name))]);
            touched.push((name, members));
            touched.len() - 1
        })
    };
    let mut settings: Vec<(usize, &str, Value)> = Vec::new();
    if !args.command.is_empty() {
        settings.push((slot(default_container(args, containers)?), "command", json!(args.command)));
    }
    for (key, value) in &args.env {
        let (container, name) =
            match key.split_once('.').filter(|(prefix, _)| containers.iter().any(|c| c == prefix)) {
                Some((container, name)) => (container.to_owned(), name),
                None => (default_container(args, containers)?, key.as_str()),
            };
        settings.push((slot(container), "environment", json!({"name": name, "value": value})));
    }
    for (index, member, value) in settings {
        let members = &mut touched[index].1;
        match members
            .entry(member)
            .or_insert_with(|| if member == "command" { json!(null) } else { json!([]) })
        {
            Value::Array(items) => items.push(value),
            slot => *slot = value,
        }
    }
    Ok(touched.into_iter().map(|(_, members)| Value::Object(members)).collect())
}

fn default_container(args: &Args, containers: &[String]) -> Result<String, Failure> {
    match (&args.container, containers) {
        (Some(name), _) => Ok(name.clone()),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(usage("the task has several containers").hint(format!(
            "name one with --container, or --env CONTAINER.NAME=VALUE: {}",
            containers.join(", ")
        ))),
    }
}

/// Adds overrides to those that the file may have given.
fn merge_overrides(request: &mut Map<String, Value>, overrides: Vec<Value>) {
    let given = request.entry("overrides").or_insert_with(|| json!({}));
    let Value::Object(given) = given else { return };
    let slot = given.entry("containerOverrides").or_insert_with(|| json!([]));
    let Value::Array(existing) = slot else { return };
    for fresh in overrides {
        match existing.iter_mut().find(|item| item["name"] == fresh["name"]) {
            Some(Value::Object(members)) => {
                members.extend(fresh.as_object().cloned().unwrap_or_default());
            }
            _ => existing.push(fresh),
        }
    }
}

fn not_placed(failures: &[Value], started: &[Value]) -> Failure {
    let mut reasons: Vec<String> = Vec::new();
    for failure in failures {
        let arn = text(failure, "arn");
        let place = if arn.is_empty() { String::new() } else { format!(" on {}", last_part(&arn)) };
        let reason = format!("{}{place}", text(failure, "reason"));
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let message = match started.len() {
        0 => format!("no task could be placed: {}", reasons.join("; ")),
        count => format!("only {count} tasks could be placed: {}", reasons.join("; ")),
    };
    Failure::new(Kind::Failed, message).hint("`ecsr instance list` shows what the instances have left")
}

/// The command's end: that of the one task's container, or a failure if any of several tasks failed.
fn outcome(tasks: &[Value]) -> Result<(), Failure> {
    let mut failed = tasks.iter().filter(|task| exit_code(task) != Some(0));
    let Some(first) = failed.next() else { return Ok(()) };
    if let ([_], Some(Ok(code))) = (tasks, exit_code(first).map(u8::try_from)) {
        return Err(Failure::new(Kind::Container(code), why_stopped(first)));
    }
    let count = 1 + failed.count();
    let message = format!("{count} of {} tasks failed: {}", tasks.len(), why_stopped(first));
    Err(Failure::new(Kind::Failed, message))
}

/// The exit code of a stopped task: the first that is not 0; `None` when a container never ran.
fn exit_code(task: &Value) -> Option<i64> {
    let codes: Option<Vec<i64>> =
        list(task, "containers").iter().map(|container| container["exitCode"].as_i64()).collect();
    let codes = codes?;
    Some(codes.iter().copied().find(|code| *code != 0).unwrap_or(0))
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

    fn parse(line: &str) -> Args {
        Command::try_parse_from(std::iter::once("run").chain(line.split_whitespace())).expect(line).args
    }

    #[test]
    fn overrides_go_to_their_containers() {
        fn check(line: &str, containers: &[&str], expected: Option<&Value>) {
            let containers: Vec<String> = containers.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(
                overrides(&parse(line), &containers).ok().map(Value::Array).as_ref(),
                expected,
                "{line}"
            );
        }
        check(
            "-t batch -e MODE=full -- /bin/import --all",
            &["main"],
            Some(&json!([{
                "name": "main",
                "command": ["/bin/import", "--all"],
                "environment": [{"name": "MODE", "value": "full"}],
            }])),
        );
        check(
            "-t web -e web.A=1 -e side.B=2 -e web.C=3",
            &["web", "side"],
            Some(&json!([
                {"name": "web", "environment": [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}]},
                {"name": "side", "environment": [{"name": "B", "value": "2"}]},
            ])),
        );
        check(
            "-t web -e a.b=1",
            &["web"],
            Some(&json!([{"name": "web", "environment": [{"name": "a.b", "value": "1"}]}])),
        );
        check("-t web -e A=1", &["web", "side"], None);
        check(
            "-t web --container side -- true",
            &["web", "side"],
            Some(&json!([{"name": "side", "command": ["true"]}])),
        );
    }

    #[test]
    fn overrides_join_those_of_the_file() {
        let Value::Object(mut request) =
            json!({"overrides": {"cpu": "256", "containerOverrides": [{"name": "a", "cpu": 1}]}})
        else {
            unreachable!()
        };
        merge_overrides(&mut request, vec![json!({"name": "a", "command": ["x"]}), json!({"name": "b"})]);
        assert_eq!(
            request["overrides"],
            json!({
                "cpu": "256",
                "containerOverrides": [{"name": "a", "cpu": 1, "command": ["x"]}, {"name": "b"}],
            })
        );
    }

    #[test]
    fn the_exit_code_is_the_containers() {
        fn check(tasks: Value, expected: Option<Kind>) {
            let Value::Array(tasks) = tasks else { panic!("not a list") };
            assert_eq!(outcome(&tasks).err().map(|failure| failure.kind()), expected, "{tasks:?}");
        }
        let ended = |code: i64| json!({"containers": [{"name": "a", "exitCode": 0}, {"name": "b", "exitCode": code}]});
        check(json!([ended(0)]), None);
        check(json!([ended(7)]), Some(Kind::Container(7)));
        check(json!([ended(0), ended(7)]), Some(Kind::Failed));
        check(
            json!([{"containers": [{"name": "a", "reason": "CannotPullContainerError: x"}]}]),
            Some(Kind::Failed),
        );
    }

    #[test]
    fn refused_placement_names_the_reasons_once() {
        let failures = [
            json!({"arn": "arn:aws:ecs:r:a:container-instance/c/0ab", "reason": "RESOURCE:MEMORY"}),
            json!({"arn": "arn:aws:ecs:r:a:container-instance/c/0ab", "reason": "RESOURCE:MEMORY"}),
        ];
        assert_eq!(not_placed(&failures, &[]).to_string(), "no task could be placed: RESOURCE:MEMORY on 0ab");
    }
}
