//! How a wait looks: one line that changes in place on a terminal, one line per change in a pipe. It is a
//! remark, so it goes to stderr; stdout keeps the result.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// How often the spinner turns: fast enough to look alive, slow enough to cost nothing.
const TICK: Duration = Duration::from_millis(120);

/// The progress of one wait.
#[derive(Debug)]
pub(crate) enum Progress {
    /// A terminal.
    Live(ProgressBar),
    /// A pipe or a log; holds the line last printed.
    Plain(String),
}

impl Progress {
    /// The one that suits stderr.
    pub(crate) fn start() -> Self {
        if !output::is_live() {
            return Self::Plain(String::new());
        }
        let spinner = ProgressBar::new_spinner();
        let template = if output::is_coloured() { "{spinner:.cyan} {msg}" } else { "{spinner} {msg}" };
        spinner
            .set_style(ProgressStyle::with_template(template).expect("the template is constant and valid"));
        spinner.enable_steady_tick(TICK);
        Self::Live(spinner)
    }

    /// Shows how things stand.
    pub(crate) fn state(&mut self, line: &str) {
        match self {
            Self::Live(spinner) => spinner.set_message(line.to_owned()),
            Self::Plain(last) if last == line => {}
            Self::Plain(last) => {
                output::note(line);
                line.clone_into(last);
            }
        }
    }

    /// Shows something that happened, above the state.
    pub(crate) fn event(&self, line: &str) {
        match self {
            Self::Live(spinner) => spinner.suspend(|| output::note(line)),
            Self::Plain(_) => output::note(line),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match self {
            Self::Live(spinner) => spinner.finish_and_clear(),
            Self::Plain(_) => {}
        }
    }
}
