//! What each operation is about: which clusters, and whether it speaks for a container instance.
//!
//! One exhaustive table, so that an operation that a newer model adds is classified before it compiles.

use ecsr_api::ecs::Operation;

/// How access to an operation is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub place: Place,
    /// `None` if it is nothing that an agent does.
    pub agents: Option<Bound>,
}

/// Where an operation acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the cluster of the member `cluster`. Everything else that such a request names lies in it, or is refused.
    Cluster,
    /// On the cluster of `clusterName`.
    ClusterName,
    /// On the clusters of `clusters`.
    Clusters,
    /// On what `resourceArn` names.
    Resource,
    /// On the clusters, of which it names none.
    Account,
    /// On task definitions, which belong to no cluster. Whoever may run tasks somewhere needs them, so they may be read
    /// and added to with a key for some clusters.
    Definitions,
    /// On task definitions, so that others who use them are concerned.
    DefinitionsOfOthers,
    /// Nowhere: it is not served, whoever asks.
    Unserved,
}

/// To which container instance a request is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// To none.
    Free,
    /// To the one that it registers: a new one, or again that of `containerInstanceArn`.
    Registered,
    /// To the one of `containerInstance`.
    Instance,
    /// To those of `containerInstances`, which are to be drained.
    Drained,
    /// To the one that runs `task`.
    Task,
    /// To the one that `resourceArn` names.
    Resource,
}

/// What only people and their programs do.
const fn managed(place: Place) -> Rule {
    Rule { place, agents: None }
}

/// What agents do as well.
const fn by_agents(place: Place, bound: Bound) -> Rule {
    Rule { place, agents: Some(bound) }
}

/// What agents may do is what `AmazonEC2ContainerServiceforEC2Role` allows, Poll and StartTelemetrySession beside it.
#[expect(clippy::too_many_lines, reason = "a table: one line per operation")]
pub(super) const fn rule(operation: Operation) -> Rule {
    match operation {
        Operation::DiscoverPollEndpoint | Operation::SubmitAttachmentStateChanges => {
            by_agents(Place::Cluster, Bound::Free)
        }
        Operation::RegisterContainerInstance => by_agents(Place::Cluster, Bound::Registered),
        Operation::DeregisterContainerInstance => by_agents(Place::Cluster, Bound::Instance),
        Operation::UpdateContainerInstancesState => by_agents(Place::Cluster, Bound::Drained),
        Operation::SubmitContainerStateChange | Operation::SubmitTaskStateChange => {
            by_agents(Place::Cluster, Bound::Task)
        }
        Operation::CreateCluster => by_agents(Place::ClusterName, Bound::Free),
        Operation::ListTagsForResource | Operation::TagResource => {
            by_agents(Place::Resource, Bound::Resource)
        }
        Operation::UntagResource => managed(Place::Resource),
        Operation::DescribeClusters => managed(Place::Clusters),
        Operation::CreateService
        | Operation::DeleteCluster
        | Operation::DeleteService
        | Operation::DescribeContainerInstances
        | Operation::DescribeServices
        | Operation::DescribeTasks
        | Operation::ListAttributes
        | Operation::ListContainerInstances
        | Operation::ListServices
        | Operation::ListTasks
        | Operation::RunTask
        | Operation::StartTask
        | Operation::StopTask
        | Operation::UpdateCluster
        | Operation::UpdateClusterSettings
        | Operation::UpdateService => managed(Place::Cluster),
        Operation::ListClusters => managed(Place::Account),
        Operation::DescribeTaskDefinition
        | Operation::ListTaskDefinitionFamilies
        | Operation::ListTaskDefinitions
        | Operation::RegisterTaskDefinition => managed(Place::Definitions),
        Operation::DeleteTaskDefinitions | Operation::DeregisterTaskDefinition => {
            managed(Place::DefinitionsOfOthers)
        }
        Operation::AssociateGatewayWithCluster
        | Operation::ContinueServiceDeployment
        | Operation::CreateCapacityProvider
        | Operation::CreateDaemon
        | Operation::CreateExpressGatewayService
        | Operation::CreateGateway
        | Operation::CreateTaskSet
        | Operation::DeleteAccountSetting
        | Operation::DeleteAttributes
        | Operation::DeleteCapacityProvider
        | Operation::DeleteDaemon
        | Operation::DeleteDaemonTaskDefinition
        | Operation::DeleteExpressGatewayService
        | Operation::DeleteGateway
        | Operation::DeleteTaskSet
        | Operation::DescribeCapacityProviders
        | Operation::DescribeDaemon
        | Operation::DescribeDaemonDeployments
        | Operation::DescribeDaemonRevisions
        | Operation::DescribeDaemonTaskDefinition
        | Operation::DescribeExpressGatewayService
        | Operation::DescribeGateway
        | Operation::DescribeGatewayResources
        | Operation::DescribeGatewayRoute
        | Operation::DescribeServiceDeployments
        | Operation::DescribeServiceRevisions
        | Operation::DescribeTaskSets
        | Operation::DisassociateGatewayFromCluster
        | Operation::ExecuteCommand
        | Operation::GetTaskProtection
        | Operation::ListAccountSettings
        | Operation::ListDaemonDeployments
        | Operation::ListDaemonTaskDefinitions
        | Operation::ListDaemons
        | Operation::ListGatewayClusterAssociations
        | Operation::ListGatewayRoutes
        | Operation::ListGateways
        | Operation::ListServiceDeployments
        | Operation::ListServicesByNamespace
        | Operation::PutAccountSetting
        | Operation::PutAccountSettingDefault
        | Operation::PutAttributes
        | Operation::PutClusterCapacityProviders
        | Operation::RegisterDaemonTaskDefinition
        | Operation::StopServiceDeployment
        | Operation::UpdateCapacityProvider
        | Operation::UpdateContainerAgent
        | Operation::UpdateDaemon
        | Operation::UpdateExpressGatewayService
        | Operation::UpdateGateway
        | Operation::UpdateServicePrimaryTaskSet
        | Operation::UpdateTaskProtection
        | Operation::UpdateTaskSet => managed(Place::Unserved),
    }
}
