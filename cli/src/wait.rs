//! Waiting for services and tasks: asks ECS at the session's pace, shows how things stand, and ends when
//! [`decide`] says so. An endpoint that is away for a moment (a scheduler being restarted) is waited out.

pub(crate) mod decide;
pub(crate) mod progress;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ecs::{CallError, Operation};
use crate::error::{Failure, Kind, not_found};
use crate::output::text::{last_part, list, text};
use crate::output::time::short;
use crate::refs::Located;
use crate::session::{Pace, SERVICES, Session, TASKS};
use decide::{Deaths, Elapsed, Goal, Verdict, View, decide, is_obstacle};
use progress::Progress;

/// How long the endpoint may be away in one piece: a restart takes a second, a longer absence is worth an
/// error.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// How often stopped tasks are looked at, to tell a slow start from one that keeps failing.
const DEATHS_EVERY: Duration = Duration::from_secs(1);

/// Reasons shown of tasks that fail: they are nearly always the same.
const REASONS_MAX: usize = 3;

/// Asks again and again, fast after a change and slower while nothing changes.
#[derive(Debug)]
struct Ticker {
    pace: Pace,
    delay: Duration,
    away_since: Option<Instant>,
}

impl Ticker {
    fn new(pace: Pace) -> Self {
        Self { pace, delay: pace.shortest, away_since: None }
    }

    async fn tick(&mut self) {
        tokio::time::sleep(self.delay).await;
        self.delay = (self.delay * 3 / 2).min(self.pace.longest);
    }

    fn changed(&mut self) {
        self.delay = self.pace.shortest;
    }

