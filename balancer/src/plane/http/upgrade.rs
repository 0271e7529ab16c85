//! WebSocket and its like: once both sides have agreed, what one sends the other gets.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Version};
use hyper_util::rt::TokioIo;

use super::super::listen::{Arrival, gone};
use super::super::live::{InFlight, Live};
use super::super::pipe;

/// What a client wants to turn its connection into.
pub(super) struct Wanted {
    protocol: HeaderValue,
    pub(super) client: OnUpgrade,
}

/// Only HTTP/1.1 can.
pub(super) fn wanted<B>(request: &mut Request<B>) -> Option<Wanted> {
    let headers = request.headers();
    let protocol = headers.get(UPGRADE)?.clone();
    let mut options = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asks =
        options.any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade")));
    if !asks || request.version() != Version::HTTP_11 || protocol.as_bytes().eq_ignore_ascii_case(b"h2c") {
        return None;
    }
    Some(Wanted { protocol, client: hyper::upgrade::on(request) })
}

impl Wanted {
    /// Asks the target for the same.
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(UPGRADE, self.protocol.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Keeps the headers by which the target agrees, which otherwise belong to its own connection.
pub(super) fn agree(headers: &mut HeaderMap, protocol: Option<HeaderValue>) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
}

/// Joins both sides when they are ready for it.
pub(super) async fn join(
    client: OnUpgrade,
    target: OnUpgrade,
    in_flight: InFlight,
    idle: Duration,
    arrival: Arrival,
) {
    let mut phase = arrival.phase.clone();
    let live: Arc<Live> = in_flight.live().clone();
    let mut cuts = live.cuts();
    let (client, target) = match tokio::try_join!(client, target) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a connection broke before it was upgraded");
            return;
        }
    };
    let (mut client, mut target) = (TokioIo::new(client), TokioIo::new(target));
    let cut = async {
        tokio::select! {
            _ = cuts.changed() => {}
            () = gone(&mut phase) => {}
        }
    };
    let end = pipe::join(&mut client, &mut target, idle, cut).await;
    tracing::debug!(?end, target = %live.key, "an upgraded connection ended");
    drop((in_flight, arrival));
}
