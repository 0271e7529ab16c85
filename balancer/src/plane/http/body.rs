//! Bodies on their way: of requests to targets, and of answers to clients. They are passed on as they come.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::forward::Lease;

/// What a target is sent.
pub(in super::super) enum Sent {
    /// All that there is, or nothing: it can be sent once more.
    Whole(Option<Bytes>),
    /// As it comes from the client.
    Passing(Incoming, Arc<Progress>),
}

/// How far a client's body has come.
#[derive(Default)]
pub(in super::super) struct Progress {
    frames: AtomicU32,
    ended: AtomicBool,
}

/// What a client is answered.
pub(super) enum Answer {
    Whole(Option<Bytes>),
    /// As it comes from the target.
    Passing(Box<Passing>),
}

/// An answer on its way, with what is kept for it.
pub(super) struct Passing {
    body: Incoming,
    lease: Option<Lease>,
    idle_timeout: Duration,
    /// Made when the target lets wait for the first time.
    alarm: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Sent {
    pub(super) fn passing(body: Incoming) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress::default());
        (Self::Passing(body, progress.clone()), progress)
    }
}

impl Progress {
    pub(super) fn frames(&self) -> u32 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Whether the client has sent all of it.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passing(body, progress) => {
                let polled = Pin::new(&mut *body).poll_frame(cx);
                if polled.is_ready() {
                    progress.frames.fetch_add(1, Ordering::Relaxed);
                    let ended = matches!(polled, Poll::Ready(None)) || body.is_end_stream();
                    progress.ended.store(ended, Ordering::Relaxed);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Passing(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => whole(bytes.as_ref()),
            Self::Passing(body, _) => body.size_hint(),
        }
    }
}

impl Answer {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    /// The lease is given back when all of the answer is there.
    pub(super) fn passing(body: Incoming, lease: Lease, idle_timeout: Duration) -> Self {
        if body.is_end_stream() {
            lease.done();
            return Self::Whole(None);
        }
        Self::Passing(Box::new(Passing {
            body,
            lease: Some(lease),
            idle_timeout,
            alarm: None,
            waiting: false,
        }))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passing(passing) => passing.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Passing(passing) => passing.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => whole(bytes.as_ref()),
            Self::Passing(passing) => passing.body.size_hint(),
        }
    }
}

impl Passing {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(polled) => {
                self.waiting = false;
                match &polled {
                    None => self.give_back(),
                    Some(Ok(_)) if self.body.is_end_stream() => self.give_back(),
                    Some(Ok(_)) => {}
                    // What it was on cannot be used again.
                    Some(Err(_)) => drop(self.lease.take()),
                }
                Poll::Ready(polled.map(|frame| frame.map_err(io::Error::other)))
            }
            Poll::Pending => self.poll_alarm(cx),
        }
    }

    fn give_back(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.done();
        }
    }

    /// A target that sends nothing for too long has failed.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(self.idle_timeout)));
        if !self.waiting {
            self.waiting = true;
            alarm.as_mut().reset(Instant::now() + self.idle_timeout);
        }
        alarm.as_mut().poll(cx).map(|()| {
            self.lease = None;
            Some(Err(io::ErrorKind::TimedOut.into()))
        })
    }
}

fn whole(bytes: Option<&Bytes>) -> SizeHint {
    SizeHint::with_exact(bytes.map_or(0, |bytes| bytes.len() as u64))
}
