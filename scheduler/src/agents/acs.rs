//! An ACS session: from the published state to an agent, and the agent's acknowledgements back.
//!
//! The session is level-triggered. Whenever the state changes it sends what is due (see [`super::outbox`]), and makes
//! sure that the state knows the instance as connected. The manifest follows once everything due was sent, so that it
//! names no task that the agent has not heard of.
//!
//! Invariant: only the newest session of an instance marks it disconnected, and the state of a connected instance is
//! corrected by its session whatever order the commands of an older one arrived in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use ecsr_api::sigv4::Identity;
use ecsr_api::{acs, ecs};
use ecsr_core::State;
use ecsr_core::command::Command;
use ecsr_core::ids::{InstanceKey, TaskKey};
use ecsr_core::resolve;
use ecsr_core::state::{Desired, InstanceStatus, Task};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::grants::{Grants, News, RoleType};
use super::outbox::Outbox;
use super::payload;
use super::sessions::Session;
use super::wire::{self, End, SILENCE_MAX};
use crate::app::App;
use crate::driver::{Done, Failure};

/// Most tasks in one payload. A whole service's start on one instance fits in one.
const PAYLOAD_TASKS_MAX: usize = 100;

/// Most bytes of tasks in one payload, well below the longest frame. A single task is always let through.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(acs::HEARTBEAT_INTERVAL_SECONDS);

/// Serves a channel until it ends.
pub(super) async fn serve(
    app: Arc<App>,
    socket: WebSocket,
    session: Session,
    identity: Identity,
    version_info: ecs::VersionInfo,
) {
    let key = session.key.clone();
    let version = version_info.agent_version.as_deref().unwrap_or("unknown");
    tracing::info!(cluster = %key.cluster, instance = %key.id, version, "an agent joined");
    let published = app.driver.subscribe();
    let mut channel = Channel {
        app: &app,
        socket,
        session,
        identity,
        version_info,
        published,
        outbox: Outbox::default(),
        grants: Grants::new(app.roles.clone()),
        manifest: Manifest::Due,
        announcement: Announcement::Due,
        heard_at: Instant::now(),
    };
    let end = channel.run().await;
    let Channel { socket, session, .. } = channel;
    tracing::info!(cluster = %key.cluster, instance = %key.id, reason = %end, "an agent left");
    if session.leave() && !matches!(end, End::Stopping) {
        // If this is lost, the start of the next scheduler marks all instances disconnected.
        let _ = app.driver.submit(Command::AgentDisconnected { instance: key }).await;
    }
    wire::close(socket, &end).await;
}

/// One session at work.
struct Channel<'a> {
    app: &'a App,
    socket: WebSocket,
    session: Session,
    /// Whose key opened the channel; it ends with the key.
    identity: Identity,
    version_info: ecs::VersionInfo,
    published: watch::Receiver<Arc<State>>,
    outbox: Outbox,
    grants: Grants,
    manifest: Manifest,
    announcement: Announcement,
    heard_at: Instant,
}

/// The manifest of this session, by which an agent finds tasks that it should not have any more.
#[derive(Debug)]
enum Manifest {
    /// To be sent once all that is due has been.
    Due,
    /// Sent under this message id; the agent may ask about it once.
    Sent(String),
    /// The agent has asked and was answered.
    Answered,
}

/// Telling the state that the instance is connected.
#[derive(Debug)]
enum Announcement {
    /// To be said when the state is looked at next.
    Due,
    /// Said; the writer's answer is waited for.
    Said(oneshot::Receiver<Result<Done, Failure>>),
    /// The writer could not make it durable; to be said again with the next heartbeat.
    Failed,
    /// The state knows. Said again if it forgets.
    Known,
}

