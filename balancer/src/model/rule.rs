//! Rules: which requests they are for, and what becomes of those.

use serde::{Deserialize, Serialize};

use super::{Arn, Tags};

/// One rule of a listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub arn: Arn,
    /// 1 to 50,000, one rule each.
    pub priority: u32,
    /// All must hold.
    pub conditions: Vec<Condition>,
    pub action: Action,
    /// The action's `Order`, if it was given one: said back.
    pub order: Option<u32>,
    pub tags: Tags,
}

/// What must hold of a request. Of several values one is enough; patterns have `*` and `?`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Condition {
    HostHeader(Vec<String>),
    PathPattern(Vec<String>),
    HttpHeader {
        name: String,
        values: Vec<String>,
    },
    HttpRequestMethod(Vec<String>),
    QueryString(Vec<QueryPair>),
    /// CIDR blocks, as they were given.
    SourceIp(Vec<String>),
}

/// A pair of a query string, under any key when none is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryPair {
    pub key: Option<String>,
    pub value: String,
}

/// What becomes of a request or a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// To one of the groups, by weight. `stick_seconds`: how long a client stays with its group.
    Forward {
        groups: Vec<WeightedGroup>,
        stick_seconds: Option<u32>,
    },
    Redirect(Redirect),
    FixedResponse {
        status: u16,
        content_type: Option<String>,
        body: Option<String>,
    },
}

impl Action {
    /// The target groups that it forwards to.
    pub fn groups(&self) -> impl Iterator<Item = &Arn> {
        let groups = match self {
            Self::Forward { groups, .. } => groups.as_slice(),
            Self::Redirect(_) | Self::FixedResponse { .. } => &[],
        };
        groups.iter().map(|weighted| &weighted.group)
    }
}

/// A target group of a forward action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightedGroup {
    pub group: Arn,
    /// 0 to 999.
    pub weight: u32,
}

/// Where a client is sent instead; parts not given stay as they were, and may have ELBv2's `#{host}` and its like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// 301 or 302.
    pub status: u16,
    pub protocol: Option<String>,
    pub host: Option<String>,
    pub port: Option<String>,
    pub path: Option<String>,
    pub query: Option<String>,
}
