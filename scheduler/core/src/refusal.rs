//! Why a call is not carried out, in ECS's own words.
//!
//! The core answers with a `Refusal`, a value that knows nothing of HTTP; only at the very edge does it become the
//! error body that AWS clients parse. Clients match on these texts (terraform retries on some of them word for
//! word), so the `Display` of a variant *is* the message on the wire and must not be embellished.
//!
//! Invariant: every refusal maps to exactly one modelled error code of the ECS API, and never to a 5xx.

use ecsr_api::ecs::ErrorCode;
use ecsr_api::error::ApiError;

/// A call that ECS would refuse; `Display` is the `message` member of the error body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The cluster does not exist, or is INACTIVE where an ACTIVE one is needed.
    #[error("Cluster not found.")]
    ClusterNotFound,
    /// The cluster still has ACTIVE or DRAINING container instances (DeleteCluster).
    #[error("The Cluster cannot be deleted while Container Instances are active or draining.")]
    ClusterContainsContainerInstances,
    /// The cluster still has services that are not INACTIVE (DeleteCluster).
    #[error("The Cluster cannot be deleted while Services are active.")]
    ClusterContainsServices,
    /// The cluster still has tasks that are not STOPPED (DeleteCluster).
    #[error("The Cluster cannot be deleted while Tasks are active.")]
    ClusterContainsTasks,
    /// No service of that name was ever created in the cluster.
    #[error("Service not found.")]
    ServiceNotFound,
    /// The service exists but is DRAINING or INACTIVE.
    #[error("Service was not ACTIVE.")]
    ServiceNotActive,
    /// A task set that the service does not have.
    #[error("The specified task set was not found.")]
    TaskSetNotFound,
    /// The resource that an attribute is to be put on does not exist.
    #[error("The specified target was not found.")]
    TargetNotFound,
    /// One resource would carry more custom attributes than ECS allows.
    #[error("The maximum number of custom attributes for the resource has been reached.")]
    AttributeLimitExceeded,
    /// The caller's mistake where ECS answers `ClientException` (task definitions, foremost).
    #[error("{0}")]
    Client(String),
    /// A parameter of the call is missing, malformed or out of range.
    #[error("{0}")]
    InvalidParameter(String),
    /// The `clientToken` was used before with other parameters.
    #[error("{message}")]
    Conflict {
        /// What the token clashes with, for people.
        message: String,
        /// ARNs of the resources that the first call with this token made.
        resource_ids: Vec<String>,
    },
    /// A resource named by the call does not exist; the text says which.
    #[error("{0}")]
    ResourceNotFound(String),
    /// The resource is in the middle of a change that must end first.
    #[error("{0}")]
    ResourceInUse(String),
    /// Another update of the same resource is under way.
    #[error("{0}")]
    UpdateInProgress(String),
    /// A quota of ECS would be exceeded.
    #[error("{0}")]
    LimitExceeded(String),
    /// ECS has the feature, this cluster has not.
    #[error("{0}")]
    Unsupported(String),
    /// The caller may not do this to that resource.
    #[error("{0}")]
    AccessDenied(String),
}

impl Refusal {
    /// The same words under `ClientException`, which is what RegisterTaskDefinition answers for a bad parameter.
    #[must_use]
    pub fn into_client(self) -> Self {
        match self {
            Self::InvalidParameter(message) => Self::Client(message),
            other => other,
        }
    }

    /// The same words under `InvalidParameterException`, which is what RunTask answers for a bad override.
    #[must_use]
    pub fn into_invalid_parameter(self) -> Self {
        match self {
            Self::Client(message) => Self::InvalidParameter(message),
            other => other,
        }
    }

    /// The modelled error shape that carries this refusal.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ClusterNotFound => ErrorCode::ClusterNotFoundException,
            Self::ClusterContainsContainerInstances => ErrorCode::ClusterContainsContainerInstancesException,
            Self::ClusterContainsServices => ErrorCode::ClusterContainsServicesException,
            Self::ClusterContainsTasks => ErrorCode::ClusterContainsTasksException,
            Self::ServiceNotFound => ErrorCode::ServiceNotFoundException,
            Self::ServiceNotActive => ErrorCode::ServiceNotActiveException,
            Self::TaskSetNotFound => ErrorCode::TaskSetNotFoundException,
            Self::TargetNotFound => ErrorCode::TargetNotFoundException,
            Self::AttributeLimitExceeded => ErrorCode::AttributeLimitExceededException,
            Self::Client(_) => ErrorCode::ClientException,
            Self::InvalidParameter(_) => ErrorCode::InvalidParameterException,
            Self::Conflict { .. } => ErrorCode::ConflictException,
            Self::ResourceNotFound(_) => ErrorCode::ResourceNotFoundException,
            Self::ResourceInUse(_) => ErrorCode::ResourceInUseException,
            Self::UpdateInProgress(_) => ErrorCode::UpdateInProgressException,
            Self::LimitExceeded(_) => ErrorCode::LimitExceededException,
            Self::Unsupported(_) => ErrorCode::UnsupportedFeatureException,
            Self::AccessDenied(_) => ErrorCode::AccessDeniedException,
        }
    }
}

/// Shorthand for the commonest refusal.
pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::InvalidParameter(message.into())
}

/// Shorthand for the refusal of RegisterTaskDefinition.
pub(crate) fn client(message: impl Into<String>) -> Refusal {
    Refusal::Client(message.into())
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        match refusal {
            Refusal::Conflict { message, resource_ids } => Self::conflict(message, resource_ids),
            other => Self::new(code, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_becomes_the_error_that_ecs_answers() {
        let check = |refusal: Refusal, body: &str| {
            let error = ApiError::from(refusal);
            assert_eq!((error.status(), error.body().as_str()), (400, body));
        };
        check(
            Refusal::ClusterNotFound,
            r#"{"__type":"ClusterNotFoundException","message":"Cluster not found."}"#,
        );
        check(
            Refusal::Client("Family can not be blank.".into()),
            r#"{"__type":"ClientException","message":"Family can not be blank."}"#,
        );
        check(
            Refusal::Conflict { message: "used".into(), resource_ids: vec!["arn".into()] },
            r#"{"__type":"ConflictException","message":"used","resourceIds":["arn"]}"#,
        );
        check(invalid("no").into_client(), r#"{"__type":"ClientException","message":"no"}"#);
        check(
            Refusal::ServiceNotFound.into_client(),
            r#"{"__type":"ServiceNotFoundException","message":"Service not found."}"#,
        );
    }
}
