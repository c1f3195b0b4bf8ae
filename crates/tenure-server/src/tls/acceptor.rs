//! Taking connections.

use super::certificate::{CertificateFacts, check_address};
use super::fresh::Fresh;
use super::material;
use super::verify::{self, SHOWN, Shown};
use super::waiting::Waiting;
use super::{CipherSuite, TlsConfig, TlsError, TlsVersion, cause};
use crate::limits;
use rustls::ServerConfig;
use rustls::server::{Accepted, Acceptor, NoServerSessionStorage};
use rustls::sign::SingleCertAndKey;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

/// Who connects to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Clients.
    Client,
    /// Other members.
    Peer,
}

/// What a server speaks above TLS, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Takes TLS connections as a [`TlsConfig`] says. Its files are looked at for every connection.
pub struct TlsAcceptor {
    config: TlsConfig,
    endpoint: Endpoint,
    server: Arc<Fresh<ServerConfig>>,
    waiting: Arc<Waiting>,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Secured<S> {
    /// What is read from and written to it is secret.
    pub stream: TlsStream<S>,
    /// The common name of the verified certificate; nothing if none was asked for or it has none.
    pub common_name: Option<String>,
}

/// A connection that was turned away; the log says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// A handshake that failed: the connection, unless it is gone, and what the log says.
type Failed<S> = (Option<S>, Box<Failure>);

/// Why, and who.
struct Failure {
    reason: String,
    server_name: String,
    shown: Shown,
    /// Somebody looked whether the port is open: not worth a warning.
    is_probe: bool,
}

impl Failure {
    fn of(reason: impl Into<String>) -> Box<Self> {
        let (server_name, shown) = (String::new(), Shown::default());
        Box::new(Self { reason: reason.into(), server_name, shown, is_probe: false })
    }

    /// As [`Failure::of`], of a client that has perhaps not said anything yet.
    fn of_read(reason: impl Into<String>, is_probe: bool) -> Box<Self> {
        Box::new(Self { is_probe, ..*Self::of(reason) })
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor")
            .field("endpoint", &self.endpoint)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Whether bytes are the beginning of a TLS handshake.
#[must_use]
pub fn is_handshake(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16, 0x03, ..] | [0x16])
}

impl TlsAcceptor {
    /// Reads the files of a configuration.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(config: TlsConfig, endpoint: Endpoint) -> Result<Self, TlsError> {
        if config.trusted_ca.is_none() && config.client_cert_auth {
            return Err(TlsError::Settings(
                "client certificates cannot be verified without a trusted CA".into(),
            ));
        }
        if !config.allowed_common_names.is_empty() && !config.allowed_hostnames.is_empty() {
            return Err(TlsError::Settings(format!(
                "AllowedCN and AllowedHostname are mutually exclusive (cn={:?}, hostname={:?})",
                config.allowed_common_names, config.allowed_hostnames
            )));
        }
        if let Some(dial) = &config.dial_identity {
            material::certified_key(dial, &material::provider(None))?;
        }
        let files = config.files(&config.identity);
        let server = Arc::new(Fresh::new(Some(config.clone()), files, server_config)?);
        Ok(Self { config, endpoint, server, waiting: Waiting::new(limits::TLS_HANDSHAKES_MAX) })
    }

    /// The same, with another bound.
    ///
    /// * `handshakes_max`: handshakes that may be under way at once; one more ends the oldest.
    #[must_use]
    pub fn with_handshakes_max(mut self, handshakes_max: usize) -> Self {
        self.waiting = Waiting::new(handshakes_max.min(limits::TLS_HANDSHAKES_MAX));
        self
    }

    /// Whether the common name of a client's certificate is its user.
    #[must_use]
    pub fn names_users(&self) -> bool {
        self.config.client_cert_auth
    }

