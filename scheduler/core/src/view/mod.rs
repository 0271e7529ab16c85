//! What users see: the state's objects as ECS writes them.
//!
//! One pure function per ECS noun. Which members are present, empty or absent is part of the contract, because clients
//! tell the three apart: a list that ECS gives empty is `Some(vec![])` here, a member that it leaves out is `None`.
//! Source: samples of real answers in the CLI reference and in client test suites.
//!
//! Invariant: a view never fails and never panics; what the state no longer holds is left out.

pub mod arn;
mod cluster;
mod definition;
mod instance;
mod reply;
mod service;
mod task;
#[cfg(test)]
pub(crate) mod testing;

use ecsr_api::ecs;

pub use self::cluster::{ClusterFields, cluster};
pub use self::definition::definition;
pub use self::instance::{health as instance_health, instance};
pub(crate) use self::reply::body;
pub use self::reply::respond;
pub use self::service::service;
pub use self::task::{ShownTask, Tasks, TasksAnswer, task_health};
use crate::state;

/// Whether an answer carries the tags of what it shows, as `include: [TAGS]` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowTags {
    Yes,
    No,
}

impl ShowTags {
    /// The tags, or the empty list that ECS puts where they were not asked for.
    fn list(self, tags: &state::Tags) -> Vec<ecs::Tag> {
        match self {
            Self::Yes => self::tags(tags),
            Self::No => Vec::new(),
        }
    }
}

/// Tags as ECS lists them.
pub fn tags(tags: &state::Tags) -> Vec<ecs::Tag> {
    let tag =
        |(key, value): (&String, &String)| ecs::Tag { key: Some(key.clone()), value: Some(value.clone()) };
    tags.iter().map(tag).collect()
}

/// The entry of `failures` for something that was named but is not there.
pub fn missing(arn: impl Into<String>) -> ecs::Failure {
    ecs::Failure { arn: Some(arn.into()), reason: Some("MISSING".to_owned()), detail: None }
}

/// A count as the wire has it. None of ours comes near the end of its range.
fn count(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}
