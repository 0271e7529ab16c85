//! One scheduler's life among others: follow, stand for election, lead, step down, follow again.
//!
//! Nothing is carried from a reign into the time after it: who has stepped down reads the log anew, since it may hold
//! more than the last leader dared to acknowledge, or less than it hoped to append.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use ecsr_api::ApiError;
use ecsr_api::arn::Home;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tower_service::Service;

use super::barrier::Barrier;
use super::follower::{Beat, Follower, Lead, Outlook, Replica};
use super::forward::{LEADER_PATIENCE, Unanswered};
use super::standby::{Outcome, Standby};
use super::{Authority, Consistency};
use crate::agents::{self, Hosts, Sessions, Templates};
use crate::app::App;
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::driver::{self, Driver, Recovered, Surroundings};
use crate::elb::Elb;
use crate::entropy::Entropy;
use crate::http::{self, api};
use crate::journal::etcd::EtcdJournal;
use crate::journal::etcd::log::{Leader, Log};
use crate::journal::etcd::reign::{LEASE, Reign};
use crate::journal::record::{self, Founding};
use crate::journal::{self, Journal};
use crate::outgoing::Http;
use crate::roles::Roles;
use crate::{Error, SESSIONS_GRACE, create_clusters};

/// How often the leader gives a sign of life: four times in a lease.
const RENEW_EVERY: Duration = Duration::from_millis(500);

/// How long a leader that cannot give any sign of life waits for etcd before it steps down by itself.
const RENEW_PATIENCE: Duration = Duration::from_secs(8);

/// How long a new leader may take to apply the rest of the log.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);

/// Pause before a scheduler that was not elected looks again.
const CAMPAIGN_PAUSE: Duration = Duration::from_millis(100);

/// An etcd that took longer for an answer had no leader of its own a moment ago. Ours could not give a sign of life then
/// either, and has this much time to give one before it is deposed: what it asked for meanwhile is carried out by now,
/// or is asked for again (see the etcd client's hedging).
const ETCD_AWAY: Duration = Duration::from_millis(400);

/// What a node is made of, for good.
#[derive(Debug)]
pub(crate) struct Node {
    pub log: Arc<Log>,
    pub home: Home,
    pub authenticator: Arc<Authenticator>,
    pub entropy: Entropy,
    pub roles: Roles,
    pub elb: Elb,
    pub http: Http,
    /// The URL by which clients and other schedulers reach this one.
    pub own: String,
    pub listen: SocketAddr,
    pub clusters: Vec<String>,
    pub consistency: Consistency,
}

/// What a node is at the moment.
#[derive(Debug, Clone)]
enum Role {
    Standby(Arc<Standby>),
    Leader(Arc<App>),
}

/// How a time as a standby ended.
enum Promotion {
    Elected { reign: Arc<Reign>, renewing: JoinHandle<()>, replica: Replica },
    Shutdown,
}

/// Why a reign ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Deposed,
    Shutdown,
}

impl Node {
    /// Lives until `shutdown` resolves. `serve` is given what answers requests, once.
    pub(crate) async fn run(
        self,
        shutdown: impl Future<Output = ()>,
        serve: impl FnOnce(Router),
    ) -> Result<(), Error> {
        let mut shutdown = std::pin::pin!(shutdown);
        let barrier = Barrier::start(self.log.clone());
        let (lead, _) = watch::channel(Lead::Unknown);
        let (mut follower, mut outlook) = Follower::new(self.log.clone(), self.home.clone(), lead.clone());
        let (role, roles) = watch::channel(Role::Standby(self.standby(&outlook, &barrier)));
        serve(Router::new().fallback(dispatch).with_state(roles));
        loop {
            let promotion = self.stand_by(follower, outlook, shutdown.as_mut()).await?;
            let Promotion::Elected { reign, renewing, replica } = promotion else { return Ok(()) };
            let led = self.lead(reign.clone(), replica, &barrier, &role, &lead, shutdown.as_mut()).await;
            renewing.abort();
            self.log.resign(&reign).await;
            if led? == Ended::Shutdown {
                return Ok(());
            }
            tracing::warn!(term = reign.term(), "this scheduler does not lead any more");
            (follower, outlook) = Follower::new(self.log.clone(), self.home.clone(), lead.clone());
            role.send_replace(Role::Standby(self.standby(&outlook, &barrier)));
        }
    }

