//! Cutting a cluster query expression into words.
//!
//! The language cannot be cut without knowing where in the grammar one stands: `g2.*` is a value, `!` before a
//! subject is a negation and inside `!in` an operator, and a regular expression may hold brackets. So this is a
//! cursor that the parser asks for what it expects next, not a list of tokens.
//!
//! Invariant: the cursor only moves forward and always stands on a character boundary.

/// A position in the text of an expression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// Where an unquoted value ends, beside white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValuePlace {
    /// After a comparison: up to a bracket that was not opened inside the value, `&&` or `||`.
    Argument,
    /// Inside `[a, b]`: a comma ends it too.
    ListItem,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Byte offset from the start of the expression, for error texts.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    pub(super) fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// Takes `symbol` if it comes next.
    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.rest().starts_with(symbol);
        if found {
            self.at += symbol.len();
        }
        found
    }

    /// Takes `word` if it comes next and is not just the start of a longer word.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let Some(after) = self.rest().strip_prefix(word) else { return false };
        let whole = !after.starts_with(continues_word);
        if whole {
            self.at += word.len();
        }
        whole
    }

    /// Takes a subject: everything up to white space, a bracket or the first character of an operator.
    pub(super) fn take_subject(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.find(ends_subject).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Takes a value, quoted or not; `None` when there is none, or its quote or a bracket is never closed.
    pub(super) fn take_value(&mut self, place: ValuePlace) -> Option<&'a str> {
        let rest = self.rest();
        if let Some(quote) = rest.chars().next().filter(|first| matches!(first, '\'' | '"')) {
            let inner = &rest[1..];
            let length = inner.find(quote)?;
            self.at += length + 2;
            return Some(&inner[..length]);
        }
        let length = unquoted_length(rest, place).filter(|length| *length > 0)?;
        self.at += length;
        Some(&rest[..length])
    }
}

/// Whether `value` would be read back whole without quotes.
pub(super) fn is_plain(value: &str, place: ValuePlace) -> bool {
    !value.is_empty() && !value.starts_with(['\'', '"']) && unquoted_length(value, place) == Some(value.len())
}

fn continues_word(next: char) -> bool {
    next.is_alphanumeric() || matches!(next, '_' | ':' | '.' | '-')
}

fn ends_subject(next: char) -> bool {
    next.is_whitespace() || matches!(next, '=' | '!' | '<' | '>' | '~' | '(' | ')' | '[' | ']' | '&' | '|')
}

/// Brackets opened inside the value belong to it, so that `t2\.(small|medium)` and `m[45]\..*` need no quotes;
/// `None` when one is still open where the value ends.
fn unquoted_length(rest: &str, place: ValuePlace) -> Option<usize> {
    let mut open: u32 = 0;
    for (at, next) in rest.char_indices() {
        let boundary = match next {
            _ if next.is_whitespace() => true,
            '(' | '[' => {
                open += 1;
                false
            }
            ')' | ']' => {
                let outside = open == 0;
                open = open.saturating_sub(1);
                outside
            }
            ',' => open == 0 && place == ValuePlace::ListItem,
            '&' | '|' => open == 0 && rest[at + 1..].starts_with(next),
            _ => false,
        };
        if boundary {
            return (open == 0).then_some(at);
        }
    }
    (open == 0).then_some(rest.len())
}
