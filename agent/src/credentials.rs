//! The credentials of tasks' roles, in memory and nowhere else.
//!
//! They arrive with payloads and are refreshed by messages of their own. After a restart the scheduler sends them
//! again, because the agent asks for them when it connects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ecsr_api::acs::IAMRoleCredentials;

/// Roles that are held at once: two for each of more tasks than a host can run. The next one takes the place of the
/// one that expires first.
const CREDENTIALS_MAX: usize = 20_000;

/// See the module; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    by_id: Arc<Mutex<BTreeMap<String, IAMRoleCredentials>>>,
}

impl Credentials {
    /// Keeps the newest credentials of a role. Ones with no id cannot be asked for and are not kept.
    pub(crate) fn keep(&self, credentials: IAMRoleCredentials) {
        let Some(id) = credentials.credentials_id.clone().filter(|id| !id.is_empty()) else { return };
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.insert(id, credentials);
        if by_id.len() > CREDENTIALS_MAX {
            let first =
                by_id.iter().min_by_key(|(_, held)| held.expiration.clone()).map(|(id, _)| id.clone());
            first.and_then(|id| by_id.remove(&id));
        }
    }

    /// The credentials with this id.
    pub(crate) fn get(&self, id: &str) -> Option<IAMRoleCredentials> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}
