//! What every connection needs, held once.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::agents::{Hosts, Sessions, Templates};
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::driver::Driver;
use crate::elb::{self, Elb};
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
    pub elb: Elb,
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
    /// Keeps target groups in step with tasks until connections are to end.
    pub(crate) fn balance(&self) -> impl Future<Output = ()> + Send + 'static {
        let (balancing, driver) = (Arc::new(self.elb.clone()), self.driver.clone());
        elb::watch(balancing, driver, self.entropy.clone(), self.stop.clone())
    }

    /// Resolves when connections are to end.
    pub(crate) async fn stopped(&self) {
        stop::told(&mut self.stop.clone()).await;
    }
}
