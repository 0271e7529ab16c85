//! From the text of an expression to its tree: recursive descent, one function per rule of the grammar.
//!
//! ```text
//! any       = all { ( "||" | "or" ) all }
//! all       = operand { ( "&&" | "and" ) operand }
//! operand   = ( "!" | "not" ) operand | "(" any ")" | predicate
//! predicate = subject operator [ argument ]
//! ```
//!
//! Invariant: recursion is bounded by [`EXPRESSION_DEPTH_MAX`], so no text can exhaust the stack.

use super::pattern::Pattern;
use super::syntax::{Literal, Node, Predicate, Term, Test};
use super::token::{Cursor, ValuePlace};
use super::value::Value;
use super::{EXPRESSION_DEPTH_MAX, EXPRESSION_LENGTH_MAX, EXPRESSION_PATTERNS_MAX};
use crate::names;
use crate::refusal::{Refusal, invalid};

/// Parses a whole expression.
pub(super) fn root(text: &str) -> Result<Node, Refusal> {
    if text.chars().count() > EXPRESSION_LENGTH_MAX {
        return Err(invalid(format!("Expression must be at most {EXPRESSION_LENGTH_MAX} characters long.")));
    }
    if text.trim().is_empty() {
        return Err(invalid("Expression can not be blank."));
    }
    let mut parser = Parser { cursor: Cursor::new(text), depth: 0, patterns: 0 };
    let node = parser.any()?;
    parser.cursor.skip_space();
    if parser.cursor.at_end() { Ok(node) } else { Err(parser.unexpected("'and', 'or' or the end")) }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    depth: usize,
    patterns: usize,
}

/// The operators, without their arguments.
#[derive(Debug, Clone, Copy)]
enum Operator {
    Exists,
    Equals,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    OneOf,
    Matches,
}

/// Symbols, longest first where one starts another; the flag marks the negated form.
const SYMBOLS: [(&str, bool, Operator); 8] = [
    ("==", false, Operator::Equals),
    ("!=", true, Operator::Equals),
    ("=~", false, Operator::Matches),
    ("!~", true, Operator::Matches),
    (">=", false, Operator::GreaterOrEqual),
    ("<=", false, Operator::LessOrEqual),
    (">", false, Operator::Greater),
    ("<", false, Operator::Less),
];

/// Words, which end where a word ends.
const WORDS: [(&str, bool, Operator); 14] = [
    ("equals", false, Operator::Equals),
    ("not_equals", true, Operator::Equals),
    ("greater_than", false, Operator::Greater),
    ("greater_than_equal", false, Operator::GreaterOrEqual),
    ("less_than", false, Operator::Less),
    ("less_than_equal", false, Operator::LessOrEqual),
    ("exists", false, Operator::Exists),
    ("!exists", true, Operator::Exists),
    ("not_exists", true, Operator::Exists),
    ("in", false, Operator::OneOf),
    ("!in", true, Operator::OneOf),
    ("not_in", true, Operator::OneOf),
    ("matches", false, Operator::Matches),
    ("not_matches", true, Operator::Matches),
];

