//! What a user would notice of the engine: told as short stories on a world that obeys at once.

use std::time::Duration;

use ecsr_api::Timestamp;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1000);
const ARN: &str = "t";

fn container(name: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.to_owned(),
        image: "image".to_owned(),
        essential: true,
        depends_on: Vec::new(),
        start_timeout: None,
        stop_timeout: None,
        restart: None,
        health_checked: false,
    }
}

fn after(mut container: ContainerSpec, other: &str, condition: Condition) -> ContainerSpec {
    container.depends_on.push(Dependency { container: other.to_owned(), condition });
    container
}

fn optional(container: ContainerSpec) -> ContainerSpec {
    ContainerSpec { essential: false, ..container }
}

fn spec(containers: Vec<ContainerSpec>) -> TaskSpec {
    let (family, version) = ("f".to_owned(), "1".to_owned());
    TaskSpec { arn: ARN.to_owned(), family, version, local_restart: None, containers }
}

fn key(name: &str) -> ContainerKey {
    ContainerKey { task_arn: ARN.to_owned(), container: name.to_owned() }
}

fn running(name: &str) -> Snapshot {
    Snapshot {
        id: format!("id-{name}"),
        state: RunState::Running { started_at: NOW },
        health: None,
        bindings: Vec::new(),
    }
}

fn exited(name: &str, exit_code: i64, lasted: u64) -> Snapshot {
    let finished_at = NOW.plus(Duration::from_secs(lasted));
    let exit = Exit { started_at: NOW, finished_at, exit_code, oom_killed: false, error: None };
    Snapshot { state: RunState::Exited(exit), ..running(name) }
}

/// An engine, and what it asked for in words.
struct Story {
    engine: Engine,
    reports: Vec<TaskReport>,
    asked: Vec<String>,
}

impl Story {
    fn new() -> Self {
        let settings = Settings {
            stop_timeout: Duration::from_secs(30),
            cleanup_wait: Duration::from_hours(1),
            pull_upfront: false,
        };
        Story { engine: Engine::new(settings), reports: Vec::new(), asked: Vec::new() }
    }

    fn of(containers: Vec<ContainerSpec>) -> Self {
        let mut story = Story::new();
        story.tell(Input::Run(spec(containers)));
        story
    }

    /// Gives an input; pulls, creates and starts succeed at once, everything else is noted.
    fn tell(&mut self, input: Input) {
        for action in self.engine.handle(input, NOW) {
            match action {
                Action::Pull { key, .. } => {
                    let image = Image { digest: None, pull_started_at: None, pull_stopped_at: None };
                    self.tell(Input::Pulled { key, outcome: Ok(image) });
                }
                Action::Create { key } => {
                    let snapshot = Snapshot { state: RunState::Created, ..running(&key.container) };
                    self.tell(Input::Created { key, outcome: Ok(snapshot) });
                }
                Action::Start { key, .. } => {
                    self.asked.push(format!("start {}", key.container));
                    let outcome = Ok(running(&key.container));
                    self.tell(Input::Started { key, outcome });
                }
                Action::Stop { key, .. } => self.asked.push(format!("stop {}", key.container)),
                Action::Report(report) => self.reports.push(report),
                Action::SetTimer { timer, .. } => self.asked.push(format!("timer {timer:?}")),
                Action::Remove { .. } => self.asked.push("remove".to_owned()),
                Action::TellHealth => self.asked.push("health".to_owned()),
            }
        }
    }

    fn observe(&mut self, name: &str, snapshot: Snapshot) {
        self.tell(Input::Observed { key: key(name), snapshot });
    }

    fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.asked)
    }

    fn statuses(&self) -> Vec<Status> {
        self.reports.iter().map(|report| report.status).collect()
    }

    fn last(&self, name: &str) -> &ContainerReport {
        let report = self.reports.last().expect("a report was made");
        report
            .containers
            .iter()
            .find(|container| container.name == name)
            .expect("the report has the container")
    }
}

