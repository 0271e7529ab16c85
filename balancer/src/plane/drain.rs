//! Draining: a target that leaves keeps what it has, for so long and no longer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ecsr_api::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::Drained;
use super::live::Live;
use crate::model::Arn;

/// Waiting for a target to drain, until this is dropped.
pub(super) struct Draining {
    task: AbortHandle,
}

impl Draining {
    /// `delay`: how long it may take from `since` on. `cut`: whether what is in flight then is ended.
    pub(super) fn start(
        group: Arn,
        live: Arc<Live>,
        since: Timestamp,
        delay: Duration,
        cut: bool,
        drained: mpsc::Sender<Drained>,
        on: &Handle,
    ) -> Self {
        let left = delay.saturating_sub(Timestamp::from(SystemTime::now()).since(since));
        let waits = async move {
            if timeout(left, live.empty()).await.is_err() && cut {
                live.cut();
            }
            let target = live.key.clone();
            drop(live);
            // Nobody listens any more: the balancer ends.
            let _ = drained.send(Drained { group, target, since }).await;
        };
        Self { task: on.spawn(waits).abort_handle() }
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        self.task.abort();
    }
}
