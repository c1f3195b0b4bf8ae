//! TLS: from files to connections that are accepted and opened.
//!
//! * [`TlsConfig`]: what the flags of one side say, the clients' or the members'.
//! * [`TlsAcceptor`]: takes connections. [`TlsConnector`]: opens them. Both look at their files at each handshake, and read
//!   them again if one has changed.
//! * [`PeerTls`]: both sides of the members' TLS.
//! * `certificate`: what a certificate says. `verify`: whose are taken. `cause`: why a handshake failed, in etcd's words.
//! * `reverse`: the names of an address. `generate`: certificates that the member makes itself, for `--auto-tls`.
//!
//! Sessions are never resumed: whoever comes again shows his certificate again, and it is checked against what the files say by
//! then.

mod acceptor;
mod cause;
mod certificate;
mod connector;
mod error;
mod fresh;
mod generate;
mod material;
mod reverse;
mod suite;
mod verify;
mod waiting;

pub use acceptor::{Endpoint, Refused, Secured, TlsAcceptor, close_gently, is_handshake};
pub use connector::TlsConnector;
pub use error::TlsError;
pub use generate::{generate, generated_files};
pub use suite::{CipherSuite, TlsVersion};

use crate::config::{EndpointUrl, ServerConfig};
use std::path::PathBuf;
use std::sync::Arc;

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and after it those that lead to the authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Two files.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into() }
    }
}

/// The TLS of one side: of the clients' URLs, or of the members'. [`TlsConfig::new`] is what etcd has with a certificate and a
/// key alone: everybody may connect.
///
/// ```
/// use tenure_server::config::ServerConfig;
/// use tenure_server::tls::{CertificateFiles, TlsConfig};
///
/// let mut tls = TlsConfig::new(CertificateFiles::new("server.crt", "server.key"));
/// tls.trusted_ca = Some("ca.crt".into());
/// tls.client_cert_auth = true;
/// let mut config = ServerConfig::in_memory().listening_on("https://127.0.0.1:2379".parse()?);
/// config.client_tls = Some(tls);
/// # Ok::<(), tenure_server::config::UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// What this side shows to whoever connects.
    pub identity: CertificateFiles,
    /// What it shows where it connects itself; nothing if the same.
    pub dial_identity: Option<CertificateFiles>,
    /// `identity` is made by [`generate`] and nobody vouches for it, so nobody can be verified.
    pub is_generated: bool,
    /// Those who are trusted: authorities vouch for others, whoever else for himself. Given, everybody has to show a certificate.
    pub trusted_ca: Option<PathBuf>,
    /// The common name of a client's certificate is its user while authentication is on (A6). Needs `trusted_ca`.
    pub client_cert_auth: bool,
    /// Certificates that are taken no more: lists in PEM or DER. A certificate whose serial number is in one is refused.
    pub crl: Option<PathBuf>,
    /// Common names of which a certificate must have one; empty if any will do. Not together with `allowed_hostnames`.
    pub allowed_common_names: Vec<String>,
    /// Alternative names of which a certificate must have one; empty if any will do.
    pub allowed_hostnames: Vec<String>,
    /// The names and addresses in the certificate of whoever connects must be those that he connects from; one without any may
    /// come from everywhere. For members.
    pub checks_address: bool,
    /// Suites to speak. Those of one version that has none here are all spoken, if it is TLS 1.3, or none, if it is TLS 1.2;
    /// empty: all.
    pub cipher_suites: Vec<CipherSuite>,
    /// The oldest version to speak.
    pub version_min: TlsVersion,
    /// The newest version to speak.
    pub version_max: TlsVersion,
}

impl TlsConfig {
    /// TLS with a certificate.
    #[must_use]
    pub fn new(identity: CertificateFiles) -> Self {
        Self {
            identity,
            dial_identity: None,
            is_generated: false,
            trusted_ca: None,
            client_cert_auth: false,
            crl: None,
            allowed_common_names: Vec::new(),
            allowed_hostnames: Vec::new(),
            checks_address: false,
            cipher_suites: Vec::new(),
            version_min: TlsVersion::V1_2,
            version_max: TlsVersion::V1_3,
        }
    }

