//! What a connection runs on.

use super::coalesce::Coalesced;
use crate::limits;
use rustix::net::RecvFlags;
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsStream;

/// A connection before HTTP.
#[derive(Debug)]
pub enum Transport {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Inside this process.
    Memory(DuplexStream),
    /// Over another one, with TLS.
    Tls(Box<TlsStream<Transport>>),
}

impl Transport {
    /// Waits for the first bytes and leaves them to be read. None: the other side has closed.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(io) => io.peek(bytes).await,
            Transport::Unix(io) => {
                let peek = || Ok(rustix::net::recv(io, &mut *bytes, RecvFlags::PEEK)?.1);
                io.async_io(Interest::READABLE, peek).await
            }
            // Nobody is mistaken about these.
            Transport::Memory(_) | Transport::Tls(_) => Ok(0),
        }
    }

    /// The same connection with collected writes.
    pub fn coalesced(self) -> Coalesced<Self> {
        Coalesced::new(self, limits::CONNECTION_WRITE_BYTES_MAX, limits::CONNECTION_WRITE_BYTES_KEPT)
    }
}

macro_rules! each {
    ($self:expr, $io:ident => $result:expr) => {
        match $self.get_mut() {
            Transport::Tcp($io) => $result,
            Transport::Unix($io) => $result,
            Transport::Memory($io) => $result,
            Transport::Tls($io) => $result,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write(cx, bytes))
    }

    // TLS tells why it refuses the other side with one last write, of several pieces.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write_vectored(cx, pieces))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A process of this machine.
    Unix,
    /// This process.
    InProcess,
}

impl Remote {
    /// The address, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Remote::Tcp(address) => Some(address.ip()),
            Remote::Unix | Remote::InProcess => None,
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remote::Tcp(address) => address.fmt(f),
            Remote::Unix => f.write_str("@"),
            Remote::InProcess => f.write_str("in-process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn pieces_are_written_together() {
        let (near, _far) = UnixStream::pair().unwrap();
        let pieces = [io::IoSlice::new(b"change cipher spec"), io::IoSlice::new(b"alert")];
        let written = Transport::Unix(near).write_vectored(&pieces).await.unwrap();
        assert_eq!(written, 23);
    }
}
