//! A watch: etcd's stream of what happens, one message a line.

use axum::body::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hyper::body::Incoming;

use super::client::{CODE_OUT_OF_RANGE, Error as ClientError};
use super::wire::{Streamed, WatchEvent, Watched};
use crate::journal::Error;

/// Longest message: etcd cuts them to the size of a request, and base 64 makes a third more of it.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A stream of events.
pub(crate) struct Watcher {
    body: BoxStream<'static, Result<Bytes, axum::Error>>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("buffered", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl Watcher {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body: axum::body::Body::new(body).into_data_stream().boxed(), buffer: Vec::new() }
    }

    /// What happened next. Nothing is lost if this is dropped while it waits.
    pub(crate) async fn next(&mut self) -> Result<Vec<WatchEvent>, Error> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return read(&line);
            }
            match self.body.next().await {
                Some(Ok(bytes)) if self.buffer.len() + bytes.len() <= MESSAGE_BYTES_MAX => {
                    self.buffer.extend(bytes);
                }
                Some(Ok(_)) => return Err(broken("a message is too long")),
                Some(Err(error)) => return Err(broken(&error.to_string())),
                None => return Err(broken("it was ended")),
            }
        }
    }
}

fn read(line: &[u8]) -> Result<Vec<WatchEvent>, Error> {
    let message: Streamed<Watched> =
        serde_json::from_slice(line).map_err(|error| broken(&error.to_string()))?;
    match message.result {
        Some(watched) if watched.canceled => {
            let message =
                format!("the watch is too far behind: etcd begins with {}", watched.compact_revision.0);
            Err(ClientError::Refused { code: CODE_OUT_OF_RANGE, message }.into())
        }
        Some(watched) => Ok(watched.events),
        None => Err(broken(&String::from_utf8_lossy(line))),
    }
}

fn broken(problem: &str) -> Error {
    ClientError::Unanswered { problem: format!("the watch is broken: {problem}") }.into()
}
