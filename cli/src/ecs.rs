//! Calls to ECS, as JSON in and JSON out.
//!
//! The SDK's types cannot be read from a file or printed, and know only the members of the day they were
//! generated; so each call goes through the SDK's operation for signing, retries and errors, while an
//! interceptor lays our members over the request body and keeps the answer's bytes. Members that this version
//! has never heard of pass through unchanged, both ways.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::config::http::HttpResponse;
use aws_sdk_ecs::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_ecs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecs::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_smithy_types::body::SdkBody;
use serde_json::{Map, Value};

use crate::error::{Failure, Kind, causes, in_full, innermost};

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// ECS answered with an error.
    #[error("{code}: {message}")]
    Refused { operation: &'static str, code: String, message: String },
    /// There were no credentials to sign with.
    #[error("no usable credentials: {0}")]
    Credentials(String),
    /// Nothing answered.
    #[error("cannot reach the {service} endpoint: {detail}")]
    Unreachable { service: Service, detail: String },
    /// What answered is not an ECS answer, or the request could not be made.
    #[error("{operation}: {detail}")]
    Protocol { operation: &'static str, detail: String },
}

/// Whose API is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Ecs,
    /// Elastic Load Balancing.
    Elb,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecs => "ECS",
            Self::Elb => "load balancers'",
        })
    }
}

macro_rules! operations {
    ($($operation:ident => $method:ident),+ $(,)?) => {
        /// The ECS operations that the verbs use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation {
            $(#[doc = concat!("ECS `", stringify!($operation), "`.")] $operation),+
        }

        impl Operation {
            /// The operation's name on the wire.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$operation => stringify!($operation)),+ }
            }
        }

        async fn send(client: &Client, operation: Operation, wire: RawJson) -> Result<(), CallError> {
            match operation {
                $(Operation::$operation => {
                    let sent = Box::pin(client.$method().customize().interceptor(wire).send()).await;
                    sent.map(drop).map_err(|error| call_error(Service::Ecs, operation.name(), error))
                })+
            }
        }
    };
}

operations! {
    CreateCluster => create_cluster,
    CreateService => create_service,
    DeleteCluster => delete_cluster,
    DeleteService => delete_service,
    DeregisterContainerInstance => deregister_container_instance,
    DeregisterTaskDefinition => deregister_task_definition,
    DescribeClusters => describe_clusters,
    DescribeContainerInstances => describe_container_instances,
    DescribeServices => describe_services,
    DescribeTaskDefinition => describe_task_definition,
    DescribeTasks => describe_tasks,
    ListClusters => list_clusters,
    ListContainerInstances => list_container_instances,
    ListServices => list_services,
    ListTaskDefinitionFamilies => list_task_definition_families,
    ListTaskDefinitions => list_task_definitions,
    ListTasks => list_tasks,
    RegisterTaskDefinition => register_task_definition,
    RunTask => run_task,
    StopTask => stop_task,
    UpdateContainerInstancesState => update_container_instances_state,
    UpdateService => update_service,
}

/// Sends `input` and answers what ECS said, both as the JSON of the wire.
pub(crate) async fn call(client: &Client, operation: Operation, input: Value) -> Result<Value, CallError> {
    let protocol = |detail: String| CallError::Protocol { operation: operation.name(), detail };
    let Value::Object(members) = input else {
        return Err(protocol("the request is not a JSON object".to_owned()));
    };
    let wire = RawJson { members: Arc::new(members), answer: Arc::default() };
    send(client, operation, wire.clone()).await?;
    let answer = wire.answer.lock().unwrap_or_else(PoisonError::into_inner);
    serde_json::from_slice(&answer).map_err(|error| protocol(format!("the answer is not JSON: {error}")))
}

/// Puts JSON members into the request before it is signed, and keeps the bytes of the answer.
#[derive(Clone, Debug)]
struct RawJson {
    members: Arc<Map<String, Value>>,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Intercept for RawJson {
    fn name(&self) -> &'static str {
        "raw JSON"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let body = overlay(request.body().bytes().unwrap_or_default(), &self.members)?;
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body);
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let bytes = context.response().body().bytes().unwrap_or_default();
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = bytes.to_vec();
        Ok(())
    }
}

/// Our members over the body that the SDK wrote, whose idempotency token thus stays the same in every retry.
fn overlay(body: &[u8], members: &Map<String, Value>) -> Result<Vec<u8>, BoxError> {
    let mut merged: Map<String, Value> =
        if body.is_empty() { Map::new() } else { serde_json::from_slice(body)? };
    merged.extend(members.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok(serde_json::to_vec(&merged)?)
}

/// A failed call of an SDK, as every call fails.
pub(crate) fn call_error<E>(
    service: Service,
    operation: &'static str,
    error: SdkError<E, HttpResponse>,
) -> CallError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    if let Some(missing) = causes(&error).find_map(|cause| cause.downcast_ref::<CredentialsError>()) {
        return CallError::Credentials(in_full(missing));
    }
    let detail = innermost(&error);
    match error {
        SdkError::ServiceError(refusal) => {
            let status = refusal.raw().status().as_u16();
            let error = refusal.err();
            CallError::Refused {
                operation,
                code: error.code().map_or_else(|| format!("HTTP {status}"), str::to_owned),
                message: error.message().unwrap_or("no message").to_owned(),
            }
        }
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => {
            CallError::Unreachable { service, detail }
        }
        SdkError::ResponseError(_) => {
            CallError::Protocol { operation, detail: format!("the answer cannot be read: {detail}") }
        }
        _ => CallError::Protocol { operation, detail },
    }
}

