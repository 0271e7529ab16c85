//! A container engine in virtual time: the agent's [`Runtime`], slow, interrupted and honest.
//!
//! What an agent asked for happens even if the agent dies meanwhile, as with a real daemon. What the engine says may
//! get lost on the way back. Each start, stop and removal is shown to the law as it happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ecsr_agent::engine::Snapshot;
use ecsr_agent::runtime::{
    CreateRequest, Death, EngineInfo, Event, EventKind, ImageInfo, Listed, PullRequest, Runtime,
    RuntimeError, Usage, VolumeRequest,
};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};

use crate::container::{Container, KILLED, TERMINATED, Temper};
use crate::law::Law;
use crate::machine::{Inner, Machine};
use crate::trace::Fault;
use crate::world::{Party, World};

/// How long the daemon typically takes for half of a call.
const HALF_CALL: Duration = Duration::from_millis(10);
const PULL: Duration = Duration::from_millis(500);
/// How long a process takes to end when it is told to.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// One of so many answers of the daemon is lost in bad weather.
const ANSWER_LOST_ONE_IN: u64 = 150;
/// One of so many stops fails in bad weather.
const STOP_FAILS_ONE_IN: u64 = 30;

/// The engine of one host.
#[derive(Clone)]
pub(crate) struct DockerEngine {
    world: Arc<World>,
    host: usize,
}

impl DockerEngine {
    pub(crate) fn new(world: &Arc<World>, host: usize) -> Self {
        Self { world: world.clone(), host }
    }

    fn machine(&self) -> &Machine {
        &self.world.machines[self.host]
    }

    fn party(&self) -> Party {
        Party::Host(self.host)
    }

