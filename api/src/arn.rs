//! ECS resource names: building the long ARNs that ECS emits, reading every form that it accepts.
//!
//! Users pass a bare name or id, an old short ARN (without the cluster) or a long one; inside, a resource
//! is known by cluster and id alone. The `read_*` functions of [`Home`] turn the former into the latter,
//! and refuse an ARN of another kind, account, region or cluster with a typed reason, because ECS words
//! that refusal differently per operation.
//!
//! Invariant: what `Display` writes, `FromStr` reads back to the same value.

use std::fmt;
use std::str::FromStr;

/// The longest name of a cluster, service, family or container.
pub const NAME_CHARS_MAX: usize = 255;
/// The longest identifier text that is looked at: three names of full length, ids and prefixes fit well.
pub const IDENTIFIER_BYTES_MAX: usize = 2048;
/// The highest revision of a task definition: the wire's integer.
pub const REVISION_MAX: i32 = i32::MAX;

/// Where a deployment's resources live: the part of an ARN between `arn:` and the resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Home {
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

/// An ARN of the ECS service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn {
    pub home: Home,
    pub resource: Resource,
}

/// What an ECS ARN names. A cluster is `None` only in an old short form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    CapacityProvider {
        name: String,
    },
    Cluster {
        name: String,
    },
    Container {
        cluster: String,
        task: String,
        id: String,
    },
    ContainerInstance {
        cluster: Option<String>,
        id: String,
    },
    Service {
        cluster: Option<String>,
        name: String,
    },
    ServiceDeployment {
        cluster: String,
        service: String,
        id: String,
    },
    ServiceRevision {
        cluster: String,
        service: String,
        id: String,
    },
    Task {
        cluster: Option<String>,
        id: String,
    },
    TaskDefinition {
        family: String,
        revision: i32,
    },
    /// The id has the form `ecs-svc/<digits>`.
    TaskSet {
        cluster: String,
        service: String,
        id: String,
    },
}

/// A task definition as users name it; no revision means the latest ACTIVE one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskDefinitionId {
    pub family: String,
    pub revision: Option<i32>,
}

/// Why a text does not identify a resource of the wanted kind here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Neither a bare name or id nor an ECS ARN.
    #[error("the identifier is malformed")]
    Malformed,
    /// The revision after the colon is not a number from 1 up; carries it.
    #[error("{0} is not a revision number")]
    Revision(String),
    /// An ARN of another kind of resource.
    #[error("the identifier names a {found}, not a {wanted}")]
    Kind { wanted: &'static str, found: &'static str },
    /// An ARN of another partition, region or account.
    #[error("the identifier is for {}:{}", .0.region, .0.account)]
    Home(Home),
    /// An ARN within another cluster than the request names.
    #[error("the identifier is for cluster {named}, the request for {wanted}")]
    Cluster { named: String, wanted: String },
}

/// Whether `name` may name a cluster, service, family or container: 1 to 255 of `[A-Za-z0-9_-]`.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

