//! The socket of a connection.

use futures::task::AtomicWaker;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

/// Bytes that wait at most to be written together.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// What a connection runs on.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A socket whose writes are collected: HTTP/2 flushes after every frame, and a request is two. The first flush after a
/// write lets the task be scheduled once more before it writes, so that requests which are ready together leave together.
///
/// It also tells when the first byte came: a server that accepts connections and then says nothing is no server.
pub(super) struct Stream {
    socket: Box<dyn Socket>,
    waiting: Vec<u8>,
    sent: usize,
    /// A flush has been put off since `waiting` was last empty. Once only, so that a flush always ends.
    has_yielded: bool,
    /// Told at the first byte that is read, and then gone.
    answered: Option<Arc<Notify>>,
    shutter: Arc<Shutter>,
}

/// Ends a socket from outside. hyper lets streams live on when the driver of their connection is dropped: this does not.
#[derive(Default)]
pub(super) struct Shutter {
    is_shut: AtomicBool,
    reader: AtomicWaker,
}

impl Shutter {
    pub(super) fn shut(&self) {
        self.is_shut.store(true, Ordering::Release);
        self.reader.wake();
    }

    fn poll(&self, cx: &mut Context<'_>) -> io::Result<()> {
        // Registered first: who shuts between the two wakes us.
        self.reader.register(cx.waker());
        if self.is_shut.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client closed the connection"));
        }
        Ok(())
    }
}

impl Stream {
    pub(super) fn new(socket: Box<dyn Socket>, answered: Arc<Notify>) -> Self {
        Stream {
            socket,
            waiting: Vec::new(),
            sent: 0,
            has_yielded: false,
            answered: Some(answered),
            shutter: Arc::default(),
        }
    }

    pub(super) fn shutter(&self) -> Arc<Shutter> {
        self.shutter.clone()
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.waiting.len() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.waiting[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.sent = 0;
        self.waiting.clear();
        self.has_yielded = false;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.waiting.is_empty() && self.waiting.len() + bytes.len() > WAITING_BYTES_MAX {
            ready!(self.poll_drain(cx))?;
        }
        if bytes.len() > WAITING_BYTES_MAX {
            return Pin::new(&mut self.socket).poll_write(cx, bytes);
        }
        self.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() {
            if !self.has_yielded {
                self.has_yielded = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.poll_drain(cx))?;
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.shutter.poll(cx)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if buffer.filled().len() > before
            && let Some(answered) = self.answered.take()
        {
            answered.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}
