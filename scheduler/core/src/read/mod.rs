//! Every operation that only reads, from the request's body to the answer's.
//!
//! A read is a pure function of a state that the caller holds: it never waits for the writer, and a list costs what
//! one page costs however much there is. Operations that change something go through [`crate::command`].
//!
//! Invariant: no body, however it is made, does more here than be answered or be refused in ECS's words.

mod attribute;
mod cluster;
mod definition;
mod instance;
mod page;
mod service;
mod tag;
mod task;

use ecsr_api::ApiError;
use ecsr_api::ecs::{self, Operation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::names;
use crate::refusal::{Refusal, invalid};
use crate::state::State;
use crate::view::{self, ShowTags};

/// Why a read is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The body is no request of the operation: `SerializationException`.
    #[error(transparent)]
    Unreadable(ApiError),
    /// The request was understood and refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unreadable(error) => error,
            ReadError::Refused(refusal) => refusal.into(),
        }
    }
}

/// Answers `operation` with the JSON body of its response; `None` if it is none of those that only read.
pub fn answer(state: &State, operation: Operation, body: &[u8]) -> Option<Result<Vec<u8>, ReadError>> {
    let answer = match operation {
        Operation::DescribeClusters => read(state, body, cluster::describe),
        Operation::DescribeContainerInstances => read(state, body, instance::describe),
        Operation::DescribeServices => read(state, body, service::describe),
        Operation::DescribeTaskDefinition => read(state, body, definition::describe),
        Operation::DescribeTasks => read(state, body, task::describe),
        Operation::ListAttributes => read(state, body, attribute::list),
        Operation::ListClusters => read(state, body, cluster::list),
        Operation::ListContainerInstances => read(state, body, instance::list),
        Operation::ListServices => read(state, body, service::list),
        Operation::ListTagsForResource => read(state, body, tag::list),
        Operation::ListTaskDefinitionFamilies => read(state, body, definition::list_families),
        Operation::ListTaskDefinitions => read(state, body, definition::list),
        Operation::ListTasks => read(state, body, task::list),
        // Of the model's operations most change something; those are not for us to enumerate.
        _ => return None,
    };
    Some(answer)
}

fn read<'s, Q: DeserializeOwned, A: Serialize>(
    state: &'s State,
    body: &[u8],
    answer: fn(&'s State, &Q) -> Result<A, Refusal>,
) -> Result<Vec<u8>, ReadError> {
    let request = ecs::read_request(body).map_err(ReadError::Unreadable)?;
    Ok(view::body(&answer(state, &request)?))
}

/// The things that a Describe operation is asked about: at least one, at most `most`.
fn named<'a>(what: &str, list: Option<&'a Vec<String>>, most: usize) -> Result<&'a [String], Refusal> {
    let list = list.map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        return Err(invalid(format!("{what} cannot be empty.")));
    }
    at_most(what, list, most)?;
    Ok(list)
}

fn at_most(what: &str, list: &[String], most: usize) -> Result<(), Refusal> {
    if list.len() > most {
        return Err(invalid(format!("{what} can have at most {most} items.")));
    }
    Ok(())
}

/// Whether `include` asks for tags; `fields` are the values that the operation knows.
fn show_tags(include: Option<&Vec<String>>, fields: &[&str]) -> Result<ShowTags, Refusal> {
    let mut show = ShowTags::No;
    for field in include.into_iter().flatten() {
        names::one_of("include", field, fields)?;
        if field == "TAGS" {
            show = ShowTags::Yes;
        }
    }
    Ok(show)
}

/// Checks a filter that is one of the model's values, if it is given.
fn checked<'a>(
    member: &str,
    value: Option<&'a String>,
    allowed: &[&str],
) -> Result<Option<&'a str>, Refusal> {
    let value = value.map(String::as_str);
    if let Some(value) = value {
        names::one_of(member, value, allowed)?;
    }
    Ok(value)
}

#[cfg(test)]
mod testing {
    //! Asking as a client does: JSON in, JSON out.

    use ecsr_api::ecs::Operation;
    use serde_json::Value;

    use super::{ReadError, answer};
    use crate::state::State;

    /// The answer's body, or what the client would be told instead.
    pub(super) fn ask(state: &State, operation: Operation, request: &Value) -> Result<Value, String> {
        match answer(state, operation, request.to_string().as_bytes()).expect("an operation that reads") {
            Ok(body) => Ok(serde_json::from_slice(&body).unwrap()),
            Err(ReadError::Refused(refusal)) => Err(refusal.to_string()),
            Err(ReadError::Unreadable(error)) => Err(error.to_string()),
        }
    }

    /// The strings of a list member.
    pub(super) fn strings(answer: &Value, member: &str) -> Vec<String> {
        let list = answer[member].as_array().unwrap();
        list.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    }

    /// The last parts of the ARNs of a list member.
    pub(super) fn last_parts(answer: &Value, member: &str) -> Vec<String> {
        let last = |arn: String| arn.rsplit('/').next().unwrap().to_owned();
        strings(answer, member).into_iter().map(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::ask;
    use super::*;
    use crate::view::testing::World;

    #[test]
    fn what_is_no_request_is_told_apart_from_what_is_refused() {
        let world = World::with_service();
        let error =
            |body: &str| answer(&world.state, Operation::ListTasks, body.as_bytes()).unwrap().unwrap_err();
        for body in ["{", "[]", r#"{"maxResults":"ten"}"#, r#"{"cluster":1}"#] {
            assert!(matches!(error(body), ReadError::Unreadable(_)), "{body}");
        }
        assert_eq!(error(r#"{"cluster":"gone"}"#), ReadError::Refused(Refusal::ClusterNotFound));
    }

    #[test]
    fn operations_that_change_something_are_not_answered_here() {
        let world = World::empty();
        for operation in [Operation::RunTask, Operation::DiscoverPollEndpoint, Operation::CreateCluster] {
            assert_eq!(answer(&world.state, operation, b"{}"), None);
        }
    }

    #[test]
    fn an_unknown_value_is_refused_with_those_that_are_known() {
        let world = World::with_service();
        let check = |operation, request, refused: &str| {
            assert_eq!(ask(&world.state, operation, &request), Err(refused.to_owned()));
        };
        check(
            Operation::DescribeServices,
            json!({"cluster": "prod", "services": ["web"], "include": ["tags"]}),
            "Invalid value 'tags' for include. Valid values are: TAGS.",
        );
        check(
            Operation::ListTasks,
            json!({"cluster": "prod", "desiredStatus": "DONE"}),
            "Invalid value 'DONE' for desiredStatus. Valid values are: RUNNING, PENDING, STOPPED.",
        );
    }
}
