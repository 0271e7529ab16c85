//! The load balancer's container on this machine. It sees the network as the host does, and of the host's files the data
//! directory alone: there it keeps its state, and reads the access keys, which may be replaced at any time.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::container::Wanted;
use crate::verb::balancer::DEFAULT_PORT;

/// What the names of all its containers begin with.
pub(crate) const NAME: &str = "ecsr-balancer";

/// What the load balancer of this machine is to be.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) bind: IpAddr,
    pub(crate) dns_name: String,
    pub(crate) account: String,
    pub(crate) region: String,
}

impl Settings {
    /// The container that runs it.
    pub(crate) fn container(&self) -> Wanted {
        let data_dir = self.data_dir.display().to_string();
        let flags = [
            ("--data-dir", data_dir.clone()),
            ("--listen", self.listen.to_string()),
            ("--bind", self.bind.to_string()),
            ("--dns-name", self.dns_name.clone()),
            ("--account", self.account.clone()),
            ("--region", self.region.clone()),
        ];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        Wanted {
            name: self.container_name(),
            data_dir: self.data_dir.clone(),
            command: ["balancer".to_owned()].into_iter().chain(flags).collect(),
            environment: vec!["NO_COLOR=1".to_owned()],
            binds: vec![format!("{data_dir}:{data_dir}")],
            port_flag: "--balancer-port",
        }
    }

    fn container_name(&self) -> String {
        match self.listen.port() {
            DEFAULT_PORT => NAME.to_owned(),
            port => format!("{NAME}-{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_everything_and_sees_its_data_where_it_is() {
        let settings = Settings {
            data_dir: "/var/lib/ecsr".into(),
            listen: "127.0.0.1:7072".parse().unwrap(),
            bind: "0.0.0.0".parse().unwrap(),
            dns_name: "localhost".into(),
            account: "123456789012".into(),
            region: "us-east-1".into(),
        };
        let container = settings.container();
        assert_eq!(container.name, "ecsr-balancer");
        assert_eq!(container.binds, ["/var/lib/ecsr:/var/lib/ecsr"]);
        assert_eq!(
            container.command[..5],
            ["balancer", "--data-dir", "/var/lib/ecsr", "--listen", "127.0.0.1:7072"]
        );
        let second = Settings { listen: "127.0.0.1:7082".parse().unwrap(), ..settings };
        assert_eq!(second.container().name, "ecsr-balancer-7082");
    }
}
