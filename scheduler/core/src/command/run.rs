//! RunTask and StartTask: standalone tasks, placed by the scheduler or by the caller.

use std::sync::Arc;

use ecsr_api::ecs;
use sha2::{Digest, Sha256};

use super::tick::TOKENS_KEPT;
use super::{Decision, Reply};
use crate::context::Context;
use crate::ids::{Name, TaskKey};
use crate::launch::{KnownNames, Launch, needs};
use crate::names;
use crate::placement::{self, Ask, Shortfall};
use crate::refusal::{Refusal, invalid};
use crate::resolve;
use crate::state::{Definition, Event, Instance, InstanceStatus, LaunchType, Origin, State, Tags, Token};
use crate::task_definition::{self, Strategy};

use super::supported::{launch_type, network, unsupported};

/// Most instances of one StartTask.
const START_MAX: usize = 10;

pub(super) fn run(
    state: &State,
    request: &ecs::RunTaskRequest,
    context: &mut Context,
) -> Result<Decision, Refusal> {
    let cluster = active_cluster(state, request.cluster.as_deref())?;
    let count = names::run_task_count(request.count)?;
    if let Some(repeated) = repeated(state, &cluster, request, context)? {
        return Ok(repeated);
    }
    check_run(request)?;
    let order = Order::read(state, &Call::of_run(request))?;
    let strategy = task_definition::strategies(request.placement_strategy.as_deref().unwrap_or_default())?;
    let constraints = task_definition::task_constraints(
        &order.launch.definition.document,
        request.placement_constraints.as_deref().unwrap_or_default(),
    )?;
    let may_take = |instance: &Arc<Instance>| instance.status == InstanceStatus::Active;
    if !state.instances_of(&cluster).any(may_take) {
        return Err(invalid("No Container Instances were found in your cluster."));
    }
    let strategy = if strategy.is_empty() { vec![Strategy::Random] } else { strategy };
    let demand = order.launch.demand.clone();
    let ask = Ask {
        cluster: &cluster,
        demand: &demand,
        constraints: &constraints,
        strategy: &strategy,
        group: &order.launch.group,
    };
    let placement = placement::place(state, &ask, count, context);
    let mut events = Vec::new();
    let tasks = launch_all(&order.launch, &placement.chosen, &mut events, context);
    let lacking = placement.shortfalls.iter();
    let failures =
        lacking.map(|(key, shortfall)| failure(state, &cluster, &key.id.to_string(), shortfall)).collect();
    events.extend(token_used(&cluster, request, &tasks, context));
    Ok((events, Reply::Tasks { tasks, failures }).into())
}

pub(super) fn start(
    state: &State,
    request: &ecs::StartTaskRequest,
    context: &mut Context,
) -> Result<Decision, Refusal> {
    let cluster = active_cluster(state, request.cluster.as_deref())?;
    let texts = request.container_instances.as_deref().unwrap_or_default();
    if texts.is_empty() {
        return Err(invalid("Container instances cannot be empty."));
    }
    if texts.len() > START_MAX {
        return Err(invalid(format!("Container instances can have at most {START_MAX} items.")));
    }
    if request.volume_configurations.iter().flatten().next().is_some() {
        return Err(unsupported("volumeConfigurations"));
    }
    started_by(request.started_by.as_deref(), names::START_TASK_STARTED_BY_MAX)?;
    let order = Order::read(state, &Call::of_start(request))?;
    let demand = order.launch.demand.clone();
    // A caller who names the instances overrules constraints and strategies, but not what there is room for.
    let ask = Ask {
        cluster: &cluster,
        demand: &demand,
        constraints: &[],
        strategy: &[],
        group: &order.launch.group,
    };
    let (mut events, mut tasks, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for text in texts {
        let key = resolve::instance_key(state, &cluster, text)?;
        let id = key.id.to_string();
        match state.instances.get(&key) {
            None => failures.push(missing(state, &cluster, &id)),
            Some(instance) => match placement::fits(state, &ask, &key) {
                Err(shortfall) => failures.push(failure(state, &cluster, &id, &shortfall)),
                Ok(()) => tasks.extend(launch_all(
                    &order.launch,
                    std::slice::from_ref(instance),
                    &mut events,
                    context,
                )),
            },
        }
    }
    Ok((events, Reply::Tasks { tasks, failures }).into())
}

/// The members that both calls have.
struct Call<'a> {
    task_definition: Option<&'a str>,
    launch_type: Option<&'a str>,
    network_configuration: Option<&'a ecs::NetworkConfiguration>,
    overrides: Option<&'a ecs::TaskOverride>,
    group: Option<&'a str>,
    started_by: Option<&'a str>,
    tags: Option<&'a [ecs::Tag]>,
    propagate_tags: Option<&'a str>,
    managed_tags: Option<bool>,
    execute_command: Option<bool>,
    reference_id: Option<&'a str>,
    cluster: Option<&'a str>,
}

