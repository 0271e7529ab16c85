//! Where agents' sessions hear of news of their own instance, and of no other: a batch wakes the sessions that it
//! concerns, however many there are.
//!
//! News that come while a session is busy are added up, so what waits for it is bounded by what there is to look at.
//! Invariant: news are posted after the state that holds them is published, and a session reads the state after it
//! took them; so what it reads is never older than the news.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecsr_core::ids::InstanceKey;
use tokio::sync::Notify;

use super::news::News;

/// The subscriptions of all sessions. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bulletin {
    boards: Arc<Mutex<Boards>>,
}

/// An instance may have several sessions while one supersedes the other.
type Boards = BTreeMap<InstanceKey, Vec<Arc<Mailbox>>>;

#[derive(Debug, Default)]
struct Mailbox {
    waiting: Mutex<Option<News>>,
    arrived: Notify,
}

/// One session's way to hear of its instance; unsubscribed when dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    instance: InstanceKey,
    mailbox: Arc<Mailbox>,
    boards: Arc<Mutex<Boards>>,
}

impl Bulletin {
    /// Subscribes to the news of an instance from here on.
    pub(super) fn subscribe(&self, instance: &InstanceKey) -> Subscription {
        let mailbox = Arc::new(Mailbox::default());
        lock(&self.boards).entry(instance.clone()).or_default().push(mailbox.clone());
        Subscription { instance: instance.clone(), mailbox, boards: self.boards.clone() }
    }

    /// Wakes the sessions of an instance that has news.
    pub(super) fn post(&self, instance: &InstanceKey, news: &News) {
        for mailbox in lock(&self.boards).get(instance).into_iter().flatten() {
            mailbox.put(news.clone());
        }
    }
}

impl Mailbox {
    fn put(&self, news: News) {
        lock(&self.waiting).get_or_insert_default().add(news);
        self.arrived.notify_one();
    }
}

impl Subscription {
    /// The news since the last time. Cancellation loses nothing.
    pub(crate) async fn next(&self) -> News {
        loop {
            if let Some(news) = lock(&self.mailbox.waiting).take() {
                return news;
            }
            self.mailbox.arrived.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut boards = lock(&self.boards);
        if let Some(mailboxes) = boards.get_mut(&self.instance) {
            mailboxes.retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
            if mailboxes.is_empty() {
                boards.remove(&self.instance);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use ecsr_core::state::Event;

    use super::super::Stirred;
    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn news_wake_the_sessions_of_their_instance_only() {
        let world = World::with_tasks(2);
        let other = InstanceKey { id: "f".repeat(32).parse().unwrap(), ..world.instance.clone() };
        let bulletin = Bulletin::default();
        let [first, second] = [bulletin.subscribe(&world.instance), bulletin.subscribe(&world.instance)];
        let elsewhere = bulletin.subscribe(&other);
        for task in world.state.tasks.values() {
            let mut stirred = Stirred::default();
            stirred.take_note(&world.state, &Event::TaskPlaced(task.clone()));
            for (instance, news) in stirred.into_instances() {
                bulletin.post(&instance, &news);
            }
        }
        let expected = News::Tasks(world.tasks.iter().map(|key| key.id).collect());
        assert_eq!([first.next().await, second.next().await], [expected.clone(), expected], "added up");
        assert_eq!(*lock(&elsewhere.mailbox.waiting), None);
        drop((first, second, elsewhere));
        assert!(lock(&bulletin.boards).is_empty());
    }
}
