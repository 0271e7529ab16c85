//! An engine in memory that does what it is told, and fails on command.
//!
//! It keeps no time and starts no thread: containers change only by calls and by what a test makes happen
//! ([`FakeRuntime::exit`], [`FakeRuntime::vanish`], [`FakeRuntime::health`]). Like the real engine it outlives the
//! agent: clones share it, and an agent that is made anew finds the containers as they were.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecsr_api::Timestamp;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast;

use super::{
    CreateRequest, Death, EngineInfo, Event, EventKind, ImageInfo, Listed, PullRequest, Runtime,
    RuntimeError, Usage, VolumeRequest,
};
use crate::engine::{BoundPorts, Exit, Health, NetworkBinding, RunState, Snapshot};

/// Events that a subscriber may be behind; a slower one loses its stream, as with the real engine.
const EVENTS_MAX: usize = 4096;
/// The first host port that the fake hands out.
const FIRST_PORT: u16 = 32768;

/// The operations that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`Runtime::ping`].
    Ping,
    /// [`Runtime::list`].
    List,
    /// [`Runtime::inspect`] and [`Runtime::labels`].
    Inspect,
    /// [`Runtime::create`].
    Create,
    /// [`Runtime::start`].
    Start,
    /// [`Runtime::stop`].
    Stop,
    /// [`Runtime::remove`].
    Remove,
    /// [`Runtime::image`].
    Image,
    /// [`Runtime::pull`].
    Pull,
    /// Everything about volumes.
    Volume,
}

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It has no effect.
    Before(RuntimeError),
    /// It has its effect, and the answer is lost.
    After(RuntimeError),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct FakeRuntime {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<Event>,
}

#[derive(Debug, Default)]
struct State {
    /// The fake's clock: one millisecond per change, so that moments differ.
    clock: i64,
    containers: BTreeMap<String, Container>,
    images: BTreeMap<String, ImageInfo>,
    /// Images that a pull can get.
    registry: BTreeSet<String>,
    volumes: BTreeSet<String>,
    failures: BTreeMap<Call, VecDeque<Failure>>,
    calls: BTreeMap<Call, usize>,
    next_id: u64,
    next_port: u16,
    /// Containers that ignore the stop signal and SIGKILL alike.
    stubborn: BTreeSet<String>,
    removals_refused: bool,
}

#[derive(Debug, Clone)]
struct Container {
    name: String,
    labels: BTreeMap<String, String>,
    created_at: Timestamp,
    ports: Vec<(u16, Option<u16>, String)>,
    state: RunState,
    health: Option<Health>,
    bindings: Vec<NetworkBinding>,
    starts: usize,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        let state = State { next_port: FIRST_PORT, ..State::default() };
        FakeRuntime { state: Arc::new(Mutex::new(state)), events: broadcast::channel(EVENTS_MAX).0 }
    }
}

impl FakeRuntime {
    /// An engine with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an image on the host, one that no registry knows.
    pub fn add_image(&self, reference: &str) {
        let info = ImageInfo { id: format!("sha256:{reference}"), digest: None, env: Vec::new() };
        self.lock().images.insert(reference.to_owned(), info);
    }

    /// Makes an image available to pulls.
    pub fn add_to_registry(&self, reference: &str) {
        self.lock().registry.insert(reference.to_owned());
    }

    /// The next call of this kind fails in this way; several are used up in order.
    pub fn fail_next(&self, call: Call, failure: Failure) {
        self.lock().failures.entry(call).or_default().push_back(failure);
    }

    /// Every attempt to remove a container is refused from now on.
    pub fn keep_containers(&self) {
        self.lock().removals_refused = true;
    }

    /// Nothing is to fail any more.
    pub fn forget_failures(&self) {
        self.lock().failures.clear();
    }

    /// Resolves when the last container has been removed.
    pub async fn emptied(&self) {
        let mut events = self.events.subscribe();
        while !self.lock().containers.is_empty() {
            // A subscriber that fell behind looks again all the same.
            let _ = events.recv().await;
        }
    }