    /// Every file that this depends on.
    fn files(&self, identity: &CertificateFiles) -> Vec<PathBuf> {
        let own = [&identity.certificate, &identity.key];
        own.into_iter().chain(&self.trusted_ca).chain(&self.crl).cloned().collect()
    }
}

impl std::fmt::Display for TlsConfig {
    /// As etcd's log shows it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path =
            |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let dial = self.dial_identity.as_ref();
        let (dial_certificate, dial_key) =
            (path(&dial.map(|files| files.certificate.clone())), path(&dial.map(|files| files.key.clone())));
        write!(
            f,
            "cert = {}, key = {}, client-cert={dial_certificate}, client-key={dial_key}, trusted-ca = {}, \
             client-cert-auth = {}, crl-file = {}",
            self.identity.certificate.display(),
            self.identity.key.display(),
            path(&self.trusted_ca),
            self.client_cert_auth,
            path(&self.crl)
        )
    }
}

/// The TLS between members, for both ends of a connection. Clones are the same.
#[derive(Clone, Debug)]
pub struct PeerTls {
    /// For the listeners of `https://` and `unixs://` URLs; nothing if no certificate is configured.
    pub acceptor: Option<Arc<TlsAcceptor>>,
    /// For `https://` and `unixs://` URLs of other members.
    pub connector: Arc<TlsConnector>,
}

impl PeerTls {
    /// What a configuration says of the members' TLS; reads its files.
    ///
    /// # Errors
    /// [`TlsError`]: a file cannot be read or used, or an `https://` URL is to be listened on without a certificate.
    pub fn new(config: &ServerConfig) -> Result<Self, TlsError> {
        let tls = config.peer_tls.as_ref();
        let listened = config.listen_peer_urls.iter().filter(|url| url.scheme().is_secure());
        let acceptor = match (tls, listened.clone().next()) {
            (None, Some(url)) => return Err(TlsError::NoCertificate(url.clone())),
            (None, None) => None,
            (Some(tls), _) => {
                log_start("starting with peer TLS", tls);
                prepare(tls, config, "peer", &config.listen_peer_urls)?;
                Some(Arc::new(TlsAcceptor::new(tls.clone(), Endpoint::Peer)?))
            }
        };
        Ok(Self { acceptor, connector: Arc::new(TlsConnector::new(tls.cloned())?) })
    }
}

/// The TLS of the clients' listeners, and of those for metrics; nothing if no certificate is configured. Reads its files.
///
/// * `handshakes_max`: handshakes that may be under way at once, with a bound of its own: those who wait must leave room for others.
///
/// # Errors
/// As [`PeerTls::new`].
pub fn for_clients(
    config: &ServerConfig,
    handshakes_max: usize,
) -> Result<Option<Arc<TlsAcceptor>>, TlsError> {
    let urls = || config.listen_client_urls.iter().chain(&config.listen_client_http_urls);
    let Some(tls) = &config.client_tls else {
        let secure = urls().chain(&config.listen_metrics_urls).find(|url| url.scheme().is_secure());
        return secure.map_or(Ok(None), |url| Err(TlsError::NoCertificate(url.clone())));
    };
    log_start("starting with client TLS", tls);
    let urls: Vec<EndpointUrl> = urls().cloned().collect();
    prepare(tls, config, "client", &urls)?;
    let acceptor = TlsAcceptor::new(tls.clone(), Endpoint::Client)?;
    Ok(Some(Arc::new(acceptor.with_handshakes_max(handshakes_max))))
}

/// Makes the certificate that the configuration has none of.
fn prepare(tls: &TlsConfig, config: &ServerConfig, side: &str, urls: &[EndpointUrl]) -> Result<(), TlsError> {
    match config.directory().filter(|_| tls.is_generated) {
        Some(directory) if generated_files(directory, side) == tls.identity => {
            generate(directory, side, urls, config.self_signed_cert_validity_years)
        }
        _ => Ok(()),
    }
}

fn log_start(message: &str, tls: &TlsConfig) {
    let suites: Vec<&str> = tls.cipher_suites.iter().map(|suite| suite.as_str()).collect();
    tracing::info!("tls-info" = %tls, "cipher-suites" = ?crate::log::Json(&suites), "{message}");
}

#[cfg(test)]
mod tests;
