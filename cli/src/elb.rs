//! Calls to ELBv2: Amazon's, or the one of ecsr's own balancer. What is asked is typed, by the SDK; what is answered is
//! JSON with the members of the wire, which the verbs read and print as they do ECS's.

mod json;

use std::collections::BTreeMap;
use std::error::Error as StdError;

use aws_config::SdkConfig;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::http::HttpResponse;
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, HostHeaderConditionConfig, LoadBalancerTypeEnum,
    PathPatternConditionConfig, ProtocolEnum, RuleCondition, Tag, TargetGroupAttribute, TargetTypeEnum,
};
use serde_json::Value;

use crate::ecs::{CallError, Service, call_error};

/// ARNs that `DescribeTags` takes at once.
const TAGGED_MAX: usize = 20;

/// Seconds between two health checks of a target group, and until one has failed. The shortest interval that AWS
/// allows, for at its default of thirty a deployment takes minutes to be seen healthy.
const HEALTH_INTERVAL_SECONDS: i32 = 5;
const HEALTH_TIMEOUT_SECONDS: i32 = 2;
/// Checks in a row that change a target's health: AWS's least.
const HEALTH_THRESHOLD: i32 = 2;

/// A client of one ELBv2 endpoint.
#[derive(Debug)]
pub(crate) struct Elb {
    client: Client,
    own: bool,
}

/// Tags by key.
pub(crate) type Tags = Vec<(String, String)>;

/// What a load balancer is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NewLoadBalancer {
    pub(crate) name: String,
    /// `application` or `network`.
    pub(crate) kind: String,
    pub(crate) scheme: Option<String>,
    pub(crate) subnets: Vec<String>,
    pub(crate) security_groups: Vec<String>,
    pub(crate) tags: Tags,
}

/// What a target group is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTargetGroup {
    pub(crate) name: String,
    /// `HTTP` or `TCP`.
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
    /// `instance` or `ip`.
    pub(crate) target_type: &'static str,
    /// Where there are such.
    pub(crate) vpc: Option<String>,
    /// Of checks by HTTP.
    pub(crate) health_check_path: Option<String>,
    pub(crate) tags: Tags,
}

/// What a listener does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Forwards to this target group.
    Forward(String),
    /// Answers 404, for what no rule is for.
    NotFound,
}

/// Conditions of a rule; all that are not empty must hold, of each one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) hosts: Vec<String>,
    pub(crate) paths: Vec<String>,
}

impl Elb {
    /// A client of what `config` leads to; `own` when that is none of Amazon's.
    pub(crate) fn new(config: &SdkConfig, own: bool) -> Self {
        Self { client: Client::new(config), own }
    }

    /// Whether it is a balancer beside ecsr, with neither networks nor limits of Amazon's.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    /// Every load balancer.
    pub(crate) async fn load_balancers(&self) -> Result<Vec<Value>, CallError> {
        let pages = self.client.describe_load_balancers().into_paginator().items().send();
        let found = answered("DescribeLoadBalancers", pages.collect::<Result<Vec<_>, _>>()).await?;
        Ok(found.iter().map(json::load_balancer).collect())
    }

