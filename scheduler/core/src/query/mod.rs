//! The cluster query language: which container instances a placement constraint or a list filter means.
//!
//! `attribute:ecs.instance-type =~ t3.* and not(task:group == service:db)` is parsed once, when the call arrives,
//! into an [`Expression`] with its values typed and its regular expressions compiled; matching an instance then
//! cannot fail. Source: "Cluster query language" in the Amazon ECS Developer Guide.
//!
//! Where the guide is silent this is what holds here: `not` binds before `and`, `and` before `or`; what an instance
//! does not have satisfies no test, hence every negated one; a regular expression must match the whole value.
//! Regular expressions are those of the `regex` crate: linear in the value, without look-around and
//! back-references, which are refused when the expression is parsed.
//!
//! Invariant: an `Expression` is bounded in length, depth and compiled size, whoever wrote it.

mod evaluate;
mod parse;
mod pattern;
mod syntax;
mod token;
mod value;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use syntax::Node;

/// Longest expression in characters, as documented by ECS.
pub const EXPRESSION_LENGTH_MAX: usize = 2000;

/// Deepest nesting of parentheses and negations: far beyond any real filter, far below what a stack bears.
pub const EXPRESSION_DEPTH_MAX: usize = 32;

/// Most regular expressions in one expression, which bounds the memory that one constraint can hold.
pub const EXPRESSION_PATTERNS_MAX: usize = 20;

/// A parsed expression. Cheap to clone; equal when it means the same; serialised as its text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    text: Arc<str>,
    root: Arc<Node>,
}

/// What an expression can ask about one container instance.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Looks an attribute up by its full name; an attribute without a value reads as the empty string.
    pub attribute: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Whether the agent has a session at this moment.
    pub agent_connected: bool,
    /// The version that the agent gave when it connected, if it ever did.
    pub agent_version: Option<&'a str>,
    /// The EC2 instance id, or the `mi-` id of an external instance.
    pub ec2_instance_id: Option<&'a str>,
    /// Milliseconds since the epoch.
    pub registered_at_ms: i64,
    /// Tasks in RUNNING on the instance.
    pub running_tasks_count: u64,
    /// The group of every task on the instance that is not STOPPED; may repeat. Only read by expressions for
    /// which [`Expression::reads_task_groups`] holds, so callers may leave it empty for the others.
    pub task_groups: &'a [&'a str],
}

/// Reads an expression, or says with ECS's `InvalidParameterException` what is wrong with it and where.
pub fn parse(text: &str) -> Result<Expression, Refusal> {
    let root = parse::root(text)?;
    Ok(Expression { text: text.into(), root: Arc::new(root) })
}

impl Expression {
    /// Whether the instance is one that the expression means.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.root.holds(subject)
    }

    /// The expression as its author wrote it, which is how ECS echoes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `task:group` occurs, so that callers collect groups only when they must.
    pub fn reads_task_groups(&self) -> bool {
        self.root.reads_task_groups()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.text)
    }
}

/// The canonical spelling: symbols for comparisons, words for everything else, no needless parentheses.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl TryFrom<String> for Expression {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        parse(&text)
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.text.as_ref().to_owned()
    }
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("agent_connected", &self.agent_connected)
            .field("agent_version", &self.agent_version)
            .field("ec2_instance_id", &self.ec2_instance_id)
            .field("registered_at_ms", &self.registered_at_ms)
            .field("running_tasks_count", &self.running_tasks_count)
            .field("task_groups", &self.task_groups)
            .finish_non_exhaustive()
    }
}
