//! TLS of connections.

use crate::{Error, Result, error::causes};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{fmt, path::PathBuf, sync::Arc};
use tenure_trust::Trusted;

/// Certificates or keys in PEM: a file, which is read again for every new connection, or the text itself.
///
/// ```
/// use tenure_client::Pem;
///
/// let file = Pem::file("/etc/etcd/client.key");
/// assert_eq!(format!("{file:?}"), r#"File("/etc/etcd/client.key")"#);
/// // The text may be a private key, so it does not get into logs.
/// let text = Pem::text("-----BEGIN PRIVATE KEY-----");
/// assert_eq!(format!("{text:?}"), "Text(..)");
/// ```
#[derive(Clone)]
pub enum Pem {
    /// A file. Replacing it takes effect with the next connection.
    File(PathBuf),
    /// The text.
    Text(Vec<u8>),
}

impl Pem {
    /// What is in a file. It is read with each connection, so it may be replaced.
    ///
    /// ```
    /// use tenure_client::{Pem, TlsConfig};
    ///
    /// let tls = TlsConfig::default().trust(Pem::file("/etc/etcd/ca.crt"));
    /// # drop(tls);
    /// ```
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Pem::File(path.into())
    }

    /// The text itself, as from an environment variable or a secret store.
    ///
    /// ```no_run
    /// use tenure_client::{Pem, TlsConfig};
    ///
    /// let tls = TlsConfig::default().trust(Pem::text(std::env::var("ETCD_CA").expect("the CA is given")));
    /// # drop(tls);
    /// ```
    #[must_use]
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Pem::Text(text.into())
    }

    fn read(&self, what: &str) -> Result<Vec<u8>> {
        match self {
            Pem::File(path) => std::fs::read(path)
                .map_err(|error| Error::io(format!("read the {what} {}", path.display()), error)),
            Pem::Text(text) => Ok(text.clone()),
        }
    }

    fn name(&self) -> String {
        match self {
            Pem::File(path) => path.display().to_string(),
            Pem::Text(_) => "given as text".to_owned(),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(path) => f.debug_tuple("File").field(path).finish(),
            // It may be a private key.
            Pem::Text(_) => f.write_str("Text(..)"),
        }
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Pem::File(path)
    }
}

impl From<&PathBuf> for Pem {
    fn from(path: &PathBuf) -> Self {
        Pem::file(path)
    }
}

impl From<&std::path::Path> for Pem {
    fn from(path: &std::path::Path) -> Self {
        Pem::File(path.to_path_buf())
    }
}

impl From<Vec<u8>> for Pem {
    fn from(text: Vec<u8>) -> Self {
        Pem::Text(text)
    }
}

/// How connections are secured. [`TlsConfig::default`] trusts the roots of the system and has no certificate of its own.
///
/// ```
/// use tenure_client::{ClientConfig, Pem, TlsConfig};
///
/// let tls = TlsConfig::default()
///     .trust(Pem::file("/etc/etcd/ca.crt"))
///     .identity(Pem::file("/etc/etcd/client.crt"), Pem::file("/etc/etcd/client.key"));
/// let config = ClientConfig::new(["https://db.example:2379"]).tls(tls);
/// # drop(config);
/// ```
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    roots: Vec<Pem>,
    identity: Option<(Pem, Pem)>,
    server_name: Option<String>,
    is_verification_off: bool,
}

impl TlsConfig {
    /// Trusts servers whose certificate one of these vouches for or is, and no longer the roots of the system. May be called
    /// more than once.
    ///
    /// ```
    /// use tenure_client::{Pem, TlsConfig};
    ///
    /// let new = "-----BEGIN CERTIFICATE----- ...";
    /// // Two of them, as while an old one is being replaced: a file, and a text.
    /// let tls = TlsConfig::default().trust(Pem::file("/etc/etcd/ca.crt")).trust(Pem::text(new));
    /// # drop(tls);
    /// ```
    #[must_use]
    pub fn trust(mut self, certificates: impl Into<Pem>) -> Self {
        self.roots.push(certificates.into());
        self
    }