    /// The load balancer of that name, if there is one.
    pub(crate) async fn load_balancer(&self, name: &str) -> Result<Option<Value>, CallError> {
        let request = self.client.describe_load_balancers();
        let request =
            if name.starts_with("arn:") { request.load_balancer_arns(name) } else { request.names(name) };
        match answered("DescribeLoadBalancers", request.send()).await {
            Ok(found) => Ok(found.load_balancers().first().map(json::load_balancer)),
            Err(error) if error.code() == Some("LoadBalancerNotFound") => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn create_load_balancer(&self, new: &NewLoadBalancer) -> Result<Value, CallError> {
        let request = self
            .client
            .create_load_balancer()
            .name(&new.name)
            .r#type(LoadBalancerTypeEnum::from(new.kind.as_str()))
            .set_scheme(new.scheme.as_deref().map(Into::into))
            .set_subnets(some(&new.subnets))
            .set_security_groups(some(&new.security_groups))
            .set_tags(tags(&new.tags));
        let made = answered("CreateLoadBalancer", request.send()).await?;
        one(made.load_balancers().first().map(json::load_balancer), "CreateLoadBalancer")
    }

    /// Deletes a load balancer with its listeners; fine when it is gone.
    pub(crate) async fn delete_load_balancer(&self, arn: &str) -> Result<(), CallError> {
        let request = self.client.delete_load_balancer().load_balancer_arn(arn);
        answered("DeleteLoadBalancer", request.send()).await.map(drop)
    }

    pub(crate) async fn listeners(&self, load_balancer: &str) -> Result<Vec<Value>, CallError> {
        let request = self.client.describe_listeners().load_balancer_arn(load_balancer);
        let pages = request.into_paginator().items().send();
        let found = answered("DescribeListeners", pages.collect::<Result<Vec<_>, _>>()).await?;
        Ok(found.iter().map(json::listener).collect())
    }

    pub(crate) async fn create_listener(
        &self,
        load_balancer: &str,
        (protocol, port): (&str, u16),
        then: &Then,
        own_tags: &Tags,
    ) -> Result<Value, CallError> {
        let request = self
            .client
            .create_listener()
            .load_balancer_arn(load_balancer)
            .protocol(ProtocolEnum::from(protocol))
            .port(i32::from(port))
            .default_actions(then.action())
            .set_tags(tags(own_tags));
        let made = answered("CreateListener", request.send()).await?;
        one(made.listeners().first().map(json::listener), "CreateListener")
    }

    /// Changes what a listener does when no rule applies.
    pub(crate) async fn set_default(&self, listener: &str, then: &Then) -> Result<(), CallError> {
        let request = self.client.modify_listener().listener_arn(listener).default_actions(then.action());
        answered("ModifyListener", request.send()).await.map(drop)
    }

    pub(crate) async fn delete_listener(&self, arn: &str) -> Result<(), CallError> {
        let request = self.client.delete_listener().listener_arn(arn);
        gone(answered("DeleteListener", request.send()).await)
    }

    /// The rules of a listener, its default among them.
    pub(crate) async fn rules(&self, listener: &str) -> Result<Vec<Value>, CallError> {
        let pages = self.client.describe_rules().listener_arn(listener).into_paginator().items().send();
        let found = answered("DescribeRules", pages.collect::<Result<Vec<_>, _>>()).await?;
        Ok(found.iter().map(json::rule).collect())
    }

    pub(crate) async fn create_rule(
        &self,
        listener: &str,
        priority: i32,
        conditions: &Conditions,
        then: &Then,
        own_tags: &Tags,
    ) -> Result<Value, CallError> {
        let request = self
            .client
            .create_rule()
            .listener_arn(listener)
            .priority(priority)
            .set_conditions(Some(conditions.typed()))
            .actions(then.action())
            .set_tags(tags(own_tags));
        let made = answered("CreateRule", request.send()).await?;
        one(made.rules().first().map(json::rule), "CreateRule")
    }

    pub(crate) async fn delete_rule(&self, arn: &str) -> Result<(), CallError> {
        gone(answered("DeleteRule", self.client.delete_rule().rule_arn(arn).send()).await)
    }

    /// The target groups that a load balancer leads to.
    pub(crate) async fn target_groups_of(&self, load_balancer: &str) -> Result<Vec<Value>, CallError> {
        let request = self.client.describe_target_groups().load_balancer_arn(load_balancer);
        let pages = request.into_paginator().items().send();
        let found = answered("DescribeTargetGroups", pages.collect::<Result<Vec<_>, _>>()).await?;
        Ok(found.iter().map(json::target_group).collect())
    }

    /// The target group of that name or ARN, if there is one.
    pub(crate) async fn target_group(&self, name: &str) -> Result<Option<Value>, CallError> {
        let request = self.client.describe_target_groups();
        let request =
            if name.starts_with("arn:") { request.target_group_arns(name) } else { request.names(name) };
        match answered("DescribeTargetGroups", request.send()).await {
            Ok(found) => Ok(found.target_groups().first().map(json::target_group)),
            Err(error) if error.code() == Some("TargetGroupNotFound") => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn create_target_group(&self, new: &NewTargetGroup) -> Result<Value, CallError> {
        let request = self
            .client
            .create_target_group()
            .name(&new.name)
            .protocol(ProtocolEnum::from(new.protocol))
            .port(i32::from(new.port))
            .target_type(TargetTypeEnum::from(new.target_type))
            .set_vpc_id(new.vpc.clone())
            .set_health_check_path(new.health_check_path.clone())
            .health_check_interval_seconds(HEALTH_INTERVAL_SECONDS)
            .health_check_timeout_seconds(HEALTH_TIMEOUT_SECONDS)
            .healthy_threshold_count(HEALTH_THRESHOLD)
            .unhealthy_threshold_count(HEALTH_THRESHOLD)
            .set_tags(tags(&new.tags));
        let made = answered("CreateTargetGroup", request.send()).await?;
        one(made.target_groups().first().map(json::target_group), "CreateTargetGroup")
    }

    /// Changes the path that targets of a group are checked by.
    pub(crate) async fn set_health_check_path(&self, arn: &str, path: &str) -> Result<(), CallError> {
        let request = self.client.modify_target_group().target_group_arn(arn).health_check_path(path);
        answered("ModifyTargetGroup", request.send()).await.map(drop)
    }

    pub(crate) async fn set_attributes(
        &self,
        group: &str,
        attributes: &[(&str, String)],
    ) -> Result<(), CallError> {
        let typed = attributes.iter();
        let typed = typed.map(|(key, value)| TargetGroupAttribute::builder().key(*key).value(value).build());
        let request = self.client.modify_target_group_attributes().target_group_arn(group);
        let request = request.set_attributes(Some(typed.collect()));
        answered("ModifyTargetGroupAttributes", request.send()).await.map(drop)
    }

    pub(crate) async fn delete_target_group(&self, arn: &str) -> Result<(), CallError> {
        let request = self.client.delete_target_group().target_group_arn(arn);
        gone(answered("DeleteTargetGroup", request.send()).await)
    }

    /// The targets of a group, and how each does.
    pub(crate) async fn target_health(&self, group: &str) -> Result<Vec<Value>, CallError> {
        let request = self.client.describe_target_health().target_group_arn(group);
        let found = answered("DescribeTargetHealth", request.send()).await?;
        Ok(found.target_health_descriptions().iter().map(json::target_health).collect())
    }

    /// The tags of each of `arns`, as objects.
    pub(crate) async fn tags(&self, arns: &[String]) -> Result<BTreeMap<String, Value>, CallError> {
        let mut tags = BTreeMap::new();
        for chunk in arns.chunks(TAGGED_MAX) {
            let request = self.client.describe_tags().set_resource_arns(Some(chunk.to_vec()));
            let found = answered("DescribeTags", request.send()).await?;
            tags.extend(found.tag_descriptions().iter().filter_map(|described| {
                Some((described.resource_arn()?.to_owned(), json::tags(described.tags())))
            }));
        }
        Ok(tags)
    }
}

impl Then {
    fn action(&self) -> Action {
        match self {
            Self::Forward(group) => {
                Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build()
            }
            Self::NotFound => {
                let response = FixedResponseActionConfig::builder()
                    .status_code("404")
                    .content_type("text/plain")
                    .message_body("Not Found\n")
                    .build();
                let action = Action::builder().r#type(ActionTypeEnum::FixedResponse);
                action.fixed_response_config(response).build()
            }
        }
    }
}

impl Conditions {
    /// Whether everything meets them.
    pub(crate) fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.paths.is_empty()
    }

    fn typed(&self) -> Vec<RuleCondition> {
        let hosts = some(&self.hosts).map(|hosts| {
            let config = HostHeaderConditionConfig::builder().set_values(Some(hosts)).build();
            RuleCondition::builder().field("host-header").host_header_config(config).build()
        });
        let paths = some(&self.paths).map(|paths| {
            let config = PathPatternConditionConfig::builder().set_values(Some(paths)).build();
            RuleCondition::builder().field("path-pattern").path_pattern_config(config).build()
        });
        hosts.into_iter().chain(paths).collect()
    }
}

/// A call's answer, with its error as every call's.
async fn answered<T, E>(
    operation: &'static str,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, CallError>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    // On the heap: an SDK's future is large.
    Box::pin(call).await.map_err(|error| call_error(Service::Elb, operation, error))
}

/// Deleting what is gone has succeeded.
fn gone<T>(deleted: Result<T, CallError>) -> Result<(), CallError> {
    match deleted {
        Err(error) if !error.code().is_some_and(|code| code.ends_with("NotFound")) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn one(made: Option<Value>, operation: &'static str) -> Result<Value, CallError> {
    made.ok_or_else(|| CallError::Protocol { operation, detail: "the answer is empty".to_owned() })
}

fn some(items: &[String]) -> Option<Vec<String>> {
    (!items.is_empty()).then(|| items.to_vec())
}

fn tags(tags: &Tags) -> Option<Vec<Tag>> {
    let tag = |(key, value): &(String, String)| Tag::builder().key(key).value(value).build();
    (!tags.is_empty()).then(|| tags.iter().map(tag).collect())
}