impl Home {
    /// The partition that the region belongs to.
    pub fn partition(&self) -> &'static str {
        if self.region.starts_with("cn-") {
            "aws-cn"
        } else if self.region.starts_with("us-gov-") {
            "aws-us-gov"
        } else {
            "aws"
        }
    }

    /// The ARN of a resource that lives here.
    pub fn arn(&self, resource: Resource) -> Arn {
        Arn { home: self.clone(), resource }
    }

    /// `arn:…:cluster/<name>`
    pub fn cluster_arn(&self, name: &str) -> String {
        self.text(format_args!("cluster/{name}"))
    }

    /// `arn:…:container-instance/<cluster>/<id>`
    pub fn container_instance_arn(&self, cluster: &str, id: &str) -> String {
        self.text(format_args!("container-instance/{cluster}/{id}"))
    }

    /// `arn:…:task/<cluster>/<id>`
    pub fn task_arn(&self, cluster: &str, id: &str) -> String {
        self.text(format_args!("task/{cluster}/{id}"))
    }

    /// `arn:…:container/<cluster>/<task id>/<id>`
    pub fn container_arn(&self, cluster: &str, task: &str, id: &str) -> String {
        self.text(format_args!("container/{cluster}/{task}/{id}"))
    }

    /// `arn:…:service/<cluster>/<name>`
    pub fn service_arn(&self, cluster: &str, name: &str) -> String {
        self.text(format_args!("service/{cluster}/{name}"))
    }

    /// `arn:…:task-definition/<family>:<revision>`
    pub fn task_definition_arn(&self, family: &str, revision: i32) -> String {
        self.text(format_args!("task-definition/{family}:{revision}"))
    }

    /// `arn:…:service-deployment/<cluster>/<service>/<id>`
    pub fn service_deployment_arn(&self, cluster: &str, service: &str, id: &str) -> String {
        self.text(format_args!("service-deployment/{cluster}/{service}/{id}"))
    }

    /// `arn:…:service-revision/<cluster>/<service>/<id>`
    pub fn service_revision_arn(&self, cluster: &str, service: &str, id: &str) -> String {
        self.text(format_args!("service-revision/{cluster}/{service}/{id}"))
    }

    /// `arn:…:capacity-provider/<name>`
    pub fn capacity_provider_arn(&self, name: &str) -> String {
        self.text(format_args!("capacity-provider/{name}"))
    }

    /// The ARN of the account's root user, which account-wide settings belong to.
    pub fn root_arn(&self) -> String {
        format!("arn:{}:iam::{}:root", self.partition(), self.account)
    }

    /// The cluster's name from a name or an ARN.
    pub fn read_cluster(&self, text: &str) -> Result<String, IdentifierError> {
        match self.read(text)? {
            Read::Bare(name) => named(name),
            Read::Arn(Resource::Cluster { name }) => Ok(name),
            Read::Arn(other) => Err(other.instead_of("cluster")),
        }
    }

    /// The id of a container instance in `cluster` from an id or an ARN, old or long.
    pub fn read_container_instance(&self, cluster: &str, text: &str) -> Result<String, IdentifierError> {
        match self.read(text)? {
            Read::Bare(id) => named(id),
            Read::Arn(Resource::ContainerInstance { cluster: of, id }) => within(cluster, of, id),
            Read::Arn(other) => Err(other.instead_of("container instance")),
        }
    }

    /// The id of a task in `cluster` from an id or an ARN, old or long.
    pub fn read_task(&self, cluster: &str, text: &str) -> Result<String, IdentifierError> {
        if let Some(id) = self.id_in_own_arn("task", cluster, text) {
            return Ok(id.to_owned());
        }
        match self.read(text)? {
            Read::Bare(id) => named(id),
            Read::Arn(Resource::Task { cluster: of, id }) => within(cluster, of, id),
            Read::Arn(other) => Err(other.instead_of("task")),
        }
    }

    /// The name of a service in `cluster` from a name or an ARN, old or long.
    pub fn read_service(&self, cluster: &str, text: &str) -> Result<String, IdentifierError> {
        match self.read(text)? {
            Read::Bare(name) => named(name),
            Read::Arn(Resource::Service { cluster: of, name }) => within(cluster, of, name),
            Read::Arn(other) => Err(other.instead_of("service")),
        }
    }

    /// Family and revision from `family`, `family:revision` or an ARN.
    pub fn read_task_definition(&self, text: &str) -> Result<TaskDefinitionId, IdentifierError> {
        match self.read(text)? {
            Read::Bare(text) => match text.split_once(':') {
                None => Ok(TaskDefinitionId { family: named(text)?, revision: None }),
                Some((family, number)) => {
                    Ok(TaskDefinitionId { family: named(family)?, revision: Some(revision(number)?) })
                }
            },
            Read::Arn(Resource::TaskDefinition { family, revision }) => {
                Ok(TaskDefinitionId { family, revision: Some(revision) })
            }
            Read::Arn(other) => Err(other.instead_of("task definition")),
        }
    }

    /// The name of a capacity provider from a name or an ARN.
    pub fn read_capacity_provider(&self, text: &str) -> Result<String, IdentifierError> {
        match self.read(text)? {
            Read::Bare(name) => named(name),
            Read::Arn(Resource::CapacityProvider { name }) => Ok(name),
            Read::Arn(other) => Err(other.instead_of("capacity provider")),
        }
    }

    /// The resource that an ARN names, if it lives here.
    pub fn read_arn(&self, text: &str) -> Result<Resource, IdentifierError> {
        match self.read(text)? {
            Read::Bare(_) => Err(IdentifierError::Malformed),
            Read::Arn(resource) => Ok(resource),
        }
    }

    /// The id in a long ARN of this very place and cluster, which is what nearly all are: a call may name a hundred.
    fn id_in_own_arn<'a>(&self, kind: &str, cluster: &str, text: &'a str) -> Option<&'a str> {
        let text = text.strip_prefix("arn:")?.strip_prefix(self.partition())?.strip_prefix(":ecs:")?;
        let text = text.strip_prefix(&*self.region)?.strip_prefix(':')?.strip_prefix(&*self.account)?;
        let text = text.strip_prefix(':')?.strip_prefix(kind)?.strip_prefix('/')?;
        let id = text.strip_prefix(cluster)?.strip_prefix('/')?;
        is_name(id).then_some(id)
    }

    fn read<'a>(&self, text: &'a str) -> Result<Read<'a>, IdentifierError> {
        if text.len() > IDENTIFIER_BYTES_MAX {
            return Err(IdentifierError::Malformed);
        }
        if !text.starts_with("arn:") {
            return Ok(Read::Bare(text));
        }
        let arn: Arn = text.parse()?;
        if arn.home == *self { Ok(Read::Arn(arn.resource)) } else { Err(IdentifierError::Home(arn.home)) }
    }

    /// `arn:…:`, what the ARNs of everything that lives here begin with.
    pub fn prefix(&self) -> String {
        self.text(format_args!(""))
    }

    fn text(&self, resource: fmt::Arguments<'_>) -> String {
        format!("arn:{}:ecs:{}:{}:{resource}", self.partition(), self.region, self.account)
    }
}

