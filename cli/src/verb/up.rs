//! `ecsr up`: from nothing to a cluster of one machine. Each step first looks whether its result is there
//! already, so running it again repairs what is missing and changes nothing else: the scheduler (here or
//! detached), the context file, the cluster, the image, the containers of the load balancer and the agent, and the
//! instance being ACTIVE.

mod balancer;
mod choices;
mod detach;
mod instance;
pub(crate) mod remembered;

use std::fs;
use std::net::IpAddr;

use bollard::Docker;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::context::Context;
use crate::docker::{self, agent, container, image};
use crate::ecs::Operation;
use crate::error::{Failure, Kind};
use crate::globals::Globals;
use crate::lock::{self, Lock, Running};
use crate::output::text::{short, text};
use crate::output::{Format, note, print};
use crate::session::Session;
use crate::signals;
use crate::verb::key;
use crate::verb::scheduler::{self, Identity, Settings};
use balancer::BalancerArgs;
use choices::Choices;

pub(crate) const EXAMPLES: &str = "\
Examples:
  ecsr up --detach && eval \"$(ecsr env)\"
  ecsr up --port 7071 --data-dir ~/second --cluster second --detach
  ecsr down";

/// Start a scheduler and a load balancer, and make this machine's Docker engine an instance of the cluster
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the scheduler running in the background
    #[arg(long, short = 'd')]
    detach: bool,
    /// Port to serve on; default: that of the last time, else 7070
    #[arg(long, value_name = "PORT", env = "ECSR_PORT")]
    port: Option<u16>,
    /// Address to serve on; default: that of the last time, else 127.0.0.1
    #[arg(long, value_name = "ADDR")]
    listen: Option<IpAddr>,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    balancer: BalancerArgs,
    /// The scheduler alone: this machine runs no tasks, and no load balancer
    #[arg(long)]
    no_agent: bool,
}

/// The scheduler that this run of `up` works with.
enum Scheduler {
    /// It ran before.
    Before(String),
    /// It was started in the background.
    Detached(Running, String),
    /// It runs in this process.
    Here { endpoint: String, ended: JoinHandle<Result<(), Failure>>, end: oneshot::Sender<()> },
}

impl Scheduler {
    fn endpoint(&self) -> &str {
        match self {
            Self::Before(endpoint) | Self::Detached(_, endpoint) | Self::Here { endpoint, .. } => endpoint,
        }
    }
}

/// Runs the verb.
pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<()> {
    let data_dir = globals.data_dir()?;
    let earlier = choices::load(&data_dir)?;
    let choices = choices::choose(globals, &args, &data_dir, earlier.as_ref());
    let settings = &choices.scheduler;
    let earlier = earlier.as_ref().map(|earlier| &earlier.scheduler);
    // Asked first: without an engine nothing is left half started.
    let engine = if args.no_agent { None } else { Some(docker::connect().await?) };
    let scheduler = start(settings, earlier, &args).await?;
    match bring_up(globals, &choices, scheduler.endpoint(), engine.as_ref()).await {
        Ok(summary) => print(&summary)?,
        Err(failure) => {
            undo(settings, scheduler).await;
            return Err(failure.into());
        }
    }
    match scheduler {
        Scheduler::Before(_) | Scheduler::Detached(..) => Ok(()),
        Scheduler::Here { ended, end, .. } => stay(settings, engine.as_ref(), ended, end).await,
    }
}

async fn start(settings: &Settings, earlier: Option<&Settings>, args: &Args) -> Result<Scheduler, Failure> {
    if let Some(running) = lock::find(&settings.data_dir)? {
        return before(settings, earlier, &running);
    }
    if args.detach {
        let running = detach::start(settings).await?;
        let endpoint = running.endpoint.clone().expect("a detached scheduler is awaited until it serves");
        note(&format!("started the scheduler on {endpoint} (process {})", running.pid));
        return Ok(Scheduler::Detached(running, endpoint));
    }
    let lock = Lock::acquire(&settings.data_dir)?;
    let (end, wanted) = oneshot::channel();
    let (say, endpoint) = oneshot::channel();
    let own = settings.clone();
    let ended = tokio::spawn(async move {
        // A sender that is gone wants an end as well.
        let shutdown = async move { drop(wanted.await) };
        scheduler::serve(&own, lock, shutdown, |endpoint| drop(say.send(endpoint.to_owned()))).await
    });
    if let Ok(endpoint) = endpoint.await {
        note(&format!("started the scheduler on {endpoint}"));
        return Ok(Scheduler::Here { endpoint, ended, end });
    }
    let outcome = ended.await.expect("the scheduler does not panic");
    Err(outcome.err().unwrap_or_else(|| Failure::new(Kind::Failed, "the scheduler ended at once")))
}

