//! Where a journal on etcd is: `etcd://HOST[:PORT],HOST[:PORT].../PREFIX`, or `etcds://` for TLS.

use std::fmt;
use std::str::FromStr;

/// The port of etcd's clients.
const DEFAULT_PORT: u16 = 2379;

/// Most endpoints: etcd itself advises at most seven members.
const ENDPOINTS_MAX: usize = 9;

/// The prefix of a URL that names none.
const DEFAULT_PREFIX: &str = "ecsr";

/// The members of an etcd cluster, and what every key of ours begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Base URLs.
    pub(super) endpoints: Vec<String>,
    /// No slash at either end.
    pub(super) prefix: String,
}

/// Why a URL names no journal.
#[derive(Debug, thiserror::Error)]
#[error("expected etcd://HOST[:PORT][,HOST[:PORT]...][/PREFIX] or etcds://..., got {0:?}")]
pub struct Malformed(String);

impl FromStr for Location {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
        let scheme = match scheme {
            "etcd" => "http",
            "etcds" => "https",
            _ => return Err(malformed()),
        };
        let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, DEFAULT_PREFIX));
        let endpoints: Option<Vec<String>> = hosts.split(',').map(|host| endpoint(scheme, host)).collect();
        let endpoints = endpoints.filter(|all| all.len() <= ENDPOINTS_MAX).ok_or_else(malformed)?;
        let prefix = prefix.trim_matches('/');
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
        if !prefix.chars().all(is_plain) {
            return Err(malformed());
        }
        let prefix = if prefix.is_empty() { DEFAULT_PREFIX } else { prefix };
        Ok(Self { endpoints, prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoints.join(","), self.prefix)
    }
}

fn endpoint(scheme: &str, host: &str) -> Option<String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-.:[]_".contains(letter);
    if host.is_empty() || !host.chars().all(is_plain) {
        return None;
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let is_bare_address = host.ends_with(']');
    if has_port && !is_bare_address {
        Some(format!("{scheme}://{host}"))
    } else {
        Some(format!("{scheme}://{host}:{DEFAULT_PORT}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_urls_of_their_own_scheme() {
        fn check(text: &str, endpoints: &[&str], prefix: &str) {
            let found: Location = text.parse().unwrap();
            assert_eq!((found.endpoints.as_slice(), found.prefix.as_str()), (&owned(endpoints)[..], prefix));
        }
        fn owned(texts: &[&str]) -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        }
        check("etcd://a,b:1/x/y/", &["http://a:2379", "http://b:1"], "x/y");
        check("etcds://10.0.0.1", &["https://10.0.0.1:2379"], "ecsr");
        check("etcd://[::1]:5,[::2]/", &["http://[::1]:5", "http://[::2]:2379"], "ecsr");
        for bad in ["http://a", "etcd://", "etcd://a,,b", "etcd://a b", "etcd://a/x?y", "a:2379"] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }
}