    /// The answer of a call; `None` when the endpoint is away for a moment.
    fn tolerate<T>(&mut self, answer: Result<T, CallError>) -> Result<Option<T>, Failure> {
        match answer {
            Ok(answer) => {
                self.away_since = None;
                Ok(Some(answer))
            }
            Err(error) if error.is_transient() => {
                let since = *self.away_since.get_or_insert_with(Instant::now);
                if since.elapsed() < AWAY_MAX { Ok(None) } else { Err(error.into()) }
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What is known before the request that a wait follows, so that only news count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Baseline {
    stopped: BTreeSet<String>,
    events: BTreeSet<String>,
}

impl Baseline {
    /// Of a service that exists already.
    pub(crate) async fn of(session: &Session, service: &Located) -> Result<Self, Failure> {
        let stopped = stopped_tasks(session, service).await?;
        let described = session.describe_one(SERVICES, &service.cluster, &service.name).await?;
        Ok(Self { stopped: arns(&stopped), events: event_ids(&described) })
    }
}

/// Waits until `service` is stable; answers its last description.
///
/// Fails with kind not-stable and the reason when it cannot become so, or when the goal's time is over.
pub(crate) async fn service_stable(
    session: &Session,
    service: &Located,
    goal: &Goal,
    baseline: Baseline,
) -> Result<Value, Failure> {
    let mut watch = Watch::new(session, service, goal, baseline);
    let mut ticker = Ticker::new(session.pace());
    loop {
        if let Some(described) = ticker.tolerate(watch.look().await)? {
            let moved = watch.note(&described);
            if moved {
                ticker.changed();
            }
            match watch.judge().await? {
                Verdict::Wait => {}
                Verdict::Stable => return Ok(described),
                Verdict::Hopeless(reason) => return Err(watch.failure(&reason)),
                Verdict::TasksFail(reason) => return Err(watch.tasks_fail(&reason).await),
                Verdict::TimedOut => return Err(watch.timed_out().await),
            }
        }
        ticker.tick().await;
    }
}

/// A service being watched: what was seen last, and when it last moved.
struct Watch<'a> {
    session: &'a Session,
    service: &'a Located,
    goal: &'a Goal,
    baseline: Baseline,
    progress: Progress,
    began: Instant,
    moved: Instant,
    view: View,
    deaths: Deaths,
    deaths_seen: Instant,
}

impl<'a> Watch<'a> {
    fn new(session: &'a Session, service: &'a Located, goal: &'a Goal, baseline: Baseline) -> Self {
        let now = Instant::now();
        Self {
            session,
            service,
            goal,
            baseline,
            progress: Progress::start(),
            began: now,
            moved: now,
            view: View::default(),
            deaths: Deaths::default(),
            deaths_seen: now,
        }
    }

    fn name(&self) -> &str {
        last_part(&self.service.name)
    }

    async fn look(&self) -> Result<Value, CallError> {
        let request = json!({"cluster": self.service.cluster, "services": [self.service.name]});
        self.session.try_call(Operation::DescribeServices, request).await
    }

    /// Takes in an answer, shows it, and says whether anything moved.
    fn note(&mut self, answer: &Value) -> bool {
        let service = &answer["services"][0];
        let view = View::read(service);
        let fresh =
            list(service, "events").iter().filter(|event| !self.baseline.events.contains(&text(event, "id")));
        for event in fresh.collect::<Vec<_>>().into_iter().rev() {
            self.progress.event(&format!("  {}", in_brief(&text(event, "message"))));
        }
        self.baseline.events.extend(event_ids(service));
        self.progress.state(&state_line(self.name(), &view));
        let moved = view.moved_since(&self.view);
        if moved {
            self.moved = Instant::now();
        }
        self.view = view;
        moved
    }

    async fn judge(&mut self) -> Result<Verdict, Failure> {
        if self.view.status.is_empty() {
            let place = last_part(&self.service.cluster);
            return Err(not_found(format!("no service {} in cluster {place}", self.name())));
        }
        let elapsed = Elapsed { total: self.began.elapsed(), unchanged: self.moved.elapsed() };
        let verdict = decide(self.goal, &self.view, self.deaths, elapsed);
        if verdict == Verdict::Wait && self.deaths_seen.elapsed() >= DEATHS_EVERY {
            self.deaths = self.count_deaths().await;
            self.deaths_seen = Instant::now();
        }
        Ok(verdict)
    }

    /// Tasks of our deployment that ended by themselves; on any error the next look will tell.
    async fn count_deaths(&self) -> Deaths {
        let stopped = stopped_tasks(self.session, self.service).await.unwrap_or_default();
        let mut deaths = Deaths::default();
        for task in stopped.iter().filter(|task| self.is_our_death(task)) {
            if task["startedAt"].is_null() {
                deaths.before_running += 1;
            } else {
                deaths.after_running += 1;
            }
        }
        deaths
    }

    fn is_our_death(&self, task: &Value) -> bool {
        let ours = self.goal.deployment.as_ref().is_none_or(|id| text(task, "startedBy") == *id);
        let by_itself =
            ["EssentialContainerExited", "TaskFailedToStart"].contains(&text(task, "stopCode").as_str());
        ours && by_itself && !self.baseline.stopped.contains(&text(task, "taskArn"))
    }

    fn failure(&self, reason: &str) -> Failure {
        let View { desired, running, .. } = self.view;
        let message =
            format!("service {}: {running} of {desired} running: {}", self.name(), in_brief(reason));
        Failure::new(Kind::NotStable, message)
            .hint(format!("`ecsr service events {0}` and `ecsr service describe {0}` tell more", self.name()))
    }

    async fn tasks_fail(&self, reason: &str) -> Failure {
        match self.reasons().await.as_slice() {
            [] => self.failure(reason),
            reasons => self.failure(&format!("{reason}: {}", reasons.join("; "))),
        }
    }

    async fn timed_out(&self) -> Failure {
        let mut reason = format!("not stable after {}", short(self.goal.timeout));
        let mut causes = self.reasons().await;
        if is_obstacle(&self.view.newest_event) {
            causes.push(in_brief(&self.view.newest_event).to_owned());
        }
        for cause in causes {
            reason.push_str("; ");
            reason.push_str(&cause);
        }
        self.failure(&reason)
    }

    /// Why the tasks that ended by themselves did, newest first, each reason once.
    async fn reasons(&self) -> Vec<String> {
        let mut stopped = stopped_tasks(self.session, self.service).await.unwrap_or_default();
        stopped.retain(|task| self.is_our_death(task));
        let stopped_at = |task: &Value| task["stoppedAt"].as_f64().unwrap_or_default();
        stopped.sort_by(|a, b| stopped_at(b).total_cmp(&stopped_at(a)));
        let mut reasons: Vec<String> = Vec::new();
        for reason in stopped.iter().map(why_stopped) {
            if !reasons.contains(&reason) && reasons.len() < REASONS_MAX {
                reasons.push(reason);
            }
        }
        reasons
    }
}

fn state_line(name: &str, view: &View) -> String {
    let mut line = format!("{name}  {}/{} running, {} pending", view.running, view.desired, view.pending);
    if view.deployments.len() > 1 {
        line.push_str(", replacing the previous deployment");
    }
    line
}

/// A service event without the service's name, which the reader knows, and without its list of task ids.
pub(crate) fn in_brief(message: &str) -> &str {
    let text = message
        .strip_prefix("(service ")
        .and_then(|rest| rest.split_once(") "))
        .map_or(message, |(_, rest)| rest);
    text.split_once(": (task ").map_or(text, |(brief, _)| brief)
}

/// Why a task stopped: its own reason, and that of the container that says most.
pub(crate) fn why_stopped(task: &Value) -> String {
    let container = list(task, "containers").iter().find_map(|container| {
        let reason = text(container, "reason");
        let name = text(container, "name");
        match (reason.as_str(), container["exitCode"].as_i64()) {
            ("", None | Some(0)) => None,
            ("", Some(code)) => Some(format!("container {name} exited with code {code}")),
            (reason, None) => Some(format!("container {name}: {reason}")),
            (reason, Some(code)) => Some(format!("container {name} exited with code {code}: {reason}")),
        }
    });
    match (text(task, "stoppedReason"), container) {
        (reason, None) if reason.is_empty() => "no reason given".to_owned(),
        (reason, None) => reason,
        (reason, Some(container)) if reason.is_empty() => container,
        // ECS gives a failed start the container's own reason.
        (reason, Some(container)) if container.ends_with(&reason) => container,
        (reason, Some(container)) => format!("{reason} ({container})"),
    }
}

async fn stopped_tasks(session: &Session, service: &Located) -> Result<Vec<Value>, Failure> {
    let request =
        json!({"cluster": service.cluster, "serviceName": service.name, "desiredStatus": "STOPPED"});
    let arns = session.list(Operation::ListTasks, request, "taskArns").await?;
    session.describe_known(TASKS, &service.cluster, &arns).await
}

fn arns(tasks: &[Value]) -> BTreeSet<String> {
    tasks.iter().map(|task| text(task, "taskArn")).collect()
}

fn event_ids(service: &Value) -> BTreeSet<String> {
    list(service, "events").iter().map(|event| text(event, "id")).collect()
}

/// Waits until `service` is gone: INACTIVE, or not known any more.
pub(crate) async fn service_gone(
    session: &Session,
    service: &Located,
    timeout: Duration,
) -> Result<(), Failure> {
    let began = Instant::now();
    let name = last_part(&service.name);
    let mut progress = Progress::start();
    let mut ticker = Ticker::new(session.pace());
    loop {
        let request = json!({"cluster": service.cluster, "services": [service.name]});
        if let Some(answer) = ticker.tolerate(session.try_call(Operation::DescribeServices, request).await)? {
            let found = &answer["services"][0];
            if found.is_null() || text(found, "status") == "INACTIVE" {
                return Ok(());
            }
            progress.state(&format!(
                "{name}  {}, {} still running",
                text(found, "status"),
                text(found, "runningCount")
            ));
            if began.elapsed() >= timeout {
                let message = format!("service {name} is {} after {}", text(found, "status"), short(timeout));
                return Err(Failure::new(Kind::NotStable, message));
            }
        }
        ticker.tick().await;
    }
}

/// Waits until `tasks` (ARNs, as many as one `RunTask` starts) of `cluster` are STOPPED; answers them.
pub(crate) async fn tasks_stopped(
    session: &Session,
    cluster: &str,
    tasks: &[Value],
    timeout: Duration,
) -> Result<Vec<Value>, Failure> {
    let began = Instant::now();
    let mut progress = Progress::start();
    let mut ticker = Ticker::new(session.pace());
    loop {
        let request = json!({"cluster": cluster, "tasks": tasks});
        if let Some(answer) = ticker.tolerate(session.try_call(Operation::DescribeTasks, request).await)? {
            let found = list(&answer, "tasks");
            progress.state(&task_line(found));
            if found.iter().all(|task| text(task, "lastStatus") == "STOPPED") {
                return Ok(found.to_vec());
            }
            if began.elapsed() >= timeout {
                let message = format!("{} after {}", task_line(found), short(timeout));
                return Err(Failure::new(Kind::NotStable, message));
            }
        }
        ticker.tick().await;
    }
}

/// `1 PENDING, 2 RUNNING` of some tasks; by its id if there is but one.
fn task_line(tasks: &[Value]) -> String {
    if let [task] = tasks {
        return format!("task {} {}", last_part(&text(task, "taskArn")), text(task, "lastStatus"));
    }
    let statuses: BTreeSet<String> = tasks.iter().map(|task| text(task, "lastStatus")).collect();
    let counted = statuses.iter().map(|status| {
        let count = tasks.iter().filter(|task| text(task, "lastStatus") == *status).count();
        format!("{count} {status}")
    });
    counted.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_shown_in_brief() {
        fn check(message: &str, expected: &str) {
            assert_eq!(in_brief(message), expected);
        }
        check("(service web) has started 2 tasks: (task 0a) (task 0b).", "has started 2 tasks");
        check("(service web) has reached a steady state.", "has reached a steady state.");
        check("something else", "something else");
    }

    #[test]
    fn a_stopped_task_says_why() {
        fn check(task: &Value, expected: &str) {
            assert_eq!(why_stopped(task), expected);
        }
        check(
            &json!({"stoppedReason": "Essential container in task exited", "containers": [
                {"name": "side", "exitCode": 0}, {"name": "web", "exitCode": 7}]}),
            "Essential container in task exited (container web exited with code 7)",
        );
        check(
            &json!({"stoppedReason": "Task failed to start", "containers": [
                {"name": "web", "reason": "CannotPullContainerError: no such image"}]}),
            "Task failed to start (container web: CannotPullContainerError: no such image)",
        );
        check(
            &json!({"stoppedReason": "CannotPullContainerError: no", "containers": [
                {"name": "web", "reason": "CannotPullContainerError: no"}]}),
            "container web: CannotPullContainerError: no",
        );
        check(&json!({"stoppedReason": "by hand", "containers": []}), "by hand");
        check(&json!({}), "no reason given");
    }

    #[test]
    fn tasks_are_counted_by_status() {
        let tasks: Vec<_> =
            ["RUNNING", "PENDING", "RUNNING"].iter().map(|status| json!({"lastStatus": status})).collect();
        assert_eq!(task_line(&tasks), "1 PENDING, 2 RUNNING");
    }
}
