//! Two streams joined: what one sends the other gets, until both have ended, nothing moved for too long, or it is cut.
//!
//! All pipes of a thread share one buffer; a pipe keeps bytes of its own only while their receiver takes none. So an
//! idle connection costs no buffer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

/// Bytes read at a time: more at once does not make it faster.
const CHUNK: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// How a pipe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides have said all they had.
    Done,
    /// A connection broke.
    Broken,
    /// Nothing moved for as long as is allowed.
    Idle,
    /// It was told to end.
    Cut,
}

/// One direction.
#[derive(Default)]
struct Half {
    /// Read, and not taken yet.
    left: Vec<u8>,
    at: usize,
    flushed: bool,
    phase: Phase,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The sender has ended, which the receiver is being told.
    Closing,
    Closed,
}

/// Joins `a` and `b` until an end; `cut` is awaited beside.
pub(super) async fn join<A, B>(a: &mut A, b: &mut B, idle: Duration, cut: impl Future<Output = ()>) -> End
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut forth = Half::default();
    let mut back = Half::default();
    let mut moved_at = Instant::now();
    let mut cut = pin!(cut);
    let mut alarm = pin!(sleep_until(moved_at + idle));
    poll_fn(|cx| {
        let mut moved = false;
        let states = [forth.poll(cx, a, b, &mut moved), back.poll(cx, b, a, &mut moved)];
        if moved {
            moved_at = Instant::now();
        }
        match states {
            [Poll::Ready(Err(_)), _] | [_, Poll::Ready(Err(_))] => return Poll::Ready(End::Broken),
            [Poll::Ready(Ok(())), Poll::Ready(Ok(()))] => return Poll::Ready(End::Done),
            _ => {}
        }
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Cut);
        }
        // The alarm is moved only when it rings, not for every byte.
        while alarm.as_mut().poll(cx).is_ready() {
            if moved_at + idle <= Instant::now() {
                return Poll::Ready(End::Idle);
            }
            alarm.as_mut().reset(moved_at + idle);
        }
        Poll::Pending
    })
    .await
}

impl Half {
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        moved: &mut bool,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self.phase {
                Phase::Open => {
                    ready!(self.poll_left(cx, writer, moved))?;
                    match self.poll_chunk(cx, reader, writer, moved)? {
                        Poll::Ready(0) => self.phase = Phase::Closing,
                        Poll::Ready(_) => {}
                        Poll::Pending => {
                            if !self.flushed {
                                ready!(Pin::new(&mut *writer).poll_flush(cx))?;
                                self.flushed = true;
                            }
                            return Poll::Pending;
                        }
                    }
                }
                Phase::Closing => {
                    // It may have gone already, with nothing lost.
                    let _ = ready!(Pin::new(&mut *writer).poll_shutdown(cx));
                    self.phase = Phase::Closed;
                }
                Phase::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes what the receiver did not take before.
    fn poll_left<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        while self.at < self.left.len() {
            let count = ready!(Pin::new(&mut *writer).poll_write(cx, &self.left[self.at..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.at += count;
            *moved = true;
        }
        if !self.left.is_empty() {
            self.left = Vec::new();
            self.at = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads a chunk and writes as much of it as is taken; the rest is kept. How much was read.
    fn poll_chunk<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        moved: &mut bool,
    ) -> io::Result<Poll<usize>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut chunk = ReadBuf::new(scratch);
            match Pin::new(reader).poll_read(cx, &mut chunk) {
                Poll::Ready(read) => read?,
                Poll::Pending => return Ok(Poll::Pending),
            }
            let filled = chunk.filled();
            if filled.is_empty() {
                return Ok(Poll::Ready(0));
            }
            (*moved, self.flushed) = (true, false);
            let taken = match Pin::new(writer).poll_write(cx, filled) {
                Poll::Ready(count) => count?,
                Poll::Pending => 0,
            };
            self.left.extend_from_slice(&filled[taken..]);
            Ok(Poll::Ready(filled.len()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const IDLE: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn bytes_go_both_ways_and_an_end_is_passed_on_by_itself() {
        // Smaller than what is sent, so that bytes are left over on the way.
        let (mut client, mut a) = duplex(10);
        let (mut target, mut b) = duplex(10);
        let joined = tokio::spawn(async move { join(&mut a, &mut b, IDLE, pending()).await });
        let asked = tokio::spawn(async move {
            client.write_all(&[7; 10_000]).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut question = Vec::new();
        target.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, [7; 10_000]);
        target.write_all(&[8; 100]).await.unwrap();
        drop(target);
        assert_eq!(asked.await.unwrap(), [8; 100]);
        assert_eq!(joined.await.unwrap(), End::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_nothing_moves_for_too_long() {
        let (mut client, mut a) = duplex(10);
        let (_target, mut b) = duplex(10);
        let begin = Instant::now();
        let joined = tokio::spawn(async move { join(&mut a, &mut b, IDLE, pending()).await });
        tokio::time::sleep(IDLE / 2).await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(joined.await.unwrap(), End::Idle);
        assert_eq!(begin.elapsed().as_secs(), 90);
    }

    #[tokio::test]
    async fn it_ends_when_it_is_cut() {
        let (_client, mut a) = duplex(10);
        let (_target, mut b) = duplex(10);
        assert_eq!(join(&mut a, &mut b, IDLE, async {}).await, End::Cut);
    }
}