enum Read<'a> {
    Bare(&'a str),
    Arn(Resource),
}

fn named(name: &str) -> Result<String, IdentifierError> {
    if is_name(name) { Ok(name.to_owned()) } else { Err(IdentifierError::Malformed) }
}

fn within(wanted: &str, named: Option<String>, id: String) -> Result<String, IdentifierError> {
    match named {
        Some(named) if named != wanted => Err(IdentifierError::Cluster { named, wanted: wanted.to_owned() }),
        Some(_) | None => Ok(id),
    }
}

fn revision(number: &str) -> Result<i32, IdentifierError> {
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse() {
        Ok(revision) if digits && revision > 0 => Ok(revision),
        Ok(_) | Err(_) => Err(IdentifierError::Revision(number.to_owned())),
    }
}

impl Resource {
    /// The kind of the resource, in words.
    pub const fn kind(&self) -> &'static str {
        match self {
            Resource::CapacityProvider { .. } => "capacity provider",
            Resource::Cluster { .. } => "cluster",
            Resource::Container { .. } => "container",
            Resource::ContainerInstance { .. } => "container instance",
            Resource::Service { .. } => "service",
            Resource::ServiceDeployment { .. } => "service deployment",
            Resource::ServiceRevision { .. } => "service revision",
            Resource::Task { .. } => "task",
            Resource::TaskDefinition { .. } => "task definition",
            Resource::TaskSet { .. } => "task set",
        }
    }

    fn instead_of(&self, wanted: &'static str) -> IdentifierError {
        IdentifierError::Kind { wanted, found: self.kind() }
    }

    /// The resource from the ARN's last part, split at its slashes.
    fn from_parts(parts: &[&str]) -> Result<Self, IdentifierError> {
        Ok(match *parts {
            ["capacity-provider", name] => Resource::CapacityProvider { name: named(name)? },
            ["cluster", name] => Resource::Cluster { name: named(name)? },
            ["container", cluster, task, id] => {
                Resource::Container { cluster: named(cluster)?, task: named(task)?, id: named(id)? }
            }
            ["container-instance", id] => Resource::ContainerInstance { cluster: None, id: named(id)? },
            ["container-instance", cluster, id] => {
                Resource::ContainerInstance { cluster: Some(named(cluster)?), id: named(id)? }
            }
            ["service", name] => Resource::Service { cluster: None, name: named(name)? },
            ["service", cluster, name] => {
                Resource::Service { cluster: Some(named(cluster)?), name: named(name)? }
            }
            ["service-deployment", cluster, service, id] => Resource::ServiceDeployment {
                cluster: named(cluster)?,
                service: named(service)?,
                id: named(id)?,
            },
            ["service-revision", cluster, service, id] => Resource::ServiceRevision {
                cluster: named(cluster)?,
                service: named(service)?,
                id: named(id)?,
            },
            ["task", id] => Resource::Task { cluster: None, id: named(id)? },
            ["task", cluster, id] => Resource::Task { cluster: Some(named(cluster)?), id: named(id)? },
            ["task-definition", versioned] => {
                let (family, number) = versioned.split_once(':').ok_or(IdentifierError::Malformed)?;
                Resource::TaskDefinition { family: named(family)?, revision: revision(number)? }
            }
            ["task-set", cluster, service, "ecs-svc", id] => Resource::TaskSet {
                cluster: named(cluster)?,
                service: named(service)?,
                id: format!("ecs-svc/{}", named(id)?),
            },
            _ => return Err(IdentifierError::Malformed),
        })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::CapacityProvider { name } => write!(f, "capacity-provider/{name}"),
            Resource::Cluster { name } => write!(f, "cluster/{name}"),
            Resource::Container { cluster, task, id } => write!(f, "container/{cluster}/{task}/{id}"),
            Resource::ContainerInstance { cluster: None, id } => write!(f, "container-instance/{id}"),
            Resource::ContainerInstance { cluster: Some(cluster), id } => {
                write!(f, "container-instance/{cluster}/{id}")
            }
            Resource::Service { cluster: None, name } => write!(f, "service/{name}"),
            Resource::Service { cluster: Some(cluster), name } => write!(f, "service/{cluster}/{name}"),
            Resource::ServiceDeployment { cluster, service, id } => {
                write!(f, "service-deployment/{cluster}/{service}/{id}")
            }
            Resource::ServiceRevision { cluster, service, id } => {
                write!(f, "service-revision/{cluster}/{service}/{id}")
            }
            Resource::Task { cluster: None, id } => write!(f, "task/{id}"),
            Resource::Task { cluster: Some(cluster), id } => write!(f, "task/{cluster}/{id}"),
            Resource::TaskDefinition { family, revision } => {
                write!(f, "task-definition/{family}:{revision}")
            }
            Resource::TaskSet { cluster, service, id } => write!(f, "task-set/{cluster}/{service}/{id}"),
        }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.home.text(format_args!("{}", self.resource)))
    }
}