    /// Shakes hands. Whoever is turned away is told, if he can be, and the log says why.
    ///
    /// * `remote`: who connects, for the log.
    /// * `address`: from where, if there are addresses.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn accept<S>(
        self: &Arc<Self>,
        io: S,
        remote: impl fmt::Display,
        address: Option<IpAddr>,
    ) -> Result<Secured<S>, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let place = self.waiting.enter();
        let deadline = limits::TLS_HANDSHAKE_TIMEOUT;
        let handshake = SHOWN.scope(RefCell::default(), self.shake(io, address));
        let outcome = tokio::select! {
            outcome = timeout(deadline, handshake) => outcome.unwrap_or_else(|_| {
                Err((None, Failure::of(format!("tls: no handshake within {deadline:?}"))))
            }),
            () = place.give_way.cancelled() => {
                Err((None, Failure::of("tls: too many handshakes wait, and this one longest")))
            }
        };
        drop(place);
        let (io, failure) = match outcome {
            Ok(secured) => return Ok(secured),
            Err(refused) => refused,
        };
        self.log(&remote, &failure);
        if let Some(io) = io {
            close_gently(io).await;
        }
        Err(Refused)
    }

    async fn shake<S>(self: &Arc<Self>, mut io: S, address: Option<IpAddr>) -> Result<Secured<S>, Failed<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = match hello(&mut io).await {
            Ok(accepted) => accepted,
            Err(failure) => return Err((Some(io), failure)),
        };
        let start = StartHandshake::from_parts(accepted, io);
        let server_name = start.client_hello().server_name().unwrap_or_default().to_owned();
        let refuse = |io, reason: String| {
            let shown = SHOWN.with(RefCell::take);
            let reason = shown.refusal.clone().unwrap_or(reason);
            Err((io, Box::new(Failure { server_name: server_name.clone(), shown, ..*Failure::of(reason) })))
        };
        let config = match self.server.current().await {
            Ok(config) => config,
            Err(reason) => return refuse(None, reason),
        };
        let stream = match start.into_stream(config).into_fallible().await {
            Ok(stream) => stream,
            Err((error, io)) => return refuse(Some(io), cause::of_io(&error)),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let Some(certificate) = certificate.cloned() else {
            return Ok(Secured { stream, common_name: None });
        };
        if let Some(address) = address.filter(|_| self.config.checks_address)
            && let Err(reason) = check_address(&certificate, address).await
        {
            return refuse(Some(stream.into_inner().0), reason);
        }
        let facts = CertificateFacts::of(&certificate);
        let common_name = facts.and_then(|facts| facts.common_name).filter(|name| !name.is_empty());
        Ok(Secured { stream, common_name })
    }

    fn log(&self, remote: &dyn fmt::Display, failure: &Failure) {
        let (reason, server_name) = (&failure.reason, &failure.server_name);
        if failure.is_probe {
            tracing::debug!("remote-addr" = %remote, error = reason, "connection ended before its TLS handshake");
            return;
        }
        let facts = failure.shown.facts.clone().unwrap_or_default();
        let addresses: Vec<String> = facts.ip_addresses.iter().map(ToString::to_string).collect();
        let (addresses, names) = (crate::log::Json(&addresses), crate::log::Json(&facts.dns_names));
        let common_name = facts.common_name.clone().unwrap_or_default();
        let message = match self.endpoint {
            Endpoint::Client => "rejected connection on client endpoint",
            Endpoint::Peer => "rejected connection on peer endpoint",
        };
        if failure.shown.facts.is_some() {
            tracing::warn!(
                "remote-addr" = %remote,
                "server-name" = server_name,
                "common-name" = common_name,
                "ip-addresses" = ?addresses,
                "dns-names" = ?names,
                error = reason,
                "{message}"
            );
        } else {
            tracing::warn!("remote-addr" = %remote, "server-name" = server_name, error = reason, "{message}");
        }
    }
}

fn server_config(config: Option<&TlsConfig>) -> Result<ServerConfig, TlsError> {
    let config = config.ok_or_else(|| TlsError::Settings("there is no certificate".to_owned()))?;
    let provider = material::provider(Some(config));
    let version_min = match CipherSuite::only_tls_1_3(&config.cipher_suites) {
        true => TlsVersion::V1_3,
        false => config.version_min,
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&TlsVersion::between(version_min, config.version_max))
        .map_err(|error| TlsError::Settings(cause::text(&error)))?;
    let builder = match verify::clients(config, &provider)? {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let key = material::certified_key(&config.identity, &provider)?;
    let mut server = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    server.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    // Nobody comes back without showing his certificate again.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(server)
}

/// Reads until the client has said what it wants.
async fn hello<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S) -> Result<Accepted, Box<Failure>> {
    let mut acceptor = Acceptor::default();
    let mut buffer = [0; limits::TLS_HELLO_READ_BYTES];
    let mut is_first = true;
    loop {
        let read = match io.read(&mut buffer).await {
            Ok(0) => return Err(Failure::of_read("EOF", is_first)),
            Ok(read) => read,
            Err(error) => return Err(Failure::of_read(error.to_string(), is_first)),
        };
        let mut bytes = &buffer[..read];
        if std::mem::take(&mut is_first) && !is_handshake(bytes) {
            return Err(not_tls(io, bytes).await);
        }
        while !bytes.is_empty() {
            match acceptor.read_tls(&mut bytes) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(Failure::of(cause::of_io(&error))),
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut message = Vec::new();
                if alert.write_all(&mut message).is_ok() {
                    io.write_all(&message).await.ok();
                }
                return Err(Failure::of(cause::text(&error)));
            }
        }
    }
}

/// Tells a client that speaks without TLS, in the one language that most of them show to their users.
async fn not_tls<S: AsyncWrite + Unpin>(io: &mut S, bytes: &[u8]) -> Box<Failure> {
    if !bytes.first().is_some_and(u8::is_ascii_uppercase) {
        return Failure::of(cause::NOT_TLS);
    }
    io.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
        .await
        .ok();
    Failure::of(format!("{} (the client speaks HTTP without TLS)", cause::NOT_TLS))
}

/// Closes a connection so that what was written last arrives: a close while there is something to read would take it back.
pub async fn close_gently<S: AsyncRead + AsyncWrite + Unpin>(mut io: S) {
    let closing = async {
        io.shutdown().await?;
        let mut rest = [0; limits::TLS_HELLO_READ_BYTES];
        let mut bytes = 0;
        while bytes < limits::PARTING_BYTES_MAX {
            match io.read(&mut rest).await? {
                0 => break,
                read => bytes += read,
            }
        }
        io::Result::Ok(())
    };
    timeout(limits::PARTING_TIMEOUT, closing).await.ok();
}
