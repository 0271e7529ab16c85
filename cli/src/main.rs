//! The `ecsr` command: the scheduler, the agent, the load balancer, and a client of ECS, in one binary.
//!
//! This file only parses, picks a runtime of the right size and turns the outcome into an exit code; each
//! verb is a file of its own in `verb`. Parsing gives plain data, and nothing is connected to before it has
//! succeeded.

mod aws;
mod context;
mod docker;
mod ecs;
mod elb;
mod error;
mod globals;
mod input;
mod lock;
mod logging;
mod output;
mod refs;
mod session;
mod signals;
mod verb;
mod wait;

use std::env;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::globals::Globals;
use crate::logging::Verbosity;
use crate::session::Session;

/// Amazon ECS on your own machines: scheduler, agent, load balancer and client in one binary.
///
/// `ecsr up` makes this machine a cluster; the other commands work on it, or on any ECS, Amazon's included.
#[derive(Debug, Parser)]
#[command(name = "ecsr", version, after_help = TOP_HELP, after_long_help = TOP_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

const TOP_HELP: &str = error::EXIT_CODES;

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(after_help = verb::up::EXAMPLES)]
    Up(verb::up::Args),
    #[command(after_help = verb::down::EXAMPLES)]
    Down(verb::down::Args),
    #[command(after_help = verb::env::EXAMPLES)]
    Env(verb::env::Args),
    #[command(subcommand)]
    Cluster(verb::cluster::Verb),
    #[command(subcommand, visible_alias = "td")]
    TaskDefinition(verb::task_definition::Verb),
    #[command(subcommand, visible_alias = "svc")]
    Service(verb::service::Verb),
    #[command(subcommand)]
    Lb(verb::lb::Verb),
    #[command(subcommand)]
    Task(verb::task::Verb),
    #[command(subcommand)]
    Instance(verb::instance::Verb),
    Key(verb::key::Args),
    #[command(subcommand)]
    Journal(verb::journal::Verb),
    #[command(after_help = verb::scheduler::EXAMPLES)]
    Scheduler(verb::scheduler::Args),
    #[command(after_help = verb::agent::EXAMPLES)]
    Agent(verb::agent::Args),
    #[command(after_help = verb::balancer::EXAMPLES)]
    Balancer(verb::balancer::Args),
    #[command(after_help = verb::completions::EXAMPLES)]
    Completions(verb::completions::Args),
}

/// A scheduler makes and drops millions of small things on several threads, which the system's allocator takes its time
/// for. How much it keeps for itself is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Threads of a scheduler: one decides and writes, the other talks; more would only cost memory.
const SCHEDULER_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = bare_agent().unwrap_or_else(Cli::parse);
    logging::start(match &cli.verb {
        Verb::Scheduler(_) | Verb::Agent(_) | Verb::Balancer(_) => Verbosity::Server,
        Verb::Up(_) => Verbosity::Foreground,
        _ => Verbosity::Client,
    });
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error::report(&error),
    }
}

/// An agent's container runs `ecsr agent` and no more, all of its settings being variables. No parser is built for it:
/// the pages of one would stay resident on every host for nothing.
fn bare_agent() -> Option<Cli> {
    let mut words = env::args_os().skip(1);
    let bare = words.next().is_some_and(|word| word == "agent") && words.next().is_none();
    let configured = env::var_os("ECS_CONFIG_FILE").is_some();
    let agent = || Cli { globals: Globals::default(), verb: Verb::Agent(verb::agent::Args::default()) };
    (bare && !configured).then(agent)
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let globals = &cli.globals;
    match cli.verb {
        Verb::Up(args) => several_threads()?.block_on(verb::up::run(globals, args)),
        Verb::Down(args) => one_thread()?.block_on(verb::down::run(globals, args)),
        Verb::Env(args) => verb::env::run(globals, &args),
        Verb::Cluster(verb) => client(globals, async |session| verb::cluster::run(session, verb).await),
        Verb::TaskDefinition(verb) => {
            client(globals, async |session| verb::task_definition::run(session, verb).await)
        }
        Verb::Service(verb) => client(globals, async |session| verb::service::run(session, verb).await),
        Verb::Lb(verb) => client(globals, async |session| verb::lb::run(session, verb).await),
        Verb::Task(verb) => client(globals, async |session| verb::task::run(session, verb).await),
        Verb::Instance(verb) => client(globals, async |session| verb::instance::run(session, verb).await),
        Verb::Key(args) => verb::key::run(globals, args),
        Verb::Journal(verb) => verb::journal::run(globals, verb),
        Verb::Scheduler(args) => several_threads()?.block_on(verb::scheduler::run(globals, args)),
        Verb::Agent(args) => one_thread()?.block_on(verb::agent::run(globals, args)),
        Verb::Balancer(args) => every_core()?.block_on(verb::balancer::run(globals, args)),
        Verb::Completions(args) => verb::completions::run(&args),
    }
}

/// Runs a verb that speaks to ECS.
fn client(globals: &Globals, verb: impl AsyncFnOnce(&Session) -> anyhow::Result<()>) -> anyhow::Result<()> {
    one_thread()?.block_on(async {
        let session = Session::open(globals).await?;
        verb(&session).await
    })
}

fn one_thread() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn several_threads() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(SCHEDULER_THREADS).enable_all().build()
}

/// A thread for each core: every request through a load balancer is work.
fn every_core() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_help() {
        fn check(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} has no help");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{path} {} has no help", argument.get_id());
            }
            for verb in command.get_subcommands() {
                check(verb, &format!("{path} {}", verb.get_name()));
            }
        }
        check(&Cli::command(), "ecsr");
    }

    #[test]
    fn the_commands_of_the_documentation_parse() {
        for line in [
            "ecsr up --detach --data-dir /tmp/x --port 7070 --cluster prod",
            "ecsr down --purge",
            "ecsr env --unset",
            "ecsr service create --task-definition web --count 14 --wait",
            "ecsr -o json service list -c prod",
            "ecsr service scale web 20 --wait --timeout 90s",
            "ecsr service update web -t web --circuit-breaker=rollback",
            "ecsr service update web --circuit-breaker --force-new-deployment",
            "ecsr service delete web --force --wait",
            "ecsr service events web -f",
            "ecsr balancer --bind 10.0.0.5 --instance i-1=10.0.0.11 --dns-name lb.example",
            "ecsr up --detach --balancer-port 9000 --dns-name lb.example",
            "ecsr up --no-balancer",
            "ecsr service create -t web --count 4 --expose 80:8080 --expose 81:web:9000 --host shop.example",
            "ecsr lb create web --type network --tag team=a",
            "ecsr lb delete web --with-target-groups",
            "ecsr td register -",
            "ecsr td ls web --status inactive",
            "ecsr task run -t batch --wait -- sh -c true",
            "ecsr task logs -f 3f0c9a81",
            "ecsr instance drain 3f0c9a 4e1d2b",
            "ecsr key create --description robot",
            "ecsr journal verify --data-dir /srv/ecsr",
            "ecsr journal export",
            "ecsr journal backup /srv/backup",
            "ecsr completions fish",
            "ecsr task list --profile prod --region eu-west-1 -o yaml",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split_whitespace()) {
                panic!("{line}: {error}");
            }
        }
    }
}
