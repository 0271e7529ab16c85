//! Clusters and task definitions: what users declare, as opposed to what runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecsr_api::{Timestamp, ecs};
use serde::{Deserialize, Serialize};

use crate::ids::{DefinitionId, Name};

/// Tags by key. ECS gives them back as a list; their order carries no meaning.
pub type Tags = BTreeMap<String, String>;

/// ACTIVE until deleted; an INACTIVE cluster stays describable and its name can be taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterStatus {
    Active,
    Inactive,
}

/// A named group of container instances and the tasks on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub name: Name,
    pub status: ClusterStatus,
    pub settings: Vec<ecs::ClusterSetting>,
    pub configuration: Option<ecs::ClusterConfiguration>,
    pub service_connect_defaults: Option<ecs::ClusterServiceConnectDefaults>,
    pub capacity_providers: Vec<String>,
    pub default_capacity_provider_strategy: Vec<ecs::CapacityProviderStrategyItem>,
    pub tags: Tags,
}

/// A family's revisions. Numbers are never used twice, not even after a revision was deleted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Family {
    /// The highest number ever given.
    pub last_revision: u32,
}

/// One registered revision: the document as ECS echoes it, status and times included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    pub id: DefinitionId,
    pub status: DefinitionStatus,
    pub document: Arc<ecs::TaskDefinition>,
    pub deregistered_at: Option<Timestamp>,
    pub delete_requested_at: Option<Timestamp>,
    pub tags: Tags,
}

/// ACTIVE, then INACTIVE by deregistration, then DELETE_IN_PROGRESS until nothing uses it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefinitionStatus {
    Active,
    Inactive,
    DeleteInProgress,
}

impl DefinitionStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
        }
    }
}

impl ClusterStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
        }
    }
}
