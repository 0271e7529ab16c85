//! One verb's conversation with one ECS: which endpoint, as whom, on which cluster, and the three shapes that
//! calls have (one answer, a paged list, a description of many in chunks).
//!
//! Which ECS: what is asked for on the command line or in `AWS_ENDPOINT_URL_ECS`; else the ecsr that `ecsr
//! up` started on this machine; else whatever the AWS configuration leads to. The rule is one function,
//! [`target`].

use std::env;
use std::time::Duration;

use aws_sdk_ecs::Client;
use serde_json::{Value, json};

use crate::aws::{self, Target};
use crate::context::Context;
use crate::ecs::{self, CallError, Operation};
use crate::elb::Elb;
use crate::error::{Failure, Kind, not_found, usage};
use crate::globals::Globals;
use crate::output::Format;
use crate::output::text::{last_part, list, text};

/// The cluster that ECS itself assumes when none is named.
pub(crate) const DEFAULT_CLUSTER: &str = "default";

/// Pages of one list that are followed before giving up: 10,000 clusters, the largest quota of ECS that a
/// verb lists whole, in the smallest page, 10.
const PAGES_MAX: usize = 1000;

/// An ECS to speak to, and the cluster to work on.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    target: Target,
    cluster: String,
    format: Format,
}

/// How many seconds apart a state is asked for while it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// After something changed.
    pub(crate) shortest: Duration,
    /// After nothing changed for a while.
    pub(crate) longest: Duration,
}

/// A `Describe*` operation: which member takes the names, how many at once, which member answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Describe {
    operation: Operation,
    names: &'static str,
    chunk: usize,
    answer: &'static str,
    noun: &'static str,
}

/// `DescribeClusters`, at most 100 at once.
pub(crate) const CLUSTERS: Describe = Describe {
    operation: Operation::DescribeClusters,
    names: "clusters",
    chunk: 100,
    answer: "clusters",
    noun: "cluster",
};
/// `DescribeServices`, at most 10 at once.
pub(crate) const SERVICES: Describe = Describe {
    operation: Operation::DescribeServices,
    names: "services",
    chunk: 10,
    answer: "services",
    noun: "service",
};
/// `DescribeTasks`, at most 100 at once.
pub(crate) const TASKS: Describe = Describe {
    operation: Operation::DescribeTasks,
    names: "tasks",
    chunk: 100,
    answer: "tasks",
    noun: "task",
};
/// `DescribeContainerInstances`, at most 100 at once.
pub(crate) const INSTANCES: Describe = Describe {
    operation: Operation::DescribeContainerInstances,
    names: "containerInstances",
    chunk: 100,
    answer: "containerInstances",
    noun: "container instance",
};

impl Session {
    /// Decides which ECS is meant and makes a client for it. Nothing is sent yet.
    pub(crate) async fn open(globals: &Globals) -> Result<Self, Failure> {
        let context = if asks_for_another(globals) { None } else { local_context(globals)? };
        let cluster =
            globals.cluster.clone().or_else(|| context.as_ref().map(|context| context.cluster.clone()));
        let session = Self::to(target(globals, context), globals.output).await?;
        Ok(Self { cluster: cluster.unwrap_or_else(|| DEFAULT_CLUSTER.to_owned()), ..session })
    }

    /// A session with the ecsr of `context`.
    pub(crate) async fn local(context: &Context, format: Format) -> Result<Self, Failure> {
        let session = Self::to(Target::Local(context.clone()), format).await?;
        Ok(Self { cluster: context.cluster.clone(), ..session })
    }

    async fn to(target: Target, format: Format) -> Result<Self, Failure> {
        let config = aws::load(&target).await;
        if config.region().is_none() {
            return Err(usage("no local ecsr runs, and no region is configured")
                .hint("`ecsr up --detach` starts one; --region or AWS_REGION is needed for any other ECS"));
        }
        let client = Client::new(&config);
        Ok(Self { client, target, cluster: DEFAULT_CLUSTER.to_owned(), format })
    }

    /// The cluster to work on, as it was given.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// How results are printed.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// How often to ask while waiting: an ecsr of our own answers from memory, Amazon's throttles.
    pub(crate) fn pace(&self) -> Pace {
        let own = match &self.target {
            Target::Local(_) | Target::Plain { .. } => true,
            Target::Configured { endpoint_url, .. } => endpoint_url.is_some() || endpoint_in_environment(),
        };
        if own {
            Pace { shortest: Duration::from_millis(50), longest: Duration::from_millis(250) }
        } else {
            Pace { shortest: Duration::from_secs(1), longest: Duration::from_secs(5) }
        }
    }

