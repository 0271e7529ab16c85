//! The ELBv2 API: every operation, request, response, structure and enum of the service model.
//!
//! Generated from `api/model/elbv2.json` as [`crate::ecs`] is from its model, and like it in all but this: members are
//! written in `PascalCase`, moments are text, requests are forms and answers XML ([`crate::awsquery`]), and an error's
//! code lacks the `Exception` of its shape.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::awsquery::{Form, FormError, xml};

pub mod enums;
#[expect(clippy::too_many_lines, reason = "generated: one line per error")]
mod errors;
mod operations;
mod types;

pub use errors::ErrorCode;
pub use operations::*;
pub use types::*;

/// The version that a request names. Its predecessor, of the classic load balancers, shares everything else.
pub const VERSION: &str = "2015-12-01";
/// The name that requests are signed for.
pub const SIGNING_NAME: &str = "elasticloadbalancing";
/// What the elements of every answer belong to.
pub const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";
/// The content type of every answer.
pub const CONTENT_TYPE: &str = "text/xml";

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Error {
    pub code: ErrorCode,
    pub message: String,
}

impl Error {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The XML to answer with.
    pub fn body(&self, request_id: &str) -> String {
        xml::error(self.code.status() < 500, self.code.name(), &self.message, NAMESPACE, request_id)
    }
}

impl From<FormError> for Error {
    fn from(error: FormError) -> Self {
        let code = match error {
            FormError::Value { .. } => ErrorCode::ValidationError,
            FormError::TooMany | FormError::TooDeep(_) | FormError::Twice(_) => {
                ErrorCode::MalformedQueryString
            }
        };
        Self::new(code, error.to_string())
    }
}

/// The operation that a request asks for.
pub fn operation_of(form: &Form) -> Result<Operation, Error> {
    let action = form.parameter("Action").filter(|action| !action.is_empty());
    let action = action.ok_or_else(|| {
        Error::new(ErrorCode::MissingAction, "The request must contain the parameter Action")
    })?;
    let version = form.parameter("Version").unwrap_or(VERSION);
    let unknown = || {
        Error::new(
            ErrorCode::InvalidAction,
            format!("Could not find operation {action} for version {version}"),
        )
    };
    if version == VERSION { Operation::from_name(action).ok_or_else(unknown) } else { Err(unknown()) }
}

/// Reads the parameters of an operation.
pub fn read_request<T: DeserializeOwned>(form: &Form) -> Result<T, Error> {
    Ok(form.read()?)
}

/// The XML that answers an operation.
pub fn response<T: Serialize>(operation: Operation, result: &T, request_id: &str) -> String {
    let written = xml::response(operation.name(), NAMESPACE, result, request_id);
    written.expect("the model's types have a form in its protocol")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    fn form(raw: &str) -> Form {
        Form::parse(raw).unwrap()
    }

    #[test]
    fn actions_lead_to_operations() {
        for operation in Operation::ALL {
            let named = form(&format!("Action={}&Version={VERSION}", operation.name()));
            assert_eq!(operation_of(&named), Ok(*operation));
        }
        let refused = |raw: &str| operation_of(&form(raw)).unwrap_err().code;
        assert_eq!(refused("Version=2015-12-01"), ErrorCode::MissingAction);
        assert_eq!(refused("Action=Fly&Version=2015-12-01"), ErrorCode::InvalidAction);
        assert_eq!(refused("Action=CreateLoadBalancer&Version=2012-06-01"), ErrorCode::InvalidAction);
        assert_eq!(Operation::ALL.len(), 51);
    }

    #[test]
    fn errors_are_called_as_on_the_wire() {
        assert_eq!(ErrorCode::from_name("TargetGroupNotFound"), Some(ErrorCode::TargetGroupNotFound));
        assert_eq!(ErrorCode::from_name("TargetGroupNotFoundException"), None);
        assert_eq!(ErrorCode::TargetGroupNotFound.status(), 400);
        assert_eq!(ErrorCode::SignatureDoesNotMatch.status(), 403);
        assert_eq!(ErrorCode::HealthUnavailable.status(), 500);
    }

    #[test]
    fn requests_are_read_and_answers_written() {
        let raw = "Action=RegisterTargets&Version=2015-12-01&TargetGroupArn=arn%3Aa\
                   &Targets.member.1.Id=10.0.0.1&Targets.member.1.Port=8080";
        let request: RegisterTargetsInput = read_request(&form(raw)).unwrap();
        assert_eq!(request.target_group_arn.as_deref(), Some("arn:a"));
        assert_eq!(request.targets.unwrap()[0].port, Some(8080));
        let refused = read_request::<RegisterTargetsInput>(&form("Targets.member.1.Port=http")).unwrap_err();
        assert_eq!(
            refused,
            Error::new(ErrorCode::ValidationError, "Targets.member.1.Port: \"http\" is not a number")
        );

        let balancer = LoadBalancer {
            load_balancer_name: Some("web".to_owned()),
            created_time: Some(Timestamp::from_seconds(0)),
            availability_zones: Some(vec![]),
            ..LoadBalancer::default()
        };
        let answer = DescribeLoadBalancersOutput {
            load_balancers: Some(vec![balancer]),
            ..DescribeLoadBalancersOutput::default()
        };
        assert_eq!(
            response(Operation::DescribeLoadBalancers, &answer, "id"),
            "<DescribeLoadBalancersResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">\
             <DescribeLoadBalancersResult><LoadBalancers><member><AvailabilityZones></AvailabilityZones>\
             <CreatedTime>1970-01-01T00:00:00Z</CreatedTime><LoadBalancerName>web</LoadBalancerName></member>\
             </LoadBalancers></DescribeLoadBalancersResult><ResponseMetadata><RequestId>id</RequestId>\
             </ResponseMetadata></DescribeLoadBalancersResponse>"
        );
    }
}
