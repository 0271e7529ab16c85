//! One scheduler per data directory. A scheduler holds a lock on a file there and writes into it who it is;
//! the kernel lets go of the lock when the process ends, however it ends, so a stale process id is never
//! believed and a signal never reaches a stranger.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind};

const FILE: &str = "scheduler.pid";

/// How long a scheduler that was asked to end may take: it finishes its requests and closes its journal.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How often the lock is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often to look again at a lock whose holder has not yet written who it is.
const UNWRITTEN_LOOKS_MAX: u32 = 100;

/// A scheduler that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    /// Base URL that clients on this machine reach it at; `None` until it serves.
    pub(crate) endpoint: Option<String>,
}

/// The lock of a data directory, held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of `data_dir`, which is made, readable by its owner alone, when it does not exist.
    pub(crate) fn acquire(data_dir: &Path) -> Result<Self, Failure> {
        let unusable = |error: io::Error| {
            Failure::new(
                Kind::Failed,
                format!("cannot use the data directory {}: {error}", data_dir.display()),
            )
            .hint("give another one with --data-dir")
        };
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unusable)?;
        let file = open(data_dir).map_err(unusable)?;
        for _ in 0..UNWRITTEN_LOOKS_MAX {
            match file.try_lock() {
                Ok(()) => {
                    let mut lock = Self { file };
                    lock.write(None).map_err(unusable)?;
                    return Ok(lock);
                }
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            // Whoever only looks at the lock holds it for a moment; a scheduler says that it is one.
            if let Some(running) = find(data_dir)? {
                return Err(already(data_dir, &running));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(Failure::new(Kind::Failed, format!("{} stays locked", data_dir.join(FILE).display())))
    }

    /// Tells everybody where this process serves.
    pub(crate) fn publish(&mut self, endpoint: &str) -> io::Result<()> {
        self.write(Some(endpoint.to_owned()))
    }

    fn write(&mut self, endpoint: Option<String>) -> io::Result<()> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        let text = serde_json::to_vec(&Running { pid, endpoint }).map_err(io::Error::other)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)
    }
}

fn open(data_dir: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(data_dir.join(FILE))
}

fn already(data_dir: &Path, running: &Running) -> Failure {
    let message = format!("a scheduler (process {}) runs on {} already", running.pid, data_dir.display());
    Failure::new(Kind::Failed, message).hint("`ecsr down` ends it; --data-dir chooses another directory")
}

/// The scheduler that holds the lock of `data_dir` now.
pub(crate) fn find(data_dir: &Path) -> Result<Option<Running>, Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(Kind::Failed, format!("cannot read {}: {error}", data_dir.join(FILE).display()))
    };
    for _ in 0..UNWRITTEN_LOOKS_MAX {
        let mut file = match File::open(data_dir.join(FILE)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(unreadable(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        if let Ok(running) = serde_json::from_str(&text) {
            return Ok(Some(running));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(Failure::new(
        Kind::Failed,
        format!("{} is locked, but not by a scheduler", data_dir.join(FILE).display()),
    ))
}

/// Asks `running` to end and waits until it has let go of `data_dir`.
pub(crate) async fn stop(data_dir: &Path, running: &Running) -> Result<(), Failure> {
    let pid = Pid::from_raw(running.pid).filter(|_| running.pid > 0);
    let pid = pid.ok_or_else(|| Failure::new(Kind::Failed, format!("{} is no process id", running.pid)))?;
    match kill_process(pid, Signal::TERM) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => {
            return Err(Failure::new(Kind::Failed, format!("cannot end process {}: {error}", running.pid))
                .hint("it belongs to another user; run this as that user or as root"));
        }
    }
    let mut waited = Duration::ZERO;
    while find(data_dir)?.is_some_and(|now| now.pid == running.pid) {
        if waited >= STOP_MAX {
            let message = format!("the scheduler (process {}) does not end", running.pid);
            return Err(
                Failure::new(Kind::Failed, message).hint(format!("`kill -9 {}` loses nothing", running.pid))
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
    Ok(())
}

/// Removes the lock's file together with everything else in `data_dir`.
pub(crate) fn remove_data(data_dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(data_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_nobody_after_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        assert_eq!(find(&data_dir).unwrap(), None);

        let mut lock = Lock::acquire(&data_dir).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(find(&data_dir).unwrap(), Some(Running { pid, endpoint: None }));
        lock.publish("http://127.0.0.1:7070").unwrap();
        assert_eq!(find(&data_dir).unwrap().unwrap().endpoint.as_deref(), Some("http://127.0.0.1:7070"));

        let refused = Lock::acquire(&data_dir).unwrap_err();
        assert!(refused.to_string().contains("already"), "{refused}");

        drop(lock);
        assert_eq!(find(&data_dir).unwrap(), None, "what a dead process left is not believed");
        drop(Lock::acquire(&data_dir).unwrap());
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        remove_data(&dir.path().join("never")).unwrap();
    }
}
