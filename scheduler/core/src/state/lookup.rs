//! Ways into the state that commands, planners and views share.

use std::sync::Arc;

use imbl::OrdSet;

use super::{
    Cluster, ClusterStatus, Definition, Instance, Known, LaunchType, Offer, Protocol, Service, ServiceStatus,
    State, Tally, Task, Usage, Zone,
};
use crate::ids::{DefinitionId, InstanceId, InstanceKey, Name, ServiceKey};

impl State {
    /// An ACTIVE cluster.
    pub fn active_cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.get(name).filter(|cluster| cluster.status == ClusterStatus::Active)
    }

    /// The latest ACTIVE revision of a family.
    pub fn latest_definition(&self, family: &Name) -> Option<&Arc<Definition>> {
        let revision = |revision| DefinitionId { family: family.clone(), revision };
        let mut active = self.active_definitions.range(revision(0)..=revision(u32::MAX));
        active.next_back().and_then(|id| self.definitions.get(id))
    }

    /// The instances of a cluster, in the order of their ids.
    pub fn instances_of(&self, cluster: &Name) -> impl DoubleEndedIterator<Item = &Arc<Instance>> {
        let key = |id| InstanceKey { cluster: cluster.clone(), id };
        self.instances.range(key(InstanceId::FIRST)..=key(InstanceId::LAST)).map(|(_, instance)| instance)
    }

    /// All services of a cluster that are not INACTIVE, in the order of their names.
    pub fn services_of(&self, cluster: &Name) -> impl Iterator<Item = &Arc<Service>> {
        let first = ServiceKey { cluster: cluster.clone(), name: Name::from("") };
        let rest = self.services.range(first..).map(|(_, service)| service);
        rest.take_while(move |service| service.key.cluster == *cluster)
            .filter(|service| service.status != ServiceStatus::Inactive)
    }

    /// The tasks of a service that are not STOPPED.
    pub fn live_tasks_of<'a>(&'a self, service: &'a ServiceKey) -> impl Iterator<Item = &'a Arc<Task>> {
        self.tasks.named(&service.cluster, self.service_tasks.get(service).into_iter().flatten())
    }

    /// The tasks of an instance that are not STOPPED.
    pub fn live_tasks_on<'a>(&'a self, instance: &'a InstanceKey) -> impl Iterator<Item = &'a Arc<Task>> {
        let ids = self.tenants.get(&instance.id).map(|tenants| tenants.tasks());
        self.tasks.named(&instance.cluster, ids.unwrap_or_default())
    }

    /// The instance that a task is on.
    pub fn instance_of(&self, task: &Task) -> Option<&Arc<Instance>> {
        self.instances.get(&InstanceKey { cluster: task.key.cluster.clone(), id: task.instance })
    }

    /// Whether requests should be sent to a task: it runs, and its host is there as far as is known.
    pub fn serves(&self, task: &Task) -> bool {
        let runs = match task.known {
            Known::Running => true,
            Known::Pending | Known::Stopped => false,
        };
        runs && self.instance_of(task).is_some_and(|instance| instance.presence.serves())
    }

    /// The tasks of a cluster and launch type that are desired to run.
    pub fn tally(&self, cluster: &Name, launch_type: LaunchType) -> Tally {
        self.tallies.get(&(cluster.clone(), launch_type)).copied().unwrap_or_default()
    }

    /// What an instance's tasks hold.
    pub fn usage_of(&self, instance: &InstanceKey) -> Usage {
        self.usage.get(&instance.id).copied().unwrap_or_default()
    }

    /// The host ports that an instance's tasks hold.
    pub fn ports_of(&self, instance: InstanceId) -> impl Iterator<Item = (Protocol, u16)> {
        self.tenants.get(&instance).into_iter().flat_map(|tenants| tenants.ports())
    }

    /// What the instances of a cluster offer, in the order of their ids, deregistered ones included.
    pub fn offers_of(&self, cluster: &Name) -> impl Iterator<Item = (&InstanceKey, &Offer)> {
        let key = |id| InstanceKey { cluster: cluster.clone(), id };
        self.offers.range(key(InstanceId::FIRST)..=key(InstanceId::LAST))
    }

    /// The instances of a cluster that take new tasks, by zone.
    pub fn open_zones_of(&self, cluster: &Name) -> impl Iterator<Item = (&Zone, &OrdSet<InstanceId>)> {
        let zones = self.open.range((cluster.clone(), None)..);
        zones.take_while(move |((of, _), _)| of == cluster).map(|((_, zone), instances)| (zone, instances))
    }

    /// The ARN of a revision.
    pub fn definition_arn(&self, id: &DefinitionId) -> String {
        self.home.task_definition_arn(&id.family, i32::try_from(id.revision).unwrap_or(i32::MAX))
    }

    /// The definition that a task or service runs. It is kept for as long as anything uses it.
    pub fn definition(&self, id: &DefinitionId) -> &Arc<Definition> {
        self.definitions.get(id).expect("a definition in use is never forgotten")
    }
}
