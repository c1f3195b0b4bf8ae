//! Making one connection.

use super::{
    connection::{Connection, Driver},
    stream::{End, Seen, Socket, Stream, is_hang_up},
};
use crate::{ClientConfig, Endpoint, Error, Result, TlsConfig, endpoint::Address, error::causes};
use http::Uri;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// What is needed to connect to an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    dial_timeout: Duration,
    connection_wait: Duration,
    keep_alive: Option<(Duration, Duration)>,
    tls: Option<TlsConfig>,
}

impl Dialer {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        Dialer {
            dial_timeout: config.dial_timeout,
            connection_wait: config.connection_wait.unwrap_or(config.dial_timeout),
            keep_alive: config.keep_alive,
            tls: config.tls.clone(),
        }
    }

    /// How long a server may take to answer.
    pub(crate) fn dial_timeout(&self) -> Duration {
        self.dial_timeout
    }

    /// How long to wait for a connection.
    pub(super) fn connection_wait(&self) -> Duration {
        self.connection_wait
    }

    /// Whether `endpoint` can be dialled at all: its certificates can be read, its name can be in one.
    pub(crate) fn check(&self, endpoint: &Endpoint) -> Result<()> {
        if endpoint.is_tls(self.tls.is_some()) {
            let tls = self.tls.clone().unwrap_or_default();
            tls.load(b"h2")?;
            tls.name_of(endpoint.host())?;
        }
        self.origin(endpoint).map(drop)
    }

    /// Whether two endpoints are the same server in the same way, however they are written.
    pub(crate) fn is_same(&self, one: &Endpoint, other: &Endpoint) -> bool {
        let is_tls = self.tls.is_some();
        one.address == other.address && one.is_tls(is_tls) == other.is_tls(is_tls)
    }

    /// Connects, and waits until the server has begun to speak HTTP/2. The connection works as long as its driver is polled.
    ///
    /// # Errors
    /// A text for people: why it cannot be connected to, or that the dial timeout has passed.
    pub(super) async fn dial(&self, endpoint: &Endpoint) -> Result<(Connection, Driver), String> {
        match timeout(self.dial_timeout, self.connect(endpoint)).await {
            Ok(outcome) => outcome.map_err(|error| error.cause()),
            Err(_) => Err(format!("no answer within {:?}", self.dial_timeout)),
        }
    }

    /// Scheme and authority of requests to an endpoint.
    pub(super) fn origin(&self, endpoint: &Endpoint) -> Result<Uri> {
        endpoint.origin(endpoint.is_tls(self.tls.is_some()))
    }

    /// A socket, over which TLS, if there is any, has agreed on the protocol of this name.
    pub(super) async fn socket(
        &self,
        endpoint: &Endpoint,
        protocol: &'static [u8],
    ) -> Result<Box<dyn Socket>> {
        let failed = |error: io::Error| Error::io("connect", error);
        match &endpoint.address {
            Address::Tcp { host, port } => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let socket = TcpStream::connect((host, *port)).await.map_err(failed)?;
                socket.set_nodelay(true).map_err(failed)?;
                self.secured(endpoint, protocol, socket).await
            }
            Address::Unix(path) => {
                let socket = UnixStream::connect(path).await.map_err(failed)?;
                self.secured(endpoint, protocol, socket).await
            }
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<(Connection, Driver)> {
        let is_tls = endpoint.is_tls(self.tls.is_some());
        let socket = self.socket(endpoint, b"h2").await?;
        let seen = Arc::new(Seen::default());
        let stream = Stream::new(socket, seen.clone());
        let (name, origin): (Arc<str>, _) = (endpoint.as_str().into(), self.origin(endpoint)?);
        let lost = |reason: String| Error::ConnectionLost { reason: reason.into() };
        let started = Connection::start(stream, seen.clone(), name, origin, self.keep_alive).await;
        let (connection, mut driver) = started.map_err(|error| lost(causes(&error)))?;
        tokio::select! {
            biased;
            end = driver.ended() => Err(lost(ended_unheard(end, is_tls))),
            () = seen.answer.notified() => Ok((connection, driver)),
        }
    }

    async fn secured<S: Socket + 'static>(
        &self,
        endpoint: &Endpoint,
        protocol: &'static [u8],
        socket: S,
    ) -> Result<Box<dyn Socket>> {
        if !endpoint.is_tls(self.tls.is_some()) {
            return Ok(Box::new(socket));
        }
        let tls = self.tls.clone().unwrap_or_default();
        let name = tls.name_of(endpoint.host())?;
        let connector = TlsConnector::from(tls.load(protocol)?);
        let socket = connector.connect(name, socket).await.map_err(no_tls)?;
        Ok(Box::new(socket))
    }
}

/// Why a server has ended the connection before it said anything. etcd's does so without a word if it expects TLS.
fn ended_unheard(end: End, is_tls: bool) -> String {
    match end.is_hang_up && !is_tls {
        true => format!("{} (does it want TLS? write https:// if so)", end.reason),
        false => end.reason,
    }
}

const OTHER_PROTOCOL: &str = "TLS (does the server speak it? write http:// if not)";

/// Why there is no TLS.
fn no_tls(error: io::Error) -> Error {
    let cause = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let what = match cause {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "TLS (whoever signed the server's certificate is not trusted: see TlsConfig::trust)"
        }
        Some(rustls::Error::InvalidMessage(_)) => OTHER_PROTOCOL,
        _ if is_hang_up(&error) => OTHER_PROTOCOL,
        _ => "TLS",
    };
    Error::io(what, error)
}
