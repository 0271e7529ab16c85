//! Container instances: they register, come and go with their agent's channel, are drained and deregistered.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_api::ecs;
use serde::Deserialize;

use super::{Decision, Reply};
use crate::context::Context;
use crate::ids::{InstanceId, InstanceKey, Name};
use crate::names;
use crate::refusal::{Refusal, client, invalid};
use crate::resolve;
use crate::state::{
    Desired, Event, Instance, InstanceStatus, Presence, Report, Resources, State, Stop, StopCode, Task,
};

/// Most instances of one UpdateContainerInstancesState.
const UPDATE_MAX: usize = 10;

/// Most attributes that one instance may register: a few times what Amazon's agent sends.
const ATTRIBUTES_MAX: usize = 500;

/// What the state keeps of an EC2 instance identity document.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct IdentityDocument {
    instance_id: Option<String>,
    instance_type: Option<String>,
    image_id: Option<String>,
    availability_zone: Option<String>,
}

/// Registers a new instance, or again one that names itself by its ARN: that keeps its ARN, tags and tasks. It is bound
/// to the agent's key that it is registered with now, and to none if that is no agent's.
pub(super) fn register(
    state: &State,
    request: &ecs::RegisterContainerInstanceRequest,
    agent_key: Option<&str>,
    context: &mut Context,
) -> Result<Decision, Refusal> {
    let cluster = resolve::cluster(state, request.cluster.as_deref())?.name.clone();
    let known = registered_before(state, &cluster, request.container_instance_arn.as_deref())?;
    let identity = identity(request.instance_identity_document.as_deref());
    let mut attributes = attributes(request.attributes.as_deref().unwrap_or_default())?;
    describe_host(&mut attributes, &identity);
    let tags = names::tags(request.tags.as_deref())?;
    let resources = resources(request)?;
    let agent_key = agent_key.map(Box::from);
    let instance = match known {
        Some(known) => Instance {
            agent_key,
            resources,
            attributes: kept_attributes(known, attributes),
            version_info: request.version_info.clone().unwrap_or_else(|| known.version_info.clone()),
            ec2_instance_id: identity.instance_id.or_else(|| known.ec2_instance_id.clone()),
            version: known.version + 1,
            ..Instance::clone(known)
        },
        None => Instance {
            key: InstanceKey { cluster, id: InstanceId::fresh(context) },
            status: InstanceStatus::Active,
            presence: Presence::Silent { since: context.now },
            whereabouts: None,
            ec2_instance_id: identity.instance_id,
            resources,
            attributes,
            version_info: request.version_info.clone().unwrap_or_default(),
            tags,
            registered_at: context.now,
            inactive_at: None,
            agent_key,
            version: 1,
        },
    };
    let reply = Reply::Instance(instance.key.clone());
    Ok((vec![Event::InstanceSaved(Arc::new(instance))], reply).into())
}

/// Takes an instance out of the cluster. What runs on it is orphaned, which must be asked for by `force`.
pub(super) fn deregister(
    state: &State,
    request: &ecs::DeregisterContainerInstanceRequest,
    context: &Context,
) -> Result<Decision, Refusal> {
    let cluster = resolve::cluster(state, request.cluster.as_deref())?;
    let text = request.container_instance.as_deref().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| invalid("Container instance can not be blank."))?;
    let key = resolve::instance_key(state, &cluster.name, text)?;
    let instance = state
        .instances
        .get(&key)
        .ok_or_else(|| invalid("The referenced container instance was not found."))?;
    let reply = Reply::Instance(key.clone());
    if instance.status == InstanceStatus::Inactive {
        return Ok((Vec::new(), reply).into());
    }
    let running: Vec<&Arc<Task>> = state.live_tasks_on(&key).collect();
    if !running.is_empty() && request.force != Some(true) {
        return Err(invalid("Found running tasks on the instance."));
    }
    let gone = Instance {
        status: InstanceStatus::Inactive,
        presence: Presence::Silent { since: context.now },
        inactive_at: Some(context.now),
        version: instance.version + 1,
        ..Instance::clone(instance)
    };
    let orphans = running.into_iter().map(|task| orphaned(task, context));
    let events = std::iter::once(Event::InstanceSaved(Arc::new(gone))).chain(orphans).collect();
    Ok((events, reply).into())
}

