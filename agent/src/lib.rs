//! The agent: joins a cluster and runs its tasks on this host's Docker.

mod backoff;
pub mod config;
mod driver;
pub mod engine;
mod ledger;
mod report;
pub mod runtime;
mod task;

pub use config::{Config, ConfigError};
