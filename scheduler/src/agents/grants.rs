//! The role credentials that one conversation owes its instance: first ones before a task starts, new ones before the
//! old end.
//!
//! Level-triggered like the rest of the conversation: [`Grants::follow`] looks at tasks and wishes for what is missing,
//! about to end, or failed a while ago. Each heartbeat makes it look at all of them, which is often enough. Asking STS
//! is the shell's part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ecsr_api::{Timestamp, acs};
use ecsr_core::State;
use ecsr_core::ids::TaskKey;
use ecsr_core::state::{Desired, Task};

use crate::roles::Failure;

/// New credentials are asked for this long before the old ones end: SDKs in containers begin to ask five minutes before.
const RENEWED_BEFORE_END: Duration = Duration::from_mins(15);

/// STS is asked again this long after it could not be reached.
const RETRIED_AFTER: Duration = Duration::from_secs(10);

/// Whether roles can be assumed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roles {
    /// STS can be asked.
    WithinReach,
    /// The scheduler was given no credentials to assume roles: tasks run without theirs.
    OutOfReach,
}

/// Which of a task's two roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleType {
    /// The containers' own.
    Application,
    /// The one that agent and log drivers act under.
    Execution,
}

impl RoleType {
    const ALL: [Self; 2] = [Self::Application, Self::Execution];

    /// The words of `IAMRoleCredentialsMessage`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Application => "TaskApplication",
            Self::Execution => "TaskExecution",
        }
    }
}

/// One role of one task, for which credentials are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub task: TaskKey,
    pub role_type: RoleType,
    pub role_arn: String,
}

/// An answer of STS.
#[derive(Debug)]
pub struct Assumed {
    pub wish: Wish,
    pub outcome: Result<acs::IAMRoleCredentials, Failure>,
}

/// What became of a wish.
#[derive(Debug)]
enum Held {
    /// STS is being asked; until it answers, the old credentials stand.
    Asked(Option<Arc<acs::IAMRoleCredentials>>),
    Granted {
        credentials: Arc<acs::IAMRoleCredentials>,
        renew_at: Timestamp,
    },
    Failed {
        retry_at: Timestamp,
    },
}

impl Held {
    /// Whether nothing needs to be asked for at this moment.
    fn holds(&self, now: Timestamp) -> bool {
        match self {
            Self::Asked(_) => true,
            Self::Granted { renew_at: until, .. } | Self::Failed { retry_at: until } => *until > now,
        }
    }

    /// What there is to hand out.
    fn credentials(&self) -> Option<&Arc<acs::IAMRoleCredentials>> {
        match self {
            Self::Asked(old) => old.as_ref(),
            Self::Granted { credentials, .. } => Some(credentials),
            Self::Failed { .. } => None,
        }
    }
}

/// News of a wish.
#[derive(Debug)]
pub(super) enum News {
    Granted {
        wish: Wish,
        credentials: Arc<acs::IAMRoleCredentials>,
    },
    Refused {
        wish: Wish,
        why: String,
    },
    /// STS could not be asked; it will be again.
    Delayed {
        wish: Wish,
        why: String,
    },
}

/// The credentials of one conversation.
#[derive(Debug)]
pub(super) struct Grants {
    roles: Roles,
    held: BTreeMap<(TaskKey, RoleType), Held>,
    /// Roles that were said to be out of reach, so that each is said once.
    lamented: BTreeSet<String>,
}

impl Grants {
    pub(super) fn new(roles: Roles) -> Self {
        Self { roles, held: BTreeMap::new(), lamented: BTreeSet::new() }
    }

    /// What has to be asked of STS for these tasks; it counts as asked from here on.
    pub(super) fn follow(&mut self, state: &State, tasks: &[Arc<Task>], now: Timestamp) -> Vec<Wish> {
        let mut wishes = Vec::new();
        if self.roles == Roles::OutOfReach {
            return wishes;
        }
        for task in tasks {
            match task.wanted_of_agent() {
                Desired::Running => wishes.extend(self.follow_task(state, task, now)),
                Desired::Stopped => self.forget(&task.key),
            }
        }
        wishes
    }

