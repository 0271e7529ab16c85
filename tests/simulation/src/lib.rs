//! A whole cluster in one thread and virtual time.
//!
//! The scheduler's desk and conversations, the core and the whole agent are the real ones. Faked is what they stand on:
//! the network (`line`, `world`), the container engines (`engine`), the disks and the clocks. One seed is one run, and
//! the same seed is the same run to the byte: everything random is drawn from it, and time passes only when everybody
//! waits.
//!
//! ```text
//!  client --.                 .-- control (scheduler: desk, sessions) -- journal
//!            world (network) -+
//!  storm ---'                 '-- uplink -- agent -- engine (Docker)   x hosts
//!                    law: looks at both sides after every step
//! ```
//!
//! Not simulated: HTTP and its signatures, telemetry (so no health checks), snapshots of the journal, standby schedulers,
//! roles, volumes, and load balancers.
//!
//! A run is a storm of faults and calls ([`trace::Fault`]), then calm, in which everything must come to rest as it
//! should be within a bounded time. `script/soak` runs many and replays one.

mod chance;
mod client;
mod container;
mod control;
mod engine;
mod finale;
mod law;
mod line;
mod machine;
mod model;
mod session;
mod storm;
mod trace;
mod uplink;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Once};
use std::time::Duration;

use ecsr_api::ecs::Operation;
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::world::{Copies, EPOCH, World};

pub use crate::trace::{Fault, Timeline};

const CLIENTS: usize = 2;

thread_local! {
    /// What a task of this thread's run panicked with.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    /// The first invariant that did not hold.
    pub violation: Option<String>,
    /// Of everything that happened, in order.
    pub hash: u64,
    pub lines: u64,
    pub hosts: u64,
    /// How long the cluster lived.
    pub simulated: Duration,
    pub faults: BTreeMap<Fault, u64>,
}

/// One run. The runtime that drives it must have one thread, and its time must be paused.
pub async fn run(seed: u64, timeline: Timeline) -> Report {
    watch_panics();
    ecsr_agent::clock::stage(EPOCH, seed);
    let world = Arc::new(World::new(seed, timeline));
    world.control.start(&world);
    found(&world).await;
    for machine in &world.machines {
        machine.start_agent(&world);
    }
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(Client::new(&world, number).work());
    }
    storm::rage(&world).await;
    storm::heal(&world);
    if world.is_lawful() {
        // The last of their calls end, so that nobody undoes what the operator does.
        while clients.join_next().await.is_some() {}
    }
    if world.is_lawful() {
        finale::converge(&world).await;
    }
    Report {
        seed,
        violation: panicked().or_else(|| world.trace.violation()),
        hash: world.trace.hash(),
        lines: world.trace.lines(),
        hosts: u64::try_from(world.machines.len()).expect("there are few"),
        simulated: world.elapsed(),
        faults: world.trace.faults(),
    }
}

/// As `ecsr up` does before agents join.
async fn found(world: &Arc<World>) {
    let mut operator = Client::new(world, CLIENTS);
    let default = json!({ "clusterName": "default" });
    operator.ask(Operation::CreateCluster, &default, Copies::Never).await;
}

impl World {
    /// Whether nothing is broken yet. A panic breaks everything.
    pub(crate) fn is_lawful(&self) -> bool {
        if let Some(message) = PANIC.with_borrow(Clone::clone) {
            self.trace.broken(message);
        }
        self.trace.violation().is_none()
    }
}

/// A panic of a task is seen by nobody who runs it; here it ends the run.
fn watch_panics() {
    static ONCE: Once = Once::new();
    PANIC.with_borrow_mut(Option::take);
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANIC.with_borrow_mut(|panic| {
                panic.get_or_insert_with(|| info.to_string());
            });
            others(info);
        }));
    });
}

fn panicked() -> Option<String> {
    PANIC.with_borrow_mut(Option::take)
}
