//! Whose certificates are taken: those of whom we trust (`tenure-trust`), then names and revocations.

use super::certificate::{CertificateFacts, is_valid_for};
use super::material;
use super::{TlsConfig, TlsError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use tenure_trust::Trusted;

/// What a handshake has seen of the other side: for the log, when it fails.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub facts: Option<CertificateFacts>,
    /// Why our own rules refuse it.
    pub refusal: Option<String>,
}

tokio::task_local! {
    /// Of the handshake that is polled: rustls' verifiers are shared by all and know nothing of connections.
    pub(super) static SHOWN: RefCell<Shown>;
}

fn note(change: impl FnOnce(&mut Shown)) {
    SHOWN.try_with(|shown| change(&mut shown.borrow_mut())).ok();
}

/// What is asked of a certificate that somebody trusted vouches for.
#[derive(Debug, Default)]
struct Rules {
    common_names: Vec<String>,
    hostnames: Vec<String>,
    revoked: BTreeSet<Vec<u8>>,
}

impl Rules {
    fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        Ok(Self {
            common_names: config.allowed_common_names.clone(),
            hostnames: config.allowed_hostnames.clone(),
            revoked: config.crl.as_deref().map(material::revoked).transpose()?.unwrap_or_default(),
        })
    }

    fn check(&self, certificate: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let refuse = |kind: CertificateError, text: String| {
            note(|shown| shown.refusal = Some(text));
            Err(Error::InvalidCertificate(kind))
        };
        let unreadable = Error::InvalidCertificate(CertificateError::BadEncoding);
        if !self.revoked.is_empty() {
            for certificate in std::iter::once(certificate).chain(chain) {
                let facts = CertificateFacts::of(certificate).ok_or(unreadable.clone())?;
                if self.revoked.contains(&facts.serial) {
                    let text = format!("transport: certificate serial {} revoked", facts.serial_hex());
                    return refuse(CertificateError::Revoked, text);
                }
            }
        }
        let is_allowed = if !self.common_names.is_empty() {
            let facts = CertificateFacts::of(certificate).ok_or(unreadable)?;
            facts.common_name.is_some_and(|name| self.common_names.contains(&name))
        } else {
            self.hostnames.is_empty() || self.hostnames.iter().any(|name| is_valid_for(certificate, name))
        };
        match is_allowed {
            true => Ok(()),
            false => {
                let text = "client certificate authentication failed";
                // Of all reasons the one of which the other side hears as of Go: `bad certificate`.
                refuse(CertificateError::NotValidForName, text.to_owned())
            }
        }
    }
}

/// An authority that has the name of a trusted one and another key is unknown: the other side should hear that, and not of a signature.
fn unknown(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            let text = "tls: failed to verify certificate: x509: certificate signed by unknown authority (one of the same \
                        name is trusted, and has another key)";
            note(|shown| shown.refusal = Some(text.to_owned()));
            Error::InvalidCertificate(CertificateError::UnknownIssuer)
        }
        error => error,
    }
}

/// What stands behind rustls' two questions, whose client that is and whose server.
#[derive(Debug)]
struct Verifier<T> {
    trust: T,
    rules: Rules,
    provider: Arc<CryptoProvider>,
}

impl<T> Verifier<T> {
    fn new(trust: T, config: Option<&TlsConfig>, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let rules = config.map(Rules::read).transpose()?.unwrap_or_default();
        Ok(Self { trust, rules, provider: provider.clone() })
    }

    /// Takes a certificate that is trusted and fits the rules; the log will know it either way.
    fn take<V>(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        is_trusted: impl FnOnce(&T) -> Result<V, Error>,
    ) -> Result<V, Error> {
        note(|shown| shown.facts = CertificateFacts::of(certificate));
        let verified = is_trusted(&self.trust).map_err(unknown)?;
        self.rules.check(certificate, chain)?;
        Ok(verified)
    }
}

/// What rustls asks about signatures, word for word the same of clients and of servers: the provider knows.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

/// Who may connect.
type Clients = Verifier<Authorities>;

#[derive(Debug)]
struct Authorities {
    trusted: Trusted,
    subjects: Vec<DistinguishedName>,
}

/// The verifier of those who connect; nothing if they need no certificate.
pub(super) fn clients(
    config: &TlsConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(path) = &config.trusted_ca else { return Ok(None) };
    let trusted = material::roots(path)?;
    let trust = Authorities { subjects: trusted.subjects(), trusted };
    Ok(Some(Arc::new(Clients::new(trust, Some(config), provider)?)))
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.trust.subjects
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.take(certificate, chain, |trust| {
            trust.trusted.check_client(certificate, chain, now, &self.provider)?;
            Ok(ClientCertVerified::assertion())
        })
    }

    signatures!();
}

/// Whom this member talks to.
type Servers = Verifier<Trust>;

#[derive(Debug)]
enum Trust {
    /// Those for whom somebody trusted vouches.
    Vouched(Trusted),
    /// Everybody: certificates are generated, and nobody can vouch for them.
    Everybody,
}

/// The verifier of those whom this member connects to. Without a trusted CA the roots of the system are those that vouch.
pub(super) fn servers(
    config: Option<&TlsConfig>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let trust = match config {
        Some(config) if config.is_generated => Trust::Everybody,
        _ => {
            let trusted = config.and_then(|config| config.trusted_ca.as_deref());
            Trust::Vouched(trusted.map_or_else(|| Ok(trusted_by_system()), material::roots)?)
        }
    };
    Ok(Arc::new(Servers::new(trust, config, provider)?))
}

fn trusted_by_system() -> Trusted {
    let mut trusted = Trusted::default();
    trusted.add_parsable(rustls_native_certs::load_native_certs().certs);
    trusted
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.take(certificate, chain, |trust| {
            match trust {
                Trust::Vouched(trusted) => {
                    trusted.check_server(certificate, chain, name, now, &self.provider)?
                }
                Trust::Everybody => {}
            }
            Ok(ServerCertVerified::assertion())
        })
    }

    signatures!();
}
