//! What a key may be used for, and where.
//!
//! In the spirit of IAM, with as little of it as is of use here: a key may be limited to some clusters, to what an agent
//! does, or to both. What that means for each operation is said in [`crate::access`].

use std::collections::BTreeSet;

use ecsr_core::{Refusal, names};
use serde::{Deserialize, Serialize};

/// Most clusters that one key may name: whoever needs more wants a key for all of them.
pub const CLUSTERS_MAX: usize = 100;

/// The limits of a key; as it is by default, it has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scope {
    /// The names of the clusters that it may act on; none named means all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub clusters: BTreeSet<String>,
    #[serde(default)]
    pub actions: Actions,
}

/// What may be done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Actions {
    #[default]
    All,
    /// What an agent does, for the container instances that were registered with this key.
    Agent,
}

/// Why a key cannot have a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{name:?} names no cluster: {refusal}")]
    Name { name: String, refusal: Refusal },
    #[error("a key may name at most {CLUSTERS_MAX} clusters")]
    TooMany,
}

impl Scope {
    /// Whether there is nothing that a key of this scope may not do.
    pub fn is_everything(&self) -> bool {
        self.clusters.is_empty() && self.actions == Actions::All
    }

    /// Whether it holds that cluster.
    pub fn holds(&self, cluster: &str) -> bool {
        self.clusters.is_empty() || self.clusters.contains(cluster)
    }

    /// Whether a key may have it.
    pub(super) fn check(&self) -> Result<(), Unfit> {
        if self.clusters.len() > CLUSTERS_MAX {
            return Err(Unfit::TooMany);
        }
        self.clusters.iter().try_for_each(|name| {
            names::cluster_name(name).map_err(|refusal| Unfit::Name { name: name.clone(), refusal })
        })
    }
}