    /// Calls `operation` and answers what ECS answered.
    pub(crate) async fn call(&self, operation: Operation, input: Value) -> Result<Value, Failure> {
        Ok(self.try_call(operation, input).await?)
    }

    /// Like [`Session::call`], for callers that act on the kind of error.
    pub(crate) async fn try_call(&self, operation: Operation, input: Value) -> Result<Value, CallError> {
        ecs::call(&self.client, operation, input).await
    }

    /// A client of the load balancers of the same place: those of the local ecsr, or whatever the AWS configuration
    /// leads to. Nothing is sent yet.
    pub(crate) async fn elb(&self) -> Result<Elb, Failure> {
        let named = names_endpoint(&["AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", "AWS_ENDPOINT_URL"]);
        let target = elb_target(&self.target, named)?;
        let own = named || matches!(target, Target::Local(_));
        Ok(Elb::new(&aws::load(&target).await, own))
    }

    /// All items of a `List*` operation, page by page; `member` is the one that holds them.
    pub(crate) async fn list(
        &self,
        operation: Operation,
        mut input: Value,
        member: &str,
    ) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.call(operation, input.clone()).await?;
            items.extend_from_slice(list(&page, member));
            match &page["nextToken"] {
                Value::Null => return Ok(items),
                token => input["nextToken"] = token.clone(),
            }
        }
        Err(Failure::new(Kind::Failed, format!("{}: more than {PAGES_MAX} pages", operation.name())))
    }

    /// Describes `names` of `cluster`, chunk by chunk. What does not exist is left out.
    pub(crate) async fn describe_known(
        &self,
        what: Describe,
        cluster: &str,
        names: &[Value],
    ) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::with_capacity(names.len());
        for chunk in names.chunks(what.chunk) {
            let answer = self.call(what.operation, describe_input(what, cluster, chunk)).await?;
            items.extend_from_slice(list(&answer, what.answer));
        }
        Ok(items)
    }

    /// Describes one thing of `cluster`; a failure of kind not-found when ECS does not have it.
    pub(crate) async fn describe_one(
        &self,
        what: Describe,
        cluster: &str,
        name: &str,
    ) -> Result<Value, Failure> {
        let answer = self.describe(what, cluster, &[json!(name)]).await?;
        match list(&answer, what.answer) {
            [one, ..] => Ok(one.clone()),
            [] => Err(not_found(format!("no {} {name}", what.noun))),
        }
    }

    /// ECS's whole answer about up to one chunk of `names`; the first one missing is a failure.
    pub(crate) async fn describe(
        &self,
        what: Describe,
        cluster: &str,
        names: &[Value],
    ) -> Result<Value, Failure> {
        let answer = self.call(what.operation, describe_input(what, cluster, names)).await?;
        match list(&answer, "failures") {
            [] => Ok(answer),
            [failure, ..] => Err(missing(what, cluster, failure)),
        }
    }
}

fn describe_input(what: Describe, cluster: &str, names: &[Value]) -> Value {
    let mut input = json!({ what.names: names, "include": ["TAGS"] });
    if what.operation != Operation::DescribeClusters {
        input["cluster"] = json!(cluster);
    }
    input
}

fn missing(what: Describe, cluster: &str, failure: &Value) -> Failure {
    let name = text(failure, "arn");
    let place = match what.operation {
        Operation::DescribeClusters => String::new(),
        _ => format!(" in cluster {}", last_part(cluster)),
    };
    match text(failure, "reason").as_str() {
        "MISSING" => not_found(format!("no {} {}{place}", what.noun, last_part(&name))),
        reason => Failure::new(Kind::Failed, format!("{} {}: {reason}", what.noun, last_part(&name))),
    }
}

