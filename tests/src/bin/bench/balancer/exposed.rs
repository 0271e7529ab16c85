//! How soon a fresh service is served: from its last container running to all its targets being healthy.

use std::time::{Duration, Instant};

use ecsr_tests::Engine;
use ecsr_tests::wait;

use crate::COUNT;
use crate::subject::Subject;

/// How often it is asked how far things are: often enough to add next to nothing to what is measured.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// Exposes a service of [`COUNT`] tasks on an ecsr of its own; answers how long the targets took beyond the containers.
pub async fn measure() -> Duration {
    let engine = Engine::connect().await;
    let subject = Subject::up().await;
    subject.expose();
    let began = Instant::now();
    let mut all_run = None;
    loop {
        assert!(began.elapsed() < wait::PATIENCE, "the service is served");
        if all_run.is_none() && subject.running_count(&engine).await == COUNT {
            all_run = Some(Instant::now());
        }
        if subject.healthy_count().await == COUNT {
            let healthy = Instant::now();
            return all_run.map_or(Duration::ZERO, |running| healthy - running);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