    fn standby(&self, outlook: &Outlook, barrier: &Barrier) -> Arc<Standby> {
        Arc::new(Standby {
            outlook: outlook.clone(),
            barrier: barrier.clone(),
            consistency: self.consistency,
            authenticator: self.authenticator.clone(),
            entropy: self.entropy.clone(),
            http: self.http.clone(),
            own: self.own.clone(),
        })
    }

    /// Follows, and stands whenever nobody leads.
    async fn stand_by(
        &self,
        follower: Follower,
        mut outlook: Outlook,
        mut shutdown: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Promotion, Error> {
        let mut following = std::pin::pin!(follower.run());
        loop {
            tokio::select! {
                () = shutdown.as_mut() => return Ok(Promotion::Shutdown),
                error = following.as_mut() => return Err(error.into()),
                elected = self.stand(&mut outlook) => {
                    let Some(reign) = elected else { continue };
                    let reign = Arc::new(reign);
                    let renewing = tokio::spawn(renew(self.log.clone(), reign.clone()));
                    tracing::info!(term = reign.term(), "this scheduler was elected");
                    tokio::select! {
                        error = following.as_mut() => return Err(error.into()),
                        replica = self.catch_up(&mut outlook, &reign) => {
                            if let Some(replica) = replica {
                                return Ok(Promotion::Elected { reign, renewing, replica });
                            }
                            tracing::warn!("the rest of the log could not be read in time; resigning");
                            renewing.abort();
                            self.log.resign(&reign).await;
                        }
                    }
                }
            }
        }
    }

    /// Waits until nobody leads, or nobody who gives a sign of life, and tries to. Nobody stands who has not read the log.
    async fn stand(&self, outlook: &mut Outlook) -> Option<Reign> {
        outlook.replica.wait_for(Option::is_some).await.ok()?;
        let silent = tokio::select! {
            vacant = outlook.lead.wait_for(|lead| *lead == Lead::Vacant) => {
                vacant.ok()?;
                None
            }
            beat = last_beat(&mut outlook.beat) => Some(beat),
        };
        let elected = async {
            if let Some(beat) = silent
                && !self.depose(beat).await?
            {
                return Ok(None);
            }
            self.campaign().await
        };
        match elected.await {
            Ok(Some(reign)) => return Some(reign),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = driver::explain(&error), "the election could not be held");
            }
        }
        tokio::time::sleep(CAMPAIGN_PAUSE).await;
        None
    }

    /// Takes the lead from who gave that sign of life and no other since. False if it did.
    async fn depose(&self, beat: Beat) -> Result<bool, journal::Error> {
        let asked_at = Instant::now();
        if self.log.glance().await?.beat != beat.revision {
            return Ok(false);
        }
        if asked_at.elapsed() > ETCD_AWAY {
            tokio::time::sleep(ETCD_AWAY).await;
        }
        let deposed = self.log.depose(beat.revision).await?;
        if deposed {
            tracing::warn!(silent_for = ?beat.seen_at.elapsed(), "the leader gives no sign of life; deposed it");
        }
        Ok(deposed)
    }

    async fn campaign(&self) -> Result<Option<Reign>, journal::Error> {
        let candidate = Leader { url: self.own.clone(), candidacy: self.entropy.uuid() };
        let glance = self.log.glance().await?;
        if glance.leader.is_some() { Ok(None) } else { self.log.campaign(&candidate, &glance).await }
    }

    /// Everything there is: nobody else can append any more.
    async fn catch_up(&self, outlook: &mut Outlook, reign: &Reign) -> Option<Replica> {
        let caught_up = async {
            let head = loop {
                match self.log.glance().await {
                    Ok(glance) if glance.fence == reign.fence() => break glance.head,
                    Ok(_) => return None,
                    Err(_) => tokio::time::sleep(CAMPAIGN_PAUSE).await,
                }
            };
            let is_whole =
                |replica: &Option<Replica>| replica.as_ref().is_some_and(|it| it.next_index == head);
            outlook.replica.wait_for(is_whole).await.ok()?.clone()
        };
        tokio::select! {
            replica = tokio::time::timeout(CATCH_UP_MAX, caught_up) => replica.ok().flatten(),
            () = reign.lost() => None,
        }
    }

    /// Leads until deposed or told to stop. What was queued before is answered before this returns.
    async fn lead(
        &self,
        reign: Arc<Reign>,
        replica: Replica,
        barrier: &Barrier,
        role: &watch::Sender<Role>,
        lead: &watch::Sender<Lead>,
        shutdown: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Ended, Error> {
        let journal = Box::new(EtcdJournal::new(self.log.clone(), reign.clone()));
        let Some((recovered, journal)) = self.found(journal, &reign, replica).await else {
            return Ok(Ended::Deposed);
        };
        let clock = Clock::in_epoch(recovered.latest, reign.term());
        let surroundings = Surroundings {
            clock: clock.clone(),
            entropy: self.entropy.clone(),
            caller: self.home.root_arn(),
            events_per_snapshot_min: driver::EVENTS_PER_SNAPSHOT_MIN,
        };
        let (stop_writer, writer_stops) = watch::channel(false);
        let started = Driver::start(recovered, journal, surroundings, writer_stops).await;
        let (driver, mut writer) = started.map_err(Error::Thread)?;
        if let Err(error) = create_clusters(&driver, &self.clusters).await {
            tracing::warn!(%error, "a cluster of the settings could not be created");
        }
        let (stop, stopped) = watch::channel(false);
        let authority = Authority::Elected {
            reign: reign.clone(),
            barrier: barrier.clone(),
            consistency: self.consistency,
        };
        let (hosts, hints) = Hosts::new();
        let app = Arc::new(self.app(driver, authority, clock, hosts, stopped));
        let watching = tokio::spawn(agents::watch_hosts(app.clone(), hints));
        let balancing = tokio::spawn(app.balance());
        lead.send_replace(Lead::Held(Leader { url: self.own.clone(), candidacy: String::new() }));
        role.send_replace(Role::Leader(app.clone()));
        tracing::info!(term = reign.term(), "this scheduler leads");

        let ended = tokio::select! {
            () = shutdown => Ended::Shutdown,
            () = reign.lost() => Ended::Deposed,
            // The writer ends by itself only by failing.
            _ = &mut writer => return Err(Error::Failed),
        };
        lead.send_replace(Lead::Unknown);
        stop.send_replace(true);
        if tokio::time::timeout(SESSIONS_GRACE, app.sessions.all_ended()).await.is_err() {
            tracing::warn!("some agent sessions did not end in time");
        }
        watching.await.map_err(|_| Error::Failed)?;
        balancing.await.map_err(|_| Error::Failed)?;
        stop_writer.send_replace(true);
        writer.await.map_err(|_| Error::Failed)?;
        Ok(ended)
    }

    /// Writes the first record of an empty log. `None` if that did not succeed.
    async fn found(
        &self,
        mut journal: Box<EtcdJournal>,
        reign: &Reign,
        replica: Replica,
    ) -> Option<(Recovered, Box<dyn Journal>)> {
        let founding = Founding { account: self.home.account.clone(), region: self.home.region.clone() };
        let Replica { state, mut next_index, latest, events } = replica;
        let epoch = reign.term();
        if next_index == 0 {
            let first = [record::founding(&founding)];
            let founded =
                tokio::task::spawn_blocking(move || (journal.append(epoch, 0, &first), journal)).await;
            let (appended, returned) = founded.expect("the journal does not panic");
            journal = returned;
            if let Err(error) = appended {
                tracing::warn!(error = driver::explain(&error), "the log could not be founded");
                return None;
            }
            next_index = 1;
        }
        Some((Recovered { state, founding, epoch, next_index, events, latest }, journal))
    }

    fn app(
        &self,
        driver: Driver,
        authority: Authority,
        clock: Clock,
        hosts: Hosts,
        stop: watch::Receiver<bool>,
    ) -> App {
        App {
            driver,
            authority,
            authenticator: self.authenticator.clone(),
            sessions: Sessions::default(),
            hosts,
            roles: self.roles.clone(),
            elb: self.elb.clone(),
            templates: Templates::default(),
            clock,
            entropy: self.entropy.clone(),
            advertise: Some(self.own.clone()),
            listen: self.listen,
            stop,
        }
    }
}

