//! A conversation held over a simulated line: what the scheduler's own session does over a WebSocket.
//!
//! It leaves out what has no counterpart here: frames that are not text, pulses by which the kernel finds dead hosts,
//! keys that end, a leader that was deposed, and STS. A session that is superseded is aborted where it waits, which is
//! less kind than being told.

use std::sync::Arc;
use std::time::Duration;

use ecsr_api::acs;
use ecsr_core::State;
use ecsr_core::command::Command;
use ecsr_core::ids::InstanceKey;
use ecsr_scheduler::agents::{
    Announced, Conversation, Moment, Opening, Output, Over, RolesInReach, Templates,
};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::control::{Answer, Failure, Office};
use crate::line::{Heard, LineEnd};
use crate::world::World;

/// How long after a disk that failed it is said again that an agent left.
const LEFT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Session {
    world: Arc<World>,
    office: Arc<Office>,
    key: InstanceKey,
    number: u64,
    stirred: Arc<Notify>,
    line: LineEnd,
    conversation: Conversation,
    began: Instant,
    announcement: Option<oneshot::Receiver<Answer>>,
}

/// Why a session ends.
enum End {
    Over(Over),
    Line,
    Stopping,
}

impl From<Over> for End {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}

impl Session {
    pub(crate) fn new(
        world: &Arc<World>,
        office: Arc<Office>,
        key: InstanceKey,
        number: u64,
        stirred: Arc<Notify>,
        line: LineEnd,
    ) -> Self {
        let opening = Opening {
            instance: key.clone(),
            version_info: ecsr_api::ecs::VersionInfo::default(),
            roles: RolesInReach::OutOfReach,
            templates: Templates::default(),
            number: office.course.number(world.control.now(world, &office)),
            seed: world.chance.seed(),
        };
        let conversation = Conversation::new(opening);
        let (world, began) = (world.clone(), Instant::now());
        Self { world, office, key, number, stirred, line, conversation, began, announcement: None }
    }

    pub(crate) async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        let instance = self.key.clone();
        let why = match end {
            End::Over(over) => over.to_string(),
            End::Line => "the line is over".to_owned(),
            End::Stopping => return,
        };
        self.world.trace.note("scheduler", format_args!("session of {} ends: {why}", instance.id));
        self.line.close();
        if self.office.leave(&instance, self.number) {
            say_left(&self.office, instance).await;
        }
    }

    async fn step(&mut self) -> Result<(), End> {
        let wake = self.began + self.conversation.wake();
        tokio::select! {
            biased;
            heard = self.line.receive() => {
                let Heard::Text(text) = heard else { return Err(End::Line) };
                let (state, at) = self.look();
                self.conversation.hear(&state, &text, at)?;
            }
            () = self.stirred.notified() => {
                let news = self.office.news(&self.key);
                let (state, at) = self.look();
                self.conversation.look(&state, &news, at)?;
            }
            announced = answered(&mut self.announcement) => {
                self.announcement = None;
                let (state, at) = self.look();
                self.conversation.announced(&state, announced, at)?;
            }
            () = tokio::time::sleep_until(wake) => {
                let (state, at) = self.look();
                self.conversation.timer(&state, at)?;
            }
        }
        self.flush()
    }

    fn look(&self) -> (Arc<State>, Moment) {
        let now = self.world.control.now(&self.world, &self.office);
        (self.office.state(), Moment { now, elapsed: self.began.elapsed() })
    }

    fn flush(&mut self) -> Result<(), End> {
        while let Some(output) = self.conversation.next_output() {
            match output {
                Output::Send(message) => {
                    self.office.course.counted(self.conversation.number());
                    let text = message.encode();
                    self.note(&message);
                    if !self.line.send(text, self.world.hop()) {
                        return Err(End::Line);
                    }
                }
                Output::Submit(command) => drop(self.submit(command)?),
                Output::Announce(command) => self.announcement = Some(self.submit(command)?),
                // There is no STS within reach, so none is asked for.
                Output::Assume(_) => {}
            }
        }
        Ok(())
    }

    fn note(&self, message: &acs::Message) {
        let (instance, trace) = (self.key.id, &self.world.trace);
        match message {
            acs::Message::PayloadMessage(payload) => {
                let tasks = payload.tasks.iter().flatten().map(|task| (&task.arn, &task.desired_status));
                let tasks: Vec<_> = tasks.collect();
                trace.note("scheduler", format_args!("to {instance}: payload {tasks:?}"));
            }
            acs::Message::TaskManifestMessage(manifest) => {
                let tasks: Vec<_> = manifest.tasks.iter().flatten().map(|task| &task.task_arn).collect();
                trace.note("scheduler", format_args!("to {instance}: manifest {tasks:?}"));
            }
            other => trace.note("scheduler", format_args!("to {instance}: {}", other.kind())),
        }
    }

    fn submit(&self, command: Command) -> Result<oneshot::Receiver<Answer>, End> {
        self.office.submit(command).ok_or(End::Stopping)
    }
}

/// As the scheduler's own session does.
async fn say_left(office: &Office, instance: InstanceKey) {
    while !office.has_session(&instance) {
        let command = Command::AgentDisconnected { instance: instance.clone() };
        let Some(answer) = office.submit(command) else { return };
        match answer.await {
            Ok(Err(Failure::NotDurable)) => tokio::time::sleep(LEFT_RETRY_AFTER).await,
            Ok(Ok(_) | Err(Failure::Refused(_))) | Err(_) => return,
        }
    }
}

async fn answered(announcement: &mut Option<oneshot::Receiver<Answer>>) -> Announced {
    match announcement {
        None => std::future::pending().await,
        Some(answer) => match answer.await {
            Ok(Err(Failure::NotDurable)) => Announced::NotDurable,
            Ok(Ok(_) | Err(Failure::Refused(_))) | Err(_) => Announced::Settled,
        },
    }
}
