//! From one state to the next: what is new is started, what is gone is ended, what stayed is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::drain::Draining;
use super::group::Group;
use super::health::{self, Checking};
use super::listen::{Bound, Open, Tools};
use super::live::Live;
use super::service::{self, Service};
use super::settings::{GroupSettings, ListenerSettings};
use super::tls::{self, Written};
use super::{Drained, clock};
use crate::model::{
    Action, Arn, HealthReason, HealthState, Kind, Listener, State, Target, TargetGroup, TargetHealth,
    TargetKey,
};

/// What is done, and what it takes to do more.
pub(super) struct Plan {
    tools: Arc<Tools>,
    control: Handle,
    drained: mpsc::Sender<Drained>,
    state: Arc<State>,
    /// Bound ahead of the state that has them.
    bound: BTreeMap<Arn, Bound>,
    doors: BTreeMap<Arn, OpenListener>,
    groups: BTreeMap<Arn, Served>,
    /// Listeners that could not be opened yet.
    waiting: BTreeSet<Arn>,
    ending: bool,
}

struct OpenListener {
    open: Open,
    listener: Arc<Listener>,
    written: Written,
}

/// A group that a listener uses, or of which something drains.
struct Served {
    group: Arc<Group>,
    kind: Kind,
    in_use: bool,
    targets: BTreeMap<TargetKey, Member>,
}

struct Member {
    live: Arc<Live>,
    checking: Option<Checking>,
    draining: Option<Draining>,
}

impl Plan {
    pub(super) fn new(tools: Arc<Tools>, control: Handle, drained: mpsc::Sender<Drained>) -> Self {
        Self {
            tools,
            control,
            drained,
            state: Arc::default(),
            bound: BTreeMap::new(),
            doors: BTreeMap::new(),
            groups: BTreeMap::new(),
            waiting: BTreeSet::new(),
            ending: false,
        }
    }

    pub(super) fn open(&mut self, listener: &Listener) -> io::Result<()> {
        service::tls(listener, true)?;
        let is_open = self.doors.get(&listener.arn).is_some_and(|door| door.open.is_for(listener));
        let is_bound = self.bound.get(&listener.arn).is_some_and(|bound| bound.is_for(listener));
        if !is_open && !is_bound {
            let bound = Bound::to(listener.address, listener.protocol)?;
            self.bound.insert(listener.arn.clone(), bound);
        }
        Ok(())
    }

    pub(super) fn follow(&mut self, state: Arc<State>) {
        let old = std::mem::replace(&mut self.state, state);
        let state = self.state.clone();
        self.follow_groups(&old, &state);
        self.doors.retain(|arn, _| state.listeners.contains_key(arn));
        self.waiting.clear();
        for listener in state.listeners.values() {
            self.follow_listener(&old, listener);
        }
        self.bound.clear();
        // Last, so that no listener's rules name a group that is gone.
        self.groups.retain(|arn, _| state.target_groups.contains_key(arn));
    }

    fn follow_groups(&mut self, old: &State, state: &State) {
        let mut kinds = BTreeMap::new();
        for listener in state.listeners.values() {
            let kind =
                state.load_balancers.get(&listener.load_balancer).map_or(Kind::Application, |lb| lb.kind);
            for arn in listener.actions().flat_map(Action::groups) {
                kinds.insert(arn, kind);
            }
        }
        for (arn, spec) in &state.target_groups {
            let used_by = kinds.get(arn).copied();
            let unchanged = old.target_groups.get(arn).is_some_and(|before| Arc::ptr_eq(before, spec));
            let known = self.groups.get(arn);
            if unchanged && known.is_some_and(|served| served.is_by(used_by)) {
                continue;
            }
            let kind = used_by.or(known.map(|served| served.kind)).unwrap_or_else(|| kind_of(spec));
            self.follow_group(spec, kind, used_by.is_some());
        }
    }

