//! What the pure core costs: placements and reports a second, bytes a task, and how well it packs.
//!
//! No disk, no network, no threads: commands are decided, applied and followed up as the scheduler's writer does it, a
//! batch at a time, with the state published after each. Every size runs in a process of its own, so that its memory
//! is its own too. Ratios compare with the plain scan, which looks at every instance for every task, in the same run.
//! Nothing here fails for being slow: it reports.

mod churn;
mod fleet;
mod packing;
mod process;
mod scale;

use std::process::ExitCode;

/// Tasks of one run unless given.
const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];

const USAGE: &str = "usage: core [packing | TASKS...]";

fn main() -> ExitCode {
    // `cargo bench` adds a word of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--alone", tasks] => {
            let Ok(tasks) = tasks.parse() else { return usage() };
            scale::measure(tasks);
        }
        ["packing"] => packing::measure(),
        [] => {
            for tasks in SIZES {
                alone(tasks);
            }
            packing::measure();
        }
        sizes => {
            let Ok(sizes) = sizes.iter().map(|size| size.parse()).collect::<Result<Vec<usize>, _>>() else {
                return usage();
            };
            sizes.into_iter().for_each(alone);
        }
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Measures one size in a process of its own.
fn alone(tasks: usize) {
    let program = std::env::current_exe().expect("this program has a path");
    let status = std::process::Command::new(program).args(["--alone", &tasks.to_string()]).status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("{tasks} tasks could not be measured");
    }
}
