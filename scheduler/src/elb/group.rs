//! One target group, round by round, for as long as a task has to do with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ecsr_core::State;
use ecsr_core::command::{Command, GroupFacts};
use ecsr_core::ids::Name;
use ecsr_core::state::Target;
use ecsr_core::targets::{self, Observed, Steps, TargetType};
use tokio::sync::Notify;

use super::client::{LoadBalancing, Trouble};
use super::pace::Pace;
use crate::driver::Driver;
use crate::entropy::Entropy;

/// A group that is looked after.
#[derive(Debug)]
pub(super) struct Group<B> {
    pub name: Name,
    pub balancing: Arc<B>,
    pub driver: Driver,
    pub entropy: Entropy,
    /// Told when a task of the group changed.
    pub changed: Arc<Notify>,
}

/// How a round ended.
enum Round {
    /// No task has to do with the group any more.
    Over,
    Moving,
    Settled,
}

impl<B: LoadBalancing> Group<B> {
    /// Looks after the group until no task has to do with it.
    pub(super) async fn keep(self) -> Name {
        let mut pace = Pace::default();
        let mut kind = None;
        loop {
            let pause = match self.round(&mut kind).await {
                Ok(Round::Over) => return self.name,
                Ok(Round::Moving) => pace.moving(),
                Ok(Round::Settled) => pace.settled(),
                Err(trouble) => {
                    self.complain(&trouble).await;
                    // A load balancer that is in trouble is left alone, whatever changes here meanwhile.
                    tokio::time::sleep(pace.troubled(self.entropy.seed()[0])).await;
                    continue;
                }
            };
            if self.wait(pause).await {
                pace.quicken();
            }
        }
    }

    /// Waits for the next round. True if a change calls for it.
    async fn wait(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.changed.notified()).await.is_ok()
    }

    async fn round(&self, kind: &mut Option<TargetType>) -> Result<Round, Trouble> {
        let state = self.driver.state();
        if !state.endpoints.contains_key(&self.name) {
            return Ok(Round::Over);
        }
        let Some(of_targets) = self.kind(kind).await? else {
            self.follow(&state, TargetType::Ip, None).await?;
            return Err(Trouble::Refused("One or more target groups not found".into()));
        };
        let held = self.balancing.held(&self.name).await?;
        if held.is_none() {
            // It may come back as another kind of group.
            *kind = None;
        }
        let steps = self.follow(&state, of_targets, held.as_ref()).await?;
        if !steps.deregister.is_empty() {
            self.balancing.deregister(&self.name, &steps.deregister).await?;
        }
        if !steps.register.is_empty() {
            self.balancing.register(&self.name, &steps.register).await?;
        }
        let calls = !steps.deregister.is_empty() || !steps.register.is_empty();
        Ok(if steps.moving || calls { Round::Moving } else { Round::Settled })
    }

    async fn kind(&self, known: &mut Option<TargetType>) -> Result<Option<TargetType>, Trouble> {
        if known.is_none() {
            *known = self.balancing.facts(&self.name).await?.and_then(|facts| kind_of(&facts));
        }
        Ok(*known)
    }

    /// Writes down what is news, and answers what is to be done with that written down.
    async fn follow(
        &self,
        state: &Arc<State>,
        kind: TargetType,
        held: Option<&BTreeMap<Target, Observed>>,
    ) -> Result<Steps, Trouble> {
        let steps = targets::steps(state, &self.name, kind, held);
        if steps.reports.is_empty() {
            return Ok(steps);
        }
        let observed = Command::TargetsObserved { group: self.name.clone(), reports: steps.reports };
        let done = self.driver.execute(observed).await;
        let done = done.map_err(|failure| Trouble::Unreachable(failure.to_string()))?;
        let steps = targets::steps(&done.state, &self.name, kind, held);
        // What was written down calls for another look soon, whatever else there is to do.
        Ok(Steps { moving: true, ..steps })
    }

    async fn complain(&self, trouble: &Trouble) {
        tracing::warn!(target_group = &*self.name, %trouble, "targets are not up to date");
        let (group, trouble) = (self.name.clone(), trouble.to_string());
        // The log of the services says so, unless the scheduler is stopping.
        let _ = self.driver.submit(Command::TargetGroupTroubled { group, trouble }).await;
    }
}

fn kind_of(facts: &GroupFacts) -> Option<TargetType> {
    match facts.target_type.as_str() {
        "instance" => Some(TargetType::Instance),
        "ip" => Some(TargetType::Ip),
        _ => None,
    }
}
