//! Log drivers and FireLens routers.

use ecsr_api::ecs;

use super::container::is_blank;
use super::{bad_setting, check_enum, containers};
use crate::refusal::{Refusal, client};

/// Options without which a driver cannot work, in the order in which ECS names them.
const REQUIRED_OPTIONS: [(&str, &[&str]); 2] =
    [("awslogs", &["awslogs-region", "awslogs-group"]), ("splunk", &["splunk-url", "splunk-token"])];

/// Checks the log configuration and the router role of one container.
pub(super) fn check_container(container: &ecs::ContainerDefinition) -> Result<(), Refusal> {
    if let Some(firelens) = &container.firelens_configuration {
        let kind = firelens.r#type.as_deref().unwrap_or_default();
        check_enum("firelensConfiguration.type", Some(kind), ecs::enums::FIRELENS_CONFIGURATION_TYPE)?;
    }
    let Some(log) = &container.log_configuration else { return Ok(()) };
    let driver = log.log_driver.as_deref().unwrap_or_default();
    check_enum("logConfiguration.logDriver", Some(driver), ecs::enums::LOG_DRIVER)?;
    let secrets = log.secret_options.as_deref().unwrap_or_default();
    let incomplete =
        |secret: &ecs::Secret| is_blank(secret.name.as_deref()) || is_blank(secret.value_from.as_deref());
    if secrets.iter().any(incomplete) {
        return Err(bad_setting("logConfiguration.secretOptions", container));
    }
    let Some((_, required)) = REQUIRED_OPTIONS.iter().find(|(name, _)| *name == driver) else {
        return Ok(());
    };
    if required.iter().all(|option| has_option(log, option)) {
        return Ok(());
    }
    Err(client(format!("Log driver {driver} requires options: {}", required.join(", "))))
}

/// Checks what the containers' logging needs of each other.
pub(super) fn check_task(definition: &ecs::TaskDefinition) -> Result<(), Refusal> {
    let containers = containers(definition);
    let routers = containers.iter().filter(|container| container.firelens_configuration.is_some()).count();
    if routers > 1 {
        return Err(client("Only one container of a task can have a firelensConfiguration."));
    }
    let routed = containers.iter().any(|container| driver(container) == Some("awsfirelens"));
    if routed && routers == 0 {
        return Err(client("Log driver awsfirelens requires a container with a firelensConfiguration."));
    }
    Ok(())
}

/// The name of a container's log driver, if it has one.
pub(super) fn driver(container: &ecs::ContainerDefinition) -> Option<&str> {
    container.log_configuration.as_ref()?.log_driver.as_deref()
}

fn has_option(log: &ecs::LogConfiguration, name: &str) -> bool {
    let given = log.options.as_ref().and_then(|options| options.get(name));
    let secrets = log.secret_options.as_deref().unwrap_or_default();
    given.is_some_and(|value| !value.is_empty())
        || secrets.iter().any(|secret| secret.name.as_deref() == Some(name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{
        check_accepted, check_container_accepted, check_container_refusal, check_refusal,
    };

    fn log(driver: &str, options: Value) -> Value {
        let mut log = json!({"logConfiguration": {"logDriver": driver}});
        log["logConfiguration"]["options"] = options;
        log
    }

    #[test]
    fn drivers_and_their_options() {
        check_container_accepted(log("json-file", json!({"max-size": "10m"})));
        check_container_accepted(log(
            "awslogs",
            json!({"awslogs-region": "us-east-1", "awslogs-group": "g"}),
        ));
        check_container_refusal(
            log("awslogs", json!({"awslogs-group": "g"})),
            "Log driver awslogs requires options: awslogs-region, awslogs-group",
        );
        check_container_refusal(
            log("local", json!({})),
            "Invalid value 'local' for logConfiguration.logDriver. Valid values are: json-file, syslog, journald, \
             gelf, fluentd, awslogs, splunk, awsfirelens.",
        );
        let token = json!([{"name": "splunk-token", "valueFrom": "p"}]);
        let mut splunk = log("splunk", json!({"splunk-url": "https://s"}));
        check_container_refusal(
            splunk.clone(),
            "Log driver splunk requires options: splunk-url, splunk-token",
        );
        splunk["logConfiguration"]["secretOptions"] = token;
        check_container_accepted(splunk);
    }

    #[test]
    fn firelens_needs_exactly_one_router() {
        let app = json!({"name": "app", "image": "i", "memory": 8, "logConfiguration": {"logDriver": "awsfirelens"}});
        let router = |name: &str| json!({"name": name, "image": "i", "memory": 8, "firelensConfiguration": {"type": "fluentbit"}});
        check_accepted(json!({"containerDefinitions": [app, router("r")]}));
        check_refusal(
            json!({"containerDefinitions": [app]}),
            "Log driver awsfirelens requires a container with a firelensConfiguration.",
        );
        check_refusal(
            json!({"containerDefinitions": [router("r"), router("s")]}),
            "Only one container of a task can have a firelensConfiguration.",
        );
    }
}