/// The last sign of life of a leader, once none followed it for the time of a lease.
async fn last_beat(beats: &mut watch::Receiver<Beat>) -> Beat {
    loop {
        let beat = *beats.borrow_and_update();
        let silence = match beat.revision {
            // Nobody ever led.
            0 => None,
            _ => Some(beat.seen_at + LEASE),
        };
        let changed = match silence {
            Some(until) => tokio::time::timeout_at(until, beats.changed()).await,
            None => Ok(beats.changed().await),
        };
        match changed {
            Ok(Ok(())) => {}
            // Nobody follows any more: there is nothing to be seen.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return beat,
        }
    }
}

/// Gives signs of life until the reign is lost, or none could be given for so long that it is given up.
async fn renew(log: Arc<Log>, reign: Arc<Reign>) {
    let mut renewals = tokio::time::interval(RENEW_EVERY);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed_at = Instant::now();
    while !reign.is_lost() {
        renewals.tick().await;
        match log.renew(&reign).await {
            Ok(()) => renewed_at = Instant::now(),
            Err(error) => {
                tracing::warn!(error = driver::explain(&error), "no sign of life could be given");
                if renewed_at.elapsed() > RENEW_PATIENCE {
                    reign.lose();
                }
            }
        }
    }
}

/// Gives a request to whatever this node is at the moment.
async fn dispatch(State(roles): State<watch::Receiver<Role>>, request: Request) -> Response {
    let role = roles.borrow().clone();
    match role {
        Role::Leader(app) => as_leader(app, request).await,
        Role::Standby(standby) => {
            let (parts, body) = request.into_parts();
            match standby.answer(parts, body).await {
                Outcome::Answered(response) => response,
                Outcome::Leading(parts, body) => once_leader(roles, &standby, parts, body).await,
            }
        }
    }
}

