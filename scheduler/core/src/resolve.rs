//! What a caller wrote (a name, an id, a long or an old ARN) turned into the key of a thing.
//!
//! Every operation of ECS takes all of these forms wherever it names a resource. [`ecsr_api::arn`] reads them; here
//! what it finds becomes a key, and what it refuses gets ECS's words. A text that is well-formed but belongs to
//! another account or region is *not found* where ECS would look it up, and refused where it would not.
//!
//! Invariant: a key that comes out of here holds only valid names and parsed ids. Whether the thing exists is asked of
//! the state, by those functions here that return the thing itself.

use std::str::FromStr;
use std::sync::Arc;

use ecsr_api::arn::{Home, IdentifierError, Resource};

use crate::ids::{DefinitionId, InstanceId, InstanceKey, Name, ServiceKey, TaskId, TaskKey};
use crate::names;
use crate::refusal::{Refusal, client, invalid};
use crate::state::{Cluster, ClusterStatus, Definition, State};

/// The cluster that is meant when none is named.
pub const DEFAULT_CLUSTER: &str = "default";

/// The name of a cluster, whether or not it exists; nothing and the empty text mean [`DEFAULT_CLUSTER`].
///
/// Refused: a name that no cluster can have, an ARN of something else, and (as not found) a cluster elsewhere.
pub fn cluster_name(state: &State, text: Option<&str>) -> Result<Name, Refusal> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or(DEFAULT_CLUSTER);
    if !text.starts_with("arn:") {
        names::cluster_name(text)?;
        return Ok(text.into());
    }
    match state.home.read_cluster(text) {
        Ok(name) => Ok(name.into()),
        Err(IdentifierError::Home(_)) => Err(Refusal::ClusterNotFound),
        Err(
            IdentifierError::Malformed
            | IdentifierError::Kind { .. }
            | IdentifierError::Revision(_)
            | IdentifierError::Cluster { .. },
        ) => Err(invalid("Invalid cluster name.")),
    }
}

/// An ACTIVE cluster; any other is not found.
pub fn cluster<'a>(state: &'a State, text: Option<&str>) -> Result<&'a Arc<Cluster>, Refusal> {
    let name = cluster_name(state, text)?;
    state.active_cluster(&name).ok_or(Refusal::ClusterNotFound)
}

/// A task definition as callers name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefinitionName {
    /// The family alone: its latest ACTIVE revision.
    Latest(Name),
    /// One revision, in whatever status.
    Revision(DefinitionId),
}

/// Reads `family`, `family:revision` or an ARN. `None` is what can name nothing here: an ARN from elsewhere or of
/// something else, or a family that could never be registered. Each operation has words of its own for that.
///
/// Refused: nothing at all, and a revision that is no number.
pub fn definition_name(state: &State, text: &str) -> Result<Option<DefinitionName>, Refusal> {
    if text.trim().is_empty() {
        return Err(invalid("TaskDefinition can not be blank."));
    }
    let id = match state.home.read_task_definition(text) {
        Ok(id) => id,
        Err(IdentifierError::Revision(number)) => {
            return Err(client(format!("Invalid revision number. Number: {number}")));
        }
        Err(
            IdentifierError::Malformed
            | IdentifierError::Kind { .. }
            | IdentifierError::Home(_)
            | IdentifierError::Cluster { .. },
        ) => return Ok(None),
    };
    let family = Name::from(id.family);
    Ok(match id.revision {
        None => Some(DefinitionName::Latest(family)),
        Some(revision) => {
            let revision = u32::try_from(revision).expect("a revision that was read is positive");
            Some(DefinitionName::Revision(DefinitionId { family, revision }))
        }
    })
}

/// The definition that a text means: a revision in whatever status, or the latest ACTIVE one of a family.
///
/// `None` if there is no such definition; refused as by [`definition_name`].
pub fn definition<'a>(state: &'a State, text: &str) -> Result<Option<&'a Arc<Definition>>, Refusal> {
    Ok(definition_name(state, text)?.and_then(|name| match name {
        DefinitionName::Latest(family) => state.latest_definition(&family),
        DefinitionName::Revision(id) => state.definitions.get(&id),
    }))
}

/// The id of the definition that a text means. `None` and refusals as for [`definition`].
pub fn definition_id(state: &State, text: &str) -> Result<Option<DefinitionId>, Refusal> {
    Ok(definition(state, text)?.map(|definition| definition.id.clone()))
}

/// The key of a task of `cluster`, whether or not there is one.
pub fn task_key(state: &State, cluster: &Name, text: &str) -> Result<TaskKey, Refusal> {
    let id: TaskId =
        id(&state.home, text, state.home.read_task(cluster, text), "Task Identifier is invalid.")?;
    Ok(TaskKey { cluster: cluster.clone(), id })
}

/// The key of a container instance of `cluster`, whether or not there is one.
pub fn instance_key(state: &State, cluster: &Name, text: &str) -> Result<InstanceKey, Refusal> {
    const MALFORMED: &str = "Container instance Identifier is invalid.";
    let id: InstanceId = id(&state.home, text, state.home.read_container_instance(cluster, text), MALFORMED)?;
    Ok(InstanceKey { cluster: cluster.clone(), id })
}

