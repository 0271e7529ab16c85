//! The agent's settings, from the environment variables of Amazon's agent and a file of the same names.
//!
//! The variables keep their names, forms and defaults, so that the user-data and `/etc/ecs/ecs.config` of today
//! work. What cannot be understood is an error that names the variable; what is understood but not acted on is
//! listed in [`Config::not_acted_on`] and warned of at start: nothing is dropped silently.

mod parse;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use parse::RegistryAuth;
use parse::Source;
pub(crate) use parse::parse_port_range;

/// Variables of Amazon's agent that this one knows and does not act on.
const NOT_ACTED_ON: &[&str] = &[
    "ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES",
    "ECS_AWSVPC_BLOCK_IMDS",
    "ECS_CGROUP_CPU_PERIOD",
    "ECS_CGROUP_PATH",
    "ECS_CNI_PLUGINS_PATH",
    "ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM",
    "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE",
    "ECS_ENABLE_CONTAINER_METADATA",
    "ECS_ENABLE_GPU_SUPPORT",
    "ECS_ENABLE_HIGH_DENSITY_ENI",
    "ECS_ENABLE_RUNTIME_STATS",
    "ECS_ENABLE_SPOT_INSTANCE_DRAINING",
    "ECS_ENABLE_TASK_CPU_MEM_LIMIT",
    "ECS_ENABLE_TASK_ENI",
    "ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP",
    "ECS_NVIDIA_RUNTIME",
    "ECS_POLLING_METRICS_WAIT_DURATION",
    "ECS_POLL_METRICS",
    "ECS_PROPAGATE_TASK_MEMORY_LIMIT_CGROUPV2",
    "ECS_SHARED_VOLUME_MATCH_FULL_CONFIG",
    "ECS_UPDATES_ENABLED",
    "ECS_WARM_POOLS_CHECK",
    "HTTP_PROXY",
];

/// The least and the default grace between SIGTERM and SIGKILL.
const STOP_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const START_TIMEOUT_MIN: Duration = Duration::from_secs(45);
const START_TIMEOUT: Duration = Duration::from_mins(3);
const CREATE_TIMEOUT_MIN: Duration = Duration::from_mins(1);
const CREATE_TIMEOUT: Duration = Duration::from_mins(4);
const PULL_INACTIVITY_TIMEOUT: Duration = Duration::from_mins(1);
const PULL_TIMEOUT: Duration = Duration::from_hours(2);
const CLEANUP_WAIT: Duration = Duration::from_hours(3);
const CLEANUP_WAIT_MIN: Duration = Duration::from_secs(1);
const IMAGE_CLEANUP_INTERVAL: Duration = Duration::from_mins(30);
const IMAGE_CLEANUP_INTERVAL_MIN: Duration = Duration::from_mins(10);
const IMAGE_MINIMUM_AGE: Duration = Duration::from_hours(1);
const IMAGES_PER_CYCLE: usize = 5;
/// Ports that are never given to tasks: ssh, Docker, and the agent's own two endpoints.
const RESERVED_PORTS: &[u16] = &[22, 2375, 2376, 51678, 51679];

