//! `ecsr-bench start`: what ecsr costs beside what one would use instead, measured side by side in one run on one
//! machine. `script/bench` builds what is needed and calls it.
//!
//! Rounds interleave the contenders, so that a machine that gets slower does so for all of them; of the rounds the
//! median is shown, and next to each figure its ratio to the floor, which is what the engine itself takes when it
//! is asked for the same containers with nothing in between. Figures vary between machines; ratios are the result.
//! Nothing here fails for being slow: it reports. `ecsr-bench balancer` is another comparison, see [`balancer`].

mod balancer;
mod compose;
mod floor;
mod memory;
mod report;
mod subject;
mod swarm;

use std::time::Duration;

use ecsr_tests::Engine;

use memory::Sizes;
use report::{Figure, Report};
use subject::Subject;

/// Copies of the task.
const COUNT: usize = 14;

/// Rounds unless `--rounds` says otherwise.
const ROUNDS: usize = 5;

/// Kills of a container, and single containers made for comparison, per round.
const REPLACEMENTS_PER_ROUND: usize = 2;

/// Time before each measurement for the engine to come to rest: what it still cleans up after the one before is not
/// to be counted against the next.
const REST: Duration = Duration::from_millis(700);

/// How the report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Table,
    Json,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Start,
    Balancer,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Args {
    what: What,
    rounds: usize,
    format: Format,
    /// How the binary was built, as the report calls it.
    build: String,
}

const USAGE: &str = "usage: ecsr-bench start|balancer [--rounds N] [--build NAME] [--json]";

fn parse(words: impl Iterator<Item = String>) -> Option<Args> {
    let mut words = words;
    let what = match words.next()?.as_str() {
        "start" => What::Start,
        "balancer" => What::Balancer,
        _ => return None,
    };
    let mut args = Args { what, rounds: ROUNDS, format: Format::Table, build: "unknown".to_owned() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => args.format = Format::Json,
            "--rounds" => args.rounds = words.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
            "--build" => args.build = words.next()?,
            _ => return None,
        }
    }
    Some(args)
}

#[tokio::main]
async fn main() {
    let Some(args) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let (table, json) = match args.what {
        What::Start => {
            let report = start(&args).await;
            (report.to_string(), report.to_json())
        }
        What::Balancer => {
            let report = balancer::run(&args).await;
            (report.to_string(), report.to_json())
        }
    };
    match args.format {
        Format::Table => println!("{table}"),
        Format::Json => println!("{json:#}"),
    }
}

/// The whole comparison.
async fn start(args: &Args) -> Report {
    let engine = Engine::connect().await;
    let subject = Subject::up().await;
    memory::settle().await;
    let fresh = subject.resident(&engine).await;
    let compose = compose::Compose::find();
    let swarm = swarm::Swarm::join();
    let mut report = Report::new(&args.build, args.rounds, &engine.version().await);
    if let Err(why) = &compose {
        report.note(why);
    }
    if let Err(why) = &swarm {
        report.note(why);
    }
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        rest().await;
        report.take(Figure::Floor, floor::start_all(&engine).await);
        rest().await;
        report.take(Figure::Ecsr, subject.start_all(&engine).await);
        for _ in 0..REPLACEMENTS_PER_ROUND {
            rest().await;
            report.take(Figure::FloorOfOne, floor::start_one(&engine).await);
            rest().await;
            report.take(Figure::BareReplacement, floor::replace_one(&engine).await);
            rest().await;
            report.take(Figure::Replacement, subject.replace_one(&engine).await);
        }
        subject.clear(&engine).await;
        if let Ok(compose) = &compose {
            rest().await;
            report.take(Figure::Compose, compose.start_all(&engine).await);
        }
        if let Ok(swarm) = &swarm {
            rest().await;
            report.take(Figure::Swarm, swarm.start_all(&engine).await);
        }
    }
    memory::settle().await;
    report.sizes(Sizes { fresh, used: subject.resident(&engine).await, binary: subject::binary_size() });
    report
}

/// Lets the engine come to rest.
async fn rest() {
    tokio::time::sleep(REST).await;
}

/// Seconds with what a stopwatch can honestly tell.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_arguments() {
        let parse = |text: &str| parse(text.split_whitespace().map(str::to_owned));
        let args = |rounds, format, build: &str| {
            Some(Args { what: What::Start, rounds, format, build: build.to_owned() })
        };
        assert_eq!(parse("start"), args(ROUNDS, Format::Table, "unknown"));
        assert_eq!(parse("start --json --rounds 3 --build dev"), args(3, Format::Json, "dev"));
        assert_eq!(parse("balancer").map(|args| args.what), Some(What::Balancer));
        for wrong in ["", "stop", "start --rounds", "start --rounds 0", "start --fast"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
