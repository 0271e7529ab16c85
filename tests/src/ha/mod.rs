//! Several schedulers of one cluster, on hosts that can be cut off from each other.

pub mod agent;
pub mod clients;
pub mod net;
pub mod trio;

pub use agent::FakeAgent;
pub use net::Net;
pub use trio::Trio;
