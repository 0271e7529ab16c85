//! A TCS session: an agent publishes container health and metrics, each frame signed by itself.
//!
//! Health goes to the writer when it says something new: agents repeat all of it every twenty seconds. Metrics and
//! instance status are acknowledged, since an agent drops a connection on which nothing comes back, and not kept:
//! nothing asks for them yet.
//!
//! Invariant: a channel speaks for one instance. What is said on it of another one, or of a task that runs elsewhere, is
//! refused and logged, and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use axum::http::request::Parts;
use ecsr_api::tcs;
use ecsr_core::State;
use ecsr_core::command::Command;
use ecsr_core::ids::{InstanceId, InstanceKey, Name, TaskId, TaskKey};
use ecsr_core::resolve;
use ecsr_core::state::{Health, Task};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior};

use super::conversation::{Over, SILENCE_MAX};
use super::wire::{self, End};
use crate::access::{self, Caller};
use crate::app::App;
use crate::driver::Failure;

/// Agents give up a silent connection after 60 to 120 seconds, and an agent without tasks publishes rarely.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(tcs::PUBLISH_INTERVAL_SECONDS);

/// How much of a name is repeated that an agent gives an instance: an ARN fits, unless its cluster's name is very long.
const IDENTIFIER_CHARS_SHOWN: usize = 200;

/// Serves a channel until it ends.
pub(super) async fn serve(
    app: Arc<App>,
    socket: WebSocket,
    key: InstanceKey,
    handshake: Parts,
    permit: OwnedSemaphorePermit,
) {
    let mut channel = Channel { app: &app, socket, key, handshake, heard_at: Instant::now() };
    let end = channel.run().await;
    let Channel { socket, key, .. } = channel;
    tracing::debug!(cluster = %key.cluster, instance = %key.id, reason = %end, "a telemetry channel ended");
    wire::close(socket, &end).await;
    drop(permit);
}

/// One session at work.
struct Channel<'a> {
    app: &'a App,
    socket: WebSocket,
    key: InstanceKey,
    /// The request that opened the channel: frames are signed as if they were it.
    handshake: Parts,
    heard_at: Instant,
}

impl Channel<'_> {
    async fn run(&mut self) -> End {
        let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                received = self.socket.recv() => self.receive(received).await,
                _ = heartbeat.tick() => self.beat().await,
                () = self.app.stopped() => Err(End::Stopping),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn beat(&mut self) -> Result<(), End> {
        if self.heard_at.elapsed() > SILENCE_MAX {
            return Err(Over::Silent.into());
        }
        self.send(tcs::Message::HeartbeatMessage(tcs::HeartbeatMessage { healthy: Some(true) })).await
    }

    async fn receive(
        &mut self,
        received: Option<Result<axum::extract::ws::Message, axum::Error>>,
    ) -> Result<(), End> {
        let text = wire::text(received)?;
        self.heard_at = Instant::now();
        let Some(text) = text else { return Ok(()) };
        let decoded = tcs::frame::split(&text).and_then(|frame| {
            let verified = self.app.authenticator.frame(&self.handshake, &frame);
            tcs::Message::decode(frame.body).map(|message| verified.map(|caller| (caller, message)))
        });
        match decoded {
            Ok(Ok((caller, message))) => {
                self.admit(&caller)?;
                self.take(message).await
            }
            Ok(Err(error)) => Err(End::NotAuthenticated(error.to_string())),
            Err(error) => {
                let exception = tcs::Exception { message: Some(error.to_string()) };
                self.send(tcs::Message::BadRequestException(exception)).await
            }
        }
    }

    /// A frame may be signed with another key than the one that opened the channel, as after a key was replaced.
    fn admit(&self, caller: &Caller) -> Result<(), End> {
        let state = self.app.driver.state();
        let Some(instance) = state.instances.get(&self.key) else { return Ok(()) };
        let admitted = caller
            .on_cluster(&state.home, access::START_TELEMETRY, Some(&self.key.cluster))
            .and_then(|()| caller.speaks_for(&state.home, access::START_TELEMETRY, instance));
        admitted.map_err(|denied| {
            self.app.authenticator.log_denied(&denied);
            End::NotAuthenticated(denied.to_string())
        })
    }

    async fn take(&mut self, message: tcs::Message) -> Result<(), End> {
        if let Err(stranger) = speaks_of(&self.app.driver.state(), &self.key, &message) {
            self.app.authenticator.log_denied(&stranger);
            let exception = tcs::Exception { message: Some(stranger.to_string()) };
            return self.send(tcs::Message::ResourceValidationException(exception)).await;
        }
        match message {
            tcs::Message::PublishHealthRequest(request) => {
                self.publish_health(&request).await?;
                self.send(tcs::Message::AckPublishHealth(tcs::AckPublishHealth::default())).await
            }
            tcs::Message::PublishMetricsRequest(_) => {
                self.send(tcs::Message::AckPublishMetric(tcs::AckPublishMetric::default())).await
            }
            tcs::Message::PublishInstanceStatusRequest(_) => {
                self.send(tcs::Message::AckPublishInstanceStatus(tcs::AckPublishInstanceStatus::default()))
                    .await
            }
            other => {
                tracing::debug!(kind = other.kind(), "an agent sent a message that schedulers do not take");
                Ok(())
            }
        }
    }

    /// If this is lost, the agent's next message repeats it. The next frame is read once it is decided, so that an agent
    /// that floods has one command in the writer's queue and no more.
    async fn publish_health(&mut self, request: &tcs::PublishHealthRequest) -> Result<(), End> {
        let (tasks, strangers) = news(&self.app.driver.state(), &self.key, request);
        if let Some(stranger) = strangers.first() {
            self.app.authenticator.log_denied(stranger);
        }
        if tasks.is_empty() {
            return Ok(());
        }
        let command = Command::HealthPublished { instance: self.key.clone(), tasks };
        match self.app.driver.execute(command).await {
            Err(Failure::Stopping) => Err(End::Stopping),
            Ok(_) | Err(Failure::Refused(_) | Failure::NotDurable) => Ok(()),
        }
    }

    async fn send(&mut self, message: tcs::Message) -> Result<(), End> {
        wire::send(&mut self.socket, message.encode()).await
    }
}