fn before(settings: &Settings, earlier: Option<&Settings>, running: &Running) -> Result<Scheduler, Failure> {
    let Some(endpoint) = &running.endpoint else {
        let data_dir = settings.data_dir.display();
        let message = format!("a scheduler (process {}) is just starting on {data_dir}", running.pid);
        return Err(Failure::new(Kind::Failed, message).hint("try again in a moment"));
    };
    if let Some(earlier) = earlier {
        choices::refuse_changes(earlier, settings)?;
        if earlier.balancer.is_none() && settings.balancer.is_some() {
            note(
                "the scheduler was started without a load balancer; `ecsr down` and `ecsr up` make it use one",
            );
        }
    }
    note(&format!("the scheduler runs already on {endpoint} (process {})", running.pid));
    Ok(Scheduler::Before(endpoint.clone()))
}

fn port_of(endpoint: &str) -> Option<u16> {
    endpoint.rsplit(':').next()?.trim_end_matches('/').parse().ok()
}

/// Ends what this run started; what was there before stays.
async fn undo(settings: &Settings, scheduler: Scheduler) {
    let outcome = match scheduler {
        Scheduler::Before(_) => return,
        Scheduler::Detached(running, _) => lock::stop(&settings.data_dir, &running).await,
        Scheduler::Here { ended, end, .. } => {
            let _ = end.send(());
            ended.await.expect("the scheduler does not panic")
        }
    };
    match outcome.and_then(|()| forget(settings)) {
        Ok(()) => note("stopped the scheduler again"),
        Err(failure) => note(&format!("the scheduler: {failure}")),
    }
}

/// Clients of this machine are not to look for a scheduler that has ended.
fn forget(settings: &Settings) -> Result<(), Failure> {
    Context::remove(&settings.data_dir).map_err(|error| {
        let data_dir = settings.data_dir.display();
        Failure::new(Kind::Failed, format!("cannot remove the context in {data_dir}: {error}"))
    })
}

/// Everything after the scheduler serves; answers what to tell the user.
async fn bring_up(
    globals: &Globals,
    choices: &Choices,
    endpoint: &str,
    engine: Option<&Docker>,
) -> Result<String, Failure> {
    let context = context(choices, endpoint)?;
    let session = Session::local(&context, Format::Table).await?;
    session.call(Operation::CreateCluster, json!({"clusterName": context.cluster})).await?;
    let instance = match engine {
        None => "none on this machine (--no-agent)".to_owned(),
        Some(engine) => join(&session, choices, &context, engine).await?,
    };
    Ok(summary(&choices.scheduler, globals, &context, &instance))
}

/// Writes down how this machine's clients reach the scheduler, and what was chosen for the next `up`.
fn context(choices: &Choices, endpoint: &str) -> Result<Context, Failure> {
    let settings = &choices.scheduler;
    let data_dir = &settings.data_dir;
    let key = key::first(data_dir)?;
    let context = Context {
        endpoint: endpoint.to_owned(),
        balancer: settings.balancer.clone(),
        region: settings.region.clone(),
        cluster: settings.cluster.clone(),
        access_key_id: key.id,
        secret_access_key: key.secret,
    };
    let written = context.save(data_dir).and_then(|()| choices::save(choices));
    written.map_err(|error| {
        Failure::new(Kind::Failed, format!("cannot write to {}: {error}", data_dir.display()))
    })?;
    Ok(context)
}

