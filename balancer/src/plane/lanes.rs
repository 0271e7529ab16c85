//! The threads that carry traffic: as many as there are cores, each with a runtime of its own.
//!
//! A connection stays on the lane that took it, and so do the connections to targets that it uses. So a request crosses
//! no thread on its way, which costs a third of the throughput where a runtime moves its tasks about.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Most lanes: more cores than this are not what limits a balancer.
const LANES_MAX: usize = 64;

/// The lanes, which end when this is dropped.
pub(super) struct Lanes {
    lanes: Box<[Lane]>,
}

/// One thread and what it has to do.
pub(super) struct Lane {
    pub(super) index: usize,
    pub(super) handle: Handle,
    connections: Arc<AtomicUsize>,
    _until: oneshot::Sender<()>,
}

/// A connection's place on a lane.
pub(super) struct Place {
    connections: Arc<AtomicUsize>,
}

/// How many lanes this machine gets.
pub(super) fn count() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(LANES_MAX)
}

impl Lanes {
    pub(super) fn start() -> Self {
        Self { lanes: (0..count()).map(|index| Lane::start(index, "lane")).collect() }
    }

    /// The lane with the fewest connections.
    pub(super) fn least(&self) -> &Lane {
        self.lanes
            .iter()
            .min_by_key(|lane| lane.connections.load(Ordering::Relaxed))
            .expect("there is at least one lane")
    }
}

impl Lane {
    pub(super) fn start(index: usize, name: &str) -> Self {
        let runtime =
            Builder::new_current_thread().enable_all().build().expect("the system gives an event queue");
        let handle = runtime.handle().clone();
        let (until, ended) = oneshot::channel::<()>();
        thread::Builder::new()
            .name(format!("{name}-{index}"))
            .spawn(move || {
                // Ends with an error when the sender is dropped, which is all that is waited for.
                let _ = runtime.block_on(ended);
            })
            .expect("the system gives a thread at start");
        Self { index, handle, connections: Arc::default(), _until: until }
    }

    /// Counts one more connection for as long as the place is kept.
    pub(super) fn enter(&self) -> Place {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Place { connections: self.connections.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
