//! Asking hosts whether they are there while their agents are not.
//!
//! A kernel answers an attempt to connect, by taking or by refusing it, while it lives; a host that is off or cut off
//! answers nothing. The port is the one on which agents serve their introspection, but any would do. Where a firewall
//! swallows such attempts a silent host proves nothing, so each host is tried when its agent joins, and what came of it
//! is kept with the instance. Of a host that never answers there is one other sign: that its agent's channel broke for
//! want of acknowledgements instead of being closed.
//!
//! What answers need not be the host itself: several agents may share an address (one host, or a translator of
//! addresses before many). Then none of them is called gone while anything answers there. The error is on the side of
//! leaving tasks alone. And what is asked is the network that the agent is in: an agent in a container has to share its
//! host's, as Amazon's does, or its own end looks like the end of the host.
//!
//! What is found is reported as it is, again and again if need be; what it means is for the core to decide.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ecsr_core::State;
use ecsr_core::command::Command;
use ecsr_core::ids::InstanceKey;
use ecsr_core::state::{InstanceStatus, Presence, Whereabouts};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::driver::Driver;

/// The port of an agent's introspection, on which a host is asked.
const PORT: u16 = 51678;

/// How often a host is asked whose agent is away.
const INTERVAL: Duration = Duration::from_secs(1);

/// When attempts are made within one question: a lost packet is no verdict.
const ATTEMPTS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(150), Duration::from_millis(300)];

/// How long an answer may take, from the first attempt. With the time in which a channel breaks it keeps a power-off
/// from going unnoticed for more than three seconds.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// Most questions under way at once, each of a few sockets; well below what a process may open.
const QUESTIONS_MAX: usize = 256;

/// Hints that may wait: as many as agents come and go in one instant; further ones wait at their sessions.
const HINTS_MAX: usize = 1024;

/// What sessions tell of their agents' hosts.
#[derive(Debug)]
enum Hint {
    Joined(InstanceKey, IpAddr),
    Left(InstanceKey, IpAddr, Farewell),
}

/// How an agent's channel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// By a word of its host, be it the agent's or the kernel's.
    Heard,
    /// For want of any.
    Unheard,
}

/// Where sessions tell of hosts.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    hints: mpsc::Sender<Hint>,
}

/// The other end, for [`watch`].
#[derive(Debug)]
pub(crate) struct Hints(mpsc::Receiver<Hint>);

impl Hosts {
    pub(crate) fn new() -> (Self, Hints) {
        let (hints, receiver) = mpsc::channel(HINTS_MAX);
        (Self { hints }, Hints(receiver))
    }

    /// An agent joined from this address.
    pub(super) async fn joined(&self, instance: &InstanceKey, address: IpAddr) {
        // Nobody listens only while the scheduler stops.
        let _ = self.hints.send(Hint::Joined(instance.clone(), address)).await;
    }

    /// An agent of this very host joined, which answers itself.
    pub(super) async fn joined_here(&self, driver: &Driver, instance: &InstanceKey) {
        let whereabouts = Whereabouts { address: Ipv4Addr::LOCALHOST.into(), answers: true };
        let known = driver.state().instances.get(instance).and_then(|found| found.whereabouts);
        if known != Some(whereabouts) {
            // Nobody listens only while the scheduler stops.
            let _ = driver.submit(Command::HostLearned { instance: instance.clone(), whereabouts }).await;
        }
    }

    /// An agent left; the state knows already.
    pub(super) async fn left(&self, instance: &InstanceKey, address: IpAddr, farewell: Farewell) {
        let _ = self.hints.send(Hint::Left(instance.clone(), address, farewell)).await;
    }
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Answered,
    Unanswered,
    /// It could not be asked: a fault on this side, which says nothing of the other.
    NotAsked,
}

/// Watches the hosts of instances that are away, until the scheduler stops.
pub(crate) async fn watch(app: Arc<App>, Hints(mut hints): Hints) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watcher = Watcher::new(app.clone());
    loop {
        tokio::select! {
            () = app.stopped() => return,
            Some(hint) = hints.recv() => watcher.take(hint),
            Some(Ok(first)) = watcher.questions.join_next() => watcher.conclude(first).await,
            _ = interval.tick() => watcher.round(),
        }
    }
}

struct Watcher {
    app: Arc<App>,
    questions: JoinSet<(IpAddr, Answer)>,
    asked: BTreeSet<IpAddr>,
    room: Arc<Semaphore>,
    /// Agents that joined and whose hosts are being tried.
    joined: BTreeMap<InstanceKey, IpAddr>,
    /// Instances whose last channel ended unheard.
    unheard: BTreeSet<InstanceKey>,
}

impl Watcher {
    fn new(app: Arc<App>) -> Self {
        Self {
            app,
            questions: JoinSet::new(),
            asked: BTreeSet::new(),
            room: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            joined: BTreeMap::new(),
            unheard: BTreeSet::new(),
        }
    }

    fn take(&mut self, hint: Hint) {
        match hint {
            Hint::Joined(instance, address) => {
                self.unheard.remove(&instance);
                self.joined.insert(instance, address);
                self.ask(address);
            }
            Hint::Left(instance, address, farewell) => {
                match farewell {
                    Farewell::Heard => self.unheard.remove(&instance),
                    Farewell::Unheard => self.unheard.insert(instance),
                };
                self.ask(address);
            }
        }
    }

