//! Agents that speak for instances which are not theirs: refused in IAM's words, and nothing comes of it.

use ecsr_api::tcs;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::tests::{Agent, Joined, Socket, acs_path, refusal};
use crate::keys::{AccessKey, Actions, Scope};
use crate::testing::registration;

/// Two hosts, each with a key of its own.
struct Hosts {
    joined: Joined,
    /// Whose instance `joined` is.
    own: AccessKey,
    other: AccessKey,
}

fn for_agents() -> Scope {
    Scope { clusters: ["default".to_owned()].into(), actions: Actions::Agent }
}

impl Hosts {
    async fn start() -> Self {
        let mut joined = Joined::start().await;
        let (own, other) = (joined.running.key(for_agents()), joined.running.key(for_agents()));
        // In the place of the one that was registered with the first key.
        joined.instance = register(&joined, &own, json!({})).await.expect("an agent's key registers");
        Self { joined, own, other }
    }

    /// The agent of the first host, connected.
    async fn agent(&self) -> Agent {
        let socket = self.joined.connect_by(&self.own, &self.joined.acs_path()).await;
        let mut agent = Agent { socket: socket.expect("it is its instance") };
        agent.manifest().await;
        agent
    }

    /// What is refused to a key.
    async fn refused(&self, key: &AccessKey, operation: &str, body: Value) -> String {
        let answer = self.joined.running.call_by(key, operation, &body.to_string()).await;
        assert_eq!(
            (answer.status, &answer.body["__type"]),
            (400, &json!("AccessDeniedException")),
            "{operation}: {answer:?}"
        );
        answer.body["message"].as_str().unwrap().to_owned()
    }
}

/// Registers an instance; the refusal if it is refused.
async fn register(joined: &Joined, key: &AccessKey, more: Value) -> Result<String, String> {
    let mut body = serde_json::to_value(registration()).unwrap();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = joined.running.call_by(key, "RegisterContainerInstance", &body.to_string()).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if answer.status == 200 {
        Ok(text(&answer.body["containerInstance"]["containerInstanceArn"]))
    } else {
        Err(text(&answer.body["__type"]))
    }
}

#[tokio::test]
async fn no_agent_opens_the_channels_of_another() {
    let hosts = Hosts::start().await;
    let joined = &hosts.joined;
    for path in [joined.acs_path(), joined.tcs_path()] {
        let opened = joined.connect_by(&hosts.other, &path).await;
        assert_eq!(refusal(opened), (403, "AccessDeniedException".into()));
        joined.connect_by(&hosts.own, &path).await.expect("it is its instance");
        joined.connect_by(&joined.running.key, &path).await.expect("who may do everything may do this");
    }
    let elsewhere = joined.running.key(Scope { clusters: ["prod".to_owned()].into(), ..for_agents() });
    let opened = joined.connect_by(&elsewhere, &acs_path("unknown")).await;
    assert_eq!(refusal(opened), (403, "AccessDeniedException".into()), "nothing is said of what there is");
}

#[tokio::test]
async fn a_report_about_anothers_task_is_refused_and_changes_nothing() {
    let hosts = Hosts::start().await;
    let mut agent = hosts.agent().await;
    let task = hosts.joined.run_task().await;
    agent.payload().await;
    let report = json!({"task": task, "status": "STOPPED", "reason": "it was me"});
    let message = hosts.refused(&hosts.other, "SubmitTaskStateChange", report.clone()).await;
    assert_eq!(
        message,
        format!(
            "User: arn:aws:iam::123456789012:user/{} is not authorized to perform: ecs:SubmitTaskStateChange on \
             resource: {} because no identity-based policy allows the ecs:SubmitTaskStateChange action",
            hosts.other.id, hosts.joined.instance
        )
    );
    hosts.refused(&hosts.other, "SubmitContainerStateChange", report.clone()).await;
    let instance = &hosts.joined.instance;
    hosts.refused(&hosts.other, "DeregisterContainerInstance", json!({"containerInstance": instance})).await;
    let drain = json!({"containerInstances": [instance], "status": "DRAINING"});
    hosts.refused(&hosts.other, "UpdateContainerInstancesState", drain).await;
    let shown = hosts.joined.running.ask("DescribeTasks", json!({"tasks": [task]})).await;
    assert_eq!(shown["tasks"][0]["lastStatus"], "PENDING");
    agent.settle().await;

    let report = report.to_string();
    let reported = hosts.joined.running.call_by(&hosts.own, "SubmitTaskStateChange", &report).await;
    assert_eq!(reported.status, 200, "{reported:?}");
    let shown = hosts.joined.running.ask("DescribeTasks", json!({"tasks": [task]})).await;
    assert_eq!(shown["tasks"][0]["lastStatus"], "STOPPED");
}