    /// The container never stops when asked to.
    pub fn make_stubborn(&self, name: &str) {
        self.lock().stubborn.insert(name.to_owned());
    }

    /// The container can be stopped again.
    pub fn make_obedient(&self, name: &str) {
        self.lock().stubborn.remove(name);
    }

    /// The container's process ends. True if one ran by that name or id.
    pub fn exit(&self, container: &str, exit_code: i64) -> bool {
        let mut state = self.lock();
        let finished_at = state.tick();
        let Some((id, found)) = state.find(container) else { return false };
        let RunState::Running { started_at } = found.state else { return false };
        found.state =
            RunState::Exited(Exit { started_at, finished_at, exit_code, oom_killed: false, error: None });
        self.emit(id, found.name.clone(), EventKind::Died(Some(Death { exit_code, at: finished_at })));
        true
    }

    /// Somebody removes the container by force. True if there was one.
    pub fn vanish(&self, container: &str) -> bool {
        let mut state = self.lock();
        let Some((id, found)) = state.find(container) else { return false };
        let name = found.name.clone();
        state.containers.remove(&id);
        self.emit(id, name, EventKind::Destroyed);
        true
    }

    /// The container's health check gives a verdict.
    pub fn health(&self, container: &str, health: Health) -> bool {
        let mut state = self.lock();
        let Some((id, found)) = state.find(container) else { return false };
        found.health = Some(health);
        self.emit(id, found.name.clone(), EventKind::Health(health));
        true
    }

    /// The names of the containers whose process lives.
    pub fn running(&self) -> Vec<String> {
        let state = self.lock();
        let running =
            state.containers.values().filter(|found| matches!(found.state, RunState::Running { .. }));
        running.map(|found| found.name.clone()).collect()
    }

    /// The names of all containers, with how often each was started.
    pub fn starts(&self) -> BTreeMap<String, usize> {
        self.lock().containers.values().map(|found| (found.name.clone(), found.starts)).collect()
    }

    /// How many calls of this kind were made.
    pub fn calls(&self, call: Call) -> usize {
        self.lock().calls.get(&call).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call with the failures that are in store for it.
    fn call<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut State) -> Result<T, RuntimeError>,
    ) -> Result<T, RuntimeError> {
        let mut state = self.lock();
        *state.calls.entry(call).or_default() += 1;
        match state.failures.get_mut(&call).and_then(VecDeque::pop_front) {
            Some(Failure::Before(error)) => Err(error),
            Some(Failure::After(error)) => act(&mut state).and(Err(error)),
            None => act(&mut state),
        }
    }

    fn emit(&self, id: String, name: String, kind: EventKind) {
        // Nobody listening is no error: the agent may be down.
        let _ = self.events.send(Event { id, name, kind });
    }
}

impl State {
    fn tick(&mut self) -> Timestamp {
        self.clock += 1;
        Timestamp::from_millis(self.clock)
    }

    fn find(&mut self, container: &str) -> Option<(String, &mut Container)> {
        let found =
            self.containers.iter_mut().find(|(id, found)| *id == container || found.name == container);
        found.map(|(id, found)| (id.clone(), found))
    }

    fn require(&mut self, container: &str) -> Result<(String, &mut Container), RuntimeError> {
        self.find(container).ok_or_else(|| RuntimeError::NotFound(format!("No such container: {container}")))
    }

    fn create(&mut self, request: CreateRequest) -> Result<String, RuntimeError> {
        let CreateRequest { name, body, .. } = request;
        if self.find(&name).is_some() {
            return Err(RuntimeError::Conflict(format!("The container name \"/{name}\" is already in use")));
        }
        let image = body.image.unwrap_or_default();
        if !self.images.contains_key(&image) {
            return Err(RuntimeError::NotFound(format!("No such image: {image}")));
        }
        self.next_id += 1;
        let id = format!("{:064x}", self.next_id);
        let created_at = self.tick();
        let container = Container {
            name,
            labels: body.labels.unwrap_or_default().into_iter().collect(),
            created_at,
            ports: wanted_ports(body.host_config),
            state: RunState::Created,
            health: body.healthcheck.map(|_| Health::Unknown),
            bindings: Vec::new(),
            starts: 0,
        };
        self.containers.insert(id.clone(), container);
        Ok(id)
    }

