//! What was measured, each figure beside the one that it is to be held against and where that comes from.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    pub scenario: &'static str,
    /// Tasks in the state while it was measured.
    pub tasks: usize,
    pub what: &'static str,
    pub measured: String,
    /// What it is to be held against.
    pub beside: &'static str,
}

/// The table, and how it came about.
#[derive(Debug, Default)]
pub struct Report {
    pub build: String,
    pub instances: usize,
    lines: Vec<Line>,
}

impl Report {
    pub fn new(build: &str, instances: usize) -> Self {
        Self { build: build.to_owned(), instances, lines: Vec::new() }
    }

    /// Adds a line, and shows it at once: the whole takes minutes.
    pub fn add(
        &mut self,
        scenario: &'static str,
        tasks: usize,
        what: &'static str,
        measured: String,
        beside: &'static str,
    ) {
        eprintln!("  {scenario} {tasks}: {what} = {measured}");
        self.lines.push(Line { scenario, tasks, what, measured, beside });
    }

    pub fn to_json(&self) -> Value {
        let line = |line: &Line| {
            json!({"scenario": line.scenario, "tasks": line.tasks, "what": line.what,
                "measured": line.measured, "beside": line.beside})
        };
        let lines: Vec<Value> = self.lines.iter().map(line).collect();
        json!({"build": self.build, "instances": self.instances, "load": load(), "figures": lines})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} build, {} simulated instances, load average {}", self.build, self.instances, load())?;
        writeln!(f, "{:<10} {:>9}  {:<38} {:>14}  beside", "scenario", "tasks", "what", "measured")?;
        for Line { scenario, tasks, what, measured, beside } in &self.lines {
            writeln!(f, "{scenario:<10} {tasks:>9}  {what:<38} {measured:>14}  {beside}")?;
        }
        Ok(())
    }
}

/// `4.2 s`, `3.1 ms`
pub fn time(time: Duration) -> String {
    if time >= Duration::from_secs(1) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}

/// So many a second.
#[expect(clippy::cast_precision_loss, reason = "a rate is shown with few digits")]
pub fn rate(count: usize, time: Duration) -> String {
    format!("{:.0}/s", count as f64 / time.as_secs_f64().max(1e-9))
}

pub fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes / 1024 / 1024)
}

#[expect(clippy::cast_precision_loss, reason = "a size is shown with few digits")]
pub fn kib_each(bytes: u64, count: usize) -> String {
    format!("{:.2} KiB", bytes as f64 / 1024.0 / count.max(1) as f64)
}

/// The machine's own work at this moment, without which no figure means anything.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
