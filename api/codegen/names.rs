//! From the model's names to Rust's: `camelCase` members to `snake_case` fields, enum shapes to constants.

/// Words that cannot be a plain field name.
const KEYWORDS: &[&str] =
    &["as", "const", "enum", "fn", "in", "loop", "match", "mod", "move", "ref", "type", "use"];

/// `healthCheckGracePeriodSeconds` -> `health_check_grace_period_seconds`, `bindIP` -> `bind_ip`.
///
/// A word starts at an upper-case letter that follows a lower-case letter or digit, and at the last letter
/// of a run of capitals when a lower-case one follows (`CPUArchitecture` -> `cpu_architecture`).
pub(crate) fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 8);
    for (index, letter) in letters.iter().enumerate() {
        let after_word = index > 0 && !letters[index - 1].is_ascii_uppercase();
        let ends_capitals = index > 0 && letters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && (after_word || ends_capitals) && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.push(if *letter == '-' || *letter == '.' { '_' } else { letter.to_ascii_lowercase() });
    }
    snake
}

/// The field for a member: its snake case, escaped where Rust would read a keyword.
pub(crate) fn field(member: &str) -> String {
    let snake = snake_case(member);
    if KEYWORDS.contains(&snake.as_str()) { format!("r#{snake}") } else { snake }
}

/// The constant for an enum shape: `LaunchType` -> `LAUNCH_TYPE`.
pub(crate) fn constant(shape: &str) -> String {
    snake_case(shape).to_ascii_uppercase()
}

/// How a service writes its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Casing {
    Camel,
    Pascal,
}

impl Casing {
    /// As serde's `rename_all` wants it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Casing::Camel => "camelCase",
            Casing::Pascal => "PascalCase",
        }
    }
}

/// What serde's `rename_all` makes of a field, to know where it needs help.
pub(crate) fn serde_case(field: &str, casing: Casing) -> String {
    let mut camel = String::with_capacity(field.len());
    let mut upper = casing == Casing::Pascal;
    for letter in field.trim_start_matches("r#").chars() {
        if letter == '_' {
            upper = true;
        } else {
            camel.push(if upper { letter.to_ascii_uppercase() } else { letter });
            upper = false;
        }
    }
    camel
}
