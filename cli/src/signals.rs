//! The signals that ask a process to end, as one future.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first SIGTERM, SIGINT (Ctrl-C) or SIGHUP. From the first poll on these signals no longer
/// end the process by themselves.
pub(crate) async fn end_wanted() {
    let listen = |kind| signal(kind).expect("signal handlers can be installed in a running runtime");
    let (mut terminate, mut interrupt, mut hangup) =
        (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::hangup()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
}
