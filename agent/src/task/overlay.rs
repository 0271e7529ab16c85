//! Docker API JSON laid over what the agent built.
//!
//! The scheduler sends most Docker settings this way. The rule is that of Go's decoder, which Amazon's agent
//! uses: objects are merged, everything else replaces, and null leaves things as they are.

use serde_json::{Map, Value};

use super::Refusal;

/// The object in a `dockerConfig` string; empty if there is none.
pub(super) fn parse(text: Option<&str>) -> Result<Map<String, Value>, Refusal> {
    let text = text.map(str::trim).unwrap_or_default();
    if text.is_empty() || text == "null" {
        return Ok(Map::new());
    }
    serde_json::from_str(text)
        .map_err(|error| Refusal::Invalid(format!("dockerConfig is not a JSON object: {error}")))
}

/// Lays `over` on `base`.
pub(super) fn apply(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(inner)), Value::Object(value)) => apply(inner, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// The members of `given` that `kept` has not: what decoding did not understand. Members that say nothing
/// (null, zero, false, empty) are not worth a word.
pub(super) fn lost(given: &Map<String, Value>, kept: &Map<String, Value>) -> Vec<String> {
    given
        .iter()
        .filter(|(key, value)| !kept.contains_key(*key) && says_something(value))
        .map(|(key, _)| key.clone())
        .collect()
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_merge_others_replace_and_null_changes_nothing() {
        let cases = [
            (r#"{"a":1}"#, r#"{"b":2}"#, r#"{"a":1,"b":2}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[3]}"#, r#"{"a":[3]}"#),
            (r#"{"a":{"x":1}}"#, r#"{"a":{"y":2}}"#, r#"{"a":{"x":1,"y":2}}"#),
            (r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":1}"#),
        ];
        for (base, over, expected) in cases {
            let mut merged = parse(Some(base)).unwrap();
            apply(&mut merged, parse(Some(over)).unwrap());
            assert_eq!(merged, parse(Some(expected)).unwrap(), "{base} {over}");
        }
    }
}
