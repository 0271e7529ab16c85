//! An ACS session: a [`Conversation`] held over a WebSocket, with the writer and STS at its elbow.
//!
//! One step at a time: while a message is on its way to the agent or a command to the writer, nothing else of the
//! session happens. So an agent that reads slowly, or floods, holds up itself alone, and nothing piles up for it.
//!
//! Invariant: only the newest session of an instance marks it disconnected.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use ecsr_api::ecs;
use ecsr_core::command::Command;
use ecsr_core::ids::InstanceKey;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::conversation::{Announced, Conversation, Moment, Opening, Output};
use super::grants::{Assumed, Roles, Wish};
use super::hosts::Farewell;
use super::sessions::Session;
use super::wire::{self, End};
use crate::app::App;
use crate::driver::{Done, Failure, Subscription};

/// How often something is sent to a host elsewhere, so that the kernel notices when it is gone.
const PULSE_INTERVAL: Duration = Duration::from_secs(1);

/// How long after a disk that failed it is said again that an agent left.
const LEFT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Who opens a channel.
#[derive(Debug)]
pub(super) struct Joining {
    /// The key that opened it; it ends with the key.
    pub access_key_id: String,
    pub version_info: ecs::VersionInfo,
    /// Where the agent's host is, unless it is this very host.
    pub host: Option<IpAddr>,
}

/// Serves a channel until it ends.
pub(super) async fn serve(app: Arc<App>, socket: WebSocket, session: Session, joining: Joining) {
    let Joining { access_key_id, version_info, host } = joining;
    let key = session.key.clone();
    match host {
        Some(host) => app.hosts.joined(&key, host).await,
        None => app.hosts.joined_here(&app.driver, &key).await,
    }
    let version = version_info.agent_version.as_deref().unwrap_or("unknown");
    tracing::info!(cluster = %key.cluster, instance = %key.id, version, "an agent joined");
    let news = app.driver.subscribe(&key);
    let roles = if app.roles.are_available() { Roles::WithinReach } else { Roles::OutOfReach };
    let (number, seed) = (app.clock.number(), app.entropy.seed());
    let templates = app.templates.clone();
    let opening = Opening { instance: key.clone(), version_info, roles, templates, number, seed };
    let mut channel = Channel {
        app: &app,
        socket,
        session,
        access_key_id,
        host,
        pulse_at: Instant::now() + PULSE_INTERVAL,
        news,
        conversation: Conversation::new(opening),
        began: Instant::now(),
        announcement: None,
        asking: JoinSet::new(),
    };
    let end = channel.run().await;
    let Channel { socket, session, .. } = channel;
    tracing::info!(cluster = %key.cluster, instance = %key.id, reason = %end, "an agent left");
    if session.leave() && !matches!(end, End::Stopping) {
        say_left(&app, &key).await;
        if let Some(host) = host {
            app.hosts.left(&key, host, farewell(&end)).await;
        }
    }
    wire::close(socket, &end).await;
}

/// Has the state know that the agent left: again and again while the disk is full, as tasks would be placed where nobody
/// hears of them. A newer session says itself what is.
async fn say_left(app: &App, key: &InstanceKey) {
    while !app.sessions.has(key) {
        match app.driver.execute(Command::AgentDisconnected { instance: key.clone() }).await {
            Ok(_) | Err(Failure::Refused(_) | Failure::Stopping) => return,
            Err(Failure::NotDurable) => tokio::select! {
                () = tokio::time::sleep(LEFT_RETRY_AFTER) => {}
                // The next start marks all instances disconnected.
                () = app.stopped() => return,
            },
        }
    }
}

/// One session at work.
struct Channel<'a> {
    app: &'a App,
    socket: WebSocket,
    session: Session,
    /// The key that opened the channel; it ends with the key.
    access_key_id: String,
    host: Option<IpAddr>,
    /// When something is to be sent again.
    pulse_at: Instant,
    news: Subscription,
    conversation: Conversation,
    began: Instant,
    /// The outcome of an announcement that is waited for.
    announcement: Option<oneshot::Receiver<Result<Done, Failure>>>,
    /// Questions to STS.
    asking: JoinSet<Assumed>,
}

