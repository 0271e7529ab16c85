//! `ecsr scheduler`: the scheduler in this process. `ecsr up` runs the same function, in its own process or,
//! with `--detach`, by starting this verb; there is one way to serve.

use std::future::{Future, ready};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ecsr_scheduler::journal::Location;
use ecsr_scheduler::{Consistency, LazySdk, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::aws::{self, Target};
use crate::error::{Failure, Kind, in_full};
use crate::globals::Globals;
use crate::lock::Lock;
use crate::output::note;
use crate::session::DEFAULT_CLUSTER;
use crate::signals;

/// The region of a scheduler that is not told another: the one that AWS tools assume in their examples.
pub(crate) const DEFAULT_REGION: &str = "us-east-1";

/// The account of a scheduler that is not told another: the one that AWS's documentation uses for examples.
pub(crate) const DEFAULT_ACCOUNT: &str = "123456789012";

pub(crate) const EXAMPLES: &str = "\
Examples:
  ecsr scheduler --data-dir /srv/ecsr --listen 0.0.0.0:7070 --advertise http://10.0.0.5:7070
  ecsr key list --data-dir /srv/ecsr
  ecsr scheduler --journal etcd://10.0.0.1,10.0.0.2,10.0.0.3/ecsr --listen 10.0.0.1:7070    (one of three)

A scheduler on more than a loopback address serves plain HTTP with signed requests: put TLS in front of it.";

/// Run the scheduler alone, in the foreground
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port to serve on
    #[arg(long, env = "ECSR_LISTEN", value_name = "ADDR:PORT", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,

    #[command(flatten)]
    identity: Identity,

    /// Keep the journal and the access keys on etcd, shared with other schedulers of which one leads
    #[arg(long, env = "ECSR_JOURNAL", value_name = "etcd://HOST[:PORT],.../PREFIX")]
    journal: Option<Location>,

    /// What reads say on several schedulers: all that had happened, or what the one that is asked knows
    #[arg(long, env = "ECSR_READS", value_enum, default_value_t)]
    reads: Reads,

    /// Become the leader of a session of its own; for `up --detach`
    #[arg(long, hide = true)]
    own_session: bool,
}

/// How much a read is to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Reads {
    /// Everything that had happened when it came; costs a question to etcd
    #[default]
    Confirmed,
    /// What the scheduler knows that is asked, a few milliseconds old as a rule
    Local,
}

/// What a scheduler is called, in ARNs and towards agents.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Identity {
    /// The account id in ARNs; default: 123456789012
    #[arg(long, env = "ECSR_ACCOUNT", value_name = "12 DIGITS", value_parser = account)]
    pub(crate) account: Option<String>,

    /// The base URL that agents are told to connect to; default: the one that they came by
    #[arg(long, env = "ECSR_ADVERTISE", value_name = "URL", value_parser = base_url)]
    pub(crate) advertise: Option<String>,

    /// The ELBv2 endpoint whose target groups services use, called with this scheduler's first access key (see `ecsr
    /// balancer`); default: that of the AWS configuration
    #[arg(long, env = "ECSR_BALANCER", value_name = "URL", value_parser = base_url)]
    pub(crate) balancer: Option<String>,

    /// Assume the roles of tasks, with the AWS credentials of the environment, and hand them to the tasks' agents
    #[arg(long, env = "ECSR_ASSUME_ROLES")]
    pub(crate) assume_roles: bool,
}

pub(crate) fn account(text: &str) -> Result<String, String> {
    let valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { Ok(text.to_owned()) } else { Err("an account id has 12 digits".to_owned()) }
}

fn base_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("expected http://HOST[:PORT] or https://HOST[:PORT]".to_owned()),
    }
}

/// Everything a scheduler is started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    /// Where the file of these settings lies, so it is not in it.
    #[serde(skip)]
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) cluster: String,
    pub(crate) advertise: Option<String>,
    /// The ELBv2 endpoint of services.
    #[serde(default)]
    pub(crate) balancer: Option<String>,
    /// Whether the roles of tasks are assumed with the AWS credentials of the environment.
    #[serde(default)]
    pub(crate) assume_roles: bool,
}