impl Channel<'_> {
    async fn run(&mut self) -> End {
        let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.published.mark_changed();
        loop {
            let step = tokio::select! {
                received = self.socket.recv() => self.receive(received).await,
                changed = self.published.changed() => match changed {
                    Ok(()) => self.look().await,
                    Err(_) => Err(End::Stopping),
                },
                said = self.announcement.answered() => {
                    self.announcement = said;
                    Ok(())
                }
                news = self.grants.next(|| self.app.clock.now()) => self.tell(news).await,
                _ = heartbeat.tick() => self.beat().await,
                () = self.session.superseded() => Err(End::Superseded),
                () = self.app.stopped() => Err(End::Stopping),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Brings the agent up to the published state.
    async fn look(&mut self) -> Result<(), End> {
        let state = self.published.borrow_and_update().clone();
        let key = self.session.key.clone();
        let Some(instance) =
            state.instances.get(&key).filter(|found| found.status != InstanceStatus::Inactive)
        else {
            return Err(End::Deregistered);
        };
        self.announce(instance.connected).await?;
        self.outbox.prune(&state, &key);
        self.grants.follow(&state, &key, self.app.clock.now());
        let mut due = self.outbox.due(&state, &key);
        due.retain(|task| task.desired == Desired::Stopped || self.grants.are_ready(&state, task));
        self.send_payloads(&state, &due).await?;
        if matches!(self.manifest, Manifest::Due) {
            self.send_manifest(&state).await?;
        }
        Ok(())
    }

    async fn announce(&mut self, connected: bool) -> Result<(), End> {
        let due = match self.announcement {
            Announcement::Due => true,
            Announcement::Known => !connected,
            Announcement::Said(_) | Announcement::Failed => false,
        };
        if due {
            let instance = self.session.key.clone();
            let command = Command::AgentConnected { instance, version_info: self.version_info.clone() };
            let answer = self.app.driver.submit(command).await.map_err(|_| End::Stopping)?;
            self.announcement = Announcement::Said(answer);
        }
        Ok(())
    }

    async fn send_payloads(&mut self, state: &State, due: &[Arc<Task>]) -> Result<(), End> {
        for task in due {
            self.grants.lament(state, task);
        }
        let tasks: Vec<acs::Task> = due.iter().map(|task| self.with_credentials(state, task)).collect();
        let mut rest = (due, tasks);
        while !rest.0.is_empty() {
            let count = fitting(&rest.1);
            let (now, later) = rest.0.split_at(count);
            let later_tasks = rest.1.split_off(count);
            let message_id = self.send_payload(state, rest.1).await?;
            self.outbox.sent(message_id, now);
            rest = (later, later_tasks);
        }
        Ok(())
    }

    async fn send_payload(&mut self, state: &State, tasks: Vec<acs::Task>) -> Result<String, End> {
        let message_id = self.app.entropy.uuid();
        let (cluster_arn, container_instance_arn) = arns(state, &self.session.key);
        let number = self.app.clock.next_number();
        let message = acs::PayloadMessage {
            message_id: Some(message_id.clone()),
            cluster_arn: Some(cluster_arn),
            container_instance_arn: Some(container_instance_arn),
            generated_at: Some(self.app.clock.now().millis()),
            seq_num: Some(number),
            timeline: Some(number),
            tasks: Some(tasks),
        };
        self.send(acs::Message::PayloadMessage(message)).await?;
        Ok(message_id)
    }

    fn with_credentials(&self, state: &State, task: &Task) -> acs::Task {
        let credentials = |role_type| self.grants.of(&task.key, role_type).cloned();
        acs::Task {
            role_credentials: credentials(RoleType::Application),
            execution_role_credentials: credentials(RoleType::Execution),
            ..payload::task(state, task)
        }
    }

    /// Passes credentials on: in the payload of a task that is yet to be sent, else in a message of their own.
    async fn tell(&mut self, news: News) -> Result<(), End> {
        match news {
            News::Granted { task, role_type, credentials } => {
                let state = self.app.driver.state();
                match state.tasks.get(&task) {
                    Some(found) if self.outbox.has_told_to_start(found) => {
                        self.send_credentials(&state, &task, role_type, &credentials).await
                    }
                    Some(_) | None => {
                        self.published.mark_changed();
                        Ok(())
                    }
                }
            }
            News::Refused { task, role_arn, why } => {
                tracing::warn!(task = %task.id, role_arn, why, "a role could not be assumed");
                let command = Command::TaskRefused { task, reason: role_refused(&role_arn) };
                self.app.driver.submit(command).await.map(|_| ()).map_err(|_| End::Stopping)
            }
            News::Delayed { task, why } => {
                tracing::warn!(task = %task.id, why, "STS could not be asked for a role; it will be again");
                Ok(())
            }
        }
    }

    async fn send_credentials(
        &mut self,
        state: &State,
        task: &TaskKey,
        role_type: RoleType,
        credentials: &acs::IAMRoleCredentials,
    ) -> Result<(), End> {
        let message = acs::IAMRoleCredentialsMessage {
            message_id: Some(self.app.entropy.uuid()),
            task_arn: Some(state.home.task_arn(&task.cluster, &task.id.to_string())),
            task_cluster_arn: Some(state.home.cluster_arn(&task.cluster)),
            role_type: Some(role_type.as_str().to_owned()),
            role_credentials: Some(credentials.clone()),
        };
        self.send(acs::Message::IAMRoleCredentialsMessage(message)).await
    }

    async fn send_manifest(&mut self, state: &State) -> Result<(), End> {
        let key = &self.session.key;
        let (cluster_arn, container_instance_arn) = arns(state, key);
        // What waits for its credentials is not known to the agent yet, which takes such a task for a vanished one.
        let running = state.live_tasks_on(key).filter(|task| task.desired == Desired::Running);
        let running = running.filter(|task| self.outbox.has_told_to_start(task));
        let message_id = self.app.entropy.uuid();
        let message = acs::TaskManifestMessage {
            message_id: Some(message_id.clone()),
            cluster_arn: Some(cluster_arn),
            container_instance_arn: Some(container_instance_arn),
            generated_at: Some(self.app.clock.now().millis()),
            timeline: Some(self.app.clock.next_number()),
            tasks: Some(running.map(|task| identifier(state, task)).collect()),
        };
        self.manifest = Manifest::Sent(message_id);
        self.send(acs::Message::TaskManifestMessage(message)).await
    }

    async fn beat(&mut self) -> Result<(), End> {
        if self.heard_at.elapsed() > SILENCE_MAX {
            return Err(End::Silent);
        }
        if !self.app.authenticator.is_known(&self.identity.access_key_id) {
            return Err(End::KeyDeleted);
        }
        self.outbox.forgive();
        if matches!(self.announcement, Announcement::Failed) {
            self.announcement = Announcement::Due;
        }
        self.published.mark_changed();
        let heartbeat =
            acs::HeartbeatMessage { message_id: Some(self.app.entropy.uuid()), healthy: Some(true) };
        self.send(acs::Message::HeartbeatMessage(heartbeat)).await
    }

    async fn receive(
        &mut self,
        received: Option<Result<axum::extract::ws::Message, axum::Error>>,
    ) -> Result<(), End> {
        let text = wire::text(received)?;
        self.heard_at = Instant::now();
        let Some(text) = text else { return Ok(()) };
        match acs::Message::decode(&text) {
            Ok(message) => self.take(message).await,
            Err(error) => {
                let instance = self.session.key.id;
                tracing::warn!(%instance, %error, "an agent sent a frame that cannot be read");
                let exception = acs::Exception { message: Some(error.to_string()) };
                self.send(acs::Message::BadRequestException(exception)).await
            }
        }
    }

    async fn take(&mut self, message: acs::Message) -> Result<(), End> {
        match message {
            acs::Message::AckRequest(ack) => {
                let tasks = self.outbox.acknowledged(&ack.message_id.unwrap_or_default());
                self.store(tasks).await
            }
            acs::Message::NackRequest(nack) => {
                let tasks = self.outbox.refused(&nack.message_id.unwrap_or_default());
                let (instance, reason) = (self.session.key.id, nack.reason.unwrap_or_default());
                tracing::warn!(%instance, tasks = tasks.len(), reason, "an agent refused a message");
                Ok(())
            }
            acs::Message::TaskStopVerificationMessage(asked) => self.verify_stops(asked).await,
            // Hearing them is all that they are for: credentials that were lost are sent anew before they end.
            acs::Message::HeartbeatAckRequest(_) | acs::Message::IAMRoleCredentialsAckRequest(_) => Ok(()),
            other => {
                tracing::debug!(kind = other.kind(), "an agent sent a message that schedulers do not take");
                Ok(())
            }
        }
    }

    /// Notes that the agent has stored tasks. If that is lost, the next session sends them again, which is harmless.
    async fn store(&mut self, tasks: Vec<TaskKey>) -> Result<(), End> {
        if tasks.is_empty() {
            return Ok(());
        }
        let command = Command::TasksAcknowledged { instance: self.session.key.clone(), tasks };
        self.app.driver.submit(command).await.map(|_| ()).map_err(|_| End::Stopping)
    }

    async fn verify_stops(&mut self, asked: acs::TaskStopVerificationMessage) -> Result<(), End> {
        let message_id = asked.message_id.unwrap_or_default();
        match &self.manifest {
            Manifest::Sent(sent) if *sent == message_id => self.manifest = Manifest::Answered,
            Manifest::Sent(_) | Manifest::Due | Manifest::Answered => return Ok(()),
        }
        let state = self.app.driver.state();
        let candidates = asked.stop_candidates.unwrap_or_default();
        let stops =
            candidates.into_iter().filter(|candidate| is_to_stop(&state, &self.session.key, candidate));
        let message = acs::TaskStopVerificationAck {
            message_id: Some(message_id),
            generated_at: Some(self.app.clock.now().millis()),
            stop_tasks: Some(stops.collect()),
        };
        self.send(acs::Message::TaskStopVerificationAck(message)).await
    }

    async fn send(&mut self, message: acs::Message) -> Result<(), End> {
        wire::send(&mut self.socket, message.encode()).await
    }
}

impl Announcement {
    /// What became of it, once the writer has answered. Never resolves while nothing is waited for.
    async fn answered(&mut self) -> Self {
        match self {
            Self::Said(answer) => match answer.await {
                Ok(Err(Failure::NotDurable)) => Self::Failed,
                // A refusal means that the instance is gone, which the next look at the state shows.
                Ok(Ok(_) | Err(Failure::Refused(_) | Failure::Stopping)) | Err(_) => Self::Known,
            },
            Self::Due | Self::Failed | Self::Known => std::future::pending().await,
        }
    }
}

/// Why a task did not start, in ECS's words.
fn role_refused(role_arn: &str) -> String {
    format!(
        "ECS was unable to assume the role '{role_arn}' that was provided for this task. Please verify that the role \
         being passed has the proper trust relationship and permissions and that your IAM user has permissions to \
         pass this role."
    )
}

/// How many of the tasks go into the next payload: at least one.
fn fitting(tasks: &[acs::Task]) -> usize {
    let size = |task: &acs::Task| serde_json::to_vec(task).map_or(0, |bytes| bytes.len());
    let totals = tasks.iter().take(PAYLOAD_TASKS_MAX).scan(0, |total, task| {
        *total += size(task);
        Some(*total)
    });
    totals.take_while(|total| *total <= PAYLOAD_BYTES_MAX).count().max(1)
}

fn arns(state: &State, key: &InstanceKey) -> (String, String) {
    (
        state.home.cluster_arn(&key.cluster),
        state.home.container_instance_arn(&key.cluster, &key.id.to_string()),
    )
}

fn identifier(state: &State, task: &Task) -> acs::TaskIdentifier {
    acs::TaskIdentifier {
        task_arn: Some(state.home.task_arn(&task.key.cluster, &task.key.id.to_string())),
        task_cluster_arn: Some(state.home.cluster_arn(&task.key.cluster)),
        desired_status: Some(payload::desired_status(task.desired).to_owned()),
    }
}

/// Whether a task that an agent runs and the manifest does not name is to be stopped. A task of this cluster that is
/// not known any more was stopped and forgotten; what is not ours to judge is left alone.
fn is_to_stop(state: &State, instance: &InstanceKey, candidate: &acs::TaskIdentifier) -> bool {
    let arn = candidate.task_arn.as_deref().unwrap_or_default();
    let Ok(key) = resolve::task_key(state, &instance.cluster, arn) else { return false };
    match state.tasks.get(&key) {
        Some(task) => task.desired == Desired::Stopped || task.instance != instance.id,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use ecsr_core::state::{Event, Stop, StopCode};

    use super::*;
    use crate::testing::World;

    #[test]
    fn a_payload_is_bounded_by_number_and_bytes() {
        let small = acs::Task::default();
        let large = acs::Task { arn: Some("a".repeat(PAYLOAD_BYTES_MAX * 2 / 3)), ..acs::Task::default() };
        let huge = acs::Task { arn: Some("a".repeat(PAYLOAD_BYTES_MAX + 1)), ..acs::Task::default() };
        assert_eq!(fitting(&vec![small.clone(); PAYLOAD_TASKS_MAX + 1]), PAYLOAD_TASKS_MAX);
        assert_eq!(fitting(&[small, large.clone(), large]), 2);
        assert_eq!(fitting(&[huge.clone(), huge]), 1);
    }

    #[test]
    fn only_what_is_really_to_stop_is_stopped() {
        let mut world = World::with_tasks(2);
        let stopping = world.tasks[0].clone();
        let stop = Stop { code: StopCode::UserInitiated, reason: String::new() };
        world.state.apply(&Event::TaskStopRequested { task: stopping.clone(), at: world.now, stop });
        let candidate = |arn: String| acs::TaskIdentifier { task_arn: Some(arn), ..Default::default() };
        let check = |arn: String, expected: bool| {
            assert_eq!(is_to_stop(&world.state, &world.instance, &candidate(arn.clone())), expected, "{arn}");
        };
        let arn = |key: &TaskKey| world.state.home.task_arn(&key.cluster, &key.id.to_string());
        check(arn(&stopping), true);
        check(arn(&world.tasks[1]), false);
        check(arn(&TaskKey { id: "f".repeat(32).parse().unwrap(), ..stopping.clone() }), true);
        check(arn(&stopping).replace("us-east-1", "eu-west-1"), false);
        check("nonsense".to_owned(), false);
    }
}
