//! `ecsr env`: the environment that points every AWS tool at the local ecsr, as shell commands to evaluate.

use clap::ValueEnum;

use crate::context::Context;
use crate::error::not_found;
use crate::globals::Globals;
use crate::output::print;

pub(crate) const EXAMPLES: &str = "\
Examples:
  eval \"$(ecsr env)\" && aws ecs list-services
  ecsr env --shell fish | source
  eval \"$(ecsr env --unset)\"";

/// Print the exports that point AWS tools at the local ecsr
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print what takes the exports back
    #[arg(long)]
    unset: bool,
    /// The shell that will read it
    #[arg(long, value_enum, default_value_t)]
    shell: Shell,
}

/// Shells by the way they set variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// sh, bash, zsh, dash, ksh
    #[default]
    #[value(alias = "sh", alias = "zsh")]
    Bash,
    Fish,
}

const NAMES: [&str; 7] = [
    "AWS_ENDPOINT_URL_ECS",
    "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "ECS_CLUSTER",
];

/// Runs the verb.
pub(crate) fn run(globals: &Globals, args: &Args) -> anyhow::Result<()> {
    if args.unset {
        return Ok(print(&unset(args.shell))?);
    }
    let data_dir = globals.data_dir()?;
    let context = Context::load(&data_dir)?.ok_or_else(|| {
        not_found(format!("no ecsr was started with {}", data_dir.display()))
            .hint("`ecsr up --detach` starts one; --data-dir names another")
    })?;
    Ok(print(&exports(args.shell, &context))?)
}

fn exports(shell: Shell, context: &Context) -> String {
    let values = [
        Some(&context.endpoint),
        context.balancer.as_ref(),
        Some(&context.access_key_id),
        Some(&context.secret_access_key),
        Some(&context.region),
        Some(&context.region),
        Some(&context.cluster),
    ];
    let given = NAMES.iter().zip(values).filter_map(|(name, value)| Some((name, value?)));
    let lines = given.map(|(name, value)| match shell {
        Shell::Bash => format!("export {name}={}\n", quoted(shell, value)),
        Shell::Fish => format!("set -gx {name} {}\n", quoted(shell, value)),
    });
    lines.collect()
}

fn unset(shell: Shell) -> String {
    match shell {
        Shell::Bash => format!("unset {}\n", NAMES.join(" ")),
        Shell::Fish => format!("set -e {}\n", NAMES.join(" ")),
    }
}

/// `value` as one word of the shell, whatever it holds.
fn quoted(shell: Shell, value: &str) -> String {
    match shell {
        Shell::Bash => format!("'{}'", value.replace('\'', r"'\''")),
        Shell::Fish => format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_survive_the_shell() {
        let context = Context {
            endpoint: "http://127.0.0.1:7070".into(),
            balancer: Some("http://127.0.0.1:7072".into()),
            region: "us-east-1".into(),
            cluster: "it's".into(),
            access_key_id: "AKID".into(),
            secret_access_key: "$(rm -rf ~)".into(),
        };
        let script = exports(Shell::Bash, &context)
            + "printf '%s|' \"$AWS_ENDPOINT_URL_ECS\" \"$AWS_SECRET_ACCESS_KEY\" \"$ECS_CLUSTER\"";
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "http://127.0.0.1:7070|$(rm -rf ~)|it's|");
        assert!(
            script.contains("export AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2='http://127.0.0.1:7072'\n")
        );
        let without = Context { balancer: None, ..context.clone() };
        assert!(!exports(Shell::Bash, &without).contains("ELASTIC_LOAD_BALANCING"));
        assert!(exports(Shell::Fish, &context).contains(r"set -gx ECS_CLUSTER 'it\'s'"));
        assert!(unset(Shell::Bash).starts_with("unset AWS_ENDPOINT_URL_ECS "));
    }
}