/// The context of the local ecsr, if there is one.
fn local_context(globals: &Globals) -> Result<Option<Context>, Failure> {
    match globals.data_dir() {
        Ok(dir) => Context::load(&dir),
        // Without a home there is no local ecsr either; the AWS configuration may still lead somewhere.
        Err(_) if globals.data_dir.is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

fn asks_for_another(globals: &Globals) -> bool {
    globals.aws || globals.profile.is_some() || globals.endpoint_url.is_some() || endpoint_in_environment()
}

fn endpoint_in_environment() -> bool {
    names_endpoint(&["AWS_ENDPOINT_URL_ECS", "AWS_ENDPOINT_URL"])
}

fn names_endpoint(variables: &[&str]) -> bool {
    variables.iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Where the load balancers are of the ECS that is `target`; `named` when the environment says it.
fn elb_target(target: &Target, named: bool) -> Result<Target, Failure> {
    let configured = |region: &Option<String>, profile: &Option<String>| Target::Configured {
        endpoint_url: None,
        region: region.clone(),
        profile: profile.clone(),
    };
    match target {
        Target::Local(context) if named => Ok(configured(&Some(context.region.clone()), &None)),
        Target::Local(context) => match &context.balancer {
            Some(endpoint) => Ok(Target::Local(Context { endpoint: endpoint.clone(), ..context.clone() })),
            None => Err(not_found("the local ecsr has no load balancer")
                .hint("`ecsr up` starts one, unless it is told --no-balancer or --no-agent")),
        },
        Target::Plain { region, .. } => Ok(configured(region, &None)),
        Target::Configured { region, profile, .. } => Ok(configured(region, profile)),
    }
}

/// Which ECS is meant; `context` is the local ecsr's, unless another one was asked for.
fn target(globals: &Globals, context: Option<Context>) -> Target {
    match context {
        Some(context) => {
            let region = globals.region.clone().unwrap_or(context.region);
            Target::Local(Context { region, ..context })
        }
        None => Target::Configured {
            endpoint_url: globals.endpoint_url.clone(),
            region: globals.region.clone(),
            profile: globals.profile.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            endpoint: "http://127.0.0.1:7070".into(),
            balancer: None,
            region: "us-east-1".into(),
            cluster: "default".into(),
            access_key_id: "AKID".into(),
            secret_access_key: "secret".into(),
        }
    }

    #[test]
    fn the_local_ecsr_is_meant_unless_another_is_asked_for() {
        let mut globals = Globals::default();
        assert_eq!(target(&globals, Some(context())), Target::Local(context()));
        globals.region = Some("eu-west-1".into());
        let Target::Local(local) = target(&globals, Some(context())) else { panic!("not local") };
        assert_eq!(local.region, "eu-west-1");
        globals.profile = Some("prod".into());
        assert!(asks_for_another(&globals));
        let expected = Target::Configured {
            endpoint_url: None,
            region: Some("eu-west-1".into()),
            profile: Some("prod".into()),
        };
        assert_eq!(target(&globals, None), expected);
    }

    #[test]
    fn load_balancers_are_where_the_ecs_is() {
        let local = Target::Local(context());
        assert_eq!(elb_target(&local, false).unwrap_err().kind(), Kind::NotFound);
        let balancer = Some("http://127.0.0.1:7072".to_owned());
        let local = Target::Local(Context { balancer, ..context() });
        let Ok(Target::Local(found)) = elb_target(&local, false) else { panic!("not local") };
        assert_eq!(found.endpoint, "http://127.0.0.1:7072");
        let Ok(Target::Configured { endpoint_url, region, .. }) = elb_target(&local, true) else {
            panic!("the environment names another")
        };
        assert_eq!((endpoint_url, region.as_deref()), (None, Some("us-east-1")));
        let elsewhere = Target::Configured {
            endpoint_url: Some("http://ecs.example".into()),
            region: None,
            profile: Some("prod".into()),
        };
        let Ok(Target::Configured { endpoint_url, profile, .. }) = elb_target(&elsewhere, false) else {
            panic!("it is configured")
        };
        assert_eq!((endpoint_url, profile.as_deref()), (None, Some("prod")), "that one is of ECS");
    }

    #[test]
    fn what_is_missing_is_named() {
        fn check(what: Describe, arn: &str, reason: &str, kind: Kind, expected: &str) {
            let failure = missing(what, "prod", &json!({"arn": arn, "reason": reason}));
            assert_eq!((failure.kind(), failure.to_string().as_str()), (kind, expected));
        }
        let arn = "arn:aws:ecs:us-east-1:123456789012:service/web";
        check(SERVICES, arn, "MISSING", Kind::NotFound, "no service web in cluster prod");
        check(CLUSTERS, "arn:aws:ecs:r:a:cluster/x", "MISSING", Kind::NotFound, "no cluster x");
        check(TASKS, "arn:aws:ecs:r:a:task/prod/0a", "OTHER", Kind::Failed, "task 0a: OTHER");
    }
}
