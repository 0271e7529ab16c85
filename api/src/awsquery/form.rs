//! A request's parameters, and their way into a type.
//!
//! A name is a path of members. A list's items are below `member`, by number from 1; their order is that of the numbers,
//! which may have gaps. A map's entries are below `entry`. A list that is named alone, with nothing (`Tags=`), is empty.
//! What nobody asked for is passed over, as AWS does.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;

use super::tree::Reader;
use crate::query;

/// Parameters of one request. A thousand targets, which is as many as a target group takes, have three each.
const PARAMETERS_MAX: usize = 8192;
/// Members of one path: the model's deepest has nine.
const DEPTH_MAX: usize = 16;

/// Why a form cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("the request has more than {PARAMETERS_MAX} parameters")]
    TooMany,
    #[error("the parameter {0} is nested too deeply")]
    TooDeep(String),
    #[error("the parameter {0} is given twice, or both with and without members")]
    Twice(String),
    /// What stands there is not what is expected there.
    #[error("{path}: {message}")]
    Value { path: String, message: String },
}

impl FormError {
    /// The same, seen from one step above.
    pub(super) fn below(self, step: &str) -> Self {
        match self {
            Self::Value { path, message } if path.is_empty() => {
                Self::Value { path: step.to_owned(), message }
            }
            Self::Value { path, message } => Self::Value { path: format!("{step}.{path}"), message },
            Self::TooMany | Self::TooDeep(_) | Self::Twice(_) => self,
        }
    }
}

impl serde::de::Error for FormError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Value { path: String::new(), message: message.to_string() }
    }
}

/// A request's parameters, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    root: Node,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Value(String),
    Members(BTreeMap<String, Node>),
}

impl Form {
    /// Takes a form apart: the body of a POST, or the query of a GET.
    pub fn parse(raw: &str) -> Result<Self, FormError> {
        let pairs = query::parse_text_within(raw, PARAMETERS_MAX).ok_or(FormError::TooMany)?;
        let mut members = BTreeMap::new();
        for (name, value) in pairs {
            insert(&mut members, &name, value)?;
        }
        Ok(Self { root: Node::Members(members) })
    }

    /// A parameter of the request itself, such as `Action`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let Node::Members(members) = &self.root else { return None };
        match members.get(name)? {
            Node::Value(value) => Some(value),
            Node::Members(_) => None,
        }
    }

    /// Reads the request as a type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, FormError> {
        T::deserialize(Reader::at(&self.root))
    }
}

fn insert(root: &mut BTreeMap<String, Node>, name: &str, value: String) -> Result<(), FormError> {
    let twice = || FormError::Twice(name.to_owned());
    let path: Vec<&str> = name.split('.').collect();
    let Some((last, parents)) = path.split_last() else { return Ok(()) };
    if path.len() > DEPTH_MAX {
        return Err(FormError::TooDeep(name.chars().take(100).collect()));
    }
    let mut members = root;
    for part in parents {
        let next = members.entry((*part).to_owned()).or_insert_with(|| Node::Members(BTreeMap::new()));
        match next {
            Node::Members(inner) => members = inner,
            Node::Value(_) => return Err(twice()),
        }
    }
    match members.insert((*last).to_owned(), Node::Value(value)) {
        None => Ok(()),
        Some(_) => Err(twice()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Request {
        name: Option<String>,
        count: Option<i32>,
        enabled: Option<bool>,
        share: Option<f64>,
        targets: Option<Vec<Target>>,
        arns: Option<Vec<String>>,
        extra: Option<BTreeMap<String, String>>,
        matcher: Option<Target>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Target {
        id: Option<String>,
        port: Option<i32>,
    }

    fn read(raw: &str) -> Result<Request, FormError> {
        Form::parse(raw)?.read()
    }

    fn target(id: &str, port: Option<i32>) -> Target {
        Target { id: Some(id.to_owned()), port }
    }

    #[test]
    fn paths_become_members() {
        let form = Form::parse("Action=DoIt&Version=1&Name=a+b%26c&Count=-5&Enabled=true&Share=0.5").unwrap();
        assert_eq!(form.parameter("Action"), Some("DoIt"));
        assert_eq!(form.parameter("Nothing"), None);
        let request: Request = form.read().unwrap();
        assert_eq!(request.name.as_deref(), Some("a b&c"));
        assert_eq!((request.count, request.enabled, request.share), (Some(-5), Some(true), Some(0.5)));
        assert_eq!(request.targets, None);
        let matcher = read("Matcher.Id=x&Matcher.Unheard.Of=1").unwrap().matcher;
        assert_eq!(matcher, Some(target("x", None)));
    }

    #[test]
    fn items_are_in_the_order_of_their_numbers() {
        let raw =
            "Targets.member.10.Id=c&Targets.member.2.Port=80&Targets.member.2.Id=b&Targets.member.1.Id=a";
        let expected = vec![target("a", None), target("b", Some(80)), target("c", None)];
        assert_eq!(read(raw).unwrap().targets, Some(expected));
        assert_eq!(
            read("Arns.member.1=x&Arns.member.3=").unwrap().arns,
            Some(vec!["x".into(), String::new()])
        );
        assert_eq!(read("Arns=&Targets=").unwrap().arns, Some(vec![]));
        let extra = read("Extra.entry.1.key=k&Extra.entry.1.value=v").unwrap().extra.unwrap();
        assert_eq!(extra, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |raw: &str| read(raw).unwrap_err().to_string();
        assert_eq!(refused("Count=five"), "Count: \"five\" is not a number");
        assert_eq!(refused("Count=99999999999"), "Count: \"99999999999\" is not a number");
        assert_eq!(refused("Enabled=yes"), "Enabled: \"yes\" is neither true nor false");
        assert_eq!(refused("Count.member.1=1"), "Count: a value is expected");
        assert_eq!(refused("Targets.1.Id=a"), "Targets: a list is expected");
        assert_eq!(refused("Targets.member.one.Id=a"), "Targets: \"one\" is not a number of its items");
        assert_eq!(refused("Arns=x"), "Arns: a list is expected");
        assert_eq!(refused("Matcher=x"), "Matcher: a structure is expected");
        assert_eq!(refused("Targets.member.1.Port=x"), "Targets.member.1.Port: \"x\" is not a number");
        assert!(matches!(Form::parse("A=1&A.B=2"), Err(FormError::Twice(name)) if name == "A.B"));
        assert!(matches!(Form::parse("A.B=1&A=2"), Err(FormError::Twice(name)) if name == "A"));
        assert!(matches!(Form::parse(&"a.".repeat(20)), Err(FormError::TooDeep(_))));
        let many: Vec<String> = (0..=PARAMETERS_MAX).map(|number| format!("P{number}=1")).collect();
        assert_eq!(Form::parse(&many.join("&")), Err(FormError::TooMany));
    }

    #[test]
    fn order_of_items_costs_nothing_that_a_stranger_could_make_long() {
        assert_eq!(
            read("Arns.member.18446744073709551615=z&Arns.member.1=a").unwrap().arns.unwrap(),
            ["a", "z"]
        );
        let over = "Arns.member.18446744073709551616=z";
        assert!(read(over).is_err());
    }
}
