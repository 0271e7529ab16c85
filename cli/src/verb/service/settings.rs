//! The settings that `service create` and `service update` share, as flags, and how they become members of
//! the request. What has no flag can be given with `--cli-input-json`; a flag wins over the file.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::error::Failure;
use crate::input;

const HEADING: &str = "Service settings";

/// Flags for the settings of a service.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Settings {
    /// Lowest share of the desired count that must stay healthy during a deployment
    #[arg(long, value_name = "PERCENT", help_heading = HEADING)]
    min_healthy: Option<u32>,

    /// Highest share of the desired count that may run during a deployment
    #[arg(long, value_name = "PERCENT", help_heading = HEADING)]
    max_percent: Option<u32>,

    /// Stop a deployment whose tasks keep failing; with `rollback`, go back to the last good one
    #[arg(
        long,
        value_name = "MODE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "stop",
        value_parser = ["stop", "rollback", "off"],
        help_heading = HEADING
    )]
    circuit_breaker: Option<String>,

    /// How tasks are spread: spread:FIELD, binpack:cpu, binpack:memory or random; repeatable, in order
    #[arg(long, value_name = "TYPE[:FIELD]", value_parser = placement_strategy, help_heading = HEADING)]
    placement_strategy: Vec<Value>,

    /// Where tasks may run: distinctInstance, or memberOf:EXPRESSION; repeatable
    #[arg(
        long,
        value_name = "TYPE[:EXPRESSION]",
        value_parser = placement_constraint,
        help_heading = HEADING
    )]
    placement_constraint: Vec<Value>,

    /// targetGroupArn=ARN,containerName=NAME,containerPort=PORT; repeatable
    #[arg(long, value_name = "MEMBERS", value_parser = load_balancer, help_heading = HEADING)]
    load_balancer: Vec<Value>,

    /// Seconds for which failing health checks of a fresh task are ignored
    #[arg(long, value_name = "SECONDS", help_heading = HEADING)]
    health_check_grace_period: Option<u32>,

    /// Where tags of new tasks come from
    #[arg(
        long,
        value_name = "SOURCE",
        value_parser = ["SERVICE", "TASK_DEFINITION", "NONE"],
        ignore_case = true,
        help_heading = HEADING
    )]
    propagate_tags: Option<String>,

    /// A subnet for tasks in network mode awsvpc; repeatable
    #[arg(long, value_name = "ID", help_heading = HEADING)]
    subnet: Vec<String>,

    /// A security group for tasks in network mode awsvpc; repeatable
    #[arg(long, value_name = "ID", requires = "subnet", help_heading = HEADING)]
    security_group: Vec<String>,

    /// A JSON or YAML file with members of the request; `-` is stdin; flags win over it
    #[arg(long, visible_alias = "input", value_name = "FILE", help_heading = HEADING)]
    cli_input_json: Option<String>,
}

impl Settings {
    /// The members that the file and the flags give; `T` is the request that the file is checked against.
    pub(crate) fn members<T: DeserializeOwned + Serialize>(&self) -> Result<Map<String, Value>, Failure> {
        let mut members = match &self.cli_input_json {
            Some(path) => input::read_object(path)?,
            None => Map::new(),
        };
        input::refuse_unknown::<T>(&members)?;
        self.lay_over(&mut members);
        Ok(members)
    }

    fn lay_over(&self, members: &mut Map<String, Value>) {
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        set("placementStrategy", some_list(&self.placement_strategy));
        set("placementConstraints", some_list(&self.placement_constraint));
        set("loadBalancers", some_list(&self.load_balancer));
        set("healthCheckGracePeriodSeconds", self.health_check_grace_period.map(|seconds| json!(seconds)));
        set("propagateTags", self.propagate_tags.as_ref().map(|source| json!(source.to_uppercase())));
        set("networkConfiguration", self.network());
        let deployment = self.deployment();
        if !deployment.is_empty() {
            // Beside the other members of the file's deployment configuration, not instead of them.
            let slot = members.entry("deploymentConfiguration").or_insert_with(|| json!({}));
            if let Value::Object(configuration) = slot {
                configuration.extend(deployment);
            }
        }
    }

