//! All the agents: registered, joined, and told when to report.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::agent::Agent;
use crate::counters::Counters;
use crate::wire::Endpoint;

/// Agents that register or join at the same time.
const AT_ONCE: usize = 64;

/// Where the agents of hosts that will vanish come from, so that their packets can be told apart. `script/bench` gives
/// this machine the address; it is no loopback address, because a scheduler takes those for its own host.
pub const DOOMED: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 66);

/// Where the others come from; each address has ports of its own.
const SOURCES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
    Ipv4Addr::new(127, 0, 0, 4),
    Ipv4Addr::new(127, 0, 0, 5),
];

/// By how much the agents stand back for the scheduler and those who ask it: on hosts of their own they would take none of
/// its processors. What they do still counts in all that is measured.
const NICENESS: i32 = 5;

/// Agents that run until this is dropped, on a thread of their own.
#[derive(Debug)]
pub struct Fleet {
    pub counters: Arc<Counters>,
    pub registered_in: Duration,
    pub joined_in: Duration,
    pub size: usize,
    may_report: watch::Sender<bool>,
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
}

/// How long it took until all were there.
struct Joined {
    registered_in: Duration,
    joined_in: Duration,
}

impl Fleet {
    /// Registers and joins `size` instances, `doomed` of them on hosts that may be made to vanish. They hold their
    /// reports back until [`Fleet::report`].
    pub async fn join(endpoint: &Endpoint, size: usize, doomed: usize) -> Self {
        let counters = Arc::new(Counters::default());
        let (may_report, told) = watch::channel(false);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_start(stand_back)
            .build()
            .expect("the system gives a runtime");
        let joining = join_all(endpoint.clone(), size, doomed, counters.clone(), told);
        let joined = runtime.spawn(joining).await;
        let Joined { registered_in, joined_in } = joined.expect("all agents can join");
        Self { counters, registered_in, joined_in, size, may_report, runtime: Some(runtime) }
    }

    /// Lets the agents report what they run, now and from here on.
    pub fn report(&self) {
        self.may_report.send_replace(true);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn stand_back() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        eprintln!("  the agents do not stand back: {error}");
    }
}

/// Each agent is a task of the runtime that this runs on.
async fn join_all(
    endpoint: Endpoint,
    size: usize,
    doomed: usize,
    counters: Arc<Counters>,
    told: watch::Receiver<bool>,
) -> Joined {
    let began = Instant::now();
    let agents: Vec<Agent> = stream::iter(0..size)
        .map(|number| {
            let source = if number < doomed { DOOMED } else { SOURCES[number % SOURCES.len()] };
            Agent::register(number, source, endpoint.clone(), counters.clone(), told.clone())
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let registered_in = began.elapsed();
    let began = Instant::now();
    let mut joining = stream::iter(agents).map(Agent::join).buffer_unordered(AT_ONCE);
    while let Some(session) = joining.next().await {
        tokio::spawn(session.unwrap_or_else(|error| panic!("an agent cannot join: {error}")));
    }
    Joined { registered_in, joined_in: began.elapsed() }
}
