//! What an `up` chose, kept in the data directory, so that the next one needs no flags to go on with it: the
//! port, the account, the region and the cluster are in ARNs and in other people's configuration, and must
//! not change because somebody typed a shorter command.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::Args;
use crate::docker::agent::DEFAULT_PORT;
use crate::error::{Failure, Kind, usage};
use crate::globals::Globals;
use crate::session::DEFAULT_CLUSTER;
use crate::verb::scheduler::{DEFAULT_ACCOUNT, DEFAULT_REGION, Settings};

const FILE: &str = "up.json";

/// The settings of the last `up` on `data_dir`.
pub(crate) fn load(data_dir: &Path) -> Result<Option<Settings>, Failure> {
    let path = data_dir.join(FILE);
    let unreadable = |error: &dyn std::error::Error| {
        Failure::new(Kind::Failed, format!("cannot read {}: {error}", path.display()))
            .hint("remove it to choose anew; give the same flags as before to go on with the same cluster")
    };
    match fs::read(&path) {
        Ok(text) => {
            let read: Settings = serde_json::from_slice(&text).map_err(|error| unreadable(&error))?;
            Ok(Some(Settings { data_dir: data_dir.to_owned(), ..read }))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(unreadable(&error)),
    }
}

/// Keeps `settings` for the next `up`.
pub(super) fn save(settings: &Settings) -> io::Result<()> {
    let fresh = settings.data_dir.join(format!("{FILE}.new"));
    let text = serde_json::to_string_pretty(settings).map_err(io::Error::other)?;
    fs::write(&fresh, text + "\n")?;
    fs::rename(&fresh, settings.data_dir.join(FILE))
}

/// The command line's settings, over those of the last `up`, over the defaults.
pub(super) fn choose(
    globals: &Globals,
    args: &Args,
    data_dir: &Path,
    earlier: Option<&Settings>,
) -> Settings {
    let default = Settings {
        data_dir: data_dir.to_owned(),
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT),
        account: DEFAULT_ACCOUNT.to_owned(),
        region: DEFAULT_REGION.to_owned(),
        cluster: DEFAULT_CLUSTER.to_owned(),
        advertise: None,
        balancer: None,
        assume_roles: false,
    };
    let base = earlier.unwrap_or(&default);
    let or = |given: &Option<String>, base: &String| given.as_ref().unwrap_or(base).clone();
    Settings {
        data_dir: data_dir.to_owned(),
        listen: SocketAddr::new(
            args.listen.unwrap_or(base.listen.ip()),
            args.port.unwrap_or(base.listen.port()),
        ),
        account: or(&args.identity.account, &base.account),
        region: or(&globals.region, &base.region),
        cluster: or(&globals.cluster, &base.cluster),
        advertise: args.identity.advertise.clone().or_else(|| base.advertise.clone()),
        balancer: args.identity.balancer.clone().or_else(|| base.balancer.clone()),
        assume_roles: args.identity.assume_roles || base.assume_roles,
    }
}

/// Refuses settings that a running scheduler cannot take on. Another cluster it can.
pub(super) fn refuse_changes(running: &Settings, wanted: &Settings) -> Result<(), Failure> {
    let shown = |settings: &Settings| {
        [
            ("listens on", settings.listen.to_string()),
            ("has the account", settings.account.clone()),
            ("has the region", settings.region.clone()),
            ("advertises", settings.advertise.clone().unwrap_or_else(|| "nothing".to_owned())),
            ("assumes", if settings.assume_roles { "roles" } else { "no roles" }.to_owned()),
        ]
    };
    let differs = shown(running).into_iter().zip(shown(wanted)).find(|(now, then)| now != then);
    match differs {
        None => Ok(()),
        Some(((what, now), (_, then))) => {
            let data_dir = running.data_dir.display();
            Err(usage(format!("the ecsr that runs in {data_dir} {what} {now}, not {then}"))
                .hint("`ecsr down` first, or give another --data-dir to run a second one"))
        }
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

    fn chosen(line: &str, data_dir: &Path, earlier: Option<&Settings>) -> Settings {
        let words = std::iter::once("up").chain(line.split_whitespace());
        let Command { globals, args } = Command::try_parse_from(words).expect(line);
        choose(&globals, &args, data_dir, earlier)
    }

    #[test]
    fn the_next_up_goes_on_with_what_the_last_one_chose() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), None);
        let first = chosen("--port 7071 --cluster prod --account 000000000000", dir.path(), None);
        assert_eq!(first.listen, "127.0.0.1:7071".parse().unwrap());
        save(&first).unwrap();
        let earlier = load(dir.path()).unwrap();
        assert_eq!(earlier.as_ref(), Some(&first));
        assert_eq!(chosen("", dir.path(), earlier.as_ref()), first);
        let moved = chosen("--listen 0.0.0.0 --cluster test", dir.path(), earlier.as_ref());
        assert_eq!(moved.listen, "0.0.0.0:7071".parse().unwrap());
        assert_eq!((moved.cluster.as_str(), moved.account.as_str()), ("test", "000000000000"));
    }

    #[test]
    fn a_running_scheduler_takes_on_another_cluster_and_nothing_else() {
        let running = chosen("--port 7071", Path::new("/d"), None);
        let check = |line: &str, expected: Option<&str>| {
            let found = refuse_changes(&running, &chosen(line, Path::new("/d"), Some(&running)));
            assert_eq!(found.err().map(|failure| failure.to_string()).as_deref(), expected, "{line}");
        };
        check("", None);
        check("--cluster other", None);
        check("--port 7072", Some("the ecsr that runs in /d listens on 127.0.0.1:7071, not 127.0.0.1:7072"));
        check("--region eu-west-1", Some("the ecsr that runs in /d has the region us-east-1, not eu-west-1"));
    }
}
