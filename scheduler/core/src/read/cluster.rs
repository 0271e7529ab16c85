//! DescribeClusters and ListClusters.

use ecsr_api::ecs::{self, Operation};

use super::at_most;
use super::page::{Asked, PAGE_MAX, Page, start};
use crate::ids::Name;
use crate::names;
use crate::refusal::Refusal;
use crate::resolve;
use crate::state::{ClusterStatus, State};
use crate::view::{self, ClusterFields, arn};

/// Clusters in one DescribeClusters.
const DESCRIBED_MAX: usize = 100;

/// No names at all mean the default cluster. INACTIVE clusters are shown while they are remembered.
pub(super) fn describe(
    state: &State,
    request: &ecs::DescribeClustersRequest,
) -> Result<ecs::DescribeClustersResponse, Refusal> {
    let asked = request.clusters.as_deref().unwrap_or_default();
    at_most("Clusters", asked, DESCRIBED_MAX)?;
    let include = fields(request.include.as_ref())?;
    let default = [resolve::DEFAULT_CLUSTER.to_owned()];
    let asked = if asked.is_empty() { &default } else { asked };
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        match resolve::cluster_name(state, Some(text)) {
            Ok(name) => match state.clusters.get(&name) {
                Some(found) => clusters.push(view::cluster(state, found, include)),
                None => failures.push(view::missing(arn::cluster(state, &name))),
            },
            // Well-formed, but of another account or region.
            Err(Refusal::ClusterNotFound) => failures.push(view::missing(text)),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(ecs::DescribeClustersResponse { clusters: Some(clusters), failures: Some(failures) })
}

fn fields(include: Option<&Vec<String>>) -> Result<ClusterFields, Refusal> {
    let mut fields = ClusterFields::default();
    for field in include.into_iter().flatten() {
        names::one_of("include", field, ecs::enums::CLUSTER_FIELD)?;
        match field.as_str() {
            "CONFIGURATIONS" => fields.configurations = true,
            "SETTINGS" => fields.settings = true,
            "STATISTICS" => fields.statistics = true,
            "TAGS" => fields.tags = true,
            // ATTACHMENTS are those of Auto Scaling groups, which no cluster of ours has.
            _ => {}
        }
    }
    Ok(fields)
}

/// ACTIVE clusters by name.
pub(super) fn list(
    state: &State,
    request: &ecs::ListClustersRequest,
) -> Result<ecs::ListClustersResponse, Refusal> {
    let asked = Asked {
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
        default: PAGE_MAX,
    };
    let page = Page::<String>::open(Operation::ListClusters, &(), &asked)?;
    let from = start(page.after().map(|after| Name::from(after.as_str())), Name::from(""));
    let clusters = state.clusters.range((from, std::ops::Bound::Unbounded));
    let (arns, next_token) = page.fill(
        clusters,
        |(name, _)| name.to_string(),
        |(name, cluster)| match cluster.status {
            ClusterStatus::Active => Some(arn::cluster(state, name)),
            ClusterStatus::Inactive => None,
        },
    );
    Ok(ecs::ListClustersResponse { cluster_arns: Some(arns), next_token })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{ask, last_parts};
    use super::*;
    use crate::view::testing::World;

    #[test]
    fn describing_shows_what_is_there_and_names_what_is_missing() {
        let mut world = World::with_service();
        world.add_cluster("old", ClusterStatus::Inactive);
        let check = |request, shown: &[&str], missing: &[&str]| {
            let answer = ask(&world.state, Operation::DescribeClusters, &request).unwrap();
            let member = |list: &str, member: &str| -> Vec<String> {
                let items = answer[list].as_array().unwrap();
                items.iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
            };
            assert_eq!(member("clusters", "clusterName"), shown);
            assert_eq!(member("failures", "arn"), missing);
            assert!(member("failures", "reason").iter().all(|reason| reason == "MISSING"));
        };
        let arn = |name: &str| format!("arn:aws:ecs:us-east-1:123456789012:cluster/{name}");
        check(json!({}), &[], &[&arn("default")]);
        check(json!({"clusters": ["old", "prod", "gone"]}), &["old", "prod"], &[&arn("gone")]);
        check(json!({"clusters": [arn("prod")]}), &["prod"], &[]);
        let elsewhere = "arn:aws:ecs:eu-west-1:123456789012:cluster/prod";
        check(json!({"clusters": [elsewhere]}), &[], &[elsewhere]);
    }

    #[test]
    fn too_many_or_malformed_names_are_refused() {
        let world = World::empty();
        let check = |clusters: Vec<&str>, refused: &str| {
            let answer = ask(&world.state, Operation::DescribeClusters, &json!({"clusters": clusters}));
            assert_eq!(answer, Err(refused.to_owned()));
        };
        check(vec!["a"; 101], "Clusters can have at most 100 items.");
        check(vec!["a b"], "Cluster name contains invalid characters.");
        check(vec!["arn:aws:s3:::bucket"], "Invalid cluster name.");
    }

    #[test]
    fn listing_pages_through_the_active_ones() {
        let mut world = World::empty();
        for (name, status) in
            [("a", ClusterStatus::Active), ("b", ClusterStatus::Inactive), ("c", ClusterStatus::Active)]
        {
            world.add_cluster(name, status);
        }
        let page = |request| ask(&world.state, Operation::ListClusters, &request).unwrap();
        let first = page(json!({"maxResults": 2}));
        assert_eq!(last_parts(&first, "clusterArns"), ["a", "c"]);
        let second = page(json!({"maxResults": 2, "nextToken": first["nextToken"]}));
        assert_eq!(last_parts(&second, "clusterArns"), ["prod"]);
        assert!(second.get("nextToken").is_none());
    }
}
