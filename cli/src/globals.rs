//! The flags that every verb takes, as plain data. What they mean together (which ECS is spoken to, as whom)
//! is decided once, in [`crate::session`]; the data directory is resolved here because it depends on nothing
//! else.

use std::env;
use std::path::PathBuf;

use crate::error::{Failure, usage};
use crate::output::Format;

const HEADING: &str = "Global options";

/// Flags accepted before and after any verb.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Globals {
    /// The cluster to work on; default: the one of the local ecsr, else `default`
    #[arg(long, short = 'c', global = true, env = "ECS_CLUSTER", value_name = "NAME", help_heading = HEADING)]
    pub(crate) cluster: Option<String>,

    /// How results are printed
    #[arg(long, short = 'o', global = true, value_enum, default_value_t, help_heading = HEADING)]
    pub(crate) output: Format,

    /// The ECS endpoint to speak to; AWS_ENDPOINT_URL_ECS and AWS_ENDPOINT_URL do the same
    #[arg(long, global = true, value_name = "URL", help_heading = HEADING)]
    pub(crate) endpoint_url: Option<String>,

    /// The region; default: that of the local ecsr, else what the AWS configuration says
    #[arg(long, global = true, value_name = "REGION", help_heading = HEADING)]
    pub(crate) region: Option<String>,

    /// Speak to Amazon ECS with this profile of the AWS configuration
    #[arg(long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) profile: Option<String>,

    /// Speak to Amazon ECS even when a local ecsr runs
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) aws: bool,

    /// Where the local ecsr keeps its state; default: /var/lib/ecsr for root, else ~/.local/share/ecsr
    #[arg(long, global = true, env = "ECSR_DATA_DIR", value_name = "DIR", help_heading = HEADING)]
    pub(crate) data_dir: Option<PathBuf>,
}

impl Globals {
    /// The data directory of the local ecsr, absolute. It need not exist.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failure> {
        let chosen = match &self.data_dir {
            Some(dir) => dir.clone(),
            None => default_data_dir(rustix::process::geteuid().is_root(), |name| env::var(name).ok())?,
        };
        std::path::absolute(&chosen)
            .map_err(|error| usage(format!("--data-dir {}: {error}", chosen.display())))
    }
}

fn default_data_dir(root: bool, var: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Failure> {
    if root {
        return Ok(PathBuf::from("/var/lib/ecsr"));
    }
    let set = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG base directory rules: a relative value is to be ignored.
    let data_home = set("XDG_DATA_HOME").filter(|dir| dir.is_absolute());
    data_home
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("ecsr"))
        .ok_or_else(|| usage("no data directory: HOME is not set").hint("give --data-dir DIR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_data_dirs() {
        fn check(root: bool, vars: &[(&str, &str)], expected: Option<&str>) {
            let var =
                |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(default_data_dir(root, var).ok(), expected.map(PathBuf::from), "{vars:?}");
        }
        check(true, &[("HOME", "/root")], Some("/var/lib/ecsr"));
        check(false, &[("HOME", "/home/ann")], Some("/home/ann/.local/share/ecsr"));
        check(false, &[("HOME", "/home/ann"), ("XDG_DATA_HOME", "/data")], Some("/data/ecsr"));
        check(
            false,
            &[("HOME", "/home/ann"), ("XDG_DATA_HOME", "relative")],
            Some("/home/ann/.local/share/ecsr"),
        );
        check(false, &[("XDG_DATA_HOME", "")], None);
    }
}
