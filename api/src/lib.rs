//! The wire between ECS clients, the scheduler and agents: Amazon's published contracts as Rust types.
//!
//! - [`ecs`]: the ECS API (AWS JSON 1.1), generated from the service model.
//! - [`elbv2`]: the ELBv2 API (AWS Query), generated likewise.
//! - [`error`]: the error answer of that API.
//! - [`awsquery`]: forms in, XML out, as the older of AWS's services have it.
//! - [`arn`]: resource names, in every form that ECS writes and reads.
//! - [`acs`] and [`tcs`]: what scheduler and agent say to each other on the agent's two WebSockets.
//! - [`sigv4`]: who signed a request, and that it is as it was signed.
//!
//! The crate does no I/O, reads no clock and holds no policy: what a field means to a cluster is decided by
//! those who use it.

pub mod acs;
pub mod arn;
pub mod awsquery;
pub mod ecs;
pub mod elbv2;
pub mod error;
mod query;
mod redacted;
pub mod sigv4;
pub mod tcs;
mod timestamp;
mod wire;

pub use error::ApiError;
pub use timestamp::Timestamp;
pub use wire::FrameError;
