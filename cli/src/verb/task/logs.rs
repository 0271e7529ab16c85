//! `ecsr task logs`: what a task's containers wrote, from the Docker engine that ran them.
//!
//! ECS itself keeps no logs. The engine is asked first, and ECS only when the engine does not have the task,
//! to say where it is; so the logs of a task are readable while the scheduler is away, or has forgotten it.

use std::io;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, LogsOptionsBuilder};
use futures_util::stream::{StreamExt as _, select_all};
use serde_json::json;

use crate::docker::{self, label};
use crate::ecs::Operation;
use crate::error::{Failure, Kind, not_found, usage};
use crate::output::text::{last_part, list, short, text};
use crate::refs;
use crate::session::{Session, TASKS};

pub(super) const EXAMPLES: &str = "\
Examples:
  ecsr task logs -f 3f0c9a81          # six digits of the id are enough
  ecsr task logs 3f0c9a81 --container web --tail 100
  DOCKER_HOST=tcp://host2:2375 ecsr task logs 3f0c9a81";

/// Flags of `task logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id, its first digits, or ARN
    task: String,
    /// Only this container
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Go on until the containers end
    #[arg(long, short = 'f')]
    follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// With the time of each line
    #[arg(long)]
    timestamps: bool,
}

/// A container whose logs are read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    id: String,
    name: String,
    task_arn: String,
}

/// Runs the verb.
pub(super) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let engine = docker::connect().await?;
    let known = task_containers(&engine).await?;
    let sources = of_task(known, &args.task)?;
    if sources.is_empty() {
        return Err(elsewhere(session, &args.task).await?.into());
    }
    let sources = of_container(sources, args.container.as_deref())?;
    copy(&engine, session, &sources, &args).await
}

async fn task_containers(engine: &Docker) -> Result<Vec<Source>, Failure> {
    let filters = [("label", vec![label::TASK_ARN])].into_iter().collect();
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = engine.list_containers(Some(options)).await;
    let found = found.map_err(|error| docker::failed("listing containers", &error))?;
    Ok(found.into_iter().filter_map(source).collect())
}

fn source(container: ContainerSummary) -> Option<Source> {
    let mut labels = container.labels?;
    Some(Source {
        id: container.id?,
        name: labels.remove(label::CONTAINER_NAME).unwrap_or_default(),
        task_arn: labels.remove(label::TASK_ARN)?,
    })
}

/// The containers of the one task that `given` means, in the order of their names.
fn of_task(containers: Vec<Source>, given: &str) -> Result<Vec<Source>, Failure> {
    let id = last_part(given);
    let mut found: Vec<_> =
        containers.into_iter().filter(|source| last_part(&source.task_arn).starts_with(id)).collect();
    found.sort_by(|a, b| (&a.task_arn, &a.name).cmp(&(&b.task_arn, &b.name)));
    match found.chunk_by(|a, b| a.task_arn == b.task_arn).count() {
        0 | 1 => Ok(found),
        tasks => {
            Err(usage(format!("{tasks} tasks have an id that starts with {id}"))
                .hint("give more of its digits"))
        }
    }
}

fn of_container(mut sources: Vec<Source>, container: Option<&str>) -> Result<Vec<Source>, Failure> {
    let Some(container) = container else { return Ok(sources) };
    let names = sources.iter().map(|source| source.name.clone()).collect::<Vec<_>>().join(", ");
    sources.retain(|source| source.name == container);
    if sources.is_empty() {
        return Err(
            not_found(format!("the task has no container {container}")).hint(format!("it has {names}"))
        );
    }
    Ok(sources)
}

/// Copies the logs of all sources as they come; with several, each piece is marked with its container.
async fn copy(engine: &Docker, session: &Session, sources: &[Source], args: &Args) -> anyhow::Result<()> {
    let tail = args.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let options = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .follow(args.follow)
        .timestamps(args.timestamps)
        .tail(&tail)
        .build();
    let streams = sources.iter().map(|source| {
        let mark = if sources.len() > 1 { format!("{} | ", source.name) } else { String::new() };
        engine.logs(&source.id, Some(options.clone())).map(move |piece| (mark.clone(), piece)).boxed()
    });
    let mut merged = select_all(streams);
    while let Some((mark, piece)) = merged.next().await {
        match piece {
            Ok(piece) => write(&mark, &piece)?,
            Err(error) => return Err(unreadable(session, sources, &error).await.into()),
        }
    }
    Ok(())
}

