//! A host: its power, its disk, its containers and the agent on it, each of which can fail by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecsr_agent::runtime::{Event, RuntimeError};
use ecsr_agent::{Config, Disk, Host, Ledger};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::chance::Chance;
use crate::container::Container;
use crate::engine::DockerEngine;
use crate::uplink::Wire;
use crate::world::World;

/// CPU units and MiB of the hosts there are.
const SIZES: [(u32, u32); 3] = [(1024, 1024), (2048, 2048), (4096, 4096)];
const ZONES: [&str; 3] = ["a", "b", "c"];

/// How long a write to the agent's disk takes.
const SYNC: Duration = Duration::from_millis(3);

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) index: usize,
    pub(crate) cpu: u32,
    pub(crate) memory: u32,
    pub(crate) zone: &'static str,
    inner: Mutex<Inner>,
}

/// What changes of a host.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) is_on: bool,
    /// Counts power-ons: what was under way when the power went does not go on.
    pub(crate) boot: u64,
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) images: BTreeSet<String>,
    pub(crate) is_engine_away: bool,
    pub(crate) subscribers: Vec<mpsc::UnboundedSender<Result<Event, RuntimeError>>>,
    pub(crate) next_id: u64,
    pub(crate) next_port: u16,
    agent: Option<JoinHandle<()>>,
    ledger: Option<Vec<u8>>,
    is_disk_full: bool,
}

impl Machine {
    pub(crate) fn new(index: usize, chance: &Chance) -> Self {
        let (cpu, memory) = *chance.pick(&SIZES);
        let inner = Inner {
            is_on: true,
            boot: 1,
            containers: BTreeMap::new(),
            images: BTreeSet::new(),
            is_engine_away: false,
            subscribers: Vec::new(),
            next_id: 0,
            next_port: 32768,
            agent: None,
            ledger: None,
            is_disk_full: false,
        };
        Self { index, cpu, memory, zone: ZONES[index % ZONES.len()], inner: Mutex::new(inner) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an agent runs here. One that ended by itself is as dead as one that was killed.
    pub(crate) fn has_agent(&self) -> bool {
        self.lock().agent.as_ref().is_some_and(|agent| !agent.is_finished())
    }

    /// Starts an agent, if the host is on and has none.
    pub(crate) fn start_agent(&self, world: &Arc<World>) {
        if !self.lock().is_on || self.has_agent() {
            return;
        }
        world.trace.note(format!("host {}", self.index), format_args!("agent starts"));
        let host = Host {
            config: Arc::new(config(self)),
            runtime: DockerEngine::new(world, self.index),
            uplink: Wire::new(world, self.index),
            ledger: Ledger::over(AgentDisk { world: world.clone(), host: self.index }),
        };
        self.lock().agent = Some(tokio::spawn(ecsr_agent::serve(host)));
    }

    /// Kills the agent, at whatever it waits for.
    pub(crate) fn kill_agent(&self) {
        if let Some(agent) = self.lock().agent.take() {
            agent.abort();
        }
    }

    /// The data directory is gone.
    pub(crate) fn lose_disk(&self, world: &World) {
        self.lock().ledger = None;
        world.law.disk_lost(world, self.index);
    }

    pub(crate) fn set_disk_full(&self, is_full: bool) {
        self.lock().is_disk_full = is_full;
    }

    /// The power goes: agent, engine and processes with it. Containers and disk stay.
    pub(crate) fn power_off(&self, world: &World) {
        self.kill_agent();
        let now = world.now();
        let mut inner = self.lock();
        inner.is_on = false;
        inner.boot += 1;
        inner.subscribers.clear();
        world.law.lost_power(inner.containers.values());
        for container in inner.containers.values_mut() {
            container.lose_power(now);
        }
    }

    /// Nothing is left of what was on the host.
    pub(crate) fn wipe(&self) {
        let mut inner = self.lock();
        inner.containers.clear();
        inner.images.clear();
        inner.ledger = None;
    }

    pub(crate) fn power_on(&self) {
        let mut inner = self.lock();
        inner.is_on = true;
        inner.is_engine_away = false;
    }
}

fn config(machine: &Machine) -> Config {
    let (data_dir, zone) = (format!("/data/{}", machine.index), machine.zone.to_owned());
    let settings = BTreeMap::from([
        ("ECS_CLUSTER", "default".to_owned()),
        ("ECS_DATADIR", data_dir),
        ("ECSR_AVAILABILITY_ZONE", zone),
        ("ECS_IMAGE_PULL_BEHAVIOR", "prefer-cached".to_owned()),
        ("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "1m".to_owned()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
    ]);
    Config::from_env(|name| settings.get(name).cloned()).expect("the settings are in order")
}

/// The agent's file.
#[derive(Clone)]
struct AgentDisk {
    world: Arc<World>,
    host: usize,
}

impl std::fmt::Debug for AgentDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentDisk").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Disk for AgentDisk {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.world.machines[self.host].lock().ledger.clone())
    }

    fn replace(&self, bytes: Vec<u8>) -> BoxFuture<'static, io::Result<()>> {
        let disk = self.clone();
        async move {
            tokio::time::sleep(disk.world.chance.latency(SYNC)).await;
            let mut inner = disk.world.machines[disk.host].lock();
            if inner.is_disk_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            inner.ledger = Some(bytes);
            Ok(())
        }
        .boxed()
    }

    fn set_aside(&self) {
        self.world.trace.broken(format!("the ledger of host {} cannot be read", self.host));
    }
}
