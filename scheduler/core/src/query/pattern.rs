//! Regular expressions of `=~` and `!~`, compiled once and bounded.
//!
//! ECS documents java.util.regex and matches the whole value. The pattern is compiled alone before it is wrapped in
//! anchors, so that one such as `a)|(b` cannot break out of the wrapping.

use regex::{Error, Regex, RegexBuilder};

/// Bytes that one compiled pattern may take: ample for `(t3|m5)\..*` and its like, nothing for `(a{999}){999}`.
const COMPILED_BYTES_MAX: usize = 128 * 1024;

/// A compiled pattern; equal to another of the same source.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    source: String,
    whole: Regex,
}

impl Pattern {
    pub(super) fn new(source: &str) -> Result<Self, Error> {
        let compile = |text: &str| {
            RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
        };
        compile(source)?;
        let whole = compile(&format!(r"\A(?:{source})\z"))?;
        Ok(Self { source: source.to_owned(), whole })
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn matches(&self, value: &str) -> bool {
        self.whole.is_match(value)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}