impl<'a> Call<'a> {
    fn of_run(request: &'a ecs::RunTaskRequest) -> Self {
        Self {
            task_definition: request.task_definition.as_deref(),
            launch_type: request.launch_type.as_deref(),
            network_configuration: request.network_configuration.as_ref(),
            overrides: request.overrides.as_ref(),
            group: request.group.as_deref(),
            started_by: request.started_by.as_deref(),
            tags: request.tags.as_deref(),
            propagate_tags: request.propagate_tags.as_deref(),
            managed_tags: request.enable_ecs_managed_tags,
            execute_command: request.enable_execute_command,
            reference_id: request.reference_id.as_deref(),
            cluster: request.cluster.as_deref(),
        }
    }

    fn of_start(request: &'a ecs::StartTaskRequest) -> Self {
        Self {
            task_definition: request.task_definition.as_deref(),
            launch_type: None,
            network_configuration: request.network_configuration.as_ref(),
            overrides: request.overrides.as_ref(),
            group: request.group.as_deref(),
            started_by: request.started_by.as_deref(),
            tags: request.tags.as_deref(),
            propagate_tags: request.propagate_tags.as_deref(),
            managed_tags: request.enable_ecs_managed_tags,
            execute_command: request.enable_execute_command,
            reference_id: request.reference_id.as_deref(),
            cluster: request.cluster.as_deref(),
        }
    }
}

/// A call that was found to be in order.
struct Order<'a> {
    launch: Launch<'a>,
}

impl<'a> Order<'a> {
    fn read(state: &'a State, call: &Call<'_>) -> Result<Self, Refusal> {
        if call.execute_command == Some(true) {
            return Err(unsupported("enableExecuteCommand"));
        }
        if call.reference_id.is_some_and(|id| !id.is_empty()) {
            return Err(unsupported("referenceId"));
        }
        let definition = super::supported::usable_definition(state, call.task_definition)?;
        let launch_type = launch_type(call.launch_type, &definition.document)?.unwrap_or(LaunchType::Ec2);
        network(call.network_configuration, &definition.document)?;
        let overrides = call.overrides.cloned().unwrap_or_default();
        task_definition::check_overrides(&definition.document, &overrides)?;
        let group = match call.group.filter(|group| !group.is_empty()) {
            None => Name::from(format!("family:{}", definition.id.family)),
            Some(group) => names::group(group).map(|()| Name::from(group))?,
        };
        let launch = Launch {
            definition,
            origin: Origin::Standalone,
            group,
            started_by: call.started_by.filter(|text| !text.is_empty()).map(Name::from),
            demand: needs(definition, Some(&overrides), launch_type),
            overrides: Arc::new(overrides),
            launch_type,
            enable_execute_command: call.execute_command.unwrap_or(false),
            tags: Arc::new(tags(state, call, definition)?),
            endpoints: Box::default(),
            known_names: KnownNames::default(),
        };
        let cluster = resolve::cluster_name(state, call.cluster)?;
        Ok(Self { launch: state.with_shared_parts(launch, &cluster) })
    }
}

/// Tags of the call win over those of the task definition.
fn tags(state: &State, call: &Call<'_>, definition: &Definition) -> Result<Tags, Refusal> {
    let mut tags = match call.propagate_tags {
        None | Some("" | "NONE") => Tags::new(),
        Some("TASK_DEFINITION") => definition.tags.clone(),
        Some("SERVICE") => {
            return Err(invalid("SERVICE is not a valid value for propagateTags when running a task."));
        }
        Some(other) => return Err(invalid(format!("Invalid value '{other}' for propagateTags."))),
    };
    tags.extend(names::tags(call.tags)?);
    if call.managed_tags == Some(true) {
        tags.insert("aws:ecs:clusterName".into(), resolve::cluster_name(state, call.cluster)?.to_string());
    }
    names::tag_count(&tags)?;
    Ok(tags)
}

