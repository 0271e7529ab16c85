//! Who may do what: the scope of the key that signed, held against what is asked for.
//!
//! A key without a scope may do everything. One for some clusters may do there whatever can be done, and read and
//! register task definitions, which belong to no cluster. An agent's key may do what Amazon lets agents do, and only for
//! the container instances that were registered with it: the state remembers with which key that was, so that no agent
//! speaks for another's instance. A refusal is IAM's, in its words, and is decided in two steps: by the request alone
//! wherever it comes in, and by the state where it is answered.
//!
//! Invariant: what cannot be understood is not allowed to a key with a scope, unless it is refused anyway by who reads
//! it in the same way.

mod rules;

use std::sync::Arc;

use ecsr_api::ApiError;
use ecsr_api::arn::{Home, Resource};
use ecsr_api::ecs::{self, ErrorCode, Operation};
use ecsr_core::resolve::{self, Taggable};
use ecsr_core::state::{Instance, InstanceStatus};
use ecsr_core::{State, ids};
use serde::Deserialize;

use self::rules::{Bound, Place, Rule, rule};
use crate::auth::Authenticator;
use crate::keys::{Actions, Scope};

/// Longest text of a request that is repeated in a refusal: every ARN fits.
const SHOWN_BYTES_MAX: usize = 1024;

/// What an agent does by opening ACS, in IAM's words.
pub(crate) const POLL: &str = "Poll";
/// What an agent does by opening TCS.
pub(crate) const START_TELEMETRY: &str = "StartTelemetrySession";

/// Who signed a request, and what the key is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub access_key_id: String,
    pub scope: Scope,
}

/// A refusal, as IAM words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "User: {user} is not authorized to perform: ecs:{action} on resource: {resource} because no identity-based policy \
     allows the ecs:{action} action"
)]
pub(crate) struct Denied {
    user: String,
    action: &'static str,
    resource: String,
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::new(ErrorCode::AccessDeniedException, denied.to_string())
    }
}

/// The members by which requests say where they act.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Members {
    cluster: Option<String>,
    cluster_name: Option<String>,
    clusters: Option<Vec<String>>,
    container_instance: Option<String>,
    container_instance_arn: Option<String>,
    container_instances: Option<Vec<String>>,
    resource_arn: Option<String>,
    status: Option<String>,
    task: Option<String>,
}

/// Decides by the request alone; a refusal is logged.
pub(crate) fn admit(
    authenticator: &Authenticator,
    caller: &Caller,
    operation: Operation,
    body: &[u8],
) -> Result<(), ApiError> {
    if caller.scope.is_everything() {
        return Ok(());
    }
    let members = ecs::read_request(body)?;
    let request = Request { caller, home: authenticator.home(), operation, members: &members };
    authenticator.logged(request.in_place())
}

/// Decides by the state, for what [`admit`] let through; a refusal is logged.
pub(crate) fn bind(
    authenticator: &Authenticator,
    caller: &Caller,
    operation: Operation,
    body: &[u8],
    state: &State,
) -> Result<(), ApiError> {
    if caller.scope.is_everything() {
        return Ok(());
    }
    let members = ecs::read_request(body)?;
    let request = Request { caller, home: &state.home, operation, members: &members };
    authenticator.logged(request.bound(state, |key| authenticator.is_known(key)))
}

impl Caller {
    /// The key that what it registers is bound to.
    pub(crate) fn agent_key(&self) -> Option<&str> {
        match self.scope.actions {
            Actions::All => None,
            Actions::Agent => Some(&self.access_key_id),
        }
    }

    /// Whether it may act on that cluster.
    pub(crate) fn on_cluster(
        &self,
        home: &Home,
        action: &'static str,
        text: Option<&str>,
    ) -> Result<(), Denied> {
        let text = text.filter(|text| !text.is_empty()).unwrap_or(resolve::DEFAULT_CLUSTER);
        match home.read_cluster(text) {
            Ok(name) if self.scope.holds(&name) => Ok(()),
            Ok(name) => Err(self.denied(home, action, home.cluster_arn(&name))),
            // Nobody reads it as a cluster: every other key is told so.
            Err(_) if self.scope.clusters.is_empty() => Ok(()),
            Err(_) => Err(self.denied(home, action, shown(text))),
        }
    }