impl Parser<'_> {
    fn any(&mut self) -> Result<Node, Refusal> {
        let mut parts = vec![self.all()?];
        while self.takes_either("||", "or") {
            parts.push(self.all()?);
        }
        Ok(alone_or(parts, Node::Any))
    }

    fn all(&mut self) -> Result<Node, Refusal> {
        let mut parts = vec![self.operand()?];
        while self.takes_either("&&", "and") {
            parts.push(self.operand()?);
        }
        Ok(alone_or(parts, Node::All))
    }

    fn operand(&mut self) -> Result<Node, Refusal> {
        if self.takes_either("!", "not") {
            return self.nested(Self::operand).map(|part| Node::Not(Box::new(part)));
        }
        if self.takes_symbol("(") {
            let inner = self.nested(Self::any)?;
            return if self.takes_symbol(")") { Ok(inner) } else { Err(self.unexpected("')'")) };
        }
        self.predicate().map(Node::Is)
    }

    fn nested(&mut self, rule: fn(&mut Self) -> Result<Node, Refusal>) -> Result<Node, Refusal> {
        if self.depth == EXPRESSION_DEPTH_MAX {
            return Err(invalid(format!("Expression is nested deeper than {EXPRESSION_DEPTH_MAX} levels.")));
        }
        self.depth += 1;
        let node = rule(self);
        self.depth -= 1;
        node
    }

    fn predicate(&mut self) -> Result<Predicate, Refusal> {
        let term = self.term()?;
        self.cursor.skip_space();
        let Some((negated, operator)) = self.operator() else { return Err(self.unexpected("an operator")) };
        let test = match operator {
            Operator::Exists => Test::Exists,
            Operator::Equals => Test::Equals(self.literal(&term, ValuePlace::Argument)?),
            Operator::Greater => Test::Greater(self.literal(&term, ValuePlace::Argument)?),
            Operator::GreaterOrEqual => Test::GreaterOrEqual(self.literal(&term, ValuePlace::Argument)?),
            Operator::Less => Test::Less(self.literal(&term, ValuePlace::Argument)?),
            Operator::LessOrEqual => Test::LessOrEqual(self.literal(&term, ValuePlace::Argument)?),
            Operator::OneOf => Test::OneOf(self.list(&term)?),
            Operator::Matches => Test::Matches(self.pattern()?),
        };
        Ok(Predicate { term, negated, test })
    }

    fn term(&mut self) -> Result<Term, Refusal> {
        self.cursor.skip_space();
        let start = self.cursor;
        let subject = self.cursor.take_subject();
        let Some(term) = Term::named(subject) else {
            self.cursor = start;
            return Err(self.unexpected("a subject"));
        };
        if let Term::Attribute(name) = &term {
            names::attribute_name(name)?;
        }
        Ok(term)
    }

    fn operator(&mut self) -> Option<(bool, Operator)> {
        let by_symbol = SYMBOLS.iter().find(|(symbol, ..)| self.cursor.take_symbol(symbol));
        let found = by_symbol.or_else(|| WORDS.iter().find(|(word, ..)| self.cursor.take_word(word)));
        found.map(|(_, negated, operator)| (*negated, *operator))
    }

    fn literal(&mut self, term: &Term, place: ValuePlace) -> Result<Literal, Refusal> {
        let text = self.value(place)?;
        let value = Value::read(term.kind(), &text).ok_or_else(|| {
            invalid(format!("Invalid expression: '{text}' is not a valid value for {term}."))
        })?;
        Ok(Literal { text, value })
    }

    fn value(&mut self, place: ValuePlace) -> Result<String, Refusal> {
        self.cursor.skip_space();
        let value = self.cursor.take_value(place).map(str::to_owned);
        value.ok_or_else(|| self.unexpected("a value"))
    }

    fn list(&mut self, term: &Term) -> Result<Vec<Literal>, Refusal> {
        if !self.takes_symbol("[") {
            return Err(self.unexpected("'['"));
        }
        let mut literals = vec![self.literal(term, ValuePlace::ListItem)?];
        while self.takes_symbol(",") {
            literals.push(self.literal(term, ValuePlace::ListItem)?);
        }
        if self.takes_symbol("]") { Ok(literals) } else { Err(self.unexpected("',' or ']'")) }
    }

    fn pattern(&mut self) -> Result<Pattern, Refusal> {
        let source = self.value(ValuePlace::Argument)?;
        self.patterns += 1;
        if self.patterns > EXPRESSION_PATTERNS_MAX {
            return Err(invalid(format!(
                "Expression has more than {EXPRESSION_PATTERNS_MAX} regular expressions."
            )));
        }
        Pattern::new(&source).map_err(|_| {
            invalid(format!("Invalid expression: '{source}' is not a valid regular expression."))
        })
    }

    fn takes_symbol(&mut self, symbol: &str) -> bool {
        self.cursor.skip_space();
        self.cursor.take_symbol(symbol)
    }

    fn takes_either(&mut self, symbol: &str, word: &str) -> bool {
        self.takes_symbol(symbol) || self.cursor.take_word(word)
    }

    fn unexpected(&self, expected: &str) -> Refusal {
        /// Enough of the text to recognise the place.
        const SHOWN_CHARS: usize = 20;
        let found: String = self.cursor.rest().chars().take(SHOWN_CHARS).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("'{found}'") };
        let at = self.cursor.offset();
        invalid(format!("Invalid expression: expected {expected} but found {found} at position {at}."))
    }
}