    fn follow_task(&mut self, state: &State, task: &Task, now: Timestamp) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for role_type in RoleType::ALL {
            let Some(role_arn) = role(state, task, role_type) else { continue };
            let key = (task.key.clone(), role_type);
            let held = self.held.get(&key);
            if held.is_some_and(|held| held.holds(now)) {
                continue;
            }
            let old = held.and_then(Held::credentials).cloned();
            self.held.insert(key, Held::Asked(old));
            wishes.push(Wish { task: task.key.clone(), role_type, role_arn: role_arn.to_owned() });
        }
        wishes
    }

    /// Forgets the credentials of a task that needs none any more.
    pub(super) fn forget(&mut self, task: &TaskKey) {
        for role_type in RoleType::ALL {
            self.held.remove(&(task.clone(), role_type));
        }
    }

    /// Forgets the credentials of all tasks that need none any more.
    pub(super) fn prune(&mut self, state: &State) {
        let runs = |key: &TaskKey| {
            state
                .tasks
                .get(key)
                .is_some_and(|task| task.is_live() && task.wanted_of_agent() == Desired::Running)
        };
        self.held.retain(|(task, _), _| runs(task));
    }

    /// Whether a task has all the credentials that it can have.
    pub(super) fn are_ready(&self, state: &State, task: &Task) -> bool {
        RoleType::ALL.into_iter().all(|role_type| {
            let needed = self.roles == Roles::WithinReach && role(state, task, role_type).is_some();
            !needed || self.of(&task.key, role_type).is_some()
        })
    }

    /// The credentials of a task's own role and of its execution role.
    pub(super) fn of_task(
        &self,
        key: &TaskKey,
    ) -> (Option<acs::IAMRoleCredentials>, Option<acs::IAMRoleCredentials>) {
        (self.of(key, RoleType::Application).cloned(), self.of(key, RoleType::Execution).cloned())
    }

    fn of(&self, key: &TaskKey, role_type: RoleType) -> Option<&acs::IAMRoleCredentials> {
        self.held.get(&(key.clone(), role_type))?.credentials().map(AsRef::as_ref)
    }

    /// Takes an answer of STS in.
    pub(super) fn take(&mut self, Assumed { wish, outcome }: Assumed, now: Timestamp) -> News {
        let key = (wish.task.clone(), wish.role_type);
        let failed = Held::Failed { retry_at: now.plus(RETRIED_AFTER) };
        let (held, news) = match outcome {
            Ok(credentials) => {
                let credentials = Arc::new(credentials);
                let renew_at = renewal(&credentials, now);
                let held = Held::Granted { credentials: credentials.clone(), renew_at };
                (held, News::Granted { wish, credentials })
            }
            Err(Failure::Refused(why)) => (failed, News::Refused { wish, why }),
            Err(Failure::Unavailable(why)) => (failed, News::Delayed { wish, why }),
        };
        // The task may have ended meanwhile.
        if let Some(slot) = self.held.get_mut(&key) {
            *slot = held;
        }
        news
    }

    /// Says, once for each role, that a task is sent without it.
    pub(super) fn lament(&mut self, state: &State, task: &Task) {
        if self.roles == Roles::WithinReach {
            return;
        }
        for role_arn in RoleType::ALL.into_iter().filter_map(|role_type| role(state, task, role_type)) {
            if self.lamented.insert(role_arn.to_owned()) {
                tracing::warn!(
                    role_arn,
                    "tasks run without this role: the scheduler was given no credentials to assume it"
                );
            }
        }
    }
}

/// Some time before the end; half of the rest for credentials that live shorter than that.
fn renewal(credentials: &acs::IAMRoleCredentials, now: Timestamp) -> Timestamp {
    let end = credentials.expiration.as_deref().and_then(Timestamp::from_rfc3339).unwrap_or(now);
    let left = end.since(now);
    now.plus(left.saturating_sub(RENEWED_BEFORE_END).max(left / 2))
}

/// The role that a task names, which the call that ran it may have overridden.
fn role<'a>(state: &'a State, task: &'a Task, role_type: RoleType) -> Option<&'a str> {
    let document = &state.definition(&task.definition).document;
    let (of_call, of_definition) = match role_type {
        RoleType::Application => (&task.overrides.task_role_arn, &document.task_role_arn),
        RoleType::Execution => (&task.overrides.execution_role_arn, &document.execution_role_arn),
    };
    of_call.as_deref().or(of_definition.as_deref()).filter(|arn| !arn.is_empty())
}
