//! `ecsr-scale`: a scheduler with thousands of agents and up to a million tasks, on one machine. `script/bench scale`
//! builds what is needed and calls it.
//!
//! The scheduler is a process of its own. The agents are simulated in this one, but on the wire they are real: each has
//! its ACS WebSocket, acknowledges its payloads, and reports every task through the API over a connection of its own,
//! each call signed. There are no shortcuts inside the scheduler, and no containers behind the agents.
//!
//! Nothing here fails for being slow: it reports. It gives up only when nothing moves any more.

mod agent;
mod counters;
mod fleet;
mod probe;
mod report;
mod scenario;
mod server;
mod wire;

use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use report::Report;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    pub instances: usize,
    /// Sizes of C1M, one scheduler each.
    pub tasks: Vec<usize>,
    /// Tasks of the placement and loss scenario; 0 leaves it out.
    pub placements: usize,
    pub service_tasks: usize,
    /// Whether a tenth of the hosts are made to vanish, which changes the firewall of this network namespace.
    pub loss: bool,
    pub data_dir: Option<PathBuf>,
    pub build: String,
    pub json: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            instances: 5_000,
            tasks: vec![10_000, 100_000, 1_000_000],
            placements: 100_000,
            service_tasks: 1_000,
            loss: false,
            data_dir: None,
            build: "unknown".to_owned(),
            json: false,
        }
    }
}

const USAGE: &str = "usage: ecsr-scale [--instances N] [--tasks N[,N...]] [--placements N] [--service-tasks N] [--loss] \
                     [--data-dir DIR] [--build NAME] [--json]";

fn parse(words: impl Iterator<Item = String>) -> Option<Args> {
    let mut words = words;
    let mut args = Args::default();
    let number = |word: Option<String>| word?.parse::<usize>().ok();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--instances" => args.instances = number(words.next()).filter(|count| *count > 0)?,
            "--tasks" => args.tasks = sizes(&words.next()?)?,
            "--placements" => args.placements = number(words.next())?,
            "--service-tasks" => args.service_tasks = number(words.next()).filter(|count| *count > 0)?,
            "--loss" => args.loss = true,
            "--data-dir" => args.data_dir = Some(words.next()?.into()),
            "--build" => args.build = words.next()?,
            "--json" => args.json = true,
            _ => return None,
        }
    }
    Some(args)
}

fn sizes(list: &str) -> Option<Vec<usize>> {
    list.split(',').filter(|size| !size.is_empty()).map(|size| size.parse().ok()).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(args) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    allow_descriptors();
    let mut report = Report::new(&args.build, args.instances);
    if args.placements > 0 {
        scenario::placement_and_loss(&args, args.placements, &mut report).await;
    }
    for tasks in &args.tasks {
        scenario::c1m(&args, *tasks, &mut report).await;
    }
    if args.json {
        println!("{:#}", report.to_json());
    } else {
        println!("{report}");
    }
}

/// Each agent has two connections, so as many descriptors as the system gives; children inherit them.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it is refused, connecting fails, and says so.
    let _ = setrlimit(Resource::Nofile, raised);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_arguments() {
        let parse = |text: &str| parse(text.split_whitespace().map(str::to_owned));
        assert_eq!(parse(""), Some(Args::default()));
        let small = Args { instances: 50, tasks: vec![100, 200], placements: 0, ..Args::default() };
        assert_eq!(parse("--instances 50 --tasks 100,200 --placements 0"), Some(small));
        assert_eq!(parse("--loss --json").map(|args| (args.loss, args.json)), Some((true, true)));
        for wrong in ["--tasks", "--tasks x", "--instances 0", "--fast"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
