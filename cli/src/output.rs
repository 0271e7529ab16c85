//! What verbs print. Results go to stdout, in the format that the user chose; remarks and progress go to
//! stderr, so that a pipe carries results alone. JSON and YAML are ECS's own answer with one change:
//! timestamps are ISO 8601 rather than seconds, as the AWS CLI prints them. Nothing here panics when a reader
//! goes away.

pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod time;

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

/// The output formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, or a page for one thing
    #[default]
    Table,
    /// ECS's JSON, times as ISO 8601
    Json,
    /// The same as YAML
    Yaml,
}

/// Prints `text` and a line feed to stdout.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Prints a remark for the human to stderr. That it cannot be printed is no reason to stop.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints `value` as `format` says; `human` makes the table or page when that is the format.
pub(crate) fn show(
    format: Format,
    value: &Value,
    human: impl FnOnce(&Value) -> String,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => human(value),
        Format::Json => serde_json::to_string_pretty(&time::with_iso_times(value))?,
        Format::Yaml => serde_yaml_ng::to_string(&time::with_iso_times(value))?,
    };
    Ok(print(&text)?)
}

/// Whether stderr can show something that moves, and the user has not asked for plain text.
pub(crate) fn is_live() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether stderr may carry colours: a terminal, and no `NO_COLOR` (<https://no-color.org>).
pub(crate) fn is_coloured() -> bool {
    is_live() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
