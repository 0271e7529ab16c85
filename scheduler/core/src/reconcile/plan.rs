//! A plan in the making: the events so far, and the state that holds them already.

use crate::context::Context;
use crate::ids::{ServiceKey, TaskKey, uuid};
use crate::state::{Event, ServiceEvent, State, Stop};

#[derive(Debug)]
pub(super) struct Plan<'s> {
    pub state: &'s mut State,
    pub events: Vec<Event>,
}

impl<'s> Plan<'s> {
    pub fn new(state: &'s mut State) -> Self {
        Self { state, events: Vec::new() }
    }

    pub fn record(&mut self, event: Event) {
        self.state.apply(&event);
        self.events.push(event);
    }

    pub fn stop(&mut self, task: &TaskKey, stop: Stop, context: &Context) {
        self.record(Event::TaskStopRequested { task: task.clone(), at: context.now, stop });
    }

    /// Adds a line to a service's log.
    pub fn log(&mut self, service: &ServiceKey, message: String, context: &mut Context) {
        let event = ServiceEvent { id: uuid(context), created_at: context.now, message };
        self.record(Event::ServiceLogged { service: service.clone(), event });
    }
}
