//! Clients that write without pause, and the book that they keep: what was asked for, and what was acknowledged.
//!
//! What was asked for and not answered may have happened or not. It is asked for again after the scheduler is back,
//! with the same client token, and must have happened once then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ecsr_tests::{Api, ApiError};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::local::{CLUSTER, list_all};

/// The definition that tasks and services are of.
pub const DEFINITION: &str = "base";

/// Most things that a Describe call takes.
const DESCRIBED_MAX: usize = 100;
/// Most services that DescribeServices takes.
const SERVICES_MAX: usize = 10;

/// One write, told from every other by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    Cluster(usize),
    Definition(usize),
    Service(usize),
    Task(usize),
    /// A tag of the client's own cluster takes the number for its value.
    Tag {
        client: usize,
        number: usize,
    },
}

/// What all clients of a test know together.
#[derive(Debug)]
pub struct Book {
    numbers: AtomicUsize,
    acknowledged: watch::Sender<usize>,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    /// With the ARN that the answer named.
    acknowledged: BTreeMap<Write, String>,
    unsure: BTreeSet<Write>,
    /// Acknowledged since the last look.
    fresh: Vec<(Write, String)>,
}

impl Default for Book {
    fn default() -> Self {
        Self { numbers: AtomicUsize::new(0), acknowledged: watch::Sender::new(0), pages: Mutex::default() }
    }
}

impl Book {
    /// How many writes were acknowledged.
    pub fn count(&self) -> usize {
        *self.acknowledged.borrow()
    }

    /// Waits until so many were.
    pub async fn reaches(&self, count: usize) {
        let mut acknowledged = self.acknowledged.subscribe();
        acknowledged.wait_for(|now| *now >= count).await.expect("the book is held");
    }

    /// Everything acknowledged up to now.
    pub fn acknowledged(&self) -> BTreeMap<Write, String> {
        self.pages().acknowledged.clone()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, client: usize) -> Write {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        match number % 10 {
            0..3 => Write::Cluster(number),
            3..5 => Write::Definition(number),
            5..7 => Write::Service(number),
            7 => Write::Task(number),
            _ => Write::Tag { client, number },
        }
    }

    fn acknowledge(&self, write: Write, arn: String) {
        let mut pages = self.pages();
        pages.unsure.remove(&write);
        pages.fresh.push((write, arn.clone()));
        let known = pages.acknowledged.insert(write, arn);
        assert_eq!(known, None, "{write:?} is acknowledged once");
        drop(pages);
        self.acknowledged.send_modify(|count| *count += 1);
    }

    /// Writes until the scheduler is gone. Refusals by a scheduler that cannot write are taken as no answer.
    pub async fn write_on(&self, api: &Api, client: usize) {
        loop {
            let write = self.next(client);
            self.pages().unsure.insert(write);
            match write.ask(api).await {
                Ok(arn) => self.acknowledge(write, arn),
                Err(ApiError::Unreachable(_)) => return,
                Err(error) => panic!("{write:?}: {error}"),
            }
        }
    }

    /// Asks again for what was not answered, and looks at everything that was acknowledged since the last time.
    pub async fn settle(&self, api: &Api) {
        let unsure = std::mem::take(&mut self.pages().unsure);
        // A definition has no token: it may be there or not, which the last look at everything allows for. A tag asked
        // for again would undo what came after it.
        for write in unsure.into_iter().filter(|write| matches!(write, Write::Service(_) | Write::Task(_))) {
            let arn = write.ask(api).await.unwrap_or_else(|error| panic!("{write:?}, asked again: {error}"));
            self.acknowledge(write, arn);
        }
        let fresh = std::mem::take(&mut self.pages().fresh);
        assert_there(api, &fresh).await;
    }

    /// Looks at everything: what was acknowledged is there, and nothing is there twice.
    pub async fn audit(&self, api: &Api) {
        let acknowledged: Vec<_> = self.acknowledged().into_iter().collect();
        assert_there(api, &acknowledged).await;
        for (operation, member) in [
            ("ListClusters", "clusterArns"),
            ("ListTaskDefinitions", "taskDefinitionArns"),
            ("ListServices", "serviceArns"),
            ("ListTasks", "taskArns"),
        ] {
            let arns = list_all(api, operation, json!({}), member).await;
            let distinct: BTreeSet<_> = arns.iter().collect();
            assert_eq!(distinct.len(), arns.len(), "{operation} names something twice");
        }
        let mut tasks = Vec::new();
        for status in ["RUNNING", "STOPPED"] {
            tasks.extend(list_all(api, "ListTasks", json!({"desiredStatus": status}), "taskArns").await);
        }
        let mut starters = BTreeSet::new();
        for arns in tasks.chunks(DESCRIBED_MAX) {
            let described = api.call("DescribeTasks", json!({"tasks": arns})).await;
            for task in described["tasks"].as_array().into_iter().flatten() {
                let starter = task["startedBy"].as_str().unwrap_or_default();
                assert!(starters.insert(starter.to_owned()), "two tasks of {starter}");
            }
        }
    }
}

