//! Runs of the simulation that belong to every run of the tests: the same run twice, the seeds that once found
//! something, and a few more. `script/test simulation` runs a thousand on all cores, `script/soak` as many as one has
//! patience for.

use std::collections::BTreeSet;

use ecsr_simulation::{Report, Timeline};

/// Seeds that are run here too: enough to see that a change has not broken everything.
const FIRST: u64 = 25;

fn run(seed: u64) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(ecsr_simulation::run(seed, Timeline::Silent))
}

/// The seeds of a list: lines that begin with one, and comments.
fn listed(text: &str) -> BTreeSet<u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let seeds = lines.filter_map(|line| line.split_whitespace().next());
    seeds.map(|seed| seed.parse().expect("a line begins with a seed")).collect()
}

fn check(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        if let Some(violation) = run(seed).violation {
            panic!("seed {seed}: {violation}\nreplay it with: script/soak --seed {seed} --timeline");
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(1).hash, run(2).hash);
}

#[test]
fn seeds_that_found_something_once() {
    check(listed(include_str!("../seeds.txt")).into_iter());
}

#[test]
fn the_first_seeds() {
    check(0..FIRST);
}
