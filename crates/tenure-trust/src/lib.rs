//! Whose certificates are taken, by members and by clients alike.
//!
//! rustls follows the rules of the public web, where nobody shows the certificate of an authority as his own. Go's `crypto/x509`, and with
//! it etcd, takes two kinds of certificates beyond, on which small installations stand: what `openssl req -x509` makes says that it is an
//! authority's.
//!
//! * One that is itself among those that are trusted, whoever issued it.
//! * An authority's that was issued by a trusted one. Here: without others in between.
//!
//! They are good for as long, and for the purposes, that they say; a server's must have the name that is asked for. Everybody else needs
//! a chain as rustls has it, which ends with somebody trusted who may issue certificates, whose time is not over, and who is good for the
//! purpose himself. Whoever is trusted without being an authority vouches for himself alone.
//!
//! Whoever shows a certificate also proves that he has its key; rustls asks for that by itself.

mod facts;

#[cfg(test)]
mod tests;

use facts::Facts;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DistinguishedName, Error, RootCertStore};
use std::{fmt, sync::Arc};
use webpki::EndEntityCert;

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Client,
    Server,
}

/// Certificates that are trusted.
#[derive(Clone, Default)]
pub struct Trusted(Vec<Root>);

#[derive(Clone)]
struct Root {
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
}

/// One handshake's question.
struct Shown<'a> {
    certificate: &'a CertificateDer<'a>,
    /// What was shown with it, to lead to somebody trusted.
    chain: &'a [CertificateDer<'a>],
    now: UnixTime,
    purpose: Purpose,
    provider: &'a Arc<CryptoProvider>,
}

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trusted").field("certificates", &self.0.len()).finish()
    }
}

impl Trusted {
    /// Trusts one more.
    ///
    /// # Errors
    /// [`CertificateError::BadEncoding`] and its like: it is no certificate.
    pub fn add(&mut self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        Facts::of(certificate)?;
        let mut store = RootCertStore::empty();
        store.add(certificate.clone())?;
        let certificate = certificate.clone().into_owned();
        self.0
            .extend(store.roots.into_iter().map(|anchor| Root { certificate: certificate.clone(), anchor }));
        Ok(())
    }

    /// Trusts all that are certificates. What a system trusts may hold others.
    pub fn add_parsable<'a>(&mut self, certificates: impl IntoIterator<Item = CertificateDer<'a>>) {
        for certificate in certificates {
            self.add(&certificate).ok();
        }
    }

    /// The names of those who are trusted, for whoever has several certificates to choose from.
    #[must_use]
    pub fn subjects(&self) -> Vec<DistinguishedName> {
        self.0.iter().map(|root| DistinguishedName::in_sequence(&root.anchor.subject)).collect()
    }

    /// Whether a client's certificate is taken.
    ///
    /// * `chain`: what was shown with it.
    ///
    /// # Errors
    /// Why not: [`Error::InvalidCertificate`].
    pub fn check_client(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), Error> {
        self.check(&Shown { certificate, chain, now, purpose: Purpose::Client, provider })
    }

    /// Whether a server's certificate is taken.
    ///
    /// * `chain`: what was shown with it.
    /// * `name`: the name or address that it must have.
    ///
    /// # Errors
    /// As [`Trusted::check_client`].
    pub fn check_server(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), Error> {
        self.check(&Shown { certificate, chain, now, purpose: Purpose::Server, provider })?;
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
    }

    fn check(&self, shown: &Shown<'_>) -> Result<(), Error> {
        // Also refuses what has extensions that must be understood and are not.
        ParsedCertificate::try_from(shown.certificate)?;
        let facts = Facts::of(shown.certificate)?;
        let is_trusted_itself = self.0.iter().any(|root| root.certificate == *shown.certificate);
        if is_trusted_itself || facts.is_authority() {
            facts.check(shown.purpose, shown.now)?;
        }
        match is_trusted_itself {
            true => Ok(()),
            false if facts.is_authority() => self.check_authority(shown, &facts),
            false => self.check_chain(shown),
        }
    }

    /// An authority's own certificate, which rustls has no question for. Nothing is walked here: somebody trusted has signed it, or nobody.
    fn check_authority(&self, shown: &Shown<'_>, facts: &Facts<'_>) -> Result<(), Error> {
        let mut refusal = unknown_issuer();
        for root in self.0.iter().filter(|root| facts.names_issuer(&root.anchor)) {
            let checked = root.has_signed(facts, shown).and_then(|()| root.check(shown)).and_then(|()| {
                // Which names an authority may have that is shown as somebody's own is for nobody to say here.
                root.anchor.name_constraints.is_none().then_some(()).ok_or_else(unknown_issuer)
            });
            match checked {
                Ok(()) => return Ok(()),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    fn check_chain(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let (good, bad): (Vec<&Root>, Vec<&Root>) = self.0.iter().partition(|root| root.check(shown).is_ok());
        let anchors = good.iter().map(|root| root.anchor.clone()).collect();
        let refusal = match verify_chain(shown, anchors) {
            Err(error) if error == unknown_issuer() => error,
            verified => return verified,
        };
        // It may lead to somebody who is trusted, but no longer or not for that: then that is the reason.
        let vouches = |root: &&&Root| verify_chain(shown, vec![root.anchor.clone()]).is_ok();
        let reason = bad.iter().find(vouches).and_then(|root| root.check(shown).err());
        Err(reason.unwrap_or(refusal))
    }
}

impl Root {
    /// Whether it vouches for others who show their certificates now and for this.
    fn check(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let facts = Facts::of(&self.certificate)?;
        match facts.may_issue() {
            true => facts.check(shown.purpose, shown.now),
            false => Err(unknown_issuer()),
        }
    }

    /// Whether the owner of its key has signed a certificate. Each algorithm of the provider proves that, so it does not matter which.
    fn has_signed(&self, facts: &Facts<'_>, shown: &Shown<'_>) -> Result<(), Error> {
        let issuer = EndEntityCert::try_from(&self.certificate).map_err(|_| unknown_issuer())?;
        let (message, signature) = facts.signed();
        let mut algorithms = shown.provider.signature_verification_algorithms.all.iter();
        algorithms
            .any(|algorithm| issuer.verify_signature(*algorithm, message, signature).is_ok())
            .then_some(())
            .ok_or(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

/// rustls' own question.
fn verify_chain(shown: &Shown<'_>, anchors: Vec<TrustAnchor<'static>>) -> Result<(), Error> {
    if anchors.is_empty() {
        return Err(unknown_issuer());
    }
    let roots = RootCertStore { roots: anchors };
    let Shown { certificate, chain, now, provider, .. } = shown;
    match shown.purpose {
        Purpose::Client => {
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?
                .verify_client_cert(certificate, chain, *now)?;
            Ok(())
        }
        Purpose::Server => verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(*certificate)?,
            &roots,
            chain,
            *now,
            provider.signature_verification_algorithms.all,
        ),
    }
}

fn unknown_issuer() -> Error {
    Error::InvalidCertificate(CertificateError::UnknownIssuer)
}
