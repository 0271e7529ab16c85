//! Whether a service that is waited for has arrived, is on its way, or cannot arrive: one pure function of
//! what was seen, so that each reason to give up is a test case. The rules, in order:
//!
//! - a service that is being deleted, a deployment that failed or was replaced by another: give up;
//! - one deployment, and as many tasks running as desired: arrived (ECS's own `ServicesStable` rule);
//! - tasks of the deployment that keep failing to start, or keep ending: give up;
//! - the scheduler says that it cannot place or replace, and nothing has moved for a while: give up;
//! - else wait until the time is over.

use std::time::Duration;

use serde_json::Value;

use crate::output::text::{list, number, text};

/// How long an obstacle that the scheduler reported must stand, with nothing moving, before it counts as the
/// answer: longer than an agent needs to reconnect or a stopping task to free its place in passing.
const OBSTACLE_STANDS: Duration = Duration::from_secs(5);

/// Tasks that failed to start before it counts as a pattern; ECS's circuit breaker has the same lowest bound.
const FAILED_STARTS_MAX: i64 = 3;

/// What is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Goal {
    /// The deployment that the request left as the primary one; `None` when the answer named none.
    pub(crate) deployment: Option<String>,
    /// How long to wait.
    pub(crate) timeout: Duration,
}

/// A service at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) status: String,
    pub(crate) desired: i64,
    pub(crate) running: i64,
    pub(crate) pending: i64,
    pub(crate) deployments: Vec<Deployment>,
    /// The text of the newest event.
    pub(crate) newest_event: String,
}

/// A deployment at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deployment {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) rollout_state: String,
    pub(crate) rollout_reason: String,
    pub(crate) failed_tasks: i64,
}

/// Tasks of the deployment that ended by themselves since the wait began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deaths {
    /// Never reached RUNNING.
    pub(crate) before_running: i64,
    /// Had been RUNNING.
    pub(crate) after_running: i64,
}

/// How far the wait has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Elapsed {
    /// Since the wait began.
    pub(crate) total: Duration,
    /// Since a count of the service last changed.
    pub(crate) unchanged: Duration,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask again.
    Wait,
    /// The service is what was asked for.
    Stable,
    /// It will not become so, for this reason.
    Hopeless(String),
    /// As [`Verdict::Hopeless`], because tasks fail: the reason is on the stopped tasks.
    TasksFail(String),
    /// The time is over.
    TimedOut,
}

impl View {
    /// Reads a service of a `DescribeServices` answer.
    pub(crate) fn read(service: &Value) -> Self {
        let deployment = |item: &Value| Deployment {
            id: text(item, "id"),
            status: text(item, "status"),
            rollout_state: text(item, "rolloutState"),
            rollout_reason: text(item, "rolloutStateReason"),
            failed_tasks: number(item, "failedTasks"),
        };
        Self {
            status: text(service, "status"),
            desired: number(service, "desiredCount"),
            running: number(service, "runningCount"),
            pending: number(service, "pendingCount"),
            deployments: list(service, "deployments").iter().map(deployment).collect(),
            newest_event: list(service, "events")
                .first()
                .map(|event| text(event, "message"))
                .unwrap_or_default(),
        }
    }

    /// The id of the deployment that the service is going to.
    pub(crate) fn primary(&self) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.status == "PRIMARY")
    }

    /// Whether anything moved between two views, by the counts that users see.
    pub(crate) fn moved_since(&self, earlier: &Self) -> bool {
        let counts = |view: &Self| (view.desired, view.running, view.pending, view.deployments.len());
        counts(self) != counts(earlier)
    }
}

/// Decides; see the module's rules.
pub(crate) fn decide(goal: &Goal, view: &View, deaths: Deaths, elapsed: Elapsed) -> Verdict {
    if view.status != "ACTIVE" {
        return Verdict::Hopeless(format!("the service is {}", view.status));
    }
    if let Some(reason) = deployment_is_lost(goal, view) {
        return Verdict::Hopeless(reason);
    }
    if view.deployments.len() == 1 && view.running == view.desired {
        return Verdict::Stable;
    }
    if let Some(reason) = tasks_keep_failing(view, deaths) {
        return Verdict::TasksFail(reason);
    }
    if elapsed.unchanged >= OBSTACLE_STANDS && view.pending == 0 && is_obstacle(&view.newest_event) {
        return Verdict::Hopeless(view.newest_event.clone());
    }
    if elapsed.total >= goal.timeout { Verdict::TimedOut } else { Verdict::Wait }
}

fn deployment_is_lost(goal: &Goal, view: &View) -> Option<String> {
    let ours = goal.deployment.as_deref()?;
    let listed = view.deployments.iter().find(|deployment| deployment.id == ours);
    match (listed, view.primary()) {
        (Some(found), _) if found.rollout_state == "FAILED" => Some(match found.rollout_reason.as_str() {
            "" => format!("deployment {ours} failed"),
            reason => reason.to_owned(),
        }),
        (_, Some(primary)) if primary.id != ours => {
            Some(format!("deployment {ours} was replaced by {}", primary.id))
        }
        _ => None,
    }
}

fn tasks_keep_failing(view: &View, deaths: Deaths) -> Option<String> {
    let reported = view.primary().map_or(0, |primary| primary.failed_tasks);
    let failed = reported.max(deaths.before_running);
    if failed >= FAILED_STARTS_MAX {
        return Some(format!("{failed} tasks failed to start"));
    }
    // A container may end for once; all of them ending in turn is a program that does not stay up.
    if deaths.after_running >= view.desired.max(FAILED_STARTS_MAX) {
        return Some(format!("{} tasks ended soon after they started", deaths.after_running));
    }
    None
}

