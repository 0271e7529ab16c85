//! Reads while everything else goes on: DescribeTasks of a hundred tasks and pages of ListTasks, one after the other on
//! a thread and a runtime of their own, so that what is measured is the scheduler and not the simulation.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::agent::CLUSTER;
use crate::counters::Counters;
use crate::wire::{Client, Endpoint};

/// What ECS describes and lists at most at once.
const TASKS: usize = 100;

/// Between two questions: a busy console, not a flood.
const PAUSE: Duration = Duration::from_millis(5);

/// What is wanted of a page.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    next_token: Option<String>,
}

/// How long each kind of read took.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    pub describe: Vec<Duration>,
    pub list: Vec<Duration>,
}

/// A probe at work.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Latencies>,
}

impl Probe {
    pub fn start(endpoint: Endpoint, counters: Arc<Counters>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("the system gives a runtime").block_on(probe(&endpoint, &counters, &stopped))
        });
        Self { stop, thread }
    }

    /// What was measured.
    pub fn finish(self) -> Latencies {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a probe does not panic")
    }
}

/// The value below which 99 of a hundred lie.
pub fn p99(times: &[Duration]) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get((times.len() * 99 / 100).min(times.len().saturating_sub(1))).copied()
}

async fn probe(endpoint: &Endpoint, counters: &Counters, stop: &AtomicBool) -> Latencies {
    let mut client = endpoint.client(Ipv4Addr::LOCALHOST);
    let mut latencies = Latencies::default();
    let mut token = None;
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let tasks = counters.sampled(TASKS, turn);
        if !tasks.is_empty() {
            let input = json!({"cluster": CLUSTER, "tasks": tasks});
            latencies.describe.push(timed(&mut client, "DescribeTasks", &input).await.0);
            let input = json!({"cluster": CLUSTER, "maxResults": TASKS, "nextToken": token});
            let (time, page) = timed(&mut client, "ListTasks", &input).await;
            latencies.list.push(time);
            token = serde_json::from_slice::<Page>(&page).ok().and_then(|page| page.next_token);
        }
        tokio::time::sleep(PAUSE).await;
    }
    latencies
}

/// The time until the last byte of an answer was there; what it says is not looked at within it.
async fn timed(client: &mut Client, operation: &str, input: &Value) -> (Duration, Vec<u8>) {
    let input = input.to_string();
    let began = Instant::now();
    let answer = client.must_answer(operation, input.as_bytes()).await;
    (began.elapsed(), answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_hundred_may_be_slower() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(p99(&times), Some(Duration::from_millis(199)));
        assert_eq!(p99(&times[..1]), Some(Duration::from_millis(1)));
        assert_eq!(p99(&[]), None);
    }
}
