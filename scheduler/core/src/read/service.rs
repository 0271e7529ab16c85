//! DescribeServices and ListServices.

use std::ops::Bound;

use ecsr_api::arn::Resource;
use ecsr_api::ecs::{self, Operation, enums};

use super::page::{Asked, Page, start};
use super::{checked, named, show_tags};
use crate::ids::{Name, ServiceKey};
use crate::refusal::Refusal;
use crate::resolve;
use crate::state::{Service, ServiceStatus, State};
use crate::view::{self, arn};

/// Services in one DescribeServices.
const DESCRIBED_MAX: usize = 10;
/// Services in one page when the caller does not say how many; less than of other things.
const PAGE_DEFAULT: i32 = 10;

/// In the order of the request, DRAINING and INACTIVE ones included.
pub(super) fn describe(
    state: &State,
    request: &ecs::DescribeServicesRequest,
) -> Result<ecs::DescribeServicesResponse, Refusal> {
    let cluster = &resolve::cluster(state, request.cluster.as_deref())?.name;
    let asked = named("Services", request.services.as_ref(), DESCRIBED_MAX)?;
    let show = show_tags(request.include.as_ref(), enums::SERVICE_FIELD)?;
    let (mut services, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        let key = resolve::service_key(state, cluster, text)?;
        match state.services.get(&key) {
            Some(found) => services.push(view::service(state, found, show)),
            None => failures.push(view::missing(missing_arn(state, &key, text))),
        }
    }
    Ok(ecs::DescribeServicesResponse { services: Some(services), failures: Some(failures) })
}

/// ECS repeats an ARN as it was given; a bare name becomes an ARN without the cluster.
fn missing_arn(state: &State, key: &ServiceKey, text: &str) -> String {
    if text.starts_with("arn:") {
        return text.to_owned();
    }
    let resource = Resource::Service { cluster: None, name: key.name.to_string() };
    state.home.arn(resource).to_string()
}

/// ACTIVE services by name.
pub(super) fn list(
    state: &State,
    request: &ecs::ListServicesRequest,
) -> Result<ecs::ListServicesResponse, Refusal> {
    let cluster = &resolve::cluster(state, request.cluster.as_deref())?.name;
    let filter = Filter::read(request)?;
    let filters = ecs::ListServicesRequest { max_results: None, next_token: None, ..request.clone() };
    let asked = Asked {
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
        default: PAGE_DEFAULT,
    };
    let page = Page::<String>::open(Operation::ListServices, &filters, &asked)?;
    let key = |name: &str| ServiceKey { cluster: cluster.clone(), name: Name::from(name) };
    let from = start(page.after().map(|after| key(after)), key(""));
    let services = state.services.range((from, Bound::Unbounded)).map(|(_, service)| service);
    let (arns, next_token) = page.fill(
        services.take_while(|service| service.key.cluster == *cluster),
        |service| service.key.name.to_string(),
        |service| filter.passes(service).then(|| arn::service(state, &service.key)),
    );
    Ok(ecs::ListServicesResponse { service_arns: Some(arns), next_token })
}

struct Filter<'a> {
    launch_type: Option<&'a str>,
    scheduling: Option<&'a str>,
    resource_management: Option<&'a str>,
}

impl<'a> Filter<'a> {
    fn read(request: &'a ecs::ListServicesRequest) -> Result<Self, Refusal> {
        let management = request.resource_management_type.as_ref();
        Ok(Self {
            launch_type: checked("launchType", request.launch_type.as_ref(), enums::LAUNCH_TYPE)?,
            scheduling: checked(
                "schedulingStrategy",
                request.scheduling_strategy.as_ref(),
                enums::SCHEDULING_STRATEGY,
            )?,
            resource_management: checked(
                "resourceManagementType",
                management,
                enums::RESOURCE_MANAGEMENT_TYPE,
            )?,
        })
    }

    /// All services of ours are managed by their owners, whom ECS calls CUSTOMER.
    fn passes(&self, service: &Service) -> bool {
        let active = match service.status {
            ServiceStatus::Active => true,
            ServiceStatus::Draining | ServiceStatus::Inactive => false,
        };
        active
            && self.launch_type.is_none_or(|wanted| wanted == service.spec.launch_type.as_str())
            && self.scheduling.is_none_or(|wanted| wanted == service.spec.scheduling.as_str())
            && self.resource_management.is_none_or(|wanted| wanted == "CUSTOMER")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{ask, last_parts};
    use super::*;
    use crate::view::testing::World;

    #[test]
    fn describing_keeps_the_order_and_names_what_is_missing() {
        let mut world = World::with_service();
        world.add_service("old", ServiceStatus::Inactive);
        let long = "arn:aws:ecs:us-east-1:123456789012:service/prod/lost";
        let request = json!({"cluster": "prod", "services": ["web", "gone", "old", long]});
        let answer = ask(&world.state, Operation::DescribeServices, &request).unwrap();
        let names: Vec<_> =
            answer["services"].as_array().unwrap().iter().map(|one| &one["serviceName"]).collect();
        assert_eq!(names, ["web", "old"]);
        assert_eq!(
            answer["failures"],
            json!([
                {"arn": "arn:aws:ecs:us-east-1:123456789012:service/gone", "reason": "MISSING"},
                {"arn": long, "reason": "MISSING"}
            ])
        );
    }

    #[test]
    fn describing_refuses_what_it_cannot_mean() {
        let world = World::with_service();
        let check = |request: Value, refused: &str| {
            assert_eq!(ask(&world.state, Operation::DescribeServices, &request), Err(refused.to_owned()));
        };
        check(json!({"services": ["web"]}), "Cluster not found.");
        check(json!({"cluster": "prod", "services": []}), "Services cannot be empty.");
        check(json!({"cluster": "prod", "services": vec!["a"; 11]}), "Services can have at most 10 items.");
        check(
            json!({"cluster": "prod", "services": ["arn:aws:ecs:us-east-1:123456789012:service/dev/web"]}),
            "Invalid identifier: Identifier is for cluster dev. Your cluster is prod",
        );
        check(
            json!({"cluster": "prod", "services": ["arn:aws:ecs:us-east-1:123456789012:task/prod/web"]}),
            "Service Identifier is invalid.",
        );
    }

    #[test]
    fn listing_gives_ten_active_services_at_a_time() {
        let mut world = World::with_service();
        for number in 0..11 {
            world.add_service(&format!("s{number:02}"), ServiceStatus::Active);
        }
        world.add_service("gone", ServiceStatus::Inactive);
        world.add_service("leaving", ServiceStatus::Draining);
        let page = |token: &Value| {
            let request = json!({"cluster": "prod", "nextToken": token});
            ask(&world.state, Operation::ListServices, &request).unwrap()
        };
        let first = page(&Value::Null);
        assert_eq!(last_parts(&first, "serviceArns").len(), 10);
        assert_eq!(last_parts(&page(&first["nextToken"]), "serviceArns"), ["s10", "web"]);
    }

    #[test]
    fn filters_all_apply() {
        let world = World::with_service();
        let check = |filters: Value, expected: &[&str]| {
            let mut request = filters;
            request["cluster"] = json!("prod");
            let answer = ask(&world.state, Operation::ListServices, &request).unwrap();
            assert_eq!(last_parts(&answer, "serviceArns"), expected, "{request}");
        };
        check(json!({"launchType": "EC2", "schedulingStrategy": "REPLICA"}), &["web"]);
        check(json!({"launchType": "FARGATE"}), &[]);
        check(json!({"schedulingStrategy": "DAEMON"}), &[]);
        check(json!({"resourceManagementType": "ECS"}), &[]);
    }
}
