//! The one spelling of a request that both sides hash.
//!
//! Lines: method, path, query, each signed header, their names, the body's hash. The path is normalised and
//! encoded once more on top of what is on the wire, as every service but S3 has it.

use crate::query;

use super::claim::{Carrier, Claim, SIGNATURE_PARAMETER};
use super::{HEADERS_MAX, Request, VerifyError};

/// The canonical request.
///
/// # Errors
/// `TooLarge` if more headers are named as signed than a request may have, or the query has too many parts.
pub(super) fn request(
    request: &Request<'_>,
    claim: &Claim,
    payload_hash: &str,
) -> Result<Vec<u8>, VerifyError> {
    if claim.signed_headers.len() > HEADERS_MAX {
        return Err(VerifyError::TooLarge);
    }
    let mut out = Vec::with_capacity(1024);
    for line in [request.method, &path(request.path), &canonical_query(request, claim)?] {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    for name in &claim.signed_headers {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        write_values(&mut out, request, name);
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(claim.signed_headers.join(";").as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload_hash.as_bytes());
    Ok(out)
}

/// The path without empty, `.` and `..` segments, encoded.
fn path(raw: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            named => segments.push(named),
        }
    }
    let directory = ["/", "/.", "/.."].iter().any(|end| raw.ends_with(end));
    let end = if directory && !segments.is_empty() { "/" } else { "" };
    query::encode_path(format!("/{}{end}", segments.join("/")).as_bytes())
}

/// The parameters, encoded alike whatever their spelling on the wire, sorted by name, then value.
fn canonical_query(request: &Request<'_>, claim: &Claim) -> Result<String, VerifyError> {
    let parameters = query::parse(request.query).ok_or(VerifyError::TooLarge)?;
    let signed = |name: &[u8]| match claim.carrier {
        Carrier::Header => true,
        Carrier::Query { .. } => name != SIGNATURE_PARAMETER.as_bytes(),
    };
    let mut encoded: Vec<(String, String)> = parameters
        .iter()
        .filter(|(name, _)| signed(name))
        .map(|(name, value)| (query::encode_component(name), query::encode_component(value)))
        .collect();
    encoded.sort();
    let pairs: Vec<String> = encoded.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(pairs.join("&"))
}

/// The values of a header, joined with commas, each trimmed and with runs of spaces made one.
fn write_values(out: &mut Vec<u8>, request: &Request<'_>, name: &str) {
    let values = request.headers.iter().filter(|(sent, _)| sent.eq_ignore_ascii_case(name));
    for (index, (_, value)) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if let Some(first) = words.next() {
            out.extend_from_slice(first);
        }
        for word in words {
            out.push(b' ');
            out.extend_from_slice(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_encoded_once_more() {
        let check = |raw: &str, canonical: &str| assert_eq!(path(raw), canonical, "{raw}");
        check("", "/");
        check("/", "/");
        check("//", "/");
        check("/example/..", "/");
        check("/example1/example2/../..", "/");
        check("/./", "/");
        check("/./example", "/example");
        check("//example//", "/example/");
        check("/../../a", "/a");
        check("/example space/", "/example%20space/");
        check("/example%20space/", "/example%2520space/");
        check("/-._~0123456789Az", "/-._~0123456789Az");
        check("/\u{1234}", "/%E1%88%B4");
    }
}
