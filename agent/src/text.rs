//! Errors as an operator reads them.

use std::error::Error;

/// The error and its causes in one line, each said once: "client error (Connect)" alone tells nobody anything.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Step {
        text: &'static str,
        #[source]
        source: Option<Box<Step>>,
    }

    #[test]
    fn causes_are_said_once_and_in_order() {
        let step = |text, source: Option<Step>| Step { text, source: source.map(Box::new) };
        let error = step("cannot open", Some(step("cannot open", Some(step("refused", None)))));
        assert_eq!(chain(&error), "cannot open: refused");
    }
}