impl Settings {
    /// The settings that the flags give; what they leave open has its default here.
    pub(crate) fn new(globals: &Globals, listen: SocketAddr, identity: &Identity) -> Result<Self, Failure> {
        Ok(Self {
            data_dir: globals.data_dir()?,
            listen,
            account: identity.account.clone().unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned()),
            region: globals.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            cluster: globals.cluster.clone().unwrap_or_else(|| DEFAULT_CLUSTER.to_owned()),
            advertise: identity.advertise.clone(),
            balancer: identity.balancer.clone(),
            assume_roles: identity.assume_roles,
        })
    }

    /// The flags that give these settings to `ecsr scheduler`.
    pub(crate) fn to_flags(&self) -> Vec<String> {
        let mut flags: Vec<String> = [
            ("--data-dir", self.data_dir.display().to_string()),
            ("--listen", self.listen.to_string()),
            ("--account", self.account.clone()),
            ("--region", self.region.clone()),
            ("--cluster", self.cluster.clone()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        if let Some(url) = &self.advertise {
            flags.extend(["--advertise".to_owned(), url.clone()]);
        }
        if let Some(url) = &self.balancer {
            flags.extend(["--balancer".to_owned(), url.clone()]);
        }
        if self.assume_roles {
            flags.push("--assume-roles".to_owned());
        }
        flags
    }

    /// The AWS configuration for ELBv2: that of the environment, or of the given endpoint. The latter is called with this
    /// scheduler's own key, unless that is shared on etcd.
    fn elb(&self, store: &Store) -> LazySdk {
        let (region, data_dir) = (self.region.clone(), self.data_dir.clone());
        match (&self.balancer, store) {
            (Some(url), Store::Embedded) => {
                let url = url.clone();
                LazySdk::new(move || ready(aws::with_first_key(&url, &region, data_dir.clone())))
            }
            (url, _) => {
                let target = Target::Configured { endpoint_url: url.clone(), region: None, profile: None };
                LazySdk::new(move || {
                    let target = target.clone();
                    async move { aws::load(&target).await }
                })
            }
        }
    }

    async fn config(&self, store: Store, reads: Reads) -> ecsr_scheduler::Config {
        let environment = Target::Configured { endpoint_url: None, region: None, profile: None };
        let roles = if self.assume_roles { Some(aws::load(&environment).await) } else { None };
        ecsr_scheduler::Config {
            roles,
            elb: Some(self.elb(&store)),
            data_dir: self.data_dir.clone(),
            listen: self.listen,
            account: self.account.clone(),
            region: self.region.clone(),
            clusters: vec![self.cluster.clone()],
            advertise: self.advertise.clone(),
            journal: store,
            reads: match reads {
                Reads::Confirmed => Consistency::Confirmed,
                Reads::Local => Consistency::Local,
            },
        }
    }
}

/// The URL by which this machine reaches a scheduler that is bound to `address`.
pub(crate) fn local_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// Runs the verb: serves until SIGTERM or Ctrl-C.
pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<()> {
    if args.own_session {
        // Fails only for a process that leads a group already, which one started by `up` does not.
        let _ = rustix::process::setsid();
    }
    let settings = Settings::new(globals, args.listen, &args.identity)?;
    let lock = Lock::acquire(&settings.data_dir)?;
    let said = |endpoint: &str| note(&format!("serving ECS on {endpoint}"));
    let store = args.journal.map_or(Store::Embedded, Store::Etcd);
    let config = settings.config(store, args.reads).await;
    Ok(serve_with(&settings, config, lock, signals::end_wanted(), said).await?)
}

/// Serves until `shutdown`, holding `lock`; calls `serving` once, with the local URL, when requests are
/// answered.
pub(crate) async fn serve(
    settings: &Settings,
    lock: Lock,
    shutdown: impl Future<Output = ()> + Send + 'static,
    serving: impl FnOnce(&str),
) -> Result<(), Failure> {
    let config = settings.config(Store::Embedded, Reads::default()).await;
    serve_with(settings, config, lock, shutdown, serving).await
}

async fn serve_with(
    settings: &Settings,
    config: ecsr_scheduler::Config,
    mut lock: Lock,
    shutdown: impl Future<Output = ()> + Send + 'static,
    serving: impl FnOnce(&str),
) -> Result<(), Failure> {
    let (ready, bound) = oneshot::channel();
    // On the heap, for it is large and would be moved about with every future that holds it.
    let mut scheduler = Box::pin(ecsr_scheduler::run(config, shutdown, ready));
    let address = tokio::select! {
        ended = &mut scheduler => return ended.map_err(|error| failed(settings, &error)),
        bound = bound => bound.ok(),
    };
    if let Some(address) = address {
        let endpoint = local_url(address);
        lock.publish(&endpoint)
            .map_err(|error| Failure::new(Kind::Failed, format!("cannot publish the endpoint: {error}")))?;
        serving(&endpoint);
    }
    scheduler.await.map_err(|error| failed(settings, &error))
}

fn failed(settings: &Settings, error: &ecsr_scheduler::Error) -> Failure {
    let message = in_full(error);
    let in_use = message.contains("Address already in use");
    let failure = Failure::new(Kind::Failed, message);
    if in_use {
        failure.hint(format!("something else listens on {}; choose another port", settings.listen))
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        globals: Globals,
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn settings_survive_the_flags_that_detach_them() {
        let settings = Settings {
            data_dir: "/srv/ecsr".into(),
            listen: "0.0.0.0:7071".parse().unwrap(),
            account: "000000000000".into(),
            region: "eu-west-1".into(),
            cluster: "prod".into(),
            advertise: Some("http://10.0.0.5:7071".into()),
            balancer: Some("http://127.0.0.1:7072".into()),
            assume_roles: true,
        };
        let words = std::iter::once("scheduler".to_owned()).chain(settings.to_flags());
        let parsed = Command::try_parse_from(words).unwrap();
        assert_eq!(
            Settings::new(&parsed.globals, parsed.args.listen, &parsed.args.identity).unwrap(),
            settings
        );
    }

    #[test]
    fn addresses_become_urls_of_this_machine() {
        fn check(address: &str, expected: &str) {
            assert_eq!(local_url(address.parse().unwrap()), expected);
        }
        check("127.0.0.1:7070", "http://127.0.0.1:7070");
        check("0.0.0.0:7070", "http://127.0.0.1:7070");
        check("[::]:7070", "http://[::1]:7070");
        check("10.0.0.5:80", "http://10.0.0.5:80");
    }

    #[test]
    fn identities_are_checked() {
        assert!(account("123456789012").is_ok());
        assert!(account("12345678901").is_err());
        assert!(account("12345678901x").is_err());
        assert_eq!(base_url("http://a:1/").unwrap(), "http://a:1");
        assert!(base_url("a:1").is_err());
        assert!(base_url("ws://a").is_err());
    }
}
