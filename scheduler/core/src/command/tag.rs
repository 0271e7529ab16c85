//! TagResource, UntagResource: tags of anything that has an ARN.

use std::sync::Arc;

use ecsr_api::ecs;

use super::{Decision, Reply};
use crate::host_lost_after;
use crate::names;
use crate::refusal::{Refusal, invalid};
use crate::resolve::{self, Taggable};
use crate::state::{Cluster, Definition, Event, Instance, Service, State, Tags};

/// Adds tags; a key that is there gets the new value.
pub(super) fn tag(state: &State, request: &ecs::TagResourceRequest) -> Result<Decision, Refusal> {
    let resource = resource(state, request.resource_arn.as_deref())?;
    let given = request.tags.as_deref().ok_or_else(|| invalid("Tags can not be blank."))?;
    let mut tags = tags_of(state, &resource);
    tags.extend(names::tags(Some(given))?);
    names::tag_count(&tags)?;
    if let Taggable::Cluster(_) = resource {
        host_lost_after::check(&tags)?;
    }
    Ok((retag(state, &resource, tags), Reply::Nothing).into())
}

/// Takes tags away; a key that is not there is no error.
pub(super) fn untag(state: &State, request: &ecs::UntagResourceRequest) -> Result<Decision, Refusal> {
    let resource = resource(state, request.resource_arn.as_deref())?;
    let keys = request.tag_keys.as_deref().ok_or_else(|| invalid("Tag keys can not be blank."))?;
    keys.iter().try_for_each(|key| names::tag_key(key))?;
    let mut tags = tags_of(state, &resource);
    tags.retain(|key, _| !keys.contains(key));
    Ok((retag(state, &resource, tags), Reply::Nothing).into())
}

fn resource(state: &State, arn: Option<&str>) -> Result<Taggable, Refusal> {
    resolve::taggable(state, arn.ok_or_else(|| invalid("Resource ARN can not be blank."))?)
}

fn tags_of(state: &State, resource: &Taggable) -> Tags {
    let tags = match resource {
        Taggable::Cluster(name) => state.clusters.get(name).map(|found| &found.tags),
        Taggable::Definition(id) => state.definitions.get(id).map(|found| &found.tags),
        Taggable::Instance(key) => state.instances.get(key).map(|found| &found.tags),
        Taggable::Service(key) => state.services.get(key).map(|found| &found.tags),
        Taggable::Task(key) => state.tasks.get(key).map(|found| &*found.tags),
    };
    tags.cloned().unwrap_or_default()
}

fn retag(state: &State, resource: &Taggable, tags: Tags) -> Vec<Event> {
    let event = match resource {
        Taggable::Cluster(name) => state
            .clusters
            .get(name)
            .map(|found| Event::ClusterSaved(Arc::new(Cluster { tags, ..Cluster::clone(found) }))),
        Taggable::Definition(id) => state
            .definitions
            .get(id)
            .map(|found| Event::DefinitionSaved(Arc::new(Definition { tags, ..Definition::clone(found) }))),
        Taggable::Instance(key) => state
            .instances
            .get(key)
            .map(|found| Event::InstanceSaved(Arc::new(Instance { tags, ..Instance::clone(found) }))),
        Taggable::Service(key) => state
            .services
            .get(key)
            .map(|found| Event::ServiceSaved(Arc::new(Service { tags, ..Service::clone(found) }))),
        Taggable::Task(key) => Some(Event::TaskTagged { task: key.clone(), tags }),
    };
    event.into_iter().collect()
}