    fn follow_group(&mut self, spec: &Arc<TargetGroup>, kind: Kind, in_use: bool) {
        let settings = GroupSettings::of(spec, kind);
        let mut targets = match self.groups.remove(&spec.arn) {
            Some(served) => (Some(served.group), served.targets),
            None => (None, BTreeMap::new()),
        };
        let before = std::mem::take(&mut targets.1);
        let members = members(spec, before);
        let usable = |member: &&Member| !member.live.is_draining();
        let lives: Vec<_> = members.values().filter(usable).map(|member| member.live.clone()).collect();
        let plan = health::Plan::of(spec, kind, settings.proxy_protocol);
        let group = match targets.0 {
            Some(group) => {
                group.replace(spec.clone(), settings.clone(), lives);
                group
            }
            None => Arc::new(Group::new(spec.clone(), settings.clone(), lives)),
        };
        let mut served = Served { group, kind, in_use, targets: members };
        self.follow_members(&mut served, spec, &settings, &plan);
        self.groups.insert(spec.arn.clone(), served);
    }

    /// Checks those that are to be checked, and waits for those that drain.
    fn follow_members(
        &self,
        served: &mut Served,
        spec: &TargetGroup,
        settings: &GroupSettings,
        plan: &health::Plan,
    ) {
        for (key, target) in &spec.targets {
            let Some(member) = served.targets.get_mut(key) else { continue };
            if let Some(since) = target.draining_since {
                member.checking = None;
                if member.draining.is_none() {
                    member.draining = Some(Draining::start(
                        spec.arn.clone(),
                        member.live.clone(),
                        since,
                        settings.deregistration_delay,
                        settings.terminate_deregistered,
                        self.drained.clone(),
                        &self.control,
                    ));
                }
                continue;
            }
            member.draining = None;
            let checked = served.in_use && spec.health_check.enabled;
            if !checked {
                member.checking = None;
            } else if member.checking.as_ref().is_none_or(|checking| !checking.is_by(plan)) {
                let (group, live) = (served.group.clone(), member.live.clone());
                let tls = self.tools.to_targets.tls.clone();
                member.checking = Some(Checking::start(plan.clone(), group, live, tls, &self.control));
            }
        }
    }

    fn follow_listener(&mut self, old: &State, listener: &Arc<Listener>) {
        let unchanged = self.doors.get(&listener.arn).is_some_and(|door| {
            let balancer = |state: &State| state.load_balancers.get(&listener.load_balancer).cloned();
            Arc::ptr_eq(&door.listener, listener) && balancer(old) == balancer(&self.state)
        });
        if !unchanged && let Err(error) = self.serve(listener) {
            tracing::warn!(%error, listener = %listener.arn, address = %listener.address, "a listener is not open yet");
            self.waiting.insert(listener.arn.clone());
        }
    }

    /// Has the listener's sockets do what it says; opens them when they are not.
    fn serve(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        let arn = &listener.arn;
        let written = tls::written(listener);
        let service = self.service(listener)?;
        if let Some(door) = self.doors.get_mut(arn).filter(|door| door.open.is_for(listener)) {
            door.open.door.replace(service);
            (door.listener, door.written) = (listener.clone(), written);
            return Ok(());
        }
        if self.ending {
            return Ok(());
        }
        // What it was is closed first: the new address may be the same with another protocol.
        let bound = self.bound.remove(arn).filter(|bound| bound.is_for(listener));
        self.doors.remove(arn);
        let bound = match bound {
            Some(bound) => bound,
            None => Bound::to(listener.address, listener.protocol)?,
        };
        let open = bound.open(service, &self.tools, &self.control)?;
        self.doors.insert(arn.clone(), OpenListener { open, listener: listener.clone(), written });
        Ok(())
    }

    fn service(&self, listener: &Arc<Listener>) -> io::Result<Service> {
        let Some(balancer) = self.state.load_balancers.get(&listener.load_balancer) else {
            return Err(io::Error::other("its load balancer is not known"));
        };
        let tls = service::tls(listener, ListenerSettings::of(balancer, listener).http2)?;
        let group = |arn: &Arn| Some(self.groups.get(arn)?.group.clone());
        Ok(Service::new(listener.clone(), balancer, tls, group))
    }

