//! A scheduler in the background: this binary once more, as `ecsr scheduler` in a session of its own, its
//! output in a file of the data directory. It counts as started when it has said, beside its lock, where it
//! serves.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Failure, Kind};
use crate::lock::{self, Running};
use crate::verb::scheduler::Settings;

/// The scheduler's output, in the data directory.
const LOG: &str = "scheduler.log";
/// A log larger than this is set aside at the next start; one older log is kept.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// How long a scheduler may take until it serves: a large journal takes seconds to replay.
const SERVES_WITHIN: Duration = Duration::from_mins(1);
/// How often to look whether it serves.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Lines of the log that are shown when it does not start.
const LINES_SHOWN: usize = 5;

/// Starts it and waits until it serves.
pub(super) async fn start(settings: &Settings) -> Result<Running, Failure> {
    let log = settings.data_dir.join(LOG);
    let failed =
        |error: io::Error| Failure::new(Kind::Failed, format!("cannot start the scheduler: {error}"));
    DirBuilder::new().recursive(true).mode(0o700).create(&settings.data_dir).map_err(failed)?;
    let output = open_log(&log).map_err(failed)?;
    let mut child = spawn(settings, output).map_err(failed)?;
    let began = Instant::now();
    loop {
        if let Some(running) = lock::find(&settings.data_dir)?.filter(|running| running.endpoint.is_some()) {
            return Ok(running);
        }
        if child.try_wait().map_err(failed)?.is_some() {
            return Err(did_not_start(&log, "the scheduler ended at once"));
        }
        if began.elapsed() >= SERVES_WITHIN {
            // It is ours and just started, so it is ended for good rather than left half way.
            let _ = child.kill();
            let _ = child.wait();
            return Err(did_not_start(&log, "the scheduler does not serve"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn spawn(settings: &Settings, output: File) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("scheduler")
        .arg("--own-session")
        .args(settings.to_flags())
        // It outlives whatever directory this was called in.
        .current_dir("/")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
}

fn open_log(path: &PathBuf) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|file| file.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn did_not_start(log: &Path, what: &str) -> Failure {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n  ");
    Failure::new(Kind::Failed, format!("{what}; the end of {}:\n  {last}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_log_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG);
        open_log(&path).unwrap().set_len(LOG_BYTES_MAX + 1).unwrap();
        assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), 0);
        assert!(dir.path().join("scheduler.log.1").exists());
    }

    #[test]
    fn the_end_of_the_log_is_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG);
        fs::write(&path, (0..20).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n")).unwrap();
        let message = did_not_start(&path, "it ended").to_string();
        assert!(message.contains("line 19") && !message.contains("line 14"), "{message}");
    }
}