impl Write {
    /// Makes the call; answers the ARN of what it made.
    async fn ask(self, api: &Api) -> Result<String, ApiError> {
        let (operation, input) = self.request();
        let answer = api.try_call(operation, input).await?;
        let arn = match self {
            Write::Cluster(_) => &answer["cluster"]["clusterArn"],
            Write::Definition(_) => &answer["taskDefinition"]["taskDefinitionArn"],
            Write::Service(_) => &answer["service"]["serviceArn"],
            Write::Task(_) => &answer["tasks"][0]["taskArn"],
            Write::Tag { .. } => return Ok(String::new()),
        };
        Ok(arn.as_str().unwrap_or_else(|| panic!("{self:?}: {answer}")).to_owned())
    }

    fn request(self) -> (&'static str, Value) {
        match self {
            Write::Cluster(number) => ("CreateCluster", json!({"clusterName": format!("cluster-{number}")})),
            Write::Definition(number) => {
                let container = json!({"name": "web", "image": "none", "memory": 6});
                let family = format!("family-{number}");
                ("RegisterTaskDefinition", json!({"family": family, "containerDefinitions": [container]}))
            }
            Write::Service(number) => (
                "CreateService",
                json!({
                    "cluster": CLUSTER,
                    "serviceName": format!("service-{number}"),
                    "taskDefinition": DEFINITION,
                    "desiredCount": 0,
                    "clientToken": format!("service-{number}"),
                }),
            ),
            Write::Task(number) => (
                "RunTask",
                json!({
                    "cluster": CLUSTER,
                    "taskDefinition": DEFINITION,
                    "startedBy": format!("write-{number}"),
                    "clientToken": format!("task-{number}"),
                }),
            ),
            Write::Tag { client, number } => (
                "TagResource",
                json!({
                    "resourceArn": own_cluster_arn(client),
                    "tags": [{"key": "newest", "value": number.to_string()}],
                }),
            ),
        }
    }
}

fn own_cluster(client: usize) -> String {
    format!("own-{client}")
}

fn own_cluster_arn(client: usize) -> String {
    format!("arn:aws:ecs:us-east-1:123456789012:cluster/{}", own_cluster(client))
}

/// What the writes of so many clients rest on.
pub async fn lay_ground(api: &Api, clients: usize) {
    let container = json!({"name": "web", "image": "none", "memory": 6});
    let definition = json!({"family": DEFINITION, "containerDefinitions": [container]});
    api.call("RegisterTaskDefinition", definition).await;
    for client in 0..clients {
        api.call("CreateCluster", json!({"clusterName": own_cluster(client)})).await;
    }
}

/// Looks whether all of these are there, as they were acknowledged.
pub async fn assert_there(api: &Api, writes: &[(Write, String)]) {
    let of = |pick: fn(&Write) -> bool| {
        writes.iter().filter(|(write, _)| pick(write)).map(|(_, arn)| arn.clone()).collect::<Vec<_>>()
    };
    let clusters = of(|write| matches!(write, Write::Cluster(_)));
    for (operation, key, answer, arn, batch, arns) in [
        ("DescribeClusters", "clusters", "clusters", "clusterArn", DESCRIBED_MAX, clusters),
        (
            "DescribeServices",
            "services",
            "services",
            "serviceArn",
            SERVICES_MAX,
            of(|w| matches!(w, Write::Service(_))),
        ),
        ("DescribeTasks", "tasks", "tasks", "taskArn", DESCRIBED_MAX, of(|w| matches!(w, Write::Task(_)))),
    ] {
        for arns in arns.chunks(batch) {
            let described = api.call(operation, json!({"cluster": CLUSTER, key: arns})).await;
            let found: BTreeSet<_> = described[answer]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|one| one[arn].as_str())
                .collect();
            let missing: Vec<_> = arns.iter().filter(|arn| !found.contains(arn.as_str())).collect();
            assert!(missing.is_empty(), "{operation}: lost, though acknowledged: {missing:?}");
        }
    }
    let known: BTreeSet<_> =
        list_all(api, "ListTaskDefinitions", json!({}), "taskDefinitionArns").await.into_iter().collect();
    let missing: Vec<_> = of(|write| matches!(write, Write::Definition(_)))
        .into_iter()
        .filter(|arn| !known.contains(arn))
        .collect();
    assert!(missing.is_empty(), "task definitions are lost, though acknowledged: {missing:?}");
    assert_tags(api, writes).await;
}

/// A tag has the value that was acknowledged last, or one that was asked for later.
async fn assert_tags(api: &Api, writes: &[(Write, String)]) {
    let mut newest = BTreeMap::new();
    for (write, _) in writes {
        if let Write::Tag { client, number } = write {
            let last = newest.entry(*client).or_insert(*number);
            *last = (*last).max(*number);
        }
    }
    for (client, expected) in newest {
        let tags = api.call("ListTagsForResource", json!({"resourceArn": own_cluster_arn(client)})).await;
        let value = tags["tags"][0]["value"].as_str().and_then(|value| value.parse::<usize>().ok());
        assert!(value.is_some_and(|value| value >= expected), "client {client}: {value:?}, after {expected}");
    }
}