    /// True if it was not running before.
    fn start(&mut self, container: &str) -> Result<Option<(String, String)>, RuntimeError> {
        let started_at = self.tick();
        let taken: BTreeSet<u16> = self
            .containers
            .values()
            .filter(|found| matches!(found.state, RunState::Running { .. }))
            .flat_map(|found| found.bindings.iter().filter_map(host_port))
            .collect();
        let mut next_port = self.next_port;
        let (id, found) = self.require(container)?;
        if matches!(found.state, RunState::Running { .. }) {
            return Ok(None);
        }
        let mut bindings = Vec::new();
        for (inner, host, protocol) in &found.ports {
            let host = host.unwrap_or_else(|| {
                while taken.contains(&next_port) {
                    next_port += 1;
                }
                next_port += 1;
                next_port - 1
            });
            if taken.contains(&host) {
                let message = format!(
                    "driver failed programming external connectivity: port is already allocated: {host}"
                );
                return Err(RuntimeError::Refused { status: 500, message });
            }
            let ports = BoundPorts::Single { container: *inner, host };
            bindings.push(NetworkBinding {
                bind_ip: "0.0.0.0".to_owned(),
                ports,
                protocol: protocol.clone(),
            });
        }
        found.bindings = bindings;
        found.state = RunState::Running { started_at };
        found.starts += 1;
        let told = (id, found.name.clone());
        self.next_port = next_port;
        Ok(Some(told))
    }
}

fn host_port(binding: &NetworkBinding) -> Option<u16> {
    match binding.ports {
        BoundPorts::Single { host, .. } => Some(host),
        BoundPorts::Range { .. } => None,
    }
}

fn wanted_ports(host: Option<bollard::models::HostConfig>) -> Vec<(u16, Option<u16>, String)> {
    let mut wanted = Vec::new();
    for (port, rows) in host.and_then(|host| host.port_bindings).unwrap_or_default() {
        let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
        for row in rows.unwrap_or_default() {
            let host = row.host_port.and_then(|host| host.parse().ok()).filter(|host| *host > 0);
            wanted.extend(number.parse().ok().map(|number| (number, host, protocol.to_owned())));
        }
    }
    wanted.sort();
    wanted
}

impl Runtime for FakeRuntime {
    async fn ping(&self) -> Result<EngineInfo, RuntimeError> {
        self.call(Call::Ping, |_| {
            Ok(EngineInfo {
                version: "20.10.24".to_owned(),
                api_version: "1.41".to_owned(),
                volume_drivers: vec!["local".to_owned()],
                log_drivers: vec!["json-file".to_owned()],
            })
        })
    }

    async fn list(&self, label: &str) -> Result<Vec<Listed>, RuntimeError> {
        self.call(Call::List, |state| {
            let labelled = state.containers.iter().filter(|(_, found)| found.labels.contains_key(label));
            let listed = labelled.map(|(id, found)| Listed {
                id: id.clone(),
                labels: found.labels.clone(),
                created_at: found.created_at,
            });
            Ok(listed.collect())
        })
    }

    async fn inspect(&self, id: &str) -> Result<Snapshot, RuntimeError> {
        self.call(Call::Inspect, |state| {
            let (id, found) = state.require(id)?;
            let bindings = match found.state {
                RunState::Running { .. } => found.bindings.clone(),
                RunState::Created | RunState::Exited(_) => Vec::new(),
            };
            Ok(Snapshot { id, state: found.state.clone(), health: found.health, bindings })
        })
    }

    async fn labels(&self, id: &str) -> Result<BTreeMap<String, String>, RuntimeError> {
        self.call(Call::Inspect, |state| state.require(id).map(|(_, found)| found.labels.clone()))
    }