#[test]
fn the_news_of_a_death_is_enough_for_a_run_that_is_known() {
    let died = |id: &str| Input::Died { key: key("web"), id: id.to_owned(), exit_code: 137, at: NOW };
    let mut story = Story::of(vec![container("web")]);
    story.tell(died("another"));
    assert_eq!(story.statuses(), [Status::Running], "not this container's death");
    story.tell(died("id-web"));
    assert_eq!(story.statuses(), [Status::Running, Status::Stopped]);
    assert_eq!(story.last("web").exit_code, Some(137));
    story.observe("web", exited("web", 137, 5));
    assert_eq!(story.reports.len(), 2, "the inspection after it is no news");

    let policy = RestartPolicy { ignored_exit_codes: Vec::new(), attempt_period: Duration::ZERO };
    let mut story = Story::of(vec![ContainerSpec { restart: Some(policy), ..container("web") }]);
    assert!(!story.engine.takes_death(&key("web")), "one exit must be told from the next");
    story.tell(died("id-web"));
    assert_eq!(story.statuses(), [Status::Running]);
}

#[test]
fn a_task_runs_and_ends_with_its_essential_container() {
    let mut story = Story::of(vec![container("web"), optional(container("side"))]);
    assert_eq!(story.statuses(), [Status::Running]);
    story.asked();
    story.observe("web", exited("web", 7, 5));
    assert_eq!(story.asked(), ["stop side"]);
    assert_eq!(story.statuses(), [Status::Running], "not while the side car runs");
    story.observe("side", exited("side", 143, 6));
    assert_eq!(story.statuses(), [Status::Running, Status::Stopped]);
    assert_eq!(story.last("web").exit_code, Some(7));
    assert_eq!(story.reports[1].execution_stopped_at, Some(NOW.plus(Duration::from_secs(5))));
}

#[test]
fn a_side_cars_exit_is_told_at_once_and_ends_nothing() {
    let mut story = Story::of(vec![container("web"), optional(container("side"))]);
    story.observe("side", exited("side", 0, 1));
    assert_eq!(story.statuses(), [Status::Running, Status::Running]);
    assert_eq!(story.last("side").status, Status::Stopped);
    assert_eq!(story.last("web").status, Status::Running);
}

#[test]
fn a_job_that_ends_before_it_is_seen_running_is_told_running_then_stopped() {
    let mut story = Story::new();
    for action in story.engine.handle(Input::Run(spec(vec![container("job")])), NOW) {
        assert!(matches!(action, Action::Pull { .. }));
    }
    let image = Image { digest: None, pull_started_at: None, pull_stopped_at: None };
    story.engine.handle(Input::Pulled { key: key("job"), outcome: Ok(image) }, NOW);
    let created = Snapshot { state: RunState::Created, ..running("job") };
    story.engine.handle(Input::Created { key: key("job"), outcome: Ok(created) }, NOW);
    story.tell(Input::Started { key: key("job"), outcome: Ok(exited("job", 0, 0)) });
    assert_eq!(story.statuses(), [Status::Running, Status::Stopped]);
}

#[test]
fn containers_wait_for_their_conditions() {
    let cases = [
        (Condition::Complete, exited("first", 3, 1), true),
        (Condition::Success, exited("first", 0, 1), true),
        (Condition::Success, exited("first", 3, 1), false),
    ];
    for (condition, end, goes_on) in cases {
        let mut story =
            Story::of(vec![optional(container("first")), after(container("second"), "first", condition)]);
        assert_eq!(story.asked(), ["start first"], "{condition:?}");
        story.observe("first", end);
        if goes_on {
            assert_eq!(story.asked(), ["start second"], "{condition:?}");
        } else {
            assert_eq!(story.statuses(), [Status::Stopped], "the second never ran");
            assert_eq!(story.last("second").exit_code, Some(143));
            assert!(story.last("second").reason.as_ref().unwrap().contains("exited with code 3"));
        }
    }
}

#[test]
fn a_dependent_starts_when_the_other_is_healthy_and_gives_up_after_its_start_timeout() {
    let first = ContainerSpec {
        health_checked: true,
        start_timeout: Some(Duration::from_secs(10)),
        ..container("first")
    };
    let containers = vec![first, after(container("second"), "first", Condition::Healthy)];
    let mut story = Story::of(containers.clone());
    assert_eq!(story.asked()[1], "start first");
    story.tell(Input::Health { key: key("first"), health: Health::Unhealthy });
    assert_eq!(story.asked(), ["health"]);
    story.tell(Input::Health { key: key("first"), health: Health::Healthy });
    assert_eq!(story.asked(), ["health", "start second"]);

    let mut story = Story::of(containers);
    story.tell(Input::TimerFired(Timer::StartTimeout(key("first"))));
    assert!(story.asked().contains(&"stop first".to_owned()), "the task ends");
    story.observe("first", exited("first", 143, 11));
    assert!(story.last("second").reason.as_ref().unwrap().contains("startTimeout"));
}

