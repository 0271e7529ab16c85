//! The whole agent but for its sockets, on the fake engine: what a scheduler would see.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_api::acs;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::*;
use crate::engine::{Status, TaskReport};
use crate::runtime::RuntimeError;
use crate::runtime::fake::{Call, Failure, FakeRuntime};
use crate::uplink::Submitted;

const INSTANCE: &str = "arn:aws:ecs:r:1:container-instance/default/i";

/// An agent with a scheduler that takes every report. Dropping it is `kill -9`.
struct Agent {
    handle: Handle,
    reports: mpsc::Receiver<TaskReport>,
    ledger: Ledger,
    _background: JoinSet<()>,
}

/// A host: its engine and its disk outlive agents.
struct Host {
    runtime: FakeRuntime,
    data_dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let runtime = FakeRuntime::new();
        runtime.add_image("image");
        Host { runtime, data_dir: tempfile::tempdir().expect("a directory can be made") }
    }

    async fn start_agent(&self) -> Agent {
        self.start_agent_registered_as(INSTANCE).await
    }

    /// An agent whose scheduler has not answered yet is registered as nothing.
    async fn start_agent_registered_as(&self, instance: &str) -> Agent {
        let data_dir = self.data_dir.path().to_string_lossy().into_owned();
        let env = |name: &str| (name == "ECS_DATADIR").then(|| data_dir.clone());
        let config = Arc::new(Config::from_env(env).expect("the settings are valid"));
        let ledger = Ledger::open(&config.data_dir);
        ledger.update(|entries| entries.remember_instance(INSTANCE));
        let reporter = Reporter::new(ledger.clone());
        let (stopped_sender, stopped) = mpsc::channel(16);
        let (_instance, container_instance) = watch::channel(instance.to_owned());
        let parts =
            Parts { config, ledger: ledger.clone(), reporter: reporter.clone(), stopped, container_instance };
        let (driver, handle) = Driver::new(self.runtime.clone(), parts);
        let (ready, adopted) = oneshot::channel();
        let (told, reports) = mpsc::channel(256);
        let mut background = JoinSet::new();
        background.spawn(ledger.clone().keep_writing());
        background.spawn(async move { driver.run(ready).await });
        adopted.await.expect("the driver adopts");
        let submit = move |report: TaskReport| {
            let told = told.clone();
            async move {
                let _ = told.send(report).await;
                Submitted::Acknowledged
            }
        };
        background.spawn(async move { reporter.deliver(submit, stopped_sender).await });
        Agent { handle, reports, ledger, _background: background }
    }
}

impl Agent {
    async fn payload(&self, tasks: Vec<acs::Task>) -> Accepted {
        let accepted = self.handle.ask(|reply| Command::Payload { tasks, reply }).await;
        accepted.expect("the driver answers")
    }

    async fn manifest(&self, tasks: &[(&str, &str)]) -> Vec<String> {
        let tasks: BTreeMap<String, String> =
            tasks.iter().map(|(arn, desired)| ((*arn).to_owned(), (*desired).to_owned())).collect();
        self.handle.ask(|reply| Command::Manifest { tasks, reply }).await.expect("the driver answers")
    }

    /// The next report, as task, status and the first container's reason or exit code.
    async fn report(&mut self) -> (String, Status, String) {
        let report = self.reports.recv().await.expect("a report comes");
        let container = report.containers.first();
        let reason = report.reason.or_else(|| container.and_then(|container| container.reason.clone()));
        let code = container.and_then(|container| container.exit_code).map(|code| code.to_string());
        (report.task_arn, report.status, reason.or(code).unwrap_or_default())
    }
}

fn task(arn: &str, image: &str, desired: &str) -> acs::Task {
    let json = format!(
        r#"{{"arn":"{arn}","family":"web","version":"1","desiredStatus":"{desired}",
            "containers":[{{"name":"web","image":"{image}","essential":true,
            "portMappings":[{{"containerPort":80}}]}}]}}"#
    );
    serde_json::from_str(&json).expect("the task is well formed")
}

fn name_of(arn: &str) -> String {
    let task = Task::load(task(arn, "image", "RUNNING")).expect("the task is valid");
    crate::task::names::container(&task.spec, "web")
}