    /// Tries again to open what could not be opened.
    pub(super) fn retry(&mut self) {
        for arn in std::mem::take(&mut self.waiting) {
            let Some(listener) = self.state.listeners.get(&arn).cloned() else { continue };
            match self.serve(&listener) {
                Ok(()) => {
                    tracing::info!(listener = %arn, address = %listener.address, "a listener is open now");
                }
                Err(_) => {
                    self.waiting.insert(arn);
                }
            }
        }
    }

    /// Lets go of connections to targets that nobody needed for long.
    pub(super) fn sweep(&self) {
        let now = clock::now();
        for member in self.groups.values().flat_map(|served| served.targets.values()) {
            for lane in 0..member.live.pools.len() {
                member.live.pool(lane).sweep(now);
            }
        }
    }

    /// Takes up certificates whose files were written anew. Files that make no sense change nothing.
    pub(super) fn reread_certificates(&mut self) {
        let changed = self.doors.values().filter(|door| tls::written(&door.listener) != door.written);
        let changed: Vec<_> = changed.map(|door| door.listener.clone()).collect();
        for listener in changed {
            if let Err(error) = self.serve(&listener) {
                tracing::warn!(%error, listener = %listener.arn, "new certificates could not be read");
            }
        }
    }

    pub(super) fn health(&self, group: &TargetGroup, target: &TargetKey) -> TargetHealth {
        let Some(served) = self.groups.get(&group.arn).filter(|served| served.in_use) else {
            let why = "Target group is not configured to receive traffic from the load balancer";
            return super::health(HealthState::Unused, HealthReason::NotInUse, why);
        };
        if !group.health_check.enabled {
            let why = "Health checks are disabled for this target group";
            return super::health(HealthState::Unavailable, HealthReason::HealthCheckDisabled, why);
        }
        if let Some(member) = served.targets.get(target) {
            return member.live.machine().health(served.kind);
        }
        let why = "Target registration is in progress";
        super::health(HealthState::Initial, HealthReason::RegistrationInProgress, why)
    }

    /// Takes no more connections.
    pub(super) fn end(&mut self) {
        self.ending = true;
        for door in self.doors.values() {
            door.open.end();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bound.clear();
        self.doors.clear();
        self.groups.clear();
    }

    #[cfg(test)]
    pub(super) fn local(&self, listener: &str) -> Option<SocketAddr> {
        Some(self.doors.get(listener)?.open.door.local)
    }
}

impl Served {
    fn is_by(&self, used_by: Option<Kind>) -> bool {
        self.in_use == used_by.is_some() && used_by.is_none_or(|kind| kind == self.kind)
    }
}

/// Of a group that no listener uses.
fn kind_of(group: &TargetGroup) -> Kind {
    use crate::model::GroupProtocol::{Http, Https, Tcp, TcpUdp, Tls, Udp};
    match group.protocol {
        Http | Https => Kind::Application,
        Tcp | Tls | Udp | TcpUdp => Kind::Network,
    }
}

/// The targets of a group: those that were there before stay what they are.
fn members(spec: &TargetGroup, mut before: BTreeMap<TargetKey, Member>) -> BTreeMap<TargetKey, Member> {
    let member = |(key, target): (&TargetKey, &Target)| {
        let address = SocketAddr::new(target.address, key.port);
        let known = before.remove(key).filter(|member| member.live.address == address);
        let member = known.unwrap_or_else(|| Member {
            live: Arc::new(Live::new(&spec.arn, key, address)),
            checking: None,
            draining: None,
        });
        let draining = target.draining_since.is_some();
        if draining != member.live.is_draining() {
            member.live.set_draining(draining);
        }
        (key.clone(), member)
    };
    spec.targets.iter().map(member).collect()
}
