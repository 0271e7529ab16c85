//! The writer against a journal that fails on command.

use ecsr_api::ecs;
use ecsr_core::state::ClusterStatus;
use serde_json::json;

use super::*;
use crate::journal::{Failure as Fault, FakeJournal, record};
use crate::testing::{home, registration, request};

/// A running writer over a journal that the test keeps a hand on.
struct Running {
    driver: Driver,
    journal: FakeJournal,
    stop: watch::Sender<bool>,
    writer: oneshot::Receiver<Stopped>,
}

impl Running {
    async fn start(journal: FakeJournal) -> Self {
        let mut lent: Box<dyn Journal> = Box::new(journal.clone());
        let recovered = recover(&mut *lent, home()).expect("a good journal");
        let surroundings = surroundings(&recovered);
        let (stop, stopped) = watch::channel(false);
        let (driver, writer) = Driver::start(recovered, lent, surroundings, stopped).await.unwrap();
        Self { driver, journal, stop, writer }
    }

    async fn stop(self) -> FakeJournal {
        self.stop.send_replace(true);
        self.writer.await.unwrap();
        self.journal
    }
}

fn surroundings(recovered: &Recovered) -> Surroundings {
    Surroundings {
        clock: Clock::not_before(recovered.latest),
        entropy: Entropy::from_system().unwrap(),
        caller: home().root_arn(),
        events_per_snapshot_min: 4,
    }
}

fn create(name: &str) -> Command {
    Command::CreateCluster(request(json!({ "clusterName": name })))
}

fn names(state: &State) -> Vec<String> {
    let active = state.clusters.values().filter(|cluster| cluster.status == ClusterStatus::Active);
    active.map(|cluster| cluster.name.to_string()).collect()
}

#[tokio::test]
async fn an_answer_comes_with_the_durable_state_that_holds_it() {
    let running = Running::start(FakeJournal::default()).await;
    let done = running.driver.execute(create("web")).await.unwrap();
    assert_eq!(done.reply, Reply::Cluster("web".into()));
    assert_eq!(names(&done.state), ["web"]);
    assert_eq!(names(&running.driver.state()), ["web"]);
    let again = Running::start(running.stop().await).await;
    assert_eq!(names(&again.driver.state()), ["web"]);
}

#[tokio::test]
async fn commands_that_arrive_together_share_one_append() {
    let journal = FakeJournal::default();
    let recovered = recover(&mut journal.clone(), home()).expect("a good journal");
    let (queue, requests) = mpsc::channel(3);
    let mut answers = Vec::new();
    for name in ["a", "b", "c"] {
        let (answer, answered) = oneshot::channel();
        queue.send(Request { command: create(name), answer }).await.unwrap();
        answers.push(answered);
    }
    drop(queue);
    let (publisher, published) = watch::channel(recovered.state.clone());
    let (_stop, stopped) = watch::channel(false);
    let surroundings = surroundings(&recovered);
    let lent = Box::new(journal.clone());
    let (reached, _) = watch::channel(0);
    let courier = Courier::start(&Handle::current(), Bulletin::default());
    let writer = Writer::new(recovered, lent, surroundings, publisher, reached, courier);
    writer.run(requests, stopped).await;
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(names(&published.borrow()), ["a", "b", "c"]);
    assert_eq!(journal.appends(), 2, "the founding, and one for all three");
}

#[tokio::test]
async fn what_is_not_durable_never_happened() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        let running = Running::start(FakeJournal::default()).await;
        running.driver.execute(create("before")).await.unwrap();
        running.journal.fail(fault);
        let lost = running.driver.execute(create("lost")).await;
        assert!(matches!(lost, Err(Failure::NotDurable)), "{lost:?}");
        assert_eq!(names(&running.driver.state()), ["before"], "reads go on, without it");
        running.journal.heal();
        running.driver.execute(create("after")).await.unwrap();
        let again = Running::start(running.stop().await).await;
        assert_eq!(names(&again.driver.state()), ["after", "before"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_refusal_changes_nothing_and_costs_no_append() {
    let running = Running::start(FakeJournal::default()).await;
    let refused = running.driver.execute(Command::DeleteCluster(request(json!({"cluster": "none"})))).await;
    assert!(matches!(refused, Err(Failure::Refused(Refusal::ClusterNotFound))), "{refused:?}");
    assert_eq!(running.journal.appends(), 1, "the founding only");
}

#[tokio::test]
async fn what_is_queued_is_answered_before_the_writer_stops() {
    let running = Running::start(FakeJournal::default()).await;
    let answer = running.driver.submit(create("last")).await.unwrap();
    let driver = running.driver.clone();
    let journal = running.stop().await;
    assert!(answer.await.unwrap().is_ok());
    assert!(matches!(driver.execute(create("late")).await, Err(Failure::Stopping)));
    assert_eq!(journal.records().len(), 2);
}

#[tokio::test]
async fn after_a_restart_nobody_is_connected() {
    let running = Running::start(FakeJournal::default()).await;
    running.driver.execute(create("default")).await.unwrap();
    let done = running.driver.execute(Command::RegisterContainerInstance(registration())).await.unwrap();
    let Reply::Instance(instance) = done.reply else { panic!("{:?}", done.reply) };
    let version_info = ecs::VersionInfo::default();
    let connected = Command::AgentConnected { instance: instance.clone(), version_info };
    let done = running.driver.execute(connected).await.unwrap();
    assert!(done.state.instances[&instance].is_connected());

    let again = Running::start(running.stop().await).await;
    assert!(!again.driver.state().instances[&instance].is_connected(), "not even to the first who asks");
}

#[tokio::test]
async fn a_long_journal_is_cut_to_a_snapshot() {
    let running = Running::start(FakeJournal::default()).await;
    for round in 0..100 {
        if running.journal.snapshot_through().is_some() {
            break;
        }
        running.driver.execute(create(&format!("c{round}"))).await.unwrap();
    }
    assert!(running.journal.snapshot_through().is_some());
    running.driver.execute(create("kept")).await.unwrap();
    let journal = running.stop().await;
    let again = Running::start(journal).await;
    let names = names(&again.driver.state());
    assert!(
        ["c0", "c1", "c2", "kept"].iter().all(|name| names.iter().any(|found| found == name)),
        "{names:?}"
    );
}

#[test]
fn a_journal_of_another_home_is_refused() {
    let journal = FakeJournal::default();
    recover(&mut journal.clone(), home()).unwrap();
    let other = ecsr_api::arn::Home { region: "eu-west-1".into(), ..home() };
    let error = recover(&mut journal.clone(), other).unwrap_err();
    let expected = "belongs to account 123456789012 in us-east-1, not to account 123456789012 in eu-west-1";
    assert!(error.to_string().contains(expected), "{error}");
    recover(&mut journal.clone(), home()).expect("the refusal changed nothing");
}

#[test]
fn a_record_that_cannot_be_read_stops_the_start() {
    let check = |bytes: &[u8], expected: &str| {
        let mut journal = FakeJournal::default();
        let founded = record::Founding { account: home().account, region: home().region };
        let epoch = journal.load(&mut |_| Ok(())).unwrap().epoch;
        journal.append(epoch, 0, &[record::founding(&founded), bytes.to_vec()]).unwrap();
        let error = recover(&mut journal, home()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(expected), "{cause}");
    };
    check(b"{\"v\":1,\"ev", "record 1 cannot be read");
    check(b"{\"v\":7}", "newer version of ecsr (format 7)");
}
