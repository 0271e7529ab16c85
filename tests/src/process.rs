//! A process of the binary under test: started with an environment of its own, its output in a file, ended by its
//! own id. When a test fails, what its processes said last is printed with it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::binary;

/// Lines of a process's log that are printed when its test fails.
const TAIL_LINES: usize = 60;

/// A started process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `ecsr <args>` with exactly `environment`, appending its output to `<dir>/<name>.log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(
        name: &'static str,
        dir: &Path,
        args: &[&str],
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let log = dir.join(format!("{name}.log"));
        let output =
            File::options().create(true).append(true).open(&log).expect("the world's directory is writable");
        let errors = output.try_clone().expect("an open file can be opened again");
        let child = command(args, environment)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start ecsr {}: {error}", args.join(" ")));
        Self { name, child, log }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself; gone is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits until it has ended.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn end(&mut self) -> ExitStatus {
        let id = Pid::from_child(&self.child);
        // It may have ended by itself, which the status tells.
        let _ = kill_process(id, Signal::TERM);
        self.child.wait().expect("a child can be waited for")
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Everything it wrote so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
            eprintln!("--- {}, last lines ---\n{tail}", self.name);
        }
    }
}

/// Runs `ecsr <args>` with exactly `environment` to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(args: &[&str], environment: &BTreeMap<String, String>) -> Output {
    let output = command(args, environment).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("cannot start ecsr {}: {error}", args.join(" ")))
}

fn command(args: &[&str], environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(binary::ecsr());
    command.args(args).env_clear().envs(environment);
    command
}
