//! What users hand in besides flags: JSON or YAML files of ECS requests, and `key=value` pairs. Files become
//! the JSON of the wire; a member that the operation does not have is refused here by its name, because ECS
//! would ignore it without a word.

use std::fs;
use std::io::Read as _;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::error::{Failure, usage};

/// Bytes of a file that are read at most: ECS takes no request near this size, so more is not a request.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a JSON or YAML object from `path`; `-` is stdin, and a `file://` prefix is taken as the AWS CLI
/// does.
pub(crate) fn read_object(path: &str) -> Result<Map<String, Value>, Failure> {
    let shown = if path == "-" { "stdin" } else { path };
    let text = read(path).map_err(|error| usage(format!("cannot read {shown}: {error}")))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(usage(format!("{shown} is larger than {FILE_BYTES_MAX} bytes")));
    }
    parse_object(&text).map_err(|detail| usage(format!("{shown}: {detail}")))
}

fn read(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    // One byte over the limit is enough to know that it is exceeded.
    match path {
        "-" => std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?,
        path => {
            let file = fs::File::open(path.strip_prefix("file://").unwrap_or(path))?;
            file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?
        }
    };
    Ok(text)
}

/// JSON first, for its better messages; YAML for everything that does not look like JSON.
fn parse_object(text: &str) -> Result<Map<String, Value>, String> {
    let value: Value = if text.trim_start().starts_with(['{', '[']) {
        serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))?
    } else {
        serde_yaml_ng::from_str(text).map_err(|error| format!("not valid YAML: {error}"))?
    };
    match value {
        Value::Object(members) => Ok(members),
        Value::Null => Err("is empty".to_owned()),
        _ => Err("must hold an object at its top level".to_owned()),
    }
}

/// Refuses members that the request type `T` does not have, at any depth, by their paths; and values of
/// another type than the member's.
///
/// The types read leniently, as the wire must be read: what they do not know is gone after a round trip.
pub(crate) fn refuse_unknown<T: DeserializeOwned + Serialize>(
    members: &Map<String, Value>,
) -> Result<(), Failure> {
    let given = Value::Object(members.clone());
    let understood: T =
        serde_json::from_value(given.clone()).map_err(|error| usage(format!("wrong type: {error}")))?;
    let understood = serde_json::to_value(understood).expect("wire types always serialise");
    let mut unknown = Vec::new();
    collect_lost(&given, &understood, "", &mut unknown);
    match unknown[..] {
        [] => Ok(()),
        [ref one] => Err(usage(format!("unknown member {one}"))),
        _ => Err(usage(format!("unknown members {}", unknown.join(", ")))),
    }
}

fn collect_lost(given: &Value, understood: &Value, path: &str, lost: &mut Vec<String>) {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match understood.get(name) {
                    Some(known) => collect_lost(value, known, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(understood)) => {
            for (index, (value, known)) in given.iter().zip(understood).enumerate() {
                collect_lost(value, known, &format!("{path}[{index}]"), lost);
            }
        }
        _ => {}
    }
}

/// Splits `key=value`.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Splits the AWS CLI's shorthand `a=1,b=2` into an object; members named in `numbers` become numbers.
pub(crate) fn shorthand(text: &str, known: &[&str], numbers: &[&str]) -> Result<Value, String> {
    let mut members = Map::new();
    for part in text.split(',') {
        let (key, value) = key_value(part)?;
        if !known.contains(&key.as_str()) {
            return Err(format!("unknown member {key}; it takes {}", known.join(", ")));
        }
        let value = if numbers.contains(&key.as_str()) {
            json!(value.parse::<i64>().map_err(|_| format!("{key} must be a number, not {value:?}"))?)
        } else {
            json!(value)
        };
        members.insert(key, value);
    }
    Ok(Value::Object(members))
}

/// ECS's list of tags from `key=value` pairs.
pub(crate) fn tags(pairs: &[(String, String)]) -> Value {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecsr_api::ecs::RegisterTaskDefinitionRequest;

    #[test]
    fn objects_come_as_json_or_yaml() {
        fn check(text: &str, expected: Result<Value, &str>) {
            match (parse_object(text), expected) {
                (Ok(members), Ok(value)) => assert_eq!(Value::Object(members), value, "{text}"),
                (Err(message), Err(part)) => assert!(message.contains(part), "{text}: {message}"),
                (found, wanted) => panic!("{text}: {found:?} instead of {wanted:?}"),
            }
        }
        check(r#"{"family": "web"}"#, Ok(json!({"family": "web"})));
        check(
            "family: web\ncontainerDefinitions:\n- name: web\n",
            Ok(json!({"family": "web", "containerDefinitions": [{"name": "web"}]})),
        );
        check(r#"{"family": }"#, Err("not valid JSON"));
        check("family: [", Err("not valid YAML"));
        check("[1]", Err("object at its top level"));
        check("", Err("is empty"));
        check("just words", Err("object at its top level"));
    }

    #[test]
    fn unknown_members_are_named_by_their_path() {
        fn check(value: Value, expected: Result<(), &str>) {
            let Value::Object(members) = value else { panic!("not an object") };
            let found = refuse_unknown::<RegisterTaskDefinitionRequest>(&members);
            match (found, expected) {
                (Ok(()), Ok(())) => {}
                (Err(failure), Err(part)) => assert!(failure.to_string().contains(part), "{failure}"),
                (found, wanted) => panic!("{members:?}: {found:?} instead of {wanted:?}"),
            }
        }
        check(json!({"family": "web", "containerDefinitions": [{"name": "web", "memory": 64}]}), Ok(()));
        check(json!({"family": "web", "cpu": null, "containerDefinitions": []}), Ok(()));
        check(
            json!({"family": "web", "container_definitions": []}),
            Err("unknown member container_definitions"),
        );
        check(
            json!({"family": "web", "containerDefinitions": [{"name": "a"}, {"comand": []}]}),
            Err("unknown member containerDefinitions[1].comand"),
        );
        check(json!({"family": ["web"]}), Err("wrong type"));
    }

    #[test]
    fn shorthand_is_the_aws_clis() {
        fn check(text: &str, expected: Result<Value, &str>) {
            let known = ["targetGroupArn", "containerName", "containerPort"];
            match (shorthand(text, &known, &["containerPort"]), expected) {
                (Ok(value), Ok(wanted)) => assert_eq!(value, wanted),
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (found, wanted) => panic!("{text}: {found:?} instead of {wanted:?}"),
            }
        }
        check("containerName=web,containerPort=80", Ok(json!({"containerName": "web", "containerPort": 80})));
        check("targetGroupArn=arn:aws:x=y", Ok(json!({"targetGroupArn": "arn:aws:x=y"})));
        check("containerPort=http", Err("must be a number"));
        check("port=80", Err("unknown member port"));
        check("web", Err("KEY=VALUE"));
    }
}