#[test]
fn containers_stop_in_the_reverse_order_of_their_start() {
    let mut story = Story::of(vec![container("db"), after(container("web"), "db", Condition::Start)]);
    assert_eq!(story.asked(), ["start db", "start web"]);
    story.tell(Input::Stop { task_arn: ARN.to_owned() });
    assert_eq!(story.asked(), ["stop web"]);
    story.observe("web", exited("web", 143, 1));
    assert_eq!(story.asked(), ["stop db"]);
    story.observe("db", exited("db", 143, 2));
    assert_eq!(story.statuses(), [Status::Running, Status::Stopped]);
}

#[test]
fn stopped_is_told_only_when_the_container_is_known_to_have_ended() {
    let mut story = Story::of(vec![container("web")]);
    story.tell(Input::Stop { task_arn: ARN.to_owned() });
    story.tell(Input::StopFailed { key: key("web") });
    assert_eq!(story.statuses(), [Status::Running]);
    story.asked();
    story.tell(Input::TimerFired(Timer::StopRetry(key("web"))));
    assert_eq!(story.asked(), ["stop web"]);
    story.observe("web", running("web"));
    assert_eq!(story.statuses(), [Status::Running]);
    story.observe("web", exited("web", 137, 60));
    assert_eq!(story.statuses(), [Status::Running, Status::Stopped]);
}

#[test]
fn a_container_that_somebody_removed_is_stopped() {
    let mut story = Story::of(vec![container("web")]);
    story.tell(Input::Gone { key: key("web"), id: "another".to_owned() });
    assert_eq!(story.statuses(), [Status::Running], "news of another container of that name");
    story.tell(Input::Gone { key: key("web"), id: "id-web".to_owned() });
    assert_eq!(story.statuses(), [Status::Running, Status::Stopped]);
    assert!(story.last("web").reason.as_ref().unwrap().starts_with("ContainerVanishedError"));
}

#[test]
fn a_failed_pull_ends_the_task_with_its_reason() {
    let mut story = Story::new();
    story.engine.handle(Input::Run(spec(vec![container("web"), optional(container("side"))])), NOW);
    story.tell(Input::Pulled { key: key("web"), outcome: Err("CannotPullContainerError: no".to_owned()) });
    assert_eq!(story.statuses(), [Status::Stopped]);
    assert_eq!(story.last("web").reason.as_deref(), Some("CannotPullContainerError: no"));
    assert_eq!(story.last("web").runtime_id, None);
}

#[test]
fn a_container_is_restarted_in_place_as_its_policy_says() {
    let policy = RestartPolicy { ignored_exit_codes: vec![42], attempt_period: Duration::from_mins(1) };
    let cases = [(1, 60, true), (0, 90, true), (1, 59, false), (42, 90, false)];
    for (code, lasted, restarts) in cases {
        let mut story = Story::of(vec![ContainerSpec { restart: Some(policy.clone()), ..container("web") }]);
        story.asked();
        story.observe("web", exited("web", code, lasted));
        if restarts {
            assert_eq!(story.asked(), ["start web"], "{code} {lasted}");
            story.observe("web", exited("web", code, lasted));
            assert_eq!(story.statuses(), [Status::Running], "late news of the same exit changes nothing");
        } else {
            assert_eq!(story.statuses(), [Status::Running, Status::Stopped], "{code} {lasted}");
        }
    }
}

#[test]
fn adopted_tasks_keep_running_and_start_nothing_until_confirmed() {
    let mut story = Story::new();
    let containers = vec![container("db"), after(container("web"), "db", Condition::Start)];
    let found = vec![("db".to_owned(), running("db"))];
    story.tell(Input::Adopt { spec: spec(containers), containers: found });
    assert_eq!(story.asked(), Vec::<String>::new());
    assert_eq!(story.engine.wanted().collect::<Vec<_>>(), [ARN]);
    story.tell(Input::Confirm { task_arn: ARN.to_owned() });
    assert_eq!(story.asked(), ["start web"], "the database was running and is not touched");
    assert_eq!(story.statuses(), [Status::Running]);
}

#[test]
fn an_adopted_task_that_ended_meanwhile_is_told_stopped() {
    let mut story = Story::new();
    let found = vec![("web".to_owned(), exited("web", 1, 5))];
    story.tell(Input::Adopt { spec: spec(vec![container("web")]), containers: found });
    assert_eq!(story.statuses(), [Status::Running, Status::Stopped]);
    assert_eq!(story.last("web").exit_code, Some(1));
}

