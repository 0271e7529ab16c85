//! `ecsr completions`: completion scripts, made from the same definitions as the flags.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::output::print;

pub(crate) const EXAMPLES: &str = "\
Examples:
  ecsr completions bash > /etc/bash_completion.d/ecsr
  ecsr completions zsh > \"${fpath[1]}/_ecsr\"
  ecsr completions fish > ~/.config/fish/completions/ecsr.fish";

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// bash, zsh or fish
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(["bash", "zsh", "fish"]))]
    shell: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let shell = match args.shell.as_str() {
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::Cli::command(), "ecsr", &mut script);
    Ok(print(&String::from_utf8_lossy(&script))?)
}
