//! What every connection needs, held once.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::agents::{Hosts, Sessions, Templates};
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::driver::Driver;
use crate::entropy::Entropy;
use crate::ha::Authority;
use crate::roles::Roles;
use crate::stop;

/// The parts of a running scheduler that its connections share.
#[derive(Debug)]
pub(crate) struct App {
    pub driver: Driver,
    pub authority: Authority,
    pub authenticator: Arc<Authenticator>,
    pub sessions: Sessions,
    pub hosts: Hosts,
    pub roles: Roles,
    pub templates: Templates,
    pub clock: Clock,
    pub entropy: Entropy,
    /// Base URL that agents are told to connect to, when it was configured.
    pub advertise: Option<String>,
    pub listen: SocketAddr,
    /// Turns true when connections are to end.
    pub stop: watch::Receiver<bool>,
}

impl App {
    /// Resolves when connections are to end.
    pub(crate) async fn stopped(&self) {
        stop::told(&mut self.stop.clone()).await;
    }
}