    /// Runs a call: it takes time, it happens whether or not the caller still lives, and its answer may be lost.
    async fn call<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RuntimeError>> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let boot = {
            let inner = self.machine().lock();
            if inner.is_engine_away || !inner.is_on {
                return Err(away());
            }
            inner.boot
        };
        let (reply, answer) = oneshot::channel();
        let engine = self.clone();
        self.world.spawn(async move {
            tokio::time::sleep(engine.world.chance.latency(HALF_CALL)).await;
            if engine.machine().lock().boot == boot {
                // The caller may be gone.
                let _ = reply.send(work.await);
            }
        });
        let answer = answer.await.unwrap_or_else(|_| Err(away()));
        tokio::time::sleep(self.world.chance.latency(HALF_CALL)).await;
        if self.world.is_stormy() && self.world.chance.one_in(ANSWER_LOST_ONE_IN) {
            self.world.trace.fault(Fault::EngineAnswerLost, self.party());
            return Err(away());
        }
        answer
    }

    /// A call that is over at once.
    async fn quick<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Self, &mut Inner) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let engine = self.clone();
        self.call(async move {
            let mut inner = engine.machine().lock();
            act(&engine, &mut inner)
        })
        .await
    }

    /// Starts a container's process; true if none ran.
    fn begin(&self, inner: &mut Inner, id: &str) -> Result<(), RuntimeError> {
        let taken: Vec<(u16, String)> = inner
            .containers
            .values()
            .filter(|other| other.id != id)
            .flat_map(|other| other.host_ports().map(|port| (port, other.task_arn().to_owned())))
            .collect();
        let mut next_port = inner.next_port;
        let found = require(inner, id)?;
        if found.is_running() {
            return Ok(());
        }
        if found.temper == Temper::Unstartable {
            self.world.trace.fault(Fault::CannotStart, self.party());
            self.world.law.ended(found);
            return Err(refused("OCI runtime create failed: exec format error"));
        }
        for port in found.fixed_ports() {
            if let Some((_, holder)) = taken.iter().find(|(used, _)| *used == port) {
                self.world.law.ended(found);
                Law::port_conflict(&self.world, self.host, port, holder, found.task_arn());
                return Err(refused(&format!("port is already allocated: {port}")));
            }
        }
        let mut dynamic = || {
            while taken.iter().any(|(used, _)| *used == next_port) {
                next_port += 1;
            }
            next_port += 1;
            next_port - 1
        };
        found.start(self.world.now(), &mut dynamic);
        let (found, event) = (found.clone(), found.event(EventKind::Started));
        inner.next_port = if next_port > 60_000 { 32_768 } else { next_port };
        self.world.trace.note(self.party(), format_args!("{} runs", found.name));
        self.world.law.started(&self.world, self.host, &found);
        self.plan_end(&found);
        tell(inner, &event);
        Ok(())
    }

    /// Lets the process end by itself when its time has come.
    fn plan_end(&self, container: &Container) {
        let Some((after, code)) = container.temper.end(&self.world.chance) else { return };
        let (engine, id, run) = (self.clone(), container.id.clone(), container.run);
        self.world.spawn(async move {
            tokio::time::sleep(after).await;
            let mut inner = engine.machine().lock();
            let is_same =
                inner.containers.get(&id).is_some_and(|found| found.run == run && found.is_running());
            if is_same {
                engine.world.trace.fault(Fault::ContainerExited, engine.party());
                engine.end(&mut inner, &id, code);
            }
        });
    }

    /// A process ends.
    pub(crate) fn end(&self, inner: &mut Inner, id: &str, code: i64) {
        let now = self.world.now();
        let Some(found) = inner.containers.get_mut(id) else { return };
        if !found.exit(code, now) {
            return;
        }
        self.world.trace.note(self.party(), format_args!("{} ended with {code}", found.name));
        self.world.law.ended(found);
        let event = found.event(EventKind::Died(Some(Death { exit_code: code, at: now })));
        tell(inner, &event);
    }

    /// Somebody removes a container by force.
    pub(crate) fn vanish(&self, id: &str) {
        let mut inner = self.machine().lock();
        self.end(&mut inner, id, KILLED);
        if let Some(gone) = inner.containers.remove(id) {
            self.world.law.removed_by_force(&gone);
            tell(&mut inner, &gone.event(EventKind::Destroyed));
        }
    }

    async fn halt(self, id: String, grace: Duration) -> Result<(), RuntimeError> {
        let (wait, code, id, run) = {
            let mut inner = self.machine().lock();
            let Ok(found) = require(&mut inner, &id) else { return Ok(()) };
            if !found.is_running() {
                return Ok(());
            }
            self.world.trace.note(self.party(), format_args!("{} is told to stop", found.name));
            self.world.law.stopping(&self.world, self.host, found, grace);
            let fails = self.world.is_stormy() && self.world.chance.one_in(STOP_FAILS_ONE_IN);
            if found.is_immortal || fails {
                self.world.trace.fault(Fault::ContainerCannotStop, self.party());
                return Err(refused(
                    "cannot kill container: tried to kill container, but did not receive an exit event",
                ));
            }
            if found.temper == Temper::Stubborn {
                self.world.trace.fault(Fault::ContainerIgnoresStop, self.party());
                (grace, KILLED, found.id.clone(), found.run)
            } else {
                let wait = self.world.chance.latency(LAST_WORDS).min(grace);
                (wait, TERMINATED, found.id.clone(), found.run)
            }
        };
        let boot = self.machine().lock().boot;
        tokio::time::sleep(wait).await;
        let mut inner = self.machine().lock();
        if inner.boot != boot {
            return Err(away());
        }
        if inner.containers.get(&id).is_some_and(|found| found.run == run) {
            self.end(&mut inner, &id, code);
        }
        Ok(())
    }
}

fn away() -> RuntimeError {
    RuntimeError::Unavailable("connection refused".to_owned())
}

fn refused(message: &str) -> RuntimeError {
    RuntimeError::Refused { status: 500, message: message.to_owned() }
}

fn require<'a>(inner: &'a mut Inner, container: &str) -> Result<&'a mut Container, RuntimeError> {
    let found = inner.containers.values_mut().find(|found| found.id == container || found.name == container);
    found.ok_or_else(|| RuntimeError::NotFound(format!("No such container: {container}")))
}

fn tell(inner: &mut Inner, event: &Event) {
    inner.subscribers.retain(|subscriber| subscriber.send(Ok(event.clone())).is_ok());
}

impl Runtime for DockerEngine {
    async fn ping(&self) -> Result<EngineInfo, RuntimeError> {
        self.quick(|_, _| {
            Ok(EngineInfo {
                version: "20.10.24".to_owned(),
                api_version: "1.41".to_owned(),
                ..EngineInfo::default()
            })
        })
        .await
    }

    async fn list(&self, label: &str) -> Result<Vec<Listed>, RuntimeError> {
        let label = label.to_owned();
        self.quick(move |_, inner| {
            let labelled = inner.containers.values().filter(|found| found.labels.contains_key(&label));
            let listed = labelled.map(|found| Listed {
                id: found.id.clone(),
                labels: found.labels.clone(),
                created_at: found.created_at,
            });
            Ok(listed.collect())
        })
        .await
    }

