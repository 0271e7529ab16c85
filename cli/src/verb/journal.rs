//! `ecsr journal`: what the local scheduler keeps, looked after from outside. Nothing here changes a journal; one that
//! is in use is copied through its scheduler.

use std::io;
use std::path::{Path, PathBuf};

use ecsr_scheduler::backup::{self, Error, Report};
use ecsr_scheduler::journal;
use serde_json::json;

use crate::error::{Failure, Kind, in_full, not_found};
use crate::globals::Globals;
use crate::output::show;
use crate::output::text::text;

/// Verify, export and back up what the local scheduler keeps
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Read the whole journal, as a start would, and check what it holds; the scheduler must not run
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

The copy is a data directory: to restore it, start a scheduler on it, or put it in the place of the one that was lost.")]
    Backup(BackupArgs),
}

/// Arguments of `journal backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The directory to make
    #[arg(value_name = "DIR")]
    target: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: Verb) -> anyhow::Result<()> {
    let data_dir = globals.data_dir()?;
    match verb {
        Verb::Verify => verify(globals, &data_dir),
        Verb::Export => export(&data_dir),
        Verb::Backup(args) => back_up(globals, &data_dir, &args),
    }
}

fn failed(error: Error) -> Failure {
    match error {
        Error::Missing(_) => {
            not_found(error.to_string()).hint("--data-dir names another; `ecsr up --detach` makes one")
        }
        Error::Journal(journal::Error::InUse { .. }) => Failure::new(Kind::Failed, in_full(&error))
            .hint("`ecsr journal backup DIR` copies it while it is used; verify the copy"),
        error => Failure::new(Kind::Failed, in_full(&error)),
    }
}

fn verify(globals: &Globals, data_dir: &Path) -> anyhow::Result<()> {
    let report = backup::verify(data_dir).map_err(failed)?;
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

fn export(data_dir: &Path) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match backup::export(data_dir, &mut out) {
        // Passed on as it is: a reader that went away is no failure.
        Err(Error::Show(error)) => Err(error.into()),
        exported => Ok(exported.map_err(failed)?),
    }
}

fn back_up(globals: &Globals, data_dir: &Path, args: &BackupArgs) -> anyhow::Result<()> {
    backup::backup(data_dir, &args.target).map_err(failed)?;
    show(globals.output, &json!({"directory": args.target}), |shown| {
        format!("backed up to {}", text(shown, "directory"))
    })
}
