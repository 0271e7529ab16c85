//! What is said on an ACS channel, without the channel: from the durable state to an agent, and its words back.
//!
//! A conversation knows neither socket nor clock nor queue, so a simulation holds the same ones as the scheduler does.
//! It is told of news, of frames, of answers and of the passing of time, and puts out messages to send and commands to
//! submit. It is level-triggered: news only say where to look, and at each heartbeat it looks at everything. What it
//! sends is due by [`super::outbox`]. The manifest follows once everything due was sent, so that it names no task that
//! the agent has not heard of.
//!
//! Invariant: the state of a connected instance is corrected by its newest conversation, whatever order the commands
//! of an older one arrived in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ecsr_api::{Timestamp, acs, ecs};
use ecsr_core::command::Command;
use ecsr_core::ids::{InstanceKey, TaskKey, uuid};
use ecsr_core::state::{Desired, InstanceStatus, Task};
use ecsr_core::{Context, State, resolve};

use super::grants::{Assumed, Grants, News as GrantNews, Roles, Wish};
use super::outbox::Outbox;
use super::payload::{self, Templates};
use crate::driver::News;

/// Most tasks in one payload. A whole service's start on one instance fits in one.
const PAYLOAD_TASKS_MAX: usize = 100;

/// Most bytes of tasks in one payload, well below the longest frame. A single task is always let through.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(acs::HEARTBEAT_INTERVAL_SECONDS);

/// How long an agent may be silent. It answers each heartbeat, so this is several missed in a row.
pub(super) const SILENCE_MAX: Duration = Duration::from_mins(2);

/// Most frames that cannot be read, each of which is answered and logged. A sound agent sends none; a newer one may know
/// a few that we do not.
const UNREADABLE_MAX: u32 = 100;

/// When something happens: by the wall, which messages carry, and since the conversation began by a clock that never
/// jumps, on which its timers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub now: Timestamp,
    pub elapsed: Duration,
}

/// What a conversation wants done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A message to the agent.
    Send(acs::Message),
    /// A command whose outcome nobody waits for: if it is lost, the next conversation says it again.
    Submit(Command),
    /// The command that tells the state that the instance is connected; [`Conversation::announced`] wants its outcome.
    Announce(Command),
    /// STS is to be asked for a task's role; [`Conversation::assumed`] wants its answer.
    Assume(Wish),
}

/// What became of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// The state knows, or the instance is gone, which the next look at the state shows.
    Settled,
    /// The writer could not make it durable.
    NotDurable,
}

/// Why a conversation ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    #[error("the agent was silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("the container instance is no longer registered")]
    Deregistered,
    #[error("the agent sent more than {UNREADABLE_MAX} frames that cannot be read")]
    Unreadable,
}

/// How a conversation begins.
#[derive(Debug, Clone)]
pub struct Opening {
    pub instance: InstanceKey,
    /// As the agent said them in its handshake.
    pub version_info: ecs::VersionInfo,
    pub roles: Roles,
    pub templates: Templates,
    /// A number that no earlier message to the instance exceeds; agents drop what is numbered lower.
    pub number: i64,
    /// Out of which message ids are made.
    pub seed: [u8; 32],
}

/// One conversation with an agent.
#[derive(Debug)]
pub struct Conversation {
    instance: InstanceKey,
    version_info: ecs::VersionInfo,
    outbox: Outbox,
    templates: Templates,
    grants: Grants,
    manifest: Manifest,
    announcement: Announcement,
    ids: Context,
    number: i64,
    unreadable: u32,
    heard_at: Duration,
    beat_at: Duration,
    outputs: VecDeque<Output>,
}

/// The manifest, by which an agent finds tasks that it should not have any more.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announcement {
    /// To be said when the state is looked at next.
    Due,
    /// Said; the outcome is waited for.
    Said,
    /// It could not be made durable; to be said again with the next heartbeat.
    Failed,
    /// The state knows. Said again if it forgets.
    Known,
}