#[test]
fn unknown_tasks_are_told_stopped() {
    let mut story = Story::new();
    story.tell(Input::Stop { task_arn: "ghost".to_owned() });
    story.tell(Input::Reject { task_arn: "odd".to_owned(), reason: "no".to_owned() });
    story.tell(Input::Run(spec(vec![after(container("web"), "web", Condition::Start)])));
    assert_eq!(story.statuses(), [Status::Stopped; 3]);
    assert_eq!(story.reports[1].reason.as_deref(), Some("no"));
    assert!(story.reports[2].reason.as_ref().unwrap().starts_with("Task dependencies cannot be resolved"));
}

#[test]
fn clean_up_waits_until_stopped_was_accepted_and_tries_again() {
    let mut story = Story::of(vec![container("web")]);
    let (accepted, cleanup) =
        (Input::StopAccepted { task_arn: ARN.to_owned() }, Timer::Cleanup(ARN.to_owned()));
    story.tell(Input::TimerFired(cleanup.clone()));
    story.observe("web", exited("web", 0, 0));
    story.asked();
    story.tell(accepted.clone());
    story.tell(accepted);
    assert_eq!(story.asked(), ["timer Cleanup(\"t\")"], "once");
    story.tell(Input::TimerFired(cleanup.clone()));
    assert_eq!(story.asked(), ["remove"]);
    story.tell(Input::Removed { task_arn: ARN.to_owned(), outcome: Removal::Failed });
    story.tell(Input::TimerFired(cleanup));
    story.tell(Input::Removed { task_arn: ARN.to_owned(), outcome: Removal::Done });
    assert!(story.engine.is_empty());
}

#[test]
fn what_comes_back_to_life_is_stopped_again() {
    let mut story = Story::of(vec![container("web")]);
    story.observe("web", exited("web", 0, 0));
    story.asked();
    story.observe("web", running("web"));
    assert_eq!(story.asked(), ["stop web"]);
    assert_eq!(story.statuses(), [Status::Running, Status::Stopped]);
}

/// A story of a service's task, which is restarted while the scheduler is away.
fn of_a_service(containers: Vec<ContainerSpec>) -> Story {
    let rule = LocalRestart { delay_min: Duration::from_secs(1), delay_max: Duration::from_secs(8) };
    let mut story = Story::new();
    story.tell(Input::Run(TaskSpec { local_restart: Some(rule), ..spec(containers) }));
    story.asked();
    story
}

fn rested(name: &str) -> Input {
    Input::TimerFired(Timer::Rest(key(name)))
}

#[test]
fn a_services_container_is_restarted_while_the_scheduler_is_away() {
    let mut story = of_a_service(vec![container("web")]);
    story.tell(Input::Contact(Contact::Present));
    story.tell(Input::Contact(Contact::Away));
    assert!(!story.engine.takes_death(&key("web")), "one exit is to be told from the next");
    story.observe("web", exited("web", 1, 1));
    assert_eq!(story.asked(), [format!("timer {:?}", Timer::Rest(key("web")))]);
    story.observe("web", exited("web", 1, 1));
    story.tell(rested("web"));
    assert_eq!(story.asked(), ["start web"]);
    story.observe("web", exited("web", 1, 1));
    story.tell(rested("web"));
    assert_eq!(story.asked(), [""; 0], "late news of the same exit, and a timer that is pointless");
    assert_eq!(story.statuses(), [Status::Running], "for the scheduler it ran all the time");

    story.tell(Input::Contact(Contact::Present));
    story.observe("web", exited("web", 1, 9));
    assert_eq!(story.statuses(), [Status::Running, Status::Stopped], "with a scheduler the end is the end");
    assert_eq!(story.last("web").exit_code, Some(1));
}

#[test]
fn the_answer_to_a_start_may_come_after_the_end_of_what_it_started() {
    let mut story = of_a_service(vec![container("web")]);
    let again = |seconds: u64| NOW.plus(Duration::from_secs(seconds));
    story.observe("web", exited("web", 1, 1));
    story.tell(rested("web"));
    let exit =
        Exit { started_at: again(2), finished_at: again(3), exit_code: 1, oom_killed: false, error: None };
    story.observe("web", Snapshot { state: RunState::Exited(exit), ..running("web") });
    let late = Snapshot { state: RunState::Running { started_at: again(2) }, ..running("web") };
    story.tell(Input::Started { key: key("web"), outcome: Ok(late) });
    story.asked();
    story.tell(rested("web"));
    assert_eq!(story.asked(), ["start web"], "it was not taken for running");
}

