//! The load balancers of a service: which port of which container is in which target group.
//!
//! What can be told from the task definition is checked here. Whether a target group exists, and what it takes, is known
//! to its load balancer alone; the shell asks that before a call is decided, and [`check_group`] says what it means.

use std::collections::BTreeSet;

use ecsr_api::ecs;

use super::supported::unsupported;
use crate::refusal::{Refusal, invalid};

/// Most target groups of one service. ECS allows five; ours is only a bound on what one call may make of the state.
pub const LOAD_BALANCERS_MAX: usize = 100;

/// Longest ARN of a target group, in bytes: well above AWS's, whose parts have 32 letters.
const ARN_LENGTH_MAX: usize = 512;

/// What is known of a target group by its load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// `instance`, `ip`, `lambda` or `alb`.
    pub target_type: String,
    /// Whether a listener or a rule forwards to it.
    pub has_load_balancer: bool,
}

/// The load balancers as given, if they fit the task definition.
pub(super) fn checked(
    given: &[ecs::LoadBalancer],
    definition: &ecs::TaskDefinition,
) -> Result<Vec<ecs::LoadBalancer>, Refusal> {
    if given.len() > LOAD_BALANCERS_MAX {
        return Err(invalid(format!("load balancers can have at most {LOAD_BALANCERS_MAX} items.")));
    }
    let mut seen = BTreeSet::new();
    for balancer in given {
        check(balancer, definition)?;
        let same = (&balancer.target_group_arn, &balancer.container_name, balancer.container_port);
        if !seen.insert(same) {
            return Err(invalid("load balancers should not contain duplicates."));
        }
    }
    Ok(given.to_vec())
}

fn check(balancer: &ecs::LoadBalancer, definition: &ecs::TaskDefinition) -> Result<(), Refusal> {
    if balancer.advanced_configuration.is_some() {
        return Err(unsupported("loadBalancers.advancedConfiguration"));
    }
    if let Some(name) = balancer.load_balancer_name.as_deref().filter(|name| !name.is_empty()) {
        return Err(invalid(format!("The load balancer {name} does not exist.")));
    }
    let arn = balancer.target_group_arn.as_deref().unwrap_or_default();
    if arn.is_empty() {
        return Err(invalid("Target group ARN can not be blank."));
    }
    if arn.len() > ARN_LENGTH_MAX || !arn.starts_with("arn:") || !arn.contains(":targetgroup/") {
        return Err(invalid(format!(
            "Invalid target group ARN: {}",
            arn.chars().take(ARN_LENGTH_MAX).collect::<String>()
        )));
    }
    let name = balancer.container_name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(invalid("Container name can not be blank."));
    }
    let containers = definition.container_definitions.iter().flatten();
    let container = containers
        .into_iter()
        .find(|one| one.name.as_deref() == Some(name))
        .ok_or_else(|| invalid(format!("The container {name} does not exist in the task definition.")))?;
    let port = balancer.container_port.ok_or_else(|| invalid("Container port can not be blank."))?;
    let mapped = container.port_mappings.iter().flatten().any(|mapping| mapping.container_port == Some(port));
    if mapped && u16::try_from(port).is_ok() {
        Ok(())
    } else {
        Err(invalid(format!("The container {name} did not have a container port {port} defined.")))
    }
}

/// Whether tasks of such a network mode can be registered in a group; `None` is a group that does not exist. Unlike ECS,
/// ecsr registers tasks that share their host's address in groups of addresses too.
pub fn check_group(arn: &str, facts: Option<&GroupFacts>, network_mode: &str) -> Result<(), Refusal> {
    let Some(facts) = facts else {
        return Err(invalid(format!("The target group with targetGroupArn {arn} does not exist.")));
    };
    let fits = match facts.target_type.as_str() {
        "ip" => true,
        "instance" => network_mode != "awsvpc",
        _ => false,
    };
    if !fits {
        return Err(invalid(format!(
            "The provided target group {arn} has target type {}, which is incompatible with the {network_mode} network \
             mode specified in the task definition.",
            facts.target_type
        )));
    }
    if facts.has_load_balancer {
        Ok(())
    } else {
        Err(invalid(format!(
            "The target group with targetGroupArn {arn} does not have an associated load balancer."
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> ecs::TaskDefinition {
        let mapping = ecs::PortMapping { container_port: Some(80), ..ecs::PortMapping::default() };
        let web = ecs::ContainerDefinition {
            name: Some("web".into()),
            port_mappings: Some(vec![mapping]),
            ..ecs::ContainerDefinition::default()
        };
        ecs::TaskDefinition { container_definitions: Some(vec![web]), ..ecs::TaskDefinition::default() }
    }

    fn balancer(container: &str, port: i32) -> ecs::LoadBalancer {
        ecs::LoadBalancer {
            target_group_arn: Some(
                "arn:aws:elasticloadbalancing:r:1:targetgroup/web/0123456789abcdef".into(),
            ),
            container_name: Some(container.into()),
            container_port: Some(port),
            ..ecs::LoadBalancer::default()
        }
    }

    #[test]
    fn a_load_balancer_names_a_port_of_the_definition() {
        let refused = |given: &[ecs::LoadBalancer]| checked(given, &definition()).unwrap_err().to_string();
        assert_eq!(checked(&[balancer("web", 80)], &definition()), Ok(vec![balancer("web", 80)]));
        assert_eq!(
            refused(&[balancer("api", 80)]),
            "The container api does not exist in the task definition."
        );
        assert_eq!(
            refused(&[balancer("web", 81)]),
            "The container web did not have a container port 81 defined."
        );
        assert_eq!(
            refused(&[balancer("web", 80), balancer("web", 80)]),
            "load balancers should not contain duplicates."
        );
        let classic = ecs::LoadBalancer { load_balancer_name: Some("old".into()), ..balancer("web", 80) };
        assert_eq!(refused(&[classic]), "The load balancer old does not exist.");
    }

    #[test]
    fn a_group_must_exist_serve_and_fit() {
        let facts = |target_type: &str, has_load_balancer| GroupFacts {
            target_type: target_type.into(),
            has_load_balancer,
        };
        let check = |facts: Option<&GroupFacts>, mode| {
            check_group("arn:g", facts, mode).map_err(|error| error.to_string())
        };
        assert_eq!(check(Some(&facts("instance", true)), "bridge"), Ok(()));
        assert_eq!(check(Some(&facts("ip", true)), "host"), Ok(()));
        assert_eq!(
            check(Some(&facts("instance", true)), "awsvpc").unwrap_err(),
            "The provided target group arn:g has target type instance, which is incompatible with the awsvpc network mode \
             specified in the task definition."
        );
        assert_eq!(
            check(Some(&facts("ip", false)), "bridge").unwrap_err(),
            "The target group with targetGroupArn arn:g does not have an associated load balancer."
        );
        assert_eq!(
            check(None, "bridge").unwrap_err(),
            "The target group with targetGroupArn arn:g does not exist."
        );
    }
}