/// The key of a service of `cluster`, whether or not there is one.
pub fn service_key(state: &State, cluster: &Name, text: &str) -> Result<ServiceKey, Refusal> {
    if !text.starts_with("arn:") {
        names::service_name(text)?;
    }
    let read = state.home.read_service(cluster, text);
    let name = read.map_err(|error| unidentified(&state.home, error, "Service Identifier is invalid."))?;
    Ok(ServiceKey { cluster: cluster.clone(), name: name.into() })
}

/// A task's or instance's id out of what was read.
fn id<I: FromStr>(
    home: &Home,
    text: &str,
    read: Result<String, IdentifierError>,
    malformed: &str,
) -> Result<I, Refusal> {
    if text.is_empty() {
        return Err(invalid(malformed));
    }
    let id = read.map_err(|error| unidentified(home, error, malformed))?;
    undashed(id).parse().map_err(|_| invalid(malformed))
}

/// Ids of old were UUIDs, whose dashes say nothing.
fn undashed(id: String) -> String {
    const UUID_LENGTH: usize = 36;
    if id.len() == UUID_LENGTH { id.replace('-', "") } else { id }
}

fn unidentified(home: &Home, error: IdentifierError, malformed: &str) -> Refusal {
    match error {
        IdentifierError::Malformed | IdentifierError::Kind { .. } | IdentifierError::Revision(_) => {
            invalid(malformed)
        }
        IdentifierError::Home(of) => invalid(format!(
            "Invalid identifier: Identifier is for account {} in {}. Your cluster is in account {} in {}",
            of.account, of.region, home.account, home.region,
        )),
        IdentifierError::Cluster { named, wanted } => invalid(format!(
            "Invalid identifier: Identifier is for cluster {named}. Your cluster is {wanted}"
        )),
    }
}

/// Something that carries tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taggable {
    Cluster(Name),
    Definition(DefinitionId),
    Instance(InstanceKey),
    Service(ServiceKey),
    Task(TaskKey),
}

/// What an ARN given to TagResource, UntagResource or ListTagsForResource names; it exists.
///
/// Only long ARNs are taken: an old one does not say the cluster, hence not the thing.
pub fn taggable(state: &State, text: &str) -> Result<Taggable, Refusal> {
    let malformed = || invalid(format!("Invalid resource ARN: {text}"));
    let named = match state.home.read_arn(text).map_err(|_| malformed())? {
        Resource::Cluster { name } => Taggable::Cluster(name.into()),
        Resource::TaskDefinition { family, revision } => {
            let revision = u32::try_from(revision).map_err(|_| malformed())?;
            Taggable::Definition(DefinitionId { family: family.into(), revision })
        }
        Resource::Service { cluster: Some(cluster), name } => {
            Taggable::Service(ServiceKey { cluster: cluster.into(), name: name.into() })
        }
        Resource::ContainerInstance { cluster: Some(cluster), id } => {
            let id = id.parse().map_err(|_| malformed())?;
            Taggable::Instance(InstanceKey { cluster: cluster.into(), id })
        }
        Resource::Task { cluster: Some(cluster), id } => {
            let id = id.parse().map_err(|_| malformed())?;
            Taggable::Task(TaskKey { cluster: cluster.into(), id })
        }
        Resource::Service { cluster: None, .. }
        | Resource::ContainerInstance { cluster: None, .. }
        | Resource::Task { cluster: None, .. } => {
            return Err(invalid("Long arn format must be used for tagging operations"));
        }
        Resource::CapacityProvider { .. }
        | Resource::Container { .. }
        | Resource::ServiceDeployment { .. }
        | Resource::ServiceRevision { .. }
        | Resource::TaskSet { .. } => return Err(malformed()),
    };
    named.must_exist(state)?;
    Ok(named)
}

