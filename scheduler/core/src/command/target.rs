//! What target groups say of the endpoints of tasks.
//!
//! Reports may come late: an endpoint that is not there any more, or that has heard the same already, is passed over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::target_words as words;
use super::{Decision, Reply};
use crate::context::Context;
use crate::ids::{Name, ServiceKey, TaskId, TaskKey, uuid};
use crate::state::{Endpoint, Event, Registration, ServiceEvent, Standing, State, Task};
use crate::targets::TargetReport;

/// How often a service's log says the same trouble with a target group again.
const TROUBLE_REPEAT: Duration = Duration::from_mins(10);

/// Most lines of a service's log in which a trouble is looked for that was said already.
const LINES_LOOKED_AT: usize = 20;

/// What happened to targets of one service, to be told in one line each.
#[derive(Debug, Default)]
struct Tale {
    registered: usize,
    deregistered: usize,
    draining: Vec<TaskKey>,
    unhealthy: Vec<Unhealthy>,
}

/// A target that fails its group's health checks.
#[derive(Debug)]
pub(super) struct Unhealthy {
    pub task: TaskId,
    pub port: u16,
    pub reason: String,
}

/// What a round found out of endpoints in a group.
pub(super) fn observed(
    state: &State,
    group: &Name,
    reports: &[TargetReport],
    context: &mut Context,
) -> Decision {
    let mut changes: BTreeMap<&TaskKey, Vec<(u8, Option<Registration>)>> = BTreeMap::new();
    let mut tales: BTreeMap<ServiceKey, Tale> = BTreeMap::new();
    for report in reports {
        let Some(task) = state.tasks.get(&report.task) else { continue };
        let endpoint = task.endpoints.get(usize::from(report.endpoint)).filter(|one| one.group == *group);
        let Some(endpoint) = endpoint.filter(|one| one.registration != report.registration) else { continue };
        changes.entry(&report.task).or_default().push((report.endpoint, report.registration.clone()));
        if let Some(service) = task.service() {
            tales.entry(service).or_default().tell(task, endpoint, report);
        }
    }
    let changed = changes.into_iter();
    let mut events: Vec<Event> =
        changed.map(|(task, targets)| Event::TaskTargetsReported { task: task.clone(), targets }).collect();
    for (service, tale) in tales {
        let lines = tale.lines(&service.name, group);
        events.extend(lines.into_iter().filter_map(|line| logged(state, &service, line, context)));
    }
    (events, Reply::Nothing).into()
}

/// A group that cannot be asked or changed: its services' logs say so, now and then.
pub(super) fn troubled(state: &State, group: &Name, trouble: &str, context: &mut Context) -> Decision {
    let tasks = state.endpoints.get(group).into_iter().flat_map(|tasks| tasks.keys());
    let mut services: Vec<ServiceKey> = tasks.filter_map(|key| state.tasks.get(key)?.service()).collect();
    services.sort();
    services.dedup();
    let events = services.into_iter().filter_map(|service| {
        let line = words::trouble(&service.name, group, trouble);
        let said = is_said(state, &service, &line, context);
        if said { None } else { logged(state, &service, line, context) }
    });
    (events.collect(), Reply::Nothing).into()
}

fn is_said(state: &State, service: &ServiceKey, line: &str, context: &Context) -> bool {
    let log = state.service_events.get(service);
    let recent = log.into_iter().flat_map(|log| log.iter().rev().take(LINES_LOOKED_AT));
    recent
        .take_while(|event| context.now.since(event.created_at) < TROUBLE_REPEAT)
        .any(|event| event.message == line)
}

fn logged(state: &State, service: &ServiceKey, message: String, context: &mut Context) -> Option<Event> {
    state.services.contains_key(service).then(|| Event::ServiceLogged {
        service: service.clone(),
        event: ServiceEvent { id: uuid(context), created_at: context.now, message },
    })
}

impl Tale {
    fn tell(&mut self, task: &Arc<Task>, endpoint: &Endpoint, report: &TargetReport) {
        let before = endpoint.standing();
        let after = report.registration.as_ref().map(|registration| registration.standing);
        let was_in = before.is_some_and(is_in);
        match after {
            Some(Standing::Claimed) => {}
            Some(Standing::Draining) => {
                self.deregistered += usize::from(was_in);
                self.draining.push(task.key.clone());
            }
            Some(Standing::Initial | Standing::Healthy | Standing::Unhealthy) => {
                self.registered += usize::from(!was_in);
            }
            None => self.deregistered += usize::from(was_in),
        }
        if let (Some(Standing::Unhealthy), Some(registration)) = (after, &report.registration) {
            let reason = report.reason.clone().unwrap_or_else(|| "Health checks failed".to_owned());
            self.unhealthy.push(Unhealthy { task: task.key.id, port: registration.target.port, reason });
        }
    }

    fn lines(self, service: &Name, group: &Name) -> Vec<String> {
        let mut lines = Vec::new();
        if self.registered > 0 {
            lines.push(words::registered(service, self.registered, group));
        }
        if !self.draining.is_empty() {
            lines.push(words::draining(service, self.draining.len()));
        }
        if self.deregistered > 0 {
            lines.push(words::deregistered(service, self.deregistered, group));
        }
        lines.extend(self.unhealthy.iter().map(|one| words::unhealthy(service, group, one)));
        lines
    }
}

/// Whether a target was seen in its group and takes requests there.
fn is_in(standing: Standing) -> bool {
    match standing {
        Standing::Claimed | Standing::Draining => false,
        Standing::Initial | Standing::Healthy | Standing::Unhealthy => true,
    }
}
