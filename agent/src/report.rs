//! Telling the scheduler what became of tasks: one queue per task, in order, retried for ever.
//!
//! A report is a whole picture, so one that waits is replaced by a newer one of the same status: a task never has
//! more than a RUNNING and a STOPPED in its queue. STOPPED stays in the ledger until it is acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::backoff::{Backoff, Complaint};
use crate::engine::{Status, TaskReport};
use crate::ledger::Ledger;
use crate::uplink::Submitted;

/// Reports under way at once: a batch of starts is told in one go, and a scheduler is not flooded.
const IN_FLIGHT_MAX: usize = 16;
const RETRY_MIN: Duration = Duration::from_millis(100);
/// A scheduler that was away for long should hear soon after it is back.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Where reports are put.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    shared: Arc<Shared>,
    ledger: Ledger,
}

#[derive(Debug, Default)]
struct Shared {
    queues: Mutex<BTreeMap<String, VecDeque<TaskReport>>>,
    added: Notify,
}

impl Reporter {
    pub(crate) fn new(ledger: Ledger) -> Self {
        let reporter = Reporter { shared: Arc::default(), ledger };
        let unsent: Vec<TaskReport> =
            reporter.ledger.with(|entries| entries.unsent.values().cloned().collect());
        for report in unsent {
            reporter.enqueue(report);
        }
        reporter
    }

    /// Takes a report; never waits.
    pub(crate) fn tell(&self, report: TaskReport) {
        if report.status == Status::Stopped {
            let kept = report.clone();
            self.ledger.update(|entries| {
                entries.unsent.insert(kept.task_arn.clone(), kept);
            });
        }
        self.enqueue(report);
    }

    fn enqueue(&self, report: TaskReport) {
        let mut queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(report.task_arn.clone()).or_default();
        match queue.back_mut() {
            Some(last) if last.status == report.status => *last = report,
            _ => queue.push_back(report),
        }
        drop(queues);
        self.shared.added.notify_one();
    }

    /// Delivers for as long as the agent lives. The ARNs of tasks whose STOPPED is done with go to `stopped`.
    pub(crate) async fn deliver<F>(self, submit: impl Fn(TaskReport) -> F, stopped: mpsc::Sender<String>)
    where
        F: Future<Output = Submitted> + Send + 'static,
    {
        let mut sending = Sending { reporter: self, busy: BTreeSet::new(), flights: JoinSet::new(), stopped };
        loop {
            sending.launch(&submit);
            tokio::select! {
                biased;
                Some(done) = sending.flights.join_next() => sending.land(done).await,
                () = sending.reporter.shared.added.notified() => {}
            }
        }
    }
}

struct Sending {
    reporter: Reporter,
    /// Tasks with a report under way.
    busy: BTreeSet<String>,
    flights: JoinSet<(TaskReport, Submitted)>,
    stopped: mpsc::Sender<String>,
}

impl Sending {
    /// Sends the head of each queue that has none under way, up to the bound.
    fn launch<F>(&mut self, submit: &impl Fn(TaskReport) -> F)
    where
        F: Future<Output = Submitted> + Send + 'static,
    {
        let mut queues = self.reporter.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let free = IN_FLIGHT_MAX.saturating_sub(self.busy.len());
        let idle: Vec<String> =
            queues.keys().filter(|task_arn| !self.busy.contains(*task_arn)).take(free).cloned().collect();
        for task_arn in idle {
            let Some(queue) = queues.get_mut(&task_arn) else { continue };
            let Some(report) = queue.pop_front() else { continue };
            if queue.is_empty() {
                queues.remove(&task_arn);
            }
            self.busy.insert(task_arn);
            let attempt = submit(report.clone());
            self.flights.spawn(async move { (report, attempt.await) });
        }
    }

    async fn land(&mut self, done: Result<(TaskReport, Submitted), tokio::task::JoinError>) {
        let Ok((report, outcome)) = done else { return };
        self.busy.remove(&report.task_arn);
        match outcome {
            Submitted::Acknowledged => {}
            Submitted::Refused(why) => tracing::warn!(task = report.task_arn, "report refused: {why}"),
            // `retrying` answers only when the matter is closed.
            Submitted::Failed(why) => {
                tracing::warn!(task = report.task_arn, "report failed: {why}");
                self.reporter.enqueue(report);
                return;
            }
        }
        if report.status == Status::Stopped {
            self.reporter.ledger.update(|entries| {
                entries.unsent.remove(&report.task_arn);
                entries.accepted.remove(&report.task_arn);
            });
            // The driver outlives the reporter; without it there is nobody to clean up.
            let _ = self.stopped.send(report.task_arn).await;
        }
    }
}

/// Repeats an attempt until it is acknowledged or refused, for ever if need be. All reports share one complaint, as
/// they fail for one reason.
pub(crate) async fn retrying<F>(complaint: &Mutex<Complaint>, attempt: impl Fn() -> F) -> Submitted
where
    F: Future<Output = Submitted>,
{
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let complaint = || complaint.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match attempt().await {
            Submitted::Failed(why) => {
                complaint().warn(format!("cannot report a task's state, trying again: {why}"));
            }
            closed @ (Submitted::Acknowledged | Submitted::Refused(_)) => {
                complaint().settled("task states can be reported again");
                return closed;
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(task_arn: &str, status: Status, reason: &str) -> TaskReport {
        TaskReport {
            task_arn: task_arn.to_owned(),
            status,
            reason: Some(reason.to_owned()),
            containers: Vec::new(),
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
        }
    }

    fn ledger(name: &str) -> Ledger {
        let dir = std::env::temp_dir().join(format!("ecsr-report-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Ledger::open(&dir)
    }

    #[tokio::test(start_paused = true)]
    async fn reports_of_a_task_arrive_in_order_the_newest_picture_only() {
        let ledger = ledger("order");
        let reporter = Reporter::new(ledger.clone());
        reporter.tell(report("a", Status::Running, "1"));
        reporter.tell(report("a", Status::Running, "2"));
        reporter.tell(report("a", Status::Stopped, "3"));
        reporter.tell(report("b", Status::Running, "4"));
        assert!(ledger.with(|entries| entries.unsent.contains_key("a")));

        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (stopped, mut stopped_tasks) = mpsc::channel(1);
        let log = Arc::clone(&seen);
        let submit = move |report: TaskReport| {
            let log = Arc::clone(&log);
            async move {
                log.lock().unwrap().push(report.reason.unwrap());
                Submitted::Acknowledged
            }
        };
        let delivery = tokio::spawn(reporter.deliver(submit, stopped));
        assert_eq!(stopped_tasks.recv().await.as_deref(), Some("a"));
        delivery.abort();
        let seen = seen.lock().unwrap().clone();
        let of_a: Vec<&String> = seen.iter().filter(|reason| *reason != "4").collect();
        assert_eq!(of_a, ["2", "3"]);
        assert!(ledger.with(|entries| entries.unsent.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_report_is_tried_until_it_is_closed() {
        let attempts = Mutex::new(0);
        let outcome = retrying(&Mutex::default(), || async {
            let mut attempts = attempts.lock().unwrap();
            *attempts += 1;
            if *attempts < 20 {
                Submitted::Failed("down".to_owned())
            } else {
                Submitted::Refused("no".to_owned())
            }
        })
        .await;
        assert_eq!(outcome, Submitted::Refused("no".to_owned()));
        assert_eq!(*attempts.lock().unwrap(), 20);
    }
}