/// ACTIVE or DRAINING, for up to ten instances at once.
pub(super) fn update_state(
    state: &State,
    request: &ecs::UpdateContainerInstancesStateRequest,
) -> Result<Decision, Refusal> {
    let cluster = resolve::cluster(state, request.cluster.as_deref())?;
    let texts = request.container_instances.as_deref().unwrap_or_default();
    if texts.is_empty() {
        return Err(invalid("Container instances cannot be empty."));
    }
    if texts.len() > UPDATE_MAX {
        return Err(invalid(format!("Container instances can have at most {UPDATE_MAX} items.")));
    }
    let status = match request.status.as_deref().unwrap_or_default() {
        "ACTIVE" => InstanceStatus::Active,
        "DRAINING" => InstanceStatus::Draining,
        _ => return Err(invalid("Container instance status should be one of [ACTIVE,DRAINING].")),
    };
    let (mut events, mut instances, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for text in texts {
        let key = resolve::instance_key(state, &cluster.name, text)?;
        match state.instances.get(&key) {
            Some(instance) if instance.status != InstanceStatus::Inactive => {
                events.extend(with_status(instance, status));
                instances.push(key);
            }
            found => failures.push(failure(state, &key, found)),
        }
    }
    Ok((events, Reply::Instances { instances, failures }).into())
}

/// The agent's channel is open: tasks can be placed.
pub(super) fn connected(
    state: &State,
    key: &InstanceKey,
    version_info: &ecs::VersionInfo,
) -> Result<Decision, Refusal> {
    let instance = state.instances.get(key).filter(|instance| instance.status != InstanceStatus::Inactive);
    let instance = instance.ok_or_else(|| invalid("The referenced container instance is not active."))?;
    let presence = Presence::Connected;
    let news = if instance.version_info == *version_info {
        (!instance.is_connected()).then(|| instance.seen(presence))
    } else {
        let version = instance.version + 1;
        let version_info = version_info.clone();
        let told = Instance { presence, version_info, version, ..Instance::clone(instance) };
        Some(Event::InstanceSaved(Arc::new(told)))
    };
    Ok((news.into_iter().collect(), Reply::Instance(key.clone())).into())
}

/// The agent's channel closed. What it runs goes on running; nothing new is placed there. Whether the host is there is
/// to be found out from now on, whatever was known: so a scheduler that starts counts from its start.
pub(super) fn disconnected(state: &State, key: &InstanceKey, context: &Context) -> Decision {
    let silent = Presence::Silent { since: context.now };
    let event = state.instances.get(key).and_then(|instance| match instance.presence {
        Presence::Connected | Presence::Unreachable { .. } => Some(instance.seen(silent)),
        Presence::Silent { .. } | Presence::Lost { .. } => None,
    });
    (event.into_iter().collect(), Reply::Nothing).into()
}

fn registered_before<'a>(
    state: &'a State,
    cluster: &Name,
    arn: Option<&str>,
) -> Result<Option<&'a Arc<Instance>>, Refusal> {
    let Some(arn) = arn.filter(|arn| !arn.is_empty()) else { return Ok(None) };
    let key = resolve::instance_key(state, cluster, arn)?;
    let found = state.instances.get(&key).filter(|instance| instance.status != InstanceStatus::Inactive);
    found
        .map(Some)
        .ok_or_else(|| client("The referenced container instance is not active. Register without its ARN."))
}

/// External hosts send an empty document; a host that cannot be described is still a host.
fn identity(document: Option<&str>) -> IdentityDocument {
    document.and_then(|document| serde_json::from_str(document).ok()).unwrap_or_default()
}

fn describe_host(attributes: &mut BTreeMap<String, Option<String>>, identity: &IdentityDocument) {
    let known = [
        ("ecs.availability-zone", &identity.availability_zone),
        ("ecs.instance-type", &identity.instance_type),
        ("ecs.ami-id", &identity.image_id),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            attributes.entry(name.into()).or_insert_with(|| Some(value.clone()));
        }
    }
}

