//! Which targets a target group should have for the tasks of its services, against those that it has.
//!
//! A round is level-triggered: somebody asks the group what it holds, [`steps`] says what that means for the tasks and
//! what to register and to deregister, and the next round looks again. An endpoint that should be registered is claimed
//! first, which is a report like any other; its target is registered by the round that finds the claim in the state, so
//! whatever is registered was written down before. Targets that no endpoint claims are somebody else's and left alone.
//!
//! Invariants: a target is wanted only while its task can serve (running, meant to, on a host that answers); a claim is
//! given up only when the group was seen without the target, or when another task has the same target now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::ids::{Name, TaskKey};
use crate::state::{
    Desired, Endpoint, Instance, Known, PortBinding, Registration, Standing, State, Target, Task,
};

/// The attribute by which a host says at which address target groups reach it, where that is not the one that its agent
/// comes from.
pub const ADDRESS_ATTRIBUTE: &str = "ecsr.address";

/// What the ids of a group's targets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetType {
    /// EC2 instances.
    Instance,
    /// Addresses of hosts.
    Ip,
}

/// What a group says of a target that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    Initial,
    Healthy,
    /// With the reason in the group's words.
    Unhealthy(String),
    Draining,
}

/// What a round found out of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetReport {
    pub task: TaskKey,
    /// The number of the endpoint.
    pub endpoint: u8,
    pub registration: Option<Registration>,
    /// Why it is unhealthy.
    pub reason: Option<String>,
}

/// What a round has to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps {
    /// What is news of tasks.
    pub reports: Vec<TargetReport>,
    pub register: BTreeSet<Target>,
    pub deregister: BTreeSet<Target>,
    /// Whether more is to come without anything happening here: health to be found, connections to drain.
    pub moving: bool,
}

/// An endpoint with all that decides about it.
struct Case<'s> {
    task: &'s Task,
    number: u8,
    claim: Option<&'s Registration>,
    wanted: Option<Target>,
}

/// What is to be done for a group that holds these targets. `None`: the group is not there any more.
pub fn steps(
    state: &State,
    group: &Name,
    kind: TargetType,
    held: Option<&BTreeMap<Target, Observed>>,
) -> Steps {
    let cases = cases(state, group, kind);
    let Some(held) = held else { return all_gone(&cases) };
    let wanted: BTreeSet<&Target> = cases.iter().filter_map(|case| case.wanted.as_ref()).collect();
    let mut steps = Steps::default();
    for case in &cases {
        match (case.claim, &case.wanted) {
            (None, None) => {}
            (None, Some(target)) => steps.report_as(case, target, Standing::Claimed, None),
            (Some(claim), Some(target)) if claim.target == *target => {
                steps.keep(case, claim, held.get(target));
            }
            (Some(claim), _) if wanted.contains(&claim.target) => steps.report(case, None, None),
            (Some(claim), _) => steps.let_go(case, claim, held.get(&claim.target)),
        }
    }
    steps
}

impl Steps {
    /// An endpoint that is where it should be, if the group has it.
    fn keep(&mut self, case: &Case<'_>, claim: &Registration, held: Option<&Observed>) {
        let (standing, reason) = match held {
            // To register a target that drains ends its draining.
            None | Some(Observed::Draining) => {
                self.register.insert(claim.target.clone());
                (Standing::Claimed, None)
            }
            Some(Observed::Initial) => (Standing::Initial, None),
            Some(Observed::Healthy) => (Standing::Healthy, None),
            Some(Observed::Unhealthy(reason)) => (Standing::Unhealthy, Some(reason.clone())),
        };
        self.moving |= standing != Standing::Healthy;
        if standing != claim.standing {
            self.report_as(case, &claim.target, standing, reason);
        }
    }

    /// An endpoint that should not be registered any more.
    fn let_go(&mut self, case: &Case<'_>, claim: &Registration, held: Option<&Observed>) {
        match held {
            None => self.report(case, None, None),
            Some(Observed::Draining) => {
                self.moving = true;
                if claim.standing != Standing::Draining {
                    self.report_as(case, &claim.target, Standing::Draining, None);
                }
            }
            Some(Observed::Initial | Observed::Healthy | Observed::Unhealthy(_)) => {
                self.moving = true;
                self.deregister.insert(claim.target.clone());
            }
        }
    }

    fn report_as(&mut self, case: &Case<'_>, target: &Target, standing: Standing, reason: Option<String>) {
        self.report(case, Some(Registration { target: target.clone(), standing }), reason);
    }

    fn report(&mut self, case: &Case<'_>, registration: Option<Registration>, reason: Option<String>) {
        let (task, endpoint) = (case.task.key.clone(), case.number);
        self.reports.push(TargetReport { task, endpoint, registration, reason });
    }
}

/// Nothing can be registered in a group that is gone, and nothing is.
fn all_gone(cases: &[Case<'_>]) -> Steps {
    let mut steps = Steps::default();
    for case in cases.iter().filter(|case| case.claim.is_some()) {
        steps.report(case, None, None);
    }
    steps
}

fn cases<'s>(state: &'s State, group: &Name, kind: TargetType) -> Vec<Case<'s>> {
    let tasks = state.endpoints.get(group).into_iter().flat_map(|tasks| tasks.keys());
    let tasks = tasks.filter_map(|key| state.tasks.get(key));
    let endpoints =
        tasks.flat_map(|task| (0..).zip(&task.endpoints).map(move |(number, one)| (task, number, one)));
    let ours = endpoints.filter(|(_, _, endpoint)| endpoint.group == *group);
    ours.map(|(task, number, endpoint)| Case {
        task,
        number,
        claim: endpoint.registration.as_ref(),
        wanted: wanted(state, task, endpoint, kind),
    })
    .collect()
}

/// The target that an endpoint should have now.
fn wanted(state: &State, task: &Task, endpoint: &Endpoint, kind: TargetType) -> Option<Target> {
    let runs = (task.desired, task.known) == (Desired::Running, Known::Running);
    let container = task.containers.iter().find(|one| one.name == endpoint.container)?;
    let host = state.instance_of(task).filter(|host| host.presence.serves())?;
    if !runs || container.known != Known::Running {
        return None;
    }
    let bound = |binding: &&PortBinding| binding.container_port() == Some(endpoint.port);
    let binding = container.network_bindings.iter().find(bound);
    let port = match binding {
        Some(binding) => binding.host_port()?.1,
        None if shares_the_network_of_its_host(state, task) => endpoint.port,
        None => return None,
    };
    let id = match kind {
        TargetType::Instance => host.ec2_instance_id.clone()?,
        TargetType::Ip => address(host)?.to_string(),
    };
    Some(Target { id: id.into(), port })
}

fn shares_the_network_of_its_host(state: &State, task: &Task) -> bool {
    state.definition(&task.definition).document.network_mode.as_deref() == Some("host")
}

/// Where target groups reach a host.
fn address(host: &Instance) -> Option<IpAddr> {
    let given = host.attribute(ADDRESS_ATTRIBUTE).and_then(|text| text.parse().ok());
    let seen = || host.whereabouts.map(|place| place.address);
    let address = given.or_else(seen)?;
    // Ports are published on IPv4.
    Some(if address.is_loopback() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address })
}

#[cfg(test)]
mod tests;
