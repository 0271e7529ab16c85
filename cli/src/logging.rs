//! What the parts of ecsr write while they run, to stderr. `ECSR_LOG` filters it (`debug`,
//! `info,ecsr_agent=debug`); the agent also understands Amazon's `ECS_LOGLEVEL`.

use std::env;
use std::io;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::output;

/// How much is written when nothing is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// A verb that prints its own results: only what is asked for.
    Client,
    /// `ecsr up` in the foreground, beside its own remarks: what needs attention.
    Foreground,
    /// A server: what happens.
    Server,
}

/// Starts logging; called once, before anything can be logged.
pub(crate) fn start(verbosity: Verbosity) {
    let asked = ["ECSR_LOG", "ECS_LOGLEVEL"].iter().find_map(|name| env::var(name).ok());
    let default = match verbosity {
        Verbosity::Client => "off",
        Verbosity::Foreground => "warn",
        Verbosity::Server => "info",
    };
    let directives = match verbosity {
        Verbosity::Client => env::var("ECSR_LOG").ok(),
        Verbosity::Foreground | Verbosity::Server => asked.map(|level| amazons_level(&level).to_owned()),
    };
    // A filter by target and level alone: one by fields would bring a regular expression engine into every agent.
    let fallback = || default.parse::<Targets>().expect("the defaults are levels");
    let filter = directives.and_then(|directives| directives.parse().ok()).unwrap_or_else(fallback);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(output::is_coloured());
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// Amazon's agent has two levels that are called otherwise here.
fn amazons_level(level: &str) -> &str {
    match level {
        "crit" => "error",
        "none" => "off",
        level => level,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazons_levels_are_understood() {
        for (given, meant) in
            [("crit", "error"), ("none", "off"), ("debug", "debug"), ("ecsr=warn", "ecsr=warn")]
        {
            assert_eq!(amazons_level(given), meant);
        }
    }
}
