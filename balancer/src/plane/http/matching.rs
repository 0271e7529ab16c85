//! Conditions of rules: which requests they hold for.

use std::net::IpAddr;

use hyper::header::{HeaderMap, HeaderName};
use hyper::{Method, Request};

use super::headers;
use crate::model::{Condition, QueryPair};

/// A condition, taken apart once.
pub(in super::super) enum Test {
    Host(Vec<Pattern>),
    Path(Vec<Pattern>),
    /// None if no request can have a header of this name.
    Header(Option<HeaderName>, Vec<Pattern>),
    Method(Vec<String>),
    Query(Vec<(Option<Pattern>, Pattern)>),
    Source(Vec<Block>),
}

/// What conditions are about.
pub(super) struct Subject<'a> {
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    headers: &'a HeaderMap,
    method: &'a Method,
    source: IpAddr,
}

/// A text with `*` for any bytes and `?` for one.
pub(in super::super) struct Pattern {
    tokens: Vec<Token>,
    any_case: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Many,
}

/// A CIDR block.
pub(in super::super) struct Block {
    network: u128,
    mask: u128,
}

impl<'a> Subject<'a> {
    pub(super) fn of<B>(request: &'a Request<B>, source: IpAddr) -> Self {
        Self {
            host: headers::host(request).map_or("", without_port),
            path: request.uri().path(),
            query: request.uri().query(),
            headers: request.headers(),
            method: request.method(),
            source,
        }
    }
}

/// `[::1]:80` and `example.com:80` without the port.
pub(super) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

impl Test {
    pub(in super::super) fn of(condition: &Condition) -> Self {
        let patterns = |values: &[String], any_case| -> Vec<_> {
            values.iter().map(|value| Pattern::new(value, any_case)).collect()
        };
        match condition {
            Condition::HostHeader(values) => Self::Host(patterns(values, true)),
            Condition::PathPattern(values) => Self::Path(patterns(values, false)),
            Condition::HttpHeader { name, values } => {
                Self::Header(HeaderName::try_from(name).ok(), patterns(values, true))
            }
            Condition::HttpRequestMethod(values) => Self::Method(values.clone()),
            Condition::QueryString(pairs) => {
                let pair = |QueryPair { key, value }: &QueryPair| {
                    (key.as_ref().map(|key| Pattern::new(key, true)), Pattern::new(value, true))
                };
                Self::Query(pairs.iter().map(pair).collect())
            }
            Condition::SourceIp(blocks) => {
                Self::Source(blocks.iter().filter_map(|block| Block::parse(block)).collect())
            }
        }
    }

    pub(super) fn holds(&self, subject: &Subject<'_>) -> bool {
        let fit = |patterns: &[Pattern], text: &str| patterns.iter().any(|pattern| pattern.fits(text));
        match self {
            Self::Host(patterns) => fit(patterns, subject.host),
            Self::Path(patterns) => fit(patterns, subject.path),
            Self::Header(None, _) => false,
            Self::Header(Some(name), patterns) => {
                let values = subject.headers.get_all(name).iter();
                values.filter_map(|value| value.to_str().ok()).any(|value| fit(patterns, value))
            }
            Self::Method(methods) => methods.iter().any(|method| method == subject.method.as_str()),
            Self::Query(wanted) => pairs(subject.query.unwrap_or_default()).any(|(key, value)| {
                wanted.iter().any(|(wanted_key, wanted_value)| {
                    wanted_key.as_ref().is_none_or(|wanted| wanted.fits(key)) && wanted_value.fits(value)
                })
            }),
            Self::Source(blocks) => blocks.iter().any(|block| block.contains(subject.source)),
        }
    }
}

/// The pairs of a query as they are, percent-encoding included.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

impl Pattern {
    /// `\*`, `\?` and `\\` stand for the character itself.
    fn new(text: &str, any_case: bool) -> Self {
        let mut bytes = text.bytes().peekable();
        let mut tokens = Vec::new();
        while let Some(byte) = bytes.next() {
            tokens.push(match byte {
                b'*' => Token::Many,
                b'?' => Token::One,
                b'\\' => Token::Byte(bytes.next_if(|next| b"*?\\".contains(next)).unwrap_or(byte)),
                byte => Token::Byte(byte),
            });
        }
        Self { tokens, any_case }
    }

