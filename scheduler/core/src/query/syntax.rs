//! The meaning of an expression as a tree, and its canonical spelling.
//!
//! Negated operators are not operators of their own: `!=` is "not equals", so that an absent attribute and an
//! instance with several task groups get one consistent rule (see `evaluate`).
//!
//! Invariant: printing a tree and parsing the text gives the same tree.

use std::fmt;

use super::pattern::Pattern;
use super::token::{ValuePlace, is_plain};
use super::value::{Kind, Value};

/// An expression or part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Is(Predicate),
}

/// `subject operator argument`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Predicate {
    pub(super) term: Term,
    /// The operator was the `!` form: the predicate holds exactly where the test does not.
    pub(super) negated: bool,
    pub(super) test: Test,
}

/// What a predicate looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    AgentConnected,
    AgentVersion,
    Attribute(String),
    Ec2InstanceId,
    RegisteredAt,
    RunningTasksCount,
    TaskGroup,
}

/// What a predicate asks of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    Exists,
    Equals(Literal),
    Greater(Literal),
    GreaterOrEqual(Literal),
    Less(Literal),
    LessOrEqual(Literal),
    OneOf(Vec<Literal>),
    Matches(Pattern),
}

/// A value as written and as understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) text: String,
    pub(super) value: Value,
}

impl Term {
    /// The term that `subject` names, if it names one.
    pub(super) fn named(subject: &str) -> Option<Self> {
        match subject {
            "agentConnected" => Some(Self::AgentConnected),
            "agentVersion" => Some(Self::AgentVersion),
            "ec2InstanceId" => Some(Self::Ec2InstanceId),
            "registeredAt" => Some(Self::RegisteredAt),
            "runningTasksCount" => Some(Self::RunningTasksCount),
            "task:group" => Some(Self::TaskGroup),
            other => other.strip_prefix("attribute:").map(|name| Self::Attribute(name.to_owned())),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Attribute(_) | Self::Ec2InstanceId | Self::TaskGroup => Kind::Text,
            Self::AgentConnected => Kind::Flag,
            Self::AgentVersion => Kind::Version,
            Self::RunningTasksCount => Kind::Count,
            Self::RegisteredAt => Kind::Instant,
        }
    }
}

impl Node {
    pub(super) fn reads_task_groups(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::reads_task_groups),
            Self::Not(part) => part.reads_task_groups(),
            Self::Is(predicate) => predicate.term == Term::TaskGroup,
        }
    }

    /// Prints as an operand: whatever binds weaker than `not` needs parentheses.
    fn fmt_operand(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(_) | Self::Any(_) => write!(f, "({self})"),
            Self::Not(_) | Self::Is(_) => fmt::Display::fmt(self, f),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => fmt_joined(f, parts, " and "),
            Self::Any(parts) => fmt_joined(f, parts, " or "),
            Self::Not(part) => {
                f.write_str("not ")?;
                part.fmt_operand(f)
            }
            Self::Is(predicate) => write!(f, "{predicate}"),
        }
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.term)?;
        match &self.test {
            Test::Exists => f.write_str(self.either("!exists", "exists")),
            Test::Equals(literal) => fmt_comparison(f, self.either("!=", "=="), &literal.text),
            Test::Greater(literal) => fmt_comparison(f, ">", &literal.text),
            Test::GreaterOrEqual(literal) => fmt_comparison(f, ">=", &literal.text),
            Test::Less(literal) => fmt_comparison(f, "<", &literal.text),
            Test::LessOrEqual(literal) => fmt_comparison(f, "<=", &literal.text),
            Test::Matches(pattern) => fmt_comparison(f, self.either("!~", "=~"), pattern.source()),
            Test::OneOf(literals) => {
                write!(f, "{} [", self.either("!in", "in"))?;
                for (at, literal) in literals.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    fmt_value(f, &literal.text, ValuePlace::ListItem)?;
                }
                f.write_str("]")
            }
        }
    }
}

impl Predicate {
    fn either(&self, negated: &'static str, plain: &'static str) -> &'static str {
        if self.negated { negated } else { plain }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgentConnected => f.write_str("agentConnected"),
            Self::AgentVersion => f.write_str("agentVersion"),
            Self::Attribute(name) => write!(f, "attribute:{name}"),
            Self::Ec2InstanceId => f.write_str("ec2InstanceId"),
            Self::RegisteredAt => f.write_str("registeredAt"),
            Self::RunningTasksCount => f.write_str("runningTasksCount"),
            Self::TaskGroup => f.write_str("task:group"),
        }
    }
}

fn fmt_joined(f: &mut fmt::Formatter<'_>, parts: &[Node], word: &str) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        f.write_str(if at == 0 { "" } else { word })?;
        part.fmt_operand(f)?;
    }
    Ok(())
}

fn fmt_comparison(f: &mut fmt::Formatter<'_>, operator: &str, value: &str) -> fmt::Result {
    write!(f, "{operator} ")?;
    fmt_value(f, value, ValuePlace::Argument)
}

/// A parsed value never holds both kinds of quote unless it is plain, so one of the three forms always fits.
fn fmt_value(f: &mut fmt::Formatter<'_>, value: &str, place: ValuePlace) -> fmt::Result {
    if is_plain(value, place) {
        f.write_str(value)
    } else if value.contains('\'') {
        write!(f, "\"{value}\"")
    } else {
        write!(f, "'{value}'")
    }
}
