//! Forwarding a request: to a target of a group, and to another one when that is sure to do no harm.
//!
//! A request goes to another target when no connection could be made, when nothing of it was sent, or when it is
//! idempotent and was not begun to be answered. Any other that may have been received is never sent twice.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::time::timeout;

use super::super::group::{Group, Tried, View};
use super::super::live::{InFlight, Tag};
use super::super::pool::{self, Http1, Sender};
use super::super::service::{Forward, Service};
use super::super::settings::Stickiness;
use super::body::{Answer, Progress, Sent};
use super::upgrade::{self, Wanted};
use super::{Client, cookies, headers, respond};
use crate::model::ProtocolVersion;

/// Most bytes of a body that is kept so that its request can be sent once more.
const KEPT_BODY_MAX: u64 = 64 * 1024;

/// Most times that one request is sent, counting those that found a connection closed under them.
const SENDS_MAX: usize = 4;

/// A connection to a target for the time of one request.
pub(super) struct Lease {
    in_flight: InFlight,
    lane: usize,
    /// Of HTTP/1.1, which carries one request at a time.
    sender: Option<Http1>,
}

impl Lease {
    /// All was answered: the connection can carry the next request.
    pub(super) fn done(self) {
        let live = self.in_flight.live();
        if let Some(sender) = self.sender
            && !live.is_draining()
        {
            live.pool(self.lane).put(sender);
        }
    }
}

/// How sending ended.
enum Sending {
    Answered(Response<Incoming>, Lease),
    /// It can be sent once more, this being what the client is told if it is not.
    Again(Request<Sent>, StatusCode),
    Failed(StatusCode),
}

/// What one request is to be sent with.
struct Errand<'a> {
    client: &'a Client,
    view: &'a View,
    idle_timeout: Duration,
    /// Of a body that comes from the client as it is sent.
    progress: Option<Arc<Progress>>,
}

pub(super) async fn forward(
    client: &Client,
    service: &Service,
    to: &Forward,
    request: Request<Incoming>,
) -> Response<Answer> {
    let now = SystemTime::now();
    let Some(group) = choose_group(to, request.headers(), now) else {
        return respond::made(StatusCode::SERVICE_UNAVAILABLE);
    };
    let view = group.view().clone();
    if !suits(&request, view.spec.protocol_version) {
        return respond::made(StatusCode::from_u16(464).expect("three digits are a status"));
    }
    let sticky = view.settings.stickiness.as_ref();
    let known = sticky.and_then(|sticky| cookies::target(request.headers(), sticky, now));
    let mut answer = match send(client, service, group, &view, known, request).await {
        Ok((answer, target)) => with_target(answer, sticky, target, now),
        Err(status) => respond::made(status),
    };
    if let Some(lasting) = to.stick {
        cookies::set_group(answer.headers_mut(), group.tag, lasting, now);
    }
    answer
}

fn with_target(
    mut answer: Response<Answer>,
    sticky: Option<&Stickiness>,
    target: Tag,
    now: SystemTime,
) -> Response<Answer> {
    // A connection that is something else now stays where it is.
    if let Some(sticky) = sticky
        && answer.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        cookies::set_target(answer.headers_mut(), sticky, target, now);
    }
    answer
}

/// The group that the client was with, if it is still one of these; else one by weight.
fn choose_group<'a>(to: &'a Forward, headers: &HeaderMap, now: SystemTime) -> Option<&'a Arc<Group>> {
    if to.stick.is_some()
        && let Some(tag) = cookies::group(headers, now)
    {
        let same = to.groups.iter().find(|(group, weight)| group.tag == tag && *weight > 0);
        if let Some((group, _)) = same {
            return Some(group);
        }
    }
    to.choose(fastrand::u64(..))
}

/// Which requests targets of a version can be sent (ELB's own table).
fn suits<B>(request: &Request<B>, version: ProtocolVersion) -> bool {
    let grpc = || {
        let content_type = request.headers().get(CONTENT_TYPE);
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
    };
    let http2 = request.version() == Version::HTTP_2;
    match version {
        ProtocolVersion::Http1 => !(http2 && grpc()),
        ProtocolVersion::Http2 => http2,
        ProtocolVersion::Grpc => http2 && request.method() == Method::POST,
    }
}

async fn send(
    client: &Client,
    service: &Service,
    group: &Group,
    view: &View,
    known: Option<Tag>,
    mut request: Request<Incoming>,
) -> Result<(Response<Answer>, Tag), StatusCode> {
    let http2 = view.spec.protocol_version != ProtocolVersion::Http1;
    let mut wanted = if http2 { None } else { upgrade::wanted(&mut request) };
    let (mut parts, body) = request.into_parts();
    headers::for_target(&mut parts, client, &service.settings, http2);
    parts.extensions.clear();
    if let Some(wanted) = &wanted {
        wanted.ask(&mut parts.headers);
    }
    let idle_timeout = service.settings.idle_timeout;
    let (body, progress) = sent(&parts, body, idle_timeout).await?;
    let errand = Errand { client, view, idle_timeout, progress };
    let mut request = Request::from_parts(parts, body);
    let mut tried = Tried::default();
    let mut known = known.and_then(|tag| group.tagged(tag));
    let mut status = StatusCode::SERVICE_UNAVAILABLE;
    let mut pooled = true;
    for _ in 0..SENDS_MAX {
        let Some(in_flight) = known.take().or_else(|| group.next(&tried)) else { break };
        let live = in_flight.live().clone();
        let found =
            if pooled { live.pool(client.arrival.lane).take(view.spec.protocol_version) } else { None };
        let reused = found.is_some();
        match errand.send(found, in_flight, request).await {
            Sending::Answered(response, lease) => {
                return Ok((errand.answer(response, lease, wanted.take()), live.tag));
            }
            Sending::Failed(status) => return Err(status),
            Sending::Again(unsent, told) => (request, status) = (unsent, told),
        }
        // A connection that was closed while unused says nothing against its target; others of it may be as old.
        if reused {
            pooled = false;
        } else {
            tried.add(&live);
        }
        if tried.is_exhausted() {
            break;
        }
    }
    Err(status)
}