    async fn create(&self, request: CreateRequest) -> Result<String, RuntimeError> {
        self.call(Call::Create, |state| state.create(request))
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        self.call(Call::Start, |state| {
            if let Some((id, name)) = state.start(id)? {
                self.emit(id, name, EventKind::Started);
            }
            Ok(())
        })
    }

    async fn stop(&self, id: &str, _grace: Duration) -> Result<(), RuntimeError> {
        self.call(Call::Stop, |state| {
            let finished_at = state.tick();
            let stubborn = state.stubborn.clone();
            let Some((id, found)) = state.find(id) else { return Ok(()) };
            let RunState::Running { started_at } = found.state else { return Ok(()) };
            if stubborn.contains(&found.name) {
                return Err(RuntimeError::Refused {
                    status: 500,
                    message: "cannot kill container".to_owned(),
                });
            }
            let exit = Exit { started_at, finished_at, exit_code: 143, oom_killed: false, error: None };
            found.state = RunState::Exited(exit);
            let death = Death { exit_code: 143, at: finished_at };
            self.emit(id, found.name.clone(), EventKind::Died(Some(death)));
            Ok(())
        })
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        self.call(Call::Remove, |state| {
            let is_refused = state.removals_refused;
            let Some((id, found)) = state.find(id) else { return Ok(()) };
            if is_refused || matches!(found.state, RunState::Running { .. }) {
                return Err(RuntimeError::Conflict("You cannot remove a running container".to_owned()));
            }
            let name = found.name.clone();
            state.containers.remove(&id);
            self.emit(id, name, EventKind::Destroyed);
            Ok(())
        })
    }

    async fn image(&self, reference: &str) -> Result<ImageInfo, RuntimeError> {
        self.call(Call::Image, |state| {
            let found = state.images.get(reference).cloned();
            found.ok_or_else(|| RuntimeError::NotFound(format!("No such image: {reference}")))
        })
    }

    async fn pull(&self, request: PullRequest) -> Result<(), RuntimeError> {
        let reference = request.reference;
        self.call(Call::Pull, |state| {
            if !state.registry.contains(&reference) {
                return Err(RuntimeError::NotFound(format!(
                    "manifest for {reference} not found: manifest unknown"
                )));
            }
            let digest = Some(format!("sha256:{reference}"));
            let info = ImageInfo { id: format!("sha256:id-{reference}"), digest, env: Vec::new() };
            state.images.insert(reference, info);
            Ok(())
        })
    }

    async fn remove_image(&self, reference: &str) -> Result<(), RuntimeError> {
        self.call(Call::Image, |state| {
            state.images.remove(reference);
            Ok(())
        })
    }

    async fn create_volume(&self, request: VolumeRequest) -> Result<(), RuntimeError> {
        self.call(Call::Volume, |state| {
            state.volumes.insert(request.name);
            Ok(())
        })
    }

    async fn has_volume(&self, name: &str) -> Result<bool, RuntimeError> {
        self.call(Call::Volume, |state| Ok(state.volumes.contains(name)))
    }

    async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError> {
        self.call(Call::Volume, |state| {
            state.volumes.remove(name);
            Ok(())
        })
    }

    fn events(&self, _label: &str) -> BoxStream<'static, Result<Event, RuntimeError>> {
        let receiver = self.events.subscribe();
        stream::unfold(receiver, |mut receiver| async {
            match receiver.recv().await {
                Ok(event) => Some((Ok(event), receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    Some((Err(RuntimeError::Unavailable("the subscriber is too slow".to_owned())), receiver))
                }
                Err(broadcast::error::RecvError::Closed) => None,
            }
        })
        .boxed()
    }

    async fn stats(&self, id: &str) -> Result<Usage, RuntimeError> {
        let mut state = self.lock();
        let at = state.tick();
        state.require(id).map(|_| Usage { at, cores: 1, ..Usage::default() })
    }
}