fn attributes(given: &[ecs::Attribute]) -> Result<BTreeMap<String, Option<String>>, Refusal> {
    if given.len() > ATTRIBUTES_MAX {
        return Err(invalid(format!("An instance can have at most {ATTRIBUTES_MAX} attributes.")));
    }
    let mut attributes = BTreeMap::new();
    for attribute in given {
        let name = attribute.name.as_deref().unwrap_or_default();
        names::attribute_name(name)?;
        let value = attribute.value.clone().filter(|value| !value.is_empty());
        value.as_deref().map_or(Ok(()), names::attribute_value)?;
        attributes.insert(name.to_owned(), value);
    }
    Ok(attributes)
}

/// A restarted agent tells its capabilities anew, but its custom attributes only once: those are kept.
fn kept_attributes(
    known: &Instance,
    given: BTreeMap<String, Option<String>>,
) -> BTreeMap<String, Option<String>> {
    let is_capability =
        |name: &str| name.starts_with("com.amazonaws.ecs.capability.") || name.starts_with("ecs.capability.");
    let custom = known.attributes.iter().filter(|(name, _)| !is_capability(name));
    let mut kept: BTreeMap<_, _> = custom.map(|(name, value)| (name.clone(), value.clone())).collect();
    kept.extend(given);
    kept
}

fn resources(request: &ecs::RegisterContainerInstanceRequest) -> Result<Resources, Refusal> {
    let mut resources = Resources::default();
    for resource in request.total_resources.iter().flatten() {
        let name = resource.name.as_deref().unwrap_or_default();
        match name {
            "CPU" => resources.cpu = amount(resource)?,
            "MEMORY" => resources.memory = amount(resource)?,
            "PORTS" => resources.reserved_ports_tcp = ports(resource)?,
            "PORTS_UDP" => resources.reserved_ports_udp = ports(resource)?,
            // Amazon's agent may name accelerators that no task definition can ask for here.
            _ => {}
        }
    }
    if resources.cpu == 0 || resources.memory == 0 {
        return Err(client("An instance must register its CPU and MEMORY."));
    }
    let gpus = request.platform_devices.iter().flatten();
    let gpus = gpus.filter(|device| device.r#type.as_deref() == Some("GPU"));
    resources.gpus = gpus.filter_map(|device| device.id.clone()).collect();
    Ok(resources)
}

fn amount(resource: &ecs::Resource) -> Result<u32, Refusal> {
    let amount = resource.integer_value.and_then(|amount| u32::try_from(amount).ok());
    amount.ok_or_else(|| {
        client(format!("Invalid value for resource {}.", resource.name.as_deref().unwrap_or_default()))
    })
}

fn ports(resource: &ecs::Resource) -> Result<Vec<u16>, Refusal> {
    let read = |port: &String| port.parse().map_err(|_| client(format!("Invalid port: {port}")));
    let mut ports: Vec<u16> =
        resource.string_set_value.iter().flatten().map(read).collect::<Result<_, _>>()?;
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

fn with_status(instance: &Arc<Instance>, status: InstanceStatus) -> Option<Event> {
    let version = instance.version + 1;
    let changed =
        || Event::InstanceSaved(Arc::new(Instance { status, version, ..Instance::clone(instance) }));
    (instance.status != status).then(changed)
}

fn failure(state: &State, key: &InstanceKey, found: Option<&Arc<Instance>>) -> ecs::Failure {
    let reason = if found.is_some() { "INACTIVE" } else { "MISSING" };
    ecs::Failure {
        arn: Some(state.home.container_instance_arn(&key.cluster, &key.id.to_string())),
        reason: Some(reason.into()),
        detail: None,
    }
}

/// The scheduler lets go of a task whose instance it has let go of; nobody is left to report its end.
fn orphaned(task: &Task, context: &Context) -> Event {
    let reason = "Container instance deregistration forced by user".into();
    let stop = match task.desired {
        Desired::Running => Some(Stop { code: StopCode::UserInitiated, reason }),
        Desired::Stopped => None,
    };
    let report = Report::ended(context.now, stop);
    Event::TaskReported { task: task.key.clone(), report }
}
