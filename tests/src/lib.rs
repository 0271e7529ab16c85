//! The outside view of ecsr: real processes, the real API over real sockets, real containers. Nothing of the
//! product is linked in here; what these tests can see and do, a user can see and do.
//!
//! [`World`] is one cluster of one scheduler and one agent, started from the binary under test, on the Docker
//! engine of this machine. Every world has a cluster name of its own, so that several share one engine, and takes
//! everything with it when it ends: its processes by their ids, its containers by its cluster's label.
//!
//! Nothing here sleeps for a time that is hoped to suffice: a state is waited for by looking until a deadline
//! ([`wait::until`]), an event by waiting for the event.

pub mod api;
pub mod binary;
pub mod elb;
pub mod engine;
pub mod ha;
pub mod host;
pub mod http;
pub mod linear;
pub mod load;
pub mod process;
pub mod sign;
pub mod spec;
pub mod wait;
pub mod world;

pub use api::{Api, ApiError};
pub use engine::{Engine, Seen};
pub use process::Process;
pub use world::{Setup, World};
