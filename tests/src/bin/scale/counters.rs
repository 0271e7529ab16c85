//! What has happened so far, seen from the agents.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most task ARNs that are kept to be asked for.
const SAMPLE_MAX: usize = 100_000;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Channels that were opened, and that ended.
    pub joined: Count,
    pub left: Count,
    /// Tasks that agents were told to start.
    pub told: Count,
    /// Reports that were taken, and that were not.
    pub running: Count,
    pub stopped: Count,
    pub failed: Count,
    sample: Mutex<Vec<String>>,
}

impl Count {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Remembers a task, unless there are enough.
    pub fn sample(&self, arn: &str) {
        let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        if sample.len() < SAMPLE_MAX {
            sample.push(arn.to_owned());
        }
    }

    /// Up to `count` of the remembered tasks, spread over all of them.
    pub fn sampled(&self, count: usize, turn: usize) -> Vec<String> {
        let sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        let step = 7919;
        let indexes = (0..count.min(sample.len())).map(|index| (turn * count + index) * step % sample.len());
        indexes.map(|index| sample[index].clone()).collect()
    }
}