/// What the target is sent. A small body of a request that can be sent again is taken from the client first.
async fn sent(
    parts: &Parts,
    body: Incoming,
    idle_timeout: Duration,
) -> Result<(Sent, Option<Arc<Progress>>), StatusCode> {
    if body.is_end_stream() {
        return Ok((Sent::Whole(None), None));
    }
    let small = body.size_hint().exact().filter(|size| *size <= KEPT_BODY_MAX);
    if !parts.method.is_idempotent() || small.is_none() {
        let (body, progress) = Sent::passing(body);
        return Ok((body, Some(progress)));
    }
    let limit = usize::try_from(KEPT_BODY_MAX).unwrap_or(usize::MAX);
    match timeout(idle_timeout, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok((Sent::Whole(Some(body.to_bytes())), None)),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

impl Errand<'_> {
    /// On the connection that was found, or on a new one.
    async fn send(&self, found: Option<Sender>, in_flight: InFlight, request: Request<Sent>) -> Sending {
        let lane = self.client.arrival.lane;
        let mut lease = Lease { in_flight, lane, sender: None };
        let sender = match found {
            Some(sender) => Ok(sender),
            None => Box::pin(self.connect(&lease.in_flight)).await,
        };
        let sender = match sender {
            Ok(sender) => sender,
            Err(status) => return Sending::Again(request, status),
        };
        let copy = copy(&request);
        let waited = match sender {
            Sender::Http1(mut sender) => {
                let waited = self.wait(sender.try_send_request(request)).await;
                lease.sender = Some(sender);
                waited
            }
            Sender::Http2(mut sender) => self.wait(sender.try_send_request(request)).await,
        };
        match waited {
            Some(Ok(response)) => Sending::Answered(response, lease),
            Some(Err(mut error)) => {
                tracing::debug!(error = %error.error(), target = %lease.in_flight.live().key, "a request failed");
                match error.take_message().or(copy) {
                    Some(request) => Sending::Again(request, StatusCode::BAD_GATEWAY),
                    None => Sending::Failed(StatusCode::BAD_GATEWAY),
                }
            }
            None if self.progress.as_ref().is_some_and(|progress| !progress.has_ended()) => {
                Sending::Failed(StatusCode::REQUEST_TIMEOUT)
            }
            None => Sending::Failed(StatusCode::GATEWAY_TIMEOUT),
        }
    }

    async fn connect(&self, in_flight: &InFlight) -> Result<Sender, StatusCode> {
        let (live, arrival) = (in_flight.live(), &self.client.arrival);
        let connected = pool::connect(live, &self.view.spec, arrival.lane, &arrival.tools.tls).await;
        connected.map_err(|error| {
            tracing::debug!(%error, target = %live.key, "a target takes no connection");
            live.eject();
            let late = error.kind() == io::ErrorKind::TimedOut;
            if late { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY }
        })
    }

    /// None when nothing came from the target, nor from the client, for too long.
    async fn wait<E>(
        &self,
        answer: impl Future<Output = Result<Response<Incoming>, E>>,
    ) -> Option<Result<Response<Incoming>, E>> {
        let mut answer = pin!(answer);
        let frames = || self.progress.as_ref().map_or(0, |progress| progress.frames());
        loop {
            let before = frames();
            match timeout(self.idle_timeout, answer.as_mut()).await {
                Ok(answered) => return Some(answered),
                Err(_) if frames() == before => return None,
                Err(_) => {}
            }
        }
    }

    /// Makes a target's answer the client's.
    fn answer(
        &self,
        mut response: Response<Incoming>,
        lease: Lease,
        wanted: Option<Wanted>,
    ) -> Response<Answer> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some(wanted) = wanted else { return respond::made(StatusCode::BAD_GATEWAY) };
            let target = hyper::upgrade::on(&mut response);
            let arrival = self.client.arrival.clone();
            tokio::spawn(upgrade::join(wanted.client, target, lease.in_flight, self.idle_timeout, arrival));
            let (mut parts, _) = response.into_parts();
            let protocol = parts.headers.remove(UPGRADE);
            headers::strip(&mut parts.headers);
            upgrade::agree(&mut parts.headers, protocol);
            return Response::from_parts(parts, Answer::whole(Bytes::new()));
        }
        let (mut parts, body) = response.into_parts();
        headers::strip(&mut parts.headers);
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        Response::from_parts(parts, Answer::passing(body, lease, self.idle_timeout))
    }
}

/// The same once more, of a request that may be sent twice.
fn copy(request: &Request<Sent>) -> Option<Request<Sent>> {
    let Sent::Whole(body) = request.body() else { return None };
    if !request.method().is_idempotent() {
        return None;
    }
    let mut copy = Request::new(Sent::Whole(body.clone()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