/// Everything that an operator may set.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster to join, by name or ARN (`ECS_CLUSTER`, else `default`).
    pub cluster: String,
    /// The ECS endpoint with its scheme (`ECS_BACKEND_HOST`), or those of several schedulers of one cluster, with commas
    /// between them; `None` for what the SDK configuration says.
    pub endpoint: Option<String>,
    /// `AWS_DEFAULT_REGION` or `AWS_REGION`; `None` for what the SDK configuration says.
    pub region: Option<String>,
    /// Docker's address (`DOCKER_HOST`).
    pub docker_host: String,
    /// Where the ledger lives (`ECS_DATADIR`).
    pub data_dir: PathBuf,
    /// What `data_dir` is called on the host (`ECS_HOST_DATA_DIR`): part of what tells this agent's containers
    /// from those of another agent on the same engine.
    pub host_data_dir: String,
    /// Attributes to register (`ECS_INSTANCE_ATTRIBUTES`).
    pub instance_attributes: BTreeMap<String, String>,
    /// Tags to register (`ECS_CONTAINER_INSTANCE_TAGS`).
    pub instance_tags: BTreeMap<String, String>,
    /// The availability zone to register (`ECSR_AVAILABILITY_ZONE`).
    pub availability_zone: Option<String>,
    /// MiB kept from tasks (`ECS_RESERVED_MEMORY`).
    pub reserved_memory_mib: u16,
    /// TCP ports kept from tasks (`ECS_RESERVED_PORTS`).
    pub reserved_ports: Vec<u16>,
    /// UDP ports kept from tasks (`ECS_RESERVED_PORTS_UDP`).
    pub reserved_ports_udp: Vec<u16>,
    /// Where dynamic host ports come from (`ECS_DYNAMIC_HOST_PORT_RANGE`); `None` lets Docker choose.
    pub dynamic_host_ports: Option<(u16, u16)>,
    /// Registry credentials (`ECS_ENGINE_AUTH_TYPE`, `ECS_ENGINE_AUTH_DATA`).
    pub registry_auth: RegistryAuth,
    /// Log drivers to register (`ECS_AVAILABLE_LOGGING_DRIVERS`); `None` for all that Docker has.
    pub logging_drivers: Option<Vec<String>>,
    /// `ECS_DISABLE_PRIVILEGED`.
    pub privileged_disabled: bool,
    /// `ECS_SELINUX_CAPABLE`.
    pub selinux_capable: bool,
    /// `ECS_APPARMOR_CAPABLE`.
    pub apparmor_capable: bool,
    /// `ECS_ENABLE_TASK_IAM_ROLE`.
    pub task_iam_role: bool,
    /// `ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST`.
    pub task_iam_role_network_host: bool,
    /// Processes that a container may have (`ECS_TASK_PIDS_LIMIT`).
    pub pids_limit: Option<i64>,
    /// `ECS_CONTAINER_CREATE_TIMEOUT`.
    pub create_timeout: Duration,
    /// `ECS_CONTAINER_START_TIMEOUT`.
    pub start_timeout: Duration,
    /// `ECS_CONTAINER_STOP_TIMEOUT`.
    pub stop_timeout: Duration,
    /// `ECS_IMAGE_PULL_BEHAVIOR`.
    pub pull_behavior: PullBehavior,
    /// `ECS_IMAGE_PULL_INACTIVITY_TIMEOUT`.
    pub pull_inactivity_timeout: Duration,
    /// `ECS_IMAGE_PULL_TIMEOUT`.
    pub pull_timeout: Duration,
    /// `ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT`.
    pub pull_upfront: bool,
    /// `ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION`.
    pub cleanup_wait: Duration,
    /// `ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER`.
    pub cleanup_wait_jitter: Duration,
    /// The periodic removal of images; `None` when `ECS_DISABLE_IMAGE_CLEANUP` or prefer-cached turns it off.
    pub image_cleanup: Option<ImageCleanup>,
    /// `ECS_DISABLE_METRICS`.
    pub metrics_disabled: bool,
    /// `ECS_DISABLE_DOCKER_HEALTH_CHECK`.
    pub health_disabled: bool,
    /// `ECS_EXCLUDE_IPV6_PORTBINDING`.
    pub exclude_ipv6_bindings: bool,
    /// `ECS_EXTERNAL`; `None` when it is not set.
    pub external: Option<bool>,
    /// Variables that are set and not acted on.
    pub not_acted_on: Vec<&'static str>,
}

/// When an image is pulled although a copy is on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullBehavior {
    /// Pull; go on with the copy if that fails.
    Default,
    /// Pull; a failure ends the container.
    Always,
    /// Pull unless this agent pulled the image before and it is still there.
    Once,
    /// Pull only what is not there.
    PreferCached,
}