fn active_cluster(state: &State, text: Option<&str>) -> Result<Name, Refusal> {
    let name = resolve::cluster_name(state, text)?;
    match state.clusters.get(&name) {
        None => Err(Refusal::ClusterNotFound),
        Some(_) if state.active_cluster(&name).is_none() => {
            Err(invalid("The referenced cluster was inactive."))
        }
        Some(_) => Ok(name),
    }
}

fn check_run(request: &ecs::RunTaskRequest) -> Result<(), Refusal> {
    started_by(request.started_by.as_deref(), names::RUN_TASK_STARTED_BY_MAX)?;
    if request.capacity_provider_strategy.iter().flatten().next().is_some() {
        return Err(unsupported("capacityProviderStrategy"));
    }
    if request.volume_configurations.iter().flatten().next().is_some() {
        return Err(unsupported("volumeConfigurations"));
    }
    if request.platform_version.as_deref().is_some_and(|version| !version.is_empty()) {
        return Err(invalid("The platform version must be null when specifying an EC2 launch type."));
    }
    Ok(())
}

fn started_by(given: Option<&str>, length_max: usize) -> Result<(), Refusal> {
    given.map_or(Ok(()), |text| names::started_by(text, length_max))
}

fn launch_all(
    launch: &Launch<'_>,
    instances: &[Arc<Instance>],
    events: &mut Vec<Event>,
    context: &mut Context,
) -> Vec<TaskKey> {
    let mut keys = Vec::with_capacity(instances.len());
    for instance in instances {
        let task = launch.on(instance, context);
        keys.push(task.key.clone());
        events.push(Event::TaskPlaced(Arc::new(task)));
    }
    keys
}

/// The answer to a call that was made before under the same token, as long as its tasks are remembered.
fn repeated(
    state: &State,
    cluster: &Name,
    request: &ecs::RunTaskRequest,
    context: &Context,
) -> Result<Option<Decision>, Refusal> {
    let Some(text) = request.client_token.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    names::client_token(text, names::TASK_CLIENT_TOKEN_MAX)?;
    let Some(token) = state.tokens.get(&(cluster.clone(), Name::from(text))) else { return Ok(None) };
    let known: Vec<TaskKey> =
        token.tasks.iter().filter(|key| state.tasks.contains_key(key)).cloned().collect();
    if context.now.since(token.at) >= TOKENS_KEPT || known.is_empty() {
        return Ok(None);
    }
    if token.fingerprint != fingerprint(request) {
        let arn = |key: &TaskKey| state.home.task_arn(&key.cluster, &key.id.to_string());
        return Err(Refusal::Conflict {
            message: "The clientToken was used before with other parameters.".into(),
            resource_ids: known.iter().map(arn).collect(),
        });
    }
    Ok(Some((Vec::new(), Reply::Tasks { tasks: known, failures: Vec::new() }).into()))
}

fn token_used(
    cluster: &Name,
    request: &ecs::RunTaskRequest,
    tasks: &[TaskKey],
    context: &Context,
) -> Option<Event> {
    let text = request.client_token.as_deref().filter(|text| !text.is_empty() && !tasks.is_empty())?;
    Some(Event::TokenUsed(Token {
        cluster: cluster.clone(),
        token: text.into(),
        at: context.now,
        fingerprint: fingerprint(request),
        tasks: tasks.to_vec(),
    }))
}

fn fingerprint(request: &ecs::RunTaskRequest) -> String {
    let text = serde_json::to_vec(request).expect("a request that was read can be written");
    hex::encode(Sha256::digest(text))
}

fn missing(state: &State, cluster: &Name, id: &str) -> ecs::Failure {
    ecs::Failure {
        arn: Some(state.home.container_instance_arn(cluster, id)),
        reason: Some("MISSING".into()),
        detail: None,
    }
}

fn failure(state: &State, cluster: &Name, id: &str, shortfall: &Shortfall) -> ecs::Failure {
    ecs::Failure {
        arn: Some(state.home.container_instance_arn(cluster, id)),
        reason: Some(shortfall.reason().into()),
        detail: shortfall.detail(),
    }
}
