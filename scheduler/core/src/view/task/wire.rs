//! ECS's `Task` as it goes into an answer: the members of the model that are ever filled, in the order of their names,
//! borrowed from where they are. A hundred tasks are 200 KB of text, none of which is copied before it is written.

use ecsr_api::{Timestamp, ecs};
use serde::{Serialize, Serializer};

use super::super::arn::Written;
use crate::ids::DeploymentId;
use crate::state::{ARCHITECTURE, HexText, PortBinding, Tags};

/// One task.
#[expect(clippy::struct_field_names, reason = "the model's names")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task<'a> {
    pub(super) attachments: Empty,
    pub(super) attributes: Attributes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) availability_zone: Option<&'a str>,
    pub(super) cluster_arn: Written<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connectivity: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connectivity_at: Option<Timestamp>,
    pub(super) container_instance_arn: Written<'a>,
    pub(super) containers: Vec<Container<'a>>,
    pub(super) cpu: &'a str,
    pub(super) created_at: Timestamp,
    pub(super) desired_status: &'static str,
    pub(super) enable_execute_command: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) execution_stopped_at: Option<Timestamp>,
    pub(super) group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health_status: Option<&'static str>,
    pub(super) last_status: &'static str,
    pub(super) launch_type: &'static str,
    pub(super) memory: &'a str,
    pub(super) overrides: &'a ecs::TaskOverride,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pull_started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pull_stopped_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started_by: Option<StartedBy<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stopped_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stopped_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stopping_at: Option<Timestamp>,
    pub(super) tags: ShownTags<'a>,
    pub(super) task_arn: Written<'a>,
    pub(super) task_definition_arn: Written<'a>,
    pub(super) version: i64,
}

/// One of its containers.
#[expect(clippy::struct_field_names, reason = "the model's names")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container<'a> {
    pub container_arn: Written<'a>,
    pub cpu: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<&'a HexText>,
    pub last_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<&'a str>,
    pub name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_bindings: Option<&'a [PortBinding]>,
    pub network_interfaces: Empty,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_id: Option<&'a HexText>,
    pub task_arn: Written<'a>,
}

/// A list that ecsr never has anything for.
pub(super) type Empty = [(); 0];

/// Who started a task.
#[derive(Debug)]
pub(super) enum StartedBy<'a> {
    Deployment(DeploymentId),
    Caller(&'a str),
}

impl Serialize for StartedBy<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Deployment(id) => serializer.collect_str(id),
            Self::Caller(text) => serializer.serialize_str(text),
        }
    }
}

/// Of all that an instance has, ECS repeats on its tasks only what decides which images run there.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    pub architecture: Option<&'a str>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    name: &'static str,
    value: &'a str,
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let attribute = |value| Attribute { name: ARCHITECTURE, value };
        serializer.collect_seq(self.architecture.map(attribute))
    }
}

/// Tags as ECS lists them, or the empty list that it puts where they were not asked for.
#[derive(Debug)]
pub(super) struct ShownTags<'a>(pub Option<&'a Tags>);

#[derive(Serialize)]
struct Tag<'a> {
    key: &'a str,
    value: &'a str,
}

impl Serialize for ShownTags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.into_iter().flatten().map(|(key, value)| Tag { key, value }))
    }
}