/// How unused images are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCleanup {
    /// Time between rounds (`ECS_IMAGE_CLEANUP_INTERVAL`).
    pub interval: Duration,
    /// Age since the pull below which an image is kept (`ECS_IMAGE_MINIMUM_CLEANUP_AGE`).
    pub minimum_age: Duration,
    /// Images removed per round (`ECS_NUM_IMAGES_DELETE_PER_CYCLE`).
    pub per_cycle: usize,
    /// Images never removed (`ECS_EXCLUDE_UNTRACKED_IMAGE`).
    pub excluded: Vec<String>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable's value has the wrong form.
    #[error("{name}: {value:?} is not {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it is set to.
        value: String,
        /// The form that it should have.
        expected: &'static str,
    },
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Config {
    /// Settings from variables alone.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Self::from_source(&Source::new(&env))
    }

    /// Settings from a file of `KEY=VALUE` lines (`/etc/ecs/ecs.config`); the environment wins over the file.
    pub fn from_file(path: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let file = parse::key_values(&text);
        Self::from_env(|name| env(name).or_else(|| file.get(name).cloned()))
    }

    fn from_source(source: &Source<'_>) -> Result<Self, ConfigError> {
        let data_dir = source.text("ECS_DATADIR").unwrap_or_else(|| "/data/".to_owned());
        let pull_behavior = source.pull_behavior()?;
        Ok(Config {
            cluster: source.text("ECS_CLUSTER").unwrap_or_else(|| "default".to_owned()),
            endpoint: source.text("ECS_BACKEND_HOST").map(|host| parse::with_scheme(&host)),
            region: source.text("AWS_DEFAULT_REGION").or_else(|| source.text("AWS_REGION")),
            docker_host: source
                .text("DOCKER_HOST")
                .unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned()),
            host_data_dir: source.text("ECS_HOST_DATA_DIR").unwrap_or_else(|| "/var/lib/ecs".to_owned()),
            data_dir: PathBuf::from(data_dir),
            instance_attributes: source.string_map("ECS_INSTANCE_ATTRIBUTES")?,
            instance_tags: source.string_map("ECS_CONTAINER_INSTANCE_TAGS")?,
            availability_zone: source.text("ECSR_AVAILABILITY_ZONE"),
            reserved_memory_mib: source
                .number("ECS_RESERVED_MEMORY", "a number of MiB below 65536")?
                .unwrap_or(0),
            reserved_ports: source.ports("ECS_RESERVED_PORTS")?.unwrap_or_else(|| RESERVED_PORTS.to_vec()),
            reserved_ports_udp: source.ports("ECS_RESERVED_PORTS_UDP")?.unwrap_or_default(),
            dynamic_host_ports: source.port_range("ECS_DYNAMIC_HOST_PORT_RANGE")?,
            registry_auth: source.registry_auth()?,
            logging_drivers: source.strings("ECS_AVAILABLE_LOGGING_DRIVERS")?,
            privileged_disabled: source.flag("ECS_DISABLE_PRIVILEGED")?.unwrap_or(false),
            selinux_capable: source.flag("ECS_SELINUX_CAPABLE")?.unwrap_or(false),
            apparmor_capable: source.flag("ECS_APPARMOR_CAPABLE")?.unwrap_or(false),
            task_iam_role: source.flag("ECS_ENABLE_TASK_IAM_ROLE")?.unwrap_or(false),
            task_iam_role_network_host: source
                .flag("ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST")?
                .unwrap_or(false),
            pids_limit: source.pids_limit()?,
            create_timeout: source.at_least(
                "ECS_CONTAINER_CREATE_TIMEOUT",
                CREATE_TIMEOUT,
                CREATE_TIMEOUT_MIN,
            )?,
            start_timeout: source.at_least(
                "ECS_CONTAINER_START_TIMEOUT",
                START_TIMEOUT,
                START_TIMEOUT_MIN,
            )?,
            stop_timeout: source.at_least("ECS_CONTAINER_STOP_TIMEOUT", STOP_TIMEOUT, STOP_TIMEOUT_MIN)?,
            pull_behavior,
            pull_inactivity_timeout: source.at_least(
                "ECS_IMAGE_PULL_INACTIVITY_TIMEOUT",
                PULL_INACTIVITY_TIMEOUT,
                PULL_INACTIVITY_TIMEOUT,
            )?,
            pull_timeout: source.at_least("ECS_IMAGE_PULL_TIMEOUT", PULL_TIMEOUT, PULL_INACTIVITY_TIMEOUT)?,
            pull_upfront: source.flag("ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT")?.unwrap_or(false),
            cleanup_wait: source.cleanup_wait()?,
            cleanup_wait_jitter: source
                .duration("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER")?
                .unwrap_or(Duration::ZERO),
            image_cleanup: source.image_cleanup(pull_behavior)?,
            metrics_disabled: source.flag("ECS_DISABLE_METRICS")?.unwrap_or(false),
            health_disabled: source.flag("ECS_DISABLE_DOCKER_HEALTH_CHECK")?.unwrap_or(false),
            exclude_ipv6_bindings: source.flag("ECS_EXCLUDE_IPV6_PORTBINDING")?.unwrap_or(true),
            external: source.flag("ECS_EXTERNAL")?,
            not_acted_on: NOT_ACTED_ON
                .iter()
                .copied()
                .filter(|name| source.text(name).is_some_and(|value| value != "false"))
                .collect(),
        })
    }

    /// Each of the endpoints, with its scheme.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let named = self.endpoint.iter().flat_map(|endpoints| endpoints.split(','));
        named.map(str::trim).filter(|endpoint| !endpoint.is_empty()).map(parse::with_scheme).collect()
    }

    /// The name of the cluster, whether it was set as a name or as an ARN.
    pub fn cluster_name(&self) -> &str {
        self.cluster.rsplit('/').next().unwrap_or(&self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_env(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_gives_the_documented_defaults() {
        let config = config(&[]).unwrap();
        assert_eq!(config.cluster, "default");
        assert_eq!(config.stop_timeout, Duration::from_secs(30));
        assert_eq!(config.reserved_ports, [22, 2375, 2376, 51678, 51679]);
        assert_eq!(config.pull_behavior, PullBehavior::Default);
        assert_eq!(config.image_cleanup.unwrap().per_cycle, 5);
        assert!(config.not_acted_on.is_empty());
    }

    #[test]
    fn values_are_read_in_the_forms_that_users_have_today() {
        let config = config(&[
            ("ECS_CLUSTER", "arn:aws:ecs:us-east-1:123456789012:cluster/blue"),
            ("ECS_BACKEND_HOST", "127.0.0.1:7070"),
            ("ECS_INSTANCE_ATTRIBUTES", r#"{"stack":"prod"}"#),
            ("ECS_DYNAMIC_HOST_PORT_RANGE", "30000-32767"),
            ("ECS_CONTAINER_STOP_TIMEOUT", "1m30s"),
            ("ECS_CONTAINER_START_TIMEOUT", "1s"),
            ("ECS_IMAGE_PULL_BEHAVIOR", "prefer-cached"),
            ("ECS_ENABLE_TASK_ENI", "true"),
        ])
        .unwrap();
        assert_eq!(config.cluster_name(), "blue");
        assert_eq!(config.endpoint.as_deref(), Some("https://127.0.0.1:7070"));
        assert_eq!(config.endpoints(), ["https://127.0.0.1:7070"]);
        assert_eq!(config.instance_attributes["stack"], "prod");
        assert_eq!(config.dynamic_host_ports, Some((30000, 32767)));
        assert_eq!(config.stop_timeout, Duration::from_secs(90));
        assert_eq!(config.start_timeout, START_TIMEOUT_MIN, "too low is raised to the minimum");
        assert_eq!(config.image_cleanup, None, "prefer-cached keeps images");
        assert_eq!(config.not_acted_on, ["ECS_ENABLE_TASK_ENI"]);
    }

    #[test]
    fn a_value_of_the_wrong_form_is_refused_by_name() {
        let cases = [
            ("ECS_INSTANCE_ATTRIBUTES", "{"),
            ("ECS_RESERVED_MEMORY", "-1"),
            ("ECS_RESERVED_PORTS", "[70000]"),
            ("ECS_DYNAMIC_HOST_PORT_RANGE", "9-1"),
            ("ECS_CONTAINER_STOP_TIMEOUT", "soon"),
            ("ECS_IMAGE_PULL_BEHAVIOR", "sometimes"),
            ("ECS_DISABLE_METRICS", "perhaps"),
            ("ECS_ENGINE_AUTH_TYPE", "token"),
            ("ECS_TASK_PIDS_LIMIT", "0"),
        ];
        for (name, value) in cases {
            let error = config(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let dir = std::env::temp_dir().join(format!("ecsr-agent-config-{}", std::process::id()));
        std::fs::write(&dir, "# comment\nECS_CLUSTER=blue\nexport ECS_RESERVED_MEMORY=\"64\"\n").unwrap();
        let config =
            Config::from_file(&dir, |name| (name == "ECS_CLUSTER").then(|| "green".to_owned())).unwrap();
        std::fs::remove_file(&dir).unwrap();
        assert_eq!((config.cluster.as_str(), config.reserved_memory_mib), ("green", 64));
    }

    #[test]
    fn several_schedulers_are_named_with_commas() {
        let config =
            config(&[("ECS_BACKEND_HOST", "http://10.0.0.1:7070, http://10.0.0.2:7070,ecs.example")]);
        let expected = ["http://10.0.0.1:7070", "http://10.0.0.2:7070", "https://ecs.example"];
        assert_eq!(config.unwrap().endpoints(), expected);
    }
}