impl FromStr for Arn {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        if text.len() > IDENTIFIER_BYTES_MAX {
            return Err(IdentifierError::Malformed);
        }
        let mut fields = text.splitn(6, ':');
        let mut field = || fields.next().ok_or(IdentifierError::Malformed);
        let (arn, partition, service) = (field()?, field()?, field()?);
        let (region, account, resource) = (field()?, field()?, field()?);
        let home = Home { region: region.to_owned(), account: account.to_owned() };
        if arn != "arn" || service != "ecs" || partition != home.partition() || region.is_empty() {
            return Err(IdentifierError::Malformed);
        }
        let parts: Vec<&str> = resource.split('/').collect();
        Ok(Arn { home, resource: Resource::from_parts(&parts)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "0123456789abcdef0123456789abcdef";

    fn home() -> Home {
        Home { region: "us-east-1".to_owned(), account: "123456789012".to_owned() }
    }

    #[test]
    fn every_arn_is_read_back_as_written() {
        let home = home();
        for arn in [
            home.cluster_arn("prod"),
            home.container_instance_arn("prod", TASK),
            home.task_arn("prod", TASK),
            home.container_arn("prod", TASK, "a1b2-c3"),
            home.service_arn("prod", "web"),
            home.task_definition_arn("web", 7),
            home.service_deployment_arn("prod", "web", "NCWGC2ZR-taawPAYrIaU5"),
            home.service_revision_arn("prod", "web", "1234567890123456789"),
            home.capacity_provider_arn("spot"),
            "arn:aws:ecs:us-east-1:123456789012:task-set/prod/web/ecs-svc/1234567890123456789".to_owned(),
            format!("arn:aws:ecs:us-east-1:123456789012:task/{TASK}"),
            "arn:aws:ecs:us-east-1:123456789012:service/web".to_owned(),
        ] {
            let read: Arn = arn.parse().unwrap();
            assert_eq!(read.home, home);
            assert_eq!(read.to_string(), arn);
        }
    }

    #[test]
    fn the_partition_follows_the_region() {
        let check = |region: &str, start: &str| {
            let home = Home { region: region.to_owned(), account: "123456789012".to_owned() };
            assert!(home.cluster_arn("a").starts_with(start), "{region}");
        };
        check("eu-west-1", "arn:aws:ecs:eu-west-1:");
        check("cn-north-1", "arn:aws-cn:ecs:cn-north-1:");
        check("us-gov-west-1", "arn:aws-us-gov:ecs:us-gov-west-1:");
    }

    #[test]
    fn identifiers_of_every_form_are_read() {
        let home = home();
        let id = |text: &str| home.read_task("prod", text);
        for text in [TASK.to_owned(), home.task_arn("prod", TASK), format!("{}/{TASK}", prefix("task"))] {
            assert_eq!(id(&text).as_deref(), Ok(TASK), "{text}");
        }
        assert_eq!(home.read_cluster("prod").as_deref(), Ok("prod"));
        assert_eq!(home.read_cluster(&home.cluster_arn("prod")).as_deref(), Ok("prod"));
        assert_eq!(home.read_service("prod", &home.service_arn("prod", "web")).as_deref(), Ok("web"));
        let definition = |text: &str| home.read_task_definition(text).map(|id| (id.family, id.revision));
        assert_eq!(definition("web"), Ok(("web".to_owned(), None)));
        assert_eq!(definition("web:3"), Ok(("web".to_owned(), Some(3))));
        assert_eq!(definition(&home.task_definition_arn("web", 3)), Ok(("web".to_owned(), Some(3))));
    }

    #[test]
    fn what_is_not_here_is_refused_with_its_reason() {
        let home = home();
        let other = Home { account: "999999999999".to_owned(), ..home.clone() };
        assert_eq!(
            home.read_task("prod", &home.task_arn("dev", TASK)),
            Err(IdentifierError::Cluster { named: "dev".to_owned(), wanted: "prod".to_owned() })
        );
        assert_eq!(
            home.read_task("prod", &home.service_arn("prod", "web")),
            Err(IdentifierError::Kind { wanted: "task", found: "service" })
        );
        assert_eq!(home.read_cluster(&other.cluster_arn("prod")), Err(IdentifierError::Home(other)));
        for text in ["web:0", "web:-1", "web:+1", "web:x", "web:99999999999", "web:"] {
            let number = text.split_once(':').unwrap().1.to_owned();
            assert_eq!(home.read_task_definition(text), Err(IdentifierError::Revision(number)));
        }
        let long = "a".repeat(NAME_CHARS_MAX + 1);
        for text in ["", "a b", "a/b", "arn:aws:s3:::bucket", "arn:", "ärn", long.as_str()] {
            assert_eq!(home.read_cluster(text), Err(IdentifierError::Malformed), "{text}");
        }
    }

    fn prefix(kind: &str) -> String {
        format!("arn:aws:ecs:us-east-1:123456789012:{kind}")
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(arn:)?[a-z:/-]{0,80}|\\PC{0,60}") {
            if let Ok(arn) = text.parse::<Arn>() {
                assert_eq!(arn.to_string(), text);
            }
            let _ = home().read_task_definition(&text);
        }
    }
}
