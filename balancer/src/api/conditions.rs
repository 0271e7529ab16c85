//! Conditions of rules: what is asked for, and how it is shown.

use std::net::IpAddr;

use ecsr_api::elbv2::{
    Error, HostHeaderConditionConfig, HttpHeaderConditionConfig, HttpRequestMethodConditionConfig,
    PathPatternConditionConfig, QueryStringConditionConfig, QueryStringKeyValuePair, RuleCondition,
    SourceIpConditionConfig,
};

use super::check::{invalid, unsupported};
use super::limits::{CONDITION_VALUES_MAX, WILDCARDS_MAX};
use crate::model::{Condition, QueryPair};

const FIELDS: [&str; 6] =
    ["path-pattern", "host-header", "http-header", "http-request-method", "query-string", "source-ip"];
/// Of which a rule can have only one.
const SINGLE: [&str; 4] = ["path-pattern", "host-header", "http-request-method", "source-ip"];
const VALUE_CHARS_MAX: usize = 128;
/// Header names and methods.
const WORD_CHARS_MAX: usize = 40;

/// The conditions of a request.
pub(super) fn read(asked: Vec<RuleCondition>) -> Result<Vec<Condition>, Error> {
    if asked.is_empty() {
        return Err(invalid("A condition must be specified"));
    }
    for field in SINGLE {
        if asked.iter().filter(|condition| condition.field.as_deref() == Some(field)).count() > 1 {
            return Err(invalid(format!("A rule can have only one condition with the field '{field}'")));
        }
    }
    let conditions = asked.into_iter().map(read_one).collect::<Result<Vec<_>, _>>()?;
    let values: Vec<&str> = conditions.iter().flat_map(texts).collect();
    if values.len() > CONDITION_VALUES_MAX {
        return Err(invalid(format!("A rule can have up to '{CONDITION_VALUES_MAX}' condition values")));
    }
    if values.into_iter().map(wildcards).sum::<usize>() > WILDCARDS_MAX {
        return Err(invalid(format!("A rule can have up to '{WILDCARDS_MAX}' condition wildcards")));
    }
    Ok(conditions)
}

/// A condition as ELBv2 shows it: hosts and paths in their old form as well.
pub(super) fn show(condition: &Condition) -> RuleCondition {
    let field = |field: &str| RuleCondition { field: Some(field.to_owned()), ..RuleCondition::default() };
    match condition {
        Condition::HostHeader(values) => RuleCondition {
            values: Some(values.clone()),
            host_header_config: Some(HostHeaderConditionConfig {
                values: Some(values.clone()),
                regex_values: None,
            }),
            ..field("host-header")
        },
        Condition::PathPattern(values) => RuleCondition {
            values: Some(values.clone()),
            path_pattern_config: Some(PathPatternConditionConfig {
                values: Some(values.clone()),
                regex_values: None,
            }),
            ..field("path-pattern")
        },
        Condition::HttpHeader { name, values } => RuleCondition {
            http_header_config: Some(HttpHeaderConditionConfig {
                http_header_name: Some(name.clone()),
                values: Some(values.clone()),
                regex_values: None,
            }),
            ..field("http-header")
        },
        Condition::HttpRequestMethod(values) => RuleCondition {
            http_request_method_config: Some(HttpRequestMethodConditionConfig {
                values: Some(values.clone()),
            }),
            ..field("http-request-method")
        },
        Condition::QueryString(pairs) => {
            let pair = |pair: &QueryPair| QueryStringKeyValuePair {
                key: pair.key.clone(),
                value: Some(pair.value.clone()),
            };
            let config = QueryStringConditionConfig { values: Some(pairs.iter().map(pair).collect()) };
            RuleCondition { query_string_config: Some(config), ..field("query-string") }
        }
        Condition::SourceIp(values) => RuleCondition {
            source_ip_config: Some(SourceIpConditionConfig {
                values: Some(values.clone()),
                ip_address_type: None,
            }),
            ..field("source-ip")
        },
    }
}

fn read_one(asked: RuleCondition) -> Result<Condition, Error> {
    let field = asked.field.as_deref().filter(|field| !field.is_empty());
    let field = field.ok_or_else(|| invalid("A condition field must be specified"))?.to_owned();
    if !FIELDS.contains(&&*field) {
        return Err(invalid(format!("Condition field '{field}' must be one of '[{}]'", FIELDS.join(","))));
    }
    if has_regexes(&asked) {
        return Err(unsupported("Conditions with regular expressions are"));
    }
    let plain = asked.values.filter(|values| !values.is_empty());
    if plain.is_some() && !matches!(&*field, "path-pattern" | "host-header") {
        return Err(invalid(format!("The 'Values' field is not compatible with '{field}'")));
    }
    let either = |config: Option<Vec<String>>| match (config.filter(|values| !values.is_empty()), plain) {
        (Some(_), Some(_)) => Err(invalid(format!(
            "You cannot specify both 'Values' and a configuration for the field '{field}'"
        ))),
        (config, plain) => some(config.or(plain)),
    };
    match &*field {
        "path-pattern" => {
            let values = either(asked.path_pattern_config.and_then(|config| config.values))?;
            values.iter().try_for_each(|value| check_value(&field, value, is_path))?;
            Ok(Condition::PathPattern(values))
        }
        "host-header" => {
            let values = either(asked.host_header_config.and_then(|config| config.values))?;
            values.iter().try_for_each(|value| check_value(&field, value, is_host))?;
            Ok(Condition::HostHeader(values))
        }
        "http-header" => {
            let config = asked.http_header_config.unwrap_or_default();
            let name = config.http_header_name.unwrap_or_default();
            check_header_name(&name)?;
            let values = some(config.values)?;
            values.iter().try_for_each(|value| check_value(&field, value, is_text))?;
            Ok(Condition::HttpHeader { name, values })
        }
        "http-request-method" => {
            let values = some(asked.http_request_method_config.and_then(|config| config.values))?;
            values.iter().try_for_each(|value| check_value(&field, value, is_method))?;
            Ok(Condition::HttpRequestMethod(values))
        }
        "query-string" => {
            let pairs = some(asked.query_string_config.and_then(|config| config.values))?;
            Ok(Condition::QueryString(pairs.into_iter().map(pair).collect::<Result<_, _>>()?))
        }
        _ => {
            let values = some(asked.source_ip_config.and_then(|config| config.values))?;
            values.iter().try_for_each(|value| check_value(&field, value, is_block))?;
            Ok(Condition::SourceIp(values))
        }
    }
}

