//! An agent whose scheduler falls silent, on the fake engine: what schedulers would see of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecsr_api::acs::{HeartbeatMessage, Message};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::attend::{Host, serve};
use crate::config::Config;
use crate::engine::TaskReport;
use crate::ledger::Ledger;
use crate::runtime::fake::FakeRuntime;
use crate::uplink::{ApiFailure, Hello, Line, Received, Submitted, Unopened, Uplink};

const INSTANCE: &str = "arn:aws:ecs:r:1:container-instance/default/i";

/// What a scheduler does on one line, a second after the other: then it is silent for ever.
type Script = VecDeque<Received>;

/// Schedulers of which each line leads to the next one.
#[derive(Clone)]
struct Schedulers {
    scripts: Arc<Mutex<VecDeque<Script>>>,
    /// Told of each line and of each question.
    seen: mpsc::UnboundedSender<(&'static str, Instant)>,
    /// Whether another scheduler has taken over.
    has_moved: bool,
}

struct Scripted {
    script: Script,
    next_at: Instant,
}

impl Uplink for Schedulers {
    type Line = Scripted;

    async fn register(&self, _earlier: Option<&str>) -> Result<String, ApiFailure> {
        Ok(INSTANCE.to_owned())
    }

    async fn create_cluster(&self, _name: &str) -> Result<(), ApiFailure> {
        Ok(())
    }

    async fn submit(&self, _report: TaskReport) -> Submitted {
        Submitted::Acknowledged
    }

    async fn open(&self, _hello: Hello<'_>) -> Result<Scripted, Unopened> {
        let _ = self.seen.send(("line", Instant::now()));
        let script = self.scripts.lock().unwrap().pop_front().unwrap_or_default();
        Ok(Scripted { script, next_at: Instant::now() })
    }

    async fn has_moved(&self, container_instance: &str, place: &str) -> bool {
        assert_eq!((container_instance, place), (INSTANCE, "http://first/acs"));
        let _ = self.seen.send(("question", Instant::now()));
        self.has_moved
    }
}

impl Line for Scripted {
    async fn receive(&mut self) -> Result<Received, String> {
        if self.script.is_empty() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.next_at).await;
        self.next_at += Duration::from_secs(1);
        Ok(self.script.pop_front().expect("it was not empty"))
    }

    async fn send(&mut self, _text: String) -> Result<(), String> {
        Ok(())
    }

    fn place(&self) -> String {
        "http://first/acs".to_owned()
    }

    async fn close(&mut self, _reason: &'static str) {}
}

/// An agent at work with such schedulers; what they see.
fn agent(
    script: Vec<Received>,
    has_moved: bool,
) -> (impl Future<Output = ()>, mpsc::UnboundedReceiver<(&'static str, Instant)>) {
    let data_dir = tempfile::tempdir().expect("a directory can be made");
    let path = data_dir.path().to_string_lossy().into_owned();
    let config = Config::from_env(|name| (name == "ECS_DATADIR").then(|| path.clone()));
    let config = Arc::new(config.expect("the settings are valid"));
    let (seen, sights) = mpsc::unbounded_channel();
    let scripts = Arc::new(Mutex::new([Script::from(script)].into()));
    let uplink = Schedulers { scripts, seen, has_moved };
    let ledger = Ledger::open(&config.data_dir);
    let agent = async move {
        serve(Host { config, runtime: FakeRuntime::new(), uplink, ledger }).await;
        drop(data_dir);
    };
    (agent, sights)
}

fn pulse(seconds: usize) -> Vec<Received> {
    vec![Received::Pulse; seconds]
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_was_replaced_in_silence_is_left_within_seconds() {
    let (agent, mut sights) = agent(pulse(10), true);
    let background = tokio::spawn(agent);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(sights.recv().await.expect("the agent lives"));
    }
    let order: Vec<_> = seen.iter().map(|(what, _)| *what).collect();
    assert_eq!(order, ["line", "question", "line"]);
    let silent_from = seen[0].1 + Duration::from_secs(9);
    assert!(seen[2].1.duration_since(silent_from) < Duration::from_secs(8), "{seen:?}");
    background.abort();
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_nobody_replaced_is_kept_until_its_silence_is_too_long() {
    let (agent, mut sights) = agent(pulse(10), false);
    let background = tokio::spawn(agent);
    let (first, began) = sights.recv().await.expect("the agent lives");
    assert_eq!(first, "line");
    let mut questions = 0;
    let reopened = loop {
        match sights.recv().await.expect("the agent lives") {
            ("question", _) => questions += 1,
            (_, at) => break at,
        }
    };
    assert!(questions > 10, "{questions}");
    let held = reopened.duration_since(began);
    assert!(held > Duration::from_mins(1) && held < Duration::from_mins(3), "{held:?}");
    background.abort();
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_without_a_pulse_is_never_doubted() {
    let heartbeat = HeartbeatMessage { message_id: Some("m".to_owned()), healthy: Some(true) };
    let mut script = vec![Received::Text(Message::HeartbeatMessage(heartbeat).encode()); 20];
    script.extend([Received::Pulse, Received::Life, Received::Life, Received::Life, Received::Pulse]);
    let (agent, mut sights) = agent(script, true);
    let background = tokio::spawn(agent);
    for _ in 0..2 {
        let (what, _) = sights.recv().await.expect("the agent lives");
        assert_eq!(what, "line", "opened, and opened again after its silence");
    }
    background.abort();
}
