//! A cluster with its counts.
//!
//! The counts are taken at the moment of the answer. Tasks are tallied by `State::apply` as they change; instances and
//! services are few enough to be counted when asked.

use ecsr_api::ecs;

use super::{arn, count, tags};
use crate::state::{Admission, Cluster, LaunchType, ServiceStatus, State, Tally};

/// What DescribeClusters adds when `include` names it; the lists stay empty otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterFields {
    pub configurations: bool,
    pub settings: bool,
    pub statistics: bool,
    pub tags: bool,
}

impl ClusterFields {
    /// What the operations that change a cluster answer with.
    pub const OF_CHANGES: Self = Self { configurations: true, settings: true, statistics: false, tags: true };
}

/// ECS's `Cluster`.
pub fn cluster(state: &State, cluster: &Cluster, include: ClusterFields) -> ecs::Cluster {
    let [ec2, external] =
        [LaunchType::Ec2, LaunchType::External].map(|launch_type| state.tally(&cluster.name, launch_type));
    let registered = state.offers_of(&cluster.name).filter(|(_, offer)| match offer.admission {
        Admission::Open | Admission::Closed => true,
        Admission::Gone => false,
    });
    let services = state.services_of(&cluster.name).filter(|service| service.status == ServiceStatus::Active);
    let settings = if include.settings { cluster.settings.clone() } else { Vec::new() };
    let shown_tags = if include.tags { tags(&cluster.tags) } else { Vec::new() };
    ecs::Cluster {
        cluster_arn: Some(arn::cluster(state, &cluster.name)),
        cluster_name: Some(cluster.name.to_string()),
        status: Some(cluster.status.as_str().to_owned()),
        registered_container_instances_count: Some(count(registered.count())),
        running_tasks_count: Some(count(ec2.running + external.running)),
        pending_tasks_count: Some(count(ec2.pending + external.pending)),
        active_services_count: Some(count(services.count())),
        statistics: Some(if include.statistics { statistics(state, cluster) } else { Vec::new() }),
        tags: Some(shown_tags),
        settings: Some(settings),
        configuration: cluster.configuration.clone().filter(|_| include.configurations),
        capacity_providers: Some(cluster.capacity_providers.clone()),
        default_capacity_provider_strategy: Some(cluster.default_capacity_provider_strategy.clone()),
        service_connect_defaults: cluster.service_connect_defaults.clone(),
        ..ecs::Cluster::default()
    }
}

/// Counts of one launch type.
#[derive(Default)]
struct Counts {
    running: u32,
    pending: u32,
    active: u32,
    draining: u32,
}

/// Amazon's own machines are part of the list, with nothing on them: clients look the names up.
fn statistics(state: &State, cluster: &Cluster) -> Vec<ecs::KeyValuePair> {
    let counts = |launch_type| {
        let Tally { running, pending } = state.tally(&cluster.name, launch_type);
        Counts { running, pending, ..Counts::default() }
    };
    let [mut ec2, mut external] = [LaunchType::Ec2, LaunchType::External].map(counts);
    for service in state.services_of(&cluster.name) {
        let counts = of_launch_type(service.spec.launch_type, &mut ec2, &mut external);
        match service.status {
            ServiceStatus::Active => counts.active += 1,
            ServiceStatus::Draining => counts.draining += 1,
            ServiceStatus::Inactive => {}
        }
    }
    let by_type = [("EC2", ec2), ("Fargate", Counts::default()), ("External", external)];
    by_type.iter().flat_map(|(launch_type, counts)| counts.named(launch_type)).collect()
}

fn of_launch_type<'a>(
    launch_type: LaunchType,
    ec2: &'a mut Counts,
    external: &'a mut Counts,
) -> &'a mut Counts {
    match launch_type {
        LaunchType::Ec2 => ec2,
        LaunchType::External => external,
    }
}

impl Counts {
    fn named(&self, launch_type: &str) -> [ecs::KeyValuePair; 4] {
        let pair =
            |name: String, value: u32| ecs::KeyValuePair { name: Some(name), value: Some(value.to_string()) };
        [
            pair(format!("running{launch_type}TasksCount"), self.running),
            pair(format!("pending{launch_type}TasksCount"), self.pending),
            pair(format!("active{launch_type}ServiceCount"), self.active),
            pair(format!("draining{launch_type}ServiceCount"), self.draining),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{self, World};

    #[test]
    fn counts_are_of_what_runs_now() {
        let world = World::with_service();
        let stored = world.state.clusters.get(testing::CLUSTER).unwrap();
        let shown = cluster(&world.state, stored, ClusterFields::default());
        let counts = (
            shown.registered_container_instances_count,
            shown.running_tasks_count,
            shown.pending_tasks_count,
            shown.active_services_count,
        );
        assert_eq!(counts, (Some(1), Some(1), Some(1), Some(1)));
        assert_eq!((shown.status.as_deref(), shown.cluster_name.as_deref()), (Some("ACTIVE"), Some("prod")));
    }

    #[test]
    fn what_is_not_asked_for_is_an_empty_list() {
        let world = World::with_service();
        let stored = world.state.clusters.get(testing::CLUSTER).unwrap();
        let bare = cluster(&world.state, stored, ClusterFields::default());
        assert_eq!((bare.tags, bare.settings, bare.statistics), (Some(vec![]), Some(vec![]), Some(vec![])));
        assert_eq!((bare.capacity_providers, bare.attachments), (Some(vec![]), None));
        let full =
            cluster(&world.state, stored, ClusterFields { statistics: true, ..ClusterFields::OF_CHANGES });
        assert_eq!(full.tags.unwrap().len(), 1);
        let statistics = full.statistics.unwrap();
        let value = |name: &str| {
            let found = statistics.iter().find(|pair| pair.name.as_deref() == Some(name)).unwrap();
            found.value.clone().unwrap()
        };
        assert_eq!([value("runningEC2TasksCount"), value("pendingEC2TasksCount")], ["1", "1"]);
        assert_eq!([value("activeEC2ServiceCount"), value("runningFargateTasksCount")], ["1", "0"]);
    }
}
