//! What can go wrong, as a user meets it: a kind that becomes the exit code, one line that says what failed,
//! and a hint that says what to do about it. Verbs pass `anyhow::Error` upwards; whatever knows better wraps
//! a [`Failure`] into it, and everything else counts as a plain failure. The exit codes are a contract with
//! scripts: they are listed in `ecsr --help` and do not change meaning.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::process::ExitCode;

/// The exit codes, as `ecsr --help` prints them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the operation was refused or failed
  2    wrong usage: unknown flag, malformed value or file
  3    not found: no such cluster, service, task, instance, key or task definition
  4    access denied: wrong, expired or missing credentials
  5    cannot reach the ECS endpoint or the Docker engine
  6    --wait ended without the wanted state: timed out, or it cannot become stable
  130  interrupted
`ecsr task run --wait` of one task ends with the exit code of its container.";

/// Why a verb ends without success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The other side refused, or the operation failed half way.
    Failed,
    /// The command line or a file given on it is wrong.
    Usage,
    /// The thing that was named does not exist.
    NotFound,
    /// The credentials are missing, wrong or not sufficient.
    Denied,
    /// Nothing answers at the ECS endpoint or the Docker socket.
    Unreachable,
    /// `--wait` ended without the state that was waited for.
    NotStable,
    /// A task that was waited for ended with this code; nothing else went wrong.
    Container(u8),
}

impl Kind {
    /// The process exit code of this kind; see [`EXIT_CODES`].
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Denied => 4,
            Self::Unreachable => 5,
            Self::NotStable => 6,
            Self::Container(code) => code,
        }
    }
}

/// A failure that knows its kind.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure of `kind`; `message` is one line in plain words, without a trailing period.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Adds what the user can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The kind that decides the exit code.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Failure {}

/// Shorthand for a usage failure.
pub(crate) fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Usage, message)
}

/// Shorthand for something that was named and does not exist.
pub(crate) fn not_found(message: impl Into<String>) -> Failure {
    Failure::new(Kind::NotFound, message)
}

/// The kind of an error that travelled through `anyhow`.
pub(crate) fn kind_of(error: &anyhow::Error) -> Kind {
    error.downcast_ref::<Failure>().map_or(Kind::Failed, Failure::kind)
}

/// Prints `error` the way every verb ends, and answers the exit code.
///
/// A reader that went away (`ecsr task list | head -1`) is the end of the work, not a failure.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let kind = kind_of(error);
    if !matches!(kind, Kind::Container(_)) {
        crate::output::note(&format!("error: {error:#}"));
        if let Some(hint) = error.downcast_ref::<Failure>().and_then(|failure| failure.hint.as_deref()) {
            crate::output::note(&format!("hint: {hint}"));
        }
    }
    ExitCode::from(kind.exit_code())
}

/// An error and its causes, outermost first.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// The cause at the bottom, which is the one that names the matter: `Connection refused (os error 111)`.
pub(crate) fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

/// An error with all its causes on one line.
pub(crate) fn in_full(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    // A transparent error says what its source says.
    texts.dedup();
    texts.join(": ")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let documented = |code: u8| EXIT_CODES.contains(&format!("\n  {code} "));
        for kind in
            [Kind::Failed, Kind::Usage, Kind::NotFound, Kind::Denied, Kind::Unreachable, Kind::NotStable]
        {
            assert!(documented(kind.exit_code()), "{kind:?}");
        }
        assert_eq!(Kind::Container(7).exit_code(), 7);
    }

    #[test]
    fn the_kind_survives_added_context() {
        let inner: anyhow::Result<()> = Err(not_found("no task abc").into());
        let error = inner.context("reading logs").unwrap_err();
        assert_eq!(kind_of(&error), Kind::NotFound);
        assert_eq!(kind_of(&anyhow::anyhow!("anything")), Kind::Failed);
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("printing");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("else")));
    }
}
