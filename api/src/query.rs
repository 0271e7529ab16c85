//! Percent-encoding as AWS wants it, and reading a query string.
//!
//! Shared by the signature check, which needs the one canonical form of a query, and by the agent's
//! connection parameters. `+` reads as a space: Amazon's agent writes spaces so on the wire of its WebSocket
//! requests, but signs them as `%20`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// Everything but the unreserved characters of RFC 3986.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// As [`COMPONENT`], and the separator of path segments stays.
const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// The most parameters that a query may have: an ACS connection has eight, a presigned one six more.
pub(crate) const PARAMETERS_MAX: usize = 64;

/// A name or value as it stands in a query.
pub(crate) fn encode_component(bytes: &[u8]) -> String {
    percent_encode(bytes, COMPONENT).to_string()
}

/// A path in which everything but unreserved characters and slashes is encoded.
pub(crate) fn encode_path(bytes: &[u8]) -> String {
    percent_encode(bytes, PATH).to_string()
}

/// The decoded names and values of a raw query, in its order; `None` if there are too many.
pub(crate) fn parse(raw: &str) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    parse_within(raw, PARAMETERS_MAX)
}

fn parse_within(raw: &str, parameters_max: usize) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let pairs = raw.split('&').filter(|pair| !pair.is_empty());
    let parsed: Vec<_> = pairs
        .take(parameters_max + 1)
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect();
    (parsed.len() <= parameters_max).then_some(parsed)
}

/// As [`parse`], with bytes that are not UTF-8 replaced: for parameters that are looked up and shown.
pub(crate) fn parse_text(raw: &str) -> Option<Vec<(String, String)>> {
    parse_text_within(raw, PARAMETERS_MAX)
}

/// As [`parse_text`], of a form that may be longer than a query.
pub(crate) fn parse_text_within(raw: &str, parameters_max: usize) -> Option<Vec<(String, String)>> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Some(
        parse_within(raw, parameters_max)?
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
    )
}

/// A query of these parameters, in this order.
pub(crate) fn encode(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| {
            format!("{}={}", encode_component(name.as_bytes()), encode_component(value.as_bytes()))
        })
        .collect();
    pairs.join("&")
}

fn decode(component: &str) -> Vec<u8> {
    let spaced = component.replace('+', " ");
    percent_decode(spaced.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_in_both_spellings_of_a_space() {
        let expected = vec![("a".to_owned(), "x y".to_owned()), ("b".to_owned(), String::new())];
        for raw in ["a=x+y&b=", "a=x%20y&b", "&a=x+y&&b="] {
            assert_eq!(parse_text(raw).unwrap(), expected, "{raw}");
        }
        assert_eq!(encode(&[("a", "x y"), ("b", "1:2/~")]), "a=x%20y&b=1%3A2%2F~");
        assert_eq!(parse(&"a&".repeat(PARAMETERS_MAX + 1)), None);
    }
}
