//! The role credentials that one session owes its instance: first ones before a task starts, new ones before the old
//! end.
//!
//! Level-triggered like the rest of the session: [`Grants::follow`] looks at the tasks that there are and asks for what
//! is missing, about to end, or failed a while ago. The session's heartbeat makes it look often enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ecsr_api::{Timestamp, acs};
use ecsr_core::State;
use ecsr_core::ids::{InstanceKey, TaskKey};
use ecsr_core::state::{Desired, Task};
use tokio::task::JoinSet;

use crate::roles::{Failure, Roles};

/// New credentials are asked for this long before the old ones end: SDKs in containers begin to ask five minutes before.
const RENEWED_BEFORE_END: Duration = Duration::from_mins(15);

/// STS is asked again this long after it could not be reached.
const RETRIED_AFTER: Duration = Duration::from_secs(10);

/// Which of a task's two roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RoleType {
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

/// One role of one task.
type Wish = (TaskKey, RoleType);

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
        task: TaskKey,
        role_type: RoleType,
        credentials: Arc<acs::IAMRoleCredentials>,
    },
    Refused {
        task: TaskKey,
        role_arn: String,
        why: String,
    },
    /// STS could not be asked; it will be again.
    Delayed {
        task: TaskKey,
        why: String,
    },
}

/// An answer of STS.
type Answer = (Wish, String, Result<acs::IAMRoleCredentials, Failure>);

/// The credentials of one session.
#[derive(Debug)]
pub(super) struct Grants {
    roles: Roles,
    held: BTreeMap<Wish, Held>,
    asking: JoinSet<Answer>,
    /// Roles that were said to be out of reach, so that each is said once.
    lamented: BTreeSet<String>,
}

impl Grants {
    pub(super) fn new(roles: Roles) -> Self {
        Self { roles, held: BTreeMap::new(), asking: JoinSet::new(), lamented: BTreeSet::new() }
    }

    /// Asks for what the instance's tasks need and forgets what they no longer do.
    pub(super) fn follow(&mut self, state: &State, instance: &InstanceKey, now: Timestamp) {
        if !self.roles.are_available() {
            return;
        }
        let wanted: BTreeMap<Wish, String> = wishes(state, instance).collect();
        self.held.retain(|wish, _| wanted.contains_key(wish));
        for (wish, role_arn) in wanted {
            let held = self.held.get(&wish);
            if held.is_some_and(|held| held.holds(now)) {
                continue;
            }
            let old = held.and_then(Held::credentials).cloned();
            self.held.insert(wish.clone(), Held::Asked(old));
            self.ask(wish, role_arn);
        }
    }

    /// Whether a task has all the credentials that it can have.
    pub(super) fn are_ready(&self, state: &State, task: &Task) -> bool {
        let available = self.roles.are_available();
        RoleType::ALL.into_iter().all(|role_type| {
            let needed = available && role(state, task, role_type).is_some();
            !needed || self.of(&task.key, role_type).is_some()
        })
    }

    /// The credentials of one role of a task.
    pub(super) fn of(&self, key: &TaskKey, role_type: RoleType) -> Option<&acs::IAMRoleCredentials> {
        self.held.get(&(key.clone(), role_type))?.credentials().map(AsRef::as_ref)
    }

    /// The next answer of STS. Never resolves while nothing is asked. Cancellation loses nothing.
    pub(super) async fn next(&mut self, now: impl Fn() -> Timestamp) -> News {
        loop {
            match self.asking.join_next().await {
                None => std::future::pending().await,
                // A call that was aborted with its session has nobody to tell.
                Some(Err(_)) => {}
                Some(Ok(answer)) => return self.take(answer, now()),
            }
        }
    }

    fn ask(&mut self, wish: Wish, role_arn: String) {
        let roles = self.roles.clone();
        self.asking.spawn(async move {
            let answer = roles.assume(&role_arn, wish.0.id).await;
            (wish, role_arn, answer)
        });
    }

    fn take(&mut self, (wish, role_arn, answer): Answer, now: Timestamp) -> News {
        let (task, role_type) = wish.clone();
        let (held, news) = match answer {
            Ok(credentials) => {
                let credentials = Arc::new(credentials);
                let renew_at = renewal(&credentials, now);
                let held = Held::Granted { credentials: credentials.clone(), renew_at };
                (held, News::Granted { task, role_type, credentials })
            }
            Err(Failure::Refused(why)) => {
                (Held::Failed { retry_at: now.plus(RETRIED_AFTER) }, News::Refused { task, role_arn, why })
            }
            Err(Failure::Unavailable(why)) => {
                (Held::Failed { retry_at: now.plus(RETRIED_AFTER) }, News::Delayed { task, why })
            }
        };
        // The task may have ended meanwhile.
        if self.held.contains_key(&wish) {
            self.held.insert(wish, held);
        }
        news
    }

    /// Says, once for each role, that a task is sent without it.
    pub(super) fn lament(&mut self, state: &State, task: &Task) {
        if self.roles.are_available() {
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

/// The roles of all tasks of an instance that are to run.
fn wishes<'a>(state: &'a State, instance: &'a InstanceKey) -> impl Iterator<Item = (Wish, String)> + 'a {
    let running = state.live_tasks_on(instance).filter(|task| task.desired == Desired::Running);
    running.flat_map(move |task| {
        let named = RoleType::ALL
            .into_iter()
            .filter_map(move |role_type| Some((role_type, role(state, task, role_type)?)));
        named.map(|(role_type, role_arn)| ((task.key.clone(), role_type), role_arn.to_owned()))
    })
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
