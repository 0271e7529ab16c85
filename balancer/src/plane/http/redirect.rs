//! Redirects: a location made of the request's own and what the rule puts in place of its parts.

use hyper::header::LOCATION;
use hyper::{Request, Response, StatusCode};

use super::body::Answer;
use super::matching::without_port;
use super::{Client, headers, respond};
use crate::model::Redirect;

/// What a request's location was.
struct From<'a> {
    protocol: &'a str,
    host: &'a str,
    port: u16,
    /// Without the slash that it begins with.
    path: &'a str,
    query: &'a str,
}

pub(super) fn answer<B>(redirect: &Redirect, request: &Request<B>, client: &Client) -> Response<Answer> {
    let uri = request.uri();
    let from = From {
        protocol: client.scheme(),
        host: headers::host(request).map_or("", without_port),
        port: client.arrival.door.local.port(),
        path: uri.path().strip_prefix('/').unwrap_or_default(),
        query: uri.query().unwrap_or_default(),
    };
    let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
    let mut response = respond::made(status);
    match location(redirect, &from).try_into() {
        Ok(location) => {
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(_) => respond::made(StatusCode::BAD_REQUEST),
    }
}

fn location(redirect: &Redirect, from: &From<'_>) -> String {
    let part = |given: &Option<String>, unchanged: &str| filled(given.as_deref().unwrap_or(unchanged), from);
    let protocol = part(&redirect.protocol, "#{protocol}").to_ascii_lowercase();
    let host = part(&redirect.host, "#{host}");
    let port = part(&redirect.port, "#{port}");
    let path = part(&redirect.path, "/#{path}");
    let query = part(&redirect.query, "#{query}");
    let mut location = format!("{protocol}://{host}");
    // A port that was written down is said even where it goes without saying, as ELB does.
    let written = redirect.port.as_deref().is_some_and(|port| port != "#{port}");
    if written || !matches!((protocol.as_str(), port.as_str()), ("http", "80") | ("https", "443")) {
        location.push(':');
        location.push_str(&port);
    }
    location.push_str(&path);
    if !query.is_empty() {
        location.push('?');
        location.push_str(&query);
    }
    location
}

/// The text with the request's parts in place of their names.
fn filled(text: &str, from: &From<'_>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("#{") {
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            filled.push_str("#{");
            rest = after;
            continue;
        };
        match name {
            "protocol" => filled.push_str(from.protocol),
            "host" => filled.push_str(from.host),
            "port" => filled.push_str(&from.port.to_string()),
            "path" => filled.push_str(from.path),
            "query" => filled.push_str(from.query),
            _ => {
                filled.push_str("#{");
                filled.push_str(name);
                filled.push('}');
            }
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let from = From { protocol: "http", host: "a.example.com", port: 80, path: "x/y", query: "q=1" };
        let unchanged =
            Redirect { status: 301, protocol: None, host: None, port: None, path: None, query: None };
        let some = |text: &str| Some(text.to_owned());
        let https = Redirect { protocol: some("HTTPS"), port: some("443"), ..unchanged.clone() };
        let check = |redirect: &Redirect, expected: &str| assert_eq!(location(redirect, &from), expected);

        check(&https, "https://a.example.com:443/x/y?q=1");
        check(&Redirect { protocol: some("HTTPS"), ..unchanged.clone() }, "https://a.example.com:80/x/y?q=1");
        check(
            &Redirect { host: some("www.#{host}"), ..unchanged.clone() },
            "http://www.a.example.com/x/y?q=1",
        );
        let moved = Redirect {
            path: some("/new/#{path}"),
            query: some("from=#{port}&#{query}"),
            ..unchanged.clone()
        };
        check(&moved, "http://a.example.com/new/x/y?from=80&q=1");
        check(
            &Redirect { path: some("/#{what}#{"), query: some(""), ..unchanged },
            "http://a.example.com/#{what}#{",
        );
    }
}
