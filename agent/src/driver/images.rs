//! Removing images that nothing needs: those that this agent pulled, not used by any known task, old enough, least
//! recently used first. One that cannot be removed is skipped and does not keep the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use ecsr_api::Timestamp;

use super::lanes::Lane;
use super::ops::Answer;
use super::{Alarm, Driver};
use crate::clock::now;
use crate::config::ImageCleanup;
use crate::ledger::Entries;
use crate::runtime::Runtime;

impl<R: Runtime> Driver<R> {
    /// One round of clean-up; sets the alarm of the next.
    pub(super) fn clean_images(&mut self) {
        let Some(cleanup) = self.config.image_cleanup.clone() else { return };
        self.timers.set(Alarm::CleanImages, cleanup.interval);
        let in_use: BTreeSet<&str> = self.engine.images_in_use().collect();
        let unused = self.ledger.with(|entries| removable(entries, &in_use, &cleanup, now()));
        if unused.is_empty() {
            return;
        }
        let (hands, ledger) = (Arc::clone(&self.hands), self.ledger.clone());
        self.lanes.start(Lane::Remove, async move {
            for image in unused {
                match hands.runtime.remove_image(&image).await {
                    Ok(()) => {
                        tracing::info!(image, "removed an unused image");
                        ledger.update(|entries| entries.images.remove(&image));
                    }
                    Err(error) => tracing::warn!(image, "cannot remove an unused image: {error}"),
                }
            }
            Answer::ImagesCleaned
        });
    }
}

/// The images of this round, in the order of their removal.
fn removable(
    entries: &Entries,
    in_use: &BTreeSet<&str>,
    cleanup: &ImageCleanup,
    now: Timestamp,
) -> Vec<String> {
    let mut unused: Vec<_> = entries
        .images
        .iter()
        .filter(|(image, record)| {
            !in_use.contains(image.as_str())
                && !cleanup.excluded.contains(image)
                && now.since(record.pulled_at) >= cleanup.minimum_age
        })
        .collect();
    unused.sort_by_key(|(image, record)| (record.used_at, *image));
    unused.into_iter().take(cleanup.per_cycle).map(|(image, _)| image.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ledger::ImageRecord;

    #[test]
    fn the_least_recently_used_go_first_and_needed_ones_stay() {
        let mut entries = Entries::default();
        for (image, pulled, used) in
            [("old", 0, 50), ("older", 0, 10), ("young", 90, 90), ("used", 0, 0), ("kept", 0, 0)]
        {
            let at = Timestamp::from_seconds;
            entries.images.insert(image.to_owned(), ImageRecord { pulled_at: at(pulled), used_at: at(used) });
        }
        let mut cleanup = ImageCleanup {
            interval: Duration::from_mins(30),
            minimum_age: Duration::from_mins(1),
            per_cycle: 5,
            excluded: vec!["kept".to_owned()],
        };
        let now = Timestamp::from_seconds(100);
        assert_eq!(removable(&entries, &BTreeSet::from(["used"]), &cleanup, now), ["older", "old"]);
        cleanup.per_cycle = 1;
        assert_eq!(removable(&entries, &BTreeSet::from(["used"]), &cleanup, now), ["older"]);
    }
}