/// What a channel was told that is none of its instance's business.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Stranger {
    #[error("The container instance {named} is not the one of this connection, which is {own}.")]
    Instance { named: String, own: InstanceId },
    #[error("The task {task} does not run on the container instance {own}.")]
    Task { task: TaskId, own: InstanceId },
}

/// Refuses a message that names another instance. One that names none is about this one.
fn speaks_of(state: &State, instance: &InstanceKey, message: &tcs::Message) -> Result<(), Stranger> {
    let named = match message {
        tcs::Message::PublishHealthRequest(request) => {
            request.metadata.as_ref().and_then(|metadata| metadata.container_instance.as_deref())
        }
        tcs::Message::PublishMetricsRequest(request) => {
            request.metadata.as_ref().and_then(|metadata| metadata.container_instance.as_deref())
        }
        tcs::Message::PublishInstanceStatusRequest(request) => {
            request.metadata.as_ref().and_then(|metadata| metadata.container_instance.as_deref())
        }
        // Nothing that is said of an instance.
        tcs::Message::AckPublishHealth(_)
        | tcs::Message::AckPublishInstanceStatus(_)
        | tcs::Message::AckPublishMetric(_)
        | tcs::Message::BadRequestException(_)
        | tcs::Message::HeartbeatMessage(_)
        | tcs::Message::InvalidParameterException(_)
        | tcs::Message::ResourceValidationException(_)
        | tcs::Message::ServerException(_)
        | tcs::Message::StopTelemetrySessionMessage(_)
        | tcs::Message::Unknown { .. } => None,
    };
    let Some(named) = named.filter(|named| !named.is_empty()) else { return Ok(()) };
    match resolve::instance_key(state, &instance.cluster, named) {
        Ok(key) if key == *instance => Ok(()),
        Ok(_) | Err(_) => {
            let named = named.chars().take(IDENTIFIER_CHARS_SHOWN).collect();
            Err(Stranger::Instance { named, own: instance.id })
        }
    }
}

/// News of a task, for the writer.
type TaskNews = (TaskKey, Vec<(Name, Health)>);

