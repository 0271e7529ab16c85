//! What a listener does, made out of what the API keeps of it: its rules with the groups that they name.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use super::group::Group;
use super::http::matching::Test;
use super::pick;
use super::settings::ListenerSettings;
use super::tls::{self, HTTP_1, HTTP_2};
use crate::model::{self, Arn, Listener, LoadBalancer, Protocol, Redirect};

/// What a listener does.
pub(super) struct Service {
    pub(super) listener: Arc<Listener>,
    pub(super) settings: ListenerSettings,
    pub(super) tls: Option<Arc<ServerConfig>>,
    rules: Vec<(Vec<Test>, Action)>,
    default: Action,
}

/// What becomes of a request or a connection.
pub(super) enum Action {
    Forward(Forward),
    Redirect(Redirect),
    Fixed { status: u16, content_type: Option<String>, body: Option<String> },
}

/// To one of these groups.
pub(super) struct Forward {
    pub(super) groups: Vec<(Arc<Group>, u32)>,
    /// How long a client stays with its group.
    pub(super) stick: Option<Duration>,
}

impl Service {
    pub(super) fn new(
        listener: Arc<Listener>,
        balancer: &LoadBalancer,
        tls: Option<Arc<ServerConfig>>,
        group: impl Fn(&Arn) -> Option<Arc<Group>>,
    ) -> Self {
        let rules = listener.rules.iter();
        let rules = rules.map(|rule| {
            let tests = rule.conditions.iter().map(Test::of).collect();
            (tests, Action::of(&rule.action, &group))
        });
        Self {
            settings: ListenerSettings::of(balancer, &listener),
            rules: rules.collect(),
            default: Action::of(&listener.default_action, &group),
            tls,
            listener,
        }
    }

    /// The action of the first rule that holds.
    pub(super) fn action(&self, mut holds: impl FnMut(&Test) -> bool) -> &Action {
        let found = self.rules.iter().find(|(tests, _)| tests.iter().all(&mut holds));
        found.map_or(&self.default, |(_, action)| action)
    }

    /// The group that a connection goes to.
    pub(super) fn group(&self, random: u64) -> Option<Arc<Group>> {
        match &self.default {
            Action::Forward(forward) => forward.choose(random).cloned(),
            Action::Redirect(_) | Action::Fixed { .. } => None,
        }
    }
}

impl Action {
    fn of(action: &model::Action, group: impl Fn(&Arn) -> Option<Arc<Group>>) -> Self {
        match action.clone() {
            model::Action::Forward { groups, stick_seconds } => Self::Forward(Forward {
                groups: groups
                    .iter()
                    .filter_map(|weighted| Some((group(&weighted.group)?, weighted.weight)))
                    .collect(),
                stick: stick_seconds.map(|seconds| Duration::from_secs(seconds.into())),
            }),
            model::Action::Redirect(redirect) => Self::Redirect(redirect),
            model::Action::FixedResponse { status, content_type, body } => {
                Self::Fixed { status, content_type, body }
            }
        }
    }
}

impl Forward {
    /// A group by weight; none if nobody has any.
    pub(super) fn choose(&self, random: u64) -> Option<&Arc<Group>> {
        let weights = self.groups.iter().map(|(_, weight)| u64::from(*weight));
        pick::by_weight(weights, random).map(|index| &self.groups[index].0)
    }
}

/// What the listener needs to speak TLS; none if it does not. Reads its files.
pub(super) fn tls(listener: &Listener, http2: bool) -> io::Result<Option<Arc<ServerConfig>>> {
    let protocols: &[&[u8]] = match listener.protocol {
        Protocol::Https if http2 => &[HTTP_2, HTTP_1],
        Protocol::Https => &[HTTP_1],
        Protocol::Tls => match listener.alpn_policy.as_deref() {
            Some("HTTP1Only") => &[HTTP_1],
            Some("HTTP2Only") => &[HTTP_2],
            Some("HTTP2Optional") => &[HTTP_1, HTTP_2],
            Some("HTTP2Preferred") => &[HTTP_2, HTTP_1],
            _ => &[],
        },
        _ => return Ok(None),
    };
    let alpn = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    tls::server(listener, alpn).map(|config| Some(Arc::new(config)))
}