fn alone_or(mut parts: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    if parts.len() == 1 { parts.remove(0) } else { join(parts) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Expression, parse};
    use super::*;

    #[test]
    fn the_canonical_spelling() {
        let check = |text: &str, canonical: &str| {
            let expression = parse(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
            assert_eq!(expression.to_string(), canonical);
            assert_eq!(expression.as_str(), text);
        };
        check("agentConnected equals true", "agentConnected == true");
        check("task:group==service:a&&!(task:group==db)", "task:group == service:a and not task:group == db");
        check("(runningTasksCount<=2)", "runningTasksCount <= 2");
        check("attribute:a not_in [x,'y z']", "attribute:a !in [x, 'y z']");
        check("attribute:a == \"it's here\"", "attribute:a == \"it's here\"");
        check(
            "attribute:a exists or (attribute:b exists and attribute:c exists)",
            "attribute:a exists or (attribute:b exists and attribute:c exists)",
        );
        check("attribute:a =~ (x|y)", "attribute:a =~ (x|y)");
        check("(attribute:a =~ x.*)", "attribute:a =~ x.*");
        check("attribute:in in[in]", "attribute:in in [in]");
    }

    #[test]
    fn bad_syntax_is_refused_with_its_place() {
        let check = |text: &str, words: &str| match parse(text) {
            Err(Refusal::InvalidParameter(message)) => {
                assert!(message.contains(words), "{text}: {message}");
            }
            other => panic!("{text}: {other:?}"),
        };
        check("", "can not be blank");
        check("   ", "can not be blank");
        check("foo == bar", "expected a subject but found 'foo == bar' at position 0");
        check("attribute: == bar", "Attribute.name");
        check("attribute:a", "expected an operator but found the end");
        check("attribute:a like b", "expected an operator but found 'like b'");
        check("attribute:a ==", "expected a value but found the end");
        check("attribute:a == 'b", "expected a value");
        check("attribute:a in b", "expected '['");
        check("attribute:a in []", "expected a value");
        check("attribute:a in [b", "expected ',' or ']'");
        check("(attribute:a exists", "expected ')'");
        check("attribute:a exists)", "expected 'and', 'or' or the end");
        check("attribute:a exists attribute:b exists", "expected 'and', 'or' or the end");
        check("attribute:a =~ [", "expected a value");
        check("attribute:a =~ x{2,1}", "regular expression");
        check("attribute:a == x(y z)", "expected a value");
        check("attribute:a =~ a)|(b", "expected 'and', 'or' or the end");
        check("attribute:a =~ 'a)|(b'", "regular expression");
        check("attribute:a =~ '(a{999}){999}'", "regular expression");
        check("runningTasksCount > few", "'few' is not a valid value for runningTasksCount");
        check("agentConnected == yes", "not a valid value");
        check("registeredAt > today", "not a valid value");
        check(&"(".repeat(EXPRESSION_DEPTH_MAX + 1), "nested deeper");
        check(&"!".repeat(EXPRESSION_DEPTH_MAX + 1), "nested deeper");
        check(&format!("attribute:a == {}", "x".repeat(EXPRESSION_LENGTH_MAX)), "at most 2000 characters");
        check(
            &vec!["attribute:a =~ x"; EXPRESSION_PATTERNS_MAX + 1].join(" or "),
            "more than 20 regular expressions",
        );
    }

    fn literal_text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9:._/*-]{1,8}", "[a-z ,()'\\[\\]]{0,8}", "[a-z \"&|]{0,8}"]
    }

    fn predicate() -> impl Strategy<Value = Node> {
        let text = |text: String| Literal { value: Value::Text(text.clone()), text };
        let test = prop_oneof![
            Just(Test::Exists),
            literal_text().prop_map(move |value| Test::Equals(text(value))),
            prop::collection::vec(literal_text(), 1..4)
                .prop_map(move |values| Test::OneOf(values.into_iter().map(text).collect())),
            "[a-z.]{1,6}".prop_map(|source| Test::Matches(Pattern::new(&source).expect("a plain pattern"))),
        ];
        let term = prop_oneof![Just(Term::TaskGroup), "[a-z.-]{1,6}".prop_map(Term::Attribute)];
        (term, any::<bool>(), test)
            .prop_map(|(term, negated, test)| Node::Is(Predicate { term, negated, test }))
    }

    fn node() -> impl Strategy<Value = Node> {
        predicate().prop_recursive(4, 16, 3, |inner| {
            let parts = || prop::collection::vec(inner.clone(), 2..4);
            prop_oneof![
                parts().prop_map(Node::All),
                parts().prop_map(Node::Any),
                inner.clone().prop_map(|part| Node::Not(Box::new(part))),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
            let _: Result<Expression, Refusal> = parse(&text);
        }

        #[test]
        fn any_words_are_parsed_or_refused(words in prop::collection::vec(
            prop::sample::select(vec!["attribute:a", "task:group", "==", "!", "in", "[", "]", "(", ")", "and", "or", "not",
                "x", ",", "'", "exists", "=~", "é", "runningTasksCount", "<", "1"]), 0..20)) {
            for joint in ["", " "] {
                if let Ok(expression) = parse(&words.join(joint)) {
                    prop_assert_eq!(&parse(&expression.to_string()).expect("the canonical spelling parses"), &expression);
                }
            }
        }

        #[test]
        fn printing_and_parsing_give_the_same_tree(node in node()) {
            prop_assert_eq!(root(&node.to_string()), Ok(node));
        }
    }
}