/// The containers of this instance's tasks whose health is not yet known to be what the request says; and the tasks of
/// others that it speaks of.
fn news(
    state: &State,
    instance: &InstanceKey,
    request: &tcs::PublishHealthRequest,
) -> (Vec<TaskNews>, Vec<Stranger>) {
    let (mut tasks, mut strangers) = (Vec::new(), Vec::new());
    for published in request.tasks.iter().flatten() {
        let key = published.task_arn.as_deref().map(|arn| resolve::task_key(state, &instance.cluster, arn));
        let Some(Ok(key)) = key else { continue };
        match state.tasks.get(&key) {
            Some(task) if task.instance == instance.id => {
                let containers = published.containers.iter().flatten();
                let changed: Vec<_> = containers.filter_map(|one| change(task, one)).collect();
                if !changed.is_empty() {
                    tasks.push((key, changed));
                }
            }
            Some(_) => strangers.push(Stranger::Task { task: key.id, own: instance.id }),
            // It was forgotten, or never was.
            None => {}
        }
    }
    (tasks, strangers)
}

fn change(task: &Task, published: &tcs::ContainerHealth) -> Option<(Name, Health)> {
    let name = published.container_name.as_deref()?;
    let container = task.containers.iter().find(|container| &*container.name == name)?;
    let health = match published.health_status.as_deref()? {
        "HEALTHY" => Health::Healthy,
        "UNHEALTHY" => Health::Unhealthy,
        _ => Health::Unknown,
    };
    (container.health != health).then(|| (container.name.clone(), health))
}

#[cfg(test)]
mod tests {
    use ecsr_core::state::Event;

    use super::*;
    use crate::testing::World;

    fn request(world: &World, container: &str, status: &str) -> tcs::PublishHealthRequest {
        let key = &world.tasks[0];
        let container = tcs::ContainerHealth {
            container_name: Some(container.to_owned()),
            health_status: Some(status.to_owned()),
            status_since: None,
        };
        let task = tcs::TaskHealth {
            task_arn: Some(world.state.home.task_arn(&key.cluster, &key.id.to_string())),
            containers: Some(vec![container]),
            ..Default::default()
        };
        tcs::PublishHealthRequest { tasks: Some(vec![task]), ..Default::default() }
    }

    #[test]
    fn only_news_reaches_the_writer() {
        let mut world = World::with_tasks(1);
        let healthy = request(&world, "web", "HEALTHY");
        let (said, _) = news(&world.state, &world.instance, &healthy);
        assert_eq!(said, [(world.tasks[0].clone(), vec![("web".into(), Health::Healthy)])]);
        world
            .state
            .apply(&Event::TaskHealthReported { task: world.tasks[0].clone(), health: said[0].1.clone() });
        assert!(news(&world.state, &world.instance, &healthy).0.is_empty());
        assert_eq!(news(&world.state, &world.instance, &request(&world, "web", "UNHEALTHY")).0.len(), 1);
    }

    #[test]
    fn nothing_is_taken_for_another_instances_task() {
        let world = World::with_tasks(1);
        let other = InstanceKey { id: "f".repeat(32).parse().unwrap(), ..world.instance.clone() };
        let stranger = Stranger::Task { task: world.tasks[0].id, own: other.id };
        let healthy = request(&world, "web", "HEALTHY");
        assert_eq!(news(&world.state, &other, &healthy), (vec![], vec![stranger]));
        let unknown = request(&world, "db", "HEALTHY");
        assert_eq!(news(&world.state, &world.instance, &unknown), (vec![], vec![]));
    }

    #[test]
    fn a_message_is_about_the_instance_of_its_channel() {
        let world = World::with_tasks(0);
        let of = |named: Option<String>| {
            let metadata = tcs::MetricsMetadata { container_instance: named, ..Default::default() };
            let request = tcs::PublishMetricsRequest { metadata: Some(metadata), ..Default::default() };
            speaks_of(&world.state, &world.instance, &tcs::Message::PublishMetricsRequest(request))
        };
        let (own, other) = (world.instance.id.to_string(), "f".repeat(32));
        let arn = |id: &str| world.state.home.container_instance_arn("default", id);
        for named in [None, Some(String::new()), Some(own.clone()), Some(arn(&own))] {
            assert_eq!(of(named.clone()), Ok(()), "{named:?}");
        }
        let elsewhere = world.state.home.container_instance_arn("other", &own);
        for named in [other.clone(), arn(&other), elsewhere, "?".to_owned()] {
            let refused = Err(Stranger::Instance { named: named.clone(), own: world.instance.id });
            assert_eq!(of(Some(named)), refused);
        }
    }
}
