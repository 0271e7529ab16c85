//! CreateCluster, UpdateCluster, UpdateClusterSettings, DeleteCluster.

use std::sync::Arc;

use ecsr_api::ecs;

use super::{Decision, Reply};
use crate::host_lost_after;
use crate::ids::Name;
use crate::names;
use crate::refusal::{Refusal, invalid};
use crate::resolve;
use crate::state::{Cluster, ClusterStatus, Event, InstanceStatus, ServiceStatus, State};

/// Creating an ACTIVE cluster again answers with it, unchanged; an INACTIVE name is taken anew.
pub(super) fn create(state: &State, request: &ecs::CreateClusterRequest) -> Result<Decision, Refusal> {
    let name = resolve::cluster_name(state, request.cluster_name.as_deref())?;
    let tags = names::tags(request.tags.as_deref())?;
    host_lost_after::check(&tags)?;
    let settings = settings(request.settings.as_deref())?;
    if let Some(unknown) = request.capacity_providers.iter().flatten().next() {
        return Err(invalid(format!(
            "The specified capacity provider '{unknown}' was not found. Specify a valid name or ARN and try again."
        )));
    }
    if request.default_capacity_provider_strategy.iter().flatten().next().is_some() {
        return Err(invalid(
            "The default capacity provider strategy names a provider that is not associated with the cluster.",
        ));
    }
    if let Some(cluster) = state.active_cluster(&name) {
        return Ok((Vec::new(), Reply::Cluster(cluster.name.clone())).into());
    }
    let cluster = Cluster {
        name: name.clone(),
        status: ClusterStatus::Active,
        settings: merged(&[default_setting()], &settings),
        configuration: request.configuration.clone(),
        service_connect_defaults: service_connect(request.service_connect_defaults.as_ref()),
        capacity_providers: Vec::new(),
        default_capacity_provider_strategy: Vec::new(),
        tags,
    };
    Ok(saved(cluster))
}

pub(super) fn update(state: &State, request: &ecs::UpdateClusterRequest) -> Result<Decision, Refusal> {
    let mut cluster = given(state, request.cluster.as_deref())?;
    if let Some(given) = &request.settings {
        cluster.settings = merged(&cluster.settings, &settings(Some(given))?);
    }
    if let Some(configuration) = &request.configuration {
        cluster.configuration = Some(configuration.clone());
    }
    if let Some(defaults) = &request.service_connect_defaults {
        cluster.service_connect_defaults = service_connect(Some(defaults));
    }
    Ok(saved(cluster))
}

pub(super) fn update_settings(
    state: &State,
    request: &ecs::UpdateClusterSettingsRequest,
) -> Result<Decision, Refusal> {
    let mut cluster = given(state, request.cluster.as_deref())?;
    let given = request.settings.as_deref().filter(|given| !given.is_empty());
    let given = given.ok_or_else(|| invalid("Cluster settings can not be blank."))?;
    cluster.settings = merged(&cluster.settings, &settings(Some(given))?);
    Ok(saved(cluster))
}

/// Only an empty cluster goes. Deleting an INACTIVE one again answers with it.
pub(super) fn delete(state: &State, request: &ecs::DeleteClusterRequest) -> Result<Decision, Refusal> {
    let text = request.cluster.as_deref().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| invalid("Cluster can not be blank."))?;
    let name = resolve::cluster_name(state, Some(text))?;
    let cluster = state.clusters.get(&name).ok_or(Refusal::ClusterNotFound)?;
    if cluster.status == ClusterStatus::Inactive {
        return Ok((Vec::new(), Reply::Cluster(name)).into());
    }
    must_be_empty(state, &name)?;
    Ok(saved(Cluster { status: ClusterStatus::Inactive, ..Cluster::clone(cluster) }))
}

fn must_be_empty(state: &State, name: &Name) -> Result<(), Refusal> {
    if state.instances_of(name).any(|instance| instance.status != InstanceStatus::Inactive) {
        return Err(Refusal::ClusterContainsContainerInstances);
    }
    if state.services_of(name).any(|service| service.status != ServiceStatus::Inactive) {
        return Err(Refusal::ClusterContainsServices);
    }
    if state.tasks.of_cluster(name, None).any(|task| task.is_live()) {
        return Err(Refusal::ClusterContainsTasks);
    }
    Ok(())
}

fn given(state: &State, text: Option<&str>) -> Result<Cluster, Refusal> {
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| invalid("Cluster can not be blank."))?;
    Ok(Cluster::clone(resolve::cluster(state, Some(text))?))
}

fn saved(cluster: Cluster) -> Decision {
    let reply = Reply::Cluster(cluster.name.clone());
    (vec![Event::ClusterSaved(Arc::new(cluster))], reply).into()
}

fn default_setting() -> ecs::ClusterSetting {
    ecs::ClusterSetting { name: Some("containerInsights".into()), value: Some("disabled".into()) }
}

fn settings(given: Option<&[ecs::ClusterSetting]>) -> Result<Vec<ecs::ClusterSetting>, Refusal> {
    let given = given.unwrap_or_default();
    for setting in given {
        names::one_of("name", setting.name.as_deref().unwrap_or_default(), ecs::enums::CLUSTER_SETTING_NAME)?;
        let value = setting.value.as_deref().unwrap_or_default();
        names::one_of("containerInsights", value, &["enabled", "disabled", "enhanced"])?;
    }
    Ok(given.to_vec())
}

/// Settings by name: a new value replaces the old one.
fn merged(old: &[ecs::ClusterSetting], new: &[ecs::ClusterSetting]) -> Vec<ecs::ClusterSetting> {
    let kept = old.iter().filter(|setting| new.iter().all(|newer| newer.name != setting.name));
    kept.chain(new).cloned().collect()
}

fn service_connect(
    given: Option<&ecs::ClusterServiceConnectDefaultsRequest>,
) -> Option<ecs::ClusterServiceConnectDefaults> {
    // An empty name takes the default away again.
    let namespace = given?.namespace.clone().filter(|name| !name.is_empty())?;
    Some(ecs::ClusterServiceConnectDefaults { namespace: Some(namespace) })
}
