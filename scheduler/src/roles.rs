//! Credentials of the roles that tasks name: STS AssumeRole, with credentials that the scheduler was given for it.
//!
//! Without such credentials no role can be assumed. Tasks run all the same, since most test definitions name roles that
//! exist nowhere, but it is said in the log. What AWS hands out is kept in memory only.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use ecsr_api::{Timestamp, acs};
use ecsr_core::ids::TaskId;
use tokio::sync::Semaphore;

use crate::entropy::Entropy;

/// Most calls to STS at a time: well below its quota, and a burst of tasks is through within seconds.
const CALLS_MAX: usize = 8;

/// STS's errors that say "not now" rather than "never".
const PASSING: [&str; 4] = ["Throttling", "ThrottlingException", "RequestExpired", "ServiceUnavailable"];

/// Where credentials of roles come from, if from anywhere. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Roles {
    sts: Option<aws_sdk_sts::Client>,
    calls: Arc<Semaphore>,
    entropy: Entropy,
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// STS says that the role must not be assumed, or does not exist.
    #[error("{0}")]
    Refused(String),
    /// STS was not reached, or asks for patience.
    #[error("{0}")]
    Unavailable(String),
}

impl Roles {
    pub(crate) fn new(sdk: Option<&SdkConfig>, entropy: Entropy) -> Self {
        let sts = sdk.map(aws_sdk_sts::Client::new);
        Self { sts, calls: Arc::new(Semaphore::new(CALLS_MAX)), entropy }
    }

    pub(crate) fn are_available(&self) -> bool {
        self.sts.is_some()
    }

    /// Fresh credentials of a role for one task, whose id names the session as it does on ECS.
    pub(crate) async fn assume(
        &self,
        role_arn: &str,
        task: TaskId,
    ) -> Result<acs::IAMRoleCredentials, Failure> {
        let unavailable = || Failure::Unavailable("no role can be assumed here".into());
        let sts = self.sts.as_ref().ok_or_else(unavailable)?;
        let _call = self.calls.acquire().await.map_err(|_| unavailable())?;
        let call = sts.assume_role().role_arn(role_arn).role_session_name(task.to_string());
        let answer = call.send().await.map_err(|error| failure(&error))?;
        let credentials = answer.credentials.ok_or_else(unavailable)?;
        let expiration = Timestamp::from_millis(credentials.expiration.to_millis().unwrap_or(0));
        Ok(acs::IAMRoleCredentials {
            credentials_id: Some(self.entropy.uuid()),
            role_arn: Some(role_arn.to_owned()),
            access_key_id: Some(credentials.access_key_id),
            secret_access_key: Some(credentials.secret_access_key),
            session_token: Some(credentials.session_token),
            expiration: Some(expiration.to_rfc3339()),
            credential_scope: None,
        })
    }
}

fn failure(error: &SdkError<AssumeRoleError>) -> Failure {
    let text = || match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    };
    match error {
        SdkError::ServiceError(_) if error.code().is_some_and(|code| !PASSING.contains(&code)) => {
            Failure::Refused(text())
        }
        _ => Failure::Unavailable(text()),
    }
}