fn has_regexes(asked: &RuleCondition) -> bool {
    let given = |regexes: Option<&Vec<String>>| regexes.is_some_and(|regexes| !regexes.is_empty());
    given(asked.regex_values.as_ref())
        || given(asked.host_header_config.as_ref().and_then(|config| config.regex_values.as_ref()))
        || given(asked.path_pattern_config.as_ref().and_then(|config| config.regex_values.as_ref()))
        || given(asked.http_header_config.as_ref().and_then(|config| config.regex_values.as_ref()))
}

fn some<T>(values: Option<Vec<T>>) -> Result<Vec<T>, Error> {
    values.filter(|values| !values.is_empty()).ok_or_else(|| invalid("A condition value must be specified"))
}

fn pair(asked: QueryStringKeyValuePair) -> Result<QueryPair, Error> {
    let key = asked.key.filter(|key| !key.is_empty());
    let value = asked.value.unwrap_or_default();
    for text in key.iter().chain([&value]) {
        check_value("query-string", text, is_text)?;
    }
    Ok(QueryPair { key, value })
}

fn check_value(field: &str, value: &str, is_good: fn(&str) -> bool) -> Result<(), Error> {
    if value.is_empty() {
        return Err(invalid("A condition value must be specified"));
    }
    let max = if field == "http-request-method" { WORD_CHARS_MAX } else { VALUE_CHARS_MAX };
    if value.chars().count() > max {
        return Err(invalid(format!("The '{field}' value is too long; the limit is '{max}'")));
    }
    if is_good(value) { Ok(()) } else { Err(invalid(format!("The '{field}' value '{value}' is not valid"))) }
}

fn check_header_name(name: &str) -> Result<(), Error> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_good = !name.is_empty() && name.len() <= WORD_CHARS_MAX && name.bytes().all(is_letter);
    if !is_good || name.contains('*') || name.eq_ignore_ascii_case("host") {
        return Err(invalid(format!("The HTTP header name '{name}' is not valid")));
    }
    Ok(())
}

/// Letters, digits, `-`, `.` and wildcards; a dot, and letters alone after the last one.
fn is_host(value: &str) -> bool {
    let is_wild = |byte: u8| byte == b'*' || byte == b'?';
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte) || is_wild(byte);
    let is_top = |top: &str| top.bytes().all(|byte| byte.is_ascii_alphabetic() || is_wild(byte));
    value.bytes().all(is_letter)
        && value.rsplit_once('.').is_some_and(|(_, top)| !top.is_empty() && is_top(top))
}

fn is_path(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.$/~\"'@:+&*?".contains(&byte))
}

fn is_text(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

fn is_method(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
}

/// A block of addresses, but not the one that ELBv2 excludes.
fn is_block(value: &str) -> bool {
    let Some((address, bits)) = value.split_once('/') else { return false };
    let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits: Option<u8> = bits.parse().ok().filter(|_| is_number);
    match (address.parse(), bits) {
        (Ok(IpAddr::V4(address)), Some(bits)) => bits <= 32 && !(address.is_broadcast() && bits == 32),
        (Ok(IpAddr::V6(_)), Some(bits)) => bits <= 128,
        (Ok(_), None) | (Err(_), _) => false,
    }
}

/// The values of a condition that count against the limits.
fn texts(condition: &Condition) -> Vec<&str> {
    match condition {
        Condition::HostHeader(values)
        | Condition::PathPattern(values)
        | Condition::HttpHeader { values, .. }
        | Condition::HttpRequestMethod(values)
        | Condition::SourceIp(values) => values.iter().map(String::as_str).collect(),
        Condition::QueryString(pairs) => pairs.iter().map(|pair| pair.value.as_str()).collect(),
    }
}

fn wildcards(value: &str) -> usize {
    value.bytes().filter(|byte| matches!(byte, b'*' | b'?')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_the_form_of_their_field() {
        let check = |is_good: fn(&str) -> bool, good: &[&str], bad: &[&str]| {
            assert_eq!(good.iter().find(|value| !is_good(value)), None);
            assert_eq!(bad.iter().find(|value| is_good(value)), None);
        };
        check(is_host, &["a.com", "*.a.com", "A-1.co?"], &["localhost", "a.", "a.1", "a b.com", "ü.com"]);
        check(is_path, &["/", "/a/*", "/%7Ea".replace('%', "").as_str(), "*"], &["/a b", "/ü", "/a?b=1%"]);
        check(is_method, &["GET", "M-SEARCH"], &["get", "GET*", "G T"]);
        check(
            is_block,
            &["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32"],
            &["10.0.0.1", "10.0.0.0/33", "::/129", "255.255.255.255/32", "a/8", "1.1.1.1/+8", "1.1.1.1/"],
        );
    }
}
