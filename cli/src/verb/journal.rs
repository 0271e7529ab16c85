//! `ecsr journal`: what the local scheduler keeps, or several on etcd, looked after from outside. Nothing here changes a
//! journal; one of a data directory that is in use is copied through its scheduler.

use std::io;
use std::path::PathBuf;

use ecsr_scheduler::backup::{self, Error, Place, Report};
use ecsr_scheduler::journal::{self, Location};
use ecsr_scheduler::keys;
use serde_json::json;

use crate::error::{Failure, Kind, in_full, not_found};
use crate::globals::Globals;
use crate::output::show;
use crate::output::text::text;

/// Verify, export and back up what the local scheduler keeps
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The journal that several schedulers share, instead of that of the data directory
    #[arg(long, global = true, env = "ECSR_JOURNAL", value_name = "etcd://HOST[:PORT],.../PREFIX")]
    journal: Option<Location>,

    #[command(subcommand)]
    verb: Verb,
}

/// What is done with the journal.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Read the whole journal, as a start would, and check what it holds; no scheduler may run on the data directory
    #[command(after_help = "Example:\n  ecsr journal verify --data-dir /srv/backup/2026-11-23")]
    Verify,
    /// Print the journal, one JSON object a line: the snapshot, then the records
    #[command(after_help = "Example:\n  ecsr journal export | jq -c 'select(.TaskPlaced)'")]
    Export,
    /// Copy the journal and the access keys into a new directory, while the scheduler runs or not
    #[command(after_help = "\
Examples:
  ecsr journal backup /srv/backup/2026-11-23
  ecsr scheduler --data-dir /srv/backup/2026-11-23
  ecsr journal backup /srv/backup/shared --journal etcd://10.0.0.1,10.0.0.2,10.0.0.3/ecsr

The copy is a data directory: to restore it, start a scheduler on it, or put it in the place of the one that was lost.")]
    Backup(BackupArgs),
}

/// Arguments of `journal backup`.
#[derive(Debug, clap::Args)]
struct BackupArgs {
    /// The directory to make
    #[arg(value_name = "DIR")]
    target: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, args: &Args) -> anyhow::Result<()> {
    let data_dir = globals.data_dir()?;
    let place = match &args.journal {
        Some(location) => Place::Etcd(location),
        None => Place::Directory(&data_dir),
    };
    match &args.verb {
        Verb::Verify => verify(globals, place),
        Verb::Export => export(place),
        Verb::Backup(args) => back_up(globals, place, args),
    }
}

fn failed(error: Error) -> Failure {
    match error {
        Error::Missing(_) => {
            not_found(error.to_string()).hint("--data-dir names another; `ecsr up --detach` makes one")
        }
        Error::Journal(journal::Error::InUse { .. }) => Failure::new(Kind::Failed, in_full(&error))
            .hint("`ecsr journal backup DIR` copies it while it is used; verify the copy"),
        Error::Journal(journal::Error::Etcd(_)) | Error::Keys(keys::Error::Shared(_)) => {
            Failure::new(Kind::Unreachable, in_full(&error))
        }
        error => Failure::new(Kind::Failed, in_full(&error)),
    }
}

fn verify(globals: &Globals, place: Place<'_>) -> anyhow::Result<()> {
    let report = backup::verify(place).map_err(failed)?;
    let Report { account, region, epoch, records, events_in_snapshot, events_after_snapshot, .. } = &report;
    let Report { clusters, task_definitions, services, container_instances, tasks, contradictions, .. } =
        &report;
    let shown = json!({
        "account": account,
        "region": region,
        "starts": epoch,
        "records": records,
        "eventsInSnapshot": events_in_snapshot,
        "eventsAfterSnapshot": events_after_snapshot,
        "clusters": clusters,
        "taskDefinitions": task_definitions,
        "services": services,
        "containerInstances": container_instances,
        "tasks": tasks,
        "contradictions": contradictions,
    });
    show(globals.output, &shown, |shown| {
        let of = text(shown, "account");
        let mut page = format!("the journal of account {of} in {} is sound\n", text(shown, "region"));
        if !contradictions.is_empty() {
            page = format!("the journal of account {of} can be read, but what it says is wrong\n");
        }
        let counts = [
            ("records ever written", *records),
            ("events in the snapshot", *events_in_snapshot),
            ("events after it", *events_after_snapshot),
        ];
        let things = [
            ("clusters", *clusters),
            ("task definitions", *task_definitions),
            ("services", *services),
            ("container instances", *container_instances),
            ("tasks", *tasks),
        ];
        let rows = counts.map(|(what, count)| (what, count.to_string())).into_iter();
        let rows = rows.chain(things.map(|(what, count)| (what, count.to_string())));
        page.extend(rows.map(|(what, count)| format!("  {what:<24}{count:>10}\n")));
        page
    })?;
    match contradictions.first() {
        Some(first) => {
            Err(Failure::new(Kind::Failed, format!("the state contradicts itself: {first}")).into())
        }
        None => Ok(()),
    }
}

fn export(place: Place<'_>) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match backup::export(place, &mut out) {
        // Passed on as it is: a reader that went away is no failure.
        Err(Error::Show(error)) => Err(error.into()),
        exported => Ok(exported.map_err(failed)?),
    }
}

fn back_up(globals: &Globals, place: Place<'_>, args: &BackupArgs) -> anyhow::Result<()> {
    backup::backup(place, &args.target).map_err(failed)?;
    show(globals.output, &json!({"directory": args.target}), |shown| {
        format!("backed up to {}", text(shown, "directory"))
    })
}