    /// Goes back to the last `*` only, which is enough: what an earlier one could take more of, the last can as well.
    fn fits(&self, text: &str) -> bool {
        let text = text.as_bytes();
        let (mut token, mut at) = (0, 0);
        let mut retry = None;
        loop {
            match self.tokens.get(token) {
                Some(Token::Many) => {
                    retry = Some((token + 1, at));
                    token += 1;
                }
                Some(one) if at < text.len() && self.takes(*one, text[at]) => {
                    token += 1;
                    at += 1;
                }
                None if at == text.len() => return true,
                _ => match retry {
                    Some((after, from)) if from < text.len() => {
                        retry = Some((after, from + 1));
                        (token, at) = (after, from + 1);
                    }
                    _ => return false,
                },
            }
        }
    }

    fn takes(&self, token: Token, byte: u8) -> bool {
        match token {
            Token::Byte(wanted) if self.any_case => wanted.eq_ignore_ascii_case(&byte),
            Token::Byte(wanted) => wanted == byte,
            Token::One => true,
            Token::Many => false,
        }
    }
}

impl Block {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
        let length = if address.is_ipv4() { 96 + bits } else { bits };
        let mask = u128::MAX.checked_shl(128_u32.checked_sub(length)?).unwrap_or(0);
        Some(Self { network: number(address) & mask, mask })
    }

    fn contains(&self, address: IpAddr) -> bool {
        number(address) & self.mask == self.network
    }
}

/// All addresses in one space, that of version 4 inside that of version 6.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let fits = |pattern: &str, text: &str| Pattern::new(pattern, false).fits(text);
        for (pattern, text, expected) in [
            ("/img/*", "/img/", true),
            ("/img/*", "/img/a/b", true),
            ("/img/*", "/img", false),
            ("/img/*/pics", "/img/a/b/pics", true),
            ("/img/*/pics", "/img/pics", false),
            ("*.jpg", "/a.jpg.jpg", true),
            ("*a*b", "aXbXb", true),
            ("*a*b", "aXbXc", false),
            ("/v?/x", "/v1/x", true),
            ("/v?/x", "/v/x", false),
            ("*", "", true),
            ("?", "", false),
            ("", "", true),
            ("", "a", false),
            ("/A", "/a", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\?b", "a?b", true),
            (r"a\b", r"a\b", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        assert!(Pattern::new("*.Example.com", true).fits("www.eXample.COM"));
        assert!(!Pattern::new("*.example.com", true).fits("example.com"));
    }

    #[test]
    fn a_long_text_is_no_work_for_many_stars() {
        let pattern = Pattern::new(&"*a".repeat(60), false);
        assert!(!pattern.fits(&format!("{}b", "a".repeat(16_000))));
    }

    #[test]
    fn conditions() {
        let holds = |condition: Condition, request: hyper::http::request::Builder| {
            let request =
                request.header("host", "shop.example.com:8080").header("x-tier", "Gold").body(()).unwrap();
            Test::of(&condition).holds(&Subject::of(&request, "10.1.2.3".parse().unwrap()))
        };
        let get = |uri: &str| Request::get(uri);
        let text = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let query = |key: Option<&str>, value: &str| {
            Condition::QueryString(vec![QueryPair { key: key.map(str::to_owned), value: value.to_owned() }])
        };
        let header =
            |name: &str, value: &str| Condition::HttpHeader { name: name.to_owned(), values: text(&[value]) };

        assert!(holds(Condition::HostHeader(text(&["other.com", "*.EXAMPLE.com"])), get("/")));
        assert!(!holds(Condition::HostHeader(text(&["example.com"])), get("/")));
        assert!(holds(Condition::HostHeader(text(&["abs.com"])), get("http://abs.com/")));
        assert!(holds(Condition::PathPattern(text(&["/a%20b"])), get("/a%20b?x")));
        assert!(!holds(Condition::PathPattern(text(&["/a"])), get("/A")));
        assert!(holds(header("X-TIER", "g*"), get("/")));
        assert!(!holds(header("x-other", "*"), get("/")));
        assert!(holds(Condition::HttpRequestMethod(text(&["PUT", "GET"])), get("/")));
        assert!(!holds(Condition::HttpRequestMethod(text(&["get"])), get("/")));
        assert!(holds(query(Some("Version"), "V?"), get("/?a=b&version=v1")));
        assert!(holds(query(None, "b"), get("/?a=b")));
        assert!(!holds(query(Some("a"), "c"), get("/?a=b&b=c")));
        assert!(!holds(query(None, "*"), get("/")));
        assert!(holds(Condition::SourceIp(text(&["192.0.2.0/24", "10.1.0.0/16"])), get("/")));
        assert!(!holds(Condition::SourceIp(text(&["10.2.0.0/16", "2001:db8::/32"])), get("/")));
        assert!(holds(Condition::SourceIp(text(&["0.0.0.0/0"])), get("/")));
    }
}
