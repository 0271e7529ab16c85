//! The one error that the API answers: a code of the model or of AWS's front door, and a message.
//!
//! It exists at the edge only: what is inside refuses in its own terms, and the edge gives the refusal its
//! AWS name. The body is exactly `__type` and `message` (plus `resourceIds` for a conflict), because clients
//! pick the error class by the first and show the second.

use std::fmt;

use serde::Serialize;

use crate::ecs::ErrorCode;

/// An error answer of the ECS API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub code: ErrorCode,
    /// Left out of the body when `None`, as AWS does for an unknown operation.
    pub message: Option<String>,
    /// ARNs of what a `ConflictException` conflicts with; empty for every other code.
    pub resource_ids: Vec<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "__type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(rename = "resourceIds", skip_serializing_if = "<[String]>::is_empty")]
    resource_ids: &'a [String],
}

impl ApiError {
    /// An error with that code and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ApiError { code, message: Some(message.into()), resource_ids: Vec::new() }
    }

    /// `InvalidParameterException`: what ECS answers to most bad members.
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParameterException, message)
    }

    /// `ClientException`: what ECS answers to most bad task definitions.
    pub fn client(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ClientException, message)
    }

    /// `ServerException`: the service's own failure, HTTP 500.
    pub fn server(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ServerException, message)
    }

    /// `ConflictException`, naming what is in the way.
    pub fn conflict(message: impl Into<String>, resource_ids: Vec<String>) -> Self {
        ApiError { code: ErrorCode::ConflictException, message: Some(message.into()), resource_ids }
    }

    /// `ClusterNotFoundException` in ECS's words.
    pub fn cluster_not_found() -> Self {
        Self::new(ErrorCode::ClusterNotFoundException, "Cluster not found.")
    }

    /// `ServiceNotFoundException` in ECS's words.
    pub fn service_not_found() -> Self {
        Self::new(ErrorCode::ServiceNotFoundException, "Service not found.")
    }

    /// `UnknownOperationException`: carries no message, as AWS's does not.
    pub fn unknown_operation() -> Self {
        ApiError { code: ErrorCode::UnknownOperationException, message: None, resource_ids: Vec::new() }
    }

    /// `SerializationException`: the body could not be read.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::SerializationException, message)
    }

    /// `ThrottlingException` in AWS's words.
    pub fn throttling() -> Self {
        Self::new(ErrorCode::ThrottlingException, "Rate exceeded")
    }

    /// The body was over the endpoint's limit.
    pub fn request_too_large(bytes_max: usize) -> Self {
        let message = format!("Request body is larger than {bytes_max} bytes.");
        Self::new(ErrorCode::RequestEntityTooLargeException, message)
    }

    /// The HTTP status to answer with.
    pub const fn status(&self) -> u16 {
        self.code.status()
    }

    /// The JSON body to answer with.
    pub fn body(&self) -> String {
        let body = Body {
            kind: self.code.name(),
            message: self.message.as_deref(),
            resource_ids: &self.resource_ids,
        };
        serde_json::to_string(&body).expect("strings always serialise")
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.code.name()),
            None => f.write_str(self.code.name()),
        }
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_exactly_the_keys_that_aws_writes() {
        let check = |error: ApiError, status: u16, body: &str| {
            assert_eq!((error.status(), error.body().as_str()), (status, body));
        };
        check(
            ApiError::service_not_found(),
            400,
            r#"{"__type":"ServiceNotFoundException","message":"Service not found."}"#,
        );
        check(ApiError::unknown_operation(), 400, r#"{"__type":"UnknownOperationException"}"#);
        check(ApiError::server("x"), 500, r#"{"__type":"ServerException","message":"x"}"#);
        check(
            ApiError::conflict("taken", vec!["arn".to_owned()]),
            400,
            r#"{"__type":"ConflictException","message":"taken","resourceIds":["arn"]}"#,
        );
    }
}
