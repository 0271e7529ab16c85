//! The ECS API as a test uses it: JSON in, JSON out, signed. Raw JSON rather than an SDK's types, because what is
//! tested is what is on the wire, and because a request must be able to say anything.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::{Value, json};

use crate::http;

/// The prefix of `X-Amz-Target` for every ECS operation.
const TARGET: &str = "AmazonEC2ContainerServiceV20141113";

/// A client of one ECS endpoint.
#[derive(Clone, Debug)]
pub struct Api {
    /// `127.0.0.1:7070`
    pub address: String,
    pub region: String,
    pub credentials: Credentials,
    /// The cluster that every request is about unless it says otherwise.
    pub cluster: String,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody answered, or not in HTTP.
    #[error("cannot reach ECS: {0}")]
    Unreachable(#[from] std::io::Error),
    /// ECS refused, in its words.
    #[error("{code}: {message}")]
    Refused { status: u16, code: String, message: String },
}

impl ApiError {
    /// The AWS error code, `ClientException`; empty when nobody answered.
    pub fn code(&self) -> &str {
        match self {
            ApiError::Unreachable(_) => "",
            ApiError::Refused { code, .. } => code,
        }
    }
}

impl Api {
    /// Calls `operation` with `input`, to which `cluster` is added when it is an object without one.
    pub async fn try_call(&self, operation: &str, mut input: Value) -> Result<Value, ApiError> {
        if let Value::Object(members) = &mut input
            && has_cluster(operation)
        {
            members.entry("cluster").or_insert_with(|| json!(self.cluster));
        }
        let body = input.to_string().into_bytes();
        let answer = http::post(&self.address, &self.signed_headers(operation, &body), &body).await?;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status == 200 {
            return Ok(value);
        }
        let text = |member: &str| value[member].as_str().unwrap_or_default().to_owned();
        Err(ApiError::Refused { status: answer.status, code: text("__type"), message: text("message") })
    }

    /// Calls `operation`, which must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn call(&self, operation: &str, input: Value) -> Value {
        match self.try_call(operation, input.clone()).await {
            Ok(output) => output,
            Err(error) => panic!("{operation} {input}: {error}"),
        }
    }

    fn signed_headers(&self, operation: &str, body: &[u8]) -> Vec<(String, String)> {
        let headers = vec![
            ("host".to_owned(), self.address.clone()),
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target".to_owned(), format!("{TARGET}.{operation}")),
        ];
        self.signed("POST", "/", headers, body)
    }

    /// The headers of a request with those that sign it. The query of `target` must be in canonical form.
    pub fn signed(
        &self,
        method: &str,
        target: &str,
        headers: Vec<(String, String)>,
        body: &[u8],
    ) -> Vec<(String, String)> {
        let signer = ("ecs", self.region.as_str(), &self.credentials);
        signed_for(signer, method, &format!("http://{}{target}", self.address), headers, body)
    }

    /// One service, as `DescribeServices` has it; `Null` when there is none.
    pub async fn service(&self, name: &str) -> Value {
        self.call("DescribeServices", json!({"services": [name]})).await["services"][0].take()
    }

    /// One task, as `DescribeTasks` has it; `Null` when there is none.
    pub async fn task(&self, arn: &str) -> Value {
        self.call("DescribeTasks", json!({"tasks": [arn]})).await["tasks"][0].take()
    }

    /// ARNs of the tasks that `filter` selects (members of `ListTasks`), all pages.
    pub async fn list_tasks(&self, filter: Value) -> Vec<String> {
        let (mut found, mut input) = (Vec::new(), filter);
        loop {
            let page = self.call("ListTasks", input.clone()).await;
            found.extend(strings(&page["taskArns"]));
            match &page["nextToken"] {
                Value::Null => return found,
                token => input["nextToken"] = token.clone(),
            }
        }
    }

    /// The tasks that `filter` selects, described.
    pub async fn tasks(&self, filter: Value) -> Vec<Value> {
        /// What `DescribeTasks` takes at once.
        const CHUNK: usize = 100;
        let mut tasks = Vec::new();
        for arns in self.list_tasks(filter).await.chunks(CHUNK) {
            let mut page = self.call("DescribeTasks", json!({"tasks": arns})).await;
            tasks.extend(page["tasks"].as_array_mut().map(std::mem::take).unwrap_or_default());
        }
        tasks
    }
}

/// The headers of a request with those that sign it for a service, in a region, with a key.
///
/// # Panics
/// When the URL or a header is not plain ASCII.
pub fn signed_for(
    (service, region, credentials): (&str, &str, &Credentials),
    method: &str,
    url: &str,
    mut headers: Vec<(String, String)>,
    body: &[u8],
) -> Vec<(String, String)> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .expect("every parameter is given")
        .into();
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new(method, url, pairs, SignableBody::Bytes(body))
        .expect("the URL and the headers are plain ASCII");
    let (instructions, _) = sign(request, &params).expect("fixed keys sign without I/O").into_parts();
    let (added, _) = instructions.into_parts();
    headers.extend(added.iter().map(|header| (header.name().to_owned(), header.value().to_owned())));
    headers
}

/// Whether `operation` has a member `cluster`: those on task definitions, clusters and tags do not.
fn has_cluster(operation: &str) -> bool {
    !operation.contains("TaskDefinition") && !operation.contains("Tag") && !operation.ends_with("Clusters")
}

fn strings(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}
