//! The agents' two channels: ACS, on which tasks reach an instance, and TCS, on which its health comes back.
//!
//! What a session sends is derived from the published state each time that changes, never from what happened: a
//! session that starts late, or anew after a crash on either side, sends what is missing and nothing twice. What is
//! said on ACS is the business of [`Conversation`], which knows no socket; the session holds it over one.

mod acs;
mod conversation;
mod grants;
mod handshake;
mod hosts;
mod line;
mod outbox;
mod payload;
mod sessions;
mod telemetry;
mod wire;

pub use self::conversation::{Announced, Conversation, Moment, Opening, Output, Over};
pub use self::grants::{Assumed, RoleType, Roles as RolesInReach, Wish};
pub(crate) use self::handshake::{open_acs, open_tcs};
pub(crate) use self::hosts::{Hosts, watch as watch_hosts};
pub(crate) use self::line::Line;
pub use self::payload::Templates;
pub(crate) use self::sessions::Sessions;
pub use crate::roles::Failure as RoleFailure;

/// What agents are told as the endpoint of ACS; they append `/ws` and their parameters.
pub(crate) const ACS_PATH: &str = "/acs";
/// What agents are told as the endpoint of TCS.
pub(crate) const TCS_PATH: &str = "/tcs";
/// Where the ACS channel is opened.
pub(crate) const ACS_ROUTE: &str = "/acs/ws";
/// Where the TCS channel is opened.
pub(crate) const TCS_ROUTE: &str = "/tcs/ws";

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod impostor_tests;
#[cfg(test)]
mod role_tests;
#[cfg(test)]
mod tests;
