//! File descriptors, of which a scheduler needs several for each agent: its channels, and its calls to the API.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for the most connections and channels that are taken.
const WANTED: u64 = 65_536;

/// Raises this process's limit as far as it may. Many systems start with 1024 and allow far more, and root may have more
/// than is allowed.
pub(crate) fn allow_all() {
    let limit = getrlimit(Resource::Nofile);
    let raised = |to: Option<u64>| Rlimit { current: to, maximum: to };
    let wanted = limit.maximum.map(|maximum| maximum.max(WANTED));
    if limit.current == wanted || setrlimit(Resource::Nofile, raised(wanted)).is_ok() {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, raised(limit.maximum)) {
        tracing::warn!(%error, current = limit.current, "the limit of open files cannot be raised");
    }
}
