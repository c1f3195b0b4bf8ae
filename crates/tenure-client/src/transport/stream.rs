//! The socket of a connection.

use crate::error::causes;
use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
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

/// Length, type, flags and stream of an HTTP/2 frame.
const FRAME_HEADER_BYTES: usize = 9;
const SETTINGS: u8 = 4;

/// Why a connection is over.
#[derive(Clone)]
pub(super) struct End {
    pub(super) reason: String,
    /// The other side hung up. With a reset, if it had not read all that was sent to it, as is so of one that expects another
    /// protocol.
    pub(super) is_hang_up: bool,
}

impl End {
    fn closed() -> Self {
        End { reason: "the server closed the connection".to_owned(), is_hang_up: true }
    }

    fn broken(error: &io::Error) -> Self {
        End { reason: causes(error), is_hang_up: is_hang_up(error) }
    }

    fn refused(reason: &str) -> Self {
        End { reason: reason.to_owned(), is_hang_up: false }
    }
}

/// Whether an error says that the other side has closed the connection.
pub(super) fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// What is seen of a server below HTTP/2, which tells less.
#[derive(Default)]
pub(super) struct Seen {
    /// Told once the server has begun to speak HTTP/2: one that accepts connections and then says nothing, or something else,
    /// is no server.
    pub(super) answer: Notify,
    /// Why the socket is of no more use.
    end: OnceLock<End>,
}

impl Seen {
    /// Why the connection ended.
    pub(super) fn end(&self) -> End {
        let known = self.end.get().cloned();
        known.unwrap_or_else(|| {
            End::refused("the connection was ended: by the server, or since it answered no probe")
        })
    }

    /// The first reason stands.
    fn ended(&self, end: impl FnOnce() -> End) {
        self.end.get_or_init(end);
    }
}

/// A socket whose writes are collected: HTTP/2 flushes after every frame, and a request is two. The first flush after a
/// write lets the task be scheduled once more before it writes, so that requests which are ready together leave together.
///
/// It also looks at the first frame: an HTTP/2 server begins with its settings.
pub(super) struct Stream {
    socket: Box<dyn Socket>,
    waiting: Vec<u8>,
    sent: usize,
    /// A flush has been put off since `waiting` was last empty. Once only, so that a flush always ends.
    has_yielded: bool,
    seen: Arc<Seen>,
    /// The first bytes that came, until they are a frame's header.
    first: Vec<u8>,
}

impl Stream {
    pub(super) fn new(socket: Box<dyn Socket>, seen: Arc<Seen>) -> Self {
        Stream { socket, waiting: Vec::new(), sent: 0, has_yielded: false, seen, first: Vec::new() }
    }

    /// Looks at the bytes that came first.
    fn look(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.first.len() == FRAME_HEADER_BYTES {
            return Ok(());
        }
        let missing = FRAME_HEADER_BYTES - self.first.len();
        self.first.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        check_first(&self.first).map_err(|reason| {
            self.seen.ended(|| End::refused(reason));
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })?;
        if self.first.len() == FRAME_HEADER_BYTES {
            self.seen.answer.notify_one();
        }
        Ok(())
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.waiting.len() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.waiting[self.sent..]));
            let written = written.inspect_err(|error| self.seen.ended(|| End::broken(error)))?;
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
        let before = buffer.filled().len();
        let has_room = buffer.remaining() > 0;
        let read = ready!(Pin::new(&mut self.socket).poll_read(cx, buffer));
        read.inspect_err(|error| self.seen.ended(|| End::broken(error)))?;
        if buffer.filled().len() == before {
            if has_room {
                self.seen.ended(End::closed);
            }
            return Poll::Ready(Ok(()));
        }
        let looked = self.look(&buffer.filled()[before..]);
        if looked.is_err() {
            // Who fails has read nothing.
            buffer.set_filled(before);
        }
        Poll::Ready(looked)
    }
}

/// Whether these can be the first bytes of a server's settings.
fn check_first(bytes: &[u8]) -> Result<(), &'static str> {
    // Alerts and handshakes of TLS have the major version 3, settings are never that long.
    if matches!(bytes, [0x14..=0x17, 3, ..]) {
        return Err("the server speaks TLS: write https:// before the endpoint, or configure TLS");
    }
    if bytes.starts_with(b"HTTP") {
        return Err("the server speaks HTTP/1: it is no etcd server, or it wants TLS");
    }
    let is_possible = bytes.iter().enumerate().all(|(at, &byte)| match at {
        3 => byte == SETTINGS,
        4 => byte == 0,
        5..=8 => byte == 0,
        _ => true,
    });
    if is_possible { Ok(()) } else { Err("the server does not speak HTTP/2: it is no etcd server") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// What a stream makes of these bytes, which come one after the other and are the last.
    async fn read(bytes: &[u8]) -> (io::Result<usize>, Arc<Seen>) {
        let (ours, mut theirs) = duplex(1);
        let seen = Arc::new(Seen::default());
        let mut stream = Stream::new(Box::new(ours), seen.clone());
        let sending = async {
            // It may stop to listen.
            drop(theirs.write_all(bytes).await);
            drop(theirs);
        };
        let receiving = async {
            let mut received = Vec::new();
            let outcome = stream.read_to_end(&mut received).await;
            drop(stream);
            outcome
        };
        (tokio::join!(sending, receiving).1, seen)
    }

    #[tokio::test]
    async fn settings_are_an_answer() {
        let (outcome, seen) = read(b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0@\0 and more").await;
        outcome.unwrap();
        seen.answer.notified().await;
        assert_eq!(seen.end().reason, "the server closed the connection");
    }

    #[tokio::test]
    async fn anything_else_is_none_and_says_what_to_do() {
        for (bytes, part) in [
            (&b"HTTP/1.0 400 Bad Request\r\n"[..], "HTTP/1"),
            (b"\x15\x03\x01\0\x02\x02\x46", "https://"),
            (b"SSH-2.0-x\r\n", "does not speak HTTP/2"),
            (b"\0\0\0\x04\x01\0\0\0\0", "does not speak HTTP/2"),
        ] {
            let (outcome, seen) = read(bytes).await;
            assert!(outcome.is_err() && seen.end().reason.contains(part), "{}", seen.end().reason);
        }
        let (outcome, seen) = read(b"\0\0").await;
        assert!(outcome.is_ok() && seen.end().reason.contains("closed"), "{}", seen.end().reason);
    }
}
