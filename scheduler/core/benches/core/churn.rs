//! What one small change costs a large cluster: tasks that are stopped, end, and are replaced, a few in each batch.
//!
//! Placement in bulk says nothing of this: there a batch shares the look at all instances and the copies of the maps
//! among a thousand tasks. Here each stop has the service planned anew, a place found for one task, and three reports
//! taken in, with the state published in between.

use ecsr_api::ecs;
use ecsr_core::command::Command;
use ecsr_core::ids::TaskKey;
use ecsr_core::state::{Desired, Known};

use crate::fleet::Fleet;
use crate::scale::{say, timed};

/// From one victim to the next: without a common divisor with any round number of tasks, so that none comes twice.
const STEP: usize = 7919;

/// Rounds of each size of batch.
const ROUNDS: usize = 100;

/// Stops that come together: one by itself, and what sixteen callers in a loop bring about.
const TOGETHER: [usize; 2] = [1, 16];

/// Stops tasks of all services, each of which is replaced by one that runs before the next round.
pub(crate) fn churn(fleet: &mut Fleet) {
    for together in TOGETHER {
        let victims = victims(fleet, together * ROUNDS);
        let took = timed(|| {
            for batch in victims.chunks(together) {
                round(fleet, batch);
            }
        });
        say(&format!("stopped, replaced and reported, {together} at a time"), victims.len(), took);
    }
}

/// Tasks from all over the cluster, in no service's order.
fn victims(fleet: &Fleet, count: usize) -> Vec<TaskKey> {
    let running = fleet.state.tasks.values().filter(|task| is_running(task));
    let keys: Vec<TaskKey> = running.map(|task| task.key.clone()).collect();
    (0..count.min(keys.len())).map(|number| keys[number * STEP % keys.len()].clone()).collect()
}

fn is_running(task: &ecsr_core::state::Task) -> bool {
    (task.desired, task.known) == (Desired::Running, Known::Running)
}

fn round(fleet: &mut Fleet, victims: &[TaskKey]) {
    for key in victims {
        let request =
            ecs::StopTaskRequest { task: Some(key.id.to_string()), ..ecs::StopTaskRequest::default() };
        fleet.must(&Command::StopTask(Box::new(request)));
    }
    let started = fleet.settle();
    assert_eq!(started.len(), victims.len(), "each is replaced at once");
    for key in victims {
        fleet.report_stopped(key);
    }
    fleet.settle();
    for (number, key) in started.iter().enumerate() {
        fleet.report_running(key, number);
    }
    fleet.settle();
}