#[tokio::test]
async fn an_instance_is_registered_again_by_its_own_key_or_when_that_is_gone() {
    let hosts = Hosts::start().await;
    let earlier = json!({"containerInstanceArn": hosts.joined.instance});
    let again = register(&hosts.joined, &hosts.own, earlier.clone()).await;
    assert_eq!(again.as_ref(), Ok(&hosts.joined.instance));
    let stolen = register(&hosts.joined, &hosts.other, earlier.clone()).await;
    assert_eq!(stolen, Err("AccessDeniedException".to_owned()));
    hosts.joined.running.delete_key(&hosts.own);
    let inherited = register(&hosts.joined, &hosts.other, earlier).await;
    assert_eq!(inherited.as_ref(), Ok(&hosts.joined.instance));
    let opened = hosts.joined.connect_by(&hosts.other, &hosts.joined.acs_path()).await;
    opened.expect("it is its instance now");
}

/// Says something on TCS, signed with that key, and gives what is answered.
async fn publish(hosts: &Hosts, socket: &mut Socket, key: &AccessKey, message: &Value) -> tcs::Message {
    let body = message.to_string();
    let headers = hosts.joined.running.signed_for_by(key, &hosts.joined.tcs_path(), body.as_bytes());
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    socket.send(Message::text(tcs::frame::compose(headers, &body))).await.unwrap();
    loop {
        let received = socket.next().await.expect("the channel is open").unwrap();
        match tcs::Message::decode(received.to_text().unwrap()).unwrap() {
            tcs::Message::HeartbeatMessage(_) => {}
            other => return other,
        }
    }
}

#[tokio::test]
async fn health_of_another_instance_is_refused_and_of_its_tasks_passed_over() {
    let hosts = Hosts::start().await;
    let mut agent = hosts.agent().await;
    let task = hosts.joined.run_task().await;
    agent.payload().await;
    let victim = hosts.joined.instance.clone();
    let instance = register(&hosts.joined, &hosts.other, json!({})).await.unwrap();
    let intruder = Hosts { joined: Joined { instance, ..hosts.joined }, ..hosts };
    let mut socket = intruder.joined.connect_by(&intruder.other, &intruder.joined.tcs_path()).await.unwrap();
    let container = json!({"containerName": "web", "healthStatus": "UNHEALTHY", "statusSince": 1});
    let health = |named: &str| {
        json!({"type": "PublishHealthRequest", "message": {
            "metadata": {"cluster": "default", "containerInstance": named, "messageId": "m", "fin": true},
            "tasks": [{"taskArn": task, "containers": [container]}], "timestamp": 1,
        }})
    };
    let answer = publish(&intruder, &mut socket, &intruder.other, &health(&victim)).await;
    assert_eq!(answer.kind(), "ResourceValidationException", "{answer:?}");
    let own = intruder.joined.instance.clone();
    let answer = publish(&intruder, &mut socket, &intruder.other, &health(&own)).await;
    assert_eq!(answer.kind(), "AckPublishHealth", "the rest of a report counts: {answer:?}");
    let shown = intruder.joined.running.ask("DescribeTasks", json!({"tasks": [task]})).await;
    assert_ne!(shown["tasks"][0]["containers"][0]["healthStatus"], "UNHEALTHY", "{shown}");
    agent.settle().await;
}
