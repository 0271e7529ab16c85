//! Runs of the simulation that belong to every test run: the same run twice, the seeds that once found something, and
//! two hundred more (`script/soak` runs as many as one has patience for), cut into parts that run side by side.

use std::collections::BTreeSet;

use ecsr_simulation::{Report, Timeline};

/// Seeds of each part.
const PART: u64 = 25;

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

fn part(number: u64) {
    check(number * PART..(number + 1) * PART);
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
fn two_hundred_seeds_part_1() {
    part(0);
}

#[test]
fn two_hundred_seeds_part_2() {
    part(1);
}

#[test]
fn two_hundred_seeds_part_3() {
    part(2);
}

#[test]
fn two_hundred_seeds_part_4() {
    part(3);
}

#[test]
fn two_hundred_seeds_part_5() {
    part(4);
}

#[test]
fn two_hundred_seeds_part_6() {
    part(5);
}

#[test]
fn two_hundred_seeds_part_7() {
    part(6);
}

#[test]
fn two_hundred_seeds_part_8() {
    part(7);
}
