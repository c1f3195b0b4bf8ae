//! Opening connections to other members.

use super::fresh::Fresh;
use super::material;
use super::verify::{self, SHOWN};
use super::{CipherSuite, TlsConfig, TlsError, TlsVersion, cause};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::client::TlsStream;

/// Opens TLS connections as a [`TlsConfig`] says; its files are looked at for every connection. Without one, it trusts those whom
/// the system trusts, and shows no certificate.
pub struct TlsConnector {
    config: Option<TlsConfig>,
    /// Made at once of files, so that what is wrong with them is told at once. What the system trusts is read when it is needed.
    client: OnceCell<Arc<Fresh<ClientConfig>>>,
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

impl TlsConnector {
    /// Reads the files of a configuration.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(config: Option<TlsConfig>) -> Result<Self, TlsError> {
        let client = OnceCell::new();
        if config.is_some() {
            client.set(load(config.clone())?).ok();
        }
        Ok(Self { config, client })
    }

    /// Shakes hands. The caller bounds the time that it takes.
    ///
    /// * `host`: the name or address that the certificate of the other side must have, without brackets and port.
    ///
    /// # Errors
    /// Why not, in Go's words; or what the connection failed with.
    pub async fn connect<S>(&self, io: S, host: &str) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::other(format!("{host:?} cannot be the name in a certificate")))?;
        let client = self.client.get_or_try_init(|| async {
            let config = self.config.clone();
            tokio::task::spawn_blocking(move || load(config)).await?.map_err(io::Error::other)
        });
        let current = client.await?.current().await.map_err(io::Error::other)?;
        let connecting = tokio_rustls::TlsConnector::from(current).connect(name, io);
        SHOWN
            .scope(RefCell::default(), async {
                let failed = |error: io::Error| {
                    let refusal = SHOWN.with(RefCell::take).refusal;
                    io::Error::new(error.kind(), refusal.unwrap_or_else(|| cause::of_io(&error)))
                };
                connecting.await.map_err(failed)
            })
            .await
    }
}

fn load(config: Option<TlsConfig>) -> Result<Arc<Fresh<ClientConfig>>, TlsError> {
    let files = config.as_ref().map(|config| config.files(identity(config))).unwrap_or_default();
    Ok(Arc::new(Fresh::new(config, files, client_config)?))
}

fn identity(config: &TlsConfig) -> &super::CertificateFiles {
    config.dial_identity.as_ref().unwrap_or(&config.identity)
}

fn client_config(config: Option<&TlsConfig>) -> Result<ClientConfig, TlsError> {
    let provider = material::provider(config);
    let (suites, min, max) = config.map_or((&[][..], TlsVersion::V1_2, TlsVersion::V1_3), |config| {
        (&config.cipher_suites, config.version_min, config.version_max)
    });
    let min = if CipherSuite::only_tls_1_3(suites) { TlsVersion::V1_3 } else { min };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&TlsVersion::between(min, max))
        .map_err(|error| TlsError::Settings(cause::text(&error)))?
        .dangerous()
        .with_custom_certificate_verifier(verify::servers(config, &provider)?);
    let mut client = match config {
        None => builder.with_no_client_auth(),
        Some(config) => {
            let key = material::certified_key(identity(config), &provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
    };
    // Go's dialer of members asks for no protocol either.
    client.alpn_protocols.clear();
    client.resumption = Resumption::disabled();
    Ok(client)
}
