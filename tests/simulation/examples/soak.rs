//! Runs seeds on all cores, prints what was simulated and which faults were survived, and stops at what was not.
//!
//! `script/soak` builds and starts this; an example, because only those who run seeds may pause time.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ecsr_simulation::{Fault, Report, Timeline};

/// Failures after which no further seed is begun, unless given.
const FAILURES_MAX: u64 = 10;

/// Seconds between lines about the progress.
const PROGRESS_SECONDS: u64 = 30;

struct Settings {
    first: u64,
    count: u64,
    jobs: usize,
    failures: u64,
    timeline: Timeline,
}

#[derive(Default)]
struct Sum {
    runs: u64,
    failures: Vec<(u64, String)>,
    cluster_hours: f64,
    host_hours: f64,
    faults: BTreeMap<Fault, u64>,
}

impl Sum {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        let hours = report.simulated.as_secs_f64() / 3600.0;
        self.cluster_hours += hours;
        self.host_hours += hours * f64::from(u32::try_from(report.hosts).unwrap_or(u32::MAX));
        for (fault, count) in report.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        if let Some(violation) = report.violation {
            println!("seed {}: {violation}", report.seed);
            println!("  replay it with: script/soak --seed {} --timeline", report.seed);
            self.failures.push((report.seed, violation));
        }
    }
}

fn main() -> ExitCode {
    let settings = match parse(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!(
                "{problem}\nsoak [--seed N] [--first N] [--seeds N] [--jobs N] [--failures N] [--timeline]"
            );
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let (next, sum) = (AtomicU64::new(settings.first), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs {
            scope.spawn(|| work(&settings, &next, &sum, began));
        }
    });
    let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    print(&sum, began.elapsed().as_secs_f64());
    if sum.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Settings, String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut settings =
        Settings { first: 0, count: 1000, jobs: cores, failures: FAILURES_MAX, timeline: Timeline::Silent };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or(format!("{word} needs a number"))?;
            text.parse::<u64>().map_err(|_| format!("{text} is not a number"))
        };
        match word.as_str() {
            "--seed" => (settings.first, settings.count) = (number()?, 1),
            "--first" => settings.first = number()?,
            "--seeds" => settings.count = number()?,
            "--jobs" => settings.jobs = usize::try_from(number()?).unwrap_or(1).max(1),
            "--failures" => settings.failures = number()?,
            "--timeline" => settings.timeline = Timeline::Printed,
            other => return Err(format!("there is no option {other}")),
        }
    }
    Ok(settings)
}

fn work(settings: &Settings, next: &AtomicU64, sum: &Mutex<Sum>, began: Instant) {
    let mut told = 0;
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= settings.first + settings.count {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime can be made");
        let report = runtime.block_on(ecsr_simulation::run(seed, settings.timeline));
        drop(runtime);
        let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sum.add(report);
        if sum.failures.len() as u64 >= settings.failures {
            return;
        }
        let elapsed = began.elapsed().as_secs();
        if elapsed / PROGRESS_SECONDS > told {
            told = elapsed / PROGRESS_SECONDS;
            eprintln!(
                "{} runs, {:.0} cluster-hours, {} failures",
                sum.runs,
                sum.cluster_hours,
                sum.failures.len()
            );
        }
    }
}

fn print(sum: &Sum, seconds: f64) {
    println!("{} runs in {seconds:.1} s: {} failed", sum.runs, sum.failures.len());
    println!("{:.1} cluster-hours simulated ({:.1} host-hours)", sum.cluster_hours, sum.host_hours);
    let total: u64 = sum.faults.values().sum();
    println!("{total} faults:");
    for (fault, count) in &sum.faults {
        println!("  {count:>9}  {fault:?}");
    }
}