impl Taggable {
    fn must_exist(&self, state: &State) -> Result<(), Refusal> {
        let (exists, words) = match self {
            Self::Cluster(name) => (
                state.clusters.get(name).is_some_and(|cluster| cluster.status == ClusterStatus::Active),
                "The specified cluster is inactive. Specify an active cluster and try again.",
            ),
            Self::Definition(id) => (
                state.definitions.contains_key(id),
                "The specified task definition does not exist. Specify a valid account, family, revision and try again.",
            ),
            Self::Instance(key) => (
                state.instances.contains_key(key),
                "The specified container instance does not exist. Specify a valid container instance and try again.",
            ),
            Self::Service(key) => (
                state.services.contains_key(key),
                "The specified service does not exist. Specify a valid service and try again.",
            ),
            Self::Task(key) => (
                state.tasks.contains_key(key),
                "The specified task does not exist. Specify a valid task and try again.",
            ),
        };
        if exists { Ok(()) } else { Err(invalid(words)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::DefinitionStatus;
    use crate::view::testing::{World, task_id};

    const HERE: &str = "arn:aws:ecs:us-east-1:123456789012";
    const ELSEWHERE: &str = "arn:aws:ecs:eu-west-1:123456789012";

    /// What a text came to, in words: the key, or the refusal.
    fn words<T>(found: Result<T, Refusal>, show: impl FnOnce(T) -> String) -> String {
        found.map_or_else(|refusal| refusal.to_string(), show)
    }

    #[test]
    fn clusters() {
        let mut world = World::empty();
        world.add_cluster("old", ClusterStatus::Inactive);
        let check = |text: Option<&str>, name: &str, active: &str| {
            assert_eq!(words(cluster_name(&world.state, text), |name| name.to_string()), name);
            assert_eq!(words(cluster(&world.state, text), |cluster| cluster.name.to_string()), active);
        };
        let not_found = "Cluster not found.";
        check(None, "default", not_found);
        check(Some(""), "default", not_found);
        check(Some("prod"), "prod", "prod");
        check(Some(&format!("{HERE}:cluster/prod")), "prod", "prod");
        check(Some("old"), "old", not_found);
        check(Some(&format!("{ELSEWHERE}:cluster/prod")), not_found, not_found);
        let invalid = "Invalid cluster name.";
        check(Some(&format!("{HERE}:service/prod/web")), invalid, invalid);
        check(Some("arn:aws:s3:::prod"), invalid, invalid);
        let characters = "Cluster name contains invalid characters.";
        check(Some("prod/web"), characters, characters);
    }

    #[test]
    fn definitions() {
        let mut world = World::empty();
        world.add_definition("web", 1, DefinitionStatus::Active);
        world.add_definition("web", 2, DefinitionStatus::Active);
        world.add_definition("web", 3, DefinitionStatus::Inactive);
        let check = |text: &str, expected: &str| {
            let show = |id: Option<DefinitionId>| id.map_or("none".to_owned(), |id| id.to_string());
            assert_eq!(words(definition_id(&world.state, text), show), expected, "{text}");
        };
        check("web", "web:2");
        check("web:1", "web:1");
        check("web:3", "web:3");
        check(&format!("{HERE}:task-definition/web:1"), "web:1");
        for absent in ["web:4", "gone", "a b", "arn:aws:s3:::web"] {
            check(absent, "none");
        }
        check(&format!("{ELSEWHERE}:task-definition/web:1"), "none");
        check(&format!("{HERE}:cluster/web"), "none");
        check("web:latest", "Invalid revision number. Number: latest");
        check("web:0", "Invalid revision number. Number: 0");
        check(" ", "TaskDefinition can not be blank.");
    }

    #[test]
    fn things_in_a_cluster() {
        let world = World::empty();
        let cluster = Name::from("prod");
        let id = task_id(0xab).to_string();
        let uuid = "abababab-abab-abab-abab-abababababab";
        let task = |text: &str| words(task_key(&world.state, &cluster, text), |key| key.id.to_string());
        let instance =
            |text: &str| words(instance_key(&world.state, &cluster, text), |key| key.id.to_string());
        for text in [&id, uuid] {
            assert_eq!([task(text), instance(text)], [&*id, &*id], "{text}");
            assert_eq!(task(&format!("{HERE}:task/{text}")), id);
            assert_eq!(task(&format!("{HERE}:task/prod/{text}")), id);
            assert_eq!(instance(&format!("{HERE}:container-instance/{text}")), id);
            assert_eq!(instance(&format!("{HERE}:container-instance/prod/{text}")), id);
        }
        for text in ["", "web", &id[1..], &format!("{HERE}:service/prod/web"), &format!("{HERE}:task/a/b/c")]
        {
            assert_eq!(task(text), "Task Identifier is invalid.", "{text}");
            assert_eq!(instance(text), "Container instance Identifier is invalid.", "{text}");
        }
        let other = "Invalid identifier: Identifier is for cluster dev. Your cluster is prod";
        assert_eq!(task(&format!("{HERE}:task/dev/{id}")), other);
        let service =
            |text: &str| words(service_key(&world.state, &cluster, text), |key| key.name.to_string());
        for text in ["web", &format!("{HERE}:service/web"), &format!("{HERE}:service/prod/web")] {
            assert_eq!(service(text), "web");
        }
        assert_eq!(service(&format!("{HERE}:service/dev/web")), other);
        assert_eq!(service("we b"), "Service name contains invalid characters.");
        assert_eq!(service(&format!("{HERE}:cluster/web")), "Service Identifier is invalid.");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(arn:aws:ecs:us-east-1:123456789012:)?[a-z:/-]{0,60}|\\PC{0,60}") {
            let World { state, .. } = World::with_service();
            let cluster = cluster_name(&state, Some(&text)).unwrap_or_else(|_| "prod".into());
            let _ = (task_key(&state, &cluster, &text), instance_key(&state, &cluster, &text));
            let _ = (service_key(&state, &cluster, &text), definition(&state, &text), taggable(&state, &text));
        }
    }
}