    fn network(&self) -> Option<Value> {
        if self.subnet.is_empty() {
            return None;
        }
        let mut vpc = json!({"subnets": self.subnet});
        if !self.security_group.is_empty() {
            vpc["securityGroups"] = json!(self.security_group);
        }
        Some(json!({ "awsvpcConfiguration": vpc }))
    }

    fn deployment(&self) -> Map<String, Value> {
        let mut members = Map::new();
        if let Some(percent) = self.min_healthy {
            members.insert("minimumHealthyPercent".to_owned(), json!(percent));
        }
        if let Some(percent) = self.max_percent {
            members.insert("maximumPercent".to_owned(), json!(percent));
        }
        if let Some(mode) = &self.circuit_breaker {
            let breaker = json!({"enable": mode != "off", "rollback": mode == "rollback"});
            members.insert("deploymentCircuitBreaker".to_owned(), breaker);
        }
        members
    }
}

fn some_list(items: &[Value]) -> Option<Value> {
    (!items.is_empty()).then(|| json!(items))
}

/// `spread:attribute:ecs.availability-zone`, `binpack:memory`, `random`.
fn placement_strategy(text: &str) -> Result<Value, String> {
    match text.split_once(':') {
        None if text == "random" => Ok(json!({"type": "random"})),
        Some((kind @ ("spread" | "binpack"), field)) if !field.is_empty() => {
            Ok(json!({"type": kind, "field": field}))
        }
        _ => Err("expected spread:FIELD, binpack:cpu, binpack:memory or random".to_owned()),
    }
}

/// `distinctInstance`, `memberOf:attribute:rack == a`.
fn placement_constraint(text: &str) -> Result<Value, String> {
    match text.split_once(':') {
        None if text == "distinctInstance" => Ok(json!({"type": "distinctInstance"})),
        Some(("memberOf", expression)) if !expression.is_empty() => {
            Ok(json!({"type": "memberOf", "expression": expression}))
        }
        _ => Err("expected distinctInstance or memberOf:EXPRESSION".to_owned()),
    }
}

fn load_balancer(text: &str) -> Result<Value, String> {
    const MEMBERS: [&str; 4] = ["targetGroupArn", "loadBalancerName", "containerName", "containerPort"];
    input::shorthand(text, &MEMBERS, &["containerPort"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_is_written_as_one_word() {
        let check = |found: Result<Value, String>, expected: Option<Value>| assert_eq!(found.ok(), expected);
        check(placement_strategy("random"), Some(json!({"type": "random"})));
        check(placement_strategy("binpack:memory"), Some(json!({"type": "binpack", "field": "memory"})));
        check(
            placement_strategy("spread:attribute:ecs.availability-zone"),
            Some(json!({"type": "spread", "field": "attribute:ecs.availability-zone"})),
        );
        check(placement_strategy("spread"), None);
        check(placement_strategy("pack:cpu"), None);
        check(placement_constraint("distinctInstance"), Some(json!({"type": "distinctInstance"})));
        check(
            placement_constraint("memberOf:attribute:rack == a"),
            Some(json!({"type": "memberOf", "expression": "attribute:rack == a"})),
        );
        check(placement_constraint("memberOf:"), None);
    }

    #[test]
    fn flags_win_and_leave_the_rest_of_the_file() {
        let settings = Settings {
            min_healthy: Some(50),
            circuit_breaker: Some("rollback".into()),
            subnet: vec!["subnet-1".into()],
            ..Settings::default()
        };
        let file = json!({
            "deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 150},
            "enableECSManagedTags": true,
        });
        let Value::Object(mut members) = file else { unreachable!() };
        settings.lay_over(&mut members);
        assert_eq!(
            Value::Object(members),
            json!({
                "deploymentConfiguration": {
                    "minimumHealthyPercent": 50, "maximumPercent": 150,
                    "deploymentCircuitBreaker": {"enable": true, "rollback": true},
                },
                "enableECSManagedTags": true,
                "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
            })
        );
    }

    #[test]
    fn what_is_not_given_is_not_sent() {
        let mut members = Map::new();
        Settings::default().lay_over(&mut members);
        assert!(members.is_empty());
    }
}