#[test]
fn a_start_that_was_lost_is_asked_for_again() {
    let mut story = of_a_service(vec![container("web")]);
    story.observe("web", exited("web", 1, 1));
    let asked = story.engine.handle(rested("web"), NOW);
    assert!(matches!(asked[..], [Action::Start { .. }]));
    story.asked();
    story.tell(Input::Started { key: key("web"), outcome: Ok(exited("web", 1, 1)) });
    assert_eq!(story.asked(), ["start web"], "what was seen is the end before");
}

#[test]
fn pauses_grow_up_to_a_bound_until_a_run_lasts() {
    let mut story = of_a_service(vec![container("web")]);
    let pause_after = |story: &mut Story, lasted: u64| {
        let snapshot = exited("web", 1, lasted);
        let actions = story.engine.handle(Input::Observed { key: key("web"), snapshot }, NOW);
        story.tell(rested("web"));
        match actions.as_slice() {
            [Action::SetTimer { after, .. }] => after.as_secs(),
            other => panic!("{other:?}"),
        }
    };
    // Each exit at a time of its own, as it is in life.
    let pauses: Vec<u64> = (1..=6).map(|lasted| pause_after(&mut story, lasted)).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 8, 8]);
    assert_eq!(pause_after(&mut story, 60), 1);
}

#[test]
fn who_pauses_is_started_by_the_word_of_a_scheduler_that_is_back_or_stopped_by_it() {
    for wanted in [true, false] {
        let mut story = of_a_service(vec![container("web")]);
        story.observe("web", exited("web", 1, 1));
        story.tell(Input::Contact(Contact::Present));
        story.asked();
        let task_arn = ARN.to_owned();
        if wanted {
            story.tell(Input::Confirm { task_arn });
            assert_eq!((story.asked(), story.statuses()), (vec!["start web".into()], vec![Status::Running]));
        } else {
            story.tell(Input::Stop { task_arn });
            assert_eq!(story.asked(), [""; 0]);
            assert_eq!(story.statuses(), [Status::Running, Status::Stopped]);
        }
    }
}

#[test]
fn what_was_removed_while_the_scheduler_is_away_is_made_anew() {
    let mut story = of_a_service(vec![container("web")]);
    story.tell(Input::Gone { key: key("web"), id: "id-web".to_owned() });
    story.asked();
    story.tell(rested("web"));
    assert_eq!(story.asked(), ["start web"]);
    assert_eq!(story.statuses().last(), Some(&Status::Running));
    assert_eq!(story.last("web").reason, None);
}

#[test]
fn what_ended_before_this_agent_came_is_not_restarted() {
    let mut story = Story::new();
    let rule = LocalRestart { delay_min: Duration::from_secs(1), delay_max: Duration::from_secs(8) };
    let spec = TaskSpec { local_restart: Some(rule), ..spec(vec![container("web")]) };
    let containers = vec![("web".to_owned(), exited("web", 1, 5))];
    story.tell(Input::Adopt { spec, containers });
    assert_eq!(story.statuses().last(), Some(&Status::Stopped), "it may have been told to stop");
}

#[test]
fn an_adopted_container_that_ends_while_the_scheduler_is_away_is_restarted_unconfirmed() {
    let mut story = Story::new();
    let rule = LocalRestart { delay_min: Duration::from_secs(1), delay_max: Duration::from_secs(8) };
    let spec = TaskSpec { local_restart: Some(rule), ..spec(vec![container("web")]) };
    story.tell(Input::Adopt { spec, containers: vec![("web".to_owned(), running("web"))] });
    story.observe("web", exited("web", 1, 5));
    story.asked();
    story.tell(rested("web"));
    assert_eq!(story.asked(), ["start web"]);
}

#[test]
fn only_essential_containers_of_services_are_restarted() {
    let mut story = of_a_service(vec![container("web"), optional(container("side"))]);
    story.observe("side", exited("side", 1, 1));
    assert_eq!(story.asked(), [""; 0]);
    let mut story = Story::of(vec![container("web")]);
    story.observe("web", exited("web", 1, 1));
    assert_eq!(story.statuses(), [Status::Running, Status::Stopped]);
}
