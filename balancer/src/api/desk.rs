//! The one writer: changes are decided one after the other, each on what the one before it left.
//!
//! A change is decided on a copy, the sockets that it needs are bound, it is made durable, the data plane is told, and only
//! then it is answered. A change whose caller has gone is carried through all the same, so that what is durable is also
//! what is done.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use ecsr_api::Timestamp;
use ecsr_api::elbv2::{Error, ErrorCode};
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinError, spawn_blocking};

use super::check::unfit;
use super::draft::{Draft, Ids, Site};
use super::operations::{Call, Part, View, part};
use super::targets;
use crate::model::{Listener, State, TargetGroup, TargetKey};
use crate::plane::{Drained, Plane};
use crate::store::Store;

/// Most targets that are removed in one change: as many as a group can have.
const DRAINED_MAX: usize = super::limits::TARGETS_MAX;

/// Where requests are decided.
#[derive(Debug)]
pub(crate) struct Desk {
    state: RwLock<Arc<State>>,
    /// Held while a change is made.
    store: Arc<Mutex<Store>>,
    plane: Plane,
    site: Arc<Site>,
}

impl Desk {
    /// A desk over what the store holds.
    pub(crate) fn open(store: Store, state: State, plane: Plane, site: Site) -> Arc<Self> {
        let state = Arc::new(state);
        plane.follow(state.clone());
        let store = Arc::new(Mutex::new(store));
        Arc::new(Self { state: RwLock::new(state), store, plane, site: Arc::new(site) })
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers a request.
    pub(crate) async fn answer(self: &Arc<Self>, call: Call) -> Result<String, Error> {
        match part(call.operation)? {
            Part::Read(read) => {
                let health = |group: &TargetGroup, key: &TargetKey| self.plane.health(group, key);
                read(&call, &View { state: &self.state(), site: &self.site, health: &health })
            }
            Part::Change(change) => self.change(move |draft| change(&call, draft)).await,
        }
    }

    /// Lets the data plane end what is under way.
    pub(crate) async fn stop(&self) {
        self.plane.stop().await;
    }

    /// Removes targets as they have drained.
    pub(crate) async fn remove_drained(self: Arc<Self>, mut drained: mpsc::Receiver<Drained>) {
        let mut batch = Vec::new();
        while drained.recv_many(&mut batch, DRAINED_MAX).await > 0 {
            let done = std::mem::take(&mut batch);
            let removed = self.change(move |draft| {
                targets::remove_drained(draft, &done);
                Ok(())
            });
            if let Err(error) = removed.await {
                // They go on draining, which is what the next start finds them at.
                tracing::error!(%error, "targets that have drained could not be removed");
            }
        }
    }

    /// Makes a change, whether its caller waits for it or not.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut Draft<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let desk = self.clone();
        tokio::spawn(async move { desk.carry_through(decide).await }).await.map_err(broken)?
    }

    async fn carry_through<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Draft<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut store = self.store.clone().lock_owned().await;
        let (old, site) = (self.state(), self.site.clone());
        let draft_of = old.clone();
        let decided = spawn_blocking(move || {
            let seed = getrandom::u64().map_err(|error| failed(&error.to_string()))?;
            let now = Timestamp::from(SystemTime::now());
            let mut draft = Draft { state: (*draft_of).clone(), site: &site, now, ids: Ids::new(seed) };
            let answer = decide(&mut draft)?;
            Ok::<_, Error>((Arc::new(draft.state), answer))
        });
        let (new, answer) = decided.await.map_err(broken)??;
        if let Err(error) = self.open_sockets(&old, &new).await {
            self.plane.follow(old);
            return Err(error);
        }
        let (before, after) = (old.clone(), new.clone());
        let written = spawn_blocking(move || store.write(&before, &after)).await.map_err(broken)?;
        if let Err(error) = written {
            tracing::error!(error = &error as &dyn std::error::Error, "a change is not durable");
            self.plane.follow(old);
            return Err(failed("The request could not be written down. Try again later."));
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = new.clone();
        self.plane.follow(new);
        Ok(answer)
    }

    /// Binds what a change adds, so that a port which is taken refuses it.
    async fn open_sockets(&self, old: &State, new: &State) -> Result<(), Error> {
        let socket =
            |listener: &Listener| (listener.address, listener.protocol.is_tcp(), listener.protocol.is_udp());
        for (arn, listener) in &new.listeners {
            if old.listeners.get(arn).is_some_and(|known| socket(known) == socket(listener)) {
                continue;
            }
            let opened = self.plane.open(listener).await;
            opened.map_err(|error| unfit(format!("cannot listen on {}: {error}", listener.address)))?;
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a way to map an error")]
fn broken(error: JoinError) -> Error {
    tracing::error!(%error, "a change was not carried through");
    failed("The request could not be processed")
}

fn failed(message: &str) -> Error {
    Error::new(ErrorCode::InternalFailure, message)
}