async fn as_leader(app: Arc<App>, request: Request) -> Response {
    match http::router(app).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// This node was elected while it held the request: it is answered as soon as the node serves as the leader.
async fn once_leader(
    mut roles: watch::Receiver<Role>,
    standby: &Standby,
    parts: Parts,
    body: Bytes,
) -> Response {
    let leads = roles.wait_for(|role| matches!(role, Role::Leader(_)));
    let role = tokio::time::timeout(LEADER_PATIENCE, leads).await.ok().and_then(Result::ok);
    let app = role.and_then(|role| match &*role {
        Role::Leader(app) => Some(app.clone()),
        Role::Standby(_) => None,
    });
    if let Some(app) = app {
        return as_leader(app, Request::from_parts(parts, body.into())).await;
    }
    let error = ApiError::server(Unanswered::NoLeader.to_string());
    api::respond(&standby.entropy, &parts.headers, Err(error))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// A beat that was seen so long ago.
    fn beat(revision: i64, ago: Duration) -> Beat {
        Beat { revision, seen_at: Instant::now().checked_sub(ago).expect("the machine has run for longer") }
    }

    #[tokio::test]
    async fn a_leader_is_given_up_when_no_beat_was_seen_for_a_lease() {
        let (sender, mut beats) = watch::channel(beat(0, LEASE * 2));
        assert_eq!(last_beat(&mut beats).now_or_never(), None, "nobody ever led");
        sender.send_replace(beat(1, Duration::ZERO));
        assert_eq!(last_beat(&mut beats).now_or_never(), None);
        let last = beat(2, LEASE);
        sender.send_replace(last);
        assert_eq!(last_beat(&mut beats).await, last);
        sender.send_replace(beat(3, Duration::ZERO));
        assert_eq!(last_beat(&mut beats).now_or_never(), None, "it leads on");
    }
}