impl Conversation {
    /// A conversation at its beginning. [`Conversation::timer`] is due at once and opens it.
    pub fn new(opening: Opening) -> Self {
        let Opening { instance, version_info, roles, templates, number, seed } = opening;
        Self {
            instance,
            version_info,
            outbox: Outbox::default(),
            templates,
            grants: Grants::new(roles),
            manifest: Manifest::Due,
            announcement: Announcement::Due,
            ids: Context::new(Timestamp::default(), String::new(), seed),
            number,
            unreadable: 0,
            heard_at: Duration::ZERO,
            beat_at: Duration::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to be done, which is to be asked for until there is none after each of the calls below.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The highest number that a message has carried.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// When [`Conversation::timer`] is due, counted from the beginning.
    pub fn wake(&self) -> Duration {
        self.beat_at
    }

    /// Brings the agent up to a state of which the news are given.
    pub fn look(&mut self, state: &State, news: &News, at: Moment) -> Result<(), Over> {
        let found = state.instances.get(&self.instance);
        let instance = found.filter(|found| found.status != InstanceStatus::Inactive);
        self.announce(instance.ok_or(Over::Deregistered)?.is_connected());
        let concerned = self.concerned(state, news);
        self.follow(state, &concerned, at);
        let mut due = self.outbox.due(&concerned);
        due.retain(|task| task.wanted_of_agent() == Desired::Stopped || self.grants.are_ready(state, task));
        self.send_payloads(state, &due, at);
        if matches!(self.manifest, Manifest::Due) {
            self.send_manifest(state, at);
        }
        Ok(())
    }

    /// Takes a text frame in.
    pub fn hear(&mut self, state: &State, frame: &str, at: Moment) -> Result<(), Over> {
        self.heard_at = at.elapsed;
        match acs::Message::decode(frame) {
            Ok(message) => self.take(state, message, at),
            Err(error) => {
                let instance = self.instance.id;
                tracing::warn!(%instance, %error, "an agent sent a frame that cannot be read");
                if self.unreadable == UNREADABLE_MAX {
                    return Err(Over::Unreadable);
                }
                self.unreadable += 1;
                let exception = acs::Exception { message: Some(error.to_string()) };
                self.send(acs::Message::BadRequestException(exception));
            }
        }
        Ok(())
    }

    /// Takes note that the agent lives, though it said nothing.
    pub fn heard(&mut self, at: Moment) {
        self.heard_at = at.elapsed;
    }

    /// Takes in what became of [`Output::Announce`]. The state may have changed since it was decided, so it is looked
    /// at again.
    pub fn announced(&mut self, state: &State, announced: Announced, at: Moment) -> Result<(), Over> {
        self.announcement = match announced {
            Announced::Settled => Announcement::Known,
            Announced::NotDurable => Announcement::Failed,
        };
        self.look(state, &News::default(), at)
    }

    /// Takes in what STS answered, and passes credentials on: in the payload of a task that is yet to be sent, else in
    /// a message of their own.
    pub fn assumed(&mut self, state: &State, assumed: Assumed, at: Moment) -> Result<(), Over> {
        match self.grants.take(assumed, at.now) {
            GrantNews::Granted { wish, credentials } => match state.tasks.get(&wish.task) {
                Some(found) if self.outbox.has_told_to_start(found) => {
                    self.send_credentials(state, &wish, &credentials);
                    Ok(())
                }
                Some(_) | None => self.look(state, &News::Tasks([wish.task.id].into()), at),
            },
            GrantNews::Refused { wish, why } => {
                tracing::warn!(task = %wish.task.id, role_arn = wish.role_arn, why, "a role could not be assumed");
                let reason = role_refused(&wish.role_arn);
                self.outputs.push_back(Output::Submit(Command::TaskRefused { task: wish.task, reason }));
                Ok(())
            }
            GrantNews::Delayed { wish, why } => {
                tracing::warn!(task = %wish.task.id, why, "STS could not be asked for a role; it will be again");
                Ok(())
            }
        }
    }

    /// Does what is due by time: says that the connection lives, gives up an agent that does not, and looks at
    /// everything, in case that any news were lost.
    pub fn timer(&mut self, state: &State, at: Moment) -> Result<(), Over> {
        if at.elapsed < self.beat_at {
            return Ok(());
        }
        if at.elapsed.saturating_sub(self.heard_at) > SILENCE_MAX {
            return Err(Over::Silent);
        }
        self.beat_at = at.elapsed + HEARTBEAT_INTERVAL;
        self.outbox.forgive();
        if self.announcement == Announcement::Failed {
            self.announcement = Announcement::Due;
        }
        let heartbeat = acs::HeartbeatMessage { message_id: Some(self.message_id()), healthy: Some(true) };
        self.send(acs::Message::HeartbeatMessage(heartbeat));
        self.look(state, &News::Everything, at)
    }

    fn announce(&mut self, connected: bool) {
        let due = match self.announcement {
            Announcement::Due => true,
            Announcement::Known => !connected,
            Announcement::Said | Announcement::Failed => false,
        };
        if due {
            let instance = self.instance.clone();
            let command = Command::AgentConnected { instance, version_info: self.version_info.clone() };
            self.outputs.push_back(Output::Announce(command));
            self.announcement = Announcement::Said;
        }
    }

    /// The live tasks that the news are about. What was said of those that are over is forgotten.
    fn concerned(&mut self, state: &State, news: &News) -> Vec<Arc<Task>> {
        match news {
            News::Everything => {
                self.outbox.prune(state, &self.instance);
                self.grants.prune(state);
                state.live_tasks_on(&self.instance).cloned().collect()
            }
            News::Tasks(ids) => {
                let mut live = Vec::with_capacity(ids.len());
                for id in ids {
                    let key = TaskKey { cluster: self.instance.cluster.clone(), id: *id };
                    match state.tasks.get(&key).filter(|task| task.is_live()) {
                        Some(task) if task.instance == self.instance.id => live.push(task.clone()),
                        Some(_) | None => {
                            self.outbox.forget(*id);
                            self.grants.forget(&key);
                        }
                    }
                }
                live
            }
        }
    }

    fn follow(&mut self, state: &State, tasks: &[Arc<Task>], at: Moment) {
        let wishes = self.grants.follow(state, tasks, at.now);
        self.outputs.extend(wishes.into_iter().map(Output::Assume));
    }

    fn send_payloads(&mut self, state: &State, due: &[Arc<Task>], at: Moment) {
        for task in due {
            self.grants.lament(state, task);
        }
        let tasks: Vec<acs::Task> = due.iter().map(|task| self.with_credentials(state, task)).collect();
        let mut rest = (due, tasks);
        while !rest.0.is_empty() {
            let count = fitting(&rest.1);
            let (now, later) = rest.0.split_at(count);
            let later_tasks = rest.1.split_off(count);
            let message_id = self.send_payload(state, rest.1, at);
            self.outbox.sent(message_id, now);
            rest = (later, later_tasks);
        }
    }

    fn send_payload(&mut self, state: &State, tasks: Vec<acs::Task>, at: Moment) -> String {
        let message_id = self.message_id();
        let (cluster_arn, container_instance_arn) = arns(state, &self.instance);
        let number = self.next_number(at);
        let message = acs::PayloadMessage {
            message_id: Some(message_id.clone()),
            cluster_arn: Some(cluster_arn),
            container_instance_arn: Some(container_instance_arn),
            generated_at: Some(at.now.millis()),
            seq_num: Some(number),
            timeline: Some(number),
            tasks: Some(tasks),
        };
        self.send(acs::Message::PayloadMessage(message));
        message_id
    }

    fn with_credentials(&self, state: &State, task: &Task) -> acs::Task {
        let (role_credentials, execution_role_credentials) = self.grants.of_task(&task.key);
        acs::Task {
            role_credentials,
            execution_role_credentials,
            ..payload::task(state, task, &self.templates)
        }
    }

    fn send_credentials(&mut self, state: &State, wish: &Wish, credentials: &acs::IAMRoleCredentials) {
        let task = &wish.task;
        let message = acs::IAMRoleCredentialsMessage {
            message_id: Some(self.message_id()),
            task_arn: Some(state.home.task_arn(&task.cluster, &task.id.to_string())),
            task_cluster_arn: Some(state.home.cluster_arn(&task.cluster)),
            role_type: Some(wish.role_type.as_str().to_owned()),
            role_credentials: Some(credentials.clone()),
        };
        self.send(acs::Message::IAMRoleCredentialsMessage(message));
    }

    fn send_manifest(&mut self, state: &State, at: Moment) {
        let (cluster_arn, container_instance_arn) = arns(state, &self.instance);
        // What waits for its credentials is not known to the agent yet, which takes such a task for a vanished one.
        let running =
            state.live_tasks_on(&self.instance).filter(|task| task.wanted_of_agent() == Desired::Running);
        let running = running.filter(|task| self.outbox.has_told_to_start(task));
        let tasks = running.map(|task| identifier(state, task)).collect();
        let message_id = self.message_id();
        let message = acs::TaskManifestMessage {
            message_id: Some(message_id.clone()),
            cluster_arn: Some(cluster_arn),
            container_instance_arn: Some(container_instance_arn),
            generated_at: Some(at.now.millis()),
            timeline: Some(self.next_number(at)),
            tasks: Some(tasks),
        };
        self.manifest = Manifest::Sent(message_id);
        self.send(acs::Message::TaskManifestMessage(message));
    }

    fn take(&mut self, state: &State, message: acs::Message, at: Moment) {
        match message {
            acs::Message::AckRequest(ack) => {
                let tasks = self.outbox.acknowledged(&ack.message_id.unwrap_or_default());
                if !tasks.is_empty() {
                    let instance = self.instance.clone();
                    let command = Command::TasksAcknowledged { instance, tasks };
                    self.outputs.push_back(Output::Submit(command));
                }
            }
            acs::Message::NackRequest(nack) => {
                let tasks = self.outbox.refused(&nack.message_id.unwrap_or_default());
                let (instance, reason) = (self.instance.id, nack.reason.unwrap_or_default());
                tracing::warn!(%instance, tasks = tasks.len(), reason, "an agent refused a message");
            }
            acs::Message::TaskStopVerificationMessage(asked) => self.verify_stops(state, asked, at),
            // Hearing them is all that they are for: credentials that were lost are sent anew before they end.
            acs::Message::HeartbeatAckRequest(_) | acs::Message::IAMRoleCredentialsAckRequest(_) => {}
            other => {
                tracing::debug!(kind = other.kind(), "an agent sent a message that schedulers do not take");
            }
        }
    }

    fn verify_stops(&mut self, state: &State, asked: acs::TaskStopVerificationMessage, at: Moment) {
        let message_id = asked.message_id.unwrap_or_default();
        match &self.manifest {
            Manifest::Sent(sent) if *sent == message_id => self.manifest = Manifest::Answered,
            Manifest::Sent(_) | Manifest::Due | Manifest::Answered => return,
        }
        let candidates = asked.stop_candidates.unwrap_or_default();
        let stops = candidates.into_iter().filter(|candidate| is_to_stop(state, &self.instance, candidate));
        let message = acs::TaskStopVerificationAck {
            message_id: Some(message_id),
            generated_at: Some(at.now.millis()),
            stop_tasks: Some(stops.collect()),
        };
        self.send(acs::Message::TaskStopVerificationAck(message));
    }

    fn send(&mut self, message: acs::Message) {
        self.outputs.push_back(Output::Send(message));
    }

    fn message_id(&mut self) -> String {
        uuid(&mut self.ids)
    }

    fn next_number(&mut self, at: Moment) -> i64 {
        self.number = at.now.millis().max(self.number + 1);
        self.number
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
    if tasks.len() == 1 {
        return 1;
    }
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
        desired_status: Some(payload::desired_status(task.wanted_of_agent()).to_owned()),
    }
}

/// Whether a task that an agent runs and the manifest does not name is to be stopped. A task of this cluster that is
/// not known any more was stopped and forgotten; what is not ours to judge is left alone.
fn is_to_stop(state: &State, instance: &InstanceKey, candidate: &acs::TaskIdentifier) -> bool {
    let arn = candidate.task_arn.as_deref().unwrap_or_default();
    let Ok(key) = resolve::task_key(state, &instance.cluster, arn) else { return false };
    match state.tasks.get(&key) {
        Some(task) => task.wanted_of_agent() == Desired::Stopped || task.instance != instance.id,
        None => true,
    }
}

#[cfg(test)]
mod tests;
