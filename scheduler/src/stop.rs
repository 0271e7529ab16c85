//! The word to stop, as everything that runs for long hears it.

use tokio::sync::watch;

/// Resolves when the word to stop was given. A sender that is gone wants a stop just as one that says so.
pub(crate) async fn told(stop: &mut watch::Receiver<bool>) {
    // The guard on the value must not outlive this function: no future may hold it while it waits.
    let _ = stop.wait_for(|stop| *stop).await;
}
