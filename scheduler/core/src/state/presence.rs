//! Whether an instance is there: its agent, and apart from it its host.
//!
//! An agent falls silent for many reasons (a crash, an upgrade, a stopped process) that do its tasks no harm: Docker
//! runs them on. A host that is gone takes its tasks with it. The two are told apart by the host's kernel, which answers
//! a connection attempt while it lives; the shell asks it and reports here.
//!
//! ```text
//!   Connected --channel closed--> Silent --no answer--> Unreachable --time passes--> Lost
//!       ^                           ^----- answers ---------'                          |
//!       '------------------------- the channel opens (from any) ----------------------'
//! ```
//!
//! Invariant: only an instance that is Lost has its tasks replaced, and only its agent brings it back from there.

use ecsr_api::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::net::IpAddr;

/// How an instance was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// The agent's channel is open. Tasks are placed.
    Connected,
    /// The agent is away and nothing says that its host is: the tasks run on and count as they did.
    Silent { since: Timestamp },
    /// Neither agent nor host answers: no request should be sent to its tasks.
    Unreachable { since: Timestamp },
    /// Given up: its tasks are replaced elsewhere and stopped when it comes back.
    Lost { since: Timestamp },
}

impl Presence {
    /// Whether requests can reach the tasks of the instance, as far as is known.
    pub fn serves(self) -> bool {
        match self {
            Self::Connected | Self::Silent { .. } => true,
            Self::Unreachable { .. } | Self::Lost { .. } => false,
        }
    }

    /// Whether the instance was given up.
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

/// Where an instance's host is, as its agent's channel showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereabouts {
    pub address: IpAddr,
    /// Whether it answered a connection attempt while its agent was there. Where a firewall swallows them, silence
    /// proves nothing.
    pub answers: bool,
}

/// Reads a presence, or what the first version of the journal had in its place.
pub(super) fn of_any_age<'de, D: Deserializer<'de>>(from: D) -> Result<Presence, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum AnyAge {
        ChannelOpen(bool),
        Presence(Presence),
    }
    Ok(match AnyAge::deserialize(from)? {
        AnyAge::ChannelOpen(true) => Presence::Connected,
        AnyAge::ChannelOpen(false) => Presence::Silent { since: Timestamp::default() },
        AnyAge::Presence(presence) => presence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presence_of_any_age_is_read() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Holder {
            #[serde(alias = "connected", deserialize_with = "of_any_age")]
            presence: Presence,
        }
        let read = |text: &str| serde_json::from_str::<Holder>(text).expect("a presence").presence;
        assert_eq!(read(r#"{"connected":true}"#), Presence::Connected);
        assert_eq!(read(r#"{"connected":false}"#), Presence::Silent { since: Timestamp::default() });
        for presence in [Presence::Connected, Presence::Lost { since: Timestamp::from_millis(5) }] {
            let written = serde_json::to_string(&Holder { presence }).expect("it can be written");
            assert_eq!(read(&written), presence);
        }
    }
}
