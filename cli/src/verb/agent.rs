//! `ecsr agent`: the agent in this process. Its settings are the environment variables of Amazon's agent; the
//! flags are the handful that are typed by hand, and win over the environment, which wins over the file.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use ecsr_agent::Config;

use crate::aws::{self, Target};
use crate::error::{Failure, Kind, in_full, usage};
use crate::globals::Globals;
use crate::input;
use crate::signals;

/// Where Amazon's agent keeps its settings, and user-data writes them.
const CONFIG_FILE: &str = "/etc/ecs/ecs.config";

pub(crate) const EXAMPLES: &str = "\
Examples:
  ECS_CLUSTER=prod ECS_BACKEND_HOST=http://10.0.0.5:7070 ecsr agent
  ecsr agent --cluster prod --backend-host http://10.0.0.5:7070 --set ECS_RESERVED_MEMORY=256
  docker run -d --net=host -v /var/run/docker.sock:/var/run/docker.sock -v /var/lib/ecs/data:/data \\
    --env-file /etc/ecs/ecs.config ecsr/agent

Every variable of Amazon's agent may be set in the environment, in /etc/ecs/ecs.config or with --set.";

/// Run the agent alone, in the foreground
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// The ECS endpoint (ECS_BACKEND_HOST); default: what the AWS configuration leads to
    #[arg(long, value_name = "URL")]
    backend_host: Option<String>,
    /// Where the agent keeps its state (ECS_DATADIR)
    #[arg(long, value_name = "DIR")]
    datadir: Option<String>,
    /// A file of NAME=VALUE lines; default: /etc/ecs/ecs.config when it exists
    #[arg(long, env = "ECS_CONFIG_FILE", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Any variable of the agent, repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = input::key_value)]
    set: Vec<(String, String)>,
}

/// Runs the verb: joins the cluster and works until SIGTERM or Ctrl-C. Tasks keep running.
pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<()> {
    let flags = flags(globals, &args);
    let config = config(args.config_file.as_deref(), |name| {
        flags.get(name).cloned().or_else(|| env::var(name).ok().filter(|value| !value.is_empty()))
    })?;
    let sdk = aws::load(&target(globals, &config)).await;
    if sdk.region().is_none() {
        return Err(usage("no region is configured").hint("set AWS_DEFAULT_REGION or give --region").into());
    }
    // On the heap: as a part of this future it would be moved about with every verb's.
    let ended = Box::pin(ecsr_agent::run(config, sdk, signals::end_wanted())).await;
    Ok(ended.map_err(|error| Failure::new(Kind::Failed, in_full(&error)))?)
}

/// TLS is left out only where nothing can need it: a profile may lead through STS.
fn target(globals: &Globals, config: &Config) -> Target {
    let endpoint_url = config.endpoint.clone().or_else(|| globals.endpoint_url.clone());
    let region = config.region.clone();
    let profile = globals.profile.clone();
    let profiled = profile.is_some() || env::var_os("AWS_PROFILE").is_some();
    match endpoint_url {
        Some(endpoint_url) if endpoint_url.starts_with("http://") && !profiled => {
            Target::Plain { endpoint_url, region }
        }
        endpoint_url => Target::Configured { endpoint_url, region, profile },
    }
}

/// The flags, as the variables that they stand for.
fn flags(globals: &Globals, args: &Args) -> BTreeMap<String, String> {
    let named = [
        ("ECS_CLUSTER", &globals.cluster),
        ("AWS_DEFAULT_REGION", &globals.region),
        ("ECS_BACKEND_HOST", &args.backend_host),
        ("ECS_DATADIR", &args.datadir),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    named.chain(args.set.iter().cloned()).collect()
}

fn config(file: Option<&Path>, var: impl Fn(&str) -> Option<String>) -> Result<Config, Failure> {
    let default = Path::new(CONFIG_FILE);
    let read = match file {
        Some(file) => Config::from_file(file, var),
        None if default.exists() => Config::from_file(default, var),
        None => Config::from_env(var),
    };
    read.map_err(|error| usage(in_full(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_stand_for_variables() {
        let globals = Globals { cluster: Some("prod".into()), ..Globals::default() };
        let args = Args {
            backend_host: Some("http://10.0.0.5:7070".into()),
            datadir: None,
            config_file: None,
            set: vec![("ECS_RESERVED_MEMORY".into(), "256".into())],
        };
        let flags = flags(&globals, &args);
        let config = config(Some(Path::new("/dev/null")), |name| flags.get(name).cloned()).unwrap();
        assert_eq!(config.cluster, "prod");
        assert_eq!(config.endpoint.as_deref(), Some("http://10.0.0.5:7070"));
        assert_eq!(config.reserved_memory_mib, 256);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let failure = config(Some(Path::new("/dev/null")), |name| {
            (name == "ECS_RESERVED_MEMORY").then(|| "much".to_owned())
        })
        .unwrap_err();
        assert_eq!(failure.kind(), Kind::Usage);
        assert!(failure.to_string().contains("ECS_RESERVED_MEMORY"), "{failure}");
    }
}