/// The service events with which the scheduler says that it cannot go on by itself.
pub(crate) fn is_obstacle(event: &str) -> bool {
    [
        "was unable to place a task",
        "was unable to stop or start tasks",
        "is unable to consistently start tasks",
    ]
    .iter()
    .any(|words| event.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OURS: &str = "ecs-svc/1";
    const NO_PLACE: &str =
        "(service web) was unable to place a task because no container instance met all of its requirements.";

    fn deployment(id: &str, status: &str) -> Deployment {
        Deployment {
            id: id.into(),
            status: status.into(),
            rollout_state: "IN_PROGRESS".into(),
            ..Deployment::default()
        }
    }

    fn view(running: i64, pending: i64) -> View {
        View {
            status: "ACTIVE".into(),
            desired: 14,
            running,
            pending,
            deployments: vec![deployment(OURS, "PRIMARY")],
            newest_event: String::new(),
        }
    }

    fn verdict(view: &View, deaths: Deaths, total: u64, unchanged: u64) -> Verdict {
        let goal = Goal { deployment: Some(OURS.into()), timeout: Duration::from_mins(10) };
        let elapsed =
            Elapsed { total: Duration::from_secs(total), unchanged: Duration::from_secs(unchanged) };
        decide(&goal, view, deaths, elapsed)
    }

    fn check(view: &View, expected: &Verdict) {
        assert_eq!(verdict(view, Deaths::default(), 6, 6), *expected, "{view:?}");
    }

    #[test]
    fn arrives_when_all_run_in_one_deployment() {
        check(&view(14, 0), &Verdict::Stable);
        check(&view(13, 1), &Verdict::Wait);
        check(&view(15, 0), &Verdict::Wait);
        let mut replacing = view(14, 0);
        replacing.deployments.push(deployment("ecs-svc/0", "ACTIVE"));
        check(&replacing, &Verdict::Wait);
    }

    #[test]
    fn a_lost_deployment_is_final() {
        check(
            &View { status: "DRAINING".into(), ..view(0, 0) },
            &Verdict::Hopeless("the service is DRAINING".into()),
        );

        let mut failed = view(14, 0);
        failed.deployments[0].rollout_state = "FAILED".into();
        failed.deployments[0].rollout_reason =
            "ECS deployment circuit breaker: tasks failed to start.".into();
        check(&failed, &Verdict::Hopeless("ECS deployment circuit breaker: tasks failed to start.".into()));

        let replaced = View { deployments: vec![deployment("ecs-svc/2", "PRIMARY")], ..view(14, 0) };
        check(&replaced, &Verdict::Hopeless("deployment ecs-svc/1 was replaced by ecs-svc/2".into()));
    }

    #[test]
    fn failing_tasks_end_the_wait() {
        let deaths = |before_running, after_running| Deaths { before_running, after_running };
        assert_eq!(verdict(&view(11, 3), deaths(2, 13), 6, 0), Verdict::Wait);
        assert_eq!(
            verdict(&view(11, 3), deaths(3, 0), 6, 0),
            Verdict::TasksFail("3 tasks failed to start".into())
        );
        assert_eq!(
            verdict(&view(11, 3), deaths(0, 14), 6, 0),
            Verdict::TasksFail("14 tasks ended soon after they started".into())
        );
        let mut reported = view(0, 14);
        reported.deployments[0].failed_tasks = 4;
        assert_eq!(
            verdict(&reported, Deaths::default(), 1, 0),
            Verdict::TasksFail("4 tasks failed to start".into())
        );
        // All that were asked for run: what died on the way does not matter any more.
        assert_eq!(verdict(&view(14, 0), deaths(5, 0), 6, 0), Verdict::Stable);
    }

    #[test]
    fn an_obstacle_must_stand_while_nothing_moves() {
        let stuck = View { newest_event: NO_PLACE.into(), ..view(9, 0) };
        assert_eq!(verdict(&stuck, Deaths::default(), 20, 4), Verdict::Wait);
        assert_eq!(verdict(&stuck, Deaths::default(), 20, 5), Verdict::Hopeless(NO_PLACE.into()));
        let starting = View { newest_event: NO_PLACE.into(), ..view(9, 2) };
        assert_eq!(verdict(&starting, Deaths::default(), 20, 9), Verdict::Wait);
        let other = View { newest_event: "(service web) has started 9 tasks".into(), ..view(9, 0) };
        assert_eq!(verdict(&other, Deaths::default(), 20, 9), Verdict::Wait);
    }

    #[test]
    fn time_runs_out() {
        assert_eq!(verdict(&view(9, 5), Deaths::default(), 599, 599), Verdict::Wait);
        assert_eq!(verdict(&view(9, 5), Deaths::default(), 600, 1), Verdict::TimedOut);
        assert_eq!(verdict(&view(14, 0), Deaths::default(), 600, 1), Verdict::Stable);
    }

    #[test]
    fn reads_what_ecs_answers() {
        let service = json!({
            "status": "ACTIVE", "desiredCount": 14, "runningCount": 9, "pendingCount": 3,
            "deployments": [{"id": OURS, "status": "PRIMARY", "rolloutState": "IN_PROGRESS", "failedTasks": 1}],
            "events": [{"id": "b", "message": "newest"}, {"id": "a", "message": "older"}],
        });
        let read = View::read(&service);
        assert_eq!((read.desired, read.running, read.pending), (14, 9, 3));
        assert_eq!(read.newest_event, "newest");
        assert_eq!(read.primary().unwrap().failed_tasks, 1);
        assert!(read.moved_since(&View { running: 8, ..read.clone() }));
        assert!(!read.moved_since(&View { newest_event: String::new(), ..read.clone() }));
    }
}
