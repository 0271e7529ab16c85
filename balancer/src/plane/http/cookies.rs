//! Cookies that keep a client with its group and its target. They name both by a hash, so they tell no address, and mean
//! the same after a restart.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

use super::super::live::Tag;
use super::super::settings::Stickiness;

const TARGET: &str = "AWSALB";
const APPLICATION_TARGET: &str = "AWSALBAPP-0";
const GROUP: &str = "AWSALBTG";

/// How long a browser keeps the cookie (ELB's own); how long it counts is inside it.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// The group that the client is to stay with.
pub(super) fn group(headers: &HeaderMap, now: SystemTime) -> Option<Tag> {
    read(headers, GROUP, now)
}

/// The target that the client is to stay with.
pub(super) fn target(headers: &HeaderMap, stickiness: &Stickiness, now: SystemTime) -> Option<Tag> {
    match stickiness {
        Stickiness::Balancer(_) => read(headers, TARGET, now),
        Stickiness::Application { .. } => read(headers, APPLICATION_TARGET, now),
        Stickiness::SourceIp => None,
    }
}

pub(super) fn set_group(headers: &mut HeaderMap, group: Tag, lasting: Duration, now: SystemTime) {
    set_both(headers, GROUP, group, lasting, now);
}

/// `headers`: of the target's answer.
pub(super) fn set_target(headers: &mut HeaderMap, stickiness: &Stickiness, target: Tag, now: SystemTime) {
    match stickiness {
        Stickiness::Balancer(lasting) => set_both(headers, TARGET, target, *lasting, now),
        Stickiness::Application { cookie, lasting } if sets(headers, cookie) => {
            append(
                headers,
                &format!("{APPLICATION_TARGET}={}", encoded(target, now + *lasting)),
                *lasting,
                "",
                now,
            );
        }
        Stickiness::Application { .. } | Stickiness::SourceIp => {}
    }
}

/// The second is for requests across sites, which a browser sends it with only when it says so.
fn set_both(headers: &mut HeaderMap, name: &str, tag: Tag, lasting: Duration, now: SystemTime) {
    let value = encoded(tag, now + lasting);
    append(headers, &format!("{name}={value}"), KEPT, "", now);
    append(headers, &format!("{name}CORS={value}"), KEPT, "; SameSite=None; Secure", now);
}

fn append(headers: &mut HeaderMap, pair: &str, kept: Duration, rest: &str, now: SystemTime) {
    let expires = httpdate::fmt_http_date(now + kept);
    let value = HeaderValue::try_from(format!("{pair}; Expires={expires}; Path=/{rest}"));
    headers.append(SET_COOKIE, value.expect("base64 and a date are visible ASCII"));
}

fn encoded(tag: Tag, until: SystemTime) -> String {
    let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut bytes = [0; size_of::<Tag>() + 8];
    bytes[..size_of::<Tag>()].copy_from_slice(&tag);
    bytes[size_of::<Tag>()..].copy_from_slice(&until.to_be_bytes());
    STANDARD_NO_PAD.encode(bytes)
}

/// None unless there is such a cookie, it makes sense, and its time is not over.
fn read(headers: &HeaderMap, name: &str, now: SystemTime) -> Option<Tag> {
    let cross_site = format!("{name}CORS");
    let value = cookie(headers, name).or_else(|| cookie(headers, &cross_site))?;
    let bytes = STANDARD_NO_PAD.decode(value).ok()?;
    let (tag, until) = bytes.split_at_checked(size_of::<Tag>())?;
    let until = Duration::from_secs(u64::from_be_bytes(until.try_into().ok()?));
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if now > until { None } else { tag.try_into().ok() }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

fn sets(headers: &HeaderMap, name: &str) -> bool {
    let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| line.split_once('=')).any(|(key, _)| key.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn sent_back(set: &HeaderMap) -> HeaderMap {
        let pairs =
            set.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap().split(';').next().unwrap());
        let line = pairs.collect::<Vec<_>>().join("; ");
        HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(line).unwrap())])
    }

    #[test]
    fn a_client_is_known_until_the_time_is_over() {
        let (tag, now) = ([7; 16], SystemTime::UNIX_EPOCH + Duration::from_hours(500_000));
        let sticky = Stickiness::Balancer(HOUR);
        let mut answer = HeaderMap::new();
        set_target(&mut answer, &sticky, tag, now);
        set_group(&mut answer, [8; 16], HOUR, now);
        let lines: Vec<_> = answer.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap()).collect();
        let value = "BwcHBwcHBwcHBwcHBwcHBwAAAABrSeAQ";
        assert_eq!(lines[0], format!("AWSALB={value}; Expires=Fri, 22 Jan 2027 08:00:00 GMT; Path=/"));
        assert_eq!(
            lines[1],
            format!(
                "AWSALBCORS={value}; Expires=Fri, 22 Jan 2027 08:00:00 GMT; Path=/; SameSite=None; Secure"
            )
        );
        let request = sent_back(&answer);
        assert_eq!(target(&request, &sticky, now), Some(tag));
        assert_eq!(group(&request, now), Some([8; 16]));
        assert_eq!(target(&request, &sticky, now + 2 * HOUR), None);
        let garbage = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("AWSALB=%41; AWSALBTG="))]);
        assert_eq!((target(&garbage, &sticky, now), group(&garbage, now)), (None, None));
    }

    #[test]
    fn an_applications_cookie_comes_first() {
        let (tag, now) = ([7; 16], SystemTime::now());
        let sticky = Stickiness::Application { cookie: "session".to_owned(), lasting: HOUR };
        let mut answer = HeaderMap::new();
        set_target(&mut answer, &sticky, tag, now);
        assert!(answer.is_empty());
        answer.append(SET_COOKIE, HeaderValue::from_static("session=1; Path=/"));
        set_target(&mut answer, &sticky, tag, now);
        assert_eq!(target(&sent_back(&answer), &sticky, now), Some(tag));
    }
}
