//! What an `up` chose, kept in the data directory, so that the next one needs no flags to go on with it: the
//! ports, the account, the region and the cluster are in ARNs and in other people's configuration, and must
//! not change because somebody typed a shorter command.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Args;
use super::balancer::Balancer;
use crate::docker::agent::DEFAULT_PORT;
use crate::error::{Failure, Kind, usage};
use crate::globals::Globals;
use crate::session::DEFAULT_CLUSTER;
use crate::verb::scheduler::{DEFAULT_ACCOUNT, DEFAULT_REGION, Settings};

const FILE: &str = "up.json";

/// What an `up` starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Choices {
    #[serde(flatten)]
    pub(super) scheduler: Settings,
    /// The load balancer beside it; what an `up` chose before there was one says nothing of it.
    #[serde(default)]
    pub(super) balancer_container: Balancer,
}

/// What the last `up` on `data_dir` chose.
pub(super) fn load(data_dir: &Path) -> Result<Option<Choices>, Failure> {
    let path = data_dir.join(FILE);
    let unreadable = |error: &dyn std::error::Error| {
        Failure::new(Kind::Failed, format!("cannot read {}: {error}", path.display()))
            .hint("remove it to choose anew; give the same flags as before to go on with the same cluster")
    };
    match fs::read(&path) {
        Ok(text) => {
            let mut read: Choices = serde_json::from_slice(&text).map_err(|error| unreadable(&error))?;
            data_dir.clone_into(&mut read.scheduler.data_dir);
            Ok(Some(read))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(unreadable(&error)),
    }
}

/// Keeps `choices` for the next `up`.
pub(super) fn save(choices: &Choices) -> io::Result<()> {
    let data_dir = &choices.scheduler.data_dir;
    let fresh = data_dir.join(format!("{FILE}.new"));
    let text = serde_json::to_string_pretty(choices).map_err(io::Error::other)?;
    fs::write(&fresh, text + "\n")?;
    fs::rename(&fresh, data_dir.join(FILE))
}

/// The command line's settings, over those of the last `up`, over the defaults.
pub(super) fn choose(globals: &Globals, args: &Args, data_dir: &Path, earlier: Option<&Choices>) -> Choices {
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
    let base = earlier.map_or(&default, |earlier| &earlier.scheduler);
    let or = |given: &Option<String>, base: &String| given.as_ref().unwrap_or(base).clone();
    let listen =
        SocketAddr::new(args.listen.unwrap_or(base.listen.ip()), args.port.unwrap_or(base.listen.port()));
    let before = earlier.map(|earlier| &earlier.balancer_container).cloned().unwrap_or_default();
    let balancer_container = before.changed_by(&args.balancer, listen);
    // Another's, which stays what it was until it is named anew, or ours.
    let other = base.balancer.clone().filter(|url| *url != before.url());
    let other = args.identity.balancer.clone().or(other);
    let wants_own = !args.no_agent && !args.balancer.no_balancer;
    let own = (other.is_none() && wants_own).then(|| balancer_container.url());
    let scheduler = Settings {
        data_dir: data_dir.to_owned(),
        listen,
        account: or(&args.identity.account, &base.account),
        region: or(&globals.region, &base.region),
        cluster: or(&globals.cluster, &base.cluster),
        advertise: args.identity.advertise.clone().or_else(|| base.advertise.clone()),
        balancer: other.or(own),
        assume_roles: args.identity.assume_roles || base.assume_roles,
    };
    Choices { scheduler, balancer_container }
}

/// Refuses settings that a running scheduler cannot take on. Another cluster it can; and one that was started without a
/// load balancer is left without, since that harms nothing that there is.
pub(super) fn refuse_changes(running: &Settings, wanted: &Settings) -> Result<(), Failure> {
    let balancer = |settings: &Settings| match (&running.balancer, &wanted.balancer) {
        (Some(_), Some(_)) => settings.balancer.clone().unwrap_or_default(),
        _ => String::new(),
    };
    let shown = |settings: &Settings| {
        [
            ("listens on", settings.listen.to_string()),
            ("has the account", settings.account.clone()),
            ("has the region", settings.region.clone()),
            ("advertises", settings.advertise.clone().unwrap_or_else(|| "nothing".to_owned())),
            ("calls", balancer(settings)),
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

    fn chosen(line: &str, data_dir: &Path, earlier: Option<&Choices>) -> Choices {
        let words = std::iter::once("up").chain(line.split_whitespace());
        let Command { globals, args } = Command::try_parse_from(words).expect(line);
        choose(&globals, &args, data_dir, earlier)
    }

    #[test]
    fn the_next_up_goes_on_with_what_the_last_one_chose() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), None);
        let first = chosen("--port 7071 --cluster prod --account 000000000000", dir.path(), None);
        assert_eq!(first.scheduler.listen, "127.0.0.1:7071".parse().unwrap());
        save(&first).unwrap();
        let earlier = load(dir.path()).unwrap();
        assert_eq!(earlier.as_ref(), Some(&first));
        assert_eq!(chosen("", dir.path(), earlier.as_ref()), first);
        let moved = chosen("--listen 0.0.0.0 --cluster test", dir.path(), earlier.as_ref());
        let Settings { listen, cluster, account, .. } = moved.scheduler;
        assert_eq!(listen, "0.0.0.0:7071".parse().unwrap());
        assert_eq!((cluster.as_str(), account.as_str()), ("test", "000000000000"));
    }

    #[test]
    fn a_running_scheduler_takes_on_another_cluster_and_nothing_else() {
        let running = chosen("--port 7071", Path::new("/d"), None);
        let check = |line: &str, expected: Option<&str>| {
            let wanted = chosen(line, Path::new("/d"), Some(&running));
            let found = refuse_changes(&running.scheduler, &wanted.scheduler);
            assert_eq!(found.err().map(|failure| failure.to_string()).as_deref(), expected, "{line}");
        };
        check("", None);
        check("--cluster other", None);
        check("--port 7072", Some("the ecsr that runs in /d listens on 127.0.0.1:7071, not 127.0.0.1:7072"));
        check("--region eu-west-1", Some("the ecsr that runs in /d has the region us-east-1, not eu-west-1"));
        check("--no-balancer", None);
        let moved = "the ecsr that runs in /d calls http://127.0.0.1:7073, not http://127.0.0.1:9000";
        check("--balancer-port 9000", Some(moved));
    }

    #[test]
    fn a_load_balancer_is_our_own_another_s_or_none() {
        let check = |line: &str, earlier: Option<&Choices>, expected: Option<&str>| {
            let chosen = chosen(line, Path::new("/d"), earlier);
            assert_eq!(chosen.scheduler.balancer.as_deref(), expected, "{line} after {earlier:?}");
            chosen
        };
        let plain = check("", None, Some("http://127.0.0.1:7072"));
        check("--port 8080", None, Some("http://127.0.0.1:8082"));
        check("--listen 0.0.0.0 --balancer-port 9000", None, Some("http://127.0.0.1:9000"));
        let none = check("--no-balancer", Some(&plain), None);
        check("", Some(&none), Some("http://127.0.0.1:7072"));
        check("--no-agent", None, None);
        let moved = check("--balancer-port 9000", Some(&plain), Some("http://127.0.0.1:9000"));
        check("", Some(&moved), Some("http://127.0.0.1:9000"));
        let other = check("--balancer http://10.0.0.9:4566", Some(&moved), Some("http://10.0.0.9:4566"));
        check("", Some(&other), Some("http://10.0.0.9:4566"));
        check("--no-agent", Some(&other), Some("http://10.0.0.9:4566"));
    }

    #[test]
    fn what_an_older_up_chose_gains_the_load_balancer() {
        let dir = tempfile::tempdir().unwrap();
        let old = r#"{"listen": "127.0.0.1:7071", "account": "123456789012", "region": "us-east-1",
            "cluster": "prod", "advertise": null, "assumeRoles": false}"#;
        fs::write(dir.path().join(FILE), old).unwrap();
        let earlier = load(dir.path()).unwrap();
        let next = chosen("", dir.path(), earlier.as_ref());
        assert_eq!(next.scheduler.cluster, "prod");
        assert_eq!(next.scheduler.balancer.as_deref(), Some("http://127.0.0.1:7073"));
        save(&next).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Some(next));
    }
}