impl Channel<'_> {
    async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    /// Waits for the next thing that happens, and does all that comes of it.
    async fn step(&mut self) -> Result<(), End> {
        tokio::select! {
            received = self.socket.recv() => self.receive(received)?,
            news = self.news.next() => {
                let (state, at) = (self.app.driver.state(), self.moment());
                self.conversation.look(&state, &news, at)?;
            }
            announced = answered(&mut self.announcement) => {
                self.announcement = None;
                let (state, at) = (self.app.driver.state(), self.moment());
                self.conversation.announced(&state, announced, at)?;
            }
            // One that was aborted with its session has nobody to tell.
            Some(Ok(assumed)) = self.asking.join_next() => {
                let (state, at) = (self.app.driver.state(), self.moment());
                self.conversation.assumed(&state, assumed, at)?;
            }
            () = tokio::time::sleep_until(self.began + self.conversation.wake()) => self.beat()?,
            () = tokio::time::sleep_until(self.pulse_at), if self.host.is_some() => self.pulse().await?,
            () = self.session.superseded() => return Err(End::Superseded),
            () = self.app.stopped() => return Err(End::Stopping),
        }
        self.flush().await
    }

    fn beat(&mut self) -> Result<(), End> {
        if !self.app.authenticator.is_known(&self.access_key_id) {
            return Err(End::KeyDeleted);
        }
        let (state, at) = (self.app.driver.state(), self.moment());
        Ok(self.conversation.timer(&state, at)?)
    }

    async fn pulse(&mut self) -> Result<(), End> {
        self.pulse_at = Instant::now() + PULSE_INTERVAL;
        wire::pulse(&mut self.socket).await
    }

    fn receive(
        &mut self,
        received: Option<Result<axum::extract::ws::Message, axum::Error>>,
    ) -> Result<(), End> {
        let (text, at) = (wire::text(received)?, self.moment());
        match text {
            Some(text) => self.conversation.hear(&self.app.driver.state(), &text, at)?,
            None => self.conversation.heard(at),
        }
        Ok(())
    }

    /// Does what the conversation wants done.
    async fn flush(&mut self) -> Result<(), End> {
        while let Some(output) = self.conversation.next_output() {
            match output {
                Output::Send(message) => {
                    // What a deposed leader wants done is nobody's order any more.
                    if !self.app.authority.may_speak().await {
                        return Err(End::Stopping);
                    }
                    self.app.clock.counted(self.conversation.number());
                    wire::send(&mut self.socket, message.encode()).await?;
                }
                Output::Submit(command) => {
                    self.submit(command).await?;
                }
                Output::Announce(command) => self.announcement = Some(self.submit(command).await?),
                Output::Assume(wish) => self.ask(wish),
            }
        }
        Ok(())
    }

    async fn submit(&mut self, command: Command) -> Result<oneshot::Receiver<Result<Done, Failure>>, End> {
        self.app.driver.submit(command).await.map_err(|_| End::Stopping)
    }

    fn ask(&mut self, wish: Wish) {
        let roles = self.app.roles.clone();
        self.asking.spawn(async move {
            let outcome = roles.assume(&wish.role_arn, wish.task.id).await;
            Assumed { wish, outcome }
        });
    }

    fn moment(&self) -> Moment {
        Moment { now: self.app.clock.now(), elapsed: self.began.elapsed() }
    }
}

/// What the end of a channel says of the host.
fn farewell(end: &End) -> Farewell {
    match end {
        End::Unanswered => Farewell::Unheard,
        End::Closed
        | End::Broken
        | End::Stuck
        | End::Over(_)
        | End::Superseded
        | End::NotAuthenticated(_)
        | End::KeyDeleted
        | End::Stopping => Farewell::Heard,
    }
}

/// What became of an announcement. Never resolves while there is none.
async fn answered(announcement: &mut Option<oneshot::Receiver<Result<Done, Failure>>>) -> Announced {
    match announcement {
        None => std::future::pending().await,
        Some(answer) => match answer.await {
            Ok(Err(Failure::NotDurable)) => Announced::NotDurable,
            Ok(Ok(_) | Err(Failure::Refused(_) | Failure::Stopping)) | Err(_) => Announced::Settled,
        },
    }
}
