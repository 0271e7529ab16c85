//! The brain of the scheduler: the whole cluster as a replayable machine.
//!
//! `State` and `Event` meet in `State::apply`; a [`command::Command`] is decided against a `&State`, the time and a
//! seed into events plus a reply, or into a typed [`refusal::Refusal`]. Planners in [`reconcile`] are synchronous
//! functions from state to events, level-triggered and idempotent. Nothing here knows tokio, sockets, files or clocks:
//! the same state, the same command and the same seed give the same events on every machine.

pub mod check;
pub mod command;
pub mod context;
pub mod host_lost_after;
pub mod ids;
pub mod launch;
pub mod names;
pub mod placement;
pub mod query;
pub mod read;
pub mod reconcile;
pub mod refusal;
pub mod resolve;
pub mod state;
pub mod targets;
pub mod task_definition;
#[cfg(test)]
mod testing;
pub mod view;

pub use context::Context;
pub use refusal::Refusal;
pub use state::{Event, State};
