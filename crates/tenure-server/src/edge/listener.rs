//! Sockets that are listened on.

use super::transport::{Remote, Transport};
use crate::auth::CertificateName;
use crate::config::{EndpointUrl, SocketOptions};
use crate::tls::{TlsAcceptor, TlsError, close_gently, is_handshake};
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// Connections that the system completes before they are accepted.
const BACKLOG: u32 = 4_096;

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// gRPC and HTTP.
    Both,
    /// gRPC alone, because HTTP has listeners of its own.
    Grpc,
    /// HTTP alone.
    Http,
    /// Metrics and health alone.
    Metrics,
}

impl Role {
    /// The word in the log.
    pub fn traffic(self) -> &'static str {
        match self {
            Role::Both => "grpc+http",
            Role::Grpc => "grpc",
            Role::Http => "http",
            Role::Metrics => "metrics",
        }
    }
}

/// Why a URL cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refuses.
    #[error("listen {network} {address}: {source}")]
    Socket {
        /// `tcp` or `unix`.
        network: &'static str,
        /// What was to be bound.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// TLS cannot be begun with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// So few descriptors may be open that no client could connect.
    #[error("file descriptor limit of the process is too low: {limit}, more than {reserved} are needed")]
    Descriptors {
        /// What is allowed.
        limit: u64,
        /// What the process needs for itself.
        reserved: u64,
    },
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    /// What it is for.
    pub role: Role,
    /// What is bound, with the port that the system chose.
    pub url: EndpointUrl,
    socket: Socket,
    tls: Option<Arc<TlsAcceptor>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds one URL.
    ///
    /// * `tls`: for `https://` and `unixs://`, without which they cannot be bound; others do without.
    ///
    /// # Errors
    /// The system's refusal, or a URL with TLS and nothing to do it with.
    pub async fn bind(
        url: &EndpointUrl,
        role: Role,
        options: SocketOptions,
        tls: Option<&Arc<TlsAcceptor>>,
    ) -> Result<Self, BindError> {
        let tls = match (url.scheme().is_secure(), tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(Arc::clone(tls)),
            (true, None) => return Err(TlsError::NoCertificate(url.clone()).into()),
        };
        let bound = match url.scheme().is_unix() {
            false => bind_tcp(url.address(), options).await,
            true => bind_unix(url.address()),
        };
        let socket = bound.map_err(|source| BindError::Socket {
            network: if url.scheme().is_unix() { "unix" } else { "tcp" },
            address: url.address().to_owned(),
            source,
        })?;
        let url = match &socket {
            Socket::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| url.clone(), |address| url.with_port(address.port()))
            }
            Socket::Unix(..) => url.clone(),
        };
        Ok(Self { role, url, socket, tls })
    }

    /// The address that the system bound; nothing for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// What connections of this listener begin with; see [`admit`].
    pub fn tls(&self) -> Option<&Arc<TlsAcceptor>> {
        self.tls.as_ref()
    }

    /// Waits for a client. TLS is still to begin.
    ///
    /// # Errors
    /// The system's, most of them passing.
    pub async fn accept(&self) -> io::Result<(Transport, Remote)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Transport::Tcp(stream), Remote::Tcp(remote)))
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Transport::Unix(stream), Remote::Unix))
            }
        }
    }
}

/// A client that may speak.
#[derive(Debug)]
pub struct Admitted {
    /// The connection; secret if the listener has TLS.
    pub transport: Transport,
    /// The name in the client's certificate, if it names a user.
    pub user: Option<CertificateName>,
}

/// Begins TLS, if that is what a listener speaks, or turns away a client that begins it where nobody speaks it. Nothing: the client was
/// turned away or has left, and the log says why.
pub async fn admit(transport: Transport, remote: Remote, tls: Option<&Arc<TlsAcceptor>>) -> Option<Admitted> {
    let Some(tls) = tls else {
        let mut first = [0; 2];
        return match transport.peek(&mut first).await {
            Ok(read) if is_handshake(&first[..read]) => {
                turn_away(transport, remote).await;
                None
            }
            _ => Some(Admitted { transport, user: None }),
        };
    };
    let secured = tls.accept(transport, remote, remote.address()).await.ok()?;
    let user = secured.common_name.filter(|_| tls.names_users()).map(CertificateName);
    Some(Admitted { transport: Transport::Tls(Box::new(secured.stream.into())), user })
}

/// In the words that Go's clients and OpenSSL turn into "first record does not look like a TLS handshake" and "wrong version number".
async fn turn_away(mut transport: Transport, remote: Remote) {
    tracing::warn!(
        "remote-addr" = %remote,
        error = "the client begins a TLS handshake, and the URL that is listened on is http:// or unix://, without TLS",
        "rejected connection without TLS"
    );
    let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request";
    if transport.write_all(answer).await.is_ok() {
        close_gently(transport).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = &self.socket
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(path = %path.display(), %error, "cannot remove the socket");
        }
    }
}

async fn bind_tcp(address: &str, options: SocketOptions) -> io::Result<Socket> {
    let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host(address).await?.collect();
    // As Go does: of a name's addresses the IPv4 one.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address");
    for address in addresses {
        match listen(address, options) {
            Ok(listener) => return Ok(Socket::Tcp(listener)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Options are set on the listening socket; accepted ones inherit keepalive. `SO_REUSEADDR` is always set, as Go's
/// runtime does on Linux: without it a restart would wait for connections in TIME_WAIT.
fn listen(address: SocketAddr, options: SocketOptions) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_keepalive(true)?;
    if options.reuse_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket that an earlier process left behind is replaced, as etcd does.
fn bind_unix(path: &str) -> io::Result<Socket> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    Ok(Socket::Unix(UnixListener::bind(path)?, PathBuf::from(path)))
}
