//! StopTask.

use ecsr_api::ecs;

use super::{Decision, Reply};
use crate::context::Context;
use crate::names;
use crate::refusal::{Refusal, invalid};
use crate::resolve;
use crate::state::{Desired, Event, State, Stop, StopCode};

/// What ECS writes when the caller gave no reason.
const DEFAULT_REASON: &str = "Task stopped by user";

/// Asks a task to stop. One that stops or has stopped already is answered as it is.
pub(super) fn stop(
    state: &State,
    request: &ecs::StopTaskRequest,
    context: &Context,
) -> Result<Decision, Refusal> {
    let cluster = resolve::cluster(state, request.cluster.as_deref())?;
    let text = request.task.as_deref().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| invalid("Task can not be blank."))?;
    let key = resolve::task_key(state, &cluster.name, text)?;
    let task = state.tasks.get(&key).ok_or_else(|| invalid("The referenced task was not found."))?;
    let reason = request.reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or(DEFAULT_REASON);
    names::stop_reason(reason)?;
    let events = match task.desired {
        Desired::Stopped => Vec::new(),
        Desired::Running => {
            let stop = Stop { code: StopCode::UserInitiated, reason: reason.into() };
            vec![Event::TaskStopRequested { task: key.clone(), at: context.now, stop }]
        }
    };
    Ok((events, Reply::Task(key)).into())
}
