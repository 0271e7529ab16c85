//! The agent between its seams: what runs on every host, and in a simulation, whatever container engine, scheduler and
//! disk are given to it.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::backoff::{Backoff, Complaint};
use crate::channel::acs::{Acs, Timeline};
use crate::config::Config;
use crate::credentials::Credentials;
use crate::driver::{Driver, Handle, Parts};
use crate::engine::TaskReport;
use crate::ledger::Ledger;
use crate::register;
use crate::report::{Reporter, retrying};
use crate::runtime::Runtime;
use crate::uplink::Uplink;

/// Accepted STOPPED reports that may wait for the driver.
const STOPPED_MAX: usize = 64;
/// Pauses between registrations that do not hold.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What an agent is made of.
#[derive(Debug)]
pub struct Host<R, U> {
    /// The operator's settings.
    pub config: Arc<Config>,
    /// The container engine.
    pub runtime: R,
    /// The scheduler.
    pub uplink: U,
    /// What earlier agents of this host wrote down.
    pub ledger: Ledger,
}

/// What the parts of an agent that only a real host has work with.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) driver: Handle,
    pub(crate) credentials: Credentials,
    /// The container instance's ARN; empty until it is registered.
    pub(crate) instance: watch::Receiver<String>,
    /// Counts how often a silent scheduler was left for another one.
    pub(crate) moves: watch::Receiver<u64>,
}

/// Runs an agent for ever: dropping the future is `kill -9`.
pub async fn serve<R: Runtime, U: Uplink>(host: Host<R, U>) {
    attend(host, |_, _| ()).await;
}

/// The same, with more to be done beside it.
pub(crate) async fn attend<R: Runtime, U: Uplink>(
    host: Host<R, U>,
    beside: impl FnOnce(&Inside, &mut JoinSet<()>),
) {
    let Host { config, runtime, uplink, ledger } = host;
    let reporter = Reporter::new(ledger.clone());
    let (stopped_sender, stopped) = mpsc::channel(STOPPED_MAX);
    let (instance, instance_changes) = watch::channel(String::new());
    let parts = Parts {
        config: Arc::clone(&config),
        ledger: ledger.clone(),
        reporter: reporter.clone(),
        stopped,
        container_instance: instance_changes.clone(),
    };
    let (driver, handle) = Driver::new(runtime, parts);
    let (ready, adopted) = oneshot::channel();

    // Everything that works beside the line; it ends with this future.
    let mut background = JoinSet::new();
    background.spawn(ledger.clone().keep_writing());
    background.spawn(async move { driver.run(ready).await });
    let _ = adopted.await;
    background.spawn(deliver(reporter, uplink.clone(), stopped_sender));
    let (moves, counted_moves) = watch::channel(0);
    let inside = Inside {
        driver: handle.clone(),
        credentials: Credentials::default(),
        instance: instance_changes,
        moves: counted_moves,
    };
    beside(&inside, &mut background);
    let mut acs = Acs {
        uplink: uplink.clone(),
        driver: handle,
        credentials: inside.credentials,
        timeline: Timeline::default(),
        was_connected: false,
        moves,
    };
    // Boxed: the line makes a large future.
    Box::pin(stay_registered(&config, &uplink, &mut acs, &ledger, &instance)).await;
}

/// Registers and keeps the line open; registers anew whenever the scheduler does not know the instance any more.
async fn stay_registered<U: Uplink>(
    config: &Config,
    uplink: &U,
    acs: &mut Acs<U>,
    ledger: &Ledger,
    instance: &watch::Sender<String>,
) {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    loop {
        let arn = register::register(uplink, config, ledger).await;
        instance.send_replace(arn.clone());
        let why = acs.keep(&arn).await;
        tracing::warn!("the instance is not registered any more, registering anew: {why}");
        acs.timeline = Timeline::default();
        acs.was_connected = false;
        tokio::time::sleep(backoff.pause()).await;
    }
}

fn deliver<U: Uplink>(
    reporter: Reporter,
    uplink: U,
    stopped: mpsc::Sender<String>,
) -> impl Future<Output = ()> {
    let complaint = Arc::new(Mutex::new(Complaint::default()));
    let submit = move |report: TaskReport| {
        let (uplink, complaint) = (uplink.clone(), Arc::clone(&complaint));
        async move { retrying(&complaint, || uplink.submit(report.clone())).await }
    };
    reporter.deliver(submit, stopped)
}
