//! Requests to the peer port of another member.

use super::identity::Identity;
use super::timed::Timed;
use crate::config::{EndpointUrl, ServerConfig};
use crate::edge::Transport;
use crate::limits;
use crate::tls::TlsConnector;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection.
    #[error("dial {url}: {source}")]
    Connect {
        /// Where to.
        url: String,
        /// Why not.
        source: io::Error,
    },
    /// The connection failed.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The request cannot be made.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// The answer took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is too long or broke off.
    #[error("reading the answer: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// There is nowhere to ask.
    #[error("no URL is known")]
    NoUrl,
}

/// How connections are made.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// How long a connection may take, before any TLS.
    pub connect_timeout: Duration,
    /// How long a TLS handshake may take. A busy member takes its time for one, and to give up early has it do the same again.
    pub handshake_timeout: Duration,
    /// How long a write may wait for the other side.
    pub write_timeout: Duration,
    /// For `https://` and `unixs://` URLs.
    pub tls: Arc<TlsConnector>,
}

/// An open connection to one URL.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Body>,
    host: HeaderValue,
}

/// An answer that was read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text, for errors.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

impl Dialer {
    /// How a configuration wants connections made.
    #[must_use]
    pub fn new(config: &ServerConfig, tls: Arc<TlsConnector>) -> Self {
        Self {
            connect_timeout: Duration::from_secs(1) + config.election_timeout,
            handshake_timeout: limits::TLS_HANDSHAKE_TIMEOUT,
            write_timeout: config.raft_write_timeout,
            tls,
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`DialError::Connect`].
    pub async fn connect(&self, url: &EndpointUrl) -> Result<Connection, DialError> {
        let failed = |source| DialError::Connect { url: url.to_string(), source };
        let stream = self.open(url).await.map_err(failed)?;
        let stream = TokioIo::new(Timed::new(stream, self.write_timeout));
        let (sender, connection) = http1::handshake(stream).await?;
        // It ends with the sender and the bodies of its answers.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to another member ended");
            }
        });
        let host = if url.scheme().is_unix() { "localhost" } else { url.address() };
        Ok(Connection { sender, host: HeaderValue::from_str(host).map_err(http::Error::from)? })
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn ask(
        &self,
        url: &EndpointUrl,
        request: Request<Body>,
        within: Duration,
    ) -> Result<Answer, DialError> {
        let asking = async { self.connect(url).await?.ask(request).await };
        timeout(within, asking).await.unwrap_or(Err(DialError::Timeout(within)))
    }

    async fn open(&self, url: &EndpointUrl) -> io::Result<Transport> {
        let connecting = async {
            if url.scheme().is_unix() {
                return Ok(Transport::Unix(UnixStream::connect(url.address()).await?));
            }
            let stream = TcpStream::connect(url.address()).await?;
            stream.set_nodelay(true)?;
            Ok(Transport::Tcp(stream))
        };
        let transport = within(self.connect_timeout, connecting).await?;
        if !url.scheme().is_secure() {
            return Ok(transport);
        }
        let host = url.host_port().map_or("localhost", |(host, _)| host);
        let secured = within(self.handshake_timeout, self.tls.connect(transport, host)).await?;
        Ok(Transport::Tls(Box::new(secured.into())))
    }
}

async fn within<T>(limit: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Connection {
    /// Whether the other side has closed it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request; its answer's body is still to be read.
    ///
    /// # Errors
    /// [`DialError::Http`].
    pub async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Incoming>, DialError> {
        self.sender.ready().await?;
        request.headers_mut().insert(header::HOST, self.host.clone());
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn ask(&mut self, request: Request<Body>) -> Result<Answer, DialError> {
        read_whole(self.send(request).await?).await
    }
}

/// Reads an answer to its end.
///
/// # Errors
/// [`DialError::Body`].
pub async fn read_whole(response: Response<Incoming>) -> Result<Answer, DialError> {
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, limits::PEER_ANSWER_BYTES_MAX).collect().await.map_err(DialError::Body)?;
    Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
}

/// A request to another member, with the headers that say who asks.
///
/// # Errors
/// [`DialError::Request`] if the path is none.
pub fn request(
    method: Method,
    path: &str,
    identity: Option<&Identity>,
    body: impl Into<Body>,
) -> Result<Request<Body>, DialError> {
    let mut request = Request::builder().method(method).uri(path).body(body.into())?;
    if let Some(identity) = identity {
        identity.mark_request(request.headers_mut());
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{CertificateFiles, Endpoint, TlsAcceptor, TlsConfig};
    use tenure_harness::pki::{Authority, Owner};
    use tokio::net::TcpListener;

    /// Dials a member that begins its side of the handshake when `begin` is over.
    async fn dial(
        connect_timeout: Duration,
        handshake_timeout: Duration,
        begin: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), DialError> {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path(), "authority").unwrap();
        let member = authority.issue("member", &Owner::local_server()).unwrap();
        let mut config = TlsConfig::new(CertificateFiles::new(&member.certificate, &member.key));
        config.trusted_ca = Some(authority.certificate().to_owned());
        let acceptor = Arc::new(TlsAcceptor::new(config.clone(), Endpoint::Peer).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
        let accepting = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            begin.await;
            acceptor.accept(stream, "somebody", None).await.is_ok()
        });
        let tls = Arc::new(TlsConnector::new(Some(config)).unwrap());
        let dialer =
            Dialer { connect_timeout, handshake_timeout, write_timeout: Duration::from_secs(5), tls };
        dialer.connect(&url).await?;
        assert!(accepting.await.unwrap());
        Ok(())
    }

    #[tokio::test]
    async fn a_busy_member_has_longer_for_a_handshake_than_for_a_connection() {
        let connect_timeout = Duration::from_millis(300);
        let begin = tokio::time::sleep(3 * connect_timeout);
        dial(connect_timeout, limits::TLS_HANDSHAKE_TIMEOUT, begin).await.unwrap();
    }

    #[tokio::test]
    async fn a_member_that_shakes_no_hands_is_given_up() {
        let short = Duration::from_millis(50);
        let error = dial(limits::TLS_HANDSHAKE_TIMEOUT, short, std::future::pending()).await.unwrap_err();
        let DialError::Connect { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    }
}