    /// Asks every host that is to be watched, unless it is being asked.
    fn round(&mut self) {
        let state = self.app.driver.state();
        self.unheard.retain(|key| state.instances.contains_key(key));
        let addresses: BTreeSet<IpAddr> = watched(&state).map(|(_, place)| place.address).collect();
        for address in addresses {
            self.ask(address);
        }
    }

    fn ask(&mut self, address: IpAddr) {
        if self.asked.insert(address) {
            let room = self.room.clone();
            self.questions.spawn(async move {
                let _permit = room.acquire().await.expect("the semaphore is never closed");
                (address, question(address).await)
            });
        }
    }

    /// Reports an answer, and with it all others that are there already: hosts are lost by the rack.
    async fn conclude(&mut self, first: (IpAddr, Answer)) {
        let mut answers = BTreeMap::from([first]);
        while let Some(Ok((address, answer))) = self.questions.try_join_next() {
            answers.insert(address, answer);
        }
        self.asked.retain(|address| !answers.contains_key(address));
        let state = self.app.driver.state();
        let learned = self.learned(&state, &answers);
        for command in learned.into_iter().chain(self.probed(&state, &answers)) {
            // The scheduler is stopping, or the next round finds the same.
            let _ = self.app.driver.submit(command).await;
        }
    }

    /// What is new of the hosts of agents that joined.
    fn learned(&mut self, state: &State, answers: &BTreeMap<IpAddr, Answer>) -> Vec<Command> {
        let mut commands = Vec::new();
        self.joined.retain(|instance, address| {
            let Some(answer) = answers.get(address) else { return true };
            let whereabouts = Whereabouts { address: *address, answers: *answer == Answer::Answered };
            let known = state.instances.get(instance).and_then(|found| found.whereabouts);
            if known != Some(whereabouts) {
                commands.push(Command::HostLearned { instance: instance.clone(), whereabouts });
            }
            false
        });
        commands
    }

    /// What the answers say of instances that are away, where they say anything.
    fn probed(&self, state: &State, answers: &BTreeMap<IpAddr, Answer>) -> Option<Command> {
        let (mut answered, mut unanswered) = (Vec::new(), Vec::new());
        for (instance, place) in watched(state) {
            match answers.get(&place.address) {
                Some(Answer::Answered) => answered.push(instance.clone()),
                Some(Answer::Unanswered) if place.answers || self.unheard.contains(instance) => {
                    unanswered.push(instance.clone());
                }
                Some(Answer::Unanswered | Answer::NotAsked) | None => {}
            }
        }
        let news = !answered.is_empty() || !unanswered.is_empty();
        news.then_some(Command::HostsProbed { answered, unanswered })
    }
}

/// The instances whose agents are away and that are not given up, with their hosts.
fn watched(state: &State) -> impl Iterator<Item = (&InstanceKey, Whereabouts)> {
    state.instances.iter().filter_map(|(key, instance)| {
        let is_away = match instance.presence {
            Presence::Silent { .. } | Presence::Unreachable { .. } => true,
            Presence::Connected | Presence::Lost { .. } => false,
        };
        let in_use = instance.status != InstanceStatus::Inactive;
        // This very host is there.
        let elsewhere = |place: &Whereabouts| !place.address.is_loopback();
        Some((key, instance.whereabouts.filter(|place| is_away && in_use && elsewhere(place))?))
    })
}

/// Asks a host whether it is there.
async fn question(address: IpAddr) -> Answer {
    let attempts = ATTEMPTS.into_iter().map(|after| async move {
        tokio::time::sleep(after).await;
        TcpStream::connect((address, PORT)).await
    });
    let mut attempts: FuturesUnordered<_> = attempts.collect();
    let asked = async {
        while let Some(outcome) = attempts.next().await {
            match meaning(outcome.map(drop)) {
                Answer::Unanswered => {}
                conclusive @ (Answer::Answered | Answer::NotAsked) => return conclusive,
            }
        }
        Answer::Unanswered
    };
    tokio::time::timeout(ANSWER_MAX, asked).await.unwrap_or(Answer::Unanswered)
}

fn meaning(outcome: io::Result<()>) -> Answer {
    match outcome.map_err(|error| error.kind()) {
        Ok(()) | Err(io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) => Answer::Answered,
        Err(io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut) => Answer::Unanswered,
        Err(_) => Answer::NotAsked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_living_host_answers_whether_or_not_anybody_listens() {
        assert_eq!(question("127.0.0.1".parse().unwrap()).await, Answer::Answered);
    }

    #[test]
    fn faults_of_this_side_say_nothing_of_the_other() {
        let cases = [
            (io::ErrorKind::ConnectionRefused, Answer::Answered),
            (io::ErrorKind::HostUnreachable, Answer::Unanswered),
            (io::ErrorKind::TimedOut, Answer::Unanswered),
            (io::ErrorKind::NetworkUnreachable, Answer::NotAsked),
            (io::ErrorKind::PermissionDenied, Answer::NotAsked),
        ];
        for (kind, expected) in cases {
            assert_eq!(meaning(Err(kind.into())), expected, "{kind}");
        }
    }
}
