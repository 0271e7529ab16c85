//! A TCS session: an agent publishes container health and metrics, each frame signed by itself.
//!
//! Health goes to the writer when it says something new: agents repeat all of it every twenty seconds. Metrics and
//! instance status are acknowledged, since an agent drops a connection on which nothing comes back, and not kept:
//! nothing asks for them yet.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use axum::http::request::Parts;
use ecsr_api::tcs;
use ecsr_core::State;
use ecsr_core::command::Command;
use ecsr_core::ids::{InstanceKey, Name, TaskKey};
use ecsr_core::resolve;
use ecsr_core::state::{Health, Task};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior};

use super::conversation::{Over, SILENCE_MAX};
use super::wire::{self, End};
use crate::app::App;
use crate::driver::Failure;

/// Agents give up a silent connection after 60 to 120 seconds, and an agent without tasks publishes rarely.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(tcs::PUBLISH_INTERVAL_SECONDS);

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
            tcs::Message::decode(frame.body).map(|message| verified.map(|_| message))
        });
        match decoded {
            Ok(Ok(message)) => self.take(message).await,
            Ok(Err(error)) => Err(End::NotAuthenticated(error.to_string())),
            Err(error) => {
                let exception = tcs::Exception { message: Some(error.to_string()) };
                self.send(tcs::Message::BadRequestException(exception)).await
            }
        }
    }

    async fn take(&mut self, message: tcs::Message) -> Result<(), End> {
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
        let tasks = news(&self.app.driver.state(), &self.key, request);
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

/// The containers of this instance's tasks whose health is not yet known to be what the request says.
fn news(
    state: &State,
    instance: &InstanceKey,
    request: &tcs::PublishHealthRequest,
) -> Vec<(TaskKey, Vec<(Name, Health)>)> {
    let tasks = request.tasks.iter().flatten().filter_map(|published| {
        let key = resolve::task_key(state, &instance.cluster, published.task_arn.as_deref()?).ok()?;
        let task = state.tasks.get(&key).filter(|task| task.instance == instance.id)?;
        let changed: Vec<_> =
            published.containers.iter().flatten().filter_map(|one| change(task, one)).collect();
        (!changed.is_empty()).then_some((key, changed))
    });
    tasks.collect()
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
        let said = news(&world.state, &world.instance, &healthy);
        assert_eq!(said, [(world.tasks[0].clone(), vec![("web".into(), Health::Healthy)])]);
        world
            .state
            .apply(&Event::TaskHealthReported { task: world.tasks[0].clone(), health: said[0].1.clone() });
        assert!(news(&world.state, &world.instance, &healthy).is_empty());
        assert_eq!(news(&world.state, &world.instance, &request(&world, "web", "UNHEALTHY")).len(), 1);
    }

    #[test]
    fn nothing_is_taken_for_another_instances_task() {
        let world = World::with_tasks(1);
        let other = InstanceKey { id: "f".repeat(32).parse().unwrap(), ..world.instance.clone() };
        assert!(news(&world.state, &other, &request(&world, "web", "HEALTHY")).is_empty());
        assert!(news(&world.state, &world.instance, &request(&world, "db", "HEALTHY")).is_empty());
    }
}