    /// Shows this certificate (with its chain) to servers that ask for one.
    ///
    /// ```
    /// use tenure_client::{Pem, TlsConfig};
    ///
    /// // Renewed files are taken up with the next connection.
    /// let tls = TlsConfig::default().identity(Pem::file("/etc/etcd/client.crt"), Pem::file("/etc/etcd/client.key"));
    /// # drop(tls);
    /// ```
    #[must_use]
    pub fn identity(mut self, certificates: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.identity = Some((certificates.into(), key.into()));
        self
    }

    /// Expects this name in the server's certificate instead of the host of its endpoint.
    ///
    /// ```
    /// use tenure_client::{ClientConfig, TlsConfig};
    ///
    /// // Reached by its address, while the certificate has its name.
    /// let tls = TlsConfig::default().server_name("db.example");
    /// let config = ClientConfig::new(["https://10.0.0.1:2379"]).tls(tls);
    /// # drop(config);
    /// ```
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Trusts any certificate. Whoever stands between can read and change everything: for tests only.
    ///
    /// ```
    /// use tenure_client::{ClientConfig, TlsConfig};
    ///
    /// let tls = TlsConfig::default().danger_skip_verification();
    /// let config = ClientConfig::new(["https://127.0.0.1:2379"]).tls(tls);
    /// # drop(config);
    /// ```
    #[must_use]
    pub fn danger_skip_verification(mut self) -> Self {
        self.is_verification_off = true;
        self
    }

    /// The name that the server's certificate must have.
    pub(crate) fn name_of<'a>(&'a self, host: &'a str) -> Result<ServerName<'static>> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
            .map_err(|_| Error::invalid(format!("{name:?} cannot be the name in a server's certificate")))
    }

    /// The configuration as rustls takes it, for the protocol of this name; files are read now.
    pub(crate) fn load(&self, protocol: &'static [u8]) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::invalid(causes(&error)))?;
        let trusted = if self.is_verification_off { None } else { Some(self.trusted()?) };
        let builder =
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Servers { trusted, provider }));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificates, key)) => {
                let chain = certificates_of(certificates, "certificate")?;
                let key_pem = key.read("private key")?;
                let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| {
                    Error::invalid(format!("private key {}: {}", key.name(), causes(&error)))
                })?;
                builder.with_client_auth_cert(chain, private).map_err(|error| {
                    let name = certificates.name();
                    Error::invalid(format!("certificate {name} and its private key: {}", causes(&error)))
                })?
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }

    fn trusted(&self) -> Result<Trusted> {
        let mut trusted = Trusted::default();
        if self.roots.is_empty() {
            trusted.add_parsable(rustls_native_certs::load_native_certs().certs);
            return Ok(trusted);
        }
        for pem in &self.roots {
            for certificate in certificates_of(pem, "CA certificate")? {
                trusted.add(&certificate).map_err(|error| {
                    Error::invalid(format!("CA certificate {}: {}", pem.name(), causes(&error)))
                })?;
            }
        }
        Ok(trusted)
    }
}

fn certificates_of(pem: &Pem, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = pem.read(what)?;
    let certificates: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Error::invalid(format!("{what} {}: it holds no certificate", pem.name()))),
        Err(error) => Err(Error::invalid(format!("{what} {}: {}", pem.name(), causes(&error)))),
    }
}

/// Which servers are talked to. All have to show that they have the key of their certificate.
#[derive(Debug)]
struct Servers {
    /// Nothing if any certificate will do.
    trusted: Option<Trusted>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if let Some(trusted) = &self.trusted {
            trusted.check_server(certificate, chain, name, now, &self.provider)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_not_shown() {
        let tls = TlsConfig::default().identity(b"certificate".to_vec(), b"SECRET".to_vec());
        let secret = format!("{:?}", b"SECRET".to_vec());
        let shown = format!("{tls:?}");
        assert!(!shown.contains("SECRET") && !shown.contains(&secret), "{shown}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let tls = TlsConfig::default().trust(std::path::Path::new("no/such/ca.crt"));
        let error = tls.load(b"h2").unwrap_err().to_string();
        assert!(error.contains("no/such/ca.crt"), "{error}");
        let empty = TlsConfig::default().trust(Vec::new()).load(b"h2").unwrap_err().to_string();
        assert!(empty.contains("holds no certificate"), "{empty}");
    }
}
