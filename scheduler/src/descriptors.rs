//! File descriptors, of which a scheduler needs one for each connection: two for each of thousands of agents.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit to the highest that it may have. Many systems start with 1024 and allow far more.
pub(crate) fn allow_all() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, current = limit.current, "the limit of open files cannot be raised");
        }
    }
}