fn running(arn: &str) -> (String, Status, String) {
    (arn.to_owned(), Status::Running, String::new())
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_is_reported_and_stops_when_told() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    assert_eq!(agent.payload(vec![task("t", "image", "RUNNING")]).await, Accepted::All);
    assert_eq!(agent.report().await, running("t"));
    let calls = [Call::Create, Call::Start, Call::Inspect].map(|call| host.runtime.calls(call));
    assert_eq!(calls, [1, 1, 1], "create, start, one look, and nothing else");
    agent.payload(vec![task("t", "image", "STOPPED")]).await;
    assert_eq!(agent.report().await, ("t".to_owned(), Status::Stopped, "143".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn many_tasks_of_one_image_look_at_it_once() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    let arns: Vec<String> = (0..14).map(|index| format!("t{index}")).collect();
    agent.payload(arns.iter().map(|arn| task(arn, "image", "RUNNING")).collect()).await;
    for _ in &arns {
        assert_eq!(agent.report().await.1, Status::Running);
    }
    assert_eq!(host.runtime.calls(Call::Image), 1);
    assert_eq!(host.runtime.running().len(), 14);
}

#[tokio::test(start_paused = true)]
async fn exits_and_removals_by_hand_are_reported() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    agent.payload(vec![task("a", "image", "RUNNING"), task("b", "image", "RUNNING")]).await;
    agent.report().await;
    agent.report().await;
    assert!(host.runtime.exit(&name_of("a"), 3));
    assert_eq!(agent.report().await, ("a".to_owned(), Status::Stopped, "3".to_owned()));
    assert!(host.runtime.vanish(&name_of("b")));
    let (arn, status, reason) = agent.report().await;
    assert_eq!((arn.as_str(), status), ("b", Status::Stopped));
    assert!(reason.starts_with("ContainerVanishedError"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_had_ends_the_task() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    agent.payload(vec![task("t", "nowhere", "RUNNING")]).await;
    let (_, status, reason) = agent.report().await;
    assert_eq!(status, Status::Stopped);
    assert!(reason.starts_with("CannotPullContainerError: Error response from daemon: manifest"), "{reason}");
    assert_eq!(host.runtime.calls(Call::Pull), 1, "what will not change is not tried again");
}

#[tokio::test(start_paused = true)]
async fn an_image_is_pulled_when_it_is_not_there() {
    let host = Host::new();
    host.runtime.add_to_registry("remote");
    let busy = RuntimeError::Refused { status: 500, message: "TLS handshake timeout".to_owned() };
    host.runtime.fail_next(Call::Pull, Failure::Before(busy));
    let mut agent = host.start_agent().await;
    agent.payload(vec![task("t", "remote", "RUNNING")]).await;
    assert_eq!(agent.report().await, running("t"));
    assert_eq!(host.runtime.calls(Call::Pull), 2);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_ends_no_task() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    let gone = || RuntimeError::Unavailable("connection refused".to_owned());
    host.runtime.fail_next(Call::Image, Failure::Before(gone()));
    host.runtime.fail_next(Call::Create, Failure::After(gone()));
    host.runtime.fail_next(Call::Start, Failure::After(gone()));
    host.runtime.fail_next(Call::Inspect, Failure::Before(gone()));
    agent.payload(vec![task("t", "image", "RUNNING")]).await;
    assert_eq!(agent.report().await, running("t"));
    assert_eq!(host.runtime.starts(), BTreeMap::from([(name_of("t"), 1)]), "made once, started once");
}

#[tokio::test(start_paused = true)]
async fn a_killed_agents_tasks_are_adopted_from_labels_alone() {
    let mut host = Host::new();
    let mut agent = host.start_agent().await;
    agent.payload(vec![task("t", "image", "RUNNING")]).await;
    agent.report().await;
    drop(agent);
    host.data_dir = tempfile::tempdir().expect("a directory can be made");
    let mut agent = host.start_agent().await;
    assert_eq!(agent.report().await, running("t"));
    assert_eq!(agent.manifest(&[("t", "RUNNING")]).await, Vec::<String>::new());
    assert_eq!(host.runtime.starts(), BTreeMap::from([(name_of("t"), 1)]));
    assert_eq!(agent.manifest(&[]).await, ["t"], "not wanted any more: the scheduler is asked");
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_makes_before_it_is_registered_is_adopted_by_the_next() {
    let host = Host::new();
    let mut agent = host.start_agent_registered_as("").await;
    agent.payload(vec![task("t", "image", "RUNNING")]).await;
    assert_eq!(agent.report().await, running("t"));
    drop(agent);
    assert_eq!(host.start_agent().await.report().await, running("t"));
}

#[tokio::test(start_paused = true)]
async fn a_task_acknowledged_before_the_kill_starts_once_the_scheduler_confirms_it() {
    let host = Host::new();
    let stuck = RuntimeError::Unavailable("busy".to_owned());
    let agent = host.start_agent().await;
    for _ in 0..1000 {
        host.runtime.fail_next(Call::Image, Failure::Before(stuck.clone()));
    }
    assert_eq!(agent.payload(vec![task("t", "image", "RUNNING")]).await, Accepted::All);
    drop(agent);
    host.runtime.forget_failures();
    let mut agent = host.start_agent().await;
    assert_eq!(host.runtime.starts(), BTreeMap::new());
    agent.manifest(&[("t", "RUNNING")]).await;
    assert_eq!(agent.report().await, running("t"));
}

#[tokio::test(start_paused = true)]
async fn what_the_manifest_wants_and_nobody_has_is_told_stopped() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    agent.manifest(&[("lost", "RUNNING"), ("done", "STOPPED")]).await;
    let (arn, status, reason) = agent.report().await;
    assert_eq!((arn.as_str(), status), ("lost", Status::Stopped));
    assert!(reason.starts_with("ContainerVanishedError"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_asks_for_too_much_is_told_stopped_and_not_acknowledged() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    let odd = acs::Task { network_mode: Some("awsvpc".to_owned()), ..task("odd", "image", "RUNNING") };
    assert_eq!(agent.payload(vec![odd, task("good", "image", "RUNNING")]).await, Accepted::Some);
    let mut told = [agent.report().await, agent.report().await];
    told.sort();
    assert_eq!(told[0], running("good"));
    assert!(told[1].2.contains("networkMode awsvpc"), "{:?}", told[1]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_cannot_be_stopped_is_not_told_stopped() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    agent.payload(vec![task("t", "image", "RUNNING")]).await;
    agent.report().await;
    host.runtime.make_stubborn(&name_of("t"));
    agent.payload(vec![task("t", "image", "STOPPED")]).await;
    let early = tokio::time::timeout(Duration::from_mins(10), agent.reports.recv()).await;
    assert!(early.is_err(), "{early:?}");
    host.runtime.make_obedient(&name_of("t"));
    assert_eq!(agent.report().await.1, Status::Stopped);
}

#[tokio::test(start_paused = true)]
async fn stopped_containers_are_removed_when_their_time_is_over() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    agent.payload(vec![task("t", "image", "RUNNING")]).await;
    agent.report().await;
    host.runtime.exit(&name_of("t"), 0);
    agent.report().await;
    // The fake's exits lie in the past, longer than any wait.
    host.runtime.emptied().await;
    let known = agent.handle.ask(|reply| Command::Views { reply }).await.expect("the driver answers");
    assert!(known.is_empty(), "{known:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_scheduler_knows_to_be_over_is_not_told_again() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    agent.payload(vec![task("old", "image", "RUNNING")]).await;
    agent.report().await;
    host.runtime.keep_containers();
    host.runtime.exit(&name_of("old"), 0);
    assert_eq!(agent.report().await.1, Status::Stopped);
    // Answered after the acknowledgement, which is on its way to the driver already, was taken in.
    agent.payload(vec![task("new", "image", "RUNNING")]).await;
    assert_eq!(agent.report().await, running("new"));
    agent.payload(Vec::new()).await;
    drop(agent);
    let mut agent = host.start_agent().await;
    assert_eq!(agent.report().await, running("new"), "and nothing of the old one before it");
}

#[tokio::test(start_paused = true)]
async fn a_task_role_needs_the_operators_consent() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    let role = acs::IAMRoleCredentials { credentials_id: Some("id".to_owned()), ..Default::default() };
    let task = acs::Task { role_credentials: Some(role), ..task("t", "image", "RUNNING") };
    assert_eq!(agent.payload(vec![task]).await, Accepted::Some);
    assert!(agent.report().await.2.contains("ECS_ENABLE_TASK_IAM_ROLE"));
}

#[tokio::test(start_paused = true)]
async fn what_was_to_stop_is_stopped_by_the_next_agent_and_never_restarted() {
    let host = Host::new();
    let mut agent = host.start_agent().await;
    let rule = acs::LocalRestart { delay_min: Some(1), delay_max: Some(300) };
    let of_service = acs::Task { local_restart: Some(rule), ..task("t", "image", "RUNNING") };
    agent.payload(vec![of_service]).await;
    assert_eq!(agent.report().await, running("t"));
    for _ in 0..1000 {
        host.runtime.fail_next(Call::Stop, Failure::Before(RuntimeError::Unavailable("busy".to_owned())));
    }
    agent.handle.order(Command::Stop { task_arns: vec!["t".to_owned()] }).await;
    assert_eq!(agent.manifest(&[]).await, Vec::<String>::new(), "it is on its way out");
    agent.ledger.update(|_| ()).written().await;
    drop(agent);
    host.runtime.forget_failures();
    let mut agent = host.start_agent().await;
    let (arn, status, _) = agent.report().await;
    let end = if status == Status::Running { agent.report().await.1 } else { status };
    assert_eq!((arn.as_str(), end), ("t", Status::Stopped), "with no word of a scheduler");
    assert_eq!(host.runtime.calls(Call::Start), 1);
}
