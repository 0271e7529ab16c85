//! `ecsr key`: the access keys that the local scheduler accepts. They are a file in its data directory, or on etcd for
//! schedulers that share a journal there; a running scheduler notices a change by itself, so nothing is sent to it.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use ecsr_scheduler::journal::Location;
use ecsr_scheduler::keys::{AccessKey, Actions, Error, KeyFile, Scope, SharedKeys};
use serde_json::{Value, json};

use crate::error::{Failure, Kind, in_full, not_found};
use crate::globals::Globals;
use crate::output::table::{self, Column, column};
use crate::output::text::{age, list, text};
use crate::output::{note, show};

/// Create, list and delete access keys of the local ecsr
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The keys of the schedulers that share this journal, instead of those of the data directory
    #[arg(long, global = true, env = "ECSR_JOURNAL", value_name = "etcd://HOST[:PORT],.../PREFIX")]
    journal: Option<Location>,

    #[command(subcommand)]
    verb: Verb,
}

/// What is done with keys.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Create an access key; its secret is shown by `create` alone
    #[command(visible_alias = "new", after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    /// List the access keys
    #[command(visible_alias = "ls")]
    List,
    /// Delete an access key: requests signed with it are refused from now on
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
}

const CREATE_EXAMPLES: &str = "\
Examples:
  ecsr key create --description 'deploy robot' --cluster prod -o json
  ecsr key create --description 'host 7' --cluster prod --agent

A key may do everything, unless it is limited. One for some clusters may do there whatever can be done, and read and
register task definitions. An agent's key may only do what an agent does, for the container instances that are
registered with it.";

/// Flags of `key create`.
#[derive(Debug, clap::Args)]
struct CreateArgs {
    #[command(flatten)]
    clusters: Clusters,
    /// For an agent: only what agents do, and only for what is registered with this key
    #[arg(long)]
    agent: bool,
    /// Who or what the key is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
}

/// The clusters that a key is for. `--cluster` stands in for the global option of that name here, but not for its
/// variable, which says where to work: no key is to be limited because of what a shell has exported.
#[derive(Debug, Default)]
struct Clusters(BTreeSet<String>);

impl Clusters {
    const ID: &str = "cluster";

    fn arg() -> Arg {
        let help = "A cluster that the key is for, repeatable; default: all of them";
        Arg::new(Self::ID).long("cluster").short('c').value_name("NAME").action(ArgAction::Append).help(help)
    }
}

impl FromArgMatches for Clusters {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_typed = matches.value_source(Self::ID) == Some(ValueSource::CommandLine);
        let named = matches.get_many::<String>(Self::ID).into_iter().flatten().cloned();
        Ok(if is_typed { Self(named.collect()) } else { Self::default() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Clusters {
    fn augment_args(command: Command) -> Command {
        command.arg(Self::arg())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Flags of `key delete`.
#[derive(Debug, clap::Args)]
struct DeleteArgs {
    /// The access key id
    id: String,
}

const COLUMNS: [Column; 5] = [
    column("ACCESS-KEY", |row| text(row, "accessKeyId")),
    column("CLUSTERS", |row| match list(row, "clusters") {
        [] => "all".to_owned(),
        named => named.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
    }),
    column("ACTIONS", |row| text(row, "actions")),
    column("AGE", |row| age(row, "createdAt")),
    column("DESCRIPTION", |row| text(row, "description")),
];

/// Runs the verb.
pub(crate) fn run(globals: &Globals, args: Args) -> anyhow::Result<()> {
    let data_dir = globals.data_dir()?;
    let keys = match &args.journal {
        Some(location) => Keys::Shared(SharedKeys::open(location).map_err(failed)?),
        None => Keys::File(open(&data_dir)?),
    };
    match args.verb {
        Verb::Create(args) => create(globals, &keys, &args),
        Verb::List => list_all(globals, &keys),
        Verb::Delete(args) => delete(globals, &keys, &data_dir, &args),
    }
}

/// The keys that the verb is about.
enum Keys {
    File(KeyFile),
    Shared(SharedKeys),
}

impl Keys {
    fn create(&self, description: &str, scope: Scope) -> Result<AccessKey, Failure> {
        match self {
            Self::File(file) => file.create(description, scope).map_err(failed),
            Self::Shared(shared) => finish(shared.create(description, scope)),
        }
    }

    fn list(&self) -> Result<Vec<AccessKey>, Failure> {
        match self {
            Self::File(file) => file.list().map_err(failed),
            Self::Shared(shared) => finish(shared.list()),
        }
    }

    fn delete(&self, id: &str) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.delete(id).map_err(failed),
            Self::Shared(shared) => finish(shared.delete(id)),
        }
    }
}

/// Carries one call to etcd out.
fn finish<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Kind::Failed, format!("cannot start a runtime: {error}")))?;
    runtime.block_on(call).map_err(failed)
}

