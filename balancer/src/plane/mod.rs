//! The data plane: what the API has made, done.
//!
//! ```text
//!   State --follow--> doors (sockets, rules)      groups (targets, health, draining)
//!                        |                           ^
//!   clients --accept--> lane: route -> pick a target -+-> connection of the lane's pool -> target
//! ```
//!
//! What changes is replaced as a whole and read without a lock: a request sees one listener's rules and one group's
//! targets as they were at some one moment. Only a target's own counters are written by requests.

mod clock;
mod drain;
mod follow;
mod group;
mod health;
mod http;
mod lanes;
mod listen;
mod live;
mod pick;
mod pipe;
mod pool;
mod proxy_protocol;
mod service;
mod settings;
mod tcp;
mod tls;
mod udp;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecsr_api::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::follow::Plan;
use self::lanes::{Lane, Lanes};
use self::listen::{CONNECTIONS_MAX, Outward, Tools};
use self::tls::ToTargets;
use crate::model::{Arn, HealthReason, HealthState, Listener, State, TargetGroup, TargetHealth, TargetKey};

/// How long the news of drained targets may pile up before those that tell it wait.
const DRAINED_QUEUE: usize = 1024;

/// How long requests in flight may take to end when the balancer stops.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How often a listener that could not be bound is tried again: a restart waits this long for its predecessor's port.
const OPEN_RETRY: Duration = Duration::from_millis(100);

/// How often a port is tried again before it counts as taken: that of a listener closed just now is free in a moment.
const TAKEN_TRIES: u32 = 10;
const TAKEN_RETRY: Duration = Duration::from_millis(10);

/// How often, in turns of [`OPEN_RETRY`], unused connections are swept and certificates looked at.
const SWEEP_EVERY: u32 = 50;

/// Listeners, routing, health checks and draining. Ends when it is dropped.
pub struct Plane {
    /// Where what is not on the way of a request is done: health checks, draining, accepting.
    control: Lane,
    tools: Arc<Tools>,
    plan: Arc<Mutex<Plan>>,
    upkeep: AbortHandle,
}

/// A target that has drained: nothing of it is in flight any more, or its time was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    pub group: Arn,
    pub target: TargetKey,
    /// Since when it drained: a draining that was cancelled and begun anew is another.
    pub since: Timestamp,
}

impl Plane {
    /// Starts with nothing to do. The receiver tells of targets that have drained.
    pub fn start() -> (Self, mpsc::Receiver<Drained>) {
        let control = Lane::start(0, "control");
        let outward = Arc::new(Outward { tls: ToTargets::new() });
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let tools = Arc::new(Tools { lanes: Lanes::start(), room, to_targets: outward });
        let (drained, receiver) = mpsc::channel(DRAINED_QUEUE);
        let plan = Plan::new(tools.clone(), control.handle.clone(), drained);
        let plan = Arc::new(Mutex::new(plan));
        let upkeep = control.handle.spawn(keep_up(plan.clone())).abort_handle();
        (Self { control, tools, plan, upkeep }, receiver)
    }

    /// Binds a listener's sockets and reads its certificates ahead of its write, so that what is wrong with them is
    /// known. They are kept until the state that follows has, or has not, this listener.
    pub async fn open(&self, listener: &Listener) -> io::Result<()> {
        for _ in 0..TAKEN_TRIES {
            // Not within the match, which would keep the plan locked while it waits.
            let opened = self.plan().open(listener);
            match opened {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => sleep(TAKEN_RETRY).await,
                opened => return opened,
            }
        }
        self.plan().open(listener)
    }

    /// Does what `state` says from now on: opens what is not open yet, retried while its port is taken, and closes what
    /// is gone.
    pub fn follow(&self, state: Arc<State>) {
        self.plan().follow(state);
    }

    /// What is known of a target's health.
    pub fn health(&self, group: &TargetGroup, target: &TargetKey) -> TargetHealth {
        let Some(registered) = group.targets.get(target) else {
            let why = "Target is not registered to the target group";
            return health(HealthState::Unused, HealthReason::NotRegistered, why);
        };
        if registered.draining_since.is_some() {
            let why = "Target deregistration is in progress";
            return health(HealthState::Draining, HealthReason::DeregistrationInProgress, why);
        }
        self.plan().health(group, target)
    }

    /// Takes no more connections, and lets requests in flight end within a bound.
    pub async fn stop(&self) {
        self.plan().end();
        let all = u32::try_from(CONNECTIONS_MAX).expect("the bound is small");
        if timeout(STOP_GRACE, self.tools.room.acquire_many(all)).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        locked(&self.plan)
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.upkeep.abort();
        self.plan().clear();
    }
}

impl fmt::Debug for Plane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Plane").field("control", &self.control.index).finish_non_exhaustive()
    }
}

fn locked(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

fn health(state: HealthState, reason: HealthReason, description: &str) -> TargetHealth {
    TargetHealth { state, reason: Some(reason), description: Some(description.to_owned()) }
}

/// What has to be done from time to time.
async fn keep_up(plan: Arc<Mutex<Plan>>) {
    let mut ticks = interval(OPEN_RETRY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn: u32 = 0;
    loop {
        ticks.tick().await;
        turn = turn.wrapping_add(1);
        let mut plan = locked(&plan);
        plan.retry();
        if turn.is_multiple_of(SWEEP_EVERY) {
            plan.sweep();
            plan.reread_certificates();
        }
    }
}
