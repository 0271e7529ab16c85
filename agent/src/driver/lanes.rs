//! Lanes of bounded width: how many operations of each kind run at once; the rest wait in order.
//!
//! Separate lanes are what keeps a slow pull from holding up a start, and a slow stop from holding up anything.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use tokio::task::JoinSet;

/// The kinds of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Looking up and pulling images.
    Pull,
    /// Creating and starting containers.
    Make,
    /// Inspecting.
    Look,
    /// Stopping: each takes as long as the container's grace.
    Stop,
    /// Clean-up, which nobody waits for.
    Remove,
}

impl Lane {
    const ALL: [Lane; 5] = [Lane::Pull, Lane::Make, Lane::Look, Lane::Stop, Lane::Remove];

    /// How many run at once.
    const fn width(self) -> usize {
        match self {
            // More thrash the disk and the network without ending earlier.
            Lane::Pull => 4,
            // Docker serialises most of a start; more than this only queues inside it, where nothing is seen.
            Lane::Make | Lane::Look => 16,
            // They wait for processes to end, not for Docker. One connection each.
            Lane::Stop => 256,
            Lane::Remove => 2,
        }
    }
}

type Operation<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// See the module.
pub(crate) struct Lanes<T> {
    lanes: [Queue<T>; Lane::ALL.len()],
    running: JoinSet<(Lane, T)>,
}

struct Queue<T> {
    running: usize,
    waiting: VecDeque<Operation<T>>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Lanes {
            lanes: Lane::ALL.map(|_| Queue { running: 0, waiting: VecDeque::new() }),
            running: JoinSet::new(),
        }
    }
}

impl<T: Send + 'static> Lanes<T> {
    /// Runs the operation when its lane has room. What waits is bounded by the containers of the known tasks: the
    /// engine asks for one thing at a time of each.
    pub(crate) fn start(&mut self, lane: Lane, operation: impl Future<Output = T> + Send + 'static) {
        self.lanes[lane as usize].waiting.push_back(Box::pin(operation));
        self.fill(lane);
    }

    /// The next operation that ends; `None` if none runs.
    pub(crate) async fn next(&mut self) -> Option<T> {
        let (lane, output) = loop {
            match self.running.join_next().await? {
                Ok(done) => break done,
                // An operation is neither cancelled nor does it panic; were it to, others must go on.
                Err(error) => tracing::error!("an operation broke: {error}"),
            }
        };
        self.lanes[lane as usize].running -= 1;
        self.fill(lane);
        Some(output)
    }

    fn fill(&mut self, lane: Lane) {
        let queue = &mut self.lanes[lane as usize];
        while queue.running < lane.width() {
            let Some(operation) = queue.waiting.pop_front() else { return };
            queue.running += 1;
            self.running.spawn(async move { (lane, operation.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lane_never_runs_more_than_its_width_and_ends_all() {
        let mut lanes = Lanes::default();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for number in 0..50 {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            lanes.start(Lane::Make, async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                number
            });
        }
        let mut ended = Vec::new();
        while let Some(number) = lanes.next().await {
            ended.push(number);
        }
        ended.sort_unstable();
        assert_eq!(ended, (0..50).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), Lane::Make.width());
    }
}