/// The first key of `data_dir` that may do everything, which the scheduler makes at its first start: the one that `up`
/// and `env` use.
pub(crate) fn first(data_dir: &Path) -> Result<AccessKey, Failure> {
    first_with(data_dir, Scope::default(), "made by ecsr up")
}

/// The key of this machine's agent, which may do nothing else.
pub(crate) fn of_agent(data_dir: &Path, cluster: &str) -> Result<AccessKey, Failure> {
    let scope = Scope { clusters: BTreeSet::from([cluster.to_owned()]), actions: Actions::Agent };
    first_with(data_dir, scope, "the agent that ecsr up runs")
}

/// The first key of that scope and, unless it may do everything, of that purpose; made if there is none.
fn first_with(data_dir: &Path, scope: Scope, purpose: &str) -> Result<AccessKey, Failure> {
    let file = KeyFile::open(data_dir).map_err(failed)?;
    let is_fit =
        |key: &AccessKey| key.scope == scope && (scope.is_everything() || key.description == purpose);
    match file.list().map_err(failed)?.into_iter().find(is_fit) {
        Some(key) => Ok(key),
        None => file.create(purpose, scope).map_err(failed),
    }
}

/// Opens the key file of a data directory that exists; managing keys makes no data directory.
fn open(data_dir: &Path) -> Result<KeyFile, Failure> {
    if !data_dir.is_dir() {
        return Err(not_found(format!("there is no ecsr in {}", data_dir.display()))
            .hint("`ecsr up --detach` makes one; --data-dir names another"));
    }
    KeyFile::open(data_dir).map_err(failed)
}

fn failed(error: Error) -> Failure {
    match error {
        Error::Unknown(_) => not_found(error.to_string()).hint("`ecsr key list` shows the keys"),
        Error::Shared(_) => Failure::new(Kind::Unreachable, in_full(&error)),
        error => Failure::new(Kind::Failed, in_full(&error)),
    }
}

/// What is shown of a key whenever it is listed: everything but the secret.
fn public(key: &AccessKey) -> Value {
    let Scope { clusters, actions } = &key.scope;
    json!({
        "accessKeyId": key.id,
        "description": key.description,
        "createdAt": key.created_at,
        "clusters": clusters,
        "actions": actions,
    })
}

fn create(globals: &Globals, keys: &Keys, args: &CreateArgs) -> anyhow::Result<()> {
    let actions = if args.agent { Actions::Agent } else { Actions::All };
    let scope = Scope { clusters: args.clusters.0.clone(), actions };
    let key = keys.create(&args.description, scope)?;
    let mut shown = public(&key);
    shown["secretAccessKey"] = json!(key.secret);
    show(globals.output, &shown, |key| {
        format!(
            "access key id:      {}\nsecret access key:  {}",
            text(key, "accessKeyId"),
            text(key, "secretAccessKey")
        )
    })
}

fn list_all(globals: &Globals, keys: &Keys) -> anyhow::Result<()> {
    let keys: Vec<_> = keys.list()?.iter().map(public).collect();
    show(globals.output, &json!({ "accessKeys": keys }), |answer| {
        table::render(&COLUMNS, list(answer, "accessKeys"))
    })
}

fn delete(globals: &Globals, keys: &Keys, data_dir: &Path, args: &DeleteArgs) -> anyhow::Result<()> {
    keys.delete(&args.id)?;
    let used_here =
        crate::context::Context::load(data_dir)?.is_some_and(|context| context.access_key_id == args.id);
    if used_here {
        note("this was the key of the CLI on this machine; `ecsr up` gives it another");
    }
    show(globals.output, &json!({"accessKeyId": args.id}), |key| {
        format!("access key {} is deleted", text(key, "accessKeyId"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let key = first(dir.path()).unwrap();
        assert_eq!(first(dir.path()).unwrap().id, key.id);
        let shown = public(&key).to_string();
        assert!(shown.contains(&key.id) && !shown.contains(&key.secret));
    }

    #[test]
    fn the_agent_of_this_machine_has_a_key_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let agent = of_agent(dir.path(), "prod").unwrap();
        assert_eq!(of_agent(dir.path(), "prod").unwrap().id, agent.id);
        assert_ne!(of_agent(dir.path(), "test").unwrap().id, agent.id);
        let first = first(dir.path()).unwrap();
        assert!(first.scope.is_everything(), "an agent's key is no key for the command line: {first:?}");
    }

    #[test]
    fn keys_of_nothing_are_not_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open(&dir.path().join("never")).unwrap_err().kind(), Kind::NotFound);
        let error = KeyFile::open(dir.path()).unwrap().delete("AKIANONE").unwrap_err();
        assert_eq!(failed(error).kind(), Kind::NotFound);
    }
}