impl CallError {
    /// The kind that decides the exit code.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Refused { code, message, .. } => refusal_kind(code, message),
            Self::Credentials(_) => Kind::Denied,
            Self::Unreachable { .. } => Kind::Unreachable,
            Self::Protocol { .. } => Kind::Failed,
        }
    }

    /// The error code of a refusal.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Credentials(_) | Self::Unreachable { .. } | Self::Protocol { .. } => None,
        }
    }

    /// Whether asking again later may help although nothing else changed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => code == "ServerException" || code == "ThrottlingException",
            Self::Credentials(_) | Self::Protocol { .. } => false,
        }
    }
}

fn refusal_kind(code: &str, message: &str) -> Kind {
    const DENIED: [&str; 11] = [
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnauthorizedException",
        "UnrecognizedClientException",
    ];
    // ECS has no error code of its own for a task definition or a task that does not exist.
    const UNKNOWN_NAME: [&str; 4] = [
        "Unable to describe task definition",
        "TaskDefinition not found",
        "The referenced task was not found",
        "The specified task definition does not exist",
    ];
    if DENIED.contains(&code) {
        Kind::Denied
    } else if is_not_found(code) || UNKNOWN_NAME.iter().any(|text| message.starts_with(text)) {
        Kind::NotFound
    } else {
        Kind::Failed
    }
}

/// ELBv2's codes lack the `Exception` of ECS's.
fn is_not_found(code: &str) -> bool {
    code.trim_end_matches("Exception").ends_with("NotFound")
}

fn refusal_hint(code: &str, message: &str) -> Option<&'static str> {
    match code {
        "ClusterNotFoundException" => {
            Some("`ecsr cluster list` shows the clusters; --cluster or ECS_CLUSTER chooses one")
        }
        "ServiceNotFoundException" => Some("`ecsr service list` shows the services of the cluster"),
        "LoadBalancerNotFound" => Some("`ecsr lb list` shows the load balancers"),
        "UnrecognizedClientException" | "InvalidClientTokenId" => {
            Some("the endpoint does not know this access key; `eval \"$(ecsr env)\"` sets the local one's")
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            Some("check the secret access key, the region and this machine's clock")
        }
        _ if message.contains("while it is scaled above 0") => Some("--force deletes it with its tasks"),
        _ if message.contains("No Container Instances were found") => {
            Some("`ecsr instance list` shows the instances; `ecsr up` makes this machine one")
        }
        _ if code.ends_with("NotFound") => None,
        _ if refusal_kind(code, message) == Kind::NotFound && !message.contains("referenced task") => {
            Some("`ecsr td list` shows the task definitions; `ecsr td register FILE` adds one")
        }
        _ => None,
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let failure = Self::new(error.kind(), error.to_string());
        let hint = match &error {
            CallError::Refused { code, message, .. } => refusal_hint(code, message),
            CallError::Credentials(_) => {
                Some("set AWS_PROFILE or AWS_ACCESS_KEY_ID, or start a local ecsr with `ecsr up --detach`")
            }
            CallError::Unreachable { service: Service::Ecs, .. } => {
                Some("`ecsr up --detach` starts a local one; --endpoint-url and --aws choose another")
            }
            CallError::Unreachable { service: Service::Elb, .. } => Some(
                "`ecsr up --detach` starts one; AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2 names another",
            ),
            CallError::Protocol { .. } => None,
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn our_members_win_and_the_idempotency_token_stays() {
        let Value::Object(members) = json!({"count": 2, "futureMember": {"a": [1]}}) else { unreachable!() };
        let body = overlay(br#"{"clientToken":"t","count":1}"#, &members).unwrap();
        let merged: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(merged, json!({"clientToken": "t", "count": 2, "futureMember": {"a": [1]}}));
        assert_eq!(overlay(b"", &Map::new()).unwrap(), b"{}");
    }

    #[test]
    fn refusals_have_kinds() {
        fn check(code: &str, message: &str, expected: Kind, hinted: bool) {
            assert_eq!(refusal_kind(code, message), expected, "{code}: {message}");
            assert_eq!(refusal_hint(code, message).is_some(), hinted, "{code}: {message}");
        }
        check("ClusterNotFoundException", "Cluster not found.", Kind::NotFound, true);
        check("ServiceNotFoundException", "Service not found.", Kind::NotFound, true);
        check("ClientException", "Unable to describe task definition.", Kind::NotFound, true);
        check("ClientException", "TaskDefinition not found.", Kind::NotFound, true);
        check("LoadBalancerNotFound", "Load balancers '[web]' not found", Kind::NotFound, true);
        check("TargetGroupNotFound", "One or more target groups not found", Kind::NotFound, false);
        check("SignatureDoesNotMatch", "The request signature ...", Kind::Denied, true);
        check("UnrecognizedClientException", "The security token ...", Kind::Denied, true);
        check("AccessDeniedException", "User: x is not authorized", Kind::Denied, false);
        check("InvalidParameterException", "Count should be between 1 and 10.", Kind::Failed, false);
    }

    #[test]
    fn only_the_endpoint_being_away_or_busy_is_transient() {
        let refused = |code: &str| CallError::Refused {
            operation: "ListTasks",
            code: code.to_owned(),
            message: String::new(),
        };
        assert!(CallError::Unreachable { service: Service::Ecs, detail: String::new() }.is_transient());
        assert!(refused("ServerException").is_transient());
        assert!(!refused("AccessDeniedException").is_transient());
    }
}
