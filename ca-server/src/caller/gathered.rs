//! Fewer system calls for answers. HTTP/2 flushes the parts of each answer one by one (headers and message, then trailers), which over
//! TLS makes a record, a system call and a wake-up of the caller for each part. Here what is flushed waits until the tasks that
//! are ready have had their turn; then it leaves as one, with the answers of other requests on the same connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What waits at most: the content of one TLS record (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;

/// A byte stream that sends at the next turn of its task. For tasks that read at each turn, as HTTP/2 connections do: a flush wakes
/// the task, and the read that follows sends.
#[derive(Debug)]
pub struct Gathered<S> {
    stream: S,
    waiting: Vec<u8>,
    /// How many of the waiting bytes are sent.
    sent: usize,
    flushed: bool,
}

impl<S> Gathered<S> {
    /// Gathers what is written to this stream.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            waiting: Vec::new(),
            sent: 0,
            flushed: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.waiting.len() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.waiting.clear();
        self.sent = 0;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushed = false;
        Poll::Ready(Ok(()))
    }

    /// Bytes that may still be added; waits until there is room.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.waiting.len() >= RECORD {
            ready!(self.poll_send(cx))?;
        }
        Poll::Ready(Ok(RECORD - self.waiting.len()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A stream that takes nothing now wakes the task when it does; reading goes on meanwhile.
        if self.flushed
            && let Poll::Ready(outcome) = self.poll_send(cx)
        {
            outcome?;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let taken = ready!(self.poll_room(cx))?.min(buf.len());
        self.waiting.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.poll_room(cx))?;
        let before = self.waiting.len();
        for buf in bufs {
            let left = room - (self.waiting.len() - before);
            self.waiting.extend_from_slice(&buf[..left.min(buf.len())]);
        }
        Poll::Ready(Ok(self.waiting.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.flushed && !self.waiting.is_empty() {
            self.flushed = true;
            // Behind the tasks that are ready already.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// One look at what is there to read, as a connection does it at each turn.
    async fn turn<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut Gathered<S>) {
        let mut bytes = [0; 64];
        poll_fn(|cx| {
            let mut buf = ReadBuf::new(&mut bytes);
            let _ = Pin::new(&mut *stream).poll_read(cx, &mut buf);
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn parts_that_were_flushed_one_by_one_leave_as_one_at_the_next_turn() {
        let (near, mut far) = duplex(1024);
        let mut near = Gathered::new(near);
        for part in ["headers ", "message ", "trailers"] {
            near.write_all(part.as_bytes()).await.unwrap();
            near.flush().await.unwrap();
        }
        let mut bytes = [0; 64];
        let nothing = poll_fn(|cx| {
            let mut buf = ReadBuf::new(&mut bytes);
            Poll::Ready(Pin::new(&mut far).poll_read(cx, &mut buf).is_pending())
        });
        assert!(nothing.await, "a part left before its turn");
        turn(&mut near).await;
        let read = far.read(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..read], b"headers message trailers");
    }

    #[tokio::test]
    async fn a_flush_wakes_the_task_so_that_nothing_waits_for_the_other_end() {
        let (near, mut far) = duplex(1024);
        let mut near = Gathered::new(near);
        let reads = tokio::spawn(async move {
            near.write_all(b"answer").await.unwrap();
            near.flush().await.unwrap();
            near.read_u8().await.unwrap()
        });
        let mut bytes = [0; 6];
        far.read_exact(&mut bytes).await.unwrap();
        far.write_u8(7).await.unwrap();
        assert_eq!(reads.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn more_than_the_other_end_takes_arrives_whole_and_in_order() {
        let (near, mut far) = duplex(100);
        let mut near = Gathered::new(near);
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(5 * RECORD + 1).collect();
        let expected = sent.clone();
        let writes = tokio::spawn(async move {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        writes.await.unwrap();
        assert!(received == expected);
    }
}