    /// Whether it may say what the agent of that instance says.
    pub(crate) fn speaks_for(
        &self,
        home: &Home,
        action: &'static str,
        instance: &Instance,
    ) -> Result<(), Denied> {
        let may = match (&instance.agent_key, self.scope.actions) {
            (Some(key), _) => **key == *self.access_key_id || self.scope.is_everything(),
            (None, Actions::All) => true,
            (None, Actions::Agent) => false,
        };
        if may { Ok(()) } else { Err(self.denied(home, action, arn(home, &instance.key))) }
    }

    fn denied(&self, home: &Home, action: &'static str, resource: String) -> Denied {
        let user = format!("arn:{}:iam::{}:user/{}", home.partition(), home.account, self.access_key_id);
        Denied { user, action, resource }
    }
}

/// What is asked for, by whom.
struct Request<'a> {
    caller: &'a Caller,
    home: &'a Home,
    operation: Operation,
    members: &'a Members,
}

impl Request<'_> {
    /// By the request alone: is it an action of this key, and on clusters of it?
    fn in_place(&self) -> Result<(), Denied> {
        let Rule { place, agents } = rule(self.operation);
        if self.caller.scope.actions == Actions::Agent && agents.is_none() {
            return Err(self.denied(self.resource(place)));
        }
        match place {
            Place::Cluster => self.on_cluster(self.members.cluster.as_deref()),
            Place::ClusterName => self.on_cluster(self.members.cluster_name.as_deref()),
            Place::Clusters => {
                let named = self.members.clusters.as_deref().unwrap_or_default();
                if named.is_empty() {
                    return self.on_cluster(None);
                }
                named.iter().try_for_each(|cluster| self.on_cluster(Some(cluster)))
            }
            Place::Resource => self.on_resource(),
            Place::Account | Place::DefinitionsOfOthers => self.everywhere(self.resource(place)),
            Place::Definitions | Place::Unserved => Ok(()),
        }
    }

    fn on_cluster(&self, text: Option<&str>) -> Result<(), Denied> {
        self.caller.on_cluster(self.home, self.operation.name(), text)
    }

    fn on_resource(&self) -> Result<(), Denied> {
        let text = self.members.resource_arn.as_deref().unwrap_or_default();
        match self.home.read_arn(text) {
            Ok(
                Resource::Cluster { name: cluster }
                | Resource::Container { cluster, .. }
                | Resource::ContainerInstance { cluster: Some(cluster), .. }
                | Resource::Service { cluster: Some(cluster), .. }
                | Resource::ServiceDeployment { cluster, .. }
                | Resource::ServiceRevision { cluster, .. }
                | Resource::Task { cluster: Some(cluster), .. }
                | Resource::TaskSet { cluster, .. },
            ) if self.caller.scope.holds(&cluster) => Ok(()),
            Ok(Resource::TaskDefinition { .. }) if self.operation == Operation::ListTagsForResource => Ok(()),
            Ok(_) | Err(_) => self.everywhere(shown(text)),
        }
    }

    /// Only for a key that is for all clusters.
    fn everywhere(&self, resource: String) -> Result<(), Denied> {
        if self.caller.scope.clusters.is_empty() { Ok(()) } else { Err(self.denied(resource)) }
    }

    /// What a refusal says that it was about.
    fn resource(&self, place: Place) -> String {
        let cluster = |text: Option<&str>| {
            let text = text.filter(|text| !text.is_empty()).unwrap_or(resolve::DEFAULT_CLUSTER);
            self.home.read_cluster(text).map_or_else(|_| shown(text), |name| self.home.cluster_arn(&name))
        };
        match place {
            Place::Cluster => cluster(self.members.cluster.as_deref()),
            Place::ClusterName => cluster(self.members.cluster_name.as_deref()),
            Place::Clusters => {
                let first = self.members.clusters.iter().flatten().next();
                cluster(first.map(String::as_str))
            }
            Place::Resource => shown(self.members.resource_arn.as_deref().unwrap_or("*")),
            Place::Account | Place::Definitions | Place::DefinitionsOfOthers | Place::Unserved => {
                "*".to_owned()
            }
        }
    }

    /// By the state: is it this key's business what happens to that instance? What does not exist is refused by the
    /// operation itself.
    fn bound(&self, state: &State, is_known: impl Fn(&str) -> bool) -> Result<(), Denied> {
        let Some(bound) = rule(self.operation).agents else { return Ok(()) };
        let is_agent = self.caller.scope.actions == Actions::Agent;
        match bound {
            Bound::Free => Ok(()),
            Bound::Registered => self.registers(state, is_known),
            // What ran on an instance that was deregistered is over: whoever has the host now may say so.
            Bound::Task => match self.instance_of_task(state) {
                Some(instance) if instance.status != InstanceStatus::Inactive => self.speaks_for(instance),
                Some(_) | None => Ok(()),
            },
            // Who manages a cluster manages the instances in it.
            Bound::Instance | Bound::Drained | Bound::Resource if !is_agent => Ok(()),
            Bound::Instance => self.owns(state, self.members.container_instance.as_deref()),
            Bound::Drained => self.drains(state),
            Bound::Resource => self.tags(state),
        }
    }

    fn speaks_for(&self, instance: &Instance) -> Result<(), Denied> {
        self.caller.speaks_for(self.home, self.operation.name(), instance)
    }

    /// An instance that exists may be registered again with the key that it is bound to. With another one only if nobody
    /// is there whom that would take it from: its own key was deleted, or was none of an agent, and no agent is connected.
    /// One that was deregistered is nobody's: the operation says so, and that the host is to be registered anew.
    fn registers(&self, state: &State, is_known: impl Fn(&str) -> bool) -> Result<(), Denied> {
        let Some(instance) = self.instance(state, self.members.container_instance_arn.as_deref()) else {
            return Ok(());
        };
        if instance.status == InstanceStatus::Inactive {
            return Ok(());
        }
        let is_left = instance.agent_key.as_deref().is_none_or(|key| !is_known(key));
        if is_left && !instance.is_connected() {
            return Ok(());
        }
        self.speaks_for(instance)
    }

    fn owns(&self, state: &State, text: Option<&str>) -> Result<(), Denied> {
        self.instance(state, text).map_or(Ok(()), |instance| self.speaks_for(instance))
    }

    /// An agent may drain its instance; to take it back is for people.
    fn drains(&self, state: &State) -> Result<(), Denied> {
        let named = self.members.container_instances.as_deref().unwrap_or_default();
        if self.members.status.as_deref() != Some(InstanceStatus::Draining.as_str()) {
            return Err(self.denied(self.resource(Place::Cluster)));
        }
        named.iter().try_for_each(|text| self.owns(state, Some(text)))
    }

    /// The tags of its instance are an agent's business, and it may read those of the tasks there.
    fn tags(&self, state: &State) -> Result<(), Denied> {
        let text = self.members.resource_arn.as_deref().unwrap_or_default();
        let reads = self.operation == Operation::ListTagsForResource;
        let instance = match resolve::taggable(state, text) {
            Ok(Taggable::Instance(key)) => state.instances.get(&key),
            Ok(Taggable::Task(key)) if reads => host(state, &key),
            Ok(Taggable::Cluster(_) | Taggable::Definition(_) | Taggable::Service(_) | Taggable::Task(_))
            | Err(_) => None,
        };
        match instance {
            Some(instance) => self.speaks_for(instance),
            None => Err(self.denied(shown(text))),
        }
    }

    fn instance<'s>(&self, state: &'s State, text: Option<&str>) -> Option<&'s Instance> {
        let cluster = resolve::cluster_name(state, self.members.cluster.as_deref()).ok()?;
        let key = resolve::instance_key(state, &cluster, text?).ok()?;
        state.instances.get(&key).map(|instance| &**instance)
    }

    fn instance_of_task<'s>(&self, state: &'s State) -> Option<&'s Instance> {
        let cluster = resolve::cluster_name(state, self.members.cluster.as_deref()).ok()?;
        let key = resolve::task_key(state, &cluster, self.members.task.as_deref()?).ok()?;
        host(state, &key).map(|instance| &**instance)
    }

    fn denied(&self, resource: String) -> Denied {
        self.caller.denied(self.home, self.operation.name(), resource)
    }
}

/// The instance that a task is on.
fn host<'s>(state: &'s State, task: &ids::TaskKey) -> Option<&'s Arc<Instance>> {
    let id = state.tasks.get(task)?.instance;
    state.instances.get(&ids::InstanceKey { cluster: task.cluster.clone(), id })
}

fn arn(home: &Home, key: &ids::InstanceKey) -> String {
    home.container_instance_arn(&key.cluster, &key.id.to_string())
}

/// A caller's text, as far as it is worth repeating.
fn shown(text: &str) -> String {
    let text = if text.is_empty() { "*" } else { text };
    text[..text.floor_char_boundary(SHOWN_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests;
