//! The ECS API: every operation, request, response, structure and enum of the service model.
//!
//! Generated from `api/model/ecs.json` (the model of botocore 1.44.5 without its prose) and checked in;
//! `tests/generated.rs` proves that they agree. What to expect of the generated code:
//!
//! - A structure has its shape's name; a field is the member's name in snake case, and serialises under
//!   the exact name of the wire.
//! - Every member is an `Option`: the wire cannot be trusted to carry what the model requires, and the
//!   service answers a missing member in its own words. Absent and `null` both read as `None`; `None` is
//!   left out, `Some(vec![])` is written as `[]`. Clients tell the two apart.
//! - Unknown members are ignored.
//! - An enum is a `String`; its allowed values are a constant in [`enums`]. A client may send any text, and
//!   the refusal has to quote it.
//! - Moments are [`crate::Timestamp`]; free-form documents are [`serde_json::Value`].
//! - Members that the model calls sensitive do not appear in `Debug` output.

use serde::de::DeserializeOwned;

use crate::error::ApiError;

pub mod enums;
mod errors;
#[expect(clippy::too_many_lines, reason = "generated: one line per operation")]
mod operations;
mod types;

pub use errors::ErrorCode;
pub use operations::*;
pub use types::*;

/// The `X-Amz-Target` prefix of this service; a dot and the operation's name follow.
pub const TARGET_PREFIX: &str = "AmazonEC2ContainerServiceV20141113";
/// The content type of every request and answer.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// The name that requests are signed for.
pub const SIGNING_NAME: &str = "ecs";

/// The operation that an `X-Amz-Target` header names.
///
/// # Errors
/// `UnknownOperationException` if it is another service's, or no operation of the model.
pub fn operation_of_target(target: &str) -> Result<Operation, ApiError> {
    target
        .strip_prefix(TARGET_PREFIX)
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(Operation::from_name)
        .ok_or_else(ApiError::unknown_operation)
}

/// Reads a request body. An empty body is an empty object, as AWS's JSON services take it.
///
/// # Errors
/// `SerializationException` if the body is not a JSON object or a member has the wrong type.
pub fn read_request<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(ApiError::serialization("the body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| ApiError::serialization(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn names_lead_to_their_variants() {
        for operation in Operation::ALL {
            let target = format!("{TARGET_PREFIX}.{}", operation.name());
            assert_eq!(operation_of_target(&target), Ok(*operation));
        }
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.name()), Some(*code));
        }
        assert_eq!(Operation::ALL.len(), 88);
        for target in ["", "RunTask", "Other.RunTask", "AmazonEC2ContainerServiceV20141113.runTask"] {
            assert_eq!(operation_of_target(target), Err(ApiError::unknown_operation()), "{target}");
        }
    }

    #[test]
    fn members_are_read_and_written_under_their_exact_names() {
        let check = |read: Value, written: Value| {
            let task: Task = serde_json::from_value(read.clone()).unwrap();
            assert_eq!(serde_json::to_value(&task).unwrap(), written, "{read}");
        };
        check(json!({}), json!({}));
        check(json!({"taskArn": null, "tags": [], "unheardOf": {"a": 1}}), json!({"tags": []}));
        let full = json!({
            "createdAt": 1_557_119_253.821,
            "version": 2,
            "containers": [{
                "exitCode": 0,
                "networkBindings": [{"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768}],
            }],
            "overrides": {"containerOverrides": [{"name": "web", "environment": [{"name": "A", "value": "b"}]}]},
        });
        check(full.clone(), full);
    }

    #[test]
    fn bodies_are_read_or_refused() {
        let read = |body: &str| read_request::<ListClustersRequest>(body.as_bytes());
        for body in ["", "{}", " {\"nextToken\":null}", "{\"surprise\":[]}"] {
            assert_eq!(read(body), Ok(ListClustersRequest::default()), "{body}");
        }
        assert_eq!(read("{\"maxResults\":5}").unwrap().max_results, Some(5));
        for body in [
            "[]",
            "null",
            "{",
            "{}x",
            "\u{0}",
            "{\"maxResults\":\"5\"}",
            "{\"maxResults\":5000000000}",
            "\u{feff}{}",
        ] {
            assert_eq!(read(body).unwrap_err().code, ErrorCode::SerializationException, "{body}");
        }
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(read(&deep).unwrap_err().code, ErrorCode::SerializationException);
    }

    #[test]
    fn sensitive_members_do_not_reach_logs() {
        let secret = KeyValuePair { name: Some("PASSWORD".to_owned()), value: Some("hush".to_owned()) };
        let definition =
            ContainerDefinition { environment: Some(vec![secret]), ..ContainerDefinition::default() };
        let shown = format!("{definition:?}");
        assert!(shown.contains("environment") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn enums_list_the_models_values() {
        assert_eq!(enums::SCHEDULING_STRATEGY, ["REPLICA", "DAEMON"]);
        assert!(enums::LAUNCH_TYPE.contains(&"EXTERNAL"));
        assert_eq!(enums::CPU_ARCHITECTURE, ["X86_64", "ARM64"]);
    }
}
