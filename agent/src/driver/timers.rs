//! Timers in one place: a map from moment to what is due, and one sleep until the first.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// See the module. Setting the same alarm twice means two firings; who sets them can tell a pointless one.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    due: BTreeMap<(Instant, u64), T>,
    sequence: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers { due: BTreeMap::new(), sequence: 0 }
    }
}

impl<T> Timers<T> {
    pub(crate) fn set(&mut self, alarm: T, after: Duration) {
        self.sequence += 1;
        // A pause beyond what the clock can hold is as good as never.
        if let Some(moment) = Instant::now().checked_add(after) {
            self.due.insert((moment, self.sequence), alarm);
        }
    }

    /// The next alarm, when its moment comes. Cancel safe; waits for ever if nothing is set.
    pub(crate) async fn next(&mut self) -> T {
        let Some((&(moment, _), _)) = self.due.first_key_value() else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(moment).await;
        self.due.pop_first().expect("the first alarm is still set: nobody else has `self`").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn alarms_fire_in_the_order_of_their_moments() {
        let mut timers = Timers::default();
        timers.set("late", Duration::from_secs(5));
        timers.set("soon", Duration::from_secs(1));
        timers.set("soon too", Duration::from_secs(1));
        let mut fired = Vec::new();
        for _ in 0..3 {
            fired.push(timers.next().await);
        }
        assert_eq!(fired, ["soon", "soon too", "late"]);
    }
}
