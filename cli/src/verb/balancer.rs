//! `ecsr balancer`: the load balancer in this process. `ecsr up` runs the same in a container.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ecsr_balancer::{Config, Keys};
use ecsr_scheduler::keys::KeyFile;
use tokio::sync::oneshot;

use super::key;
use super::scheduler::{DEFAULT_ACCOUNT, DEFAULT_REGION, account, local_url};
use crate::error::{Failure, Kind, in_full};
use crate::globals::Globals;
use crate::output::note;
use crate::signals;

/// Where the API is served, as a neighbour of the scheduler's.
pub(crate) const DEFAULT_PORT: u16 = 7072;

/// What the balancer keeps, in the data directory.
const DIRECTORY: &str = "balancer";

pub(crate) const EXAMPLES: &str = "\
Examples:
  ecsr balancer --data-dir /srv/ecsr --listen 127.0.0.1:7072
  ecsr balancer --bind 10.0.0.5 --instance i-0a1b2c3d=10.0.0.11 --instance i-4e5f6a7b=10.0.0.12
  AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=http://127.0.0.1:7072 aws elbv2 describe-load-balancers

It serves the API of Elastic Load Balancing v2 in plain HTTP with signed requests, to the keys of the data directory
that have no limits (`ecsr key list`): on more than a loopback address, put TLS in front of the API.";

/// Run the load balancer alone, in the foreground
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port to serve the API on
    #[arg(long, env = "ECSR_BALANCER_LISTEN", value_name = "ADDR:PORT", default_value_t = default_listen())]
    listen: SocketAddr,

    /// Where the listeners of load balancers are bound
    #[arg(long, env = "ECSR_BALANCER_BIND", value_name = "ADDR", default_value = "0.0.0.0")]
    bind: IpAddr,

    /// The name of all load balancers, by which clients reach them; default: the address of --bind where it is one, else
    /// `localhost`, which is right on this machine alone
    #[arg(long, env = "ECSR_BALANCER_DNS_NAME", value_name = "NAME")]
    dns_name: Option<String>,

    /// The account id in ARNs; default: 123456789012
    #[arg(long, env = "ECSR_ACCOUNT", value_name = "12 DIGITS", value_parser = account)]
    account: Option<String>,

    /// The address of an instance, for target groups that name instances; repeatable
    #[arg(long = "instance", value_name = "ID=ADDRESS", value_parser = instance)]
    instances: Vec<(String, IpAddr)>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT)
}

fn instance(text: &str) -> Result<(String, IpAddr), String> {
    let malformed = || "expected ID=ADDRESS, i-0123=10.0.0.5".to_owned();
    let (id, address) = text.split_once('=').filter(|(id, _)| !id.is_empty()).ok_or_else(malformed)?;
    Ok((id.to_owned(), address.parse().map_err(|_| malformed())?))
}

/// The name by which this machine reaches what is bound there.
pub(crate) fn default_dns_name(bind: IpAddr) -> String {
    if bind.is_unspecified() { "localhost".to_owned() } else { bind.to_string() }
}

/// Where the balancer of a data directory keeps its state.
fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join(DIRECTORY)
}

/// Runs the verb: serves until SIGTERM or Ctrl-C.
pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<()> {
    let data_dir = globals.data_dir()?;
    let listen = args.listen;
    let config = Config {
        data_dir: directory(&data_dir),
        listen,
        bind: args.bind,
        dns_name: args.dns_name.unwrap_or_else(|| default_dns_name(args.bind)),
        account: args.account.unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned()),
        region: globals.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        instances: args.instances.into_iter().collect(),
        keys: keys(&data_dir)?,
    };
    let (ready, bound) = oneshot::channel();
    let mut balancer = Box::pin(ecsr_balancer::run(config, signals::end_wanted(), ready));
    let address = tokio::select! {
        ended = &mut balancer => return Ok(ended.map_err(|error| failed(listen, &error))?),
        bound = bound => bound.ok(),
    };
    if let Some(address) = address {
        note(&format!("serving Elastic Load Balancing on {}", local_url(address)));
    }
    Ok(balancer.await.map_err(|error| failed(listen, &error))?)
}

/// The keys that may use the API: those that may do everything. The first start on a directory makes one.
fn keys(data_dir: &Path) -> Result<Keys, Failure> {
    key::first(data_dir)?;
    let file = KeyFile::open(data_dir).map_err(|error| Failure::new(Kind::Failed, in_full(&error)))?;
    Ok(Arc::new(move |id| file.unlimited_secret(id)))
}

fn failed(listen: SocketAddr, error: &ecsr_balancer::Error) -> Failure {
    let message = in_full(error);
    let in_use = message.contains("Address already in use");
    let failure = Failure::new(Kind::Failed, message);
    if in_use {
        failure.hint(format!("something else listens on {listen}; choose another port with --listen"))
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_addresses() {
        assert_eq!(instance("i-1=10.0.0.5").unwrap(), ("i-1".to_owned(), "10.0.0.5".parse().unwrap()));
        for wrong in ["i-1", "=10.0.0.5", "i-1=host", "i-1="] {
            assert!(instance(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn load_balancers_are_called_what_reaches_them_from_here() {
        assert_eq!(default_dns_name("0.0.0.0".parse().unwrap()), "localhost");
        assert_eq!(default_dns_name("::".parse().unwrap()), "localhost");
        assert_eq!(default_dns_name("10.0.0.5".parse().unwrap()), "10.0.0.5");
    }

    #[test]
    fn keys_with_limits_are_none_of_the_balancer_s() {
        use ecsr_scheduler::keys::{Actions, Scope};
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(dir.path()).unwrap();
        let file = KeyFile::open(dir.path()).unwrap();
        let agent = Scope { actions: Actions::Agent, ..Scope::default() };
        let limited = file.create("an agent", agent).unwrap();
        assert_eq!(keys(&limited.id), None);
        let robot = file.create("a robot", Scope::default()).unwrap();
        assert_eq!(keys(&robot.id), Some(robot.secret), "also when it was made while the balancer runs");
        file.delete(&robot.id).unwrap();
        assert_eq!(keys(&robot.id), None);
    }
}