    async fn inspect(&self, id: &str) -> Result<Snapshot, RuntimeError> {
        let id = id.to_owned();
        self.quick(move |_, inner| require(inner, &id).map(|found| found.snapshot())).await
    }

    async fn labels(&self, id: &str) -> Result<BTreeMap<String, String>, RuntimeError> {
        let id = id.to_owned();
        self.quick(move |_, inner| require(inner, &id).map(|found| found.labels.clone())).await
    }

    async fn create(&self, request: CreateRequest) -> Result<String, RuntimeError> {
        self.quick(move |engine, inner| {
            if require(inner, &request.name).is_ok() {
                let message = format!("The container name \"/{}\" is already in use", request.name);
                return Err(RuntimeError::Conflict(message));
            }
            inner.next_id += 1;
            let id = format!("{:08x}{:056x}", engine.host, inner.next_id);
            let container = Container::new(id.clone(), request, engine.world.now());
            inner.containers.insert(id.clone(), container);
            Ok(id)
        })
        .await
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        let id = id.to_owned();
        self.quick(move |engine, inner| {
            let id = require(inner, &id)?.id.clone();
            engine.begin(inner, &id)
        })
        .await
    }

    async fn stop(&self, id: &str, grace: Duration) -> Result<(), RuntimeError> {
        self.call(self.clone().halt(id.to_owned(), grace)).await
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let id = id.to_owned();
        self.quick(move |_, inner| {
            let Ok(found) = require(inner, &id) else { return Ok(()) };
            if found.is_running() {
                return Err(RuntimeError::Conflict("You cannot remove a running container".to_owned()));
            }
            let id = found.id.clone();
            if let Some(gone) = inner.containers.remove(&id) {
                tell(inner, &gone.event(EventKind::Destroyed));
            }
            Ok(())
        })
        .await
    }

    async fn image(&self, reference: &str) -> Result<ImageInfo, RuntimeError> {
        let reference = reference.to_owned();
        self.quick(move |_, inner| {
            if !inner.images.contains(&reference) {
                return Err(RuntimeError::NotFound(format!("No such image: {reference}")));
            }
            Ok(ImageInfo { id: format!("sha256:{reference}"), digest: None, env: Vec::new() })
        })
        .await
    }

    async fn pull(&self, request: PullRequest) -> Result<(), RuntimeError> {
        let engine = self.clone();
        self.call(async move {
            tokio::time::sleep(engine.world.chance.latency(PULL)).await;
            if Temper::of(&request.reference) == Temper::Unpullable {
                engine.world.trace.fault(Fault::CannotPull, engine.party());
                return Err(RuntimeError::NotFound("manifest unknown".to_owned()));
            }
            engine.machine().lock().images.insert(request.reference);
            Ok(())
        })
        .await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), RuntimeError> {
        let reference = reference.to_owned();
        self.quick(move |_, inner| {
            inner.images.remove(&reference);
            Ok(())
        })
        .await
    }

    async fn create_volume(&self, _request: VolumeRequest) -> Result<(), RuntimeError> {
        self.quick(|_, _| Ok(())).await
    }

    async fn has_volume(&self, _name: &str) -> Result<bool, RuntimeError> {
        self.quick(|_, _| Ok(true)).await
    }

    async fn remove_volume(&self, _name: &str) -> Result<(), RuntimeError> {
        self.quick(|_, _| Ok(())).await
    }

    fn events(&self, _label: &str) -> BoxStream<'static, Result<Event, RuntimeError>> {
        let (subscriber, events) = mpsc::unbounded_channel();
        self.machine().lock().subscribers.push(subscriber);
        let engine = self.clone();
        let next = move |mut events: mpsc::UnboundedReceiver<Result<Event, RuntimeError>>| {
            let engine = engine.clone();
            async move {
                let event = events.recv().await?;
                tokio::time::sleep(engine.world.chance.latency(HALF_CALL / 5)).await;
                Some((event, events))
            }
        };
        stream::unfold(events, next).boxed()
    }

    async fn stats(&self, _id: &str) -> Result<Usage, RuntimeError> {
        self.quick(|_, _| Ok(Usage::default())).await
    }
}