/// Makes this machine's engine an instance, with a load balancer beside it; answers its id.
async fn join(
    session: &Session,
    choices: &Choices,
    context: &Context,
    engine: &Docker,
) -> Result<String, Failure> {
    let settings = &choices.scheduler;
    let image = image::ensure(engine).await?;
    if image.built {
        note(&format!("built the image {}", image::NAME));
    }
    balancer::ensure(engine, &choices.balancer_container, settings, context, &image).await?;
    let key = key::of_agent(&settings.data_dir, &context.cluster)?;
    let wanted = agent::Settings {
        port: port_of(&context.endpoint).unwrap_or(agent::DEFAULT_PORT),
        data_dir: settings.data_dir.clone(),
        endpoint: context.endpoint.clone(),
        region: context.region.clone(),
        cluster: context.cluster.clone(),
        access_key_id: key.id,
        secret_access_key: key.secret,
        host_name: host_name(),
    };
    let container = wanted.container(&docker::host());
    note(&container::ensure(engine, &container, &image).await?.told("the agent", &container.name));
    if let Some(old) = &image.superseded {
        image::remove(engine, old).await?;
    }
    let instance = instance::await_active(session, engine, &wanted).await?;
    remembered::add(&settings.data_dir, [text(&instance, "containerInstanceArn")]).map_err(|error| {
        Failure::new(Kind::Failed, format!("cannot write to {}: {error}", settings.data_dir.display()))
    })?;
    Ok(format!("{} ({})", short(&instance, "containerInstanceArn"), text(&instance, "status")))
}

/// This machine's name, in the letters that an attribute's value may have.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let allowed = |letter: &char| letter.is_ascii_alphanumeric() || "-_.".contains(*letter);
    let name: String = name.trim().chars().filter(allowed).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

fn summary(settings: &Settings, globals: &Globals, context: &Context, instance: &str) -> String {
    // The default directory needs no flag in the commands that follow.
    let flag = match &globals.data_dir {
        Some(_) => format!(" --data-dir {}", settings.data_dir.display()),
        None => String::new(),
    };
    let balancer = match &context.balancer {
        Some(url) => format!("\n  balancer   {url}"),
        None => String::new(),
    };
    format!(
        "\
ecsr is up
  endpoint   {}{balancer}
  cluster    {} ({})
  instance   {instance}
  data       {}

Next:
  eval \"$(ecsr env{flag})\"    # point the AWS CLI and SDKs here
  ecsr td register web.yaml
  ecsr service create --task-definition web --count 14 --wait
  ecsr down{flag}             # ends it; tasks keep running",
        context.endpoint,
        context.cluster,
        context.region,
        settings.data_dir.display(),
    )
}

/// Stays in the foreground until it is asked to end or the scheduler does, then takes down what it put up.
async fn stay(
    settings: &Settings,
    engine: Option<&Docker>,
    mut ended: JoinHandle<Result<(), Failure>>,
    end: oneshot::Sender<()>,
) -> anyhow::Result<()> {
    note("Ctrl-C ends it");
    let by_itself = tokio::select! {
        () = signals::end_wanted() => None,
        outcome = &mut ended => Some(outcome.expect("the scheduler does not panic")),
    };
    note("ending; tasks keep running");
    if let Some(engine) = engine {
        for name in container::names(engine, &settings.data_dir).await? {
            container::remove(engine, &name).await?;
        }
    }
    forget(settings)?;
    if let Some(outcome) = by_itself {
        outcome?;
        return Err(Failure::new(Kind::Failed, "the scheduler ended by itself").into());
    }
    let _ = end.send(());
    Ok(ended.await.expect("the scheduler does not panic")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_endpoints() {
        fn check(endpoint: &str, expected: Option<u16>) {
            assert_eq!(port_of(endpoint), expected, "{endpoint}");
        }
        check("http://127.0.0.1:7070", Some(7070));
        check("http://[::1]:7071/", Some(7071));
        check("http://example", None);
    }

    #[test]
    fn the_machine_has_a_name_that_an_attribute_can_hold() {
        let name = host_name();
        assert!(!name.is_empty() && !name.contains(char::is_whitespace), "{name:?}");
    }
}
