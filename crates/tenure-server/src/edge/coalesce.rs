//! A connection whose writes are collected.
//!
//! HTTP/2 flushes after every frame, and an answer is three frames; each flush of a bare socket is a system call. Here a
//! write only goes into a buffer, and the first flush afterwards lets the task be scheduled once more before it writes:
//! by then all answers that were ready stand in the buffer, and leave in one call.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Collects writes to `io`.
///
/// Between two flushes no more than `bytes_max` bytes are held: what goes beyond is written through.
#[derive(Debug)]
pub struct Coalesced<T> {
    io: T,
    /// What was written to us; up to `sent` it is on its way.
    buffer: Vec<u8>,
    sent: usize,
    /// A flush has been put off since the buffer was last empty. Once only, so that a flush always ends.
    has_yielded: bool,
    bytes_max: usize,
    bytes_kept: usize,
}

impl<T> Coalesced<T> {
    /// Wraps a connection.
    ///
    /// * `bytes_max`: bytes that wait at most.
    /// * `bytes_kept`: the capacity that stays allocated while nothing waits.
    pub fn new(io: T, bytes_max: usize, bytes_kept: usize) -> Self {
        Self { io, buffer: Vec::new(), sent: 0, has_yielded: false, bytes_max, bytes_kept }
    }

    /// The connection itself.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    fn waiting(&self) -> usize {
        self.buffer.len() - self.sent
    }
}

impl<T: AsyncWrite + Unpin> Coalesced<T> {
    /// Writes all that waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.waiting() > 0 {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.buffer[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.sent = 0;
        self.buffer.clear();
        self.buffer.shrink_to(self.bytes_kept);
        self.has_yielded = false;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Coalesced<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.waiting() > 0 && self.waiting() + bytes.len() > self.bytes_max {
            ready!(self.poll_drain(cx))?;
        }
        if bytes.len() > self.bytes_max {
            return Pin::new(&mut self.io).poll_write(cx, bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting() > 0 {
            if !self.has_yielded {
                self.has_yielded = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.poll_drain(cx))?;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        false
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Coalesced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::VecDeque,
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Wake, Waker},
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Takes what its script says, then everything: a number of bytes, or "not now".
    #[derive(Default)]
    struct Scripted {
        written: Vec<u8>,
        writes: usize,
        flushes: usize,
        script: VecDeque<Option<usize>>,
    }

    impl AsyncWrite for Scripted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let takes = match self.script.pop_front() {
                Some(None) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Some(takes)) => takes.min(bytes.len()),
                None => bytes.len(),
            };
            self.writes += 1;
            self.written.extend_from_slice(&bytes[..takes]);
            Poll::Ready(Ok(takes))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct CountedWaker(AtomicUsize);

    impl Wake for CountedWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn buffered(script: &[Option<usize>]) -> Coalesced<Scripted> {
        Coalesced::new(Scripted { script: script.iter().copied().collect(), ..Scripted::default() }, 64, 16)
    }

    #[test]
    fn the_first_flush_yields_and_wakes_and_the_second_writes_once() {
        let wakes = Arc::new(CountedWaker::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let mut io = buffered(&[]);
        assert!(Pin::new(&mut io).poll_write(&mut cx, b"one ").is_ready());
        assert!(Pin::new(&mut io).poll_flush(&mut cx).is_pending());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "or nobody would flush again");
        // Another answer becomes ready while the task waits for its turn: it does not put the flush off again.
        assert!(Pin::new(&mut io).poll_write(&mut cx, b"two").is_ready());
        assert!(Pin::new(&mut io).poll_flush(&mut cx).is_ready());
        assert_eq!((io.io.written.as_slice(), io.io.writes), (b"one two".as_slice(), 1));
        // The next batch yields again; nothing to flush does not.
        assert!(Pin::new(&mut io).poll_flush(&mut cx).is_ready());
        assert!(Pin::new(&mut io).poll_write(&mut cx, b"three").is_ready());
        assert!(Pin::new(&mut io).poll_flush(&mut cx).is_pending());
    }

    #[test]
    fn a_full_buffer_is_written_through() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut io = buffered(&[]);
        assert!(Pin::new(&mut io).poll_write(&mut cx, &[1; 60]).is_ready());
        assert_eq!(io.io.writes, 0);
        assert!(Pin::new(&mut io).poll_write(&mut cx, &[2; 10]).is_ready());
        assert_eq!((io.io.written.len(), io.waiting()), (60, 10));
        let written = Pin::new(&mut io).poll_write(&mut cx, &[3; 1000]);
        assert!(matches!(written, Poll::Ready(Ok(1000))), "{written:?}");
        assert_eq!(io.io.written.len(), 1070, "larger than the buffer: past it, and in order");
        assert!(io.buffer.capacity() <= 64);
    }

    #[tokio::test]
    async fn bytes_arrive_whole_and_in_order_whatever_the_socket_takes() {
        let script = [Some(1), None, Some(3), None, None, Some(200), Some(0)];
        let mut io = buffered(&script[..6]);
        let mut expected = Vec::new();
        for round in 0..100_u8 {
            let chunk = vec![round; usize::from(round)];
            io.write_all(&chunk).await.unwrap();
            expected.extend_from_slice(&chunk);
            if round % 7 == 0 {
                io.flush().await.unwrap();
                assert_eq!(io.io.written, expected);
            }
        }
        io.shutdown().await.unwrap();
        assert_eq!(io.io.written, expected);
        assert!(io.io.writes < 100, "{} writes for 100 chunks", io.io.writes);
        let mut stuck = buffered(&script[6..]);
        stuck.write_all(b"x").await.unwrap();
        assert_eq!(stuck.flush().await.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }

    #[tokio::test]
    async fn a_peer_that_reads_late_loses_nothing() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut io = Coalesced::new(near, 64, 16);
        let writer = tokio::spawn(async move {
            for number in 0..500_u32 {
                io.write_all(&number.to_be_bytes()).await.unwrap();
                poll_fn(|cx| Pin::new(&mut io).poll_flush(cx)).await.unwrap();
            }
            io.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap();
        let expected: Vec<u8> = (0..500_u32).flat_map(u32::to_be_bytes).collect();
        assert_eq!(received, expected);
    }
}