/// What a container wrote to stderr goes to stderr, everything else to stdout, byte by byte.
fn write(mark: &str, piece: &LogOutput) -> io::Result<()> {
    let to = |out: &mut dyn io::Write, message: &[u8]| {
        out.write_all(mark.as_bytes())?;
        out.write_all(message)?;
        out.flush()
    };
    match piece {
        LogOutput::StdErr { message } => to(&mut io::stderr().lock(), message),
        LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
            to(&mut io::stdout().lock(), message)
        }
    }
}

/// Why there is nothing here: the task is unknown, on another machine, or its containers are gone.
async fn elsewhere(session: &Session, given: &str) -> Result<Failure, Failure> {
    let located = refs::task(session, given).await?;
    let task = session.describe_one(TASKS, &located.cluster, &located.name).await?;
    let id = short(&task, "taskArn");
    let instance = short(&task, "containerInstanceArn");
    if let Some(hint) = awslogs_hint(session, &task).await {
        return Ok(Failure::new(Kind::NotFound, format!("task {id} logs to CloudWatch Logs")).hint(hint));
    }
    let message = format!("task {id} ({}) has no container on this Docker engine", text(&task, "lastStatus"));
    Ok(not_found(message).hint(format!(
        "it was placed on container instance {instance}: set DOCKER_HOST to the engine of that machine"
    )))
}

async fn unreadable(session: &Session, sources: &[Source], error: &Error) -> Failure {
    let failure = docker::failed("the engine cannot read these logs", error);
    let Some(source) = sources.first() else { return failure };
    let located = refs::locate(session.cluster(), &source.task_arn);
    let Ok(task) = session.describe_one(TASKS, &located.cluster, &located.name).await else { return failure };
    match awslogs_hint(session, &task).await {
        Some(hint) => failure.hint(hint),
        None => failure.hint("the container's log driver keeps them elsewhere"),
    }
}

/// The command that shows the logs, when a container of the task sends them to CloudWatch Logs.
async fn awslogs_hint(session: &Session, task: &serde_json::Value) -> Option<String> {
    let request = json!({"taskDefinition": task["taskDefinitionArn"]});
    let answer = session.try_call(Operation::DescribeTaskDefinition, request).await.ok()?;
    list(&answer, "taskDefinition.containerDefinitions").iter().find_map(|container| {
        let log = &container["logConfiguration"];
        // Option names contain no dots to walk along, so they are looked up as they are.
        let option = |name: &str| log["options"][name].as_str().unwrap_or_default().to_owned();
        (text(log, "logDriver") == "awslogs").then(|| {
            let stream = match option("awslogs-stream-prefix") {
                prefix if prefix.is_empty() => String::new(),
                prefix => format!(
                    " --log-stream-names {prefix}/{}/{}",
                    text(container, "name"),
                    short(task, "taskArn")
                ),
            };
            format!("aws logs tail {}{stream}", option("awslogs-group"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(task: &str, name: &str) -> Source {
        Source {
            id: format!("{task}-{name}"),
            name: name.into(),
            task_arn: format!("arn:aws:ecs:r:a:task/c/{task}"),
        }
    }

    #[test]
    fn containers_are_found_by_task() {
        let all = || vec![source("0123456a", "web"), source("0123456b", "web"), source("0123456a", "side")];
        let ids = |given: &str| {
            of_task(all(), given).map(|found| found.into_iter().map(|source| source.id).collect::<Vec<_>>())
        };
        assert_eq!(ids("0123456a").unwrap(), ["0123456a-side", "0123456a-web"]);
        assert_eq!(ids("arn:aws:ecs:r:a:task/c/0123456b").unwrap(), ["0123456b-web"]);
        assert_eq!(ids("ffff").unwrap(), Vec::<String>::new());
        assert_eq!(ids("012345").unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn one_container_of_several() {
        let both = || vec![source("0a", "side"), source("0a", "web")];
        assert_eq!(of_container(both(), None).unwrap().len(), 2);
        assert_eq!(of_container(both(), Some("web")).unwrap(), [source("0a", "web")]);
        assert_eq!(of_container(both(), Some("db")).unwrap_err().kind(), Kind::NotFound);
    }
}
